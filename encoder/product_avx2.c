/* product_avx2.c -- tile products for AVX2 and FMA. */
#if defined(__AVX2__)
#define LANES            8
#define TILE_ROWS        6
#define BLOCK_ROWS       48 /* the activations of a MiniLM layer's rows fit half a megabyte of second-level cache */
#define FETCH_NEXT_PANEL 1
#define KERNEL_NAME      "avx2"
#include "encoder/instructions.h"

#define NAME(x)                       f32_##x
#define SUM                           fvec
#define ACCUMULATE(sum, row, weights) ((sum) + (fvec)(row) * (fvec)(weights))
#define KERNEL                        mn_product_avx2_f32
#define KERNEL_ELEMENT                MN_ELEMENT_F32
#include "encoder/product_simd.h"

#define NAME(x)                       i16_##x
#define SUM                           ivec
#define ACCUMULATE(sum, row, weights) MN_MADD_I16_256(sum, row, weights)
#define KERNEL                        mn_product_avx2_i16
#define KERNEL_ELEMENT                MN_ELEMENT_I16
#include "encoder/product_simd.h"
#endif
