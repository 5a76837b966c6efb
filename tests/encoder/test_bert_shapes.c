/* test_bert_shapes.c -- BERT-family encoders of other shapes than MiniLM's: widths, heads, layers, activations,
 * poolings, prompts, windows and kinds of weights, each opened from a folder and held against what
 * sentence-transformers gives.
 *
 * The models are small, with computed weights (model_folder.h); tests/data/bert_shapes/make_expected.py wrote the
 * vectors. */
#include "model_folder.h"

#include "encoder/encoder.h"

enum { TEXTS_MAX = 16 };
static const double TOLERANCE = 0.99999; /* cosine; f32 against f32, sums in another order */

static char *g_dir;
static json_t *g_lines; /* of expected.jsonl: texts, then one model each */

static json_t *shape_at(size_t i)
{
    return json_array_get(g_lines, i + 1);
}

static json_t *shape_called(const char *name)
{
    for (size_t i = 0; i + 1 < json_array_size(g_lines); i++)
        if (strcmp(json_string_value(json_object_get(shape_at(i), "name")), name) == 0) return shape_at(i);
    fail_msg("no shape %s", name);
    return NULL;
}

static mn_encoder *open_model(const char *precision, const char *kernels, unsigned threads)
{
    const mn_encoder_options options = {
        .folder = g_dir, .precision = precision, .kernels = kernels, .threads = threads};
    mn_encoder *encoder = NULL;
    assert_ok(mn_encoder_open(&options, &encoder, test_error()));
    return encoder;
}

static double cosine(const float *ours, const json_t *theirs, size_t n)
{
    double dot = 0, aa = 0, bb = 0;
    assert_int_equal(json_array_size(theirs), n);
    for (size_t i = 0; i < n; i++) {
        double a = (double)ours[i], b = json_number_value(json_array_get(theirs, i));
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    assert_true(fabs(aa - 1) < 1e-5);
    return dot / sqrt(aa * bb);
}

/* The least cosine between what the encoder gives for all texts as `kind` and the vectors of `expected`. */
static double least_cosine(mn_encoder *encoder, const json_t *expected, mneme_text_kind kind)
{
    const json_t *list = json_object_get(json_array_get(g_lines, 0), "texts");
    const char *texts[TEXTS_MAX];
    size_t sizes[TEXTS_MAX], n = json_array_size(list), dimension = mn_encoder_info(encoder)->dimension;
    assert_true(n >= 6 && n <= TEXTS_MAX);
    for (size_t i = 0; i < n; i++) {
        texts[i] = json_string_value(json_array_get(list, i));
        sizes[i] = strlen(texts[i]);
    }
    float *vectors = calloc(n * dimension, sizeof *vectors);
    assert_ok(mn_encoder_encode(encoder, texts, sizes, n, kind, vectors, NULL, NULL, test_error()));
    assert_int_equal(json_array_size(expected), n);
    double least = 1;
    for (size_t i = 0; i < n; i++)
        least = fmin(least, cosine(vectors + i * dimension, json_array_get(expected, i), dimension));
    free(vectors);
    return least;
}

/* ---- the same vectors as sentence-transformers ---- */

static void check_shape(const json_t *shape, const char *precision, const char *kernels, unsigned threads,
                        double tolerance)
{
    const json_t *passage = json_object_get(shape, "passage"), *query = json_object_get(shape, "query");
    mn_encoder *encoder = open_model(precision, kernels, threads);
    double as_passage = least_cosine(encoder, passage, MNEME_TEXT_PASSAGE);
    double as_query = least_cosine(encoder, query ? query : passage, MNEME_TEXT_QUERY);
    printf("%s, %s, %s: least cosine %.8f passage, %.8f query\n", json_string_value(json_object_get(shape, "name")),
           precision, kernels, as_passage, as_query);
    assert_true(as_passage >= tolerance);
    assert_true(as_query >= tolerance);
    mn_encoder_close(encoder);
}

static void remove_files(void)
{
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'/*", g_dir);
    assert_int_equal(system(command), 0);
}

static void check_all_shapes(const char *precision, const char *kernels, unsigned threads, double tolerance)
{
    assert_true(json_array_size(g_lines) >= 8);
    for (size_t i = 0; i + 1 < json_array_size(g_lines); i++) {
        remove_files();
        model_write(g_dir, shape_at(i), NULL, (model_fault){0});
        check_shape(shape_at(i), precision, kernels, threads, tolerance);
    }
}

static void shapes_with_the_default_kernels_equal_the_official_vectors(void **state)
{
    (void)state;
    check_all_shapes("f32", "auto", 2, TOLERANCE);
}

static void shapes_with_avx2_kernels_equal_the_official_vectors(void **state)
{
    (void)state;
    check_all_shapes("f32", "avx2", 1, TOLERANCE);
}

static void shapes_with_reference_kernels_equal_the_official_vectors(void **state)
{
    (void)state;
    check_all_shapes("f32", "reference", 2, TOLERANCE);
}

/* Sizes that are no multiple of a vector, a panel or a group, in the formats that have groups of more than one. */
static void shapes_in_other_precisions_come_near_the_official_vectors(void **state)
{
    (void)state;
    static const char *const kernels[] = {"auto", "avx2", "reference"};
#ifdef __SANITIZE_ADDRESS__
    enum { N = 1 }; /* the others take a minute then */
#else
    enum { N = sizeof kernels / sizeof kernels[0] };
#endif
    for (size_t i = 0; i < N; i++) {
        check_all_shapes("int16", kernels[i], 1, 0.999);
        check_all_shapes("bf16", kernels[i], 1, 0.999);
        check_all_shapes("int8", kernels[i], 1, 0.98);
    }
}

/* ---- the expected vectors can tell models apart ---- */

/* Write `name` with one value of one of its files changed; give the least cosine as passages and as queries. */
static double cosine_with(const char *name, const char *file, const char *key, json_t *value)
{
    json_t *shape = json_deep_copy(shape_called(name));
    json_object_set_new(json_object_get(json_object_get(shape, "files"), file), key, value);
    remove_files();
    model_write(g_dir, shape, NULL, (model_fault){0});
    mn_encoder *encoder = open_model("f32", "auto", 1);
    const json_t *passage = json_object_get(shape, "passage"), *query = json_object_get(shape, "query");
    double least = fmin(least_cosine(encoder, passage, MNEME_TEXT_PASSAGE),
                        least_cosine(encoder, query ? query : passage, MNEME_TEXT_QUERY));
    mn_encoder_close(encoder);
    json_decref(shape);
    return least;
}

static void shape_with_one_setting_changed_gives_other_vectors(void **state)
{
    (void)state;
    json_t *prompts = json_pack("{s:s, s:s}", "query", "query: ", "passage", "query: ");
    const struct {
        const char *name, *file, *key;
        json_t *value;
    } cases[] = {{"minilm-l12-like", "config.json", "num_attention_heads", json_integer(6)},
                 {"minilm-l12-like", "sentence_bert_config.json", "max_seq_length", json_integer(127)},
                 {"bge-like", "1_Pooling/config.json", "pooling_mode_cls_token", json_false()},
                 {"e5-like", "config_sentence_transformers.json", "prompts", prompts},
                 {"relu-without-pooling-folder", "config.json", "hidden_act", json_string("gelu")},
                 {"relu-without-pooling-folder", "config.json", "layer_norm_eps", json_real(1e-12)},
                 {"bf16-max-bert-prefix", "1_Pooling/config.json", "pooling_mode_max_tokens", json_false()},
                 {"cased-sqrt-document-prompt", "tokenizer_config.json", "do_lower_case", json_true()}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double least = cosine_with(cases[i].name, cases[i].file, cases[i].key, cases[i].value);
        printf("%s with another %s: least cosine %.6f\n", cases[i].name, cases[i].key, least);
        assert_true(least < TOLERANCE);
    }
}

/* ---- broken models ---- */

static mneme_status open_broken(mneme_error *error)
{
    const mn_encoder_options options = {.folder = g_dir, .precision = "f32", .kernels = "auto", .threads = 1};
    mn_encoder *encoder = NULL;
    mneme_status status = mn_encoder_open(&options, &encoder, error);
    if (status != MNEME_OK) {
        assert_null(encoder);
        return status;
    }
    float vector[256];
    const char *text = "a straw into gold";
    status = mn_encoder_encode(encoder, &text, NULL, 1, MNEME_TEXT_PASSAGE, vector, NULL, NULL, error);
    mn_encoder_close(encoder);
    return status;
}

static void expect_word(const mneme_error *error, const char *word)
{
    if (!strstr(error->message, word)) fail_msg("\"%s\" does not say \"%s\"", error->message, word);
}

/* Every tensor in turn; each model has one layer, so these are all kinds that there are. */
static void check_every_tensor(const char *shape_name, model_fault fault, const char *word)
{
    static model_tensors tensors;
    const json_t *shape = shape_called(shape_name);
    model_list_tensors(json_object_get(json_object_get(shape, "files"), "config.json"), &tensors);
    for (size_t i = 0; i < tensors.n; i++) {
        fault.tensor = tensors.items[i].name;
        model_write(g_dir, shape, NULL, fault);
        mneme_error error = {0};
        if (open_broken(&error) != MNEME_ERR_MODEL)
            fail_msg("a model with %s (%s) was not refused", fault.tensor, word);
        expect_word(&error, fault.tensor);
        expect_word(&error, word);
    }
}

static void model_with_any_tensor_missing_is_refused_by_name(void **state)
{
    (void)state;
    remove_files();
    check_every_tensor("relu-without-pooling-folder", (model_fault){.kind = MODEL_TENSOR_MISSING}, "missing");
}

static void model_with_any_tensor_of_another_type_is_refused_by_name(void **state)
{
    (void)state;
    remove_files();
    check_every_tensor("relu-without-pooling-folder", (model_fault){.kind = MODEL_TENSOR_INTEGER}, "tensor");
}

static void model_with_any_tensor_of_another_shape_is_refused_by_name(void **state)
{
    (void)state;
    remove_files();
    check_every_tensor("relu-without-pooling-folder", (model_fault){.kind = MODEL_TENSOR_SHORT}, "tensor");
}

static void expect_not_finite(model_fault fault, const char *word)
{
    model_write(g_dir, shape_called("relu-without-pooling-folder"), NULL, fault);
    mneme_error error = {0};
    if (open_broken(&error) != MNEME_ERR_MODEL) fail_msg("a model with NaN in %s was not refused", fault.tensor);
    expect_word(&error, word);
    expect_word(&error, "NaN");
}

static void model_with_nan_or_infinity_in_a_layer_is_refused_by_name(void **state)
{
    (void)state;
    static model_tensors tensors;
    const json_t *files = json_object_get(shape_called("relu-without-pooling-folder"), "files");
    model_list_tensors(json_object_get(files, "config.json"), &tensors);
    remove_files();
    for (size_t i = 0; i < tensors.n; i++) {
        const char *name = tensors.items[i].name;
        if (model_ends_with(name, "embeddings.weight")) continue;
        expect_not_finite((model_fault){MODEL_TENSOR_NAN, name}, name);
        expect_not_finite((model_fault){MODEL_TENSOR_INFINITE, name}, name);
    }
}

/* The tables are read in place, a row when its token is met: at the latest, their damage shows then. */
static void model_with_nan_in_an_embedding_table_gives_no_vectors(void **state)
{
    (void)state;
    remove_files();
    expect_not_finite((model_fault){MODEL_TENSOR_NAN, "embeddings.word_embeddings.weight"}, "model.safetensors");
    expect_not_finite((model_fault){MODEL_TENSOR_NAN, "embeddings.position_embeddings.weight"}, "model.safetensors");
    expect_not_finite((model_fault){MODEL_TENSOR_NAN, "embeddings.token_type_embeddings.weight"}, "model.safetensors");
}

/* config.json and the weights each with a number of their own for one key. */
static void expect_sizes_refused(const char *key, json_int_t in_config, json_int_t in_weights, const char *word)
{
    json_t *shape = json_deep_copy(shape_called("relu-without-pooling-folder"));
    json_t *config = json_object_get(json_object_get(shape, "files"), "config.json"), *weights = json_deep_copy(config);
    json_object_set_new(config, key, json_integer(in_config));
    json_object_set_new(weights, key, json_integer(in_weights));
    remove_files();
    model_write(g_dir, shape, weights, (model_fault){0});
    mneme_error error = {0};
    assert_int_equal(open_broken(&error), MNEME_ERR_MODEL);
    expect_word(&error, word);
    json_decref(weights);
    json_decref(shape);
}

static void model_with_sizes_that_disagree_is_refused_by_name(void **state)
{
    (void)state;
    expect_sizes_refused("vocab_size", 100, 100, "the embedding table 100");
    expect_sizes_refused("vocab_size", 208, 207, "word_embeddings");
    expect_sizes_refused("max_position_embeddings", 40, 39, "position_embeddings");
    expect_sizes_refused("num_hidden_layers", 2, 1, "encoder.layer.1.");
    expect_sizes_refused("intermediate_size", 75, 74, "intermediate.dense");
    expect_sizes_refused("hidden_size", 42, 48, "word_embeddings");
}

static int read_lines(void **state)
{
    (void)state;
    g_lines = model_read_lines("bert_shapes/expected.jsonl");
    if (!g_lines) return -1;
    g_dir = test_make_dir();
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    json_decref(g_lines);
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_with_the_default_kernels_equal_the_official_vectors),
        cmocka_unit_test(shapes_with_avx2_kernels_equal_the_official_vectors),
        cmocka_unit_test(shapes_with_reference_kernels_equal_the_official_vectors),
        cmocka_unit_test(shapes_in_other_precisions_come_near_the_official_vectors),
        cmocka_unit_test(shape_with_one_setting_changed_gives_other_vectors),
        cmocka_unit_test(model_with_any_tensor_missing_is_refused_by_name),
        cmocka_unit_test(model_with_any_tensor_of_another_type_is_refused_by_name),
        cmocka_unit_test(model_with_any_tensor_of_another_shape_is_refused_by_name),
        cmocka_unit_test(model_with_nan_or_infinity_in_a_layer_is_refused_by_name),
        cmocka_unit_test(model_with_nan_in_an_embedding_table_gives_no_vectors),
        cmocka_unit_test(model_with_sizes_that_disagree_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, read_lines, clean_up);
}
