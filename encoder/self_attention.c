/* self_attention.c -- attention as two products per head.
 *
 *     keys become panels (a key is a column)            values become panels (a component is a column)
 *     for every few queries:  scores = q * keys   ->  softmax  ->  weights * values  ->  out */
#include "encoder/self_attention.h"

#include <math.h>
#include <string.h>

/* Everything for one head, in scratch. Groups: see product.h. */
typedef struct head_space {
    uint32_t *queries, *keys; /* (L rounded up, D groups); not for F32, which uses qkv itself */
    float *query_scales, *key_scales;
    uint32_t *key_panels;   /* (L / panel, D groups, panel) */
    uint32_t *value_panels; /* (D / panel, L groups, panel) */
    float *value_scales;    /* (D) */
    float *scores;          /* (tile rows, L rounded up to panels) */
    uint32_t *weights;      /* (tile rows, L groups) */
    float *factors;         /* (tile rows) */
    uint32_t head_groups, length_groups, padded_length;
} head_space;

static bool in_place(const mn_row_format *format)
{
    return format->element == MN_ELEMENT_F32 && !format->rounded;
}

/* Queries and keys of long heads get fewer bits, so that no sum can overflow: D * limit^2 <= 2^31 - 1. */
static mn_row_format row_format(const mn_arithmetic *a, uint32_t head)
{
    mn_row_format format = a->attention_rows;
    int32_t fits = (int32_t)sqrt(2147483647.0 / head);
    if (format.limit > fits) format.limit = fits;
    return format;
}

static void place(head_space *space, const mn_arithmetic *a, uint32_t length, uint32_t head, mn_image *image)
{
    const mn_product_kernel *kernel = a->attention;
    uint32_t panel = kernel->panel, rows = mn_round_up(length, MN_ROW_MULTIPLE);
    space->head_groups = mn_product_groups(kernel, head);
    space->length_groups = mn_product_groups(kernel, length);
    space->padded_length = mn_round_up(length, panel);
    if (!in_place(&a->attention_rows)) {
        space->queries = mn_image_take(image, (size_t)rows * space->head_groups, sizeof(uint32_t));
        space->keys = mn_image_take(image, (size_t)rows * space->head_groups, sizeof(uint32_t));
    }
    space->query_scales = mn_image_take(image, rows, sizeof(float));
    space->key_scales = mn_image_take(image, rows, sizeof(float));
    space->key_panels = mn_image_take(image, (size_t)space->padded_length * space->head_groups, sizeof(uint32_t));
    space->value_panels =
        mn_image_take(image, (size_t)mn_round_up(head, panel) * space->length_groups, sizeof(uint32_t));
    space->value_scales = mn_image_take(image, mn_round_up(head, panel), sizeof(float));
    space->scores = mn_image_take(image, (size_t)MN_TILE_ROWS_MAX * space->padded_length, sizeof(float));
    space->weights = mn_image_take(image, (size_t)MN_TILE_ROWS_MAX * space->length_groups, sizeof(uint32_t));
    space->factors = mn_image_take(image, MN_TILE_ROWS_MAX, sizeof(float));
}

size_t mn_attention_scratch(const mn_arithmetic *arithmetic, uint32_t max_length, uint32_t head)
{
    head_space space = {0};
    mn_image image = {0};
    place(&space, arithmetic, max_length, head, &image);
    return image.overflow ? 0 : image.size;
}

/* Keys, as rows of groups, become columns; those past the last key are zero. */
static void pack_keys(const head_space *space, const uint32_t *keys, size_t stride, uint32_t length, uint32_t panel)
{
    uint32_t groups = space->head_groups;
    for (uint32_t k = 0; k < space->padded_length; k++) {
        uint32_t *column = space->key_panels + (size_t)(k / panel) * groups * panel + k % panel;
        const uint32_t *key = keys + k * stride;
        for (uint32_t g = 0; g < groups; g++) column[(size_t)g * panel] = k < length ? key[g] : 0;
    }
}

/* What the products of one head read: pointers into qkv or scratch. */
typedef struct head_operands {
    const uint32_t *queries;
    size_t query_stride;
} head_operands;

static head_operands prepare(const head_space *space, const mn_arithmetic *a, const float *q, size_t stride,
                             uint32_t length, uint32_t n_heads, uint32_t head)
{
    const mn_row_format own = row_format(a, head), *format = &own;
    uint32_t width = n_heads * head, groups = space->head_groups, panel = a->attention->panel;
    const float *k = q + width, *v = q + 2 * (size_t)width;
    /* Whole groups of floats are the rows themselves. */
    head_operands operands = {(const uint32_t *)(const void *)q, stride};
    const uint32_t *keys = (const uint32_t *)(const void *)k;
    if (!in_place(format)) {
        operands = (head_operands){space->queries, groups};
        keys = space->keys;
        a->kernels->convert_rows(format, q, stride, length, head, groups, space->queries, groups, space->query_scales,
                                 NULL);
        a->kernels->convert_rows(format, k, stride, length, head, groups, space->keys, groups, space->key_scales, NULL);
    }
    pack_keys(space, keys, in_place(format) ? stride : groups, length, panel);
    for (uint32_t c = 0; c < head; c += panel)
        a->kernels->pack_columns(format, format->limit, v + c, stride, length, head - c < panel ? head - c : panel,
                                 space->length_groups, panel, space->value_panels + (size_t)c * space->length_groups,
                                 space->value_scales + c);
    return operands;
}

/* out (rows, n_columns) = rows (rows, n_groups) times the panels. scales: of rows, of columns; NULL = 1. */
static void multiply_panels(const mn_arithmetic *a, const uint32_t *rows, size_t stride, uint32_t n_rows,
                            const uint32_t *panels, uint32_t n_groups, uint32_t n_columns, const float *row_scale,
                            const float *column_scale, float *out, size_t out_stride)
{
    uint32_t panel = a->attention->panel;
    uint32_t tile[MN_TILE_ROWS_MAX * MN_PANEL_MAX] __attribute__((aligned(64)));
    mn_finish finish = {.integers = mn_is_integer(a->attention->element),
                        .tile_stride = panel,
                        .row_scale = row_scale,
                        .out_element = MN_ELEMENT_F32};
    for (uint32_t c = 0; c < n_columns; c += panel) {
        a->attention->multiply(rows, stride, n_rows, panels + (size_t)c * n_groups, n_groups, tile);
        finish.column_scale = column_scale ? column_scale + c : NULL;
        a->kernels->finish(&finish, tile, n_rows, n_columns - c < panel ? n_columns - c : panel, out + c, out_stride);
    }
}

static void attend_head(const head_space *space, const mn_arithmetic *a, const head_operands *operands, uint32_t length,
                        uint32_t head, float *out, size_t out_stride)
{
    const mn_row_format own = row_format(a, head), *format = &own;
    bool integers = mn_is_integer(format->element);
    float scale = 1.0f / sqrtf((float)head);
    uint32_t step = a->attention->tile_rows, groups = space->length_groups;
    uint32_t *weights = in_place(format) ? (uint32_t *)(void *)space->scores : space->weights;
    size_t weights_stride = in_place(format) ? space->padded_length : groups;
    for (uint32_t t = 0; t < length; t += step) {
        uint32_t n = length - t < step ? length - t : step;
        multiply_panels(a, operands->queries + t * operands->query_stride, operands->query_stride, n, space->key_panels,
                        space->head_groups, length, integers ? space->query_scales + t : NULL,
                        integers ? space->key_scales : NULL, space->scores, space->padded_length);
        a->kernels->softmax(format, space->scores, space->padded_length, n, length, scale, groups, weights,
                            weights_stride, space->factors);
        multiply_panels(a, weights, weights_stride, n, space->value_panels, groups, head, space->factors,
                        integers ? space->value_scales : NULL, out + t * out_stride, out_stride);
    }
}

void mn_attention_run_head(const mn_arithmetic *arithmetic, const float *qkv, uint32_t length, uint32_t n_heads,
                           uint32_t head, uint32_t h, void *scratch, float *out)
{
    head_space space = {0};
    mn_image image = {.base = scratch};
    place(&space, arithmetic, length, head, &image);
    if (arithmetic->attention->begin) arithmetic->attention->begin();
    head_operands operands =
        prepare(&space, arithmetic, qkv + (size_t)h * head, 3 * (size_t)n_heads * head, length, n_heads, head);
    attend_head(&space, arithmetic, &operands, length, head, out + (size_t)h * head, (size_t)n_heads * head);
    if (arithmetic->attention->end) arithmetic->attention->end();
}

void mn_attention_run(const mn_arithmetic *arithmetic, const float *qkv, uint32_t length, uint32_t n_heads,
                      uint32_t head, void *scratch, float *out)
{
    for (uint32_t h = 0; h < n_heads; h++)
        mn_attention_run_head(arithmetic, qkv, length, n_heads, head, h, scratch, out);
}
