/* product_avx512bf16.c -- tile products of bfloat16 for AVX-512 BF16. */
#if defined(__AVX512BF16__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES            16
#define TILE_ROWS        12
#define BLOCK_ROWS       256 /* as in product_avx512.c */
#define FETCH_NEXT_PANEL 0
#define KERNEL_NAME      "avx512-bf16"
#include "encoder/instructions.h"

#define NAME(x)                       bf16_##x
#define SUM                           fvec
#define ACCUMULATE(sum, row, weights) MN_DOT_BF16_512(sum, row, weights)
#define KERNEL                        mn_product_avx512bf16_bf16
#define KERNEL_ELEMENT                MN_ELEMENT_BF16
#include "encoder/product_simd.h"
#endif
