/* test_weight_shards.c -- a model in shards gives the bits of the same model in one file, and a folder whose parts do
 * not fit together is refused in one line that says what is wrong. */
#include "model_folder.h"
#include "split_weights.h"

#include "encoder/encoder.h"
#include "encoder/packed_file.h"
#include "encoder/train/compress_model.h"
#include "encoder/train/parameters.h"
#include "encoder/weight_shards.h"

#include <unistd.h>

enum { FLOATS_MAX = 3 * 512 };

static json_t *g_lines; /* of bert_shapes/expected.jsonl: texts, then one model each */
static char *g_dir;

static const char *inside(const char *name)
{
    return test_inside(g_dir, name);
}

static void begin(size_t shape)
{
    if (g_dir) test_remove_dir(g_dir);
    g_dir = test_make_dir();
    model_write(g_dir, json_array_get(g_lines, shape + 1), NULL, (model_fault){0});
}

static mneme_status try_encode(const char *folder, const char *cache, float *vectors)
{
    static const char *const texts[] = {"A wing in a slipstream.", "", "boundary layers and heat, 3.14"};
    const size_t sizes[] = {strlen(texts[0]), 0, strlen(texts[2])};
    const mn_encoder_options options = {
        .folder = folder, .precision = "f32", .kernels = "auto", .threads = 1, .cache = cache};
    mn_encoder *encoder = NULL;
    mneme_status status = mn_encoder_open(&options, &encoder, test_error());
    if (status != MNEME_OK) return status;
    assert_true(3 * mn_encoder_info(encoder)->dimension <= FLOATS_MAX);
    status = mn_encoder_encode(encoder, texts, sizes, 3, MNEME_TEXT_PASSAGE, vectors, NULL, NULL, test_error());
    mn_encoder_close(encoder);
    return status;
}

static void encode(const char *folder, const char *cache, float *vectors)
{
    memset(vectors, 0, FLOATS_MAX * sizeof *vectors);
    assert_ok(try_encode(folder, cache, vectors));
}

/* The folder is refused, in one line that has all of the words. */
static void expect_refusal(const char *word, const char *second, const char *third)
{
    float vectors[FLOATS_MAX];
    const char *words[] = {word, second, third};
    assert_int_equal(try_encode(g_dir, NULL, vectors), MNEME_ERR_MODEL);
    assert_null(strchr(test_error()->message, '\n'));
    for (size_t i = 0; i < 3; i++)
        if (!strstr(test_error()->message, words[i])) fail_msg("'%s' lacks %s", test_error()->message, words[i]);
}

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(inside(name), "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* ---- what is right ---- */

static void shards_of_every_shape_give_the_bits_of_one_file(void **state)
{
    (void)state;
    static float whole[FLOATS_MAX], parts[FLOATS_MAX];
    for (size_t shape = 0; shape + 1 < json_array_size(g_lines); shape++)
        for (size_t n = 1; n <= 3; n++) {
            begin(shape);
            encode(g_dir, NULL, whole);
            json_decref(split_weights(g_dir, n));
            assert_int_not_equal(access(inside("model.safetensors"), F_OK), 0);
            encode(g_dir, NULL, parts);
            assert_memory_equal(parts, whole, sizeof whole);
        }
}

static void shards_are_one_set_of_tensors(void **state)
{
    (void)state;
    begin(0);
    mn_safetensors *whole = NULL, *parts = NULL;
    assert_ok(mn_weights_open(inside("model.safetensors"), &whole, test_error()));
    json_decref(split_weights(g_dir, 3));
    assert_ok(mn_weights_open(inside("model.safetensors"), &parts, test_error()));
    assert_non_null(strstr(mn_safetensors_path(parts), "model.safetensors.index.json"));
    assert_int_equal(mn_safetensors_count(parts), mn_safetensors_count(whole));
    mn_safetensors_release_pages(parts);
    for (size_t i = 0; i < mn_safetensors_count(whole); i++) {
        const mn_tensor *a = mn_safetensors_at(whole, i), *b = mn_safetensors_at(parts, i);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->size_bytes, b->size_bytes);
        assert_memory_equal(a->data, b->data, a->size_bytes);
        assert_ptr_equal(mn_safetensors_find(parts, a->name), b);
    }
    mn_safetensors_close(whole);
    mn_safetensors_close(parts);
}

/* What `model quantize` writes has a scale beside each matrix: split, they lie in different files. */
static void scale_in_another_shard_than_its_matrix_is_found(void **state)
{
    (void)state;
    static float whole[FLOATS_MAX], parts[FLOATS_MAX];
    begin(0);
    char small[1200];
    snprintf(small, sizeof small, "%s/small", g_dir);
    json_decref(split_weights(g_dir, 2)); /* compressing reads shards, too */
    mneme_compress_options options = MNEME_COMPRESS_OPTIONS_INIT;
    options.int8 = true;
    options.keep = 1;
    assert_ok(mn_compress_model(g_dir, &options, small, test_error()));
    encode(small, NULL, whole);
    json_decref(split_weights(small, 2));
    encode(small, NULL, parts);
    assert_memory_equal(parts, whole, sizeof whole);
}

static void one_file_counts_where_there_are_both(void **state)
{
    (void)state;
    static float whole[FLOATS_MAX], got[FLOATS_MAX];
    begin(0);
    encode(g_dir, NULL, whole);
    write_text("model.safetensors.index.json", "{\"weight_map\": {\"a\": \"model-00001-of-00001.safetensors\"}}");
    encode(g_dir, NULL, got);
    assert_memory_equal(got, whole, sizeof whole);
}

static void change_of_any_shard_is_seen_by_the_packed_file(void **state)
{
    (void)state;
    begin(0);
    json_decref(split_weights(g_dir, 3));
    for (size_t i = 1; i <= 3; i++) {
        uint64_t before = mn_packed_stamp(g_dir);
        assert_int_equal(mn_packed_stamp(g_dir), before);
        assert_int_equal(rename(inside(split_name(i, 3)), inside("aside")), 0);
        assert_true(mn_packed_stamp(g_dir) != before);
        char command[2600];
        snprintf(command, sizeof command, "cp '%s' '%s'", inside("aside"), inside(split_name(i, 3)));
        assert_int_equal(system(command), 0);
        assert_true(mn_packed_stamp(g_dir) != before); /* another file of the same bytes */
    }
    static float fresh[FLOATS_MAX], packed[FLOATS_MAX];
    char cache[1200];
    snprintf(cache, sizeof cache, "%s/cache", g_dir);
    encode(g_dir, NULL, fresh);
    for (int i = 0; i < 2; i++) {
        encode(g_dir, cache, packed);
        assert_memory_equal(packed, fresh, sizeof fresh);
    }
}

static void parameters_load_from_shards(void **state)
{
    (void)state;
    begin(0);
    const char *name = "embeddings.LayerNorm.weight";
    mn_safetensors *file = NULL;
    json_decref(split_weights(g_dir, 2));
    assert_ok(mn_weights_open(inside("model.safetensors"), &file, test_error()));
    const mn_tensor *tensor = mn_safetensors_find(file, name);
    assert_non_null(tensor);
    const mn_parameter_options options = {.rows = 1, .columns = (uint32_t)tensor->shape[0]};
    mn_parameters set = {0};
    mn_parameter *parameter = mn_parameters_add(&set, &options, "%s", name);
    assert_non_null(parameter);
    assert_ok(mn_parameters_ready(&set, 0, test_error()));
    assert_ok(mn_parameters_load(&set, inside("model.safetensors"), "", test_error()));
    float *expected = malloc(tensor->shape[0] * sizeof *expected);
    mn_tensor_to_f32(tensor, 0, tensor->shape[0], expected);
    assert_memory_equal(parameter->value, expected, tensor->shape[0] * sizeof *expected);
    free(expected);
    mn_parameters_free(&set);
    mn_safetensors_close(file);
}

/* ---- what is wrong ---- */

static void shard_that_is_missing_or_cut_short_is_named(void **state)
{
    (void)state;
    begin(0);
    json_decref(split_weights(g_dir, 3));
    char kept[1200];
    snprintf(kept, sizeof kept, "%s", inside("kept"));
    assert_int_equal(rename(inside(split_name(2, 3)), kept), 0);
    expect_refusal("model-00002-of-00003.safetensors is missing", "model.safetensors.index.json", "names it");
    assert_int_equal(rename(kept, inside(split_name(2, 3))), 0);
    assert_int_equal(truncate(inside(split_name(3, 3)), 1000), 0);
    expect_refusal("model-00003-of-00003.safetensors", "", "");
}

static void tensor_that_is_not_where_the_index_says_is_named(void **state)
{
    (void)state;
    begin(0);
    json_t *map = split_weights(g_dir, 2);
    json_object_set_new(map, "more.weight", json_string(split_name(1, 2)));
    split_write_index(g_dir, map);
    expect_refusal("more.weight", "model-00001-of-00002.safetensors, which lacks it", "model.safetensors.index.json");
    json_decref(map);
}

static void tensor_in_two_shards_is_named(void **state)
{
    (void)state;
    begin(0);
    json_t *map = split_weights(g_dir, 2), *twice = json_object();
    char *name = strdup(json_object_iter_key(json_object_iter(map)));
    json_object_set_new(twice, name,
                        json_pack("{s:s, s:[i], s:[i,i]}", "dtype", "F32", "shape", 1, "data_offsets", 0, 4));
    split_write_shard(inside("more.safetensors"), twice, "1234", 4);
    json_object_set_new(twice, "other", json_deep_copy(json_object_get(twice, name)));
    json_object_set_new(map, "other", json_string("more.safetensors"));
    json_object_set_new(json_object_get(twice, "other"), "data_offsets", json_pack("[i,i]", 4, 8));
    split_write_shard(inside("more.safetensors"), twice, "12345678", 8);
    split_write_index(g_dir, map);
    expect_refusal(name, "more.safetensors", "model-00001-of-00002.safetensors");
    free(name);
    json_decref(twice);
    json_decref(map);
}

static void index_that_is_none_or_leads_elsewhere_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"", "empty"},
        {"{", "line 1"},
        {"[]", "weight_map"},
        {"{\"weight_map\": []}", "weight_map"},
        {"{\"weight_map\": {}}", "weight_map"},
        {"{\"weight_map\": {\"a\": 7}}", "tensor a"},
        {"{\"weight_map\": {\"a\": \"../model.safetensors\"}}", "../model.safetensors"},
        {"{\"weight_map\": {\"a\": \"/etc/x.safetensors\"}}", "/etc/x.safetensors"},
        {"{\"weight_map\": {\"a\": \".safetensors\"}}", "beside the index"},
        {"{\"weight_map\": {\"a\": \".x.safetensors\"}}", "beside the index"},
        {"{\"weight_map\": {\"a\": \"x.bin\"}}", "x.bin"},
        {"{\"weight_map\": {\"a\": \"x.safetensors\", \"a\": \"y.safetensors\"}}", "duplicate"},
        {"{\"weight_map\": {\"a\": \"x\\u0000.safetensors\"}}", "line 1"},
        {"[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", "deeper"},
    };
    begin(0);
    json_decref(split_weights(g_dir, 2));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text("model.safetensors.index.json", cases[i].text);
        expect_refusal("model.safetensors.index.json", cases[i].word, "");
    }
    json_t *map = json_object();
    for (int i = 0; i <= MN_WEIGHT_SHARDS_MAX; i++) {
        char name[40], shard[60];
        snprintf(name, sizeof name, "t%d", i);
        snprintf(shard, sizeof shard, "s%d.safetensors", i);
        json_object_set_new(map, name, json_string(shard));
    }
    split_write_index(g_dir, map);
    expect_refusal("129 files", "at most 128", "");
    json_decref(map);
    assert_int_equal(remove(inside("model.safetensors.index.json")), 0);
    expect_refusal("model.safetensors is missing", "", "");
}

static void every_allocation_that_fails_is_told(void **state)
{
    (void)state;
    begin(0);
    json_decref(split_weights(g_dir, 3));
    char path[1200];
    snprintf(path, sizeof path, "%s", inside("model.safetensors"));
    size_t n = 1;
    for (mneme_status status = MNEME_ERR_MEMORY; status != MNEME_OK; n++) {
        mn_safetensors *file = NULL;
        mn_alloc_fail_after(n);
        status = mn_weights_open(path, &file, NULL);
        mn_alloc_fail_after(0);
        assert_true(status == MNEME_OK ? file != NULL : file == NULL);
        assert_true(status == MNEME_OK || status == MNEME_ERR_MEMORY);
        mn_safetensors_close(file);
    }
    assert_true(n > 10);
}

static int setup(void **state)
{
    (void)state;
    g_lines = model_read_lines("bert_shapes/expected.jsonl");
    return g_lines ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    if (g_dir) test_remove_dir(g_dir);
    json_decref(g_lines);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_of_every_shape_give_the_bits_of_one_file),
        cmocka_unit_test(shards_are_one_set_of_tensors),
        cmocka_unit_test(scale_in_another_shard_than_its_matrix_is_found),
        cmocka_unit_test(one_file_counts_where_there_are_both),
        cmocka_unit_test(change_of_any_shard_is_seen_by_the_packed_file),
        cmocka_unit_test(parameters_load_from_shards),
        cmocka_unit_test(shard_that_is_missing_or_cut_short_is_named),
        cmocka_unit_test(tensor_that_is_not_where_the_index_says_is_named),
        cmocka_unit_test(tensor_in_two_shards_is_named),
        cmocka_unit_test(index_that_is_none_or_leads_elsewhere_is_refused),
        cmocka_unit_test(every_allocation_that_fails_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
