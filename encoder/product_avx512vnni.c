/* product_avx512vnni.c -- tile products of integers for AVX-512 VNNI. */
#if defined(__AVX512VNNI__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES      16
#define TILE_ROWS  12
#define BLOCK_ROWS 96 /* as in product_avx512.c */
#include "encoder/instructions.h"

#define NAME(x)                       i16_##x
#define SUM                           ivec
#define ACCUMULATE(sum, row, weights) MN_DOT_I16_512(sum, row, weights)
#include "encoder/product_simd.h"
#undef NAME
#undef ACCUMULATE

#define NAME(x)                       u8_##x
#define ACCUMULATE(sum, row, weights) MN_DOT_U8_512(sum, row, weights)
#include "encoder/product_simd.h"

const mn_product_kernel mn_product_avx512vnni_i16 = {.name = "avx512-vnni",
                                                     .element = MN_ELEMENT_I16,
                                                     .panel = 2 * LANES,
                                                     .tile_rows = TILE_ROWS,
                                                     .group_multiple = 1,
                                                     .block_rows = BLOCK_ROWS,
                                                     .multiply = i16_multiply};
const mn_product_kernel mn_product_avx512vnni_u8 = {.name = "avx512-vnni",
                                                    .element = MN_ELEMENT_U8,
                                                    .panel = 2 * LANES,
                                                    .tile_rows = TILE_ROWS,
                                                    .group_multiple = 1,
                                                    .block_rows = BLOCK_ROWS,
                                                    .multiply = u8_multiply};
#endif
