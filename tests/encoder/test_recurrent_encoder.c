/* test_recurrent_encoder.c -- LSTM and GRU encoders of many shapes, each opened from a folder and held against what
 * PyTorch gives (tests/data/recurrent_shapes/make_recurrent_models.py), on every set of instructions: those that this
 * processor has, and the others emulated; and folders that must be refused. */
#include "recurrent_folder.h"

#include "common/memory.h"
#include "encoder/emulated.h"
#include "encoder/encoder.h"
#include "encoder/recurrent_model.h"

#include <unistd.h>

enum { TEXTS_MAX = 16, OUTPUT_MAX = 64 };
static const double TOLERANCE = 2e-6; /* of a number of a unit vector: f32 against f64 */

static char *g_dir;
static json_t *g_lines; /* of recurrent.jsonl: texts, then one model each */

static size_t n_shapes(void)
{
    return json_array_size(g_lines) - 1;
}

static json_t *shape_at(size_t i)
{
    return json_array_get(g_lines, i + 1);
}

static json_t *shape_called(const char *name)
{
    for (size_t i = 0; i < n_shapes(); i++)
        if (strcmp(json_string_value(json_object_get(shape_at(i), "name")), name) == 0) return shape_at(i);
    fail_msg("no shape %s", name);
    return NULL;
}

static void remove_files(void)
{
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'/*", g_dir);
    assert_int_equal(system(command), 0);
}

static void write_shape(const json_t *shape)
{
    remove_files();
    recurrent_write(g_dir, shape, NULL, (model_fault){0});
}

static mn_encoder *open_model(const char *precision, const char *kernels, unsigned threads)
{
    const mn_encoder_options options = {
        .folder = g_dir, .precision = precision, .kernels = kernels, .threads = threads};
    mn_encoder *encoder = NULL;
    assert_ok(mn_encoder_open(&options, &encoder, test_error()));
    return encoder;
}

/* ---- the same vectors as PyTorch ---- */

typedef struct nearness {
    double largest, cosine; /* the largest difference of a number, the least cosine */
} nearness;

static nearness compare(const float *ours, const json_t *theirs, size_t n, nearness so_far)
{
    double dot = 0, aa = 0, bb = 0;
    assert_int_equal(json_array_size(theirs), n);
    for (size_t i = 0; i < n; i++) {
        double a = (double)ours[i], b = json_number_value(json_array_get(theirs, i));
        so_far.largest = fmax(so_far.largest, fabs(a - b));
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    assert_true(fabs(aa - 1) < 1e-5);
    so_far.cosine = fmin(so_far.cosine, dot / sqrt(aa * bb));
    return so_far;
}

static size_t list_texts(const char *texts[TEXTS_MAX], size_t sizes[TEXTS_MAX])
{
    const json_t *list = json_object_get(json_array_get(g_lines, 0), "texts");
    size_t n = json_array_size(list);
    assert_true(n >= 9 && n <= TEXTS_MAX);
    for (size_t i = 0; i < n; i++) {
        texts[i] = json_string_value(json_array_get(list, i));
        sizes[i] = strlen(texts[i]);
    }
    return n;
}

/* All texts in one call. vectors: n x dimension, to be freed. */
static float *encode_texts(mn_encoder *encoder, size_t *n)
{
    const char *texts[TEXTS_MAX];
    size_t sizes[TEXTS_MAX];
    *n = list_texts(texts, sizes);
    float *vectors = calloc(*n * mn_encoder_info(encoder)->dimension, sizeof *vectors);
    assert_ok(mn_encoder_encode(encoder, texts, sizes, *n, MNEME_TEXT_PASSAGE, vectors, NULL, NULL, test_error()));
    return vectors;
}

static nearness compare_all(mn_encoder *encoder, const json_t *shape)
{
    size_t n, dimension = mn_encoder_info(encoder)->dimension;
    float *vectors = encode_texts(encoder, &n);
    nearness near = {0, 1};
    for (size_t i = 0; i < n; i++)
        near = compare(vectors + i * dimension, json_array_get(json_object_get(shape, "vectors"), i), dimension, near);
    free(vectors);
    return near;
}

/* Bounds 0: not looked at. */
static void check_all_shapes(const char *precision, const char *kernels, unsigned threads, nearness bound)
{
    assert_true(n_shapes() >= 8);
    for (size_t i = 0; i < n_shapes(); i++) {
        write_shape(shape_at(i));
        mn_encoder *encoder = open_model(precision, kernels, threads);
        nearness near = compare_all(encoder, shape_at(i));
        printf("%s, %s, %s: largest difference %.2e, least cosine %.8f\n",
               json_string_value(json_object_get(shape_at(i), "name")), precision, mn_encoder_info(encoder)->kernels,
               near.largest, near.cosine);
        assert_true(bound.largest == 0 || near.largest <= bound.largest);
        assert_true(near.cosine >= bound.cosine);
        mn_encoder_close(encoder);
    }
}

static void recurrent_shapes_with_the_default_kernels_equal_pytorch(void **state)
{
    (void)state;
    check_all_shapes("f32", "auto", 2, (nearness){TOLERANCE, 0.999999});
}

static void recurrent_shapes_with_avx2_kernels_equal_pytorch(void **state)
{
    (void)state;
    check_all_shapes("f32", "avx2", 1, (nearness){TOLERANCE, 0.999999});
}

static void recurrent_shapes_with_reference_kernels_equal_pytorch(void **state)
{
    (void)state;
    check_all_shapes("f32", "reference", 2, (nearness){TOLERANCE, 0.999999});
}

static void recurrent_shapes_in_other_precisions_come_near_pytorch(void **state)
{
    (void)state;
    static const char *const kernels[] = {"auto", "avx2", "reference"};
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        check_all_shapes("int16", kernels[i], 1, (nearness){0, 0.9999});
        check_all_shapes("bf16", kernels[i], 1, (nearness){0, 0.999});
        check_all_shapes("int8", kernels[i], 1, (nearness){0, 0.98});
    }
}

/* ---- instructions that this processor may lack ---- */

typedef struct id_batch {
    uint32_t ids[4096], offsets[TEXTS_MAX + 1];
    size_t n;
} id_batch;

/* The texts as ids, tokenized by an encoder of this folder. */
static void make_batch(mn_encoder *encoder, id_batch *out)
{
    const char *texts[TEXTS_MAX];
    size_t sizes[TEXTS_MAX], at = 0;
    out->n = list_texts(texts, sizes);
    out->offsets[0] = 0;
    for (size_t i = 0; i < out->n; i++) {
        mn_tokens tokens = {0};
        assert_ok(mn_tokenizer_encode(mn_encoder_tokenizer(encoder), texts[i], sizes[i],
                                      mn_encoder_info(encoder)->max_tokens, &tokens, test_error()));
        assert_true(at + tokens.n <= 4096);
        if (tokens.n) memcpy(out->ids + at, tokens.ids, tokens.n * sizeof *tokens.ids);
        out->offsets[i + 1] = (uint32_t)(at += tokens.n);
        mn_tokens_free(&tokens);
    }
}

/* A model of this folder, opened below the encoder. */
static mn_recurrent_model *open_recurrent(mn_recurrent_config *config, const mn_arithmetic *arithmetic,
                                          const mn_gate_kernels *gates, unsigned workers)
{
    mn_recurrent_model *model = NULL;
    assert_ok(mn_recurrent_config_read(g_dir, config, test_error()));
    const mn_recurrent_model_options options = {.folder = g_dir,
                                                .config = config,
                                                .arithmetic = *arithmetic,
                                                .output = mn_arithmetic_for(MN_PRECISION_F32, MN_CPU_AMX, false),
                                                .gates = gates,
                                                .unknown = 1, /* of vocab.txt */
                                                .workers = workers};
    assert_ok(mn_recurrent_model_open(&options, &model, test_error()));
    return model;
}

static void recurrent_shapes_on_emulated_instructions_equal_pytorch(void **state)
{
    (void)state;
    static const double least[] = {0.999999, 0.999, 0.9999, 0.98};
    static id_batch batch;
    for (size_t s = 0; s < n_shapes(); s++) {
        const json_t *shape = shape_at(s), *config_json = json_object_get(shape, "config");
        if (json_is_true(json_object_get(config_json, "special_tokens"))) continue; /* which make_batch leaves out */
        write_shape(shape);
        mn_encoder *encoder = open_model("f32", "auto", 1);
        make_batch(encoder, &batch);
        mn_encoder_close(encoder);
        for (size_t i = 0; i < emulated_count(); i++) {
            const mn_arithmetic arithmetic = emulated_arithmetic(i);
            mn_recurrent_config config;
            mn_recurrent_model *model = open_recurrent(&config, &arithmetic, emulated_gate_kernels_avx512(), 1);
            float vectors[TEXTS_MAX * OUTPUT_MAX];
            const mn_token_batch ids = {.ids = batch.ids, .offsets = batch.offsets, .n = batch.n};
            assert_ok(mn_recurrent_model_encode(model, &ids, 0, NULL, vectors, test_error()));
            nearness near = {0, 1};
            for (size_t t = 0; t < batch.n; t++)
                near = compare(vectors + t * config.output, json_array_get(json_object_get(shape, "vectors"), t),
                               config.output, near);
            printf("%s, emulated %s: least cosine %.8f\n", json_string_value(json_object_get(shape, "name")),
                   arithmetic.product->name, near.cosine);
            assert_true(near.cosine >= least[arithmetic.precision]);
            mn_recurrent_model_close(model);
        }
    }
}

/* ---- the same bits in any company ---- */

static const char *const precisions[] = {"f32", "bf16", "int16", "int8"};

static void recurrent_alone_or_in_a_call_gives_the_same_bits(void **state)
{
    (void)state;
    const char *texts[TEXTS_MAX];
    size_t sizes[TEXTS_MAX], n = list_texts(texts, sizes);
    for (size_t s = 0; s < n_shapes(); s++) {
        write_shape(shape_at(s));
        for (size_t p = 0; p < 4; p++) {
            mn_encoder *encoder = open_model(precisions[p], "auto", 1);
            size_t dimension = mn_encoder_info(encoder)->dimension;
            float *together = encode_texts(encoder, &n), alone[OUTPUT_MAX];
            for (size_t i = 0; i < n; i++) {
                assert_ok(mn_encoder_encode(encoder, &texts[i], &sizes[i], 1, MNEME_TEXT_PASSAGE, alone, NULL, NULL,
                                            test_error()));
                assert_memory_equal(alone, together + i * dimension, dimension * sizeof(float));
            }
            free(together);
            mn_encoder_close(encoder);
        }
    }
}

/* Enough texts for several packs, whose order of lengths differs: one thread, and three. */
static void recurrent_with_more_threads_gives_the_same_bits(void **state)
{
    (void)state;
    enum { N = 400 };
    const char *few[TEXTS_MAX], *texts[N];
    size_t few_sizes[TEXTS_MAX], sizes[N], n_few = list_texts(few, few_sizes);
    for (size_t i = 0; i < N; i++) {
        texts[i] = few[i * 7 % n_few];
        sizes[i] = few_sizes[i * 7 % n_few] - i % 3 % (few_sizes[i * 7 % n_few] + 1);
    }
    write_shape(shape_called("lstm-two-layers"));
    float *vectors[2];
    for (size_t k = 0; k < 2; k++) {
        mn_encoder *encoder = open_model("int16", "auto", k ? 3 : 1);
        vectors[k] = calloc((size_t)N * OUTPUT_MAX, sizeof(float));
        assert_ok(
            mn_encoder_encode(encoder, texts, sizes, N, MNEME_TEXT_PASSAGE, vectors[k], NULL, NULL, test_error()));
        mn_encoder_close(encoder);
    }
    assert_memory_equal(vectors[0], vectors[1], (size_t)N * OUTPUT_MAX * sizeof(float));
    free(vectors[0]);
    free(vectors[1]);
}

static void recurrent_by_a_crew_gives_the_same_bits(void **state)
{
    (void)state;
    enum { MEMBERS = 3 };
    static id_batch batch;
    mn_crew *crew = NULL;
    assert_ok(mn_crew_new(MEMBERS, &crew, test_error()));
    for (size_t s = 0; s < n_shapes(); s++) {
        write_shape(shape_at(s));
        mn_encoder *encoder = open_model("f32", "auto", 1);
        make_batch(encoder, &batch);
        mn_encoder_close(encoder);
        for (int p = MN_PRECISION_F32; p <= MN_PRECISION_INT8; p++) {
            const mn_arithmetic arithmetic = mn_arithmetic_for((mn_precision)p, MN_CPU_AMX, false);
            mn_recurrent_config config;
            mn_recurrent_model *model = open_recurrent(&config, &arithmetic, mn_gate_kernels_for(MN_CPU_AMX), MEMBERS);
            float alone[TEXTS_MAX * OUTPUT_MAX], shared[TEXTS_MAX * OUTPUT_MAX];
            const mn_token_batch ids = {.ids = batch.ids, .offsets = batch.offsets, .n = batch.n};
            assert_ok(mn_recurrent_model_encode(model, &ids, 0, NULL, alone, test_error()));
            while (!mn_crew_begin(crew)) continue; /* it may rest */
            assert_ok(mn_recurrent_model_encode(model, &ids, 0, crew, shared, test_error()));
            mn_crew_end(crew);
            assert_memory_equal(alone, shared, batch.n * config.output * sizeof(float));
            mn_recurrent_model_close(model);
        }
    }
    mn_crew_free(crew);
}

static void recurrent_from_packed_weights_gives_the_same_bits(void **state)
{
    (void)state;
    write_shape(shape_called("gru"));
    char cache[1200];
    snprintf(cache, sizeof cache, "%s/cache", g_dir);
    const mn_encoder_options options = {
        .folder = g_dir, .precision = "int16", .kernels = "auto", .threads = 1, .cache = cache};
    float *vectors[2];
    size_t n = 0, dimension = 0;
    for (size_t k = 0; k < 2; k++) { /* the first writes the file, the second maps it */
        mn_encoder *encoder = NULL;
        assert_ok(mn_encoder_open(&options, &encoder, test_error()));
        assert_non_null(mn_encoder_info(encoder)->packed_file);
        assert_int_equal(access(mn_encoder_info(encoder)->packed_file, R_OK), 0);
        vectors[k] = encode_texts(encoder, &n);
        dimension = mn_encoder_info(encoder)->dimension;
        mn_encoder_close(encoder);
    }
    assert_memory_equal(vectors[0], vectors[1], n * dimension * sizeof(float));
    free(vectors[0]);
    free(vectors[1]);
    const mn_arithmetic arithmetic = mn_arithmetic_for(MN_PRECISION_INT16, MN_CPU_AMX, false);
    mn_recurrent_config config;
    mn_recurrent_model *model = open_recurrent(&config, &arithmetic, mn_gate_kernels_for(MN_CPU_AMX), 1), *other = NULL;
    size_t size = 0;
    const void *image = mn_recurrent_model_image(model, &size);
    const mn_recurrent_model_options too_short = {.folder = g_dir,
                                                  .config = &config,
                                                  .arithmetic = arithmetic,
                                                  .output = mn_arithmetic_for(MN_PRECISION_F32, MN_CPU_AMX, false),
                                                  .gates = mn_gate_kernels_for(MN_CPU_AMX),
                                                  .packed = image,
                                                  .packed_size = size - 64,
                                                  .workers = 1};
    assert_int_equal(mn_recurrent_model_open(&too_short, &other, test_error()), MNEME_ERR_DAMAGED);
    assert_null(other);
    mn_recurrent_model_close(model);
}

/* ---- what it says of itself, and what decides vectors ---- */

static void recurrent_info_says_what_config_says(void **state)
{
    (void)state;
    write_shape(shape_called("gru-two-layers-special"));
    mn_encoder *encoder = open_model("auto", "auto", 1);
    const mneme_encoder_info *info = mn_encoder_info(encoder);
    assert_string_equal(info->kind, "gru");
    assert_string_equal(info->pooling, "mean");
    assert_int_equal(info->dimension, 24);
    assert_int_equal(info->max_tokens, 100);
    assert_int_equal(info->n_layers, 2);
    assert_int_equal(info->vocabulary, 208);
    /* table; 3 gates of 18, two layers, two ways, on 15 and then 36 inputs; output 36 + 15 */
    assert_int_equal(info->n_parameters,
                     208 * 15 + 2 * 54 * (15 + 18 + 2) + 2 * 54 * (36 + 18 + 2) + 24 * (36 + 15 + 1));
    assert_int_equal(mn_encoder_overhead(encoder, MNEME_TEXT_QUERY), 2);
    mn_encoder_close(encoder);
}

static void recurrent_info_tells_how_the_model_was_made(void **state)
{
    (void)state;
    json_t *shape = json_deep_copy(shape_called("lstm"));
    json_t *story = json_pack("{s:s, s:s, s:s, s:{s:f, s:{s:f}, s:s, s:b}}", "teacher", "all-MiniLM-L6-v2",
                              "trained_from", "random\nnumbers \x1b[31m", "trained_on", "", "measured", "cosine", 0.75,
                              "cranfield", "ndcg@10", 0.5, "on", "a sample", "left out", 1);
    json_object_set_new(json_object_get(shape, "config"), "mneme", story);
    write_shape(shape);
    mn_encoder *encoder = open_model("auto", "auto", 1);
    const mneme_encoder_info *info = mn_encoder_info(encoder);
    assert_string_equal(info->distilled_from, "all-MiniLM-L6-v2");
    assert_string_equal(info->trained_from, "random numbers  [31m");
    assert_null(info->trained_on);
    assert_string_equal(info->measured, "cosine 0.75, cranfield.ndcg@10 0.5, on a sample");
    mn_encoder_close(encoder);
    json_decref(shape);
}

static void recurrent_shape_with_one_setting_changed_gives_other_vectors(void **state)
{
    (void)state;
    const struct {
        const char *name, *key;
        json_t *value;
    } cases[] = {{"lstm", "max_tokens", json_integer(255)},
                 {"lstm-two-layers", "pooling", json_string("mean")},
                 {"gru-two-layers-special", "special_tokens", json_false()}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *shape = json_deep_copy(shape_called(cases[i].name)), *config = json_object_get(shape, "config");
        write_shape(shape);
        mn_encoder *encoder = open_model("f32", "auto", 1);
        uint64_t fingerprint = mn_encoder_info(encoder)->fingerprint;
        mn_encoder_close(encoder);
        json_t *weights = json_deep_copy(config);
        json_object_set_new(config, cases[i].key, cases[i].value);
        recurrent_write(g_dir, shape, weights, (model_fault){0});
        encoder = open_model("f32", "auto", 1);
        nearness near = compare_all(encoder, shape);
        printf("%s with another %s: largest difference %.2e\n", cases[i].name, cases[i].key, near.largest);
        assert_true(near.largest > 10 * TOLERANCE);
        assert_true(mn_encoder_info(encoder)->fingerprint != fingerprint);
        mn_encoder_close(encoder);
        json_decref(weights);
        json_decref(shape);
    }
}

/* ---- folders that must be refused ---- */

static mneme_status open_broken(mneme_error *error)
{
    const mn_encoder_options options = {.folder = g_dir, .precision = "f32", .kernels = "auto", .threads = 1};
    mn_encoder *encoder = NULL;
    mneme_status status = mn_encoder_open(&options, &encoder, error);
    if (status != MNEME_OK) {
        assert_null(encoder);
        return status;
    }
    mn_encoder_close(encoder);
    return status;
}

static void expect_word(const mneme_error *error, const char *word)
{
    if (!strstr(error->message, word)) fail_msg("\"%s\" does not say \"%s\"", error->message, word);
    assert_null(strchr(error->message, '\n'));
}

static void recurrent_model_with_any_tensor_broken_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        int kind;
        const char *word;
    } faults[] = {{MODEL_TENSOR_MISSING, "missing"},
                  {MODEL_TENSOR_INTEGER, "tensor"},
                  {MODEL_TENSOR_SHORT, "where config.json asks for"},
                  {MODEL_TENSOR_NAN, "NaN"},
                  {MODEL_TENSOR_INFINITE, "infinity"}};
    static const char *const names[] = {"lstm-two-layers", "gru"};
    static model_tensors tensors;
    for (size_t s = 0; s < 2; s++) {
        const json_t *shape = shape_called(names[s]);
        recurrent_list_tensors(json_object_get(shape, "config"), &tensors);
        for (size_t i = 0; i < tensors.n; i++) {
            for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
                model_fault fault = {.tensor = tensors.items[i].name};
                fault.kind = faults[f].kind;
                /* a vector of one number cannot be shorter and there: it is missing then */
                if (fault.kind == MODEL_TENSOR_SHORT && tensors.items[i].columns == 0 && tensors.items[i].rows == 1)
                    continue;
                remove_files();
                recurrent_write(g_dir, shape, NULL, fault);
                mneme_error error = {0};
                if (open_broken(&error) != MNEME_ERR_MODEL)
                    fail_msg("a model with %s (%s) was not refused", fault.tensor, faults[f].word);
                expect_word(&error, "model.safetensors");
                expect_word(&error, fault.tensor);
                expect_word(&error, faults[f].word);
            }
        }
    }
}

static void expect_config_refused(const char *key, json_t *value, const char *word)
{
    json_t *shape = json_deep_copy(shape_called("lstm")), *config = json_object_get(shape, "config");
    json_t *weights = json_deep_copy(config);
    if (value)
        json_object_set_new(config, key, value);
    else
        json_object_del(config, key);
    remove_files();
    recurrent_write(g_dir, shape, weights, (model_fault){0});
    mneme_error error = {0};
    if (open_broken(&error) != MNEME_ERR_MODEL) fail_msg("config.json with another %s was not refused", key);
    expect_word(&error, word);
    expect_word(&error, g_dir);
    json_decref(weights);
    json_decref(shape);
}

static void recurrent_config_with_one_thing_wrong_is_refused_by_key(void **state)
{
    (void)state;
    static const char *const numbers[] = {"vocab_size", "embedding_size", "hidden_size",
                                          "num_layers", "output_size",    "max_tokens"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        expect_config_refused(numbers[i], NULL, numbers[i]);
        expect_config_refused(numbers[i], json_integer(0), numbers[i]);
        expect_config_refused(numbers[i], json_integer(-3), numbers[i]);
        expect_config_refused(numbers[i], json_integer(1ll << 40), numbers[i]);
        expect_config_refused(numbers[i], json_real(2.5), numbers[i]);
        expect_config_refused(numbers[i], json_string("7"), numbers[i]);
    }
    static const char *const flags[] = {"bidirectional", "join_tokens", "special_tokens"};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        expect_config_refused(flags[i], json_integer(1), flags[i]);
    expect_config_refused("cell", json_string("rnn"), "\"lstm\" or \"gru\"");
    expect_config_refused("cell", NULL, "cell");
    expect_config_refused("pooling", json_string("max"), "\"mean\" or \"attentive\"");
    expect_config_refused("model_type", json_string("mneme-recurrent2"), "model_type");
    /* sizes that are allowed, but are not those of the weights */
    expect_config_refused("vocab_size", json_integer(207), "embedding.weight");
    expect_config_refused("hidden_size", json_integer(21), "_ih_l0");
    expect_config_refused("num_layers", json_integer(2), "_ih_l1");
    expect_config_refused("cell", json_string("gru"), "ih_l0");
    expect_config_refused("output_size", json_integer(31), "output.weight");
    expect_config_refused("join_tokens", json_false(), "output.weight");
    expect_config_refused("bidirectional", json_false(), "attention.weight");
}

static void recurrent_model_whose_vocabulary_is_larger_than_its_table_is_refused(void **state)
{
    (void)state;
    json_t *shape = json_deep_copy(shape_called("lstm"));
    json_object_set_new(json_object_get(shape, "config"), "vocab_size", json_integer(150));
    write_shape(shape);
    mneme_error error = {0};
    assert_int_equal(open_broken(&error), MNEME_ERR_MODEL);
    expect_word(&error, "the embedding table 150");
    json_decref(shape);
}

/* What is looked through once, when weights are packed, may be damaged later. */
static void recurrent_table_that_is_damaged_after_packing_gives_no_vectors(void **state)
{
    (void)state;
    write_shape(shape_called("lstm"));
    const mn_arithmetic arithmetic = mn_arithmetic_for(MN_PRECISION_F32, MN_CPU_AMX, false);
    mn_recurrent_config config;
    mn_recurrent_model *whole = open_recurrent(&config, &arithmetic, mn_gate_kernels_for(MN_CPU_AMX), 1), *model = NULL;
    size_t size = 0;
    const void *image = mn_recurrent_model_image(whole, &size);
    recurrent_write(g_dir, shape_called("lstm"), NULL, (model_fault){MODEL_TENSOR_NAN, "embedding.weight"});
    const mn_recurrent_model_options options = {.folder = g_dir,
                                                .config = &config,
                                                .arithmetic = arithmetic,
                                                .output = mn_arithmetic_for(MN_PRECISION_F32, MN_CPU_AMX, false),
                                                .gates = mn_gate_kernels_for(MN_CPU_AMX),
                                                .packed = image,
                                                .packed_size = size,
                                                .workers = 1};
    assert_ok(mn_recurrent_model_open(&options, &model, test_error()));
    const uint32_t ids[] = {7, 9, 11}, offsets[] = {0, 3}, beyond[] = {7, 208, 11};
    float vector[OUTPUT_MAX];
    mneme_error error = {0};
    const mn_token_batch batch = {.ids = ids, .offsets = offsets, .n = 1};
    assert_int_equal(mn_recurrent_model_encode(model, &batch, 0, NULL, vector, &error), MNEME_ERR_MODEL);
    expect_word(&error, "embedding.weight");
    expect_word(&error, "row 7");
    const mn_token_batch far = {.ids = beyond, .offsets = offsets, .n = 1};
    assert_int_equal(mn_recurrent_model_encode(model, &far, 0, NULL, vector, &error), MNEME_ERR_MODEL);
    expect_word(&error, "208");
    mn_recurrent_model_close(model);
    mn_recurrent_model_close(whole);
}

/* Every allocation of opening and encoding fails in turn: ERR_MEMORY, and nothing leaks. */
static void recurrent_encoder_without_memory_fails_cleanly(void **state)
{
    (void)state;
    write_shape(shape_called("gru"));
    const mn_encoder_options options = {.folder = g_dir, .precision = "int16", .kernels = "auto", .threads = 1};
    const char *text = "Who is there?";
    float vector[OUTPUT_MAX];
    size_t n = 1;
    for (;; n++) {
        mn_encoder *encoder = NULL;
        mneme_error error = {0};
        mn_alloc_fail_after(n);
        mneme_status status = mn_encoder_open(&options, &encoder, &error);
        if (status == MNEME_OK)
            status = mn_encoder_encode(encoder, &text, NULL, 1, MNEME_TEXT_PASSAGE, vector, NULL, NULL, &error);
        mn_alloc_fail_after(0);
        mn_encoder_close(encoder);
        if (status == MNEME_OK) break;
        /* what reads config.json to find the kind says nothing: a Transformer is tried then */
        assert_true(status == MNEME_ERR_MEMORY || status == MNEME_ERR_MODEL);
        assert_true(error.message[0]);
    }
    assert_true(n > 20);
}

static int read_lines(void **state)
{
    (void)state;
    g_lines = model_read_lines("recurrent_shapes/recurrent.jsonl");
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
        cmocka_unit_test(recurrent_shapes_with_the_default_kernels_equal_pytorch),
        cmocka_unit_test(recurrent_shapes_with_avx2_kernels_equal_pytorch),
        cmocka_unit_test(recurrent_shapes_with_reference_kernels_equal_pytorch),
        cmocka_unit_test(recurrent_shapes_in_other_precisions_come_near_pytorch),
        cmocka_unit_test(recurrent_shapes_on_emulated_instructions_equal_pytorch),
        cmocka_unit_test(recurrent_alone_or_in_a_call_gives_the_same_bits),
        cmocka_unit_test(recurrent_with_more_threads_gives_the_same_bits),
        cmocka_unit_test(recurrent_by_a_crew_gives_the_same_bits),
        cmocka_unit_test(recurrent_from_packed_weights_gives_the_same_bits),
        cmocka_unit_test(recurrent_info_says_what_config_says),
        cmocka_unit_test(recurrent_info_tells_how_the_model_was_made),
        cmocka_unit_test(recurrent_shape_with_one_setting_changed_gives_other_vectors),
        cmocka_unit_test(recurrent_model_with_any_tensor_broken_is_refused_by_name),
        cmocka_unit_test(recurrent_config_with_one_thing_wrong_is_refused_by_key),
        cmocka_unit_test(recurrent_model_whose_vocabulary_is_larger_than_its_table_is_refused),
        cmocka_unit_test(recurrent_table_that_is_damaged_after_packing_gives_no_vectors),
        cmocka_unit_test(recurrent_encoder_without_memory_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, read_lines, clean_up);
}
