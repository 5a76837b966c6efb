/* product_avx2.c -- tile products for AVX2 and FMA. */
#if defined(__AVX2__)
#define LANES      8
#define TILE_ROWS  6
#define BLOCK_ROWS 48 /* the activations of a MiniLM layer's rows fit half a megabyte of second-level cache */
#include "encoder/instructions.h"

#define NAME(x)                       f32_##x
#define SUM                           fvec
#define ACCUMULATE(sum, row, weights) ((sum) + (fvec)(row) * (fvec)(weights))
#include "encoder/product_simd.h"
#undef NAME
#undef SUM
#undef ACCUMULATE

#define NAME(x)                       i16_##x
#define SUM                           ivec
#define ACCUMULATE(sum, row, weights) MN_MADD_I16_256(sum, row, weights)
#include "encoder/product_simd.h"

const mn_product_kernel mn_product_avx2_f32 = {.name = "avx2",
                                               .element = MN_ELEMENT_F32,
                                               .panel = 2 * LANES,
                                               .tile_rows = TILE_ROWS,
                                               .group_multiple = 1,
                                               .block_rows = BLOCK_ROWS,
                                               .multiply = f32_multiply};
const mn_product_kernel mn_product_avx2_i16 = {.name = "avx2",
                                               .element = MN_ELEMENT_I16,
                                               .panel = 2 * LANES,
                                               .tile_rows = TILE_ROWS,
                                               .group_multiple = 1,
                                               .block_rows = BLOCK_ROWS,
                                               .multiply = i16_multiply};
#endif
