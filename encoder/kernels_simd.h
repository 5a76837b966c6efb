/* kernels_simd.h -- the vector kernels, written once with the compiler's vector types. kernels_avx2.c, kernels_avx512.c
 * and kernels_avx512bf16.c include this with LANES (floats in a vector), TABLE (the function that returns the table)
 * and TABLE_NAME set. */
#include "encoder/kernels.h"
#include "encoder/vector_math_simd.h"

#include <float.h>
#include <math.h>

/* ---- after a product ------------------------------------------------------------------------------------------ */

/* What finish does to a tile, known when it is compiled, but for the pointers: copies, which no store can change. */
ALWAYS_INLINE void finish_tile(const mn_finish *finish, const void *tile, uint32_t n_rows, uint32_t n, void *out,
                               size_t out_stride, bool integers, mn_activation activation, mn_element out_element)
{
    const mn_finish by = *finish;
    /* Columns are the outer loop, so that what belongs to a column is loaded once. */
    FOR_ROW(i, n, {
        vec scale = by.column_scale ? load_part(by.column_scale + i, left) : splat(1.0f);
        vec bias = by.bias ? load_part(by.bias + i, left) : (vec){0};
        vec sum = by.row_low ? load_part(by.column_sum + i, left) : (vec){0};
        for (size_t r = 0; r < n_rows; r++) {
            const float *sums = (const float *)tile + r * by.tile_stride + i; /* tiles are whole vectors wide */
            vec y = integers ? __builtin_convertvector(*(const ivec *)(const void *)sums, vec) : load(sums);
            if (by.row_scale) y *= splat(by.row_scale[r]);
            if (by.row_low) y += splat(by.row_low[r]) * sum;
            y = y * scale + bias;
            if (activation == MN_ACTIVATION_GELU) y = gelu(y);
            if (activation == MN_ACTIVATION_GELU_NEAR) y = gelu_near(y);
            if (activation == MN_ACTIVATION_RELU) y = larger(y, splat(0.0f));
            if (out_element == MN_ELEMENT_F32)
                store_part((float *)out + r * out_stride + i, y, left);
            else
                store_part_halves((uint16_t *)out + r * out_stride + i, to_bf16(y), left);
        }
    });
}

static void simd_finish(const mn_finish *finish, const void *tile, uint32_t n_rows, uint32_t n_columns, void *out,
                        size_t out_stride)
{
#define FINISH(integers, activation, element)                                                                          \
    finish_tile(finish, tile, n_rows, n_columns, out, out_stride, integers, activation, element)
#define FINISH_ANY(activation)                                                                                         \
    do {                                                                                                               \
        if (finish->out_element == MN_ELEMENT_F32 && finish->integers)                                                 \
            FINISH(true, activation, MN_ELEMENT_F32);                                                                  \
        else if (finish->out_element == MN_ELEMENT_F32)                                                                \
            FINISH(false, activation, MN_ELEMENT_F32);                                                                 \
        else if (finish->integers)                                                                                     \
            FINISH(true, activation, MN_ELEMENT_BF16);                                                                 \
        else                                                                                                           \
            FINISH(false, activation, MN_ELEMENT_BF16);                                                                \
    } while (0)
    switch (finish->activation) {
    case MN_ACTIVATION_NONE: FINISH_ANY(MN_ACTIVATION_NONE); break;
    case MN_ACTIVATION_GELU: FINISH_ANY(MN_ACTIVATION_GELU); break;
    case MN_ACTIVATION_GELU_NEAR: FINISH_ANY(MN_ACTIVATION_GELU_NEAR); break;
    case MN_ACTIVATION_RELU: FINISH_ANY(MN_ACTIVATION_RELU); break;
    }
#undef FINISH
#undef FINISH_ANY
}

/* ---- operands of products ------------------------------------------------------------------------------------- */

/* n values in `format`; integers: (x - low) * inverse, rounded. */
static inline void convert_row(const mn_row_format *format, const float *x, uint32_t n, float low, float inverse,
                               void *out)
{
    vec by = splat(inverse), from = splat(low);
    switch (format->element) {
    case MN_ELEMENT_F32:
        if (format->rounded)
            FOR_ROW(i, n, { store_part((float *)out + i, (vec)round_bf16_bits(load_part(x + i, left)), left); });
        else
            memmove(out, x, n * sizeof(float));
        break;
    case MN_ELEMENT_BF16:
        FOR_ROW(i, n, { store_part_halves((uint16_t *)out + i, to_bf16(load_part(x + i, left)), left); });
        break;
    case MN_ELEMENT_I16:
        FOR_ROW(i, n, { store_halves((uint16_t *)out + i, round_vec((load_part(x + i, left) - from) * by), left); });
        break;
    case MN_ELEMENT_U8:
        FOR_ROW(i, n, { store_bytes((uint8_t *)out + i, round_vec((load_part(x + i, left) - from) * by), left); });
        break;
    }
}

static inline void clear_behind(const mn_row_format *format, uint32_t *row, uint32_t n, uint32_t n_groups)
{
    size_t used = (size_t)n * 4 / mn_group_size(format->element);
    if ((size_t)n_groups * 4 > used) memset((char *)row + used, 0, (size_t)n_groups * 4 - used);
}

static inline float inverse_of(float scale)
{
    return scale >= FLT_MIN ? 1.0f / scale : 0.0f;
}

/* Floats. Rows that a product has just written column by column lie in the third-level cache again: its weights have
 * passed meanwhile. 512, 1,024, 2,048 and 3,072 gained less on AVX2 (int16, MiniLM, whose widest row this is). */
enum { FETCH_AHEAD = 1536 };

/* What is fetched may lie behind the rows: a prefetch touches nothing, but no pointer may point there. */
static inline void fetch_ahead(const float *x)
{
    __builtin_prefetch((const void *)((uintptr_t)x + FETCH_AHEAD * sizeof(float)));
}

/* A row in integers from its least value, or 0, up; its range is known (normalize_rows). */
static inline void convert_from_zero(const mn_row_format *format, const float *row, uint32_t n, uint32_t n_groups,
                                     vec largest, vec most_negative, uint32_t *out, float *scale, float *low)
{
    *low = -largest_lane(most_negative);
    *scale = (largest_lane(largest) - *low) / (float)format->limit;
    convert_row(format, row, n, *low, inverse_of(*scale), out);
    clear_behind(format, out, n, n_groups);
}

static void simd_convert_rows(const mn_row_format *format, const float *x, size_t x_stride, uint32_t n_rows, uint32_t n,
                              uint32_t n_groups, uint32_t *out, size_t out_stride, float *scales, float *lows)
{
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = x + r * x_stride;
        float inverse = 1;
        vec largest = {0}, most_negative = {0}; /* its magnitude */
        if (format->from_zero) {
            FOR_ROW(i, n, {
                fetch_ahead(row + i);
                vec v = load_part(row + i, left);
                largest = larger(v, largest);
                most_negative = larger(-v, most_negative);
            });
            convert_from_zero(format, row, n, n_groups, largest, most_negative, out + r * out_stride, scales + r,
                              lows + r);
            continue;
        }
        if (mn_is_integer(format->element)) {
            FOR_ROW(i, n, {
                fetch_ahead(row + i);
                largest = larger(absolute(load_part(row + i, left)), largest);
            });
            scales[r] = largest_lane(largest) / (float)format->limit;
            inverse = inverse_of(scales[r]);
        }
        convert_row(format, row, n, 0, inverse, out + r * out_stride);
        clear_behind(format, out + r * out_stride, n, n_groups);
    }
}

/* Per column: what values are multiplied by before they are rounded. */
static inline vec column_inverses(const mn_row_format *format, int32_t row_limit, const float *x, size_t x_stride,
                                  uint32_t depth, size_t left, float *column_scale)
{
    vec largest = {0}, sum = {0}, inverses = {0};
    for (size_t k = 0; k < depth; k++) {
        vec v = absolute(load_part(x + k * x_stride, left));
        largest = larger(v, largest);
        sum += v;
    }
    for (size_t c = 0; c < LANES && c < left; c++) {
        /* In float each addition may have lost half a unit of the last place. */
        double most = (double)sum[c] * (1 + depth * (double)FLT_EPSILON);
        column_scale[c] = mn_integer_scale(largest[c], most, depth, format->limit, row_limit);
        inverses[c] = inverse_of(column_scale[c]);
    }
    return inverses;
}

/* The 16-bit form of a value, in the low half of each lane. */
static inline ivec half_bits(mn_element element, vec v, vec inverses)
{
    if (element == MN_ELEMENT_I16) return round_vec(v * inverses) & 0xFFFF;
    return __builtin_convertvector((uhvec)to_bf16(v), ivec);
}

/* One column of vectors of a panel. */
static void pack_column(const mn_row_format *format, const float *x, size_t x_stride, uint32_t depth, size_t left,
                        vec inverses, uint32_t n_groups, uint32_t panel, uint32_t *out)
{
    size_t per_group = mn_group_size(format->element);
    for (size_t g = 0; g < n_groups; g++) {
        const float *row = x + g * per_group * x_stride;
        size_t rows = g * per_group < depth && left ? depth - g * per_group : 0;
        vec first = rows > 0 ? load_part(row, left) : (vec){0};
        ivec group;
        if (format->element == MN_ELEMENT_F32) {
            group = format->rounded ? round_bf16_bits(first) : (ivec)first;
        } else {
            vec second = rows > 1 ? load_part(row + x_stride, left) : (vec){0};
            group = half_bits(format->element, first, inverses) | (half_bits(format->element, second, inverses) << 16);
        }
        *(ivec *)(out + g * panel) = group;
    }
}

static void simd_pack_columns(const mn_row_format *format, int32_t row_limit, const float *x, size_t x_stride,
                              uint32_t depth, uint32_t n_columns, uint32_t n_groups, uint32_t panel, uint32_t *out,
                              float *column_scale)
{
    for (size_t c = 0; c < panel; c += LANES) {
        size_t left = c < n_columns ? n_columns - c : 0;
        vec inverses = {0};
        if (left && format->element == MN_ELEMENT_I16)
            inverses = column_inverses(format, row_limit, x + c, x_stride, depth, left, column_scale + c);
        pack_column(format, x + c, x_stride, depth, left, inverses, n_groups, panel, out + c);
    }
}

static void simd_pack_rows(const uint32_t *rows, size_t stride, uint32_t n_rows, uint32_t n_groups, uint32_t panel,
                           uint32_t *out)
{
    for (size_t r = 0; r < n_rows; r += 8) { /* a panel is a multiple of 16 wide */
        uint32_t *column = out + r / panel * n_groups * panel + r % panel;
        size_t g = 0;
        for (; n_rows - r >= 8 && g + 8 <= n_groups; g += 8)
            transpose8(rows + r * stride + g, stride, column + g * panel, panel);
        for (; g < n_groups; g++)
            for (size_t i = 0; i < 8; i++) column[g * panel + i] = r + i < n_rows ? rows[(r + i) * stride + g] : 0;
    }
    for (size_t r = mn_round_up(n_rows, 8); r < mn_round_up(n_rows, panel); r++)
        for (size_t g = 0; g < n_groups; g++) out[r / panel * n_groups * panel + g * panel + r % panel] = 0;
}

static void simd_pack_bf16_columns(const uint16_t *x, size_t x_stride, uint32_t depth, uint32_t n_columns,
                                   uint32_t n_groups, uint32_t panel, uint32_t *out)
{
    for (size_t c = 0; c < panel; c += LANES) {
        size_t left = c < n_columns ? n_columns - c : 0;
        for (size_t g = 0; g < n_groups; g++) {
            const uint16_t *row = x + 2 * g * x_stride + c;
            size_t rows = 2 * g < depth && left ? depth - 2 * g : 0;
            ivec first = rows > 0 ? (ivec)from_bf16(load_part_halves(row, left)) : (ivec){0};
            ivec second = rows > 1 ? (ivec)from_bf16(load_part_halves(row + x_stride, left)) : (ivec){0};
            *(ivec *)(out + g * panel + c) = (ivec)((uvec)first >> 16) | second;
        }
    }
}

/* ---- softmax and LayerNorm ------------------------------------------------------------------------------------ */

/* The scores of row r: tile after tile, `panel` (16 or 32) of each (kernels.h). */
typedef struct score_row {
    const float *first;
    size_t tile_size, panel;
    unsigned panel_bits;
} score_row;

static inline score_row score_row_at(const float *scores, uint32_t tile_rows, uint32_t panel, size_t r)
{
    return (score_row){.first = scores + r * panel,
                       .tile_size = (size_t)tile_rows * panel,
                       .panel = panel,
                       .panel_bits = (unsigned)__builtin_ctz(panel)};
}

/* A vector of them, from column c on; tiles are whole vectors wide. */
static inline vec load_scores(const score_row *row, size_t c)
{
    return load(row->first + (c >> row->panel_bits) * row->tile_size + (c & (row->panel - 1)));
}

static inline float largest_score(const score_row *row, size_t n)
{
    vec first = splat(row->first[0]), largest = first;
    size_t c = 0;
    for (; c + LANES <= n; c += LANES) largest = larger(load_scores(row, c), largest);
    if (c < n) largest = larger(choose_first(load_scores(row, c), first, n - c), largest);
    return largest_lane(largest);
}

/* exp(scale * (score - base)); by: scale / ln 2. NaN stays NaN. Without near no score is above the base. */
static inline vec weigh_scores(vec scores, vec base, vec by, bool near)
{
    vec t = (scores - base) * by;
    if (near) t = smaller(splat(127.0f), t);
    return exp2_within(larger(splat(-126.0f), t), near);
}

/* Two vectors of weights in `element`; adds what they were rounded to, two and two. */
ALWAYS_INLINE vec store_weights(vec low, vec high, mn_element element, bool rounded, float limit, void *out, size_t c,
                                vec sums)
{
    if (element == MN_ELEMENT_BF16) return store_bf16_pair((uint16_t *)out + c, low, high, sums);
    if (element == MN_ELEMENT_I16) {
        ivec whole_low = round_vec(low * splat(limit)), whole_high = round_vec(high * splat(limit));
        store_halves((uint16_t *)out + c, whole_low, LANES);
        store_halves((uint16_t *)out + c + LANES, whole_high, LANES);
        return sums + __builtin_convertvector(whole_low + whole_high, vec);
    }
    if (rounded) {
        low = (vec)round_bf16_bits(low);
        high = (vec)round_bf16_bits(high);
    }
    store((float *)out + c, low);
    store((float *)out + c + LANES, high);
    return sums + low + high;
}

/* weights = exp(scale * (scores - base)) in `element`, to out, and zeros up to MN_PANEL_MAX; returns sums of what
 * they were rounded to. */
ALWAYS_INLINE vec exponentiate(const score_row *row, size_t n, float scale, float base, mn_element element,
                               bool rounded, float limit, void *out)
{
    const bool near = element == MN_ELEMENT_BF16; /* 8 bits are left of them */
    const vec by = splat(scale * (float)M_LOG2E), from = splat(base);
    vec sums = {0};
    size_t c = 0;
    for (; c + 2 * LANES <= n; c += 2 * LANES) {
        vec low = weigh_scores(load_scores(row, c), from, by, near);
        vec high = weigh_scores(load_scores(row, c + LANES), from, by, near);
        sums = store_weights(low, high, element, rounded, limit, out, c, sums);
    }
    for (; c < mn_round_up((uint32_t)n, MN_PANEL_MAX); c += 2 * LANES) {
        vec low = {0}, high = {0};
        if (c < n) low = choose_first(weigh_scores(load_scores(row, c), from, by, near), low, n - c);
        if (c + LANES < n)
            high = choose_first(weigh_scores(load_scores(row, c + LANES), from, by, near), high, n - c - LANES);
        sums = store_weights(low, high, element, rounded, limit, out, c, sums);
    }
    return sums;
}

/* A row's softmax as bfloat16, whose exponents are a float's: so nearly every row needs no largest score for a base,
 * and 0 serves. Where the sum tells that a weight may have left the range, or will as a product, the largest is the
 * base. */
static inline vec exponentiate_bf16(const score_row *row, size_t n, float scale, float base, void *out)
{
    return exponentiate(row, n, scale, base, MN_ELEMENT_BF16, false, 1, out);
}

static void simd_softmax(const mn_row_format *format, const float *scores, uint32_t tile_rows, uint32_t panel,
                         uint32_t n_rows, uint32_t n, float scale, uint32_t *out, size_t out_stride, float *factor)
{
    /* Each of these loops is one of independent rows, so that none waits for what goes across the lanes. */
    const bool halves = format->element == MN_ELEMENT_BF16;
    float largest[MN_TILE_ROWS_MAX];
    vec sums[MN_TILE_ROWS_MAX];
    for (size_t r = 0; r < n_rows && !halves; r++) {
        const score_row row = score_row_at(scores, tile_rows, panel, r);
        largest[r] = largest_score(&row, n);
    }
    for (size_t r = 0; r < n_rows; r++) {
        const score_row row = score_row_at(scores, tile_rows, panel, r);
        uint32_t *to = out + r * out_stride;
        if (halves)
            sums[r] = exponentiate_bf16(&row, n, scale, 0, to);
        else if (format->element == MN_ELEMENT_I16)
            sums[r] = exponentiate(&row, n, scale, largest[r], MN_ELEMENT_I16, false, (float)format->limit, to);
        else
            sums[r] = exponentiate(&row, n, scale, largest[r], MN_ELEMENT_F32, format->rounded, 1, to);
    }
    for (size_t r = 0; r < n_rows; r++) {
        float sum = sum_lanes(sums[r]);
        if (halves && !(sum > 0x1p-60f && sum < 0x1p60f)) {
            const score_row row = score_row_at(scores, tile_rows, panel, r);
            sum = sum_lanes(exponentiate_bf16(&row, n, scale, largest_score(&row, n), out + r * out_stride));
        }
        factor[r] = 1.0f / sum;
    }
}

/* What LayerNorm is given; rows of n. */
typedef struct norm_job {
    const float *bias, *residual, *gain, *shift;
    float epsilon;
    size_t n;
} norm_job;

/* Rows at a time, so that sums of one row need not wait for each other, and gain and shift are loaded once. */
enum { NORM_ROWS = LANES == 16 ? 4 : 2 };

/* The steps, for the columns from i on of n_rows rows, which is known when it is compiled. */
ALWAYS_INLINE void add_columns(const norm_job *job, float *rows, const float *residual, size_t n_rows, size_t i,
                               size_t left, vec *totals)
{
    vec bias = job->bias ? load_part(job->bias + i, left) : (vec){0};
#pragma GCC unroll 4
    for (size_t r = 0; r < n_rows; r++) {
        vec v = load_part(rows + r * job->n + i, left) + bias;
        if (residual) v += load_part(residual + r * job->n + i, left);
        store_part(rows + r * job->n + i, v, left);
        totals[r] += v;
    }
}

ALWAYS_INLINE void square_columns(const norm_job *job, const float *rows, const vec *means, size_t n_rows, size_t i,
                                  size_t left, vec *squares)
{
#pragma GCC unroll 4
    for (size_t r = 0; r < n_rows; r++) {
        vec d = keep_part(load_part(rows + r * job->n + i, left) - means[r], left);
        squares[r] += d * d;
    }
}

/* ranges: largest values and greatest magnitudes below 0, for each row, where `range`. */
ALWAYS_INLINE void scale_columns(const norm_job *job, float *rows, const vec *means, const vec *scales, size_t n_rows,
                                 bool range, size_t i, size_t left, vec ranges[][2])
{
    vec gain = load_part(job->gain + i, left), shift = load_part(job->shift + i, left);
#pragma GCC unroll 4
    for (size_t r = 0; r < n_rows; r++) {
        vec y = (load_part(rows + r * job->n + i, left) - means[r]) * scales[r] * gain + shift;
        store_part(rows + r * job->n + i, y, left);
        if (!range) continue;
        ranges[r][0] = larger(y, ranges[r][0]);
        ranges[r][1] = larger(-y, ranges[r][1]);
    }
}

/* LayerNorm of n_rows rows in place. */
ALWAYS_INLINE void normalize_rows(const norm_job *job, float *rows, const float *residual, size_t n_rows, bool range,
                                  vec ranges[][2])
{
    const size_t n = job->n;
    vec totals[NORM_ROWS] = {{0}}, means[NORM_ROWS], squares[NORM_ROWS] = {{0}}, scales[NORM_ROWS];
    FOR_ROW(i, n, { add_columns(job, rows, residual, n_rows, i, left, totals); });
#pragma GCC unroll 4
    for (size_t r = 0; r < n_rows; r++) means[r] = splat(sum_lanes(totals[r]) / (float)n);
    FOR_ROW(i, n, { square_columns(job, rows, means, n_rows, i, left, squares); });
#pragma GCC unroll 4
    for (size_t r = 0; r < n_rows; r++)
        scales[r] = splat(1.0f / sqrtf(sum_lanes(squares[r]) / (float)n + job->epsilon));
    FOR_ROW(i, n, { scale_columns(job, rows, means, scales, n_rows, range, i, left, ranges); });
}

/* The same of the rows from t on, and hand them on. */
ALWAYS_INLINE void norm_and_convert(const norm_job *job, float *x, size_t t, size_t n_rows, const mn_row_target *target)
{
    const size_t n = job->n;
    float *rows = x + t * n;
    const float *residual = job->residual ? job->residual + t * n : NULL;
    vec ranges[NORM_ROWS][2] = {{{0}}};
    if (target && target->format.from_zero) {
        normalize_rows(job, rows, residual, n_rows, true, ranges);
#pragma GCC unroll 4
        for (size_t r = 0; r < n_rows; r++)
            convert_from_zero(&target->format, rows + r * n, (uint32_t)n, target->n_groups, ranges[r][0], ranges[r][1],
                              target->rows + (t + r) * target->stride, target->scales + t + r, target->lows + t + r);
        return;
    }
    normalize_rows(job, rows, residual, n_rows, false, ranges);
    if (target)
        simd_convert_rows(&target->format, rows, n, (uint32_t)n_rows, (uint32_t)n, target->n_groups,
                          target->rows + t * target->stride, target->stride, target->scales + t, NULL);
}

static void simd_add_layer_norm(float *x, const float *bias, const float *residual, const float *gain,
                                const float *shift, float epsilon, uint32_t tokens, uint32_t hidden,
                                const mn_row_target *target)
{
    const norm_job job = {bias, residual, gain, shift, epsilon, hidden};
    size_t t = 0;
    for (; t + NORM_ROWS <= tokens; t += NORM_ROWS) norm_and_convert(&job, x, t, NORM_ROWS, target);
    for (; t < tokens; t++) norm_and_convert(&job, x, t, 1, target);
}

const mn_kernels *TABLE(void)
{
    static const mn_kernels table = {
        TABLE_NAME,     simd_finish,  simd_convert_rows,  simd_pack_columns, simd_pack_bf16_columns,
        simd_pack_rows, simd_softmax, simd_add_layer_norm};
    return &table;
}
