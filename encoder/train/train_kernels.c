/* train_kernels.c -- the kernels of training in plain C, sums in double precision, and the choice among the tables. */
#include "encoder/train/train_kernels.h"

#include <math.h>
#include <string.h>

static void reference_store_tile(const float *tile, size_t tile_stride, uint32_t n_rows, uint32_t n, const float *bias,
                                 bool add, float *c, size_t stride)
{
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n; i++) {
            double sum = (double)tile[r * tile_stride + i] + (bias ? (double)bias[i] : 0);
            c[r * stride + i] = (float)(add ? (double)c[r * stride + i] + sum : sum);
        }
}

static void reference_add_rows(const float *x, size_t stride, size_t n_rows, uint32_t n, float *sums)
{
    for (size_t i = 0; i < n; i++) {
        double sum = (double)sums[i];
        for (size_t r = 0; r < n_rows; r++) sum += (double)x[r * stride + i];
        sums[i] = (float)sum;
    }
}

static void reference_adam(const mn_adam_numbers *a, const float *g, float *w, float *m, float *v, size_t n)
{
    double beta1 = (double)a->beta1, beta2 = (double)a->beta2, rate = (double)a->learning_rate;
    for (size_t i = 0; i < n; i++) {
        double gradient = (double)g[i] * (double)a->gradient_scale;
        double mean = beta1 * (double)m[i] + (1 - beta1) * gradient;
        double square = beta2 * (double)v[i] + (1 - beta2) * gradient * gradient;
        double root = sqrt(square / (double)a->correction2) + (double)a->epsilon;
        double step = rate * mean / (double)a->correction1 / root;
        m[i] = (float)mean;
        v[i] = (float)square;
        w[i] = (float)((double)w[i] * (1 - rate * (double)a->weight_decay) - step);
    }
}

static double reference_cross_entropy(float *logits, uint32_t n_rows, uint32_t n, const uint32_t *targets, float scale)
{
    double loss = 0;
    for (size_t r = 0; r < n_rows; r++) {
        float *row = logits + r * n;
        if (targets[r] >= n) {
            memset(row, 0, n * sizeof *row);
            continue;
        }
        double largest = (double)row[0], total = 0;
        for (size_t i = 1; i < n; i++) largest = fmax(largest, (double)row[i]);
        for (size_t i = 0; i < n; i++) total += exp((double)row[i] - largest);
        loss += log(total) - ((double)row[targets[r]] - largest);
        for (size_t i = 0; i < n; i++) {
            double share = exp((double)row[i] - largest) / total;
            row[i] = (float)((share - (i == targets[r])) * (double)scale);
        }
    }
    return loss;
}

static void reference_transpose(const float *x, size_t x_stride, size_t rows, size_t columns, float *out,
                                size_t out_stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) out[c * out_stride + r] = x[r * x_stride + c];
}

static double reference_squares(const float *x, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) total += (double)x[i] * (double)x[i];
    return total;
}

const mn_train_kernels *mn_train_kernels_reference(void)
{
    static const mn_train_kernels table = {"reference",      reference_store_tile,    reference_add_rows,
                                           reference_adam,   reference_cross_entropy, reference_transpose,
                                           reference_squares};
    return &table;
}

const mn_train_kernels *mn_train_kernels_for(mn_cpu_level level)
{
#if defined(__x86_64__)
    mn_cpu_level available = mn_cpu_detect();
    if (level > available) level = available;
    if (level >= MN_CPU_AVX512) return mn_train_kernels_avx512();
    if (level >= MN_CPU_AVX2) return mn_train_kernels_avx2();
#else
    (void)level;
#endif
    return mn_train_kernels_reference();
}
