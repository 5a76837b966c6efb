/* product_avx512.c -- tile products for AVX-512 F and BW. */
#if defined(__AVX512BW__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES            16
#define TILE_ROWS        12
#define BLOCK_ROWS       256 /* few passes over the weights gain more than activations that fit a cache */
#define FETCH_NEXT_PANEL 0
#define KERNEL_NAME      "avx512"
#include "encoder/instructions.h"

#define NAME(x)                       f32_##x
#define SUM                           fvec
#define ACCUMULATE(sum, row, weights) ((sum) + (fvec)(row) * (fvec)(weights))
#define KERNEL                        mn_product_avx512_f32
#define KERNEL_ELEMENT                MN_ELEMENT_F32
#include "encoder/product_simd.h"

#define NAME(x)                       i16_##x
#define SUM                           ivec
#define ACCUMULATE(sum, row, weights) MN_MADD_I16_512(sum, row, weights)
#define KERNEL                        mn_product_avx512_i16
#define KERNEL_ELEMENT                MN_ELEMENT_I16
#include "encoder/product_simd.h"
#endif
