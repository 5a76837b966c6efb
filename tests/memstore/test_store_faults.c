/* test_store_faults.c -- the store when things are wrong: damaged values, foreign and newer files, too little address
 * space, processes that create at once, failing allocations.
 *
 * Damage is made through LMDB itself, behind the store's back. */
#include "test_support.h"

#include "memstore/store.h"

#include <lmdb.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ADDRESS_SANITIZER 1 /* reserves terabytes itself: no limit on address space holds */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ADDRESS_SANITIZER 1
#endif
#endif

enum { DIM = 4 };

static char *g_dir;

static const char *path_of(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    return path;
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Each letter a..z of the text is a term: sorted and unique by counting. */
static mneme_status count_letters(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                                  mneme_error *error)
{
    (void)context;
    (void)error;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    uint32_t counts[26] = {0};
    *out = (mn_term_list){.items = mn_arena_array(arena, 26, sizeof *out->items)};
    if (!out->items) return MNEME_ERR_MEMORY;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < 'a' || text[i] > 'z') continue;
        counts[text[i] - 'a']++;
        out->total++;
    }
    for (size_t i = 0; i < 26; i++)
        if (counts[i]) out->items[out->n++] = (mn_term){.text = letters + i, .size = 1, .count = counts[i]};
    return MNEME_OK;
}

static mneme_status open_with(const char *name, mn_store_options options, mn_store **out, mneme_error *error)
{
    mneme_status status = mn_store_open(path_of(name), &options, out, error);
    if (status == MNEME_OK) mn_store_set_analyzer(*out, count_letters, NULL);
    return status;
}

/* A child in which a crash is a crash: cmocka's own handlers would go on with the tests. */
static pid_t fork_child(void)
{
    pid_t child = fork();
    if (child != 0) return child;
    const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) signal(crashes[i], SIG_DFL);
    return 0;
}

/* ---- what is put ---- */

typedef struct put_job {
    mneme_record record;
    uint32_t n_chunks, dimension;
    uint32_t past_end; /* the last chunk ends so many bytes behind the text */
} put_job;

static const float unit[DIM] = {0.5f, 0.5f, -0.5f, 0.5f};

static mneme_status put(mn_write *write, const put_job *job, mneme_error *error)
{
    mn_new_chunk chunks[4];
    uint32_t size = (uint32_t)job->record.text_size, n = job->n_chunks;
    for (uint32_t i = 0; i < n; i++)
        chunks[i] = (mn_new_chunk){.start = size * i / n, .end = size * (i + 1) / n, .vector = unit};
    if (n) chunks[n - 1].end += job->past_end;
    const mn_new_record record = {
        .record = &job->record, .hash = {3, 4}, .chunks = chunks, .n_chunks = n, .dimension = job->dimension};
    return mn_write_put(write, &record, error);
}

static put_job make_job(const char *id, const char *text, uint32_t n_chunks)
{
    return (put_job){.record = {.id = id, .text = text, .text_size = strlen(text), .session = "talk"},
                     .n_chunks = n_chunks,
                     .dimension = n_chunks ? DIM : 0};
}

static mneme_status put_one(void *context, mn_write *write, mneme_error *error)
{
    return put(write, context, error);
}

static mneme_status try_put(mn_store *store, put_job job, mneme_error *error)
{
    return mn_store_update(store, put_one, &job, NULL, error);
}

/* 2025-01-02: where the bytes of a record lie must not depend on the day. */
static int64_t fixed_clock(void *context)
{
    (void)context;
    return INT64_C(1735776000000);
}

/* Three records of one session, the second one long and of two chunks, the third one with an end. */
static void make_store(const char *name)
{
    put_job third = make_job("three", "bcd", 1);
    third.record.has_expires = true;
    third.record.expires_ms = INT64_C(1900000000000);
    mn_store *store = NULL;
    char *text = malloc(70001);
    memset(text, 'q', 70000);
    text[70000] = '\0';
    assert_ok(open_with(name, (mn_store_options){.clock = fixed_clock}, &store, test_error()));
    assert_ok(try_put(store, make_job("one", "abc abd", 1), test_error()));
    assert_ok(try_put(store, make_job("two", text, 2), test_error()));
    third.record.has_time = true;
    assert_ok(try_put(store, third, test_error()));
    mn_store_close(store);
    free(text);
}

/* ---- LMDB behind the store's back ---- */

typedef struct raw {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db;
} raw;

static raw raw_open(const char *name, const char *db)
{
    raw r = {0};
    assert_int_equal(mdb_env_create(&r.env), 0);
    assert_int_equal(mdb_env_set_maxdbs(r.env, 16), 0);
    assert_int_equal(mdb_env_set_mapsize(r.env, 64 << 20), 0);
    assert_int_equal(mdb_env_open(r.env, path_of(name), 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(r.env, NULL, 0, &r.txn), 0);
    assert_int_equal(mdb_dbi_open(r.txn, db, db ? MDB_CREATE : 0, &r.db), 0);
    return r;
}

static void raw_close(raw *r)
{
    assert_int_equal(mdb_txn_commit(r->txn), 0);
    mdb_env_close(r->env);
}

enum damage_kind {
    CUT,        /* the value ends at byte `at` */
    SET_BYTE,   /* byte `at` of the value becomes `byte` */
    REMOVE,     /* the entry is deleted */
    ADD_BESIDE, /* a copy of the value under the key with its last byte changed to `byte` */
};

typedef struct damage_case {
    const char *db;
    enum damage_kind kind;
    unsigned entry; /* counted from the database's first */
    size_t at;
    unsigned char byte;
    const char *named; /* what one of the lines of check must hold */
} damage_case;

static void do_damage(const char *name, const damage_case *d)
{
    raw r = raw_open(name, d->db);
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    assert_int_equal(mdb_cursor_open(r.txn, r.db, &cursor), 0);
    assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
    for (unsigned i = 0; i < d->entry; i++) assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_NEXT), 0);
    unsigned char key_copy[511];
    unsigned char *copy = malloc(value.mv_size + 1);
    memcpy(key_copy, key.mv_data, key.mv_size);
    memcpy(copy, value.mv_data, value.mv_size);
    mdb_cursor_close(cursor);
    key.mv_data = key_copy;
    value.mv_data = copy;
    if (d->kind == CUT) value.mv_size = d->at;
    if (d->kind == SET_BYTE && value.mv_size) copy[d->at % value.mv_size] = d->byte;
    if (d->kind == ADD_BESIDE) key_copy[key.mv_size - 1] = d->byte;
    if (d->kind == REMOVE) assert_int_equal(mdb_del(r.txn, r.db, &key, NULL), 0);
    else assert_int_equal(mdb_put(r.txn, r.db, &key, &value, 0), 0);
    raw_close(&r);
    free(copy);
}

typedef struct seen_lines {
    const char *wanted;
    bool found;
    char all[2000];
} seen_lines;

static void look_at_line(void *context, const char *line)
{
    seen_lines *seen = context;
    if (seen->wanted && strstr(line, seen->wanted)) seen->found = true;
    strncat(seen->all, line, sizeof seen->all - strlen(seen->all) - 2);
    strcat(seen->all, "\n");
}

/* Everything that is read of a namespace; statuses do not matter, only that nothing is followed blindly. */
static void read_everything(mn_store *store)
{
    mn_read *read = NULL;
    mn_namespace space;
    if (mn_read_begin(store, &read, NULL) != MNEME_OK) return;
    if (mn_read_namespace(read, "", &space, NULL) == MNEME_OK) {
        mn_arena arena = {0};
        mn_rows rows;
        mn_vector_blocks blocks;
        mn_posting *postings = NULL;
        mn_change *changes = NULL;
        mn_recs listed = {0};
        const mn_field_range all = {.field = "time", .match = MN_FIELD_EXISTS};
        const mn_field_range sessions = {.field = "session", .match = MN_FIELD_EXISTS};
        mn_record record, other;
        size_t n = 0;
        bool complete = false;
        volatile float sum = 0;
        volatile uint32_t recs = 0;
        if (mn_read_rows(read, space.ns, &arena, &rows, NULL) == MNEME_OK)
            for (uint32_t i = 0; i < rows.n_rows; i++) recs += mn_row_at(&rows, i)->rec;
        if (mn_read_vectors(read, space.ns, &arena, &blocks, NULL) == MNEME_OK)
            for (size_t b = 0; b < blocks.n; b++) {
                assert_true(blocks.items[b].first_row + blocks.items[b].n_rows <= space.next_row);
                for (size_t i = 0; i < (size_t)blocks.items[b].n_rows * blocks.dimension; i++) sum += blocks.items[b].vectors[i];
            }
        for (char letter = 'a'; letter <= 'z'; letter++)
            (void)mn_read_postings(read, space.ns, &letter, 1, &arena, &postings, &n, NULL);
        (void)mn_read_changes(read, 0, &arena, &changes, &n, &complete, NULL);
        (void)mn_read_field(read, space.ns, &all, &listed, NULL);
        (void)mn_read_field(read, space.ns, &sessions, &listed, NULL);
        mn_free(listed.items);
        for (uint32_t rec = 1; mn_read_next_record(read, space.ns, rec, &record, NULL) == MNEME_OK; rec = record.rec + 1) {
            mn_buffer text = {0};
            (void)mn_read_text(read, space.ns, record.rec, 0, record.text_size, &text, NULL);
            (void)mn_read_session_step(read, space.ns, &record, 1, &other, NULL);
            mn_buffer_free(&text);
            if (record.rec == UINT32_MAX) break;
        }
        mn_arena_free(&arena);
    }
    mn_read_end(read);
}

/* ---- damage ---- */

static const damage_case damages[] = {
    {"records", CUT, 0, 10, 0, "entry cannot be read"},
    {"records", CUT, 0, 24, 0, "entry cannot be read"},
    {"records", SET_BYTE, 0, 28, 'x', "entry cannot be read"},        /* the id's end */
    {"records", SET_BYTE, 0, 17, 99, "past the last row"},            /* first_row */
    {"records", SET_BYTE, 0, 24, 7, "its place 7"},                   /* session_place */
    {"records", SET_BYTE, 0, 25, 'x', "its id \"xne\" leads to"},     /* the id */
    {"records", SET_BYTE, 0, 34, 'z', "its postings are not those"}, /* the text: "abc ..." */
    {"records", SET_BYTE, 0, 1, 9, "the content of record 1"},       /* the hash: nothing else knows it */
    {"records", REMOVE, 0, 0, 0, "has 3 ids for 2 records"},
    {"records", REMOVE, 2, 0, 0, "the text of record"},               /* a part behind the first */
    {"records", CUT, 2, 10, 0, "the text of record"},
    {"records", ADD_BESIDE, 2, 0, 9, "text part 9"},                  /* left over */
    {"records", REMOVE, 1, 0, 0, "text part 1"},                      /* left over without its head */
    {"ids", SET_BYTE, 0, 0, 2, "leads to record 2"},
    {"ids", REMOVE, 0, 0, 0, "has 2 ids for 3 records"},
    {"ids", CUT, 0, 2, 0, "leads to record 0"},
    {"rows", CUT, 0, 20, 0, "row block 0"},
    {"rows", REMOVE, 0, 0, 0, "row block 0"},
    {"rows", SET_BYTE, 0, 0, 3, "says record 3"},
    {"rows", SET_BYTE, 0, 8, 250, "says record 1, bytes 0..250"},
    {"rows", SET_BYTE, 0, 12, 77, "has 6 terms, its row says 77"},
    {"vectors", CUT, 0, 13, 0, "vector block 0"},
    {"vectors", REMOVE, 0, 0, 0, "row 0 in namespace \"\" has no vector"},
    {"vectors", SET_BYTE, 0, 3, 0x7f, "row 0 in namespace \"\": its vector has length"},
    {"vectors", SET_BYTE, 0, 0, 1, "the vectors of rows 0 ... in namespace \"\" do not fit their checksum"},
    {"vectors", ADD_BESIDE, 2, 0, 200, "vector block 200"},           /* rows that there never were */
    {"postings", SET_BYTE, 0, 1, 0xff, "postings of \"a\""},
    {"postings", SET_BYTE, 0, 0, 0x80, "postings of \"a\""},          /* the count is gone */
    {"postings", SET_BYTE, 0, 1, 9, "its postings are not those"},
    {"postings", REMOVE, 0, 0, 0, "its postings are not those"},
    {"postings", ADD_BESIDE, 0, 0, 200, "row 200 is not live"},
    {"sessions", REMOVE, 0, 0, 0, "counts 1 sessions, found 0"},
    {"session_records", REMOVE, 0, 0, 0, "its place 1 in session"},
    {"session_records", SET_BYTE, 0, 0, 3, "its place 1 in session"},
    {"session_records", ADD_BESIDE, 0, 0, 200, "has 4 session places for 3 records"},
    {"fields", REMOVE, 0, 0, 0, "record \"three\" in namespace \"\": the index of fields lacks its \"time\""},
    {"fields", SET_BYTE, 0, 0, 9, "says \"time\" of record number 9"}, /* one more, for LMDB keeps the old one */
    {"fields", ADD_BESIDE, 0, 0, 9, "says \"time\" of record number 3"},
    {"namespaces", CUT, 0, 8, 0, "namespace \"\" is damaged"},
    {"namespaces", SET_BYTE, 0, 32, 9, "counts 9 records, found 3"},
    {"namespaces", SET_BYTE, 0, 40, 9, "counts 9 chunks, found 4"},
    {"namespaces", SET_BYTE, 0, 16, 3, "row block 0"},                /* next_row */
    {"strengths", CUT, 1, 10, 0, "its strength cannot be read"},
    {"strengths", SET_BYTE, 1, 28, 0xff, "its strength cannot be read"},  /* unknown flags */
    {"strengths", SET_BYTE, 1, 8, 1, "does not end then"},
    {"strengths", REMOVE, 0, 0, 0, "is not in the list of those that do"},
    {"strengths", REMOVE, 1, 0, 0, "does not end then"},
    {"strengths", ADD_BESIDE, 0, 0, 9, "record number 9 in namespace \"\": it is in the list"},
    {"strengths", ADD_BESIDE, 1, 0, 9, "its strength belongs to no record"},
    {"log", REMOVE, 2, 0, 0, "does not lead to generation 3"},
    {"log", CUT, 0, 11, 0, "change log entry 1"},
};

static void damaged_value_is_named_by_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "damage%zu", i);
        make_store(name);
        do_damage(name, &damages[i]);
        mn_store *store = NULL;
        mneme_check_report report;
        seen_lines seen = {.wanted = damages[i].named};
        assert_ok(open_with(name, (mn_store_options){0}, &store, test_error()));
        assert_ok(mn_store_check(store, look_at_line, NULL, &seen, &report, test_error()));
        if (!seen.found || report.problems == 0)
            fail_msg("damage %zu in %s: \"%s\" is not among:\n%s", i, damages[i].db, damages[i].named, seen.all);
        read_everything(store);
        mn_store_close(store);
    }
}

static mneme_status forget_first(void *context, mn_write *write, mneme_error *error)
{
    (void)context;
    return mn_write_forget(write, 1, 1, error);
}

static void random_damage_never_crashes(void **state)
{
    (void)state;
    static const char *const dbs[] = {"namespaces", "ids",      "records",  "rows",           "vectors",
                                      "postings",   "sessions", "session_records", "fields", "strengths", "log"};
    uint32_t seed = 4711;
    for (int trial = 0; trial < 150; trial++) {
        char name[32];
        snprintf(name, sizeof name, "random%d", trial);
        make_store(name);
        const char *db = dbs[next_random(&seed) % (sizeof dbs / sizeof dbs[0])];
        raw r = raw_open(name, db);
        MDB_stat stat;
        assert_int_equal(mdb_stat(r.txn, r.db, &stat), 0);
        raw_close(&r);
        damage_case d = {.db = db, .kind = SET_BYTE, .byte = (unsigned char)next_random(&seed)};
        d.entry = next_random(&seed) % (unsigned)stat.ms_entries;
        /* Values here are at least 2 bytes long; the struct at the head of the longer ones is the interesting part. */
        d.at = next_random(&seed) % (strcmp(db, "records") == 0 || strcmp(db, "namespaces") == 0 ? 56 : 2);
        if (strcmp(db, "rows") == 0 || strcmp(db, "vectors") == 0) d.at = next_random(&seed) % 16;
        do_damage(name, &d);
        mn_store *store = NULL;
        mneme_check_report report;
        assert_ok(open_with(name, (mn_store_options){0}, &store, test_error()));
        read_everything(store);
        assert_ok(mn_store_check(store, NULL, NULL, NULL, &report, test_error()));
        (void)try_put(store, make_job("two", "efg", 1), NULL);
        (void)mn_store_update(store, forget_first, NULL, NULL, NULL);
        assert_ok(mn_store_check(store, NULL, NULL, NULL, &report, test_error()));
        mn_store_close(store);
    }
}

static void file_that_is_cut_short_is_named_or_read(void **state)
{
    (void)state;
    char file[1300];
    struct stat info;
    make_store("cut");
    snprintf(file, sizeof file, "%s/data.mdb", path_of("cut"));
    assert_int_equal(stat(file, &info), 0);
    for (off_t size = info.st_size - 4096; size > 0; size -= 4096) {
        assert_int_equal(truncate(file, size), 0);
        pid_t child = fork_child();
        if (child == 0) {
            mn_store *store = NULL;
            mneme_check_report report = {0};
            mneme_error error;
            mneme_status status = open_with("cut", (mn_store_options){.existing = true}, &store, &error);
            if (status == MNEME_OK) {
                read_everything(store);
                status = mn_store_check(store, NULL, NULL, NULL, &report, &error);
                (void)try_put(store, make_job("new", "abc", 1), NULL);
                mn_store_close(store);
            }
            _exit(status == MNEME_OK && report.problems == 0 ? 1 : 0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) fail_msg("cut to %lld bytes: signal %d", (long long)size, WTERMSIG(status));
    }
}

/* ---- what is not our store ---- */

static void put_raw(const char *name, const char *db, const char *key, const void *data, size_t size)
{
    raw r = raw_open(name, db);
    MDB_val k = {.mv_size = strlen(key), .mv_data = (void *)(uintptr_t)key};
    MDB_val v = {.mv_size = size, .mv_data = (void *)(uintptr_t)data};
    assert_int_equal(mdb_put(r.txn, r.db, &k, &v, 0), 0);
    raw_close(&r);
}

static void newer_format_is_refused_and_named(void **state)
{
    (void)state;
    const uint32_t newer = MN_STORE_FORMAT + 1;
    mn_store *store = NULL;
    mneme_error error;
    make_store("newer");
    put_raw("newer", "meta", "format", &newer, sizeof newer);
    assert_int_equal(open_with("newer", (mn_store_options){0}, &store, &error), MNEME_ERR_FORMAT);
    assert_null(store);
    assert_non_null(strstr(error.message, "format 3"));
    assert_int_equal(open_with("newer", (mn_store_options){.read_only = true}, &store, &error), MNEME_ERR_FORMAT);
    /* One whose other databases have other names is still known by its number. */
    assert_int_equal(mkdir(path_of("other-layout"), 0700), 0);
    put_raw("other-layout", "meta", "format", &newer, sizeof newer);
    assert_int_equal(open_with("other-layout", (mn_store_options){0}, &store, &error), MNEME_ERR_FORMAT);
}

static void store_without_its_language_is_named_as_damaged(void **state)
{
    (void)state;
    mn_store *store = NULL;
    mneme_error error = {MNEME_OK, ""};
    make_store("speechless");
    raw r = raw_open("speechless", "meta");
    MDB_val key = {.mv_size = 8, .mv_data = (void *)(uintptr_t) "language"};
    assert_int_equal(mdb_del(r.txn, r.db, &key, NULL), 0);
    raw_close(&r);
    assert_int_equal(open_with("speechless", (mn_store_options){0}, &store, &error), MNEME_ERR_DAMAGED);
    assert_non_null(strstr(error.message, "language"));
}

static void foreign_lmdb_file_is_refused_and_left_alone(void **state)
{
    (void)state;
    mn_store *store = NULL;
    const char *dbs[] = {NULL, NULL, "meta", "something"};
    const char *keys[] = {"key", "meta", "key", "format"};
    for (size_t i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "foreign%zu", i);
        assert_int_equal(mkdir(path_of(name), 0700), 0);
        put_raw(name, dbs[i], keys[i], "value", 5);
        assert_int_equal(open_with(name, (mn_store_options){0}, &store, NULL), MNEME_ERR_NOT_A_STORE);
        assert_int_equal(open_with(name, (mn_store_options){.read_only = true}, &store, NULL), MNEME_ERR_NOT_A_STORE);
        raw r = raw_open(name, dbs[i]);
        MDB_stat stat;
        assert_int_equal(mdb_stat(r.txn, r.db, &stat), 0);
        assert_int_equal(stat.ms_entries, 1);
        raw_close(&r);
    }
}

static void read_only_store_reads_and_refuses_to_write(void **state)
{
    (void)state;
    mn_store *store = NULL;
    assert_int_equal(open_with("nothing", (mn_store_options){.read_only = true}, &store, NULL), MNEME_ERR_NOT_A_STORE);
    make_store("readonly");
    assert_ok(open_with("readonly", (mn_store_options){.read_only = true}, &store, test_error()));
    assert_int_equal(try_put(store, make_job("x", "y", 1), NULL), MNEME_ERR_READ_ONLY);
    mneme_check_report report;
    assert_ok(mn_store_check(store, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
    assert_int_equal(report.records, 3);
    assert_int_equal(report.chunks, 4);
    assert_int_equal(report.vectors, 4);
    assert_int_equal(report.postings, 4 + 2 + 3); /* abcd, q in two rows, bcd */
    mn_store_close(store);
}

/* ---- refused records ---- */

static mneme_status stamp_encoder(void *context, mn_write *write, mneme_error *error)
{
    return mn_write_encoder(write, context, error);
}

static void record_that_cannot_be_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    mn_store *store = NULL;
    mn_read *read = NULL;
    char long_id[MN_ID_MAX + 2];
    memset(long_id, 'i', sizeof long_id);
    long_id[MN_ID_MAX + 1] = '\0';
    make_store("refused");
    assert_ok(open_with("refused", (mn_store_options){0}, &store, test_error()));
    put_job job = make_job("x", "abc", 1);
    job.dimension = DIM + 1;
    assert_int_equal(try_put(store, job, NULL), MNEME_ERR_DIMENSION);
    job = make_job("x", "abc", 1);
    job.past_end = 1;
    assert_int_equal(try_put(store, job, NULL), MNEME_ERR_RECORD);
    assert_int_equal(try_put(store, make_job("", "abc", 1), NULL), MNEME_ERR_RECORD);
    assert_int_equal(try_put(store, make_job(long_id, "abc", 1), NULL), MNEME_ERR_RECORD);
    job = make_job("x", "abc", 1);
    job.record.session = long_id;
    assert_int_equal(try_put(store, job, NULL), MNEME_ERR_RECORD);
    job = make_job("x", "abc", 1);
    job.record.name_space = long_id;
    assert_int_equal(try_put(store, job, NULL), MNEME_ERR_RECORD);
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_int_equal(mn_read_generation(read), 3);
    mn_read_end(read);
    long_id[MN_ID_MAX] = '\0'; /* the longest that fits */
    job = make_job(long_id, "abc", 1);
    job.record.session = job.record.name_space = long_id;
    assert_ok(try_put(store, job, test_error()));
    mn_encoder_stamp stamp = {.name = "one", .fingerprint = 1, .dimension = DIM};
    assert_ok(mn_store_update(store, stamp_encoder, &stamp, NULL, test_error()));
    assert_ok(mn_store_update(store, stamp_encoder, &stamp, NULL, test_error()));
    stamp.fingerprint = 2;
    assert_int_equal(mn_store_update(store, stamp_encoder, &stamp, NULL, NULL), MNEME_ERR_ENCODER);
    mneme_check_report report;
    assert_ok(mn_store_check(store, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
    mn_store_close(store);
}

/* ---- processes and address space ---- */

static void processes_that_create_one_store_at_once_all_get_it(void **state)
{
    (void)state;
    volatile int *started = mmap(NULL, sizeof *started, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true((const void *)started != MAP_FAILED);
    for (int trial = 0; trial < 60; trial++) {
        pid_t children[2];
        char name[32];
        snprintf(name, sizeof name, "create%d", trial);
        *started = 0;
        for (int i = 0; i < 2; i++) {
            children[i] = fork_child();
            if (children[i] != 0) continue;
            mn_store *store = NULL;
            __atomic_add_fetch(started, 1, __ATOMIC_SEQ_CST);
            while (*started < 2) continue;
            mneme_status status = open_with(name, (mn_store_options){0}, &store, NULL);
            mn_store_close(store);
            _exit(-status);
        }
        for (int i = 0; i < 2; i++) {
            int status = 1;
            waitpid(children[i], &status, 0);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
        }
    }
    munmap((void *)(uintptr_t)started, sizeof *started);
}

/* Let this process have `extra` bytes of address space more than it has now. */
static void limit_address_space(size_t extra)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu", &pages) != 1) _exit(90);
    fclose(file);
    struct rlimit limit = {.rlim_cur = pages * 4096ul + extra, .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(91);
}

/* In a child: everything is 0 or the number of the step that went wrong. */
static int fill_in_little_space(void)
{
    mn_store *store = NULL;
    mneme_error error;
    mneme_check_report report;
    char *text = malloc(1000001);
    uint32_t seed = 1; /* nothing that could be packed away */
    for (size_t i = 0; i < 1000000; i++) text[i] = (char)(33 + next_random(&seed) % 94);
    text[1000000] = '\0';
    limit_address_space(24 << 20);
    if (open_with("little", (mn_store_options){0}, &store, &error) != MNEME_OK) return 1;
    mneme_status status = MNEME_OK;
    int stored = 0;
    for (; stored < 60 && status == MNEME_OK; stored += status == MNEME_OK) {
        char id[16];
        snprintf(id, sizeof id, "l%d", stored);
        status = try_put(store, make_job(id, text, 0), &error);
    }
    if (status != MNEME_ERR_MEMORY) return 2;
    if (stored < 6) return 3;
    if (mn_store_check(store, NULL, NULL, NULL, &report, &error) != MNEME_OK) return 4;
    if (report.problems != 0 || report.records != (uint64_t)stored) return 5;
    struct rlimit none = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &none) != 0) return 6;
    if (try_put(store, make_job("later", text, 0), &error) != MNEME_OK) return 7;
    mn_store_close(store);
    free(text);
    return 0;
}

static void store_in_little_address_space_opens_and_names_its_end(void **state)
{
    (void)state;
#ifdef WITH_ADDRESS_SANITIZER
    skip();
#endif
    pid_t child = fork_child();
    if (child == 0) _exit(fill_in_little_space());
    int status = 1;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The child has little space; the parent makes the file larger than the child's map. */
static int follow_in_little_space(int go, int ready)
{
    mn_store *store = NULL;
    mneme_check_report report;
    char byte = 0;
    limit_address_space(32 << 20);
    if (open_with("follow", (mn_store_options){.map_bytes = 1 << 20}, &store, NULL) != MNEME_OK) return 1;
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1) return 2;
    if (mn_store_check(store, NULL, NULL, NULL, &report, NULL) != MNEME_OK) return 3;
    if (report.problems != 0 || report.records != 10) return 4;
    mn_store_close(store);
    return 0;
}

static void reader_follows_a_store_that_another_process_made_larger(void **state)
{
    (void)state;
#ifdef WITH_ADDRESS_SANITIZER
    skip();
#endif
    int go[2], ready[2], status = 1;
    char byte = 0, *text = malloc(400001);
    memset(text, 'v', 400000);
    text[400000] = '\0';
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork_child();
    if (child == 0) _exit(follow_in_little_space(go[0], ready[1]));
    assert_int_equal(read(ready[0], &byte, 1), 1);
    mn_store *store = NULL;
    assert_ok(open_with("follow", (mn_store_options){0}, &store, test_error()));
    for (int i = 0; i < 10; i++) {
        char id[16];
        snprintf(id, sizeof id, "f%d", i);
        assert_ok(try_put(store, make_job(id, text, 0), test_error()));
    }
    mn_store_close(store);
    assert_int_equal(write(go[1], &byte, 1), 1);
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (int i = 0; i < 2; i++) close(go[i]), close(ready[i]);
    free(text);
}

/* ---- failing allocations ---- */

/* Replace, forget and add, in one transaction. */
static mneme_status change_much(void *context, mn_write *write, mneme_error *error)
{
    (void)context;
    put_job replaced = make_job("three", "xyz xyz", 2), added = make_job("four", "abcdef", 1);
    added.record.name_space = "second";
    added.record.title = "Title";
    mneme_status status = put(write, &replaced, error);
    if (status == MNEME_OK) status = mn_write_forget(write, 1, 1, error);
    if (status == MNEME_OK) status = put(write, &added, error);
    return status == MNEME_OK ? put(write, &added, error) : status;
}

static void change_out_of_memory_leaves_all_as_before(void **state)
{
    (void)state;
    mn_store *store = NULL;
    mneme_check_report report;
    make_store("sweep");
    assert_ok(open_with("sweep", (mn_store_options){0}, &store, test_error()));
    for (size_t n = 1; n < 1000; n++) {
        uint64_t generation = 0;
        mn_alloc_fail_after(n);
        mneme_status status = mn_store_update(store, change_much, NULL, &generation, NULL);
        mn_alloc_fail_after(0);
        assert_ok(mn_store_check(store, NULL, NULL, NULL, &report, test_error()));
        assert_int_equal(report.problems, 0);
        assert_int_equal(report.records, 3);
        if (status == MNEME_OK) {
            assert_int_equal(generation, 4);
            assert_true(n > 10);
            mn_store_close(store);
            return;
        }
        assert_int_equal(status, MNEME_ERR_MEMORY);
        assert_int_equal(report.chunks, 4);
    }
    fail_msg("it never succeeded");
}

static void open_and_check_out_of_memory_say_so(void **state)
{
    (void)state;
    make_store("sweep-open");
    size_t n = 1;
    for (mneme_status status = MNEME_ERR_MEMORY; status != MNEME_OK; n++) {
        mn_store *store = NULL;
        mn_alloc_fail_after(n);
        status = open_with("sweep-open", (mn_store_options){0}, &store, NULL);
        mn_alloc_fail_after(0);
        assert_true(status == MNEME_ERR_MEMORY || status == MNEME_OK);
        assert_true((store != NULL) == (status == MNEME_OK));
        mn_store_close(store);
    }
    assert_true(n > 3);
    mn_store *store = NULL;
    assert_ok(open_with("sweep-open", (mn_store_options){0}, &store, test_error()));
    n = 1;
    for (mneme_status status = MNEME_ERR_MEMORY; status != MNEME_OK; n++) {
        mneme_check_report report;
        seen_lines seen = {0};
        mn_alloc_fail_after(n);
        status = mn_store_check(store, look_at_line, NULL, &seen, &report, NULL);
        mn_alloc_fail_after(0);
        if (report.problems) fail_msg("no memory at %zu is taken for damage: %s", n, seen.all);
        assert_true(status == MNEME_ERR_MEMORY || status == MNEME_OK);
        assert_true(n < 1000);
    }
    mn_store_close(store);
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
        cmocka_unit_test(damaged_value_is_named_by_check),
        cmocka_unit_test(random_damage_never_crashes),
        cmocka_unit_test(file_that_is_cut_short_is_named_or_read),
        cmocka_unit_test(newer_format_is_refused_and_named),
        cmocka_unit_test(store_without_its_language_is_named_as_damaged),
        cmocka_unit_test(foreign_lmdb_file_is_refused_and_left_alone),
        cmocka_unit_test(read_only_store_reads_and_refuses_to_write),
        cmocka_unit_test(record_that_cannot_be_is_refused_and_changes_nothing),
        cmocka_unit_test(processes_that_create_one_store_at_once_all_get_it),
        cmocka_unit_test(store_in_little_address_space_opens_and_names_its_end),
        cmocka_unit_test(reader_follows_a_store_that_another_process_made_larger),
        cmocka_unit_test(change_out_of_memory_leaves_all_as_before),
        cmocka_unit_test(open_and_check_out_of_memory_say_so),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
