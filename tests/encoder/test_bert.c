/* test_bert.c -- the forward pass against the official implementation's vectors, in every precision on every set of
 * instructions: those that this processor has, and the others emulated (tests/CMakeLists.txt). */
#include "test_support.h"

#include "encoder/bert.h"
#include "encoder/emulated.h"
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
        for (size_t i = 0; i < 384; i++) g.vectors[g.n * 384 + i] = (float)json_number_value(json_array_get(vector, i));
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

/* Encode the first n golden texts as one batch and hold each vector against the official one: least and mean cosine. */
static void check_golden(const char *what, const mn_arithmetic *arithmetic, size_t n, double least, double mean)
{
    golden g = read_golden();
    mn_model_config config;
    mn_bert *bert = NULL;
    assert_ok(mn_model_config_read(test_model_dir(), &config, test_error()));
    assert_ok(mn_bert_open(test_model_dir(), &config, arithmetic, NULL, 0, 1, &bert, test_error()));
    float *vectors = calloc(n * 384, sizeof(float));
    const mn_token_batch batch = {.ids = g.ids, .offsets = g.offsets, .n = n};
    assert_ok(mn_bert_encode(bert, &batch, 0, NULL, vectors, test_error()));
    double worst = 1, sum = 0;
    for (size_t i = 0; i < n; i++) {
        double similarity = cosine(vectors + i * 384, g.vectors + i * 384, 384);
        worst = fmin(worst, similarity);
        sum += similarity;
    }
    printf("%s, %s on %s: %zu texts, cosine least %.8f (at least %g), mean %.8f (at least %g)\n", what,
           mn_precision_name(arithmetic->precision), arithmetic->product->name, n, worst, least, sum / (double)n, mean);
    assert_true(worst >= least);
    assert_true(sum / (double)n >= mean);
    mn_bert_close(bert);
    mn_model_config_free(&config);
    free(vectors);
    free(g.ids);
    free(g.vectors);
}

/* What each precision promises (docs/performance.md). */
static const struct {
    double least, mean;
} promised[] = {{0.99999, 0.99999}, {0.999, 0.9999}, {0.999, 0.9999}, {0.99, 0.997}};

/* Texts of the file; of what takes its time only the short ones at its head, and there the mean says nothing. */
#ifdef __SANITIZE_ADDRESS__
enum { FEW = 2, N_SLOW = 1, ALL = 16 };
#else
enum { FEW = 30, N_SLOW = 6, ALL = 64 };
#endif

static void bert_on_golden_file_equals_official_in_every_precision(void **state)
{
    (void)state;
    for (int precision = MN_PRECISION_F32; precision <= MN_PRECISION_INT8; precision++) {
        for (mn_cpu_level level = MN_CPU_AVX2; level <= mn_cpu_detect(); level++) {
            const mn_arithmetic arithmetic = mn_arithmetic_for((mn_precision)precision, level, false);
            check_golden(mn_cpu_level_name(level), &arithmetic, ALL, promised[precision].least,
                         ALL == 64 ? promised[precision].mean : promised[precision].least);
        }
        const mn_arithmetic reference = mn_arithmetic_for((mn_precision)precision, MN_CPU_GENERIC, true);
        check_golden("plain C", &reference, precision == MN_PRECISION_F32 ? FEW : N_SLOW, promised[precision].least,
                     promised[precision].least);
    }
}

static void bert_on_emulated_instructions_equals_official(void **state)
{
    (void)state;
    for (size_t i = 0; i < emulated_count(); i++) {
        const mn_arithmetic arithmetic = emulated_arithmetic(i);
        size_t p = arithmetic.precision;
        check_golden("emulated", &arithmetic, N_SLOW, promised[p].least, promised[p].least);
    }
}

/* The integers of a product are the same on every kernel, so the vectors may differ by rounding outside of it only. */
static void bert_int8_is_the_same_on_every_kernel(void **state)
{
    (void)state;
    golden g = read_golden();
    mn_model_config config;
    assert_ok(mn_model_config_read(test_model_dir(), &config, test_error()));
    enum { N = 8 };
    static float vectors[2][N * 384];
    mn_arithmetic kinds[2] = {mn_arithmetic_for(MN_PRECISION_INT8, MN_CPU_AVX2, false), emulated_int8_bytes()};
    for (size_t k = 0; k < 2; k++) {
        kinds[k].attention = kinds[0].attention;
        kinds[k].attention_rows = kinds[0].attention_rows;
        kinds[k].kernels = kinds[0].kernels;
        mn_bert *bert = NULL;
        assert_ok(mn_bert_open(test_model_dir(), &config, &kinds[k], NULL, 0, 1, &bert, test_error()));
        const mn_token_batch batch = {.ids = g.ids, .offsets = g.offsets, .n = N};
        assert_ok(mn_bert_encode(bert, &batch, 0, NULL, vectors[k], test_error()));
        mn_bert_close(bert);
    }
    for (size_t i = 0; i < N; i++) assert_true(cosine(vectors[0] + i * 384, vectors[1] + i * 384, 384) > 0.99999);
    mn_model_config_free(&config);
    free(g.ids);
    free(g.vectors);
}

/* Alone on one thread and by a crew of three, whole and one by one. */
static void bert_by_a_crew_gives_the_same_bits(void **state)
{
    (void)state;
    enum { MEMBERS = 3 };
    golden g = read_golden();
    mn_model_config config;
    mn_crew *crew = NULL;
    assert_ok(mn_model_config_read(test_model_dir(), &config, test_error()));
    assert_ok(mn_crew_new(MEMBERS, &crew, test_error()));
    for (int precision = MN_PRECISION_F32; precision <= MN_PRECISION_INT8; precision++) {
        const mn_arithmetic arithmetic = mn_arithmetic_for((mn_precision)precision, MN_CPU_AMX, false);
        mn_bert *bert = NULL;
        assert_ok(mn_bert_open(test_model_dir(), &config, &arithmetic, NULL, 0, MEMBERS, &bert, test_error()));
        float *alone = calloc(64 * 384, sizeof(float)), *shared = calloc(64 * 384, sizeof(float)), one[384];
        const mn_token_batch batch = {.ids = g.ids, .offsets = g.offsets, .n = 64};
        assert_ok(mn_bert_encode(bert, &batch, 0, NULL, alone, test_error()));
        while (!mn_crew_begin(crew)) continue; /* it may rest */
        assert_ok(mn_bert_encode(bert, &batch, 0, crew, shared, test_error()));
        mn_crew_end(crew);
        assert_memory_equal(shared, alone, 64 * 384 * sizeof(float));
        for (size_t i = 0; i < 64; i += 7) {
            const uint32_t offsets[2] = {0, g.offsets[i + 1] - g.offsets[i]};
            const mn_token_batch single = {.ids = g.ids + g.offsets[i], .offsets = offsets, .n = 1};
            while (!mn_crew_begin(crew)) continue; /* it may rest */
            assert_ok(mn_bert_encode(bert, &single, 0, crew, one, test_error()));
            mn_crew_end(crew);
            assert_memory_equal(one, alone + i * 384, sizeof one);
        }
        mn_bert_close(bert);
        free(alone);
        free(shared);
    }
    mn_crew_free(crew);
    mn_model_config_free(&config);
    free(g.ids);
    free(g.vectors);
}

static void bert_alone_or_in_a_batch_gives_the_same_bits(void **state)
{
    (void)state;
    golden g = read_golden();
    mn_model_config config;
    assert_ok(mn_model_config_read(test_model_dir(), &config, test_error()));
    for (int precision = MN_PRECISION_F32; precision <= MN_PRECISION_INT8; precision++) {
        const mn_arithmetic arithmetic = mn_arithmetic_for((mn_precision)precision, MN_CPU_AMX, false);
        mn_bert *bert = NULL;
        assert_ok(mn_bert_open(test_model_dir(), &config, &arithmetic, NULL, 0, 1, &bert, test_error()));
        float *together = calloc(64 * 384, sizeof(float)), alone[384];
        const mn_token_batch batch = {.ids = g.ids, .offsets = g.offsets, .n = 64};
        assert_ok(mn_bert_encode(bert, &batch, 0, NULL, together, test_error()));
        for (size_t i = 0; i < 64; i++) {
            const uint32_t offsets[2] = {0, g.offsets[i + 1] - g.offsets[i]};
            const mn_token_batch one = {.ids = g.ids + g.offsets[i], .offsets = offsets, .n = 1};
            assert_ok(mn_bert_encode(bert, &one, 0, NULL, alone, test_error()));
            assert_memory_equal(alone, together + i * 384, sizeof alone);
        }
        mn_bert_close(bert);
        free(together);
    }
    mn_model_config_free(&config);
    free(g.ids);
    free(g.vectors);
}

/* What one process packed serves another: the same bits, and a block of another size is refused. */
static void bert_from_packed_weights_gives_the_same_bits(void **state)
{
    (void)state;
    golden g = read_golden();
    mn_model_config config;
    mn_bert *first = NULL, *second = NULL;
    assert_ok(mn_model_config_read(test_model_dir(), &config, test_error()));
    const mn_arithmetic arithmetic = mn_arithmetic_for(MN_PRECISION_INT16, MN_CPU_AMX, false);
    assert_ok(mn_bert_open(test_model_dir(), &config, &arithmetic, NULL, 0, 1, &first, test_error()));
    size_t size = 0;
    const void *image = mn_bert_image(first, &size);
    assert_int_equal(mn_bert_open(test_model_dir(), &config, &arithmetic, image, size - 64, 1, &second, test_error()),
                     MNEME_ERR_DAMAGED);
    assert_null(second);
    assert_ok(mn_bert_open(test_model_dir(), &config, &arithmetic, image, size, 1, &second, test_error()));
    float a[384], b[384];
    const mn_token_batch batch = {.ids = g.ids, .offsets = g.offsets, .n = 1};
    assert_ok(mn_bert_encode(first, &batch, 0, NULL, a, test_error()));
    assert_ok(mn_bert_encode(second, &batch, 0, NULL, b, test_error()));
    assert_memory_equal(a, b, sizeof a);
    mn_bert_close(second);
    mn_bert_close(first);
    mn_model_config_free(&config);
    free(g.ids);
    free(g.vectors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bert_on_golden_file_equals_official_in_every_precision),
        cmocka_unit_test(bert_on_emulated_instructions_equals_official),
        cmocka_unit_test(bert_int8_is_the_same_on_every_kernel),
        cmocka_unit_test(bert_by_a_crew_gives_the_same_bits),
        cmocka_unit_test(bert_alone_or_in_a_batch_gives_the_same_bits),
        cmocka_unit_test(bert_from_packed_weights_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
