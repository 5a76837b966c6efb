/* linear.c -- packing weights into panels, and running them panel by panel over a block of rows.
 *
 * The loop over panels is the outer one: a panel (24 KB for 384 floats), or a part of its depth where the kernel wants
 * it so, stays in the first-level cache while all rows of the block pass. */
#include "encoder/linear.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- precisions ------------------------------------------------------------------------------------------------ */

static const char *const precision_names[] = {"f32", "bf16", "int16", "int8"};

const char *mn_precision_name(mn_precision precision)
{
    return precision_names[precision];
}

bool mn_precision_parse(const char *name, mn_precision *out)
{
    for (size_t i = 0; i < sizeof precision_names / sizeof precision_names[0]; i++) {
        if (strcmp(name, precision_names[i]) != 0) continue;
        *out = (mn_precision)i;
        return true;
    }
    return false;
}

static const mn_product_kernel *kernel_for(mn_element element, mn_cpu_level level, bool reference)
{
    const mn_product_kernel *kernel = reference ? NULL : mn_product_kernel_for(element, level);
    if (kernel || reference || element == MN_ELEMENT_F32 || element == MN_ELEMENT_I16)
        return kernel ? kernel : mn_product_kernel_reference(element);
    return NULL; /* the caller has another way, faster than plain C */
}

static void use_floats(mn_arithmetic *a, mn_cpu_level level, bool reference, bool bf16)
{
    const mn_product_kernel *kernel = bf16 ? kernel_for(MN_ELEMENT_BF16, level, reference) : NULL;
    a->rows = kernel ? (mn_row_format){.element = MN_ELEMENT_BF16}
                     : (mn_row_format){.element = MN_ELEMENT_F32, .rounded = bf16};
    a->product = kernel ? kernel : kernel_for(MN_ELEMENT_F32, level, reference);
    a->attention = a->product;
    a->attention_rows = a->rows;
}

static void use_integers(mn_arithmetic *a, mn_cpu_level level, bool reference, bool int8)
{
    const mn_product_kernel *bytes = int8 ? kernel_for(MN_ELEMENT_U8, level, reference) : NULL;
    const mn_product_kernel *bf16 = int8 && !reference ? kernel_for(MN_ELEMENT_BF16, level, false) : NULL;
    const mn_product_kernel *halves = kernel_for(MN_ELEMENT_I16, level, reference);
    a->product = bytes ? bytes : halves;
    a->rows = (mn_row_format){
        .element = a->product->element, .from_zero = int8, .limit = int8 ? MN_INT8_ROW_LIMIT : MN_INT16_ROW_LIMIT};
    a->weight_limit = int8 ? MN_INT8_WEIGHT_LIMIT : MN_INT16_WEIGHT_LIMIT;
    a->attention = bf16 ? bf16 : halves;
    a->attention_rows = bf16 ? (mn_row_format){.element = MN_ELEMENT_BF16}
                             : (mn_row_format){.element = MN_ELEMENT_I16, .limit = MN_INT16_ROW_LIMIT};
}

mn_arithmetic mn_arithmetic_for(mn_precision precision, mn_cpu_level level, bool reference)
{
    mn_arithmetic a = {.precision = precision, .kernels = reference ? mn_kernels_reference() : mn_kernels_for(level)};
    if (precision == MN_PRECISION_F32 || precision == MN_PRECISION_BF16)
        use_floats(&a, level, reference, precision == MN_PRECISION_BF16);
    else
        use_integers(&a, level, reference, precision == MN_PRECISION_INT8);
    return a;
}

mn_precision mn_fastest_precision(mn_cpu_level level, bool reference, const char **reason)
{
    if (reference) {
        *reason = "plain C gains nothing from another format";
        return MN_PRECISION_F32;
    }
    if (mn_product_kernel_for(MN_ELEMENT_BF16, level)) {
        *reason = "this processor multiplies bfloat16";
        return MN_PRECISION_BF16;
    }
    if (mn_product_kernel_for(MN_ELEMENT_I16, level)) {
        *reason = "no bfloat16 instructions here; int16 is as exact and twice as fast as f32";
        return MN_PRECISION_INT16;
    }
    *reason = "this processor has none of the vector instructions that other formats need";
    return MN_PRECISION_F32;
}

/* ---- weights --------------------------------------------------------------------------------------------------- */

void *mn_image_take(mn_image *image, size_t n, size_t size)
{
    size_t bytes = 0, start = image->size;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2 - start) {
        image->overflow = true;
        return NULL;
    }
    image->size = (start + bytes + 63) / 64 * 64;
    return image->base ? image->base + start : NULL;
}

void mn_linear_place(mn_linear *linear, const mn_arithmetic *arithmetic, uint32_t n_out, uint32_t n_in, mn_image *image)
{
    const mn_product_kernel *kernel = arithmetic->product;
    *linear = (mn_linear){.n_out = n_out, .n_in = n_in, .n_groups = mn_product_groups(kernel, n_in)};
    size_t columns = mn_round_up(n_out, kernel->panel);
    linear->panels = mn_image_take(image, columns, (size_t)linear->n_groups * sizeof(uint32_t));
    linear->bias = mn_image_take(image, columns, sizeof(float));
    if (mn_is_integer(kernel->element)) linear->scale = mn_image_take(image, columns, sizeof(float));
    if (arithmetic->rows.from_zero) linear->sum = mn_image_take(image, columns, sizeof(float));
}

/* One column of the panels: its weights' bits, group by group. Returns the sum of the integers. */
static int64_t fill_column(const mn_linear *linear, const mn_arithmetic *a, const float *weight, float scale,
                           uint32_t *column)
{
    mn_element element = a->product->element;
    uint32_t per_group = mn_group_size(element), panel = a->product->panel;
    float inverse = scale >= FLT_MIN ? 1.0f / scale : 0.0f;
    int64_t sum = 0;
    for (uint32_t i = 0; i < linear->n_in; i++) {
        unsigned width = 32 / per_group, shift = i % per_group * width;
        uint32_t bits;
        if (mn_is_integer(element)) {
            int32_t value = (int32_t)nearbyintf(weight[i] * inverse);
            sum += value;
            bits = (uint32_t)value & (element == MN_ELEMENT_U8 ? 0xFFu : 0xFFFFu);
        } else if (element == MN_ELEMENT_BF16) {
            bits = mn_round_bf16(mn_float_bits(weight[i])) >> 16;
        } else {
            bits = a->rows.rounded ? mn_round_bf16(mn_float_bits(weight[i])) : mn_float_bits(weight[i]);
        }
        column[(size_t)(i / per_group) * panel] |= bits << shift;
    }
    return sum;
}

/* mn_integer_scale of one row of the weight matrix. */
static float scale_of(const mn_arithmetic *a, const float *weight, uint32_t n)
{
    float largest = 0;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(weight[i]));
        sum += (double)fabsf(weight[i]);
    }
    return mn_integer_scale(largest, sum, n, a->weight_limit, a->rows.limit);
}

void mn_linear_fill(mn_linear *linear, const mn_arithmetic *arithmetic, uint32_t first, uint32_t n, const float *weight,
                    const float *bias)
{
    uint32_t panel = arithmetic->product->panel;
    for (uint32_t c = first; c < first + n; c++, weight += linear->n_in) {
        uint32_t *column = linear->panels + (size_t)(c / panel) * linear->n_groups * panel + c % panel;
        float scale = linear->scale ? scale_of(arithmetic, weight, linear->n_in) : 0;
        if (linear->scale) linear->scale[c] = scale;
        linear->bias[c] = bias[c - first];
        for (uint32_t g = 0; g < linear->n_groups; g++) column[(size_t)g * panel] = 0;
        int64_t sum = fill_column(linear, arithmetic, weight, scale, column);
        if (linear->sum) linear->sum[c] = (float)sum;
    }
}

/* ---- running --------------------------------------------------------------------------------------------------- */

uint32_t mn_linear_panels(const mn_linear *linear, const mn_arithmetic *arithmetic)
{
    uint32_t panel = arithmetic->product->panel;
    return linear->n_out / panel + (linear->n_out % panel != 0);
}

enum { STREAMED_ROWS_MAX = 256, LINE = 64 };

/* Rows [r, r + n_rows) times `groups` groups of one panel, from group g on. */
typedef struct linear_pass {
    const uint32_t *weights;
    uint32_t c, columns, g, groups, r, n_rows;
    bool streamed; /* by multiply_part */
} linear_pass;

/* While the rows from `done` on pass, fetch their share of what lies behind the pass's weights. A prefetch touches
 * nothing: that may be past the end. */
static void fetch_share(const linear_pass *pass, uint32_t panel, uint32_t done, uint32_t rows)
{
    size_t bytes = (size_t)pass->groups * panel * sizeof *pass->weights, end = bytes * (done + rows) / pass->n_rows;
    uintptr_t next = (uintptr_t)pass->weights + bytes;
    for (size_t at = bytes * done / pass->n_rows; at < end; at += LINE)
        __builtin_prefetch((const void *)(next + at), 0, 2);
}

/* sums: of all rows of the pass where it is not the whole depth, else of a tile. */
static void run_pass(const linear_pass *pass, const mn_linear *linear, const mn_arithmetic *a, const mn_linear_rows *x,
                     const mn_linear_out *out, uint32_t *sums)
{
    const mn_product_kernel *kernel = a->product;
    size_t element_size = mn_element_size(out->element);
    bool integers = mn_is_integer(kernel->element), whole = pass->groups == linear->n_groups;
    bool last = pass->g + pass->groups == linear->n_groups;
    mn_finish finish = {.integers = integers,
                        .tile_stride = kernel->panel,
                        .column_scale = linear->scale ? linear->scale + pass->c : NULL,
                        .column_sum = linear->sum ? linear->sum + pass->c : NULL,
                        .bias = linear->bias + pass->c,
                        .activation = out->activation,
                        .out_element = out->element};
    for (uint32_t done = 0, rows; done < pass->n_rows; done += rows) {
        size_t r = (size_t)pass->r + done;
        const uint32_t *x_rows = x->rows + r * x->stride + pass->g;
        uint32_t *tile = whole ? sums : sums + (size_t)done * kernel->panel;
        rows = mn_tile_rows(kernel, pass->n_rows - done);
        if (pass->streamed) {
            fetch_share(pass, kernel->panel, done, rows);
            kernel->multiply_part(x_rows, x->stride, rows, pass->weights, pass->groups, pass->g == 0, tile);
        } else {
            kernel->multiply(x_rows, x->stride, rows, pass->weights, pass->groups, tile);
        }
        if (!last) continue;
        if (integers) finish.row_scale = x->scales + r;
        if (linear->sum) finish.row_low = x->lows + r;
        a->kernels->finish(&finish, tile, rows, pass->columns,
                           (char *)out->y + (r * out->stride + pass->c) * element_size, out->stride);
    }
}

/* Groups of one pass: the depth in as few equal parts as the kernel's longest allows. */
static uint32_t groups_of_part(const mn_product_kernel *kernel, uint32_t n_groups)
{
    uint32_t n_parts = (n_groups + kernel->part_groups - 1) / kernel->part_groups;
    return mn_round_up((n_groups + n_parts - 1) / n_parts, kernel->group_multiple);
}

void mn_linear_run_panels(const mn_linear *linear, const mn_arithmetic *arithmetic, const mn_linear_rows *x,
                          const mn_linear_out *out, uint32_t first, uint32_t n)
{
    const mn_product_kernel *kernel = arithmetic->product;
    uint32_t panel = kernel->panel, n_groups = linear->n_groups;
    linear_pass pass = {.streamed = mn_streams_rows(kernel, x->n_rows)};
    uint32_t depth = pass.streamed ? groups_of_part(kernel, n_groups) : n_groups;
    uint32_t block = pass.streamed ? STREAMED_ROWS_MAX : x->n_rows;
    uint32_t sums[STREAMED_ROWS_MAX * MN_PANEL_MAX] __attribute__((aligned(64)));
    if (kernel->begin) kernel->begin();
    for (pass.c = first * panel; pass.c < linear->n_out && pass.c < (first + n) * panel; pass.c += panel) {
        const uint32_t *weights = linear->panels + (size_t)pass.c * n_groups;
        pass.columns = linear->n_out - pass.c < panel ? linear->n_out - pass.c : panel;
        for (pass.r = 0; pass.r < x->n_rows; pass.r += pass.n_rows) {
            pass.n_rows = x->n_rows - pass.r < block ? x->n_rows - pass.r : block;
            for (pass.g = 0; pass.g < n_groups; pass.g += pass.groups) {
                pass.weights = weights + (size_t)pass.g * panel;
                pass.groups = n_groups - pass.g < depth ? n_groups - pass.g : depth;
                run_pass(&pass, linear, arithmetic, x, out, sums);
            }
        }
    }
    if (kernel->end) kernel->end();
}

void mn_linear_run(const mn_linear *linear, const mn_arithmetic *arithmetic, const mn_linear_rows *x,
                   const mn_linear_out *out)
{
    mn_linear_run_panels(linear, arithmetic, x, out, 0, mn_linear_panels(linear, arithmetic));
}
