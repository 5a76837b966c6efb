/* product.h -- the innermost step of every matrix product: a tile of rows times a panel of packed weights.
 *
 * Both operands are laid out in *groups* of 32 bits along the depth, because that is what the instructions of every
 * processor take from one lane: 1 float, 2 bfloat16, 2 int16 or 4 bytes. So one layout serves them all:
 *
 *     activations   rows of groups:            row 0 | g0 g1 g2 ... |      an element format per row, and for the
 *                                              row 1 | g0 g1 g2 ... |      integers a scale per row
 *     weights       panels of `panel` columns: g0: c0 c1 ... c15 | g1: c0 c1 ... c15 | ...
 *
 * A kernel multiplies up to tile_rows rows by one panel and writes the raw sums, f32 or int32, to a tile. Scales, bias
 * and activation are added to the tile while it is in the first-level cache (mn_kernels.finish). Integer sums are
 * exact: every kernel gives the same bits, and scales are chosen so that no sum can overflow (linear.h). */
#ifndef MN_ENCODER_PRODUCT_H
#define MN_ENCODER_PRODUCT_H

#include "common/cpu.h"

#include <stdint.h>

typedef enum mn_element {
    MN_ELEMENT_F32,
    MN_ELEMENT_BF16,
    MN_ELEMENT_I16, /* int16 times int16 */
    MN_ELEMENT_U8,  /* uint8 activations times int8 weights */
} mn_element;

static inline uint32_t mn_group_size(mn_element element)
{
    return element == MN_ELEMENT_F32 ? 1 : element == MN_ELEMENT_U8 ? 4 : 2;
}

static inline size_t mn_element_size(mn_element element)
{
    return sizeof(uint32_t) / mn_group_size(element);
}

static inline bool mn_is_integer(mn_element element)
{
    return element == MN_ELEMENT_I16 || element == MN_ELEMENT_U8;
}

enum { MN_TILE_ROWS_MAX = 32, MN_PANEL_MAX = 32, MN_ROW_MULTIPLE = 16 };

typedef struct mn_product_kernel {
    const char *name; /* "avx2", "avx512-vnni", ... */
    mn_element element;
    uint32_t panel;          /* columns of a panel; a multiple of 16 */
    uint32_t tile_rows;      /* most rows of one call */
    uint32_t group_multiple; /* groups of a row and of a panel are padded with zeros to a multiple of this */
    uint32_t block_rows;     /* rows that a layer takes through all of its products before the next ones (cache) */
    uint32_t part_groups;    /* most groups that multiply_part should take at once: they stay in the first-level cache */

    /* Around any number of multiply calls of one thread; NULL = nothing to do. */
    void (*begin)(void);
    void (*end)(void);

    /* tile (n_rows, panel) = rows (n_rows, n_groups) * weights (n_groups, panel). 1 <= n_rows <= tile_rows; row_stride
     * in groups. Rows up to the next multiple of MN_ROW_MULTIPLE may be read and their tile rows written: both must be
     * there. tile: float or int32_t, 64-byte aligned. A row's sums do not depend on the other rows. */
    void (*multiply)(const uint32_t *rows, size_t row_stride, uint32_t n_rows, const uint32_t *weights,
                     uint32_t n_groups, void *tile);

    /* A part of the depth, where many rows meet the same weights, one tile of them after the other: multiply where
     * `first`, else the part's sums are added to the tile's, in the order in which multiply adds. Rows are read without
     * a place in the first-level cache, which is the weights'. NULL: not needed. */
    void (*multiply_part)(const uint32_t *rows, size_t row_stride, uint32_t n_rows, const uint32_t *weights,
                          uint32_t n_groups, bool first, void *tile);
} mn_product_kernel;

/* Are so many rows multiplied by multiply_part? One tile of them would not use a panel twice. */
static inline bool mn_streams_rows(const mn_product_kernel *kernel, uint32_t n_rows)
{
    return kernel->multiply_part && n_rows > kernel->tile_rows;
}

static inline uint32_t mn_round_up(uint32_t n, uint32_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static inline uint32_t mn_product_groups(const mn_product_kernel *kernel, uint32_t depth)
{
    uint32_t group = mn_group_size(kernel->element);
    return mn_round_up((depth + group - 1) / group, kernel->group_multiple);
}

/* Rows of the next tile when n_rows are left. Tiles of vector registers get equal heights, since one of few rows costs
 * nearly as much as a whole one; those of AMX read whole multiples of rows anyway. */
static inline uint32_t mn_tile_rows(const mn_product_kernel *kernel, uint32_t n_rows)
{
    if (kernel->tile_rows % MN_ROW_MULTIPLE == 0) return n_rows < kernel->tile_rows ? n_rows : kernel->tile_rows;
    uint32_t n_tiles = (n_rows + kernel->tile_rows - 1) / kernel->tile_rows;
    return (n_rows + n_tiles - 1) / n_tiles;
}

/* The fastest kernel for `element` that uses at most `level` and that this processor has; NULL where there is none but
 * the reference (BF16 and U8 without the instructions for them). */
const mn_product_kernel *mn_product_kernel_for(mn_element element, mn_cpu_level level);
/* Plain C, floats summed in double precision. */
const mn_product_kernel *mn_product_kernel_reference(mn_element element);

/* Only to be called on a processor that has the instructions. */
extern const mn_product_kernel mn_product_avx2_f32, mn_product_avx2_i16;
extern const mn_product_kernel mn_product_avx512_f32, mn_product_avx512_i16;
extern const mn_product_kernel mn_product_avx512vnni_i16, mn_product_avx512vnni_u8;
extern const mn_product_kernel mn_product_avx512bf16_bf16;
extern const mn_product_kernel mn_product_amx_bf16, mn_product_amx_u8;

#endif
