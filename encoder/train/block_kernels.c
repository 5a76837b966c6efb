/* block_kernels.c -- the reference kernels (plain loops, sums in double precision), the choice among the tables, and
 * dropout, which is the same for all. */
#include "encoder/train/block_kernels.h"

#include "encoder/train/shard.h"

#include <math.h>

static void reference_norm(const mn_norm_rows *rows, float *y)
{
    size_t n = rows->n;
    for (size_t r = 0; r < rows->n_rows; r++) {
        const float *x = rows->x + r * n;
        double mean = 0, variance = 0;
        for (size_t i = 0; i < n; i++) mean += (double)x[i] / (double)n;
        for (size_t i = 0; i < n; i++) variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
        double scale = 1.0 / sqrt(variance + (double)rows->epsilon);
        for (size_t i = 0; i < n; i++)
            y[r * n + i] = (float)(((double)x[i] - mean) * scale * (double)rows->gain[i] + (double)rows->shift[i]);
        rows->means[r] = (float)mean;
        rows->scales[r] = (float)scale;
    }
}

/* With h = (x - mean) * scale and g = dy * gain: dx = scale * (g - mean of g - h * mean of g h). */
static void reference_norm_backward(const mn_norm_rows *rows, const mn_norm_gradients *gradients)
{
    size_t n = rows->n;
    for (size_t r = 0; r < rows->n_rows; r++) {
        const float *x = rows->x + r * n, *dy = gradients->dy + r * n;
        double mean = (double)rows->means[r], scale = (double)rows->scales[r], sum = 0, sum_h = 0;
        for (size_t i = 0; i < n; i++) {
            double g = (double)dy[i] * (double)rows->gain[i], h = ((double)x[i] - mean) * scale;
            sum += g / (double)n;
            sum_h += g * h / (double)n;
        }
        for (size_t i = 0; i < n; i++) {
            double d = (double)dy[i], g = d * (double)rows->gain[i], h = ((double)x[i] - mean) * scale;
            double dx = scale * (g - sum - h * sum_h);
            if (gradients->residual) dx += (double)gradients->residual[r * n + i];
            gradients->d_gain[i] = (float)((double)gradients->d_gain[i] + d * h);
            gradients->d_shift[i] = (float)((double)gradients->d_shift[i] + d);
            gradients->dx[r * n + i] = (float)dx;
        }
    }
}

static double activation_of(mn_block_activation activation, double x)
{
    if (activation == MN_BLOCK_RELU) return x > 0 ? x : 0;
    if (activation == MN_BLOCK_GELU) return 0.5 * x * (1 + erf(x * M_SQRT1_2));
    return 0.5 * x * (1 + tanh(M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x)));
}

static double slope_of(mn_block_activation activation, double x)
{
    if (activation == MN_BLOCK_RELU) return x > 0 ? 1 : 0;
    if (activation == MN_BLOCK_GELU)
        return 0.5 * (1 + erf(x * M_SQRT1_2)) + x * exp(-0.5 * x * x) * 0.5 * M_2_SQRTPI * M_SQRT1_2;
    double t = tanh(M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * M_2_SQRTPI * M_SQRT1_2 * (1 + 3 * 0.044715 * x * x);
}

static void reference_activate(mn_block_activation activation, const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = (float)activation_of(activation, (double)x[i]);
}

static void reference_activate_backward(mn_block_activation activation, const float *x, const float *dy, size_t n,
                                        float *dx)
{
    for (size_t i = 0; i < n; i++) dx[i] = (float)((double)dy[i] * slope_of(activation, (double)x[i]));
}

static size_t visible_columns(const mn_softmax_rows *rows, size_t r)
{
    return rows->visible + r < rows->n ? rows->visible + r : rows->n;
}

static void reference_softmax(const mn_softmax_rows *rows, float *scores)
{
    for (size_t r = 0; r < rows->n_rows; r++) {
        float *row = scores + r * rows->stride;
        size_t n = visible_columns(rows, r);
        double largest = -INFINITY, total = 0;
        for (size_t i = 0; i < n; i++) largest = fmax(largest, (double)rows->scale * (double)row[i]);
        for (size_t i = 0; i < n; i++) total += exp((double)rows->scale * (double)row[i] - largest);
        for (size_t i = 0; i < n; i++) row[i] = (float)(exp((double)rows->scale * (double)row[i] - largest) / total);
        for (size_t i = n; i < rows->stride; i++) row[i] = 0;
    }
}

static void reference_softmax_backward(const mn_softmax_rows *rows, const float *weights, float *gradients)
{
    for (size_t r = 0; r < rows->n_rows; r++) {
        const float *w = weights + r * rows->stride;
        float *d = gradients + r * rows->stride;
        size_t n = visible_columns(rows, r);
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)w[i] * (double)d[i];
        for (size_t i = 0; i < n; i++) d[i] = (float)((double)w[i] * ((double)d[i] - sum) * (double)rows->scale);
        for (size_t i = n; i < rows->stride; i++) d[i] = 0;
    }
}

static void reference_multiply(const mn_small_product *p)
{
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            size_t from = p->triangle == MN_TRIANGLE_UPPER ? i : 0;
            size_t to = p->triangle == MN_TRIANGLE_LOWER && i < p->k ? i + 1 : p->k;
            double sum = 0;
            for (size_t k = from; k < to; k++)
                sum += (double)p->a[p->transposed ? k * p->a_stride + i : i * p->a_stride + k] *
                       (double)p->b[k * p->b_stride + j];
            p->c[i * p->c_stride + j] = (float)sum;
        }
    }
}

static void reference_add(const float *a, const float *b, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

const mn_block_kernels *mn_block_kernels_reference(void)
{
    static const mn_block_kernels table = {.name = "reference",
                                           .norm = reference_norm,
                                           .norm_backward = reference_norm_backward,
                                           .activate = reference_activate,
                                           .activate_backward = reference_activate_backward,
                                           .softmax = reference_softmax,
                                           .softmax_backward = reference_softmax_backward,
                                           .multiply = reference_multiply,
                                           .add = reference_add};
    return &table;
}

const mn_block_kernels *mn_block_kernels_for(mn_cpu_level level)
{
    mn_cpu_level available = mn_cpu_detect();
    if (level > available) level = available;
#if defined(__x86_64__)
    if (level >= MN_CPU_AVX512) return mn_block_kernels_avx512();
    if (level == MN_CPU_AVX2) return mn_block_kernels_avx2();
#endif
    return mn_block_kernels_reference();
}

const mn_block_kernels *mn_block_kernels_beside(const mn_train_arithmetic *arithmetic)
{
#if defined(__x86_64__)
    const char *name = arithmetic->train_kernels->name;
    if (strcmp(name, "avx512") == 0) return mn_block_kernels_for(MN_CPU_AVX512);
    if (strcmp(name, "avx2") == 0) return mn_block_kernels_for(MN_CPU_AVX2);
#endif
    return mn_block_kernels_reference();
}

void mn_dropout(uint64_t state, float rate, const float *x, size_t n, float *y)
{
    enum { PER_WORD = 4, WORDS = 64 }; /* 16 bits decide on a number */
    mn_random random = {state};
    uint16_t noise[WORDS * PER_WORD], least = (uint16_t)(rate * 65536.0f);
    float scale = 65536.0f / (65536.0f - (float)least);
    for (size_t first = 0; first < n; first += WORDS * PER_WORD) {
        size_t count = n - first < WORDS * PER_WORD ? n - first : WORDS * PER_WORD;
        for (size_t i = 0; i < WORDS; i++) {
            uint64_t word = mn_random_next(&random);
            for (size_t part = 0; part < PER_WORD; part++) noise[i * PER_WORD + part] = (uint16_t)(word >> 16 * part);
        }
        for (size_t i = 0; i < count; i++) y[first + i] = noise[i] >= least ? x[first + i] * scale : 0.0f;
    }
}
