/* test_text_packing.c -- texts come back as they were, however they are kept; short ones take less with a dictionary.
 */
#include "test_support.h"

#include "memstore/store.h"

#include <lmdb.h>

#include <sys/stat.h>

static char *g_dir;

static mneme_status no_terms(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                             mneme_error *error)
{
    (void)context, (void)text, (void)size, (void)arena, (void)error;
    *out = (mn_term_list){0};
    return MNEME_OK;
}

static mn_store *open_store(const char *name)
{
    char path[1200];
    mn_store *store = NULL;
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    assert_ok(mn_store_open(path, &(mn_store_options){0}, &store, test_error()));
    mn_store_set_analyzer(store, no_terms, NULL);
    return store;
}

typedef struct batch {
    mn_text *texts;
    size_t n, first; /* ids are t<first> ... */
    bool with_dictionary;
} batch;

static mneme_status put_batch(void *context, mn_write *write, mneme_error *error)
{
    const batch *b = context;
    mneme_status status = b->with_dictionary ? mn_write_dictionary(write, b->texts, b->n, error) : MNEME_OK;
    for (size_t i = 0; i < b->n && status == MNEME_OK; i++) {
        char id[20];
        snprintf(id, sizeof id, "t%zu", b->first + i);
        const mneme_record record = {.id = id, .text = b->texts[i].text, .text_size = b->texts[i].size};
        status = mn_write_put(write, &(mn_new_record){.record = &record}, error);
    }
    return status;
}

static void expect_texts(mn_store *store, const batch *b)
{
    mn_read *read = NULL;
    mn_namespace space;
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    for (size_t i = 0; i < b->n; i++) {
        char id[20];
        uint32_t rec = 0;
        size_t size = b->texts[i].size, from = size / 3, to = size - size / 4;
        mn_buffer whole = {0}, piece = {0};
        snprintf(id, sizeof id, "t%zu", b->first + i);
        assert_ok(mn_read_find(read, space.ns, id, &rec, test_error()));
        assert_ok(mn_read_text(read, space.ns, rec, 0, size, &whole, test_error()));
        assert_int_equal(whole.size, size);
        if (size) assert_memory_equal(whole.data, b->texts[i].text, size);
        assert_ok(mn_read_text(read, space.ns, rec, from, to, &piece, test_error()));
        assert_int_equal(piece.size, to - from);
        if (to > from) assert_memory_equal(piece.data, b->texts[i].text + from, to - from);
        mn_buffer_free(&whole);
        mn_buffer_free(&piece);
    }
    mn_read_end(read);
}

static void texts_of_every_size_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 4095, 65535, 65536, 65537, 131072, 200001};
    enum { N = sizeof sizes / sizeof sizes[0] };
    mn_text texts[2 * N];
    uint32_t random = 9;
    for (size_t i = 0; i < 2 * N; i++) { /* words over and over; and bytes that cannot be packed */
        size_t size = sizes[i / 2];
        char *text = malloc(size + 1);
        for (size_t j = 0; j < size; j++) {
            random = random * 1664525u + 1013904223u;
            text[j] = i % 2 ? (char)(random >> 24) : "the old house by the sea "[j % 25];
        }
        texts[i] = (mn_text){text, size};
    }
    mn_store *store = open_store("sizes");
    batch b = {.texts = texts, .n = 2 * N};
    assert_ok(mn_store_update(store, put_batch, &b, NULL, test_error()));
    expect_texts(store, &b);
    mn_store_close(store);
    store = open_store("sizes");
    expect_texts(store, &b);
    mn_store_close(store);
    for (size_t i = 0; i < 2 * N; i++) free((void *)(uintptr_t)texts[i].text);
}

/* Sentences of a few hundred words. */
static mn_text *make_sentences(size_t n, uint32_t seed)
{
    static const char *const words[] = {"morning",  "evening", "garden", "letter", "window",   "brother",
                                        "mountain", "always",  "never",  "walked", "opened",   "written",
                                        "river",    "under",   "the",    "and",    "with",     "through",
                                        "quiet",    "yellow",  "stone",  "winter", "remember", "forgot"};
    mn_text *texts = malloc(n * sizeof *texts);
    for (size_t i = 0; i < n; i++) {
        char *text = calloc(1, 400);
        for (int w = 0; w < 14; w++) {
            seed = seed * 1664525u + 1013904223u;
            strcat(strcat(text, words[(seed >> 8) % 24]), " ");
        }
        texts[i] = (mn_text){text, strlen(text)};
    }
    return texts;
}

static void free_sentences(mn_text *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)texts[i].text);
    free(texts);
}

static void dictionary_makes_short_texts_smaller_and_outlives_the_process(void **state)
{
    (void)state;
    enum { N = 8000 };
    mn_text *texts = make_sentences(N, 5), *more = make_sentences(100, 6);
    uint64_t bytes[2];
    for (int with = 0; with < 2; with++) {
        const char *name = with ? "dictionary" : "none";
        mn_store *store = open_store(name);
        batch b = {.texts = texts, .n = N, .with_dictionary = with};
        assert_ok(mn_store_update(store, put_batch, &b, NULL, test_error()));
        bytes[with] = mn_store_bytes_on_disk(store);
        expect_texts(store, &b);
        mn_store_close(store);
        store = open_store(name);
        batch later = {.texts = more, .n = 100, .first = N, .with_dictionary = with}; /* too few for one of their own */
        assert_ok(mn_store_update(store, put_batch, &later, NULL, test_error()));
        expect_texts(store, &later);
        expect_texts(store, &b);
        mn_store_close(store);
    }
    /* About 110 bytes each, 24 different words: without a dictionary hardly anything can be saved in one of them. */
    assert_true(bytes[0] > bytes[1] + N * 30);
    free_sentences(texts, N);
    free_sentences(more, 100);
}

/* Change a byte in the middle of a value of meta, through LMDB itself. */
static void damage_meta(const char *name, const char *key_name)
{
    char path[1200];
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi db;
    MDB_val value, key = {.mv_size = strlen(key_name), .mv_data = (void *)(uintptr_t)key_name};
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_set_mapsize(env, 64 << 20), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "meta", 0, &db), 0);
    assert_int_equal(mdb_get(txn, db, &key, &value), 0);
    unsigned char *copy = malloc(value.mv_size);
    memcpy(copy, value.mv_data, value.mv_size);
    copy[value.mv_size / 2] ^= 1;
    value.mv_data = copy;
    assert_int_equal(mdb_put(txn, db, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    free(copy);
}

static void note_dictionary(void *context, const char *line)
{
    *(int *)context += strstr(line, "dictionary") != NULL;
}

static void damaged_dictionary_is_named_and_its_copy_read(void **state)
{
    (void)state;
    enum { N = 2000 };
    mn_text *texts = make_sentences(N, 8);
    batch b = {.texts = texts, .n = N, .with_dictionary = true};
    mn_store *store = open_store("copies");
    assert_ok(mn_store_update(store, put_batch, &b, NULL, test_error()));
    mn_store_close(store);
    damage_meta("copies", "dictionary");
    store = open_store("copies");
    expect_texts(store, &b);
    int named = 0;
    mneme_check_report report;
    assert_ok(mn_store_check(store, note_dictionary, NULL, &named, &report, test_error()));
    assert_int_equal(named, 1);
    assert_int_equal(report.problems, 1);
    mn_store_close(store);
    damage_meta("copies", "dictionary 2");
    store = open_store("copies");
    mn_read *read = NULL;
    mn_buffer text = {0};
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_int_equal(mn_read_text(read, 1, 1, 0, texts[0].size, &text, NULL), MNEME_ERR_DAMAGED);
    mn_read_end(read);
    mn_buffer_free(&text);
    mn_store_close(store);
    free_sentences(texts, N);
}

static int make_dir(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    return g_dir ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_every_size_come_back),
        cmocka_unit_test(dictionary_makes_short_texts_smaller_and_outlives_the_process),
        cmocka_unit_test(damaged_dictionary_is_named_and_its_copy_read),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
