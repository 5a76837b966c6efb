/* product_simd.h -- the tile product on vector registers, written once. A product_<instructions>.c file includes this
 * once per element format, with
 *
 *     LANES      32-bit lanes of a vector (8, 16)          TILE_ROWS   rows of a tile
 *     BLOCK_ROWS mn_product_kernel.block_rows              NAME(x)     a name of its own for each inclusion
 *     FETCH_NEXT_PANEL  whether to fetch the weights behind these ones ahead: a gain of up to a sixth on AVX2 (Zen 3
 *                and 4), a loss of a twentieth on AVX-512 (Zen 4), whose panels are whole cache lines
 *     SUM        vector type of the sums: fvec or ivec     ACCUMULATE(sum, row, weights)  sum + the products
 *     KERNEL, KERNEL_NAME, KERNEL_ELEMENT                  the mn_product_kernel that is defined
 *
 * A tile of TILE_ROWS rows by 2 vectors is summed in registers: AVX2 6 x 2 of 16, AVX-512 12 x 2 of 32; two vectors of
 * weights and one group of a row in all lanes take the rest. */
#include "encoder/product.h"

#include <string.h>

#ifndef MN_PRODUCT_SIMD_TYPES
#define MN_PRODUCT_SIMD_TYPES
typedef float fvec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
#endif

static inline __attribute__((always_inline)) void NAME(tile)(const uint32_t *rows, size_t row_stride, uint32_t n_rows,
                                                             const uint32_t *weights, uint32_t n_groups, void *tile)
{
    SUM sums[TILE_ROWS][2];
    memset(sums, 0, n_rows * sizeof sums[0]);
    for (size_t g = 0; g < n_groups; g++) {
        if (FETCH_NEXT_PANEL) __builtin_prefetch(weights + (n_groups + g) * 2 * LANES, 0, 2);
        const ivec w0 = *(const ivec *)(weights + g * 2 * LANES), w1 = *(const ivec *)(weights + g * 2 * LANES + LANES);
#pragma GCC unroll 16
        for (size_t r = 0; r < n_rows; r++) {
            const ivec row = (int32_t)rows[r * row_stride + g] - (ivec){0};
            sums[r][0] = ACCUMULATE(sums[r][0], row, w0);
            sums[r][1] = ACCUMULATE(sums[r][1], row, w1);
        }
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < n_rows; r++) {
        *(SUM *)((uint32_t *)tile + r * 2 * LANES) = sums[r][0];
        *(SUM *)((uint32_t *)tile + r * 2 * LANES + LANES) = sums[r][1];
    }
}

static void NAME(multiply)(const uint32_t *rows, size_t row_stride, uint32_t n_rows, const uint32_t *weights,
                           uint32_t n_groups, void *tile)
{
#define ROWS(n)                                                                                                        \
    case n: NAME(tile)(rows, row_stride, n, weights, n_groups, tile); break;
    switch (n_rows) {
        ROWS(1)
        ROWS(2)
        ROWS(3)
        ROWS(4)
        ROWS(5)
        ROWS(6)
#if TILE_ROWS >= 12
            ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12)
#endif
    }
#undef ROWS
}

const mn_product_kernel KERNEL = {.name = KERNEL_NAME,
                                  .element = KERNEL_ELEMENT,
                                  .panel = 2 * LANES,
                                  .tile_rows = TILE_ROWS,
                                  .group_multiple = 1,
                                  .block_rows = BLOCK_ROWS,
                                  .multiply = NAME(multiply)};

#undef NAME
#undef SUM
#undef ACCUMULATE
#undef KERNEL
#undef KERNEL_ELEMENT
