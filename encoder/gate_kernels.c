/* gate_kernels.c -- the reference kernels of gates (plain loops in double precision) and the choice among the tables.
 */
#include "encoder/gate_kernels.h"

#include <math.h>

static double sigmoid_of(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* Element i of an operand that is 0 there. */
static void put_operand(const mn_gate_step *step, size_t row, size_t i, float h)
{
    const mn_row_format *format = step->format;
    uint32_t per_group = mn_group_size(format->element), bits = 0;
    unsigned width = 32 / per_group, shift = (unsigned)(i % per_group) * width;
    if (mn_is_integer(format->element)) {
        float value = nearbyintf((h - mn_gate_low(format)) / mn_gate_scale(format)), limit = (float)format->limit;
        value = fmaxf(format->from_zero ? 0.0f : -limit, fminf(limit, value)); /* which no NaN passes either */
        bits = (uint32_t)(int32_t)value & (width == 8 ? 0xFFu : 0xFFFFu);
    } else {
        bits =
            format->element == MN_ELEMENT_BF16 || format->rounded ? mn_round_bf16(mn_float_bits(h)) : mn_float_bits(h);
        if (format->element == MN_ELEMENT_BF16) bits >>= 16;
    }
    step->operand[row * step->operand_groups + i / per_group] |= bits << shift;
}

static void finish_row(const mn_gate_step *step, size_t row)
{
    if (!step->operand) return;
    uint32_t per_group = mn_group_size(step->format->element);
    memset(step->operand + row * step->operand_groups, 0, (step->hidden + per_group - 1) / per_group * 4);
    for (size_t i = 0; i < step->hidden; i++) put_operand(step, row, i, step->h[row * step->h_stride + i]);
}

static const float *input_row(const mn_gate_step *step, size_t row, size_t width)
{
    return step->input + (step->input_rows ? step->input_rows[row] : row) * width;
}

static void reference_lstm(const mn_gate_step *step)
{
    size_t n = step->hidden;
    for (size_t r = 0; r < step->n_rows; r++) {
        const float *x = input_row(step, r, 4 * n), *y = step->recurrent + r * step->recurrent_stride;
        for (size_t i = 0; i < n; i++) {
            double gate[4];
            for (size_t g = 0; g < 4; g++) gate[g] = (double)x[g * n + i] + (double)y[g * n + i];
            double c = sigmoid_of(gate[1]) * (double)step->c[r * n + i] + sigmoid_of(gate[0]) * tanh(gate[2]);
            step->c[r * n + i] = (float)c;
            step->h[r * step->h_stride + i] = (float)(sigmoid_of(gate[3]) * tanh(c));
        }
        finish_row(step, r);
    }
}

static void reference_gru(const mn_gate_step *step)
{
    size_t n = step->hidden;
    for (size_t k = 0; k < step->n_rows; k++) {
        const float *x = input_row(step, k, 3 * n), *y = step->recurrent + k * step->recurrent_stride;
        for (size_t i = 0; i < n; i++) {
            double r = sigmoid_of((double)x[i] + (double)y[i]);
            double z = sigmoid_of((double)x[n + i] + (double)y[n + i]);
            double candidate = tanh((double)x[2 * n + i] + r * (double)y[2 * n + i]);
            double before = step->h_before ? (double)step->h_before[k * step->h_stride + i] : 0;
            step->h[k * step->h_stride + i] = (float)((1 - z) * candidate + z * before);
        }
        finish_row(step, k);
    }
}

static float reference_dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return (float)sum;
}

static void reference_add_scaled(float *sum, const float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++) sum[i] += factor * x[i];
}

const mn_gate_kernels *mn_gate_kernels_reference(void)
{
    static const mn_gate_kernels table = {"reference", reference_lstm, reference_gru, reference_dot,
                                          reference_add_scaled};
    return &table;
}

const mn_gate_kernels *mn_gate_kernels_for(mn_cpu_level level)
{
    mn_cpu_level available = mn_cpu_detect();
    if (level > available) level = available;
#if defined(__x86_64__)
    if (level >= MN_CPU_AVX512) return mn_gate_kernels_avx512();
    if (level == MN_CPU_AVX2) return mn_gate_kernels_avx2();
#endif
    return mn_gate_kernels_reference();
}
