/* product_avx512bf16.c -- tile products of bfloat16 for AVX-512 BF16. */
#if defined(__AVX512BF16__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES      16
#define TILE_ROWS  12
#define BLOCK_ROWS 96 /* as in product_avx512.c */
#include "encoder/instructions.h"

#define NAME(x)                       bf16_##x
#define SUM                           fvec
#define ACCUMULATE(sum, row, weights) MN_DOT_BF16_512(sum, row, weights)
#include "encoder/product_simd.h"

const mn_product_kernel mn_product_avx512bf16_bf16 = {.name = "avx512-bf16",
                                                      .element = MN_ELEMENT_BF16,
                                                      .panel = 2 * LANES,
                                                      .tile_rows = TILE_ROWS,
                                                      .group_multiple = 1,
                                                      .block_rows = BLOCK_ROWS,
                                                      .multiply = bf16_multiply};
#endif
