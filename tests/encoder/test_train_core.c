/* test_train_core.c -- the core of training: products and kernels on every set of instructions against plain loops in
 * double precision, a dense layer's gradients against finite differences, Adam against PyTorch's. */
#include "test_support.h"

#include "encoder/gradient_check.h"
#include "encoder/train/adam.h"
#include "encoder/train/dense.h"
#include "encoder/train_kinds.h"

#include <math.h>
#include <unistd.h>

static float rounded(const mn_train_arithmetic *a, float value)
{
    if (!is_bf16(a)) return value;
    uint32_t bits = mn_round_bf16(mn_float_bits(value));
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* sum over k of a(r,k) b(k,c), each element at a place of the caller's. */
static double exact(const mn_train_arithmetic *kind, const float *a, size_t a_step, const float *b, size_t b_step,
                    size_t depth)
{
    double sum = 0;
    for (size_t k = 0; k < depth; k++)
        sum += (double)rounded(kind, a[k * a_step]) * (double)rounded(kind, b[k * b_step]);
    return sum;
}

static const uint32_t shapes[][3] = {{1, 1, 1},    {7, 33, 19},  {6, 384, 16},   {13, 385, 47},
                                     {97, 40, 65}, {3, 800, 31}, {101, 769, 130}};

/* ---- products -------------------------------------------------------------------------------------------------- */

static void check_right(const mn_train_arithmetic *kind, const uint32_t shape[3], bool transposed, bool add)
{
    uint32_t m = shape[0], depth = shape[1], n = shape[2];
    size_t a_stride = depth + 3, c_stride = n + 2, b_stride = (transposed ? depth : n) + 1;
    float *a = random_array(m * a_stride, 1, 1), *b = random_array((transposed ? n : depth) * b_stride, 2, 1);
    float *c = random_array(m * c_stride, 3, 1), *bias = random_array(n, 4, 1),
          *before = random_array(m * c_stride, 3, 1);
    mn_right right = {.depth = depth, .columns = n};
    right.panels = mn_alloc_aligned(64, mn_right_size(kind, depth, n));
    mn_right_pack(kind, b, b_stride, transposed, &right);
    mn_product_scratch scratch = {0};
    const mn_product_out out = {.c = c, .stride = c_stride, .bias = bias, .add = add};
    assert_int_equal(mn_multiply_right(kind, &scratch, a, a_stride, m, &right, &out, NULL), MNEME_OK);
    for (size_t r = 0; r < m; r++)
        for (size_t i = 0; i < n; i++) {
            double expected = exact(kind, a + r * a_stride, 1, transposed ? b + i * b_stride : b + i,
                                    transposed ? 1 : b_stride, depth) +
                              (double)bias[i] + (add ? (double)before[r * c_stride + i] : 0);
            if (!(fabs((double)c[r * c_stride + i] - expected) < 1e-4))
                fail_msg("%s %s %ux%ux%u: (%zu,%zu) is %g, expected %g", kind->product->name, kind->name, m, depth, n,
                         r, i, (double)c[r * c_stride + i], expected);
        }
    for (size_t r = 0; r + 1 < m; r++) assert_memory_equal(c + r * c_stride + n, before + r * c_stride + n, 8);
    mn_free(scratch.block);
    mn_free(right.panels);
    free(a), free(b), free(c), free(bias), free(before);
}

static void products_of_packed_weights_equal_plain_loops(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < g_n_kinds; kind++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            for (int form = 0; form < 4; form++) check_right(&g_kinds[kind], shapes[i], form & 1, form & 2);
}

static void transposed_products_equal_plain_loops(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < g_n_kinds; kind++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            uint32_t m = shapes[i][0], k = shapes[i][1], n = shapes[i][2];
            float *a = random_array((size_t)k * (m + 1), 1, 1), *b = random_array((size_t)k * (n + 2), 2, 1);
            float *c = random_array((size_t)m * n, 3, 1), *before = random_array((size_t)m * n, 3, 1);
            mn_product_scratch scratch = {0};
            const mn_transposed_product product = {
                .a = a, .a_stride = m + 1, .b = b, .b_stride = n + 2, .k = k, .m = m, .n = n, .c = c, .c_stride = n};
            assert_int_equal(mn_multiply_transposed(&g_kinds[kind], &scratch, &product, NULL), MNEME_OK);
            for (size_t j = 0; j < (size_t)m * n; j++) {
                double expected = (double)before[j] + exact(&g_kinds[kind], a + j / n, m + 1, b + j % n, n + 2, k);
                if (!(fabs((double)c[j] - expected) < 1e-4))
                    fail_msg("%s %s %ux%ux%u: [%zu] is %g, expected %g", g_kinds[kind].product->name,
                             g_kinds[kind].name, m, k, n, j, (double)c[j], expected);
            }
            mn_free(scratch.block);
            free(a), free(b), free(c), free(before);
        }
}

/* ---- kernels --------------------------------------------------------------------------------------------------- */

static void kernels_agree_with_the_reference(void **state)
{
    (void)state;
    const mn_train_kernels *reference = mn_train_kernels_reference();
    for (size_t kind = 0; kind < g_n_kinds; kind++) {
        const mn_train_kernels *kernels = g_kinds[kind].train_kernels;
        for (uint32_t n = 1; n < 70; n += 3) {
            float *x = random_array(5 * n, n, 1), *y = random_array(5 * n, n, 1);
            const uint32_t targets[5] = {0, n - 1, n, n / 2, UINT32_MAX};
            double loss = kernels->cross_entropy(x, 5, n, targets, 0.5f);
            assert_float_equal(loss, reference->cross_entropy(y, 5, n, targets, 0.5f), 1e-4);
            for (uint32_t i = 0; i < 5 * n; i++) assert_float_equal(x[i], y[i], 1e-6);
            float *sums = random_array(n, 7, 1), *expected = random_array(n, 7, 1);
            kernels->add_rows(x, n, 5, n, sums);
            reference->add_rows(x, n, 5, n, expected);
            for (uint32_t i = 0; i < n; i++) assert_float_equal(sums[i], expected[i], 1e-5);
            float turned[5 * 70];
            kernels->transpose(x, n, 5, n, turned, 5);
            for (uint32_t i = 0; i < 5 * n; i++) assert_true(turned[i % n * 5 + i / n] == x[i]);
            float *wide = random_array((size_t)n * 40, 9, 1), *back = malloc((size_t)n * 40 * sizeof(float));
            kernels->transpose(wide, 40, n, 37, back, n);
            for (uint32_t i = 0; i < 37 * n; i++) assert_true(back[i] == wide[i % n * 40 + i / n]);
            free(wide), free(back);
            assert_float_equal(kernels->squares(x, 5 * n), reference->squares(x, 5 * n), 1e-4);
            free(x), free(y), free(sums), free(expected);
        }
    }
}

/* Three steps of torch.optim.AdamW (2.15) with clip_grad_norm_ to 1.5. */
static void adam_equals_pytorchs(void **state)
{
    (void)state;
    static const float gradients[3][4] = {{0.1f, -0.2f, 3.0f, 0}, {0.4f, 0.3f, -1.0f, 1e-3f}, {-0.25f, 0.05f, 0.5f, 2}};
    static const double expected[3][4] = {{0.489500016, -1.23874998, 1.98800004, 0.0312187504},
                                          {0.480797797, -1.24246037, 1.98457956, 0.0237462707},
                                          {0.477135688, -1.24574423, 1.98025143, 0.0173304081}};
    static const float start[4] = {0.5f, -1.25f, 2.0f, 0.03125f};
    for (size_t kind = 0; kind < g_n_kinds; kind++)
        for (int sparse = 0; sparse < 2; sparse++) { /* all rows touched: the same as dense */
            mn_parameters set = {.arithmetic = &g_kinds[kind]};
            const mn_parameter_options options = {.rows = 2, .columns = 2, .decays = true, .sparse = sparse};
            mn_parameter *p = mn_parameters_add(&set, &options, "w");
            assert_int_equal(mn_parameters_ready(&set, 1, NULL), MNEME_OK);
            memcpy(p->value, start, sizeof start);
            mn_adam *adam = NULL;
            mn_shard *shards[2];
            const mn_adam_options numbers = {0.9f, 0.999f, 1e-8f, 0.1f, 1.5f};
            assert_int_equal(mn_adam_new(&set, &numbers, &adam, NULL), MNEME_OK);
            for (int s = 0; s < 2; s++) assert_int_equal(mn_shard_new(&set, &shards[s], NULL), MNEME_OK);
            for (int step = 0; step < 3; step++) {
                static const uint32_t ids[2] = {0, 1};
                for (int s = 0; s < 2; s++) { /* each brings the whole gradient; the scale makes their mean */
                    mn_shard_begin(shards[s], 1, 1, 1);
                    if (sparse)
                        mn_shard_add_rows(shards[s], p, ids, gradients[step], 2, NULL);
                    else
                        memcpy(mn_gradient_of(shards[s], p), gradients[step], sizeof start);
                }
                double norm;
                mn_adam_add(adam, shards, 2, g_threads);
                assert_true(mn_adam_step(adam, 0.01f, 0.5f, g_threads, &norm));
                for (int i = 0; i < 4; i++) assert_float_equal(p->value[i], expected[step][i], 2e-7);
            }
            for (int s = 0; s < 2; s++) mn_shard_free(shards[s]);
            mn_adam_free(adam);
            mn_parameters_free(&set);
        }
}

static void adam_leaves_untouched_rows_and_refuses_what_is_not_finite(void **state)
{
    (void)state;
    mn_parameters set = {.arithmetic = &g_kinds[0]};
    const mn_parameter_options options = {
        .rows = 200, .columns = 3, .decays = true, .sparse = true, .initial = MN_INITIAL_NORMAL, .scale = 1};
    mn_parameter *p = mn_parameters_add(&set, &options, "table");
    assert_int_equal(mn_parameters_ready(&set, 1, NULL), MNEME_OK);
    float before[600], rows[6] = {1, 1, 1, 1, 1, NAN};
    memcpy(before, p->value, sizeof before);
    const uint32_t ids[2] = {7, 130};
    mn_adam *adam = NULL;
    mn_shard *shard = NULL;
    const mn_adam_options numbers = MN_ADAM_OPTIONS;
    assert_int_equal(mn_adam_new(&set, &numbers, &adam, NULL), MNEME_OK);
    assert_int_equal(mn_shard_new(&set, &shard, NULL), MNEME_OK);
    double norm;
    for (int finite = 0; finite < 2; finite++) {
        mn_shard_begin(shard, 1, 1, 1);
        if (finite) rows[5] = 1;
        assert_int_equal(mn_shard_add_rows(shard, p, ids, rows, 2, NULL), MNEME_OK);
        mn_adam_add(adam, &shard, 1, g_threads);
        assert_int_equal(mn_adam_step(adam, 0.01f, 1, g_threads, &norm), finite);
        for (uint32_t i = 0; i < 600; i++) {
            bool touched = finite && (i / 3 == 7 || i / 3 == 130);
            if ((p->value[i] != before[i]) != touched) fail_msg("row %u, finite %d", i / 3, finite);
        }
    }
    assert_float_equal(norm, sqrt(6), 1e-6);
    mn_shard_free(shard);
    mn_adam_free(adam);
    mn_parameters_free(&set);
}

/* ---- a dense layer --------------------------------------------------------------------------------------------- */

enum { ROWS = 5, N_IN = 7, N_OUT = 4 };

typedef struct dense_case {
    mn_parameters set;
    mn_dense dense;
    mn_shard *shard;
    float x[ROWS * N_IN], y[ROWS * N_OUT];
    uint32_t targets[ROWS];
} dense_case;

static double dense_loss(void *context)
{
    dense_case *c = context;
    assert_int_equal(mn_dense_forward(&c->dense, c->shard, c->x, ROWS, c->y, NULL), MNEME_OK);
    return c->set.arithmetic->train_kernels->cross_entropy(c->y, ROWS, N_OUT, c->targets, 1.0f);
}

static void dense_gradients_equal_finite_differences(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < g_n_kinds; kind++) {
        if (is_bf16(&g_kinds[kind])) continue; /* bf16 rounds a difference away */
        dense_case c = {.set = {.arithmetic = &g_kinds[kind]}, .targets = {0, 3, 2, 9, 1}};
        assert_int_equal(mn_dense_add(&c.set, "layer", N_IN, N_OUT, true, &c.dense, NULL), MNEME_OK);
        assert_int_equal(mn_parameters_ready(&c.set, 5, NULL), MNEME_OK);
        mn_parameters_pack(&c.set, g_threads);
        assert_int_equal(mn_shard_new(&c.set, &c.shard, NULL), MNEME_OK);
        float *x = random_array(ROWS * N_IN, 11, 1), dx[ROWS * N_IN];
        memcpy(c.x, x, sizeof c.x);
        mn_shard_begin(c.shard, 1, 1, 1);
        dense_loss(&c);
        assert_int_equal(mn_dense_backward(&c.dense, c.shard, c.x, c.y, ROWS, dx, NULL), MNEME_OK);
        const gradient_check check = {.parameters = &c.set,
                                      .threads = g_threads,
                                      .loss = dense_loss,
                                      .context = &c,
                                      .h = 1e-2,
                                      .tolerance = 1e-3};
        check_parameter_gradients(&check, c.shard);
        check_array_gradient(&check, "x", c.x, dx, ROWS * N_IN);
        free(x);
        mn_shard_free(c.shard);
        mn_parameters_free(&c.set);
    }
}

/* ---- parameters ------------------------------------------------------------------------------------------------ */

static void saved_parameters_come_back_and_misfits_are_named(void **state)
{
    (void)state;
    char path[] = "/tmp/mneme-parameters-XXXXXX";
    close(mkstemp(path));
    mn_parameters a = {.arithmetic = &g_kinds[0]}, b = {.arithmetic = &g_kinds[0]};
    mn_dense dense;
    assert_int_equal(mn_dense_add(&a, "one", 3, 5, true, &dense, NULL), MNEME_OK);
    assert_int_equal(mn_dense_add(&b, "one", 3, 5, true, &dense, NULL), MNEME_OK);
    assert_int_equal(mn_parameters_ready(&a, 1, NULL), MNEME_OK);
    assert_int_equal(mn_parameters_ready(&b, 2, NULL), MNEME_OK);
    assert_memory_not_equal(a.values, b.values, 15 * sizeof(float));
    assert_int_equal(mn_parameters_save(&a, path, NULL), MNEME_OK);
    assert_int_equal(mn_parameters_load(&b, path, "", NULL), MNEME_OK);
    assert_memory_equal(a.values, b.values, a.size * sizeof(float));
    mneme_error error = {0};
    assert_int_equal(mn_parameters_load(&b, path, "encoder.", &error), MNEME_ERR_MODEL);
    assert_non_null(strstr(error.message, "encoder.one.weight"));
    mn_parameters_find(&a, "one.bias")->value[2] = INFINITY;
    assert_int_equal(mn_parameters_save(&a, path, NULL), MNEME_OK);
    assert_int_equal(mn_parameters_load(&b, path, "", &error), MNEME_ERR_MODEL);
    assert_non_null(strstr(error.message, "element 2 of tensor one.bias"));
    mn_parameters_free(&a);
    mn_parameters_free(&b);
    unlink(path);
}

/* The values at the ends and in the middle, by hand. */
static void learning_rate_rises_and_falls(void **state)
{
    (void)state;
    assert_float_equal(mn_learning_rate(2, 0.1f, 0, 10, 110), 0.2, 1e-6);
    assert_float_equal(mn_learning_rate(2, 0.1f, 9, 10, 110), 2, 1e-6);
    assert_float_equal(mn_learning_rate(2, 0.1f, 10, 10, 110), 2, 1e-6);
    assert_float_equal(mn_learning_rate(2, 0.1f, 60, 10, 110), 1.1, 1e-6);
    assert_float_equal(mn_learning_rate(2, 0.1f, 110, 10, 110), 0.2, 1e-6);
    assert_float_equal(mn_learning_rate(2, 0.1f, 500, 10, 110), 0.2, 1e-6);
    assert_float_equal(mn_learning_rate(2, 0.1f, 500, 0, 0), 2, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_packed_weights_equal_plain_loops),
        cmocka_unit_test(transposed_products_equal_plain_loops),
        cmocka_unit_test(kernels_agree_with_the_reference),
        cmocka_unit_test(adam_equals_pytorchs),
        cmocka_unit_test(adam_leaves_untouched_rows_and_refuses_what_is_not_finite),
        cmocka_unit_test(dense_gradients_equal_finite_differences),
        cmocka_unit_test(saved_parameters_come_back_and_misfits_are_named),
        cmocka_unit_test(learning_rate_rises_and_falls),
    };
    return cmocka_run_group_tests(tests, fill_kinds, free_kinds);
}
