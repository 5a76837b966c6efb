/* self_attention.c -- attention as two products per head.
 *
 *     keys become panels (a key is a column)            values become panels (a component is a column)
 *     for every few queries:  scores = q * keys   ->  softmax  ->  weights * values  ->  out */
#include "encoder/self_attention.h"

#include <math.h>
#include <string.h>

/* Everything for one head, in scratch. Groups: see product.h. */
typedef struct head_space {
    uint32_t *queries, *keys; /* (L rounded up, D groups); not where qkv itself is used */
    float *query_scales, *key_scales;
    uint32_t *key_panels;   /* (L / panel, D groups, panel) */
    uint32_t *value_panels; /* (D / panel, L groups, panel) */
    float *value_scales;    /* (D) */
    float *scores;          /* (L / panel, tile rows, panel) */
    uint32_t *weights;      /* (tile rows, weight stride) */
    float *factors;         /* (tile rows) */
    uint32_t head_groups, length_groups, padded_length, weight_stride;
} head_space;

mn_element mn_attention_element(const mn_arithmetic *arithmetic, uint32_t head)
{
    const mn_product_kernel *kernel = arithmetic->attention;
    bool whole = head % (2 * kernel->group_multiple) == 0;
    return kernel->element == MN_ELEMENT_BF16 && whole ? MN_ELEMENT_BF16 : MN_ELEMENT_F32;
}

/* Are queries and keys read where they lie? */
static bool in_place(const mn_arithmetic *a, uint32_t head)
{
    return !a->attention_rows.rounded && a->attention_rows.element == mn_attention_element(a, head);
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
    if (!in_place(a, head)) {
        space->queries = mn_image_take(image, (size_t)rows * space->head_groups, sizeof(uint32_t));
        space->keys = mn_image_take(image, (size_t)rows * space->head_groups, sizeof(uint32_t));
    }
    space->query_scales = mn_image_take(image, rows, sizeof(float));
    space->key_scales = mn_image_take(image, rows, sizeof(float));
    space->key_panels = mn_image_take(image, (size_t)space->padded_length * space->head_groups, sizeof(uint32_t));
    space->value_panels =
        mn_image_take(image, (size_t)mn_round_up(head, panel) * space->length_groups, sizeof(uint32_t));
    space->value_scales = mn_image_take(image, mn_round_up(head, panel), sizeof(float));
    space->scores = mn_image_take(image, (size_t)kernel->tile_rows * space->padded_length, sizeof(float));
    space->weight_stride = mn_round_up(length, MN_PANEL_MAX) / mn_group_size(kernel->element);
    space->weights = mn_image_take(image, (size_t)MN_TILE_ROWS_MAX * space->weight_stride, sizeof(uint32_t));
    space->factors = mn_image_take(image, MN_TILE_ROWS_MAX, sizeof(float));
}

size_t mn_attention_scratch(const mn_arithmetic *arithmetic, uint32_t max_length, uint32_t head)
{
    head_space space = {0};
    mn_image image = {0};
    place(&space, arithmetic, max_length, head, &image);
    return image.overflow ? 0 : image.size;
}

/* What the products of one head read: pointers into qkv or scratch. */
typedef struct head_operands {
    const uint32_t *queries;
    size_t query_stride;
} head_operands;

/* v: the first row's; stride in elements. */
static void pack_values(const head_space *space, const mn_arithmetic *a, const mn_row_format *format, const char *v,
                        mn_element element, size_t stride, uint32_t length, uint32_t head)
{
    uint32_t panel = a->attention->panel;
    for (uint32_t c = 0; c < head; c += panel) {
        uint32_t n = head - c < panel ? head - c : panel;
        uint32_t *panels = space->value_panels + (size_t)c * space->length_groups;
        if (element == MN_ELEMENT_BF16)
            a->kernels->pack_bf16_columns((const uint16_t *)(const void *)v + c, stride, length, n,
                                          space->length_groups, panel, panels);
        else
            a->kernels->pack_columns(format, format->limit, (const float *)(const void *)v + c, stride, length, n,
                                     space->length_groups, panel, panels, space->value_scales + c);
    }
}

/* q: the first row's, k and v after it; stride in elements. */
static head_operands prepare(const head_space *space, const mn_arithmetic *a, const char *q, size_t stride,
                             uint32_t length, uint32_t n_heads, uint32_t head)
{
    const mn_row_format own = row_format(a, head), *format = &own;
    mn_element element = mn_attention_element(a, head);
    size_t width = (size_t)n_heads * head * mn_element_size(element);
    const char *k = q + width, *v = k + width;
    /* Whole groups are the rows themselves. */
    size_t group_stride = stride * mn_element_size(element) / sizeof(uint32_t);
    head_operands operands = {(const uint32_t *)(const void *)q, group_stride};
    const uint32_t *keys = (const uint32_t *)(const void *)k;
    if (!in_place(a, head)) {
        uint32_t groups = space->head_groups;
        operands = (head_operands){space->queries, groups};
        keys = space->keys;
        group_stride = groups;
        a->kernels->convert_rows(format, (const float *)(const void *)q, stride, length, head, groups, space->queries,
                                 groups, space->query_scales, NULL);
        a->kernels->convert_rows(format, (const float *)(const void *)k, stride, length, head, groups, space->keys,
                                 groups, space->key_scales, NULL);
    }
    a->kernels->pack_rows(keys, group_stride, length, space->head_groups, a->attention->panel, space->key_panels);
    pack_values(space, a, format, v, element, stride, length, head);
    return operands;
}

/* scores (tiles, one for each panel of keys) = queries (n_rows) times keys. t: the first query's row. */
static void score(const head_space *space, const mn_arithmetic *a, const head_operands *operands, uint32_t t,
                  uint32_t n_rows, uint32_t length)
{
    uint32_t panel = a->attention->panel, groups = space->head_groups;
    const uint32_t *queries = operands->queries + t * operands->query_stride;
    for (uint32_t c = 0; c < length; c += panel) {
        float *tile = space->scores + (size_t)c * a->attention->tile_rows;
        a->attention->multiply(queries, operands->query_stride, n_rows, space->key_panels + (size_t)c * groups, groups,
                               tile);
        if (!mn_is_integer(a->attention->element)) continue;
        const mn_finish finish = {.integers = true,
                                  .tile_stride = panel,
                                  .row_scale = space->query_scales + t,
                                  .column_scale = space->key_scales + c,
                                  .out_element = MN_ELEMENT_F32};
        a->kernels->finish(&finish, tile, n_rows, length - c < panel ? length - c : panel, tile, panel);
    }
}

/* out (n_rows, D) = weights times values. out: the head's first column. */
static void weigh(const head_space *space, const mn_arithmetic *a, uint32_t n_rows, uint32_t head, mn_element element,
                  char *out, size_t out_stride)
{
    uint32_t panel = a->attention->panel, groups = space->length_groups;
    uint32_t tile[MN_TILE_ROWS_MAX * MN_PANEL_MAX] __attribute__((aligned(64)));
    bool integers = mn_is_integer(a->attention->element);
    for (uint32_t c = 0; c < head; c += panel) {
        a->attention->multiply(space->weights, space->weight_stride, n_rows, space->value_panels + (size_t)c * groups,
                               groups, tile);
        const mn_finish finish = {.integers = integers,
                                  .tile_stride = panel,
                                  .row_scale = space->factors,
                                  .column_scale = integers ? space->value_scales + c : NULL,
                                  .out_element = element};
        a->kernels->finish(&finish, tile, n_rows, head - c < panel ? head - c : panel,
                           out + c * mn_element_size(element), out_stride);
    }
}

/* out: the head's first column. */
static void attend_head(const head_space *space, const mn_arithmetic *a, const head_operands *operands, uint32_t length,
                        uint32_t head, const mn_attention_rows *rows, char *out)
{
    const mn_row_format format = row_format(a, head);
    const mn_product_kernel *kernel = a->attention;
    float scale = 1.0f / sqrtf((float)head);
    for (uint32_t t = 0, n; t < length; t += n) {
        n = mn_tile_rows(kernel, length - t);
        score(space, a, operands, t, n, length);
        a->kernels->softmax(&format, space->scores, kernel->tile_rows, kernel->panel, n, length, scale, space->weights,
                            space->weight_stride, space->factors);
        weigh(space, a, n, head, rows->out_element, out + t * rows->out_stride * mn_element_size(rows->out_element),
              rows->out_stride);
    }
}

void mn_attention_run_head(const mn_arithmetic *arithmetic, const mn_attention_rows *rows, uint32_t length,
                           uint32_t n_heads, uint32_t head, uint32_t h, void *scratch)
{
    head_space space = {0};
    mn_image image = {.base = scratch};
    size_t column = (size_t)h * head;
    place(&space, arithmetic, length, head, &image);
    if (arithmetic->attention->begin) arithmetic->attention->begin();
    const char *q = (const char *)rows->qkv + column * mn_element_size(mn_attention_element(arithmetic, head));
    head_operands operands = prepare(&space, arithmetic, q, 3 * (size_t)n_heads * head, length, n_heads, head);
    attend_head(&space, arithmetic, &operands, length, head, rows,
                (char *)rows->out + column * mn_element_size(rows->out_element));
    if (arithmetic->attention->end) arithmetic->attention->end();
}

void mn_attention_run(const mn_arithmetic *arithmetic, const mn_attention_rows *rows, uint32_t length, uint32_t n_heads,
                      uint32_t head, void *scratch)
{
    for (uint32_t h = 0; h < n_heads; h++) mn_attention_run_head(arithmetic, rows, length, n_heads, head, h, scratch);
}
