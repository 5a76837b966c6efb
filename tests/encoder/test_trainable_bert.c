/* test_trainable_bert.c -- a whole BERT in training: its vectors against the encoder's, its gradients against finite
 * differences and against PyTorch's (stored, make_bert_gradients.py), and that what it saves is an encoder again. */
#include "model_folder.h"

#include "encoder/encoder.h"
#include "encoder/gradient_check.h"
#include "encoder/train/trainable_bert.h"

#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
enum { N_GOLDEN = 2 };
#else
enum { N_GOLDEN = 64 };
#endif

static mn_train_arithmetic g_arithmetic;
static mn_threads *g_threads;
static json_t *g_stored; /* bert_gradients.json */
static char *g_dir;

static json_t *load_json(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/data/%s", test_source_dir(), name);
    json_t *file = json_load_file(path, 0, NULL);
    assert_non_null(file);
    return file;
}

static int set_up(void **state)
{
    (void)state;
    g_arithmetic = mn_train_arithmetic_for(false, MN_CPU_AMX, false);
    g_stored = load_json("bert_gradients.json");
    g_dir = test_make_dir();
    return mn_threads_new(2, &g_threads, NULL) == MNEME_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    mn_threads_free(g_threads);
    json_decref(g_stored);
    test_remove_dir(g_dir);
    return 0;
}

/* ---- a tiny model ----------------------------------------------------------------------------------------------- */

/* Write the stored configuration's model to g_dir. type_rows 0: as stored. */
static void write_tiny(const char *pooling, const char *prefix, int type_rows)
{
    json_t *config = json_deep_copy(json_object_get(g_stored, "config")), *files = json_object();
    json_object_set_new(config, "model_type", json_string("bert"));
    json_object_set_new(config, "architectures", json_pack("[s]", "BertModel"));
    json_object_set_new(config, "torch_dtype", json_string("float16"));
    if (type_rows) json_object_set_new(config, "type_vocab_size", json_integer(type_rows));
    json_object_set_new(files, "config.json", config);
    json_object_set_new(
        files, "tokenizer_config.json",
        json_pack("{s:s, s:b, s:i}", "tokenizer_class", "BertTokenizer", "do_lower_case", 1, "model_max_length", 9));
    json_object_set_new(files, "modules.json",
                        json_pack("[{s:s, s:s}, {s:s, s:s}]", "path", "", "type",
                                  "sentence_transformers.models.Transformer", "path", "1_Pooling", "type",
                                  "sentence_transformers.models.Pooling"));
    json_object_set_new(files, "1_Pooling/config.json",
                        json_pack("{s:i, s:b, s:b, s:b}", "word_embedding_dimension", 8, "pooling_mode_mean_tokens",
                                  strcmp(pooling, "mean") == 0, "pooling_mode_cls_token", strcmp(pooling, "cls") == 0,
                                  "pooling_mode_max_tokens", strcmp(pooling, "max") == 0));
    json_t *shape = json_pack("{s:s, s:s, s:o}", "dtype", "F32", "prefix", prefix, "files", files);
    model_write(g_dir, shape, NULL, (model_fault){0});
    json_decref(shape);
}

static mn_trainable *open_trainable(const char *folder, uint32_t n_layers, float dropout)
{
    mn_trainable *trainable = NULL;
    const mn_trainable_bert_options options = {
        .folder = folder, .n_layers = n_layers, .dropout = dropout, .arithmetic = &g_arithmetic};
    assert_ok(mn_trainable_bert_open(&options, &trainable, test_error()));
    mn_parameters_pack(&trainable->parameters, g_threads);
    return trainable;
}

enum { N = 3, HIDDEN = 8 };

/* One model, the stored sequences, and shards for gradients and for finite differences. */
typedef struct tiny_case {
    mn_trainable *trainable;
    mn_shard *shard, *probe;
    uint32_t ids[32], offsets[N + 1];
    mn_token_batch batch;
    float factors[N * HIDDEN], *vectors;
    void *saved;
    bool training;
} tiny_case;

static void open_case(tiny_case *c, uint32_t n_layers, float dropout)
{
    c->trainable = open_trainable(g_dir, n_layers, dropout);
    const json_t *sequences = json_object_get(g_stored, "sequences");
    for (size_t s = 0; s < N; s++) {
        const json_t *ids = json_array_get(sequences, s);
        for (size_t i = 0; i < json_array_size(ids); i++)
            c->ids[c->offsets[s] + i] = (uint32_t)json_integer_value(json_array_get(ids, i));
        c->offsets[s + 1] = c->offsets[s] + (uint32_t)json_array_size(ids);
    }
    c->batch = (mn_token_batch){.ids = c->ids, .offsets = c->offsets, .n = N};
    for (int i = 0; i < N * HIDDEN; i++) c->factors[i] = (float)((i * 7919 * 31 % 2003 - 1001) / 1001.0);
    assert_ok(mn_shard_new(&c->trainable->parameters, &c->shard, test_error()));
    assert_ok(mn_shard_new(&c->trainable->parameters, &c->probe, test_error()));
}

static void close_case(tiny_case *c)
{
    mn_shard_free(c->shard);
    mn_shard_free(c->probe);
    mn_trainable_free(c->trainable);
}

static void run_forward(tiny_case *c, mn_shard *shard)
{
    mn_shard_begin(shard, 1, 1, 1);
    shard->training = c->training;
    assert_ok(c->trainable->operations->forward(c->trainable, shard, &c->batch, &c->vectors, &c->saved, test_error()));
}

static void run_backward(tiny_case *c)
{
    run_forward(c, c->shard);
    assert_ok(c->trainable->operations->backward(c->trainable, c->shard, c->saved, c->factors, test_error()));
}

static double tiny_loss(void *context)
{
    tiny_case *c = context;
    double loss = 0;
    run_forward(c, c->probe);
    for (size_t i = 0; i < N * HIDDEN; i++) loss += (double)c->vectors[i] * (double)c->factors[i];
    return loss;
}

/* The gradient of the token table, which comes by rows; freed by the caller. */
static float *gather_rows(const mn_shard *shard, const mn_parameter *table)
{
    size_t width = table->options.columns;
    float *sums = calloc(table->options.rows * width, sizeof *sums);
    for (const mn_sparse_gradient *g = shard->sparse; g; g = g->next) {
        assert_ptr_equal(g->parameter, table);
        for (size_t i = 0; i < g->n * width; i++) sums[g->ids[i / width] * width + i % width] += g->rows[i];
    }
    return sums;
}

/* ---- gradients -------------------------------------------------------------------------------------------------- */

static void check_gradients(const char *pooling, uint32_t n_layers, float dropout)
{
    write_tiny(pooling, "", 0);
    tiny_case c = {.training = dropout > 0};
    open_case(&c, n_layers, dropout);
    run_backward(&c);
    const gradient_check check = {.parameters = &c.trainable->parameters,
                                  .threads = g_threads,
                                  .loss = tiny_loss,
                                  .context = &c,
                                  .h = 4e-3,
                                  .tolerance = 3e-3,
                                  .most = 24};
    mn_parameter *words = mn_parameters_find(&c.trainable->parameters, "embeddings.word_embeddings.weight");
    float *gradient = gather_rows(c.shard, words);
    gradient_check finer = check; /* a row of 0.05 is soon shaken out of its straight line */
    finer.h = 5e-4;
    finer.tolerance = 5e-3;
    static const uint32_t ids[] = {2, 17, 90, 44};
    for (size_t i = 0; i < 4; i++)
        check_array_gradient(&finer, words->name, words->value + ids[i] * HIDDEN, gradient + ids[i] * HIDDEN, HIDDEN);
    mn_parameter *tables[] = {mn_parameters_find(check.parameters, "embeddings.position_embeddings.weight"),
                              mn_parameters_find(check.parameters, "embeddings.token_type_embeddings.weight")};
    for (size_t i = 0; i < 2; i++) tables[i]->frozen = true; /* as small: against PyTorch's only */
    check_parameter_gradients(&check, c.shard);
    free(gradient);
    close_case(&c);
}

static void gradients_equal_finite_differences(void **state)
{
    (void)state;
    check_gradients("mean", 0, 0);
    check_gradients("cls", 1, 0);
    check_gradients("mean", 1, 0.2f);
}

static void compare(const char *pooling, const char *name, const float *values, size_t n)
{
    const json_t *expected = json_object_get(json_object_get(json_object_get(g_stored, "poolings"), pooling), name);
    if (json_array_size(expected) != n) fail_msg("%s: %zu numbers for %zu", name, n, json_array_size(expected));
    for (size_t i = 0; i < n; i++) {
        double e = json_number_value(json_array_get(expected, i));
        if (!(fabs((double)values[i] - e) <= 3e-5 * (1 + fabs(e))))
            fail_msg("%s, %s[%zu]: %.7g, PyTorch has %.7g", pooling, name, i, (double)values[i], e);
    }
}

static void vectors_and_gradients_equal_pytorchs(void **state)
{
    (void)state;
    static const char *const poolings[] = {"mean", "cls", "max"};
    for (size_t p = 0; p < 3; p++) {
        write_tiny(poolings[p], p == 1 ? "bert." : "", 0);
        tiny_case c = {0};
        open_case(&c, 0, 0.5f); /* not in training: no dropout */
        run_backward(&c);
        compare(poolings[p], "vectors", c.vectors, N * HIDDEN);
        for (size_t i = 0; i < c.trainable->parameters.n; i++) {
            const mn_parameter *parameter = c.trainable->parameters.items[i];
            size_t n = (size_t)parameter->options.rows * parameter->options.columns;
            float *rows = parameter->options.sparse ? gather_rows(c.shard, parameter) : NULL;
            compare(poolings[p], parameter->name, rows ? rows : mn_gradient_of(c.shard, parameter), n);
            free(rows);
        }
        close_case(&c);
    }
}

static void broken_batches_are_refused(void **state)
{
    (void)state;
    write_tiny("mean", "", 0);
    tiny_case c = {0};
    open_case(&c, 0, 0);
    mneme_error error;
    const uint32_t long_one[] = {0, 10}, empty[] = {0, 2, 2};
    const mn_token_batch batches[] = {{c.ids, long_one, 1}, {c.ids, empty, 2}};
    for (size_t i = 0; i < 2; i++) {
        mn_shard_begin(c.shard, 1, 1, 1);
        assert_int_equal(
            c.trainable->operations->forward(c.trainable, c.shard, &batches[i], &c.vectors, &c.saved, &error),
            MNEME_ERR_USAGE);
        assert_non_null(strstr(error.message, "1 to 9"));
    }
    c.ids[1] = 208;
    assert_int_equal(c.trainable->operations->forward(c.trainable, c.shard, &c.batch, &c.vectors, &c.saved, &error),
                     MNEME_ERR_USAGE);
    assert_non_null(strstr(error.message, "208"));
    close_case(&c);
}

/* ---- the encoder ------------------------------------------------------------------------------------------------ */

static void assert_encoder_gives(const char *folder, const mn_token_batch *batch, const float *vectors,
                                 size_t dimension)
{
    const mn_encoder_options options = {.folder = folder, .precision = "f32", .kernels = "auto", .threads = 1};
    mn_encoder *encoder = NULL;
    assert_ok(mn_encoder_open(&options, &encoder, test_error()));
    assert_int_equal(mn_encoder_info(encoder)->dimension, dimension);
    float *expected = calloc(batch->n * dimension, sizeof *expected);
    assert_ok(mn_encoder_encode_ids(encoder, batch, expected, NULL, NULL, test_error()));
    double largest = 0;
    for (size_t i = 0; i < batch->n * dimension; i++)
        largest = fmax(largest, fabs((double)expected[i] - (double)vectors[i]));
    print_message("%s: largest difference to the encoder's %.2g\n", folder, largest);
    assert_true(largest < 1e-5);
    free(expected);
    mn_encoder_close(encoder);
}

static void minilm_in_training_gives_the_encoders_vectors(void **state)
{
    (void)state;
    static uint32_t ids[64 * 256], offsets[65];
    char path[1024], *line = NULL;
    size_t capacity = 0, n = 0;
    snprintf(path, sizeof path, "%s/tests/data/golden/minilm.jsonl", test_source_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (; n < N_GOLDEN && getline(&line, &capacity, file) > 0; n++) {
        json_t *object = json_loads(line, 0, NULL), *list = json_object_get(object, "ids");
        for (size_t i = 0; i < json_array_size(list); i++)
            ids[offsets[n] + i] = (uint32_t)json_integer_value(json_array_get(list, i));
        offsets[n + 1] = offsets[n] + (uint32_t)json_array_size(list);
        json_decref(object);
    }
    free(line);
    fclose(file);
    assert_int_equal(n, N_GOLDEN);
    mn_trainable *trainable = open_trainable(test_model_dir(), 0, 0.1f);
    mn_shard *shard = NULL;
    assert_ok(mn_shard_new(&trainable->parameters, &shard, test_error()));
    mn_shard_begin(shard, 1, 1, 1);
    const mn_token_batch batch = {.ids = ids, .offsets = offsets, .n = n};
    float *vectors;
    void *saved;
    assert_ok(trainable->operations->forward(trainable, shard, &batch, &vectors, &saved, test_error()));
    assert_encoder_gives(test_model_dir(), &batch, vectors, 384);
    mn_shard_free(shard);
    mn_trainable_free(trainable);
}

/* Every value a little different, so that the old weights would not do. */
static void change_values(mn_parameters *set)
{
    for (size_t i = 0; i < set->n; i++)
        for (size_t j = 0; j < (size_t)set->items[i]->options.rows * set->items[i]->options.columns; j++)
            set->items[i]->value[j] += 0.01f * (float)((int)((i + j) % 7) - 3);
    mn_parameters_pack(set, g_threads);
}

static void saved_models_are_encoders_with_the_new_weights(void **state)
{
    (void)state;
    static const char *const poolings[] = {"mean", "cls", "max"};
    for (size_t p = 0; p < 3; p++) {
        write_tiny(poolings[p], p == 1 ? "bert." : "", p == 2 ? 1 : 0);
        char *folder = test_make_dir(), path[1200];
        tiny_case c = {0};
        open_case(&c, 0, 0);
        change_values(&c.trainable->parameters);
        run_forward(&c, c.shard);
        assert_ok(c.trainable->operations->save(c.trainable, folder, "{\"trained\":\"here\"}", test_error()));
        assert_encoder_gives(folder, &c.batch, c.vectors, HIDDEN);
        snprintf(path, sizeof path, "%s/config.json", folder);
        json_t *config = json_load_file(path, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(json_object_get(config, "mneme"), "trained")), "here");
        assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), "float32");
        json_decref(config);
        close_case(&c);
        test_remove_dir(folder);
    }
}

static void a_smaller_model_keeps_some_layers(void **state)
{
    (void)state;
    write_tiny("mean", "", 0);
    char *folder = test_make_dir();
    tiny_case c = {0};
    open_case(&c, 1, 0);
    const mn_parameter *kept =
        mn_parameters_find(&c.trainable->parameters, "encoder.layer.0.intermediate.dense.weight");
    assert_non_null(kept);
    assert_null(mn_parameters_find(&c.trainable->parameters, "encoder.layer.1.intermediate.dense.weight"));
    float expected[12 * HIDDEN];
    model_values("encoder.layer.1.intermediate.dense.weight", 12 * HIDDEN, expected);
    assert_memory_equal(kept->value, expected, sizeof expected);
    run_forward(&c, c.shard);
    assert_ok(c.trainable->operations->save(c.trainable, folder, NULL, test_error()));
    assert_encoder_gives(folder, &c.batch, c.vectors, HIDDEN);
    close_case(&c);
    test_remove_dir(folder);
    const mn_trainable_bert_options more = {.folder = g_dir, .n_layers = 3, .arithmetic = &g_arithmetic};
    mn_trainable *trainable = NULL;
    assert_int_equal(mn_trainable_bert_open(&more, &trainable, test_error()), MNEME_ERR_USAGE);
    assert_null(trainable);
}

static void folders_without_sound_weights_are_refused(void **state)
{
    (void)state;
    const mn_trainable_bert_options options = {.folder = g_dir, .arithmetic = &g_arithmetic};
    mn_trainable *trainable = NULL;
    char path[1200];
    write_tiny("mean", "", 0);
    snprintf(path, sizeof path, "%s/model.safetensors", g_dir);
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(mn_trainable_bert_open(&options, &trainable, test_error()), MNEME_ERR_MODEL);
    assert_null(trainable);
    assert_int_equal(remove(path), 0);
    assert_int_not_equal(mn_trainable_bert_open(&options, &trainable, test_error()), MNEME_OK);
    assert_non_null(strstr(test_error()->message, "model.safetensors"));
    assert_null(trainable);
}

static void every_allocation_that_fails_is_told(void **state)
{
    (void)state;
    write_tiny("mean", "", 0);
    const mn_trainable_bert_options options = {.folder = g_dir, .arithmetic = &g_arithmetic};
    char *folder = test_make_dir();
    size_t n = 1;
    for (mneme_status status = MNEME_ERR_MEMORY; status != MNEME_OK; n++) {
        mn_trainable *trainable = NULL;
        mn_alloc_fail_after(n);
        status = mn_trainable_bert_open(&options, &trainable, NULL);
        if (status == MNEME_OK) status = trainable->operations->save(trainable, folder, NULL, NULL);
        mn_alloc_fail_after(0);
        mn_trainable_free(trainable);
        assert_true(status == MNEME_OK || status == MNEME_ERR_MEMORY);
        assert_true(n < 10000);
    }
    assert_true(n > 20);
    test_remove_dir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_equal_finite_differences),
                                       cmocka_unit_test(vectors_and_gradients_equal_pytorchs),
                                       cmocka_unit_test(broken_batches_are_refused),
                                       cmocka_unit_test(minilm_in_training_gives_the_encoders_vectors),
                                       cmocka_unit_test(saved_models_are_encoders_with_the_new_weights),
                                       cmocka_unit_test(a_smaller_model_keeps_some_layers),
                                       cmocka_unit_test(folders_without_sound_weights_are_refused),
                                       cmocka_unit_test(every_allocation_that_fails_is_told)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
