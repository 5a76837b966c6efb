/* product_avx512vnni.c -- tile products of integers for AVX-512 VNNI. */
#if defined(__AVX512VNNI__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES            16
#define TILE_ROWS        12
#define BLOCK_ROWS       256 /* as in product_avx512.c */
#define FETCH_NEXT_PANEL 0
#define KERNEL_NAME      "avx512-vnni"
#include "encoder/instructions.h"

#define NAME(x)                       i16_##x
#define SUM                           ivec
#define ACCUMULATE(sum, row, weights) MN_DOT_I16_512(sum, row, weights)
#define KERNEL                        mn_product_avx512vnni_i16
#define KERNEL_ELEMENT                MN_ELEMENT_I16
#include "encoder/product_simd.h"

#define NAME(x)                       u8_##x
#define SUM                           ivec
#define ACCUMULATE(sum, row, weights) MN_DOT_U8_512(sum, row, weights)
#define KERNEL                        mn_product_avx512vnni_u8
#define KERNEL_ELEMENT                MN_ELEMENT_U8
#include "encoder/product_simd.h"
#endif
