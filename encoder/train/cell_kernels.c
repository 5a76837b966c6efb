/* cell_kernels.c -- the cells in plain C and double precision, and the choice among the tables. */
#include "encoder/train/cell_kernels.h"

#include <math.h>

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static const float *input_of(const mn_cell_step *s, size_t row, size_t width)
{
    return s->input + (s->input_rows ? s->input_rows[row] : row) * width;
}

static void reference_lstm_forward(const mn_cell_step *s)
{
    size_t n = s->n_hidden;
    for (size_t r = 0; r < s->n_rows; r++) {
        const float *x = input_of(s, r, 4 * n);
        float *gates = s->recurrent + r * 4 * n;
        for (size_t j = 0; j < n; j++) {
            double i = sigmoid((double)x[j] + (double)gates[j]);
            double f = sigmoid((double)x[n + j] + (double)gates[n + j]);
            double g = tanh((double)x[2 * n + j] + (double)gates[2 * n + j]);
            double o = sigmoid((double)x[3 * n + j] + (double)gates[3 * n + j]);
            double before = (double)s->c[r * n + j], after = f * before + i * g;
            s->c_before[r * n + j] = (float)before;
            s->h_before[r * n + j] = s->h[r * n + j];
            s->c[r * n + j] = (float)after;
            s->h[r * n + j] = s->y[r * s->y_stride + j] = (float)(o * tanh(after));
            gates[j] = (float)i;
            gates[n + j] = (float)f;
            gates[2 * n + j] = (float)g;
            gates[3 * n + j] = (float)o;
        }
    }
}

static void reference_lstm_backward(const mn_cell_gradient *s)
{
    size_t n = s->n_hidden;
    for (size_t r = 0; r < s->n_rows; r++) {
        float *gates = s->recurrent + r * 4 * n;
        for (size_t j = 0; j < n; j++) {
            double i = (double)gates[j], f = (double)gates[n + j], g = (double)gates[2 * n + j];
            double o = (double)gates[3 * n + j], before = (double)s->c_before[r * n + j];
            double squashed = tanh(f * before + i * g);
            double dh = (double)s->dy[r * s->dy_stride + j] + (double)s->dh[r * n + j];
            double dc = (double)s->dc[r * n + j] + dh * o * (1 - squashed * squashed);
            gates[j] = (float)(dc * g * i * (1 - i));
            gates[n + j] = (float)(dc * before * f * (1 - f));
            gates[2 * n + j] = (float)(dc * i * (1 - g * g));
            gates[3 * n + j] = (float)(dh * squashed * o * (1 - o));
            s->dc[r * n + j] = (float)(dc * f);
        }
    }
}

static void reference_gru_forward(const mn_cell_step *s)
{
    size_t n = s->n_hidden;
    for (size_t row = 0; row < s->n_rows; row++) {
        const float *x = input_of(s, row, 3 * n);
        float *gates = s->recurrent + row * 3 * n, *candidate = s->inner + row * 3 * n + 2 * n;
        for (size_t j = 0; j < n; j++) {
            double r = sigmoid((double)x[j] + (double)gates[j]);
            double z = sigmoid((double)x[n + j] + (double)gates[n + j]);
            double new = tanh((double)x[2 * n + j] + r * (double)gates[2 * n + j]);
            float before = s->h[row * n + j];
            s->h_before[row * n + j] = before;
            s->h[row * n + j] = s->y[row * s->y_stride + j] = (float)((1 - z) * new + z *(double)before);
            gates[j] = (float)r;
            gates[n + j] = (float)z;
            candidate[j] = (float)new;
        }
    }
}

static void reference_gru_backward(const mn_cell_gradient *s)
{
    size_t n = s->n_hidden;
    for (size_t row = 0; row < s->n_rows; row++) {
        float *gates = s->recurrent + row * 3 * n, *inner = s->inner + row * 3 * n;
        for (size_t j = 0; j < n; j++) {
            double r = (double)gates[j], z = (double)gates[n + j], from_h = (double)gates[2 * n + j];
            double new = (double)inner[2 * n + j];
            double dh = (double)s->dy[row * s->dy_stride + j] + (double)s->dh[row * n + j];
            double d_new = dh * (1 - z) * (1 - new *new);
            gates[j] = inner[j] = (float)(d_new * from_h * r * (1 - r));
            gates[n + j] = inner[n + j] = (float)(dh * ((double)s->h_before[row * n + j] - new) * z * (1 - z));
            gates[2 * n + j] = (float)(d_new * r);
            inner[2 * n + j] = (float)d_new;
            s->dh[row * n + j] = (float)(dh * z);
        }
    }
}

const mn_cell_kernels *mn_cell_kernels_reference(void)
{
    static const mn_cell_kernels table = {.name = "reference",
                                          .forward = {reference_lstm_forward, reference_gru_forward},
                                          .backward = {reference_lstm_backward, reference_gru_backward}};
    return &table;
}

const mn_cell_kernels *mn_cell_kernels_for(mn_cpu_level level)
{
#if defined(__x86_64__)
    mn_cpu_level available = mn_cpu_detect();
    if (level > available) level = available;
    if (level >= MN_CPU_AVX512) return mn_cell_kernels_avx512();
    if (level >= MN_CPU_AVX2) return mn_cell_kernels_avx2();
#else
    (void)level;
#endif
    return mn_cell_kernels_reference();
}
