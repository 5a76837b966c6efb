/* block_kernels_simd.h -- the kernels of Transformer blocks, written once with the compiler's vector types.
 * block_kernels_avx2.c and block_kernels_avx512.c include this with LANES (floats in a vector), TILE_ROWS (rows whose
 * sums fit the registers), TABLE (the function that returns the table) and TABLE_NAME set. */
#include "encoder/train/block_kernels.h"
#include "encoder/vector_math_simd.h"

#include <math.h>

/* ---- LayerNorm -------------------------------------------------------------------------------------------------- */

static void simd_norm(const mn_norm_rows *rows, float *y)
{
    size_t n = rows->n;
    for (size_t r = 0; r < rows->n_rows; r++) {
        const float *x = rows->x + r * n;
        float *out = y + r * n;
        vec total = {0}, squares = {0};
        FOR_ROW(i, n, { total += load_part(x + i, left); });
        float mean = sum_lanes(total) / (float)n;
        FOR_ROW(i, n, {
            vec d = keep_part(load_part(x + i, left) - splat(mean), left);
            squares += d * d;
        });
        float scale = 1.0f / sqrtf(sum_lanes(squares) / (float)n + rows->epsilon);
        FOR_ROW(i, n, {
            vec h = (load_part(x + i, left) - splat(mean)) * splat(scale);
            store_part(out + i, h * load_part(rows->gain + i, left) + load_part(rows->shift + i, left), left);
        });
        rows->means[r] = mean;
        rows->scales[r] = scale;
    }
}

static void simd_norm_backward(const mn_norm_rows *rows, const mn_norm_gradients *gradients)
{
    size_t n = rows->n;
    float *d_gain = gradients->d_gain, *d_shift = gradients->d_shift;
    for (size_t r = 0; r < rows->n_rows; r++) {
        const float *x = rows->x + r * n, *dy = gradients->dy + r * n;
        const float *residual = gradients->residual ? gradients->residual + r * n : NULL;
        float *dx = gradients->dx + r * n;
        vec mean = splat(rows->means[r]), scale = splat(rows->scales[r]), sum = {0}, sum_h = {0};
        FOR_ROW(i, n, {
            vec d = load_part(dy + i, left);
            vec h = (load_part(x + i, left) - mean) * scale; /* lanes past the end meet d = 0 */
            vec g = d * load_part(rows->gain + i, left);
            sum += g;
            sum_h += g * h;
            store_part(d_gain + i, load_part(d_gain + i, left) + d * h, left);
            store_part(d_shift + i, load_part(d_shift + i, left) + d, left);
        });
        vec mean_g = splat(sum_lanes(sum) / (float)n), mean_h = splat(sum_lanes(sum_h) / (float)n);
        FOR_ROW(i, n, {
            vec h = (load_part(x + i, left) - mean) * scale;
            vec out = scale * (load_part(dy + i, left) * load_part(rows->gain + i, left) - mean_g - h * mean_h);
            if (residual) out += load_part(residual + i, left);
            store_part(dx + i, out, left);
        });
    }
}

/* ---- activations ------------------------------------------------------------------------------------------------ */

static inline vec relu(vec x)
{
    return larger(x, splat(0.0f));
}

/* t of the form with tanh: sqrt(2 / pi) (x + 0.044715 x^3). */
static inline vec tanh_argument(vec x)
{
    return splat(0.79788456080286536f) * x * (splat(1.0f) + splat(0.044715f) * x * x);
}

static inline vec gelu_tanh(vec x)
{
    return splat(0.5f) * x * (splat(1.0f) + tanh_vec(tanh_argument(x)));
}

static inline vec relu_slope(vec x)
{
    return (vec)((ivec)(x > splat(0.0f)) & (ivec)splat(1.0f));
}

/* Phi(x) + x phi(x). erf as in gelu: both need e^(-x^2 / 2). */
static inline vec gelu_slope(vec x)
{
    vec z = absolute(x) * splat(0.70710678118654752f);
    vec e = exp_bounded(-z * z);
    vec t = splat(1.0f) / (splat(1.0f) + splat(0.3275911f) * z);
    vec p = splat(1.061405429f);
    p = p * t + splat(-1.453152027f);
    p = p * t + splat(1.421413741f);
    p = p * t + splat(-0.284496736f);
    p = p * t + splat(0.254829592f);
    vec erf_abs = splat(1.0f) - p * t * e;
    vec erf_signed = (vec)((ivec)erf_abs | ((ivec)x & (ivec)splat(-0.0f)));
    return splat(0.5f) + splat(0.5f) * erf_signed + splat(0.39894228040143268f) * x * e;
}

static inline vec gelu_tanh_slope(vec x)
{
    vec t = tanh_vec(tanh_argument(x));
    vec inner = splat(0.79788456080286536f) * (splat(1.0f) + splat(3 * 0.044715f) * x * x);
    return splat(0.5f) * (splat(1.0f) + t) + splat(0.5f) * x * (splat(1.0f) - t * t) * inner;
}

static void simd_activate(mn_block_activation activation, const float *x, size_t n, float *y)
{
    switch (activation) {
    case MN_BLOCK_GELU: FOR_ROW(i, n, { store_part(y + i, gelu(load_part(x + i, left)), left); }); break;
    case MN_BLOCK_GELU_TANH: FOR_ROW(i, n, { store_part(y + i, gelu_tanh(load_part(x + i, left)), left); }); break;
    case MN_BLOCK_RELU: FOR_ROW(i, n, { store_part(y + i, relu(load_part(x + i, left)), left); }); break;
    }
}

static void simd_activate_backward(mn_block_activation activation, const float *x, const float *dy, size_t n, float *dx)
{
#define BACKWARD(slope)                                                                                                \
    FOR_ROW(i, n, { store_part(dx + i, load_part(dy + i, left) * slope(load_part(x + i, left)), left); })
    switch (activation) {
    case MN_BLOCK_GELU: BACKWARD(gelu_slope); break;
    case MN_BLOCK_GELU_TANH: BACKWARD(gelu_tanh_slope); break;
    case MN_BLOCK_RELU: BACKWARD(relu_slope); break;
    }
#undef BACKWARD
}

/* ---- softmax ---------------------------------------------------------------------------------------------------- */

static inline size_t visible_columns(const mn_softmax_rows *rows, size_t r)
{
    return rows->visible + r < rows->n ? rows->visible + r : rows->n;
}

static void simd_softmax(const mn_softmax_rows *rows, float *scores)
{
    for (size_t r = 0; r < rows->n_rows; r++) {
        float *row = scores + r * rows->stride;
        size_t n = visible_columns(rows, r);
        vec total = {0}, scale = splat(rows->scale);
        float largest = largest_lane(larger_of_row(row, n, splat(row[0])));
        FOR_ROW(i, n, {
            vec e = keep_part(exp_bounded((load_part(row + i, left) - splat(largest)) * scale), left);
            total += e;
            store_part(row + i, e, left);
        });
        vec by = splat(1.0f / sum_lanes(total));
        FOR_ROW(i, n, { store_part(row + i, load_part(row + i, left) * by, left); });
        memset(row + n, 0, (rows->stride - n) * sizeof *row);
    }
}

static void simd_softmax_backward(const mn_softmax_rows *rows, const float *weights, float *gradients)
{
    for (size_t r = 0; r < rows->n_rows; r++) {
        const float *w = weights + r * rows->stride;
        float *d = gradients + r * rows->stride;
        size_t n = visible_columns(rows, r);
        vec total = {0}, scale = splat(rows->scale);
        FOR_ROW(i, n, { total += load_part(w + i, left) * load_part(d + i, left); });
        vec sum = splat(sum_lanes(total));
        FOR_ROW(i, n, { store_part(d + i, load_part(w + i, left) * (load_part(d + i, left) - sum) * scale, left); });
        memset(d + n, 0, (rows->stride - n) * sizeof *d);
    }
}

/* ---- small products --------------------------------------------------------------------------------------------- */

/* TILE_ROWS rows or fewer by two vectors, for k in [from, to). */
static inline __attribute__((always_inline)) void small_tile(const mn_small_product *p, bool transposed, size_t row,
                                                             size_t column, size_t n_rows, size_t from, size_t to)
{
    vec sums[TILE_ROWS][2];
    memset(sums, 0, n_rows * sizeof sums[0]);
    size_t stride = p->a_stride;
    const float *a = p->a + (transposed ? from * stride + row : row * stride + from);
    const float *b = p->b + from * p->b_stride + column;
    for (size_t k = from; k < to; k++) {
        const vec b0 = load(b), b1 = load(b + LANES);
#pragma GCC unroll 16
        for (size_t r = 0; r < n_rows; r++) {
            const vec left = splat(a[transposed ? r : r * stride]);
            sums[r][0] += left * b0;
            sums[r][1] += left * b1;
        }
        a += transposed ? stride : 1;
        b += p->b_stride;
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < n_rows; r++) {
        float *c = p->c + (row + r) * p->c_stride + column;
        store(c, sums[r][0]);
        store(c + LANES, sums[r][1]);
    }
}

static inline __attribute__((always_inline)) void small_rows(const mn_small_product *p, bool transposed, size_t row,
                                                             size_t n_rows)
{
    size_t columns = p->n, from = 0, to = p->k;
    if (p->triangle == MN_TRIANGLE_RESULT && row + n_rows < columns) columns = row + n_rows;
    if (p->triangle == MN_TRIANGLE_LOWER && row + n_rows < to) to = row + n_rows;
    if (p->triangle == MN_TRIANGLE_UPPER) from = row < to ? row : to;
    for (size_t column = 0; column < columns; column += 2 * LANES)
        small_tile(p, transposed, row, column, n_rows, from, to);
}

static inline __attribute__((always_inline)) void small_product(const mn_small_product *p, bool transposed)
{
#define ROWS(n)                                                                                                        \
    case n: small_rows(p, transposed, row, n); break;
    for (size_t row = 0; row < p->m; row += TILE_ROWS) {
        size_t n_rows = p->m - row < TILE_ROWS ? p->m - row : TILE_ROWS;
        switch (n_rows) {
            ROWS(1)
            ROWS(2)
            ROWS(3)
            ROWS(4)
            ROWS(5)
            ROWS(6)
#if TILE_ROWS >= 12
            ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12)
#endif
        }
    }
#undef ROWS
}

static void simd_multiply(const mn_small_product *p)
{
    if (p->transposed)
        small_product(p, true);
    else
        small_product(p, false);
}

static void simd_add(const float *a, const float *b, size_t n, float *y)
{
    FOR_ROW(i, n, { store_part(y + i, load_part(a + i, left) + load_part(b + i, left), left); });
}

const mn_block_kernels *TABLE(void)
{
    static const mn_block_kernels table = {.name = TABLE_NAME,
                                           .norm = simd_norm,
                                           .norm_backward = simd_norm_backward,
                                           .activate = simd_activate,
                                           .activate_backward = simd_activate_backward,
                                           .softmax = simd_softmax,
                                           .softmax_backward = simd_softmax_backward,
                                           .multiply = simd_multiply,
                                           .add = simd_add};
    return &table;
}
