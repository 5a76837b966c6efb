/* train_kernels_simd.h -- the kernels of training, written once with the compiler's vector types.
 * train_kernels_avx2.c and train_kernels_avx512.c include this with LANES (floats in a vector), TABLE (the function
 * that returns the table) and TABLE_NAME set. */
#include "encoder/train/train_kernels.h"
#include "encoder/vector_math_simd.h"

#include <math.h>

static void simd_store_tile(const float *tile, size_t tile_stride, uint32_t n_rows, uint32_t n, const float *bias,
                            bool add, float *c, size_t stride)
{
    FOR_ROW(i, n, {
        vec start = bias ? load_part(bias + i, left) : (vec){0};
        for (size_t r = 0; r < n_rows; r++) {
            vec sum = load(tile + r * tile_stride + i) + start; /* tiles are whole vectors wide */
            if (add) sum += load_part(c + r * stride + i, left);
            store_part(c + r * stride + i, sum, left);
        }
    });
}

static void simd_add_rows(const float *x, size_t stride, size_t n_rows, uint32_t n, float *sums)
{
    size_t first = 0;
    for (; first + 4 * LANES <= n; first += 4 * LANES) { /* whole lines of every row at once */
        vec total[4];
        for (size_t v = 0; v < 4; v++) total[v] = load(sums + first + v * LANES);
        for (size_t r = 0; r < n_rows; r++)
            for (size_t v = 0; v < 4; v++) total[v] += load(x + r * stride + first + v * LANES);
        for (size_t v = 0; v < 4; v++) store(sums + first + v * LANES, total[v]);
    }
    FOR_ROW(j, n - first, {
        vec sum = load_part(sums + first + j, left);
        for (size_t r = 0; r < n_rows; r++) sum += load_part(x + r * stride + first + j, left);
        store_part(sums + first + j, sum, left);
    });
}

static void simd_adam(const mn_adam_numbers *a, const float *g, float *w, float *m, float *v, size_t n)
{
    vec keep1 = splat(a->beta1), keep2 = splat(a->beta2), new1 = splat(1 - a->beta1), new2 = splat(1 - a->beta2);
    vec by = splat(a->gradient_scale), rate = splat(a->learning_rate / a->correction1);
    vec root_of_correction = splat(1 / sqrtf(a->correction2)), epsilon = splat(a->epsilon);
    vec decay = splat(1 - a->learning_rate * a->weight_decay);
    FOR_ROW(i, n, {
        vec gradient = load_part(g + i, left) * by;
        vec mean = keep1 * load_part(m + i, left) + new1 * gradient;
        vec square = keep2 * load_part(v + i, left) + new2 * gradient * gradient;
        vec step = rate * mean / (square_root(square) * root_of_correction + epsilon);
        store_part(m + i, mean, left);
        store_part(v + i, square, left);
        store_part(w + i, load_part(w + i, left) * decay - step, left);
    });
}

/* One row becomes its exponentials; returns their sum, and the largest logit. */
static inline float exponentiate_row(float *row, size_t n, float *largest)
{
    const float most = largest_lane(larger_of_row(row, n, splat(row[0])));
    vec total = {0};
    FOR_ROW(i, n, {
        vec e = keep_part(exp_bounded(load_part(row + i, left) - splat(most)), left);
        total += e;
        store_part(row + i, e, left);
    });
    *largest = most;
    return sum_lanes(total);
}

static double simd_cross_entropy(float *logits, uint32_t n_rows, uint32_t n, const uint32_t *targets, float scale)
{
    double loss = 0;
    for (size_t r = 0; r < n_rows; r++) {
        float *row = logits + r * n;
        uint32_t target = targets[r];
        if (target >= n) {
            memset(row, 0, n * sizeof *row);
            continue;
        }
        float at_target = row[target], largest;
        float total = exponentiate_row(row, n, &largest);
        loss += log((double)total) - ((double)at_target - (double)largest);
        vec by = splat(scale / total);
        FOR_ROW(i, n, { store_part(row + i, load_part(row + i, left) * by, left); });
        row[target] -= scale;
    }
    return loss;
}

enum { SIDE = 8, STRIP = 64 };

/* In strips, so that the lines of `out` that are written by and by stay in the first-level cache. */
static void simd_transpose(const float *x, size_t x_stride, size_t rows, size_t columns, float *out, size_t out_stride)
{
    size_t whole_rows = rows / SIDE * SIDE, whole_columns = columns / SIDE * SIDE;
    for (size_t strip = 0; strip < whole_columns; strip += STRIP) {
        size_t end = strip + STRIP < whole_columns ? strip + STRIP : whole_columns;
        for (size_t r = 0; r < whole_rows; r += SIDE)
            for (size_t c = strip; c < end; c += SIDE)
                transpose8((const uint32_t *)(const void *)(x + r * x_stride + c), x_stride,
                           (uint32_t *)(void *)(out + c * out_stride + r), out_stride);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            out[c * out_stride + r] = x[r * x_stride + c];
}

static double simd_squares(const float *x, size_t n)
{
    double total = 0;
    for (size_t first = 0; first < n; first += 4096) { /* in f32 only over so many */
        size_t count = n - first < 4096 ? n - first : 4096;
        vec sum = {0};
        FOR_ROW(i, count, {
            vec value = load_part(x + first + i, left);
            sum += value * value;
        });
        for (int lane = 0; lane < LANES; lane++) total += (double)sum[lane];
    }
    return total;
}

const mn_train_kernels *TABLE(void)
{
    static const mn_train_kernels table = {TABLE_NAME,         simd_store_tile, simd_add_rows, simd_adam,
                                           simd_cross_entropy, simd_transpose,  simd_squares};
    return &table;
}
