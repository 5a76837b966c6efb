/* kernels.c -- the reference kernels (plain loops, sums in double precision) and the choice among the tables. */
#include "encoder/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

static double activate(mn_activation activation, double x)
{
    if (activation == MN_ACTIVATION_GELU || activation == MN_ACTIVATION_GELU_NEAR)
        return 0.5 * x * (1.0 + erf(x * M_SQRT1_2));
    return activation == MN_ACTIVATION_RELU ? fmax(0.0, x) : x;
}

static void reference_finish(const mn_finish *finish, const void *tile, uint32_t n_rows, uint32_t n_columns, void *out,
                             size_t out_stride)
{
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_columns; c++) {
            size_t at = r * finish->tile_stride + c;
            double sum = finish->integers ? (double)((const int32_t *)tile)[at] : (double)((const float *)tile)[at];
            if (finish->row_scale) sum *= (double)finish->row_scale[r];
            if (finish->row_low) sum += (double)finish->row_low[r] * (double)finish->column_sum[c];
            if (finish->column_scale) sum *= (double)finish->column_scale[c];
            if (finish->bias) sum += (double)finish->bias[c];
            float y = (float)activate(finish->activation, sum);
            if (finish->out_element == MN_ELEMENT_F32)
                ((float *)out)[r * out_stride + c] = y;
            else
                ((uint16_t *)out)[r * out_stride + c] = (uint16_t)(mn_round_bf16(mn_float_bits(y)) >> 16);
        }
    }
}

/* Element i of a row of groups, which is 0 there. scale: of integers; below the least normal number it gives zeros. */
static void put_element(const mn_row_format *format, uint32_t *row, size_t i, float x, float scale)
{
    uint32_t per_group = mn_group_size(format->element), bits = 0;
    unsigned width = 32 / per_group, shift = (unsigned)(i % per_group) * width;
    if (mn_is_integer(format->element)) {
        int32_t value = scale >= FLT_MIN ? (int32_t)nearbyintf(x * (1.0f / scale)) : 0;
        bits = (uint32_t)value & (format->element == MN_ELEMENT_U8 ? 0xFFu : 0xFFFFu);
    } else {
        bits =
            format->element == MN_ELEMENT_BF16 || format->rounded ? mn_round_bf16(mn_float_bits(x)) : mn_float_bits(x);
        if (format->element == MN_ELEMENT_BF16) bits >>= 16;
    }
    row[i / per_group] |= bits << shift;
}

static void reference_convert_rows(const mn_row_format *format, const float *x, size_t x_stride, uint32_t n_rows,
                                   uint32_t n, uint32_t n_groups, uint32_t *out, size_t out_stride, float *scales,
                                   float *lows)
{
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = x + r * x_stride;
        float largest = 0, least = 0;
        for (size_t i = 0; i < n; i++) {
            largest = fmaxf(largest, format->from_zero ? row[i] : fabsf(row[i]));
            if (format->from_zero) least = fminf(least, row[i]);
        }
        float scale = mn_is_integer(format->element) ? (largest - least) / (float)format->limit : 0;
        if (mn_is_integer(format->element)) scales[r] = scale;
        if (format->from_zero) lows[r] = least;
        memset(out + r * out_stride, 0, n_groups * sizeof *out);
        for (size_t i = 0; i < n; i++) put_element(format, out + r * out_stride, i, row[i] - least, scale);
    }
}

static void reference_pack_columns(const mn_row_format *format, int32_t row_limit, const float *x, size_t x_stride,
                                   uint32_t depth, uint32_t n_columns, uint32_t n_groups, uint32_t panel, uint32_t *out,
                                   float *column_scale)
{
    uint32_t per_group = mn_group_size(format->element);
    memset(out, 0, (size_t)n_groups * panel * sizeof *out);
    for (size_t c = 0; c < n_columns; c++) {
        float largest = 0, scale = 0;
        double sum = 0;
        for (size_t k = 0; k < depth; k++) {
            largest = fmaxf(largest, fabsf(x[k * x_stride + c]));
            sum += (double)fabsf(x[k * x_stride + c]);
        }
        if (mn_is_integer(format->element)) {
            scale = mn_integer_scale(largest, sum, depth, format->limit, row_limit);
            column_scale[c] = scale;
        }
        for (size_t k = 0; k < depth; k++) {
            uint32_t group = 0;
            put_element(format, &group, k % per_group, x[k * x_stride + c], scale);
            out[k / per_group * panel + c] |= group;
        }
    }
}

static void reference_pack_bf16_columns(const uint16_t *x, size_t x_stride, uint32_t depth, uint32_t n_columns,
                                        uint32_t n_groups, uint32_t panel, uint32_t *out)
{
    memset(out, 0, (size_t)n_groups * panel * sizeof *out);
    for (size_t c = 0; c < n_columns; c++)
        for (size_t k = 0; k < depth; k++) out[k / 2 * panel + c] |= (uint32_t)x[k * x_stride + c] << (k % 2 * 16);
}

static void reference_pack_rows(const uint32_t *rows, size_t stride, uint32_t n_rows, uint32_t n_groups, uint32_t panel,
                                uint32_t *out)
{
    for (size_t r = 0; r < mn_round_up(n_rows, panel); r++) {
        uint32_t *column = out + r / panel * n_groups * panel + r % panel;
        for (size_t g = 0; g < n_groups; g++) column[g * panel] = r < n_rows ? rows[r * stride + g] : 0;
    }
}

static void reference_softmax(const mn_row_format *format, const float *scores, uint32_t tile_rows, uint32_t panel,
                              uint32_t n_rows, uint32_t n, float scale, uint32_t *out, size_t out_stride, float *factor)
{
    for (size_t r = 0; r < n_rows; r++) {
        double largest = -INFINITY, total = 0;
#define SCORE(c) ((double)scores[((c) / panel * tile_rows + r) * panel + (c) % panel])
        for (size_t i = 0; i < n; i++) largest = fmax(largest, SCORE(i));
        memset(out + r * out_stride, 0, mn_round_up(n, MN_PANEL_MAX) * mn_element_size(format->element));
        for (size_t i = 0; i < n; i++) {
            float weight = (float)exp((SCORE(i) - largest) * (double)scale);
            if (mn_is_integer(format->element))
                weight = nearbyintf(weight * (float)format->limit);
            else if (format->element == MN_ELEMENT_BF16 || format->rounded) {
                uint32_t bits = mn_round_bf16(mn_float_bits(weight));
                memcpy(&weight, &bits, sizeof bits);
            }
            put_element(format, out + r * out_stride, i, weight, 1);
            total += (double)weight;
        }
#undef SCORE
        factor[r] = (float)(1.0 / total);
    }
}

static void reference_add_layer_norm(float *x, const float *bias, const float *residual, const float *gain,
                                     const float *shift, float epsilon, uint32_t tokens, uint32_t hidden,
                                     const mn_row_target *target)
{
    for (size_t t = 0; t < tokens; t++) {
        float *row = x + t * hidden;
        double sum = 0, squares = 0;
        for (size_t i = 0; i < hidden; i++) {
            row[i] += (bias ? bias[i] : 0.0f) + (residual ? residual[t * hidden + i] : 0.0f);
            sum += (double)row[i];
        }
        double mean = sum / hidden;
        for (size_t i = 0; i < hidden; i++) squares += ((double)row[i] - mean) * ((double)row[i] - mean);
        double scale = 1.0 / sqrt(squares / hidden + (double)epsilon);
        for (size_t i = 0; i < hidden; i++)
            row[i] = (float)(((double)row[i] - mean) * scale * (double)gain[i] + (double)shift[i]);
    }
    if (target)
        reference_convert_rows(&target->format, x, hidden, tokens, hidden, target->n_groups, target->rows,
                               target->stride, target->scales, target->lows);
}

const mn_kernels *mn_kernels_reference(void)
{
    static const mn_kernels table = {"reference",
                                     reference_finish,
                                     reference_convert_rows,
                                     reference_pack_columns,
                                     reference_pack_bf16_columns,
                                     reference_pack_rows,
                                     reference_softmax,
                                     reference_add_layer_norm};
    return &table;
}

const mn_kernels *mn_kernels_for(mn_cpu_level level)
{
    mn_cpu_level available = mn_cpu_detect();
    if (level > available) level = available;
#if defined(__x86_64__)
    if (level >= MN_CPU_AVX512) return mn_cpu_has(MN_CPU_AVX512_BF16) ? mn_kernels_avx512bf16() : mn_kernels_avx512();
    if (level == MN_CPU_AVX2) return mn_kernels_avx2();
#endif
    return mn_kernels_reference();
}
