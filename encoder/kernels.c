/* kernels.c -- the reference kernels (plain loops, sums in double precision) and the choice among the tables. */
#include "encoder/kernels.h"

#include <math.h>

static void reference_add_layer_norm(float *x, const float *bias, const float *residual, const float *gain,
                                     const float *shift, float epsilon, uint32_t tokens, uint32_t hidden)
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
}

static void reference_bias_gelu(float *x, const float *bias, uint32_t tokens, uint32_t n)
{
    for (size_t t = 0; t < tokens; t++) {
        for (size_t i = 0; i < n; i++) {
            double value = (double)(x[t * n + i] + bias[i]);
            x[t * n + i] = (float)(0.5 * value * (1.0 + erf(value * M_SQRT1_2)));
        }
    }
}

static void reference_bias_relu(float *x, const float *bias, uint32_t tokens, uint32_t n)
{
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < n; i++) x[t * n + i] = fmaxf(0.0f, x[t * n + i] + bias[i]);
}

/* One query of one head. weights: L floats of scratch. */
static void reference_attend(const float *q, const float *k, const float *v, const mn_attention_shape *shape,
                             float *weights, float *out)
{
    uint32_t length = shape->length, head = shape->head;
    double largest = -INFINITY, total = 0;
    for (size_t j = 0; j < length; j++) {
        double score = 0;
        for (size_t d = 0; d < head; d++) score += (double)q[d] * (double)k[j * shape->input_stride + d];
        weights[j] = (float)(score / sqrt((double)head));
        largest = fmax(largest, (double)weights[j]);
    }
    for (size_t j = 0; j < length; j++) {
        weights[j] = (float)exp((double)weights[j] - largest);
        total += (double)weights[j];
    }
    for (size_t d = 0; d < head; d++) {
        double sum = 0;
        for (size_t j = 0; j < length; j++) sum += (double)weights[j] * (double)v[j * shape->input_stride + d];
        out[d] = (float)(sum / total);
    }
}

static void reference_attention(float *qkv, const float *bias, const mn_attention_shape *shape, float *scratch,
                                float *out)
{
    size_t width = (size_t)shape->n_heads * shape->head;
    for (size_t t = 0; t < shape->length; t++)
        for (size_t i = 0; i < 3 * width; i++) qkv[t * shape->input_stride + i] += bias[i];
    for (size_t h = 0; h < shape->n_heads; h++) {
        for (size_t t = 0; t < shape->length; t++) {
            const float *q = qkv + h * shape->head;
            reference_attend(q + t * shape->input_stride, q + width, q + 2 * width, shape, scratch,
                             out + t * shape->output_stride + h * shape->head);
        }
    }
}

const mn_kernels *mn_kernels_reference(void)
{
    static const mn_kernels table = {"reference", reference_add_layer_norm, reference_bias_gelu, reference_bias_relu,
                                     reference_attention};
    return &table;
}

size_t mn_attention_scratch(uint32_t length, uint32_t head)
{
    /* Keys transposed (D x L), and the weights of a few queries (4 x L), rows rounded up to whole vectors. */
    size_t rounded = ((size_t)length + 15) / 16 * 16;
    return rounded * ((size_t)head + 4) + 16;
}

const mn_kernels *mn_kernels_for(mn_cpu_level level)
{
    mn_cpu_level available = mn_cpu_detect();
    if (level > available) level = available;
#if defined(__x86_64__)
    if (level == MN_CPU_AVX512) return mn_kernels_avx512();
    if (level == MN_CPU_AVX2) return mn_kernels_avx2();
#endif
    return mn_kernels_reference();
}
