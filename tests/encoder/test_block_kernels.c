/* test_block_kernels.c -- the kernels of Transformer blocks on every set of instructions against plain C in double
 * precision; the plain ones' gradients against finite differences. */
#include "test_support.h"

#include "encoder/train/block_kernels.h"
#include "encoder/train/shard.h"

#include <math.h>

const mn_block_kernels *emulated_block_kernels_avx512(void);

static const mn_block_kernels *g_tables[8];
static size_t g_n_tables;
static const mn_block_activation activations[] = {MN_BLOCK_GELU, MN_BLOCK_GELU_TANH, MN_BLOCK_RELU};

static int fill_tables(void **state)
{
    (void)state;
    for (mn_cpu_level level = MN_CPU_AVX2; level <= mn_cpu_detect(); level++)
        g_tables[g_n_tables++] = mn_block_kernels_for(level);
    g_tables[g_n_tables++] = emulated_block_kernels_avx512();
    return 0;
}

/* n numbers in [-scale, scale]; freed by the caller. */
static float *random_array(size_t n, uint64_t seed, float scale)
{
    mn_random random = {seed};
    float *values = malloc(n * sizeof *values + 64);
    for (size_t i = 0; i < n; i++) values[i] = scale * (2 * mn_random_unit(&random) - 1);
    return values;
}

static void assert_near(const char *what, const mn_block_kernels *kernels, const float *x, const float *expected,
                        size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        double limit = tolerance * (1 + fabs((double)expected[i]));
        if (!(fabs((double)x[i] - (double)expected[i]) <= limit))
            fail_msg("%s %s of %zu: [%zu] is %.8g, expected %.8g", kernels->name, what, n, i, (double)x[i],
                     (double)expected[i]);
    }
}

/* ---- LayerNorm -------------------------------------------------------------------------------------------------- */

enum { NORM_ROWS = 5 };

typedef struct norm_result {
    float *y, *dx, *d_gain, *d_shift, means[NORM_ROWS], scales[NORM_ROWS];
} norm_result;

static norm_result run_norm(const mn_block_kernels *kernels, const float *x, uint32_t n, bool with_residual)
{
    size_t size = NORM_ROWS * (size_t)n;
    float *gain = random_array(n, 21, 2), *shift = random_array(n, 22, 1);
    float *dy = random_array(size, 23, 1), *residual = random_array(size, 24, 1);
    norm_result out = {.y = malloc(size * sizeof(float)), .dx = malloc(size * sizeof(float))};
    out.d_gain = random_array(n, 25, 1); /* what is there is added to */
    out.d_shift = random_array(n, 26, 1);
    const mn_norm_rows rows = {.x = x,
                               .gain = gain,
                               .shift = shift,
                               .means = out.means,
                               .scales = out.scales,
                               .epsilon = 1e-5f,
                               .n_rows = NORM_ROWS,
                               .n = n};
    kernels->norm(&rows, out.y);
    const mn_norm_gradients gradients = {.dy = dy,
                                         .residual = with_residual ? residual : NULL,
                                         .dx = out.dx,
                                         .d_gain = out.d_gain,
                                         .d_shift = out.d_shift};
    kernels->norm_backward(&rows, &gradients);
    free(gain), free(shift), free(dy), free(residual);
    return out;
}

static void free_norm(norm_result *result)
{
    free(result->y), free(result->dx), free(result->d_gain), free(result->d_shift);
}

static void norm_agrees_with_the_reference(void **state)
{
    (void)state;
    for (size_t t = 0; t < g_n_tables; t++)
        for (uint32_t n = 2; n < 90; n += 5)
            for (int residual = 0; residual < 2; residual++) {
                float *x = random_array(NORM_ROWS * (size_t)n, n, 3);
                norm_result got = run_norm(g_tables[t], x, n, residual);
                norm_result expected = run_norm(mn_block_kernels_reference(), x, n, residual);
                assert_near("norm", g_tables[t], got.y, expected.y, NORM_ROWS * (size_t)n, 2e-6);
                assert_near("norm's dx", g_tables[t], got.dx, expected.dx, NORM_ROWS * (size_t)n, 4e-6);
                assert_near("norm's gain", g_tables[t], got.d_gain, expected.d_gain, n, 4e-6);
                assert_near("norm's shift", g_tables[t], got.d_shift, expected.d_shift, n, 2e-6);
                assert_near("means", g_tables[t], got.means, expected.means, NORM_ROWS, 1e-6);
                assert_near("scales", g_tables[t], got.scales, expected.scales, NORM_ROWS, 2e-6);
                free_norm(&got), free_norm(&expected);
                free(x);
            }
}

/* ---- activations ------------------------------------------------------------------------------------------------ */

static void activations_agree_with_the_reference(void **state)
{
    (void)state;
    const mn_block_kernels *reference = mn_block_kernels_reference();
    for (size_t t = 0; t < g_n_tables; t++)
        for (size_t a = 0; a < 3; a++)
            for (size_t n = 1; n < 600; n += 37) {
                float *x = random_array(n, n, n % 2 ? 4 : 30), *dy = random_array(n, 3, 1);
                float *got = malloc(n * sizeof *got), *expected = malloc(n * sizeof *expected);
                x[0] = 0;
                g_tables[t]->activate(activations[a], x, n, got);
                reference->activate(activations[a], x, n, expected);
                assert_near("activation", g_tables[t], got, expected, n, 5e-7);
                reference->activate_backward(activations[a], x, dy, n, expected);
                g_tables[t]->activate_backward(activations[a], x, dy, n, dy); /* in place */
                assert_near("slope", g_tables[t], dy, expected, n, 1e-6);
                free(x), free(dy), free(got), free(expected);
            }
}

static void slopes_are_those_of_the_activations(void **state)
{
    (void)state;
    const mn_block_kernels *reference = mn_block_kernels_reference();
    for (size_t a = 0; a < 3; a++)
        for (float x = -4.05f; x < 4; x += 0.1f) {
            float h = 1e-2f, at[2] = {x - h, x + h}, y[2], slope, one = 1;
            reference->activate(activations[a], at, 2, y);
            reference->activate_backward(activations[a], &x, &one, 1, &slope);
            assert_float_equal((y[1] - y[0]) / (at[1] - at[0]), slope, 1e-4);
        }
    /* torch.nn.functional.gelu (2.15) of 1.5 and -0.75, exact and with tanh. */
    const float x[2] = {1.5f, -0.75f};
    float y[2];
    reference->activate(MN_BLOCK_GELU, x, 2, y);
    assert_float_equal(y[0], 1.3997892, 1e-6);
    assert_float_equal(y[1], -0.1699705, 1e-6);
    reference->activate(MN_BLOCK_GELU_TANH, x, 2, y);
    assert_float_equal(y[0], 1.3995716, 1e-6);
    assert_float_equal(y[1], -0.1700394, 1e-6);
}

/* ---- softmax ---------------------------------------------------------------------------------------------------- */

static void softmax_agrees_with_the_reference(void **state)
{
    (void)state;
    const mn_block_kernels *reference = mn_block_kernels_reference();
    for (size_t t = 0; t < g_n_tables; t++)
        for (uint32_t n = 1; n < 75; n += 4)
            for (int causal = 0; causal < 2; causal++) {
                const mn_softmax_rows rows = {
                    .stride = n + 5, .n_rows = n + 2, .n = n, .visible = causal ? 1 : n, .scale = 0.3f};
                size_t size = rows.stride * rows.n_rows;
                float *got = random_array(size, n, 20), *expected = random_array(size, n, 20);
                float *d_got = random_array(size, 7, 1), *d_expected = random_array(size, 7, 1);
                got[rows.stride - 1] = NAN; /* what is behind the last column is not read */
                g_tables[t]->softmax(&rows, got);
                reference->softmax(&rows, expected);
                assert_near("softmax", g_tables[t], got, expected, size, 1e-6);
                d_got[rows.stride - 1] = NAN;
                g_tables[t]->softmax_backward(&rows, got, d_got);
                reference->softmax_backward(&rows, expected, d_expected);
                assert_near("softmax's gradient", g_tables[t], d_got, d_expected, size, 1e-6);
                free(got), free(expected), free(d_got), free(d_expected);
            }
}

static void softmax_by_hand(void **state)
{
    (void)state;
    /* Scale 2: row 0 sees one column; row 1 two, with e^0 : e^(2 ln 3) = 1 : 9. */
    float scores[6] = {5, 1, 2, 0, 1.0986122887f, 3}, gradients[6] = {4, 4, 4, 1, 2, 3};
    const mn_softmax_rows rows = {.stride = 3, .n_rows = 2, .n = 3, .visible = 1, .scale = 2};
    mn_block_kernels_reference()->softmax(&rows, scores);
    const float expected[6] = {1, 0, 0, 0.1f, 0.9f, 0};
    for (int i = 0; i < 6; i++) assert_float_equal(scores[i], expected[i], 1e-6);
    /* Row 1: the mean gradient is 1.9; 0.1 (1 - 1.9) 2 and 0.9 (2 - 1.9) 2. */
    mn_block_kernels_reference()->softmax_backward(&rows, scores, gradients);
    const float slopes[6] = {0, 0, 0, -0.18f, 0.18f, 0};
    for (int i = 0; i < 6; i++) assert_float_equal(gradients[i], slopes[i], 1e-6);
}

/* ---- products --------------------------------------------------------------------------------------------------- */

/* Element (i,k) of a, zero where the triangle says so. */
static double left_of(const mn_small_product *p, size_t i, size_t k)
{
    if ((p->triangle == MN_TRIANGLE_LOWER && k > i) || (p->triangle == MN_TRIANGLE_UPPER && k < i)) return 0;
    return (double)p->a[p->transposed ? k * p->a_stride + i : i * p->a_stride + k];
}

static void check_product(const mn_block_kernels *kernels, mn_small_product p)
{
    size_t wide = (p.n + MN_SMALL_PANEL - 1) / MN_SMALL_PANEL * MN_SMALL_PANEL;
    p.a_stride = (p.transposed ? p.m : p.k) + 3;
    p.b_stride = wide;
    p.c_stride = wide + MN_SMALL_PANEL;
    float *a = random_array((p.transposed ? p.k : p.m) * p.a_stride, 1, 1), *b = random_array(p.k * wide, 2, 1);
    float *c = random_array(p.m * p.c_stride, 3, 1), *before = random_array(p.m * p.c_stride, 3, 1);
    p.a = a, p.b = b, p.c = c;
    for (size_t i = 0; i < p.m; i++) /* a really is zero there */
        for (size_t k = 0; k < p.k; k++)
            if (left_of(&p, i, k) == 0) a[p.transposed ? k * p.a_stride + i : i * p.a_stride + k] = 0;
    kernels->multiply(&p);
    for (size_t i = 0; i < p.m; i++) {
        for (size_t j = 0; j < p.n; j++) {
            double sum = 0;
            for (size_t k = 0; k < p.k; k++) sum += left_of(&p, i, k) * (double)b[k * wide + j];
            if (p.triangle == MN_TRIANGLE_RESULT && j > i) continue;
            if (!(fabs(sum - (double)c[i * p.c_stride + j]) < 1e-5))
                fail_msg("%s %ux%ux%u, triangle %d: (%zu,%zu) is %g, expected %g", kernels->name, p.m, p.k, p.n,
                         p.triangle, i, j, (double)c[i * p.c_stride + j], sum);
        }
        assert_memory_equal(c + i * p.c_stride + wide, before + i * p.c_stride + wide, MN_SMALL_PANEL * sizeof(float));
    }
    free(a), free(b), free(c), free(before);
}

static void small_products_equal_plain_loops(void **state)
{
    (void)state;
    static const uint32_t shapes[][3] = {{1, 1, 1},    {5, 3, 7},    {6, 16, 16},  {13, 13, 13},
                                         {37, 37, 37}, {64, 32, 64}, {11, 40, 33}, {40, 11, 5}};
    g_tables[g_n_tables] = mn_block_kernels_reference();
    for (size_t t = 0; t <= g_n_tables; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int form = 0; form < 8; form++)
                check_product(g_tables[t], (mn_small_product){.m = shapes[s][0],
                                                              .k = shapes[s][1],
                                                              .n = shapes[s][2],
                                                              .transposed = form & 1,
                                                              .triangle = (mn_triangle)(form / 2)});
}

static void sums_agree_with_the_reference(void **state)
{
    (void)state;
    for (size_t t = 0; t < g_n_tables; t++)
        for (size_t n = 1; n < 70; n += 3) {
            float *a = random_array(n, 1, 1), *b = random_array(n, 2, 1), *expected = malloc(n * sizeof *expected);
            mn_block_kernels_reference()->add(a, b, n, expected);
            g_tables[t]->add(a, b, n, a); /* in place */
            assert_memory_equal(a, expected, n * sizeof *a);
            free(a), free(b), free(expected);
        }
}

/* ---- dropout ---------------------------------------------------------------------------------------------------- */

static void dropout_leaves_the_rest_scaled_and_repeats(void **state)
{
    (void)state;
    enum { N = 100003 };
    float *x = random_array(N, 1, 1), *y = malloc(N * sizeof *y), *again = malloc(N * sizeof *again);
    size_t dropped = 0, both = 0;
    mn_dropout(99, 0.25f, x, N, y);
    memcpy(again, x, N * sizeof *x);
    mn_dropout(99, 0.25f, again, N, again);
    assert_memory_equal(y, again, N * sizeof *y);
    for (size_t i = 0; i < N; i++) {
        if (y[i] == 0)
            dropped++, both += i > 0 && y[i - 1] == 0;
        else
            assert_float_equal(y[i], x[i] / 0.75f, 1e-6);
    }
    /* Binomial: 0.25 N +- 4 standard deviations of 137; neighbours do not depend on one another: N / 16. */
    assert_in_range(dropped, 25001 - 548, 25001 + 548);
    assert_in_range(both, 6250 - 400, 6250 + 400);
    mn_dropout(100, 0.25f, x, N, again);
    assert_memory_not_equal(y, again, N * sizeof *y);
    mn_dropout(99, 0, x, N, y);
    assert_memory_equal(y, x, N * sizeof *y);
    free(x), free(y), free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(norm_agrees_with_the_reference),
                                       cmocka_unit_test(activations_agree_with_the_reference),
                                       cmocka_unit_test(slopes_are_those_of_the_activations),
                                       cmocka_unit_test(softmax_agrees_with_the_reference),
                                       cmocka_unit_test(softmax_by_hand),
                                       cmocka_unit_test(small_products_equal_plain_loops),
                                       cmocka_unit_test(sums_agree_with_the_reference),
                                       cmocka_unit_test(dropout_leaves_the_rest_scaled_and_repeats)};
    return cmocka_run_group_tests(tests, fill_tables, NULL);
}
