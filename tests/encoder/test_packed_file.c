/* test_packed_file.c -- the packed file is used when it is whole and made anew whenever there is any doubt; the vectors
 * never change. */
#include "test_support.h"

#include "encoder/encoder.h"
#include "encoder/model_folder.h"
#include "encoder/packed_file.h"

#include <glob.h>
#include <time.h>
#include <unistd.h>

/* ---- the file alone ---- */

static const char weights[] = "weights, more or less";
static const char table[] = "a tokenizer's tables";

static char *write_sample(const char *folder, uint64_t stamp)
{
    char *path = malloc(1100);
    snprintf(path, 1100, "%s/deeper/sample.packed", folder);
    const mn_packed_part parts[MN_PACKED_PARTS] = {{table, sizeof table}, {weights, sizeof weights}};
    assert_ok(mn_packed_write(path, stamp, parts, test_error()));
    return path;
}

static void packed_file_gives_back_its_parts(void **state)
{
    (void)state;
    char *folder = test_make_dir(), *path = write_sample(folder, 42);
    mn_packed_file file;
    assert_ok(mn_packed_open(path, 42, &file, test_error()));
    assert_memory_equal(file.parts[MN_PACKED_TOKENIZER].data, table, sizeof table);
    assert_int_equal(file.parts[MN_PACKED_WEIGHTS].size, sizeof weights);
    assert_memory_equal(file.parts[MN_PACKED_WEIGHTS].data, weights, sizeof weights);
    assert_int_equal((uintptr_t)file.parts[MN_PACKED_WEIGHTS].data % 64, 0);
    mn_packed_close(&file);
    assert_int_equal(mn_packed_open(path, 43, &file, test_error()), MNEME_ERR_DAMAGED);
    assert_non_null(strstr(test_error()->message, "another processor"));
    assert_int_equal(mn_packed_open("/nowhere/at/all", 42, &file, test_error()), MNEME_ERR_NOT_FOUND);
    free(path);
    test_remove_dir(folder);
}

static void write_bytes(const char *path, const char *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

static void packed_file_cut_short_or_changed_anywhere_is_refused(void **state)
{
    (void)state;
    char *folder = test_make_dir(), *path = write_sample(folder, 42);
    mn_buffer whole = {0};
    assert_ok(mn_file_read(path, 1 << 20, &whole, test_error()));
    mn_packed_file file;
    for (size_t size = 0; size < whole.size; size++) {
        write_bytes(path, whole.data, size);
        assert_int_equal(mn_packed_open(path, 42, &file, test_error()), MNEME_ERR_DAMAGED);
    }
    for (size_t i = 0; i < whole.size; i++) {
        if (i >= 56 && i < 64) continue; /* nothing is read there */
        whole.data[i] ^= 0x10;
        write_bytes(path, whole.data, whole.size);
        assert_int_equal(mn_packed_open(path, 42, &file, test_error()), MNEME_ERR_DAMAGED);
        whole.data[i] ^= 0x10;
    }
    mn_buffer_free(&whole);
    free(path);
    test_remove_dir(folder);
}

/* ---- with an encoder ---- */

/* A small model's folder. */
static void write_model(const char *folder)
{
    char path[1100], *line = NULL;
    size_t capacity = 0;
    snprintf(path, sizeof path, "%s/tests/data/bert_shapes/expected.jsonl", test_source_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int i = 0; i < 2; i++) assert_true(getline(&line, &capacity, file) > 0); /* texts, then one model a line */
    fclose(file);
    json_t *shape = json_loads(line, 0, NULL);
    assert_non_null(shape);
    const model_fault sound = {MODEL_SOUND, NULL};
    model_write(folder, shape, NULL, sound);
    json_decref(shape);
    free(line);
}

static const char *const texts[] = {"a small text", "and another one, a bit longer"};

/* Encode with a cache folder; *used: was a packed file in use or kept? */
static void encode(const char *model, const char *cache, const char *kernels, float *vectors, bool *used)
{
    const mn_encoder_options options = {
        .folder = model, .precision = "int16", .kernels = kernels, .threads = 1, .cache = cache};
    mn_encoder *encoder = NULL;
    assert_ok(mn_encoder_open(&options, &encoder, test_error()));
    assert_ok(mn_encoder_encode(encoder, texts, NULL, 2, MNEME_TEXT_PASSAGE, vectors, NULL, NULL, test_error()));
    if (used) *used = mn_encoder_info(encoder)->packed_file != NULL;
    mn_encoder_close(encoder);
}

/* Path of the only packed file in the folder; owned. */
static char *only_file(const char *cache)
{
    char pattern[1100];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*", cache);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    char *path = strdup(found.gl_pathv[0]);
    globfree(&found);
    return path;
}

enum { FLOATS_MAX = 2 * 512 };

static void encoder_with_a_packed_file_gives_the_same_bits(void **state)
{
    (void)state;
    char *model = test_make_dir(), *cache = test_make_dir();
    float none[FLOATS_MAX] = {0}, first[FLOATS_MAX] = {0}, second[FLOATS_MAX] = {0};
    bool used = true;
    write_model(model);
    encode(model, NULL, "auto", none, &used);
    assert_false(used);
    encode(model, cache, "auto", first, &used);
    assert_true(used);
    struct stat before, after;
    char *path = only_file(cache);
    assert_int_equal(stat(path, &before), 0);
    encode(model, cache, "auto", second, &used);
    assert_true(used);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino); /* it was not written again */
    assert_memory_equal(first, none, sizeof none);
    assert_memory_equal(second, none, sizeof none);
    free(path);
    test_remove_dir(cache);
    test_remove_dir(model);
}

static void encoder_makes_a_damaged_packed_file_anew(void **state)
{
    (void)state;
    char *model = test_make_dir(), *cache = test_make_dir();
    float expected[FLOATS_MAX] = {0}, got[FLOATS_MAX] = {0};
    write_model(model);
    encode(model, cache, "auto", expected, NULL);
    char *path = only_file(cache);
    mn_buffer whole = {0}, again = {0};
    assert_ok(mn_file_read(path, 1 << 28, &whole, test_error()));
    const size_t cuts[] = {0, 10, 64, whole.size / 2, whole.size - 1};
    for (size_t i = 0; i < 10; i++) {
        mn_buffer damaged = {0};
        mn_buffer_append(&damaged, whole.data, i < 5 ? cuts[i] : whole.size);
        if (i >= 5) damaged.data[whole.size / 11 * i] ^= 1;
        write_bytes(path, damaged.data ? damaged.data : "", damaged.size);
        mn_buffer_free(&damaged);
        encode(model, cache, "auto", got, NULL);
        assert_memory_equal(got, expected, sizeof got);
        mn_buffer_clear(&again);
        assert_ok(mn_file_read(path, 1 << 28, &again, test_error()));
        assert_int_equal(again.size, whole.size);
        assert_memory_equal(again.data, whole.data, whole.size);
    }
    mn_buffer_free(&again);
    mn_buffer_free(&whole);
    free(path);
    test_remove_dir(cache);
    test_remove_dir(model);
}

/* A file whose stamp and checksum are right and whose parts are not, as another build might leave it. */
static void encoder_leaves_aside_a_packed_file_of_other_sizes(void **state)
{
    (void)state;
    char *model = test_make_dir(), *cache = test_make_dir();
    float expected[FLOATS_MAX] = {0}, got[FLOATS_MAX] = {0};
    write_model(model);
    encode(model, cache, "auto", expected, NULL);
    char *path = only_file(cache);
    mn_buffer whole = {0};
    uint64_t stamp;
    assert_ok(mn_file_read(path, 1 << 28, &whole, test_error()));
    memcpy(&stamp, whole.data + 8, sizeof stamp);
    const mn_packed_part parts[MN_PACKED_PARTS] = {{table, sizeof table}, {weights, sizeof weights}};
    assert_ok(mn_packed_write(path, stamp, parts, test_error()));
    encode(model, cache, "auto", got, NULL);
    assert_memory_equal(got, expected, sizeof got);
    mn_buffer_free(&whole);
    free(path);
    test_remove_dir(cache);
    test_remove_dir(model);
}

/* The model changes under the same name: other weights of the same sizes. */
static void encoder_sees_that_the_model_has_changed(void **state)
{
    (void)state;
    char *model = test_make_dir(), *cache = test_make_dir(), path[1100];
    float before[FLOATS_MAX] = {0}, after[FLOATS_MAX] = {0}, expected[FLOATS_MAX] = {0};
    write_model(model);
    encode(model, cache, "auto", before, NULL);
    snprintf(path, sizeof path, "%s/model.safetensors", model);
    mn_buffer file = {0};
    assert_ok(mn_file_read(path, 1 << 28, &file, test_error()));
    for (size_t i = file.size - 4000; i < file.size; i += 4) file.data[i] ^= 0x7F; /* low bits of the last floats */
    for (size_t i = file.size / 2 & ~(size_t)3; i < file.size / 2 + 40000 && i + 3 < file.size; i += 4)
        file.data[i + 2] ^= 0x3F;
    write_bytes(path, file.data, file.size);
    mn_buffer_free(&file);
    encode(model, NULL, "auto", expected, NULL);
    encode(model, cache, "auto", after, NULL);
    assert_memory_equal(after, expected, sizeof after);
    assert_memory_not_equal(after, before, sizeof after);
    test_remove_dir(cache);
    test_remove_dir(model);
}

static void encoder_works_where_no_packed_file_can_be_kept(void **state)
{
    (void)state;
    char *model = test_make_dir(), file[1100];
    float expected[FLOATS_MAX] = {0}, got[FLOATS_MAX] = {0};
    bool used = true;
    write_model(model);
    encode(model, NULL, "auto", expected, NULL);
    snprintf(file, sizeof file, "%s/vocab.txt/no-folder", model);
    encode(model, file, "auto", got, &used);
    assert_false(used);
    assert_memory_equal(got, expected, sizeof got);
    encode(model, file, "reference", got, &used); /* plain C packs nothing */
    assert_false(used);
    test_remove_dir(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_file_gives_back_its_parts),
        cmocka_unit_test(packed_file_cut_short_or_changed_anywhere_is_refused),
        cmocka_unit_test(encoder_with_a_packed_file_gives_the_same_bits),
        cmocka_unit_test(encoder_makes_a_damaged_packed_file_anew),
        cmocka_unit_test(encoder_leaves_aside_a_packed_file_of_other_sizes),
        cmocka_unit_test(encoder_sees_that_the_model_has_changed),
        cmocka_unit_test(encoder_works_where_no_packed_file_can_be_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
