/* kernels_simd.h -- the vector kernels, written once with the compiler's vector types. kernels_avx2.c and
 * kernels_avx512.c include this with LANES (floats in a vector) and TABLE (the function that returns the table) set.
 *
 * Rows are streamed once where the arithmetic allows; the accumulators of the attention are blocked 4 queries by 4
 * vectors (AVX-512: 16 of 32 registers) or 2 by 4 (AVX2: 8 of 16). */
#include "encoder/kernels.h"

#include <math.h>
#include <string.h>

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static inline vec load(const float *p)
{
    return *(const vec *)p;
}

static inline void store(float *p, vec v)
{
    *(vec *)p = v;
}

static inline vec splat(float x)
{
    return x - (vec){0}; /* not 0 + x, which would lose the sign of -0 */
}

static inline float sum_lanes(vec v)
{
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

static inline vec select_vec(ivec mask, vec yes, vec no)
{
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}

/* e^x for x <= 0 within 2 ulp: x = n ln 2 + r, a polynomial of degree 6 for e^r (Cephes expf), and n into the exponent.
 * Below -87 the result is 0. */
static inline vec exp_negative(vec x)
{
    const vec magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to the nearest integer */
    vec clamped = select_vec(x < splat(-87.0f), splat(-87.0f), x);
    vec n = (clamped * splat(1.44269504088896341f) + magic) - magic;
    vec r = clamped - n * splat(0.693359375f);
    r = r - n * splat(-2.12194440e-4f);
    vec p = splat(1.9875691500e-4f);
    p = p * r + splat(1.3981999507e-3f);
    p = p * r + splat(8.3334519073e-3f);
    p = p * r + splat(4.1665795894e-2f);
    p = p * r + splat(1.6666665459e-1f);
    p = p * r + splat(5.0000001201e-1f);
    p = p * r * r + r + splat(1.0f);
    ivec exponent = __builtin_convertvector(n, ivec);
    vec result = p * (vec)((exponent + 127) << 23);
    return select_vec(x < splat(-87.0f), splat(0.0f), result);
}

/* GELU with erf by Abramowitz and Stegun, 7.1.26: |error| <= 1.5e-7. */
static inline vec gelu(vec x)
{
    ivec sign = (ivec)x & (ivec)splat(-0.0f);
    vec z = (vec)((ivec)(x * splat(0.70710678118654752f)) & ~(ivec)splat(-0.0f));
    vec t = splat(1.0f) / (splat(1.0f) + splat(0.3275911f) * z);
    vec p = splat(1.061405429f);
    p = p * t + splat(-1.453152027f);
    p = p * t + splat(1.421413741f);
    p = p * t + splat(-0.284496736f);
    p = p * t + splat(0.254829592f);
    vec erf_abs = splat(1.0f) - p * t * exp_negative(-z * z);
    vec erf_signed = (vec)((ivec)erf_abs | sign);
    return splat(0.5f) * x * (splat(1.0f) + erf_signed);
}

/* A row of any length: whole vectors in place, the rest through a padded copy. */
#define FOR_ROW(i, n) for (size_t i = 0; i < (n); i += LANES)

static inline vec load_part(const float *p, size_t n)
{
    if (n >= LANES) return load(p);
    vec v = {0};
    memcpy(&v, p, n * sizeof(float));
    return v;
}

static inline void store_part(float *p, vec v, size_t n)
{
    if (n >= LANES) store(p, v);
    else memcpy(p, &v, n * sizeof(float));
}

static void simd_bias_gelu(float *x, const float *bias, uint32_t tokens, uint32_t n)
{
    for (size_t t = 0; t < tokens; t++) {
        float *row = x + t * n;
        FOR_ROW(i, n) store_part(row + i, gelu(load_part(row + i, n - i) + load_part(bias + i, n - i)), n - i);
    }
}

static void simd_bias_relu(float *x, const float *bias, uint32_t tokens, uint32_t n)
{
    for (size_t t = 0; t < tokens; t++) {
        float *row = x + t * n;
        FOR_ROW(i, n)
        {
            vec v = load_part(row + i, n - i) + load_part(bias + i, n - i);
            store_part(row + i, select_vec(v > splat(0.0f), v, splat(0.0f)), n - i);
        }
    }
}

/* row += bias + residual; returns the sum of the row. */
static inline float add_row(float *row, const float *bias, const float *residual, size_t n)
{
    vec total = {0};
    FOR_ROW(i, n)
    {
        vec v = load_part(row + i, n - i);
        if (bias) v += load_part(bias + i, n - i);
        if (residual) v += load_part(residual + i, n - i);
        store_part(row + i, v, n - i);
        total += v;
    }
    return sum_lanes(total);
}

static void simd_add_layer_norm(float *x, const float *bias, const float *residual, const float *gain,
                                const float *shift, float epsilon, uint32_t tokens, uint32_t hidden)
{
    size_t n = hidden;
    for (size_t t = 0; t < tokens; t++) {
        float *row = x + t * n;
        float mean = add_row(row, bias, residual ? residual + t * n : NULL, n) / (float)n;
        vec squares = {0};
        FOR_ROW(i, n)
        {
            vec d = load_part(row + i, n - i) - splat(mean);
            if (n - i < LANES) memset((char *)&d + (n - i) * sizeof(float), 0, (LANES - (n - i)) * sizeof(float));
            squares += d * d;
        }
        vec scale = splat(1.0f / sqrtf(sum_lanes(squares) / (float)n + epsilon));
        FOR_ROW(i, n)
        {
            vec d = load_part(row + i, n - i) - splat(mean);
            store_part(row + i, d * scale * load_part(gain + i, n - i) + load_part(shift + i, n - i), n - i);
        }
    }
}

/* ---- attention ---------------------------------------------------------------------------------------------- */

#if LANES == 16
#define QUERIES 4
#else
#define QUERIES 2
#endif
#define VECTORS 4 /* of keys */

/* keys_t (D, stride) from k (L rows): columns past L are zero. */
static void transpose_keys(const float *k, const mn_attention_shape *shape, float *keys_t, size_t stride)
{
    for (size_t j = 0; j < shape->length; j++)
        for (size_t d = 0; d < shape->head; d++) keys_t[d * stride + j] = k[j * shape->input_stride + d];
    for (size_t d = 0; d < shape->head; d++)
        for (size_t j = shape->length; j < stride; j++) keys_t[d * stride + j] = 0;
}

/* scores[i] (i < n queries) over n_vectors vectors of keys from column on. */
static inline __attribute__((always_inline)) void score_tile(const float *q, size_t q_stride, const float *keys_t,
                                                             size_t stride, uint32_t head, size_t n, size_t n_vectors,
                                                             float *scores)
{
    vec sums[QUERIES][VECTORS];
    memset(sums, 0, sizeof sums);
    for (size_t d = 0; d < head; d++) {
        vec keys[VECTORS];
        for (size_t c = 0; c < n_vectors; c++) keys[c] = load(keys_t + d * stride + c * LANES);
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < n_vectors; c++) sums[i][c] += splat(q[i * q_stride + d]) * keys[c];
    }
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < n_vectors; c++) store(scores + i * stride + c * LANES, sums[i][c]);
}

static void score_queries(const float *q, size_t q_stride, const float *keys_t, size_t stride, uint32_t head, size_t n,
                          float *scores)
{
    size_t column = 0;
    for (; n == QUERIES && column + VECTORS * LANES <= stride; column += VECTORS * LANES)
        score_tile(q, q_stride, keys_t + column, stride, head, QUERIES, VECTORS, scores + column);
    for (; n == QUERIES && column < stride; column += LANES)
        score_tile(q, q_stride, keys_t + column, stride, head, QUERIES, 1, scores + column);
    for (; column < stride; column += LANES)
        for (size_t i = 0; i < n; i++)
            score_tile(q + i * q_stride, q_stride, keys_t + column, stride, head, 1, 1, scores + i * stride + column);
}

/* Softmax numerators in place, for `length` of `stride` columns, the rest 0; returns 1 / their sum. */
static float exponentiate(float *scores, size_t length, size_t stride, float scale)
{
    float largest = scores[0];
    for (size_t j = 1; j < length; j++) largest = scores[j] > largest ? scores[j] : largest;
    vec total = {0};
    FOR_ROW(j, stride) store(scores + j, exp_negative((load(scores + j) - splat(largest)) * splat(scale)));
    for (size_t j = length; j < stride; j++) scores[j] = 0;
    FOR_ROW(j, stride) total += load(scores + j);
    return 1.0f / sum_lanes(total);
}

/* out[i] (n queries, D floats) = sum over j of weights[i][j] v[j]; n_vectors vectors of D. */
static inline __attribute__((always_inline)) void value_tile(const float *weights, size_t stride, const float *v,
                                                             const mn_attention_shape *shape, const float *scales,
                                                             size_t n, size_t n_vectors, float *out)
{
    vec sums[QUERIES][VECTORS];
    memset(sums, 0, sizeof sums);
    for (size_t j = 0; j < shape->length; j++) {
        vec values[VECTORS];
        for (size_t c = 0; c < n_vectors; c++) values[c] = load(v + j * shape->input_stride + c * LANES);
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < n_vectors; c++) sums[i][c] += splat(weights[i * stride + j]) * values[c];
    }
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < n_vectors; c++)
            store(out + i * shape->output_stride + c * LANES, sums[i][c] * splat(scales[i]));
}

static void mix_values(const float *weights, size_t stride, const float *v, const mn_attention_shape *shape,
                       const float *scales, size_t n, float *out)
{
    size_t column = 0, head = shape->head;
    for (; n == QUERIES && column + VECTORS * LANES <= head; column += VECTORS * LANES)
        value_tile(weights, stride, v + column, shape, scales, QUERIES, VECTORS, out + column);
    for (; n == QUERIES && column + 2 * LANES <= head; column += 2 * LANES)
        value_tile(weights, stride, v + column, shape, scales, QUERIES, 2, out + column);
    for (; column < head; column += LANES)
        for (size_t i = 0; i < n; i++)
            value_tile(weights + i * stride, stride, v + column, shape, scales + i, 1, 1,
                       out + i * shape->output_stride + column);
}

static void attend_head(const float *q, const float *k, const float *v, const mn_attention_shape *shape, float *scratch,
                        float *out)
{
    size_t stride = ((size_t)shape->length + LANES - 1) / LANES * LANES;
    float *keys_t = scratch, *scores = scratch + stride * shape->head;
    float scale = 1.0f / sqrtf((float)shape->head);
    transpose_keys(k, shape, keys_t, stride);
    for (size_t t = 0; t < shape->length; t += QUERIES) {
        size_t n = shape->length - t < QUERIES ? shape->length - t : QUERIES;
        float scales[QUERIES];
        score_queries(q + t * shape->input_stride, shape->input_stride, keys_t, stride, shape->head, n, scores);
        for (size_t i = 0; i < n; i++) scales[i] = exponentiate(scores + i * stride, shape->length, stride, scale);
        mix_values(scores, stride, v, shape, scales, n, out + t * shape->output_stride);
    }
}

static void simd_attention(float *qkv, const float *bias, const mn_attention_shape *shape, float *scratch, float *out)
{
    if (shape->head % LANES != 0) {
        mn_kernels_reference()->attention(qkv, bias, shape, scratch, out);
        return;
    }
    size_t width = (size_t)shape->n_heads * shape->head;
    for (size_t t = 0; t < shape->length; t++) {
        float *row = qkv + t * shape->input_stride;
        FOR_ROW(i, 3 * width) store(row + i, load(row + i) + load(bias + i));
    }
    for (size_t h = 0; h < shape->n_heads; h++) {
        const float *q = qkv + h * shape->head;
        attend_head(q, q + width, q + 2 * width, shape, scratch, out + h * shape->head);
    }
}

const mn_kernels *TABLE(void)
{
    static const mn_kernels table = {TABLE_NAME, simd_add_layer_norm, simd_bias_gelu, simd_bias_relu, simd_attention};
    return &table;
}
