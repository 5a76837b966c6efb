/* test_static_table.c -- the static encoder against brute force in double precision, its kernels against one another,
 * and folders that must be refused. */
#include "test_support.h"

#include "encoder/static_table.h"

#include <math.h>
#include <unistd.h>

enum { VOCABULARY = 50, UNKNOWN = 3 };

static uint64_t random_state = 7;
static double random_unit(void) /* -1 .. 1 */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-52 - 1;
}

/* ---- folders made by hand ---- */

typedef struct parts {
    const char *dtype; /* of the embeddings */
    uint32_t rows, dimension;
    const void *embeddings;
    const float *weights; /* VOCABULARY, or NULL */
    const int64_t *mapping;
    uint32_t n_weights, n_mapping;
    const char *config; /* NULL: a good one */
} parts;

static size_t dtype_bytes(const char *dtype)
{
    return strcmp(dtype, "F32") == 0 ? 4 : strcmp(dtype, "F64") == 0 ? 8 : strcmp(dtype, "I8") == 0 ? 1 : 2;
}

static void write_folder(const char *folder, const parts *p)
{
    char path[1200], header[1000];
    size_t size = (size_t)p->rows * p->dimension * dtype_bytes(p->dtype), at = size;
    int n =
        snprintf(header, sizeof header, "{\"embeddings\":{\"dtype\":\"%s\",\"shape\":[%u,%u],\"data_offsets\":[0,%zu]}",
                 p->dtype, p->rows, p->dimension, size);
    if (p->weights) {
        n += snprintf(header + n, sizeof header - (size_t)n,
                      ",\"weights\":{\"dtype\":\"F32\",\"shape\":[%u],\"data_offsets\":[%zu,%zu]}", p->n_weights, at,
                      at + p->n_weights * 4);
        at += p->n_weights * 4;
    }
    if (p->mapping)
        n += snprintf(header + n, sizeof header - (size_t)n,
                      ",\"mapping\":{\"dtype\":\"I64\",\"shape\":[%u],\"data_offsets\":[%zu,%zu]}", p->n_mapping, at,
                      at + p->n_mapping * 8);
    n += snprintf(header + n, sizeof header - (size_t)n, "}");
    uint64_t length = (uint64_t)n;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(&length, 8, 1, file);
    fwrite(header, 1, (size_t)n, file);
    fwrite(p->embeddings, 1, size, file);
    if (p->weights) fwrite(p->weights, 4, p->n_weights, file);
    if (p->mapping) fwrite(p->mapping, 8, p->n_mapping, file);
    fclose(file);
    snprintf(path, sizeof path, "%s/config.json", folder);
    file = fopen(path, "w");
    if (p->config)
        fputs(p->config, file);
    else
        fprintf(file, "{\"model_type\": \"model2vec\", \"hidden_dim\": %u}", p->dimension);
    fclose(file);
}

static mneme_status open_folder(const char *folder, mn_cpu_level level, mn_static_table **table)
{
    const mn_static_options options = {.folder = folder, .vocabulary = VOCABULARY, .unknown = UNKNOWN, .level = level};
    return mn_static_table_open(&options, table, test_error());
}

/* ---- numbers ---- */

/* The value of a stored number, by the definition of its format and in double precision. */
static double value_of(const char *dtype, const void *data, size_t i)
{
    float f32;
    uint16_t half;
    if (strcmp(dtype, "F32") == 0) return memcpy(&f32, (const char *)data + 4 * i, 4), (double)f32;
    if (strcmp(dtype, "I8") == 0) return (double)((const int8_t *)data)[i];
    memcpy(&half, (const char *)data + 2 * i, 2);
    bool brain = strcmp(dtype, "BF16") == 0;
    int mantissa_bits = brain ? 7 : 10, bias = brain ? 127 : 15;
    int exponent = (half & 0x7FFF) >> mantissa_bits, mantissa = half & ((1 << mantissa_bits) - 1);
    double size = exponent ? ldexp(1 + ldexp(mantissa, -mantissa_bits), exponent - bias)
                           : ldexp(mantissa, 1 - bias - mantissa_bits);
    return half & 0x8000 ? -size : size;
}

/* Random finite numbers of the type, small ones and large ones. */
static void *random_numbers(const char *dtype, size_t n)
{
    size_t bytes = dtype_bytes(dtype);
    unsigned char *data = malloc(n * bytes);
    for (size_t i = 0; i < n; i++) {
        float number = (float)(random_unit() * exp(2 * random_unit()));
        uint16_t half = (uint16_t)((random_state >> 20 & 0x83FF) | (8 + (random_state >> 40) % 8) << 10);
        if (i % 97 == 0) half = (uint16_t)(random_state >> 30 & 0x83FF); /* subnormal */
        uint32_t bits;
        memcpy(&bits, &number, 4);
        uint16_t brain = (uint16_t)(bits >> 16);
        int8_t byte = (int8_t)(random_unit() * 127);
        if (bytes == 4)
            memcpy(data + 4 * i, &number, 4);
        else if (bytes == 1)
            memcpy(data + i, &byte, 1);
        else
            memcpy(data + 2 * i, strcmp(dtype, "BF16") == 0 ? &brain : &half, 2);
    }
    return data;
}

static void brute_force(const parts *p, const uint32_t *ids, size_t n, double *out)
{
    double squares = 0;
    for (size_t c = 0; c < p->dimension; c++) {
        out[c] = 0;
        for (size_t i = 0; i < n; i++) {
            if (ids[i] == UNKNOWN) continue;
            size_t row = p->mapping ? (size_t)p->mapping[ids[i]] : ids[i];
            out[c] += (p->weights ? (double)p->weights[ids[i]] : 1) *
                      value_of(p->dtype, p->embeddings, row * p->dimension + c);
        }
        squares += out[c] * out[c];
    }
    for (size_t c = 0; c < p->dimension; c++) out[c] /= sqrt(squares);
}

static void check_against_brute_force(const parts *p)
{
    char *folder = test_make_dir();
    write_folder(folder, p);
    uint32_t ids[600];
    static const size_t lengths[] = {1, 2, 3, 4, 5, 8, 9, 31, 127, 128, 129, 300, 600};
    mn_static_table *tables[3];
    static const mn_cpu_level levels[] = {MN_CPU_GENERIC, MN_CPU_AVX2, MN_CPU_AVX512};
    for (size_t l = 0; l < 3; l++) assert_ok(open_folder(folder, levels[l], &tables[l]));
    float *vectors[3];
    double *expected = calloc(p->dimension, sizeof *expected), worst = 0;
    for (size_t l = 0; l < 3; l++) vectors[l] = calloc(p->dimension, sizeof(float));
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
        for (size_t i = 0; i < lengths[k]; i++) ids[i] = (uint32_t)((random_unit() + 1) / 2 * VOCABULARY) % VOCABULARY;
        ids[0] = 7; /* not the unknown token */
        for (size_t l = 0; l < 3; l++) mn_static_pool(tables[l], ids, lengths[k], vectors[l]);
        brute_force(p, ids, lengths[k], expected);
        for (size_t c = 0; c < p->dimension; c++) worst = fmax(worst, fabs((double)vectors[0][c] - expected[c]));
        assert_memory_equal(vectors[0], vectors[1], p->dimension * sizeof(float));
        assert_memory_equal(vectors[0], vectors[2], p->dimension * sizeof(float));
    }
    printf("%s, %u columns%s%s: largest difference %.2g (tolerance 2e-6)\n", p->dtype, p->dimension,
           p->weights ? ", weights" : "", p->mapping ? ", mapping" : "", worst);
    assert_true(worst <= 2e-6);
    for (size_t l = 0; l < 3; l++) {
        free(vectors[l]);
        mn_static_table_close(tables[l]);
    }
    free(expected);
    test_remove_dir(folder);
}

static void pool_of_every_type_equals_brute_force_on_all_kernels(void **state)
{
    (void)state;
    static const char *const dtypes[] = {"F32", "F16", "BF16", "I8"};
    static const uint32_t dimensions[] = {1, 7, 8, 16, 33, 256, 300};
    float weights[VOCABULARY];
    int64_t mapping[VOCABULARY];
    for (size_t i = 0; i < VOCABULARY; i++) weights[i] = (float)random_unit(), mapping[i] = (int64_t)(i * 7 % 20);
    for (size_t t = 0; t < 4; t++)
        for (size_t d = 0; d < sizeof dimensions / sizeof dimensions[0]; d++) {
            parts p = {.dtype = dtypes[t], .rows = VOCABULARY, .dimension = dimensions[d]};
            void *numbers = random_numbers(p.dtype, (size_t)p.rows * p.dimension);
            p.embeddings = numbers;
            check_against_brute_force(&p);
            p.weights = weights, p.n_weights = VOCABULARY;
            if (d % 2) p.mapping = mapping, p.n_mapping = VOCABULARY, p.rows = 20;
            check_against_brute_force(&p);
            free(numbers);
        }
}

static void texts_without_known_tokens_get_the_unknown_tokens_vector(void **state)
{
    (void)state;
    parts p = {.dtype = "F32", .rows = VOCABULARY, .dimension = 24};
    float *numbers = random_numbers("F32", VOCABULARY * 24), vector[24];
    memset(numbers, 0, 24 * sizeof *numbers); /* token 0: a row of zeros */
    for (size_t c = 0; c < 24; c++) numbers[5 * 24 + c] = -numbers[4 * 24 + c];
    p.embeddings = numbers;
    char *folder = test_make_dir();
    write_folder(folder, &p);
    mn_static_table *table = NULL;
    assert_ok(open_folder(folder, MN_CPU_AVX512, &table));
    double length = 0;
    for (size_t c = 0; c < 24; c++) length += (double)numbers[UNKNOWN * 24 + c] * (double)numbers[UNKNOWN * 24 + c];
    static const uint32_t unknown[] = {UNKNOWN, UNKNOWN, UNKNOWN}, zeros[] = {0, 0}, cancelling[] = {4, 5};
    const struct {
        const uint32_t *ids;
        size_t n;
    } texts[] = {{unknown, 0}, {unknown, 3}, {zeros, 2}, {cancelling, 2}};
    for (size_t t = 0; t < 4; t++) {
        mn_static_pool(table, texts[t].ids, texts[t].n, vector);
        for (size_t c = 0; c < 24; c++)
            assert_true(fabs((double)vector[c] - (double)numbers[UNKNOWN * 24 + c] / sqrt(length)) < 1e-6);
    }
    mn_static_table_close(table);

    /* An unknown token whose row is zero: still a unit vector. */
    memset(numbers + UNKNOWN * 24, 0, 24 * sizeof *numbers);
    write_folder(folder, &p);
    assert_ok(open_folder(folder, MN_CPU_AVX512, &table));
    mn_static_pool(table, unknown, 3, vector);
    double squares = 0;
    for (size_t c = 0; c < 24; c++) squares += (double)vector[c] * (double)vector[c];
    assert_true(fabs(squares - 1) < 1e-6);
    mn_static_table_close(table);
    free(numbers);
    test_remove_dir(folder);
}

static void expect_refused(const parts *p, const char *says)
{
    char *folder = test_make_dir();
    write_folder(folder, p);
    mn_static_table *table = (mn_static_table *)folder;
    mneme_status status = open_folder(folder, MN_CPU_AVX512, &table);
    if (status != MNEME_ERR_MODEL) fail_msg("%s: status %d", says, status);
    if (!strstr(test_error()->message, says)) fail_msg("\"%s\" does not say \"%s\"", test_error()->message, says);
    assert_null(table);
    test_remove_dir(folder);
}

static void numbers_that_are_not_finite_are_refused_by_place(void **state)
{
    (void)state;
    static const char *const dtypes[] = {"F32", "F16", "BF16"};
    for (size_t t = 0; t < 3; t++) {
        unsigned char *numbers = random_numbers(dtypes[t], VOCABULARY * 100);
        const parts p = {.dtype = dtypes[t], .rows = VOCABULARY, .dimension = 100, .embeddings = numbers};
        static const uint16_t halves[][2] = {{0x7C00, 0xFE00}, {0x7F80, 0xFFC0}}; /* infinity, NaN */
        static const uint32_t words[2] = {0x7F800000, 0xFFC00001};
        for (size_t i = 0; i < 2; i++) {
            size_t at = 42 * 100 + 17, bytes = dtype_bytes(dtypes[t]);
            unsigned char keep[4];
            memcpy(keep, numbers + at * bytes, bytes);
            memcpy(numbers + at * bytes, t == 0 ? (const void *)&words[i] : (const void *)&halves[t - 1][i], bytes);
            expect_refused(&p, "row 42, column 17");
            memcpy(numbers + at * bytes, keep, bytes);
        }
        free(numbers);
    }
}

static void wrong_shapes_and_types_are_refused(void **state)
{
    (void)state;
    void *numbers = random_numbers("F32", VOCABULARY * 16 * 2);
    float weights[VOCABULARY] = {0};
    int64_t mapping[VOCABULARY] = {0};
    const parts good = {.dtype = "F32", .rows = VOCABULARY, .dimension = 16, .embeddings = numbers};
    parts p = good;
    p.rows = VOCABULARY - 1;
    expect_refused(&p, "50 tokens, the embeddings have 49 rows");
    p = good;
    p.dtype = "F64", p.rows = VOCABULARY;
    expect_refused(&p, "F64");
    p = good;
    p.config = "{\"model_type\": \"model2vec\", \"hidden_dim\": 17}";
    expect_refused(&p, "hidden_dim is 17");
    p.config = "{\"model_type\": ";
    expect_refused(&p, "config.json:1");
    p = good;
    p.weights = weights, p.n_weights = VOCABULARY - 1;
    expect_refused(&p, "weights must have one number for each of the 50 tokens");
    p.n_weights = VOCABULARY, weights[9] = NAN;
    expect_refused(&p, "weight 9 is not finite");
    p = good;
    p.mapping = mapping, p.n_mapping = VOCABULARY - 1;
    expect_refused(&p, "mapping must have");
    p.n_mapping = VOCABULARY, mapping[11] = VOCABULARY;
    expect_refused(&p, "mapping of token 11 is 50, of 50 rows");
    mapping[11] = -1;
    expect_refused(&p, "mapping of token 11 is -1");
    free(numbers);
}

static void files_cut_short_are_refused(void **state)
{
    (void)state;
    char *folder = test_make_dir(), path[1200];
    void *numbers = random_numbers("F16", VOCABULARY * 32);
    const parts p = {.dtype = "F16", .rows = VOCABULARY, .dimension = 32, .embeddings = numbers};
    write_folder(folder, &p);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    for (long size = 3200; size >= 0; size -= 53) {
        mn_static_table *table = NULL;
        if (truncate(path, size) != 0) fail_msg("truncate");
        assert_int_equal(open_folder(folder, MN_CPU_AVX512, &table), MNEME_ERR_MODEL);
    }
    free(numbers);
    test_remove_dir(folder);
}

static void opening_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    char *folder = test_make_dir();
    void *numbers = random_numbers("F16", VOCABULARY * 32);
    float weights[VOCABULARY] = {1};
    int64_t mapping[VOCABULARY] = {0};
    const parts p = {.dtype = "F16",
                     .rows = VOCABULARY,
                     .dimension = 32,
                     .embeddings = numbers,
                     .weights = weights,
                     .n_weights = VOCABULARY,
                     .mapping = mapping,
                     .n_mapping = VOCABULARY};
    write_folder(folder, &p);
    mn_static_table *table = NULL;
    size_t n = 0;
    mneme_status status;
    do {
        mn_alloc_fail_after(++n);
        status = open_folder(folder, MN_CPU_AVX512, &table);
        mn_alloc_fail_after(0);
        assert_true(status == MNEME_OK || status == MNEME_ERR_MEMORY);
    } while (status != MNEME_OK && n < 200);
    assert_int_equal(status, MNEME_OK);
    assert_true(n > 5);
    mn_static_table_close(table);
    free(numbers);
    test_remove_dir(folder);
}

static void fingerprint_tells_tables_apart(void **state)
{
    (void)state;
    char *folder = test_make_dir();
    float *numbers = random_numbers("F32", VOCABULARY * 8);
    const parts p = {.dtype = "F32", .rows = VOCABULARY, .dimension = 8, .embeddings = numbers};
    mn_static_table *table = NULL;
    uint64_t prints[3];
    for (size_t i = 0; i < 3; i++) {
        if (i == 2) numbers[399] += 1;
        write_folder(folder, &p);
        assert_ok(open_folder(folder, MN_CPU_AVX512, &table));
        prints[i] = mn_static_fingerprint(table);
        mn_static_table_close(table);
    }
    assert_true(prints[0] == prints[1] && prints[1] != prints[2]);
    free(numbers);
    test_remove_dir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_of_every_type_equals_brute_force_on_all_kernels),
        cmocka_unit_test(texts_without_known_tokens_get_the_unknown_tokens_vector),
        cmocka_unit_test(numbers_that_are_not_finite_are_refused_by_place),
        cmocka_unit_test(wrong_shapes_and_types_are_refused),
        cmocka_unit_test(files_cut_short_are_refused),
        cmocka_unit_test(opening_out_of_memory_leaks_nothing),
        cmocka_unit_test(fingerprint_tells_tables_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
