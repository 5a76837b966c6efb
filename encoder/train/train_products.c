/* train_products.c -- cutting the products of training into blocks that the caches hold.
 *
 *     for each block of the depth             DEPTH_BLOCK
 *       for each block of the rows of a       ROW_BLOCK: its piece of a stays in the second-level cache
 *         for each panel of columns           its piece of b stays in the first-level cache
 *           for each tile of rows             in registers
 */
#include "encoder/train/train_products.h"

#include "common/memory.h"

#include <string.h>

enum {
    DEPTH_BLOCK = 384, /* a multiple of every kernel's groups; 16 columns of it are 24 KB */
    ROW_BLOCK = 96,    /* 96 x 384 floats are 147 KB; a multiple of every kernel's tile_rows */
};

mn_train_arithmetic mn_train_arithmetic_for(bool bf16, mn_cpu_level level, bool reference)
{
    mn_arithmetic a = mn_arithmetic_for(bf16 ? MN_PRECISION_BF16 : MN_PRECISION_F32, level, reference);
    return (mn_train_arithmetic){.name = bf16 ? "bf16" : "f32",
                                 .product = a.product,
                                 .format = a.rows,
                                 .kernels = a.kernels,
                                 .train_kernels =
                                     reference ? mn_train_kernels_reference() : mn_train_kernels_for(level),
                                 .cell_kernels = reference ? mn_cell_kernels_reference() : mn_cell_kernels_for(level)};
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Groups of the whole depth: all blocks but the last are whole. */
static size_t groups_of(const mn_train_arithmetic *a, uint32_t depth)
{
    uint32_t whole = depth / DEPTH_BLOCK, rest = depth % DEPTH_BLOCK;
    size_t groups = (size_t)whole * mn_product_groups(a->product, DEPTH_BLOCK);
    return groups + (rest ? mn_product_groups(a->product, rest) : 0);
}

size_t mn_right_size(const mn_train_arithmetic *arithmetic, uint32_t depth, uint32_t columns)
{
    return groups_of(arithmetic, depth) * mn_round_up(columns, arithmetic->product->panel) * sizeof(uint32_t);
}

/* ---- packing --------------------------------------------------------------------------------------------------- */

/* One panel: `depth` rows of b from b on, `columns` of them. */
static void pack_panel(const mn_train_arithmetic *a, const float *b, size_t stride, uint32_t depth, uint32_t columns,
                       uint32_t *panel)
{
    uint32_t groups = mn_product_groups(a->product, depth);
    a->kernels->pack_columns(&a->format, 0, b, stride, depth, columns, groups, a->product->panel, panel, NULL);
}

/* Floats need no conversion: a whole row of b at a time, as it lies, a piece to each panel. */
static void pack_floats(const float *b, size_t stride, size_t deep, size_t columns, size_t width, float *panels)
{
    size_t whole = columns / width * width, rest = columns - whole;
    for (size_t k = 0; k < deep; k++, b += stride, panels += width) {
        for (size_t c = 0; c < whole; c += width) memcpy(panels + c * deep, b + c, width * sizeof *b);
        if (!rest) continue;
        memset(panels + whole * deep, 0, width * sizeof *b);
        memcpy(panels + whole * deep, b + whole, rest * sizeof *b);
    }
}

/* The blocks of depth of b (depth, columns). */
static void pack_rows(const mn_train_arithmetic *a, const float *b, size_t stride, uint32_t depth, uint32_t columns,
                      uint32_t *panels)
{
    uint32_t width = a->product->panel;
    for (uint32_t k = 0; k < depth; k += DEPTH_BLOCK) {
        uint32_t deep = least(depth - k, DEPTH_BLOCK), groups = mn_product_groups(a->product, deep);
        if (mn_is_plain_float(&a->format) && groups == deep) {
            pack_floats(b + k * stride, stride, deep, columns, width, (float *)(void *)panels);
            panels += (size_t)groups * mn_round_up(columns, width);
            continue;
        }
        for (uint32_t c = 0; c < columns; c += width) {
            pack_panel(a, b + k * stride + c, stride, deep, least(columns - c, width), panels);
            panels += (size_t)groups * width;
        }
    }
}

/* The same of b given as (columns, depth): a panel at a time is turned around. */
static void pack_columns(const mn_train_arithmetic *a, const float *b, size_t stride, const mn_right *right)
{
    float turned[DEPTH_BLOCK * MN_PANEL_MAX] __attribute__((aligned(64)));
    uint32_t width = a->product->panel, *panels = right->panels;
    for (uint32_t k = 0; k < right->depth; k += DEPTH_BLOCK) {
        uint32_t deep = least(right->depth - k, DEPTH_BLOCK), groups = mn_product_groups(a->product, deep);
        for (uint32_t c = 0; c < right->columns; c += width) {
            uint32_t wide = least(right->columns - c, width);
            a->train_kernels->transpose(b + c * stride + k, stride, wide, deep, turned, width);
            pack_panel(a, turned, width, deep, wide, panels);
            panels += (size_t)groups * width;
        }
    }
}

void mn_right_pack(const mn_train_arithmetic *arithmetic, const float *b, size_t stride, bool transposed,
                   mn_right *right)
{
    if (transposed)
        pack_columns(arithmetic, b, stride, right);
    else
        pack_rows(arithmetic, b, stride, right->depth, right->columns, right->panels);
}

/* ---- multiplying ----------------------------------------------------------------------------------------------- */

static mneme_status reserve(mn_product_scratch *scratch, size_t size, mneme_error *error)
{
    if (scratch->size >= size) return MNEME_OK;
    mn_free(scratch->block);
    *scratch = (mn_product_scratch){.block = mn_alloc_aligned(64, size)};
    if (!scratch->block) return mn_fail_memory(error, "a product");
    memset(scratch->block, 0, size); /* rows that round up a tile are read too */
    scratch->size = size;
    return MNEME_OK;
}

/* Rows of a as the kernel reads them. */
typedef struct left_block {
    const uint32_t *rows;
    size_t stride;
    uint32_t n_rows, n_groups;
} left_block;

/* All panels of one block of depth, for one block of rows. */
static void multiply_block(const mn_train_arithmetic *a, const left_block *left, const uint32_t *panels,
                           uint32_t columns, const mn_product_out *out)
{
    const mn_product_kernel *kernel = a->product;
    float tile[MN_TILE_ROWS_MAX * MN_PANEL_MAX] __attribute__((aligned(64)));
    uint32_t width = kernel->panel;
    bool streamed = mn_streams_rows(kernel, left->n_rows);
    if (kernel->begin) kernel->begin();
    for (uint32_t c = 0; c < columns; c += width, panels += (size_t)left->n_groups * width) {
        for (uint32_t r = 0, rows; r < left->n_rows; r += rows) {
            rows = mn_tile_rows(kernel, left->n_rows - r);
            float *c_rows = out->c + r * out->stride + c;
            for (uint32_t i = 0; i < rows; i++) __builtin_prefetch(c_rows + i * out->stride, 1, 3);
            const uint32_t *left_rows = left->rows + r * left->stride;
            if (streamed)
                kernel->multiply_part(left_rows, left->stride, rows, panels, left->n_groups, true, tile);
            else
                kernel->multiply(left_rows, left->stride, rows, panels, left->n_groups, tile);
            a->train_kernels->store_tile(tile, width, rows, least(columns - c, width), out->bias ? out->bias + c : NULL,
                                         out->add, c_rows, out->stride);
        }
    }
    if (kernel->end) kernel->end();
}

static left_block left_of(const mn_train_arithmetic *a, const float *x, size_t stride, uint32_t n_rows, uint32_t depth,
                          void *room)
{
    uint32_t groups = mn_product_groups(a->product, depth);
    if (mn_is_plain_float(&a->format)) return (left_block){(const uint32_t *)(const void *)x, stride, n_rows, groups};
    a->kernels->convert_rows(&a->format, x, stride, n_rows, depth, groups, room, groups, NULL, NULL);
    return (left_block){room, groups, n_rows, groups};
}

static size_t left_size(const mn_train_arithmetic *a)
{
    return (size_t)ROW_BLOCK * mn_product_groups(a->product, DEPTH_BLOCK) * sizeof(uint32_t);
}

mneme_status mn_multiply_right(const mn_train_arithmetic *arithmetic, mn_product_scratch *scratch, const float *a,
                               size_t a_stride, uint32_t m, const mn_right *right, const mn_product_out *out,
                               mneme_error *error)
{
    mneme_status status = reserve(scratch, left_size(arithmetic), error);
    if (status != MNEME_OK) return status;
    uint32_t width = arithmetic->product->panel;
    const uint32_t *panels = right->panels;
    for (uint32_t k = 0; k < right->depth; k += DEPTH_BLOCK) {
        uint32_t deep = least(right->depth - k, DEPTH_BLOCK);
        for (uint32_t r = 0; r < m; r += ROW_BLOCK) {
            left_block left =
                left_of(arithmetic, a + r * a_stride + k, a_stride, least(m - r, ROW_BLOCK), deep, scratch->block);
            const mn_product_out part = {.c = out->c + r * out->stride,
                                         .stride = out->stride,
                                         .bias = k ? NULL : out->bias,
                                         .add = k > 0 || out->add};
            multiply_block(arithmetic, &left, panels, right->columns, &part);
        }
        panels += (size_t)mn_product_groups(arithmetic->product, deep) * mn_round_up(right->columns, width);
    }
    return MNEME_OK;
}

/* Room of a transposed product: b's panels of one block of depth | a block of rows of a, turned around | operand rows.
 */
mneme_status mn_multiply_transposed(const mn_train_arithmetic *arithmetic, mn_product_scratch *scratch,
                                    const mn_transposed_product *product, mneme_error *error)
{
    const mn_transposed_product *p = product;
    uint32_t deepest = least(p->k, DEPTH_BLOCK);
    size_t panels_size = mn_right_size(arithmetic, deepest, p->n), turned_stride = mn_round_up(deepest, 16);
    size_t turned_size = ROW_BLOCK * turned_stride * sizeof(float);
    mneme_status status = reserve(scratch, panels_size + turned_size + left_size(arithmetic), error);
    if (status != MNEME_OK) return status;
    uint32_t *panels = scratch->block;
    float *turned = (float *)(void *)((char *)scratch->block + panels_size);
    void *rows = (char *)turned + turned_size;
    for (uint32_t k = 0; k < p->k; k += DEPTH_BLOCK) {
        uint32_t deep = least(p->k - k, DEPTH_BLOCK);
        pack_rows(arithmetic, p->b + k * p->b_stride, p->b_stride, deep, p->n, panels);
        for (uint32_t r = 0; r < p->m; r += ROW_BLOCK) {
            uint32_t n_rows = least(p->m - r, ROW_BLOCK);
            arithmetic->train_kernels->transpose(p->a + k * p->a_stride + r, p->a_stride, deep, n_rows, turned,
                                                 turned_stride);
            left_block left = left_of(arithmetic, turned, turned_stride, n_rows, deep, rows);
            const mn_product_out part = {.c = p->c + r * p->c_stride, .stride = p->c_stride, .add = true};
            multiply_block(arithmetic, &left, panels, p->n, &part);
        }
    }
    return MNEME_OK;
}
