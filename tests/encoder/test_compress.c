/* test_compress.c -- smaller copies of models: the numbers that are written against the definitions, and that the
 * copies load and stay near their originals. */
#include "recurrent_folder.h"

#include "common/file.h"
#include "encoder/encoder.h"
#include "encoder/safetensors.h"
#include "encoder/train/compress_model.h"

#include <unistd.h>

static char *g_dir; /* with folders from, to */
static json_t *g_shape;

static const char *inside(const char *name)
{
    return test_inside(g_dir, name);
}

static void write_original(void)
{
    char command[1300];
    snprintf(command, sizeof command, "rm -rf '%s'/*", g_dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(mkdir(inside("from"), 0755), 0);
    recurrent_write(inside("from"), g_shape, NULL, (model_fault){0});
}

static mneme_status compress(bool int8, double keep, bool replace, mneme_error *error)
{
    const mneme_compress_options options = {sizeof options, int8, keep, replace};
    return mn_compress_model(inside("from"), &options, inside("to"), error);
}

static mn_safetensors *open_weights(const char *folder)
{
    mn_safetensors *file = NULL;
    char path[1300];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_ok(mn_safetensors_open(path, &file, test_error()));
    return file;
}

static float *numbers_of(const mn_tensor *tensor)
{
    float *numbers = calloc((size_t)tensor->n_elements, sizeof *numbers);
    mn_tensor_to_f32(tensor, 0, (size_t)tensor->n_elements, numbers);
    return numbers;
}

/* A vector of a text by the model in this folder. */
static void encode(const char *folder, const char *precision, float *vector, char *note, size_t note_size)
{
    const mn_encoder_options options = {.folder = folder, .precision = precision, .kernels = "auto", .threads = 1};
    const char *text = "the Miller's daughter spins straw into gold";
    mn_encoder *encoder = NULL;
    assert_ok(mn_encoder_open(&options, &encoder, test_error()));
    assert_int_equal(mn_encoder_info(encoder)->dimension, 32);
    const char *said = mn_encoder_info(encoder)->compressed;
    snprintf(note, note_size, "%s", said ? said : "");
    assert_ok(mn_encoder_encode(encoder, &text, NULL, 1, MNEME_TEXT_PASSAGE, vector, NULL, NULL, test_error()));
    mn_encoder_close(encoder);
}

static double cosine(const float *a, const float *b, size_t n)
{
    double dot = 0;
    for (size_t i = 0; i < n; i++) dot += (double)a[i] * (double)b[i];
    return dot;
}

static void check_row(const float *before, const mn_tensor *after, size_t row, size_t columns, float scale)
{
    float largest = 0;
    for (size_t i = 0; i < columns; i++) largest = fmaxf(largest, fabsf(before[row * columns + i]));
    assert_true(fabs((double)scale - (double)largest / 127) < 1e-9);
    for (size_t i = 0; i < columns; i++) {
        double number = (double)((const int8_t *)after->data)[row * columns + i] * (double)scale;
        assert_true(fabs(number - (double)before[row * columns + i]) <= 0.5001 * (double)scale);
    }
}

static void quantized_matrices_are_within_half_a_step_and_the_rest_is_untouched(void **state)
{
    (void)state;
    write_original();
    assert_ok(compress(true, 1, false, test_error()));
    mn_safetensors *from = open_weights(inside("from")), *to = open_weights(inside("to"));
    size_t n_matrices = 0;
    for (size_t i = 0; i < mn_safetensors_count(from); i++) {
        const mn_tensor *before = mn_safetensors_at(from, i), *after = mn_safetensors_find(to, before->name);
        assert_non_null(after);
        if (before->rank != 2 || before->shape[0] < 16) {
            assert_int_equal(after->size_bytes, before->size_bytes);
            assert_memory_equal(after->data, before->data, before->size_bytes);
            continue;
        }
        n_matrices++;
        assert_string_equal(after->dtype, "I8");
        assert_int_equal(after->type, MN_TENSOR_SCALED_I8);
        float *numbers = numbers_of(before), *back = numbers_of(after), scale;
        for (size_t r = 0; r < before->shape[0]; r++) {
            memcpy(&scale, (const char *)after->scale + r * sizeof scale, sizeof scale);
            check_row(numbers, after, r, (size_t)before->shape[1], scale);
            float one; /* from the middle of a row */
            mn_tensor_to_f32(after, r * before->shape[1] + 3, 1, &one);
            assert_true(one == back[r * before->shape[1] + 3]);
            assert_true(one == (float)((const int8_t *)after->data)[r * before->shape[1] + 3] * scale);
        }
        free(numbers);
        free(back);
    }
    assert_int_equal(n_matrices, 6); /* table, two of each way, output */
    mn_safetensors_close(from);
    mn_safetensors_close(to);
}

static void quantized_model_loads_and_gives_near_vectors_in_every_precision(void **state)
{
    (void)state;
    static const char *const precisions[] = {"f32", "bf16", "int16", "int8"};
    write_original();
    assert_ok(compress(true, 1, false, test_error()));
    for (size_t p = 0; p < 4; p++) {
        float before[32], after[32];
        char note[500];
        encode(inside("from"), "f32", before, note, sizeof note);
        assert_string_equal(note, "");
        encode(inside("to"), precisions[p], after, note, sizeof note);
        assert_string_equal(note, "weights of from as int8, one scale a row");
        printf("int8 weights, %s products: cosine %.6f\n", precisions[p], cosine(before, after, 32));
        assert_true(cosine(before, after, 32) > 0.999);
        assert_true(cosine(before, after, 32) < 0.9999999); /* they are others */
    }
}

static void pruned_matrices_keep_their_largest_numbers_as_they_were(void **state)
{
    (void)state;
    write_original();
    assert_ok(compress(false, 0.4, false, test_error()));
    mn_safetensors *from = open_weights(inside("from")), *to = open_weights(inside("to"));
    size_t n_pruned = 0;
    for (size_t i = 0; i < mn_safetensors_count(from); i++) {
        const mn_tensor *before = mn_safetensors_at(from, i), *after = mn_safetensors_find(to, before->name);
        assert_non_null(after);
        assert_int_equal(after->size_bytes, before->size_bytes);
        if (before->rank != 2 || before->shape[0] < 16 || strcmp(before->name, "embedding.weight") == 0) {
            assert_memory_equal(after->data, before->data, before->size_bytes);
            continue;
        }
        float *numbers = numbers_of(before), *back = numbers_of(after), least_kept = 1e9f, largest_gone = 0;
        size_t n = (size_t)before->n_elements, n_kept = 0;
        for (size_t k = 0; k < n; k++) {
            if (back[k] != 0) {
                assert_true(back[k] == numbers[k]);
                least_kept = fminf(least_kept, fabsf(numbers[k]));
                n_kept++;
            } else {
                largest_gone = fmaxf(largest_gone, fabsf(numbers[k]));
            }
        }
        assert_true(least_kept >= largest_gone);
        assert_int_equal(n_kept, (size_t)llround(0.4 * (double)n));
        n_pruned++;
        free(numbers);
        free(back);
    }
    assert_int_equal(n_pruned, 5);
    mn_safetensors_close(from);
    mn_safetensors_close(to);
    float vector[32];
    char note[500];
    encode(inside("to"), "f32", vector, note, sizeof note);
    assert_string_equal(note, "weights of from pruned: the largest 40 % of each product's are kept");
}

static void pruned_after_quantized_says_both(void **state)
{
    (void)state;
    write_original();
    assert_ok(compress(true, 1, false, test_error()));
    char command[2600];
    snprintf(command, sizeof command, "rm -r '%s' && mv '%s' '%s'", inside("from"), inside("to"), inside("from"));
    assert_int_equal(system(command), 0);
    assert_ok(compress(false, 0.5, false, test_error()));
    mn_safetensors *to = open_weights(inside("to"));
    const mn_tensor *tensor = mn_safetensors_find(to, "output.weight");
    assert_int_equal(tensor->type, MN_TENSOR_SCALED_I8);
    size_t n_zero = 0;
    for (size_t i = 0; i < tensor->n_elements; i++) n_zero += ((const int8_t *)tensor->data)[i] == 0;
    assert_true(n_zero >= tensor->n_elements / 2); /* and those that were 0 before */
    mn_safetensors_close(to);
    float vector[32];
    char note[500];
    encode(inside("to"), "f32", vector, note, sizeof note);
    assert_string_equal(note, "weights of from as int8, one scale a row; weights of from pruned: the largest 50 % of "
                              "each product's are kept");
}

/* ---- a static encoder ---- */

enum { ROWS = 162, COLUMNS = 24 }; /* vocab.txt's tokens */

static void write_static(const float *table)
{
    char path[1300], header[200];
    int n = snprintf(header, sizeof header,
                     "{\"embeddings\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%d]}}", ROWS, COLUMNS,
                     ROWS * COLUMNS * 4);
    uint64_t size = (uint64_t)n;
    snprintf(path, sizeof path, "rm -rf '%s'/*", g_dir);
    assert_int_equal(system(path), 0);
    assert_int_equal(mkdir(inside("from"), 0755), 0);
    model_write_vocabulary(inside("from"));
    snprintf(path, sizeof path, "%s/model.safetensors", inside("from"));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(&size, 8, 1, file);
    fwrite(header, 1, size, file);
    fwrite(table, sizeof(float), ROWS * COLUMNS, file);
    fclose(file);
    json_t *config = json_pack("{s:s, s:i}", "model_type", "model2vec", "hidden_dim", COLUMNS);
    model_write_json(inside("from"), "config.json", config);
    json_decref(config);
}

static void quantized_static_encoder_folds_its_scales_into_the_tokens_weights(void **state)
{
    (void)state;
    float table[ROWS * COLUMNS], vectors[2][COLUMNS];
    model_values("embedding.weight", ROWS * COLUMNS, table);
    for (size_t r = 0; r < ROWS; r++) /* rows of very different lengths */
        for (size_t i = 0; i < COLUMNS; i++) table[r * COLUMNS + i] *= (float)(1 + r % 7);
    write_static(table);
    assert_ok(compress(true, 1, false, test_error()));
    const char *text = "the Miller's daughter spins straw into gold";
    for (size_t k = 0; k < 2; k++) {
        const mn_encoder_options options = {
            .folder = inside(k ? "to" : "from"), .precision = "auto", .kernels = "auto", .threads = 1};
        mn_encoder *encoder = NULL;
        assert_ok(mn_encoder_open(&options, &encoder, test_error()));
        assert_string_equal(mn_encoder_info(encoder)->kind, "static");
        assert_string_equal(mn_encoder_info(encoder)->precision, k ? "int8" : "f32");
        assert_ok(mn_encoder_encode(encoder, &text, NULL, 1, MNEME_TEXT_PASSAGE, vectors[k], NULL, NULL, test_error()));
        mn_encoder_close(encoder);
    }
    printf("static, int8: cosine %.6f\n", cosine(vectors[0], vectors[1], COLUMNS));
    assert_true(cosine(vectors[0], vectors[1], COLUMNS) > 0.9999);
    mneme_error error = {0};
    assert_int_equal(compress(false, 0.5, true, &error), MNEME_ERR_USAGE);
    assert_non_null(strstr(error.message, "nothing to prune"));
}

/* ---- refused ---- */

static void compression_that_makes_no_sense_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    mneme_error error = {0};
    write_original();
    static const struct {
        bool int8;
        double keep;
    } senseless[] = {{false, 1}, {false, 0}, {false, -1}, {false, 2}, {false, NAN}, {true, 0.5}};
    for (size_t i = 0; i < sizeof senseless / sizeof senseless[0]; i++)
        assert_int_equal(compress(senseless[i].int8, senseless[i].keep, false, &error), MNEME_ERR_USAGE);
    assert_int_equal(access(inside("to"), F_OK), -1);
    assert_ok(compress(true, 1, false, &error));
    assert_int_equal(compress(true, 1, false, &error), MNEME_ERR_USAGE);
    assert_non_null(strstr(error.message, "exists already"));
    assert_ok(compress(true, 1, true, &error));
}

static void compression_of_a_broken_model_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    mneme_error error = {0};
    write_original();
    recurrent_write(inside("from"), g_shape, NULL, (model_fault){MODEL_TENSOR_NAN, "output.weight"});
    assert_int_equal(compress(true, 1, false, &error), MNEME_ERR_MODEL);
    assert_non_null(strstr(error.message, "output.weight"));
    assert_int_equal(compress(false, 0.5, false, &error), MNEME_ERR_MODEL);
    assert_int_equal(unlink(inside("from/config.json")), 0);
    recurrent_write(inside("from"), g_shape, NULL, (model_fault){0});
    FILE *file = fopen(inside("from/config.json"), "w");
    fputs("[1, 2", file);
    fclose(file);
    assert_int_equal(compress(true, 1, false, &error), MNEME_ERR_MODEL);
    assert_non_null(strstr(error.message, "config.json"));
    assert_int_equal(truncate(inside("from/model.safetensors"), 1000), 0);
    assert_int_equal(compress(true, 1, false, &error), MNEME_ERR_MODEL);
    char command[1300];
    snprintf(command, sizeof command, "[ \"$(ls '%s')\" = from ]", g_dir);
    assert_int_equal(system(command), 0);
}

static int read_shape(void **state)
{
    (void)state;
    char path[1100], *line = NULL;
    size_t capacity = 0;
    snprintf(path, sizeof path, "%s/tests/data/recurrent_shapes/recurrent.jsonl", test_source_dir());
    FILE *file = fopen(path, "r");
    if (!file || getline(&line, &capacity, file) <= 0 || getline(&line, &capacity, file) <= 0) return -1;
    g_shape = json_loads(line, 0, NULL); /* the first model: a bidirectional LSTM */
    free(line);
    fclose(file);
    g_dir = test_make_dir();
    return g_shape ? 0 : -1;
}

static int clean_up(void **state)
{
    (void)state;
    json_decref(g_shape);
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantized_matrices_are_within_half_a_step_and_the_rest_is_untouched),
        cmocka_unit_test(quantized_model_loads_and_gives_near_vectors_in_every_precision),
        cmocka_unit_test(pruned_matrices_keep_their_largest_numbers_as_they_were),
        cmocka_unit_test(pruned_after_quantized_says_both),
        cmocka_unit_test(quantized_static_encoder_folds_its_scales_into_the_tokens_weights),
        cmocka_unit_test(compression_that_makes_no_sense_is_refused_and_leaves_nothing),
        cmocka_unit_test(compression_of_a_broken_model_is_refused_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, read_shape, clean_up);
}
