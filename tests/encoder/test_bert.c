/* test_bert.c -- the forward pass against the official implementation's vectors, and every set of kernels against the
 * plain C ones. */
#include "test_support.h"

#include "encoder/bert.h"
#include "encoder/kernels.h"
#include "encoder/linear.h"

#include <jansson.h>
#include <math.h>

typedef struct golden {
    uint32_t *ids, offsets[65];
    float *vectors; /* 64 x 384 */
    size_t n;
} golden;

static golden read_golden(void)
{
    golden g = {.ids = calloc(64 * 256, sizeof(uint32_t)), .vectors = calloc(64 * 384, sizeof(float))};
    char path[1024], *line = NULL;
    size_t capacity = 0;
    snprintf(path, sizeof path, "%s/tests/data/golden/minilm.jsonl", test_source_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (g.n < 64 && getline(&line, &capacity, file) > 0) {
        json_t *object = json_loads(line, 0, NULL), *ids = json_object_get(object, "ids");
        json_t *vector = json_object_get(object, "embedding");
        uint32_t at = g.offsets[g.n];
        for (size_t i = 0; i < json_array_size(ids); i++)
            g.ids[at++] = (uint32_t)json_integer_value(json_array_get(ids, i));
        for (size_t i = 0; i < 384; i++)
            g.vectors[g.n * 384 + i] = (float)json_number_value(json_array_get(vector, i));
        g.offsets[++g.n] = at;
        json_decref(object);
    }
    free(line);
    fclose(file);
    assert_int_equal(g.n, 64);
    return g;
}

static double cosine(const float *a, const float *b, size_t n)
{
    double dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return dot / sqrt(aa * bb);
}

/* Encode the first n golden texts as one batch and hold each vector against the official one. */
static void check_golden(bool reference, mn_cpu_level level, size_t n)
{
    golden g = read_golden();
    mn_model_config config;
    mn_bert *bert = NULL;
    assert_ok(mn_model_config_read(test_model_dir(), &config, test_error()));
    assert_ok(mn_bert_open(test_model_dir(), &config, reference, level, 1, &bert, test_error()));
    float *vectors = calloc(n * 384, sizeof(float));
    const mn_token_batch batch = {.ids = g.ids, .offsets = g.offsets, .n = n};
    int width = mn_linear_one_thread_begin();
    assert_ok(mn_bert_encode(bert, &batch, 0, vectors, test_error()));
    mn_linear_one_thread_end(width);
    double worst = 1;
    for (size_t i = 0; i < n; i++) worst = fmin(worst, cosine(vectors + i * 384, g.vectors + i * 384, 384));
    printf("%s: %zu texts, least cosine %.8f (tolerance 0.99999)\n", mn_bert_kernels(bert), n, worst);
    assert_true(worst >= 0.99999);
    mn_bert_close(bert);
    mn_model_config_free(&config);
    free(vectors);
    free(g.ids);
    free(g.vectors);
}

static void bert_onednn_on_golden_file_equals_official(void **state)
{
    (void)state;
    check_golden(false, MN_CPU_AVX512, 64);
}

static void bert_avx2_kernels_on_golden_file_equals_official(void **state)
{
    (void)state;
    check_golden(false, MN_CPU_AVX2, 64);
}

static void bert_reference_on_golden_file_equals_official(void **state)
{
    (void)state;
    check_golden(true, MN_CPU_GENERIC, 30); /* the short texts: plain C takes seconds for a long one */
}

static void bert_alone_or_in_a_batch_gives_the_same_bits(void **state)
{
    (void)state;
    golden g = read_golden();
    mn_model_config config;
    mn_bert *bert = NULL;
    assert_ok(mn_model_config_read(test_model_dir(), &config, test_error()));
    assert_ok(mn_bert_open(test_model_dir(), &config, false, MN_CPU_AVX512, 1, &bert, test_error()));
    float *together = calloc(64 * 384, sizeof(float)), alone[384];
    const mn_token_batch batch = {.ids = g.ids, .offsets = g.offsets, .n = 64};
    assert_ok(mn_bert_encode(bert, &batch, 0, together, test_error()));
    for (size_t i = 0; i < 64; i++) {
        const uint32_t offsets[2] = {0, g.offsets[i + 1] - g.offsets[i]};
        const mn_token_batch one = {.ids = g.ids + g.offsets[i], .offsets = offsets, .n = 1};
        assert_ok(mn_bert_encode(bert, &one, 0, alone, test_error()));
        assert_memory_equal(alone, together + i * 384, sizeof alone);
    }
    mn_bert_close(bert);
    mn_model_config_free(&config);
    free(together);
    free(g.ids);
    free(g.vectors);
}

/* ---- kernels against the reference, at odd sizes ---- */

static uint32_t g_seed = 1;

static float random_float(void)
{
    g_seed = g_seed * 1664525u + 1013904223u;
    return (float)(g_seed >> 8) / 8388608.0f - 1.0f;
}

static float *random_array(size_t n, float scale)
{
    float *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = scale * random_float();
    return values;
}

static double largest_difference(const float *a, const float *b, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    return largest;
}

static float *copy_array(const float *values, size_t n)
{
    return memcpy(malloc(n * sizeof *values), values, n * sizeof *values);
}

static void check_pointwise(const mn_kernels *kernels, uint32_t tokens, uint32_t n)
{
    const mn_kernels *reference = mn_kernels_reference();
    size_t all = (size_t)tokens * n;
    float *x = random_array(all, 6), *bias = random_array(n, 2), *residual = random_array(all, 3);
    float *gain = random_array(n, 2), *shift = random_array(n, 1);
    float *a = copy_array(x, all), *b = copy_array(x, all);
    kernels->bias_gelu(a, bias, tokens, n);
    reference->bias_gelu(b, bias, tokens, n);
    assert_true(largest_difference(a, b, all) < 4e-6);
    memcpy(a, x, all * sizeof *x);
    memcpy(b, x, all * sizeof *x);
    kernels->bias_relu(a, bias, tokens, n);
    reference->bias_relu(b, bias, tokens, n);
    assert_true(largest_difference(a, b, all) < 1e-6);
    for (int variant = 0; variant < 4; variant++) {
        memcpy(a, x, all * sizeof *x);
        memcpy(b, x, all * sizeof *x);
        const float *with_bias = variant & 1 ? bias : NULL, *with_residual = variant & 2 ? residual : NULL;
        kernels->add_layer_norm(a, with_bias, with_residual, gain, shift, 1e-12f, tokens, n);
        reference->add_layer_norm(b, with_bias, with_residual, gain, shift, 1e-12f, tokens, n);
        assert_true(largest_difference(a, b, all) < 2e-5);
    }
    free(x), free(bias), free(residual), free(gain), free(shift), free(a), free(b);
}

static void check_attention(const mn_kernels *kernels, uint32_t length, uint32_t n_heads, uint32_t head)
{
    size_t width = (size_t)n_heads * head;
    float *qkv = random_array(length * 3 * width, 3), *bias = random_array(3 * width, 1);
    float *copy = copy_array(qkv, length * 3 * width);
    float *a = calloc(length * width, sizeof(float)), *b = calloc(length * width, sizeof(float));
    float *scratch = calloc(mn_attention_scratch(length, head), sizeof(float));
    const mn_attention_shape shape = {length, n_heads, head, 3 * width, width};
    kernels->attention(qkv, bias, &shape, scratch, a);
    mn_kernels_reference()->attention(copy, bias, &shape, scratch, b);
    assert_true(largest_difference(a, b, length * width) < 2e-5);
    free(qkv), free(bias), free(copy), free(a), free(b), free(scratch);
}

static void kernels_of_every_level_equal_the_reference(void **state)
{
    (void)state;
    for (mn_cpu_level level = MN_CPU_AVX2; level <= MN_CPU_AVX512; level++) {
        const mn_kernels *kernels = mn_kernels_for(level);
        const uint32_t sizes[] = {1, 7, 8, 15, 16, 17, 31, 384, 1000};
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) check_pointwise(kernels, 3, sizes[i]);
        const uint32_t lengths[] = {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 130};
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            check_attention(kernels, lengths[i], 2, 32);
            check_attention(kernels, lengths[i], 3, 64);
            check_attention(kernels, lengths[i], 1, 128);
            check_attention(kernels, lengths[i], 2, 20); /* not whole vectors: falls back */
        }
        printf("%s kernels: ok\n", kernels->name);
    }
}

static void gelu_equals_the_exact_form_over_its_whole_range(void **state)
{
    (void)state;
    for (mn_cpu_level level = MN_CPU_AVX2; level <= MN_CPU_AVX512; level++) {
        enum { N = 4001 };
        static float x[N], bias[N];
        for (size_t i = 0; i < N; i++) x[i] = -20.0f + 0.01f * (float)i;
        mn_kernels_for(level)->bias_gelu(x, bias, 1, N);
        for (size_t i = 0; i < N; i++) {
            double in = (double)(-20.0f + 0.01f * (float)i);
            double exact = 0.5 * in * (1 + erf(in / sqrt(2.0)));
            assert_true(fabs((double)x[i] - exact) < 4e-6);
        }
    }
}

static void linear_onednn_at_odd_sizes_equals_the_reference(void **state)
{
    (void)state;
    const uint32_t shapes[][3] = {{1, 8, 8}, {5, 384, 384}, {16, 100, 33}, {17, 30, 70}, {130, 64, 1152}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        uint32_t rows = shapes[i][0], n_in = shapes[i][1], n_out = shapes[i][2], room = (rows + 15) / 16 * 16;
        float *weight = random_array((size_t)n_in * n_out, 1), *x = random_array((size_t)room * n_in, 1);
        float *a = calloc((size_t)room * n_out, sizeof *a), *b = calloc((size_t)room * n_out, sizeof *b);
        mn_linear *fast = NULL, *plain = NULL;
        assert_ok(mn_linear_new_onednn(weight, n_out, n_in, &fast, test_error()));
        assert_ok(mn_linear_new_reference(weight, n_out, n_in, &plain, test_error()));
        assert_ok(mn_linear_run(fast, x, rows, a, test_error()));
        assert_ok(mn_linear_run(plain, x, rows, b, test_error()));
        assert_true(largest_difference(a, b, (size_t)rows * n_out) < 1e-4);
        mn_linear_free(fast);
        mn_linear_free(plain);
        free(weight), free(x), free(a), free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_of_every_level_equal_the_reference),
        cmocka_unit_test(gelu_equals_the_exact_form_over_its_whole_range),
        cmocka_unit_test(linear_onednn_at_odd_sizes_equals_the_reference),
        cmocka_unit_test(bert_onednn_on_golden_file_equals_official),
        cmocka_unit_test(bert_alone_or_in_a_batch_gives_the_same_bits),
        cmocka_unit_test(bert_reference_on_golden_file_equals_official),
        cmocka_unit_test(bert_avx2_kernels_on_golden_file_equals_official),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
