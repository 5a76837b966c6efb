/* product_avx512.c -- tile products for AVX-512 F and BW. */
#if defined(__AVX512BW__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES     16
#define TILE_ROWS 12
#define BLOCK_ROWS                                                                                                     \
    96 /* a MiniLM layer's widest activations, f32: 590 kB of one or two megabytes of second-level cache */
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
#define ACCUMULATE(sum, row, weights) MN_MADD_I16_512(sum, row, weights)
#include "encoder/product_simd.h"

const mn_product_kernel mn_product_avx512_f32 = {.name = "avx512",
                                                 .element = MN_ELEMENT_F32,
                                                 .panel = 2 * LANES,
                                                 .tile_rows = TILE_ROWS,
                                                 .group_multiple = 1,
                                                 .block_rows = BLOCK_ROWS,
                                                 .multiply = f32_multiply};
const mn_product_kernel mn_product_avx512_i16 = {.name = "avx512",
                                                 .element = MN_ELEMENT_I16,
                                                 .panel = 2 * LANES,
                                                 .tile_rows = TILE_ROWS,
                                                 .group_multiple = 1,
                                                 .block_rows = BLOCK_ROWS,
                                                 .multiply = i16_multiply};
#endif
