/* test_store_damage.c -- stores of another format, foreign LMDB files, and values changed behind the store's back: each is
 * named, none crashes. The one test that opens LMDB itself. */
#include "test_support.h"

#include "memstore/store.h"

#include <lmdb.h>
#include <sys/stat.h>

static char *g_dir;
static char g_problems[20000];

static mneme_status one_word(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out, mneme_error *error)
{
    (void)context, (void)error;
    mn_term *term = mn_arena_alloc(arena, sizeof *term);
    *term = (mn_term){.text = mn_arena_copy(arena, text, size < 20 ? size : 20), .size = size < 20 ? (uint32_t)size : 20, .count = 1};
    *out = (mn_term_list){.items = term, .n = size > 0, .total = size > 0};
    return MNEME_OK;
}

static const char *fresh_path(void)
{
    static char path[1200];
    static int number;
    snprintf(path, sizeof path, "%s/s%d", g_dir, number++);
    return path;
}

static mneme_status put_three(void *context, mn_write *write, mneme_error *error)
{
    (void)context;
    static const char *const ids[] = {"first", "second", "third"};
    static const float vectors[3][2] = {{1, 0}, {0, 1}, {0.6f, 0.8f}};
    for (size_t i = 0; i < 3; i++) {
        const mneme_record record = {.id = ids[i], .text = "some text", .text_size = 9, .session = "s"};
        const mn_new_chunk chunk = {.start = 0, .end = 9, .vector = vectors[i]};
        const mn_new_record new_record = {.record = &record, .chunks = &chunk, .n_chunks = 1, .dimension = 2};
        mneme_status status = mn_write_put(write, &new_record, error);
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

static mneme_status open_store(const char *path, mn_store **out, mneme_error *error)
{
    const mn_store_options options = {0};
    mneme_status status = mn_store_open(path, &options, out, error);
    if (status == MNEME_OK) mn_store_set_analyzer(*out, one_word, NULL);
    return status;
}

static void make_store(const char *path)
{
    mn_store *store = NULL;
    assert_ok(open_store(path, &store, test_error()));
    assert_ok(mn_store_update(store, put_three, NULL, NULL, test_error()));
    mn_store_close(store);
}

/* Change the first value of a database (or the one of `key`) in place by `edit`. */
static void tamper(const char *path, const char *database, const char *key, void (*edit)(unsigned char *bytes, size_t *size, uint32_t seed), uint32_t seed)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    MDB_cursor *cursor = NULL;
    MDB_val k = {0}, v = {0};
    unsigned char bytes[70000];
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 16);
    mdb_env_set_mapsize(env, 1 << 26);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, database, MDB_CREATE, &dbi), 0);
    assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
    if (key) k = (MDB_val){.mv_size = strlen(key), .mv_data = (void *)(uintptr_t)key};
    int found = mdb_cursor_get(cursor, &k, &v, key ? MDB_SET_KEY : MDB_FIRST);
    size_t size = found == 0 && v.mv_size <= sizeof bytes ? v.mv_size : 0;
    if (size) memcpy(bytes, v.mv_data, size);
    unsigned char key_copy[600];
    memcpy(key_copy, k.mv_data, k.mv_size);
    MDB_val key_again = {.mv_size = k.mv_size, .mv_data = key_copy};
    mdb_cursor_close(cursor);
    edit(bytes, &size, seed);
    MDB_val changed = {.mv_size = size, .mv_data = bytes};
    assert_int_equal(mdb_put(txn, dbi, &key_again, &changed, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void note_problem(void *context, const char *line)
{
    (void)context;
    strncat(g_problems, line, sizeof g_problems - strlen(g_problems) - 2);
    strcat(g_problems, "\n");
}

static uint64_t check(const char *path)
{
    mn_store *store = NULL;
    mneme_check_report report;
    g_problems[0] = '\0';
    assert_ok(open_store(path, &store, test_error()));
    assert_ok(mn_store_check(store, note_problem, NULL, NULL, &report, test_error()));
    mn_store_close(store);
    return report.problems;
}

static void set_format_9(unsigned char *bytes, size_t *size, uint32_t seed)
{
    (void)seed;
    const uint32_t format = 9;
    memcpy(bytes, &format, *size = sizeof format);
}

static void store_of_a_newer_format_is_refused_with_both_numbers(void **state)
{
    (void)state;
    const char *path = fresh_path();
    make_store(path);
    tamper(path, "meta", "format", set_format_9, 0);
    mn_store *store = NULL;
    mneme_error error;
    assert_int_equal(open_store(path, &store, &error), MNEME_ERR_FORMAT);
    assert_non_null(strstr(error.message, "format 9"));
    assert_non_null(strstr(error.message, "format 2"));
    assert_null(store);
}

static void lmdb_file_of_another_program_is_no_store(void **state)
{
    (void)state;
    const char *path = fresh_path();
    assert_int_equal(mkdir(path, 0700), 0);
    tamper(path, "someone else's", "key", set_format_9, 0);
    mn_store *store = NULL;
    assert_int_equal(open_store(path, &store, NULL), MNEME_ERR_NOT_A_STORE);
}

static void cut_half(unsigned char *bytes, size_t *size, uint32_t seed)
{
    (void)bytes, (void)seed;
    *size /= 2;
}

static void flip_first_byte(unsigned char *bytes, size_t *size, uint32_t seed)
{
    (void)size, (void)seed;
    bytes[0] ^= 0xFF;
}

static void flip_last_byte(unsigned char *bytes, size_t *size, uint32_t seed)
{
    (void)seed;
    bytes[*size - 1] ^= 0xFF;
}

static void damaged_value_of_each_kind_is_named(void **state)
{
    (void)state;
    const struct {
        const char *database;
        void (*edit)(unsigned char *bytes, size_t *size, uint32_t seed);
        const char *says;
    } cases[] = {{"records", cut_half, "record"},          {"records", flip_first_byte, "record"}, {"ids", flip_first_byte, "id"},
                 {"rows", cut_half, "row block"},          {"rows", flip_first_byte, "row"},       {"vectors", flip_last_byte, "vector"},
                 {"vectors", cut_half, "vector"},          {"postings", flip_first_byte, "post"},  {"postings", cut_half, "post"},
                 {"namespaces", cut_half, "namespace"},    {"sessions", cut_half, ""},             {"session_records", flip_first_byte, "session"},
                 {"namespaces", flip_last_byte, "session"}, {"log", cut_half, "log"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = fresh_path();
        make_store(path);
        assert_int_equal(check(path), 0);
        tamper(path, cases[i].database, NULL, cases[i].edit, 0);
        uint64_t problems = check(path);
        if (*cases[i].says && (problems == 0 || !strstr(g_problems, cases[i].says)))
            fail_msg("damage in %s (case %zu) gives %llu problems: %s", cases[i].database, i, (unsigned long long)problems, g_problems);
    }
}

static void random_bytes(unsigned char *bytes, size_t *size, uint32_t seed)
{
    for (int change = 0; change < 4 && *size; change++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[(seed >> 8) % *size] = (unsigned char)(seed >> 24);
    }
    if (seed % 5 == 0) *size = *size * 2 / 3;
}

/* Everything that reads, on whatever is there. */
static void read_all(const char *path)
{
    mn_store *store = NULL;
    if (open_store(path, &store, NULL) != MNEME_OK) return;
    mn_read *read = NULL;
    mn_arena arena = {0};
    mn_namespace *spaces = NULL;
    size_t n = 0;
    if (mn_read_begin(store, &read, NULL) == MNEME_OK && mn_read_namespaces(read, &arena, &spaces, &n, NULL) == MNEME_OK) {
        for (size_t i = 0; i < n; i++) {
            mn_record record, step;
            mn_rows rows;
            mn_vector_blocks blocks;
            mn_posting *postings;
            size_t n_postings;
            mn_buffer text = {0};
            for (uint32_t rec = 0; mn_read_next_record(read, spaces[i].ns, rec, &record, NULL) == MNEME_OK; rec = record.rec + 1) {
                (void)mn_read_text(read, spaces[i].ns, record.rec, 0, record.text_size, &text, NULL);
                (void)mn_read_session_step(read, spaces[i].ns, &record, 1, &step, NULL);
                if (record.rec == UINT32_MAX) break;
            }
            (void)mn_read_rows(read, spaces[i].ns, &arena, &rows, NULL);
            if (mn_read_vectors(read, spaces[i].ns, &arena, &blocks, NULL) == MNEME_OK) {
                float *vector = malloc(((size_t)blocks.dimension + 1) * sizeof *vector);
                (void)mn_vector_of(&blocks, 1, vector);
                free(vector);
            }
            (void)mn_read_postings(read, spaces[i].ns, "some text", 9, &arena, &postings, &n_postings, NULL);
            mn_buffer_free(&text);
        }
    }
    mn_read_end(read);
    mneme_check_report report;
    (void)mn_store_check(store, NULL, NULL, NULL, &report, NULL);
    mn_arena_free(&arena);
    mn_store_close(store);
}

static void random_damage_in_values_never_crashes(void **state)
{
    (void)state;
    static const char *const databases[] = {"meta", "namespaces", "ids", "records", "rows", "vectors", "postings", "sessions", "session_records", "log"};
    int trials = getenv("MNEME_TEST_LONG") ? 10000 : 150;
    const char *path = fresh_path();
    for (int trial = 0; trial < trials; trial++) {
        char command[1300];
        snprintf(command, sizeof command, "rm -rf '%s'", path);
        if (trial % 10 == 0) {
            assert_int_equal(system(command), 0);
            make_store(path);
        }
        tamper(path, databases[trial % 10], NULL, random_bytes, (uint32_t)trial * 2654435761u);
        read_all(path);
    }
}

static int make_dir(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    return 0;
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
        cmocka_unit_test(store_of_a_newer_format_is_refused_with_both_numbers),
        cmocka_unit_test(lmdb_file_of_another_program_is_no_store),
        cmocka_unit_test(damaged_value_of_each_kind_is_named),
        cmocka_unit_test(random_damage_in_values_never_crashes),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
