/* test_store_compact.c -- compaction: everything that lives is there afterwards, nothing else is, and neither other
 * processes, threads, kills nor failing calls get between. */
#include "test_support.h"

#include "memstore/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DIM = 32, WORDS = 60 };

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

static int trials(int few, int many)
{
    return getenv("MNEME_TEST_LONG") ? many : few;
}

/* ---- calls that fail on demand: the n-th of those below, while armed ---- */

static atomic_int g_fail_in;    /* 0: none fails */
static atomic_bool g_disk_full; /* statvfs tells of no free block */
static atomic_int g_calls;

static bool fails(int code)
{
    atomic_fetch_add(&g_calls, 1);
    if (atomic_load(&g_fail_in) == 0 || atomic_fetch_sub(&g_fail_in, 1) != 1) return false;
    errno = code;
    return true;
}

int fsync(int fd)
{
    return fails(EIO) ? -1 : (int)syscall(SYS_fsync, fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return fails(EACCES) ? -1 : (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    return fails(ENOSPC) ? -1 : (int)syscall(SYS_mkdirat, dir, path, mode);
}

ssize_t write(int fd, const void *data, size_t size)
{
    return fails(ENOSPC) ? -1 : syscall(SYS_write, fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return fails(ENOSPC) ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
}

int fstatvfs(int fd, struct statvfs *info)
{
    (void)fd;
    int code = statvfs(g_dir, info);
    if (atomic_load(&g_disk_full)) info->f_bavail = 16;
    return code;
}

/* ---- a store, and putting into it ---- */

static int by_text(const void *a, const void *b)
{
    const mn_term *x = a, *y = b;
    size_t n = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->text, y->text, n);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* Words at spaces, each once, sorted. */
static mneme_status split_words(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                                mneme_error *error)
{
    (void)context;
    char *copy = mn_arena_copy(arena, text, size);
    mn_term *items = mn_arena_array(arena, size / 2 + 1, sizeof *items);
    *out = (mn_term_list){.items = items};
    if (!copy || !items) return mn_fail(error, MNEME_ERR_MEMORY, "out of memory (words)");
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        size_t end = at;
        while (end < size && copy[end] != ' ') end++;
        if (end > at && end - at <= MN_TERM_MAX)
            items[n++] = (mn_term){.text = copy + at, .size = (uint32_t)(end - at), .count = 1};
        at = end + 1;
    }
    out->total = n;
    qsort(items, n, sizeof *items, by_text);
    for (size_t i = 0; i < n; i++) {
        if (out->n && by_text(&items[out->n - 1], &items[i]) == 0)
            items[out->n - 1].count++;
        else
            items[out->n++] = items[i];
    }
    return MNEME_OK;
}

static mneme_status try_open(const char *name, mn_store **out)
{
    const mn_store_options options = {.map_bytes = 1 << 20, .language = "german"};
    mneme_status status = mn_store_open(path_of(name), &options, out, test_error());
    if (status == MNEME_OK) mn_store_set_analyzer(*out, split_words, NULL);
    return status;
}

static mn_store *open_store(const char *name)
{
    mn_store *store = NULL;
    assert_ok(try_open(name, &store));
    return store;
}

static void assert_sound(mn_store *store)
{
    mneme_check_report report;
    assert_ok(mn_store_check(store, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

static void unit_vector(uint32_t seed, float *out)
{
    double squares = 0, v[DIM];
    for (int i = 0; i < DIM; i++) {
        v[i] = (double)next_random(&seed) / 8388608.0 - 1.0;
        squares += v[i] * v[i];
    }
    for (int i = 0; i < DIM; i++) out[i] = (float)(v[i] / __builtin_sqrt(squares));
}

/* What one write does: records are put, those with no text are forgotten. */
typedef struct change {
    mneme_record record;
    uint32_t n_chunks, seed;
} change;

typedef struct changes {
    const change *items;
    size_t n;
} changes;

static mneme_status forget(mn_write *write, const mneme_record *record, mneme_error *error)
{
    mn_namespace space;
    uint32_t rec = 0;
    mneme_status status = mn_read_namespace(mn_write_read(write), record->name_space, &space, error);
    if (status == MNEME_OK) status = mn_read_find(mn_write_read(write), space.ns, record->id, &rec, error);
    return status == MNEME_OK ? mn_write_forget(write, space.ns, rec, error) : status;
}

static mneme_status put(mn_write *write, const change *c, mneme_error *error)
{
    mn_new_chunk chunks[8];
    float vectors[8][DIM];
    for (uint32_t i = 0; i < c->n_chunks; i++) {
        unit_vector(c->seed + i, vectors[i]);
        chunks[i] = (mn_new_chunk){.start = (uint32_t)(c->record.text_size * i / c->n_chunks),
                                   .end = (uint32_t)(c->record.text_size * (i + 1) / c->n_chunks),
                                   .vector = vectors[i]};
    }
    const mn_new_record record = {.record = &c->record,
                                  .hash = {c->seed, ~c->seed},
                                  .chunks = chunks,
                                  .n_chunks = c->n_chunks,
                                  .dimension = c->n_chunks ? DIM : 0};
    return mn_write_put(write, &record, error);
}

static mneme_status apply(void *context, mn_write *write, mneme_error *error)
{
    const changes *all = context;
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < all->n && status == MNEME_OK; i++)
        status =
            all->items[i].record.text ? put(write, &all->items[i], error) : forget(write, &all->items[i].record, error);
    return status;
}

static mneme_status try_change(mn_store *store, const change *items, size_t n, mneme_error *error)
{
    changes all = {items, n};
    return mn_store_update(store, apply, &all, NULL, error);
}

static change simple(const char *id, const char *text, uint32_t n_chunks, uint32_t seed)
{
    return (change){
        .record = {.id = id, .text = text, .text_size = text ? strlen(text) : 0}, .n_chunks = n_chunks, .seed = seed};
}

static char *random_text(uint32_t *seed, size_t n_words)
{
    char *text = malloc(n_words * 5 + 1);
    size_t size = 0;
    for (size_t i = 0; i < n_words; i++) size += (size_t)sprintf(text + size, "w%u ", next_random(seed) % WORDS);
    text[size] = '\0';
    return text;
}

/* One change of any kind: a new record, a replaced one, a forgotten one, in namespaces and sessions. */
static mneme_status write_one(mn_write *write, uint32_t *seed, int n_ids, mneme_error *error)
{
    static const char *const spaces[] = {"", "second", "third"}, *const sessions[] = {NULL, "talk", "other talk"};
    char id[16], title[20], metadata[40];
    uint32_t kind = next_random(seed) % 10;
    snprintf(id, sizeof id, "id%u", next_random(seed) % (unsigned)n_ids);
    snprintf(title, sizeof title, "w%u", next_random(seed) % WORDS);
    snprintf(metadata, sizeof metadata, "{\"n\":%u}", next_random(seed));
    size_t n_words = kind == 9 ? 15000 : next_random(seed) % 40;
    char *text = kind < 3 ? NULL : random_text(seed, n_words);
    change c = simple(id, text, text && n_words >= 8 ? next_random(seed) % 8 : 0, next_random(seed));
    c.record.name_space = spaces[next_random(seed) % 3];
    c.record.session = sessions[next_random(seed) % 3];
    c.record.title = kind == 4 ? title : NULL;
    c.record.speaker = kind == 5 ? "Ann" : NULL;
    c.record.metadata = kind == 6 ? metadata : NULL;
    c.record.source = kind == 7 ? "file.txt" : NULL;
    c.record.has_time = kind == 8;
    c.record.time_ms = kind == 8 ? (int64_t)*seed : 0;
    mneme_status status = text ? put(write, &c, error) : forget(write, &c.record, error);
    free(text);
    return !text && status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

typedef struct random_changes {
    uint32_t seed;
    int n, n_ids;
} random_changes;

static mneme_status write_some(void *context, mn_write *write, mneme_error *error)
{
    const random_changes *r = context;
    uint32_t seed = r->seed; /* the write may be run again */
    mneme_status status = MNEME_OK;
    for (int i = 0; i < r->n && status == MNEME_OK; i++) status = write_one(write, &seed, r->n_ids, error);
    return status;
}

/* n changes, in writes of up to 40. */
static void write_at_random(mn_store *store, uint32_t seed, int n)
{
    for (int done = 0; done < n;) {
        random_changes r = {.seed = next_random(&seed), .n = 1 + (int)(next_random(&seed) % 40), .n_ids = n / 2};
        if (r.n > n - done) r.n = n - done;
        assert_ok(mn_store_update(store, write_some, &r, NULL, test_error()));
        done += r.n;
    }
}

static mneme_status put_strength(void *context, mn_write *write, mneme_error *error)
{
    mn_namespace space;
    mn_record record;
    mneme_status status = mn_read_namespace(mn_write_read(write), context, &space, error);
    if (status == MNEME_OK) status = mn_read_next_record(mn_write_read(write), space.ns, 5, &record, error);
    if (status != MNEME_OK) return status;
    const mn_strength strength = {.used = true,
                                  .level = 1.5f,
                                  .half_life_days = 7,
                                  .uses = 3,
                                  .last_ms = 12345,
                                  .has_expires = true,
                                  .expires_ms = 99999};
    return mn_write_strength(write, space.ns, record.rec, &strength, error);
}

/* ---- all that a store holds, as text ---- */

static void dump_record(mn_read *read, uint32_t ns, const mn_rows *rows, const mn_vector_blocks *vectors,
                        const mn_record *r, mn_buffer *out)
{
    const char *strings[] = {r->id, r->title, r->session, r->speaker, r->metadata, r->source};
    mn_buffer_format(out, "record %u hash %llx %llx time %d %lld own %d place %u text ", r->rec,
                     (unsigned long long)r->hash[0], (unsigned long long)r->hash[1], r->has_time, (long long)r->time_ms,
                     r->own_vector, r->session_place);
    for (size_t i = 0; i < 6; i++) mn_buffer_format(out, "|%s", strings[i] ? strings[i] : "(none)");
    mn_buffer_text(out, "|");
    assert_ok(mn_read_text(read, ns, r->rec, 0, r->text_size, out, test_error()));
    for (uint32_t i = 0; i < r->n_chunks; i++) {
        const mn_row *row = mn_row_at(rows, r->first_row + i);
        assert_int_equal(row->rec, r->rec);
        mn_buffer_format(out, "\nchunk %u %u %u", row->start, row->end, row->n_terms);
        float vector[64];
        assert_true(vectors->dimension <= 64 && mn_vector_of(vectors, r->first_row + i, vector));
        for (uint32_t d = 0; d < vectors->dimension; d++) mn_buffer_format(out, " %a", (double)vector[d]);
    }
    mn_strength strength;
    assert_ok(mn_read_strength(read, ns, r->rec, &strength, test_error()));
    mn_buffer_format(out, "\nwritten %lld strength %d %g %g %u %lld %d %lld", (long long)r->written_ms, strength.used,
                     (double)strength.level, (double)strength.half_life_days, strength.uses,
                     (long long)strength.last_ms, strength.has_expires, (long long)strength.expires_ms);
    mn_record next;
    if (mn_read_session_step(read, ns, r, 1, &next, NULL) == MNEME_OK) mn_buffer_format(out, "\nthen %s", next.id);
    mn_buffer_text(out, "\n");
}

static void dump_postings(mn_read *read, uint32_t ns, const mn_rows *rows, mn_arena *arena, mn_buffer *out)
{
    for (int w = 0; w < WORDS; w++) {
        char word[8];
        mn_posting *postings = NULL;
        size_t n = 0;
        snprintf(word, sizeof word, "w%d", w);
        assert_ok(mn_read_postings(read, ns, word, strlen(word), arena, &postings, &n, test_error()));
        mn_buffer_format(out, "%s:", word);
        for (size_t i = 0; i < n; i++) {
            const mn_row *row = mn_row_at(rows, postings[i].row);
            mn_buffer_format(out, " %u/%u x%u", row->rec, row->start, postings[i].count);
        }
        mn_buffer_text(out, "\n");
    }
}

/* Row numbers are left out: they change. Owned (free). */
static char *dump(mn_store *store)
{
    mn_read *read = NULL;
    mn_arena arena = {0};
    mn_buffer out = {0};
    mn_namespace *spaces = NULL;
    size_t n = 0;
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_ok(mn_read_namespaces(read, &arena, &spaces, &n, test_error()));
    mn_buffer_format(&out, "language %s\n", mn_store_language(store));
    for (size_t i = 0; i < n; i++) {
        const mn_namespace *s = &spaces[i];
        mn_rows rows;
        mn_vector_blocks vectors;
        mn_record record;
        mn_buffer_format(&out, "namespace %s %u dimension %u own %d next %u: %llu %llu %llu %llu\n", s->name, s->ns,
                         s->dimension, s->own_vectors, s->next_rec, (unsigned long long)s->n_records,
                         (unsigned long long)s->n_chunks, (unsigned long long)s->n_terms,
                         (unsigned long long)s->n_sessions);
        assert_ok(mn_read_rows(read, s->ns, &arena, &rows, test_error()));
        assert_ok(mn_read_vectors(read, s->ns, &arena, &vectors, test_error()));
        for (uint32_t rec = 1; mn_read_next_record(read, s->ns, rec, &record, NULL) == MNEME_OK; rec = record.rec + 1)
            dump_record(read, s->ns, &rows, &vectors, &record, &out);
        dump_postings(read, s->ns, &rows, &arena, &out);
    }
    assert_false(out.failed);
    mn_read_end(read);
    mn_arena_free(&arena);
    return out.data;
}

static uint32_t next_row_of(mn_store *store, const char *name)
{
    mn_read *read = NULL;
    mn_namespace space;
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_ok(mn_read_namespace(read, name, &space, test_error()));
    assert_true(space.next_row >= space.n_chunks);
    mn_read_end(read);
    return space.next_row - (uint32_t)space.n_chunks;
}

static off_t data_size(const char *name)
{
    char file[1300];
    struct stat info;
    snprintf(file, sizeof file, "%s/data.mdb", path_of(name));
    assert_int_equal(stat(file, &info), 0);
    return info.st_size;
}

static void assert_no_leftovers(const char *name)
{
    size_t n = 0;
    DIR *dir = opendir(path_of(name));
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] == '.') continue;
        if (strcmp(entry->d_name, "data.mdb") != 0 && strcmp(entry->d_name, "lock.mdb") != 0)
            fail_msg("%s lies in the store", entry->d_name);
        n++;
    }
    closedir(dir);
    assert_int_equal(n, 2);
}

/* ---- content ---- */

static bool count_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    assert_true(done <= total);
    assert_string_equal(unit, "records");
    ++*(int *)context;
    return true;
}

static void compacted_store_holds_the_same_and_no_dead_row(void **state)
{
    (void)state;
    mn_store *store = open_store("same");
    write_at_random(store, 5, 1000);
    assert_ok(mn_store_update(store, put_strength, "second", NULL, test_error()));
    char *before = dump(store);
    assert_non_null(strstr(before, "strength 1 1.5 7 3 12345 1 99999"));
    off_t size = data_size("same");
    assert_true(next_row_of(store, "") > 0);
    for (int round = 0; round < 3; round++) {
        mneme_compact_result result;
        int calls = 0;
        assert_ok(mn_store_compact(store, NULL, count_progress, &calls, &result, test_error()));
        assert_true(calls >= 3);
        char *after = dump(store);
        assert_string_equal(after, before);
        free(after);
        assert_int_equal(next_row_of(store, "") + next_row_of(store, "second") + next_row_of(store, "third"), 0);
        assert_int_equal(result.bytes_before, size);
        size = data_size("same");
        assert_int_equal(result.bytes_after, size);
        if (round == 0) assert_true(result.bytes_after < result.bytes_before);
        assert_no_leftovers("same");
        assert_sound(store);
    }
    mn_store_close(store);
    store = open_store("same");
    char *again = dump(store);
    assert_string_equal(again, before);
    /* and it goes on */
    write_at_random(store, 6, 200);
    assert_sound(store);
    mn_store_close(store);
    free(again);
    free(before);
}

static void compaction_of_an_empty_store_and_an_emptied_namespace_works(void **state)
{
    (void)state;
    mn_store *store = open_store("empty");
    mneme_compact_result result;
    assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
    assert_int_equal(result.records, 0);
    const change add = simple("a", "w1 w2", 1, 3), drop = simple("a", NULL, 0, 0);
    assert_ok(try_change(store, &add, 1, test_error()));
    assert_ok(try_change(store, &drop, 1, test_error()));
    assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
    assert_sound(store);
    mn_read *read = NULL;
    mn_namespace space;
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_int_equal(space.dimension, DIM);
    assert_int_equal(space.next_rec, 2); /* numbers are not used twice */
    mn_read_end(read);
    mn_store_close(store);
    const mn_store_options options = {.read_only = true};
    assert_ok(mn_store_open(path_of("empty"), &options, &store, test_error()));
    assert_int_equal(mn_store_compact(store, NULL, NULL, NULL, &result, NULL), MNEME_ERR_READ_ONLY);
    mn_store_close(store);
}

static void change_log_after_compaction_says_that_all_is_new(void **state)
{
    (void)state;
    mn_store *store = open_store("log");
    write_at_random(store, 8, 40);
    mneme_compact_result result;
    mn_read *read = NULL;
    mn_arena arena = {0};
    mn_change *items = NULL;
    size_t n = 0;
    bool complete = false;
    assert_ok(mn_read_begin(store, &read, test_error()));
    uint64_t old = mn_read_generation(read);
    mn_read_end(read);
    assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
    const change add = simple("new", "w1 w2", 1, 3);
    assert_ok(try_change(store, &add, 1, test_error()));
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_int_equal(mn_read_generation(read), old + 2);
    for (uint64_t since = 0; since <= old; since++) {
        assert_ok(mn_read_changes(read, since, &arena, &items, &n, &complete, test_error()));
        assert_false(complete);
    }
    assert_ok(mn_read_changes(read, old + 1, &arena, &items, &n, &complete, test_error()));
    assert_true(complete);
    assert_int_equal(n, 1);
    assert_false(items[0].removed);
    mn_read_end(read);
    mn_arena_free(&arena);
    mn_store_close(store);
}

/* Does any file of the store hold these bytes? */
static bool store_holds(const char *name, const void *bytes, size_t size)
{
    bool found = false;
    DIR *dir = opendir(path_of(name));
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char file[1600];
        mn_buffer content = {0};
        snprintf(file, sizeof file, "%s/%s", path_of(name), entry->d_name);
        FILE *in = entry->d_name[0] == '.' ? NULL : fopen(file, "rb");
        if (!in) continue;
        char part[65536];
        for (size_t n; (n = fread(part, 1, sizeof part, in)) > 0;) mn_buffer_append(&content, part, n);
        fclose(in);
        if (content.size && memmem(content.data, content.size, bytes, size)) found = true;
        mn_buffer_free(&content);
    }
    closedir(dir);
    return found;
}

/* What the store keeps for one part of a record. */
static void stored_bytes(mn_store *store, const char *id, uint32_t part, mn_buffer *out)
{
    mn_read *read = NULL;
    mn_namespace space;
    uint32_t rec = 0;
    MDB_val value;
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_ok(mn_read_find(read, space.ns, id, &rec, test_error()));
    key_bytes key = key_numbers(3, space.ns, rec, part);
    assert_ok(mn_db_get(read, DB_RECORDS, &key, &value, test_error()));
    mn_buffer_append(out, value.mv_data, value.mv_size);
    mn_read_end(read);
}

static bool any_of_it_is_stored(const char *name, const mn_buffer *bytes)
{
    for (size_t at = 0, step = bytes->size / 20 + 1; at + 16 <= bytes->size; at += step)
        if (store_holds(name, bytes->data + at, 16)) return true;
    return false;
}

static void forgotten_text_and_vectors_are_in_no_file_after_compaction(void **state)
{
    (void)state;
    mn_store *store = open_store("forgotten");
    write_at_random(store, 9, 300);
    uint32_t seed = 4;
    char *secret = random_text(&seed, 40000);
    change kept = simple("kept", "the words that are kept", 1, 77);
    change gone[] = {simple("short", "unspeakable words", 1, 1234567), simple("long", secret, 4, 7654321)};
    assert_ok(try_change(store, &kept, 1, test_error()));
    assert_ok(try_change(store, gone, 2, test_error()));
    mn_buffer parts[4] = {{0}};
    stored_bytes(store, "short", 0, &parts[0]);
    for (uint32_t part = 0; part < 3; part++) stored_bytes(store, "long", part, &parts[1 + part]);
    float vectors[2][DIM], kept_vector[DIM];
    unit_vector(1234567, vectors[0]);
    unit_vector(7654321, vectors[1]);
    unit_vector(77, kept_vector);
    for (int i = 0; i < 4; i++) assert_true(any_of_it_is_stored("forgotten", &parts[i]));
    assert_true(store_holds("forgotten", vectors[0], 16) && store_holds("forgotten", vectors[1], 16));
    gone[0].record.text = gone[1].record.text = NULL;
    assert_ok(try_change(store, gone, 2, test_error()));
    mneme_compact_result result;
    assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
    assert_true(store_holds("forgotten", kept_vector, 16));
    assert_false(store_holds("forgotten", "unspeakable", 11));
    for (int i = 0; i < 4; i++) {
        assert_false(any_of_it_is_stored("forgotten", &parts[i]));
        mn_buffer_free(&parts[i]);
    }
    for (size_t at = 0; at + 2 <= DIM; at += 2)
        assert_false(store_holds("forgotten", vectors[0] + at, 8) || store_holds("forgotten", vectors[1] + at, 8));
    mn_store_close(store);
    free(secret);
}

static void forgotten_text_is_not_in_the_dictionary_after_compaction(void **state)
{
    (void)state;
    enum { EACH = 900 };
    mn_store *store = open_store("dictionary");
    uint32_t seed = 21;
    static change all[2 * EACH];
    static char ids[2 * EACH][16], texts[2 * EACH][200];
    for (int i = 0; i < 2 * EACH; i++) {
        char *words = random_text(&seed, 12);
        snprintf(ids[i], sizeof ids[i], "%c%d", i % 2 ? 'k' : 'g', i);
        snprintf(texts[i], sizeof texts[i], "%s %s",
                 i % 2 ? "these ordinary words stay" : "unspeakable names of things", words);
        all[i] = simple(ids[i], texts[i], 0, 1);
        free(words);
    }
    assert_ok(try_change(store, all, 2 * EACH, test_error()));
    mneme_compact_result result;
    assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
    assert_true(store_holds("dictionary", "unspeakable names", 17)); /* once, in the dictionary */
    for (size_t i = 0; i < EACH; i++) all[i] = simple(ids[2 * i], NULL, 0, 0);
    assert_ok(try_change(store, all, EACH, test_error()));
    char *before = dump(store);
    assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
    assert_true(store_holds("dictionary", "ordinary words", 14));
    for (size_t at = 0; at < 6; at++) assert_false(store_holds("dictionary", "unspeakable" + at, 5));
    char *after = dump(store);
    assert_string_equal(after, before);
    mn_store_close(store);
    free(after);
    free(before);
}

/* What is copied gets a checksum of its own: damage that is not refused would be hidden for good. */
static void compaction_of_damaged_vectors_is_refused(void **state)
{
    (void)state;
    mn_store *store = open_store("flipped");
    const change add = simple("one", "w1 w2", 1, 5);
    assert_ok(try_change(store, &add, 1, test_error()));
    mn_store_close(store);
    float vector[DIM];
    unit_vector(5, vector);
    char file[1600];
    snprintf(file, sizeof file, "%s/data.mdb", path_of("flipped"));
    FILE *data = fopen(file, "r+b");
    static char content[1 << 20];
    size_t size = fread(content, 1, sizeof content, data);
    char *at = memmem(content, size, vector, sizeof vector);
    assert_non_null(at);
    fseek(data, at - content + 2, SEEK_SET);
    fputc(at[2] ^ 1, data);
    fclose(data);
    store = open_store("flipped");
    mneme_compact_result result;
    mneme_error error;
    assert_int_equal(mn_store_compact(store, NULL, NULL, NULL, &result, &error), MNEME_ERR_DAMAGED);
    assert_non_null(strstr(error.message, "the checksum of the vectors from row 0"));
    mn_store_close(store);
}

/* ---- failures ---- */

static bool cancel(void *context, uint64_t done, uint64_t total, const char *unit)
{
    (void)done;
    (void)total;
    (void)unit;
    return --*(int *)context > 0;
}

static void cancelled_compaction_and_a_full_disk_leave_the_store_as_it_was(void **state)
{
    (void)state;
    mn_store *store = open_store("cancelled");
    write_at_random(store, 10, 200);
    char *before = dump(store);
    mneme_compact_result result;
    mneme_error error;
    int calls = 2;
    assert_int_equal(mn_store_compact(store, NULL, cancel, &calls, &result, &error), MNEME_ERR_CANCELLED);
    assert_no_leftovers("cancelled");
    atomic_store(&g_disk_full, true);
    assert_int_equal(mn_store_compact(store, NULL, NULL, NULL, &result, &error), MNEME_ERR_DISK_FULL);
    assert_non_null(strstr(error.message, "free disk space"));
    atomic_store(&g_disk_full, false);
    assert_no_leftovers("cancelled");
    char *after = dump(store);
    assert_string_equal(after, before);
    free(after);
    free(before);
    mn_store_close(store);
}

static void any_failing_call_leaves_the_old_content_or_the_new(void **state)
{
    (void)state;
    mn_store *store = open_store("calls");
    write_at_random(store, 11, 120);
    char *before = dump(store);
    mneme_compact_result result;
    atomic_store(&g_calls, 0);
    assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
    int n = atomic_load(&g_calls);
    assert_true(n > 5);
    for (int i = 1; i <= n; i++) {
        atomic_store(&g_fail_in, i);
        mneme_error error = {MNEME_OK, ""};
        mneme_status status = mn_store_compact(store, NULL, NULL, NULL, &result, &error);
        bool reached = atomic_exchange(&g_fail_in, 0) <= 0;
        assert_true(!reached || status != MNEME_OK || i == n); /* the last: the directory, when opened anew */
        if (status != MNEME_OK) assert_true(strlen(error.message) > 0);
        char *after = dump(store);
        assert_string_equal(after, before);
        free(after);
        const change add = simple("a", "w1 w2 w3", 1, 3), drop = simple("a", NULL, 0, 0);
        assert_ok(try_change(store, &add, 1, test_error()));
        assert_ok(try_change(store, &drop, 1, test_error()));
        free(before);
        before = dump(store);
    }
    assert_sound(store);
    mn_store_close(store);
    store = open_store("calls"); /* which removes what a failed fsync of the directory left */
    assert_no_leftovers("calls");
    mn_store_close(store);
    free(before);
}

static void compaction_out_of_memory_leaves_the_store_as_it_was(void **state)
{
    (void)state;
    mn_store *store = open_store("memory");
    write_at_random(store, 12, 30);
    char *before = dump(store);
    for (size_t n = 1;; n++) {
        mneme_compact_result result;
        mn_alloc_fail_after(n);
        mneme_status status = mn_store_compact(store, NULL, NULL, NULL, &result, NULL);
        mn_alloc_fail_after(0);
        char *after = dump(store);
        assert_string_equal(after, before);
        free(after);
        if (status == MNEME_OK) break;
        assert_int_equal(status, MNEME_ERR_MEMORY);
        assert_no_leftovers("memory");
    }
    assert_sound(store);
    mn_store_close(store);
    free(before);
}

/* ---- other processes ---- */

static pid_t fork_child(void)
{
    pid_t child = fork();
    if (child != 0) return child;
    const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) signal(crashes[i], SIG_DFL);
    return 0;
}

/* Puts pairs of records "x<name>-<i>", "y<name>-<i>", each pair in one write, and tells of each through `out`. */
static void put_pairs(const char *store_name, int name, int out)
{
    mn_store *store = NULL;
    if (try_open(store_name, &store) != MNEME_OK) _exit(1);
    for (int i = 0;; i++) {
        char ids[2][32];
        snprintf(ids[0], sizeof ids[0], "x%d-%d", name, i);
        snprintf(ids[1], sizeof ids[1], "y%d-%d", name, i);
        const change pair[] = {simple(ids[0], "w1 w2 w3 w4 words of a pair", 2, (uint32_t)i),
                               simple(ids[1], "w5 w6 of its other half", 1, (uint32_t)i)};
        if (try_change(store, pair, 2, NULL) != MNEME_OK) _exit(2);
        if (syscall(SYS_write, out, &i, sizeof i) != sizeof i) _exit(0);
    }
}

/* Reads until told to stop: each view holds whole pairs only, and none is older than the one before. (By more than one
 * generation: LMDB writes the meta page before it publishes the transaction's number, and a reader that was held up
 * between looking at the number and at the page may get the next content early.) */
static void read_pairs(const char *store_name, int stop)
{
    mn_store *store = NULL;
    const mn_store_options options = {.read_only = true};
    if (mn_store_open(path_of(store_name), &options, &store, NULL) != MNEME_OK) _exit(1);
    uint64_t generation = 0;
    char byte;
    while (read(stop, &byte, 1) != 1) { /* not blocking */
        mn_read *view = NULL;
        mn_namespace space;
        mn_record record;
        mneme_error error = {MNEME_OK, ""};
        if (mn_read_begin(store, &view, &error) != MNEME_OK) {
            fprintf(stderr, "reader: %s\n", error.message);
            _exit(2);
        }
        if (mn_read_generation(view) + 1 < generation) _exit(3);
        generation = mn_read_generation(view);
        if (mn_read_namespace(view, "", &space, NULL) != MNEME_OK) _exit(4);
        uint64_t n = 0;
        for (uint32_t rec = 1; mn_read_next_record(view, space.ns, rec, &record, NULL) == MNEME_OK;
             rec = record.rec + 1) {
            char other[64];
            uint32_t found = 0;
            n++;
            snprintf(other, sizeof other, "%c%s", record.id[0] == 'x' ? 'y' : 'x', record.id + 1);
            if (strchr("xy", record.id[0]) && mn_read_find(view, space.ns, other, &found, NULL) != MNEME_OK) _exit(5);
        }
        if (n != space.n_records) _exit(6);
        mn_read_end(view);
    }
    mn_store_close(store);
    _exit(0);
}

typedef struct child {
    pid_t pid;
    int pipe; /* a writer's: what it tells; a reader's: a byte stops it */
    int last;
} child;

static child start_writer(const char *store_name, int name)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    child c = {.pid = fork_child(), .pipe = pipes[0], .last = -1};
    if (c.pid == 0) {
        close(pipes[0]);
        put_pairs(store_name, name, pipes[1]);
    }
    close(pipes[1]);
    fcntl(c.pipe, F_SETFL, O_NONBLOCK);
    return c;
}

static child start_reader(const char *store_name)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    child c = {.pid = fork_child(), .pipe = pipes[1]};
    if (c.pid == 0) {
        close(pipes[1]);
        fcntl(pipes[0], F_SETFL, O_NONBLOCK);
        read_pairs(store_name, pipes[0]);
    }
    close(pipes[0]);
    return c;
}

static void hear(child *writer)
{
    int value;
    while (read(writer->pipe, &value, sizeof value) == sizeof value) writer->last = value;
}

static void kill_child(child *c)
{
    kill(c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
}

static void assert_pairs(mn_store *store, int name, int last)
{
    mn_read *view = NULL;
    mn_namespace space;
    assert_ok(mn_read_begin(store, &view, test_error()));
    assert_ok(mn_read_namespace(view, "", &space, test_error()));
    for (int i = 0; i <= last; i++) {
        char id[32];
        uint32_t rec = 0;
        snprintf(id, sizeof id, "x%d-%d", name, i);
        assert_ok(mn_read_find(view, space.ns, id, &rec, test_error()));
        id[0] = 'y';
        assert_ok(mn_read_find(view, space.ns, id, &rec, test_error()));
    }
    mn_read_end(view);
}

static void prepare(const char *name)
{
    mn_store *store = open_store(name);
    const change add = simple("first", "w1 w2", 1, 3);
    assert_ok(try_change(store, &add, 1, test_error()));
    mn_store_close(store);
}

static void compactions_under_writers_and_readers_lose_nothing(void **state)
{
    (void)state;
    enum { WRITERS = 2, READERS = 2 };
    child writers[WRITERS], readers[READERS];
    prepare("busy");
    for (int i = 0; i < WRITERS; i++) writers[i] = start_writer("busy", i);
    for (int i = 0; i < READERS; i++) readers[i] = start_reader("busy");
    mn_store *store = open_store("busy");
    uint32_t seed = 3;
    int n = trials(25, 300);
    for (int round = 0; round < n; round++) {
        mneme_compact_result result;
        const change add = simple("own", "w7 w8 w9", 1, (uint32_t)round);
        assert_ok(try_change(store, &add, 1, test_error()));
        usleep(next_random(&seed) % 20000);
        assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
        for (int i = 0; i < WRITERS; i++) hear(&writers[i]);
        if (round % 5 != 4) continue;
        /* A writer that is killed while others wait for its lock; a new one takes its place. */
        int victim = round / 5 % WRITERS;
        kill_child(&writers[victim]);
        hear(&writers[victim]);
        assert_pairs(store, victim, writers[victim].last);
        close(writers[victim].pipe);
        mn_store_close(store); /* not carried over fork */
        writers[victim] = start_writer("busy", victim);
        store = open_store("busy");
    }
    for (int i = 0; i < WRITERS; i++) {
        for (int wait = 0; wait < 1000 && writers[i].last < 0; wait++) {
            usleep(10000);
            hear(&writers[i]);
        }
        assert_true(writers[i].last >= 0);
        kill_child(&writers[i]);
        hear(&writers[i]);
        assert_pairs(store, i, writers[i].last);
        close(writers[i].pipe);
    }
    for (int i = 0; i < READERS; i++) {
        int status = -1;
        assert_int_equal(syscall(SYS_write, readers[i].pipe, "", 1), 1);
        waitpid(readers[i].pid, &status, 0);
        close(readers[i].pipe);
        assert_int_equal(status, 0);
    }
    assert_sound(store);
    mn_store_close(store);
    assert_no_leftovers("busy");
}

/* Compacts over and over. */
static void compact_until_killed(const char *name)
{
    mn_store *store = NULL;
    mneme_compact_result result;
    if (try_open(name, &store) != MNEME_OK) _exit(1);
    while (mn_store_compact(store, NULL, NULL, NULL, &result, NULL) == MNEME_OK) continue;
    _exit(2);
}

static void compactor_killed_at_random_loses_nothing(void **state)
{
    (void)state;
    prepare("killed");
    mn_store *store = open_store("killed");
    write_at_random(store, 13, 300);
    mn_store_close(store);
    uint32_t seed = 17;
    int n = trials(10, 300);
    child writer = start_writer("killed", 0);
    for (int i = 0; i < n; i++) {
        pid_t compactor = fork_child();
        if (compactor == 0) compact_until_killed("killed");
        usleep(2000 + next_random(&seed) % 80000);
        hear(&writer);
        int acknowledged = writer.last, status = 0;
        assert_int_equal(waitpid(compactor, &status, WNOHANG), 0);
        kill(compactor, SIGKILL);
        waitpid(compactor, NULL, 0);
        store = open_store("killed");
        assert_pairs(store, 0, acknowledged);
        if (i % 4 == 0) assert_sound(store);
        mn_store_close(store);
    }
    kill_child(&writer);
    hear(&writer);
    close(writer.pipe);
    assert_true(writer.last > 0);
    store = open_store("killed");
    assert_pairs(store, 0, writer.last);
    assert_sound(store);
    assert_no_leftovers("killed");
    mn_store_close(store);
}

/* ---- threads of one process ---- */

typedef struct worker {
    mn_store *store;
    atomic_bool *stop;
    int name, last;
    bool failed;
} worker;

static void *write_in_thread(void *context)
{
    worker *w = context;
    for (int i = 0; !atomic_load(w->stop); i++) {
        char ids[2][32];
        snprintf(ids[0], sizeof ids[0], "x%d-%d", w->name, i);
        snprintf(ids[1], sizeof ids[1], "y%d-%d", w->name, i);
        const change pair[] = {simple(ids[0], "w1 w2 w3", 1, (uint32_t)i), simple(ids[1], "w5 w6", 1, (uint32_t)i)};
        if (try_change(w->store, pair, 2, NULL) != MNEME_OK) w->failed = true;
        w->last = i;
    }
    return NULL;
}

static void *read_in_thread(void *context)
{
    worker *w = context;
    uint64_t generation = 0;
    while (!atomic_load(w->stop)) {
        mn_read *view = NULL;
        mn_namespace space;
        if (mn_read_begin(w->store, &view, NULL) != MNEME_OK) {
            w->failed = true;
            continue;
        }
        if (mn_read_generation(view) + 1 < generation) w->failed = true;
        generation = mn_read_generation(view);
        if (mn_read_namespace(view, "", &space, NULL) != MNEME_OK || space.n_records % 2 != 1) w->failed = true;
        mn_read_end(view);
    }
    return NULL;
}

static void threads_go_on_while_another_compacts(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    prepare("threads");
    mn_store *store = open_store("threads");
    atomic_bool stop = false;
    worker workers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.store = store, .stop = &stop, .name = i, .last = -1};
        pthread_create(&threads[i], NULL, i < 2 ? write_in_thread : read_in_thread, &workers[i]);
    }
    int n = trials(30, 300);
    for (int round = 0; round < n; round++) {
        mneme_compact_result result;
        assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
        usleep(3000);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(workers[i].failed);
        if (i < 2) assert_pairs(store, i, workers[i].last);
    }
    assert_sound(store);
    mn_store_close(store);
}

static void store_stays_the_same_when_the_process_changes_its_folder(void **state)
{
    (void)state;
    char here[1024];
    assert_non_null(getcwd(here, sizeof here));
    prepare("one");
    assert_int_equal(mkdir(path_of("away"), 0700), 0);
    prepare("away/one");
    assert_int_equal(chdir(g_dir), 0);
    const mn_store_options options = {.existing = true};
    mn_store *store = NULL;
    assert_ok(mn_store_open("one", &options, &store, test_error()));
    mn_store_set_analyzer(store, split_words, NULL);
    assert_int_equal(chdir("away"), 0);
    const change add = simple("mark", "w1 w2", 1, 3);
    mneme_compact_result result;
    assert_ok(try_change(store, &add, 1, test_error()));
    assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
    assert_int_equal(result.records, 2);
    char *text = dump(store);
    assert_non_null(strstr(text, "|mark|"));
    free(text);
    mn_store_close(store);
    assert_int_equal(chdir(here), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compacted_store_holds_the_same_and_no_dead_row),
        cmocka_unit_test(compaction_of_an_empty_store_and_an_emptied_namespace_works),
        cmocka_unit_test(change_log_after_compaction_says_that_all_is_new),
        cmocka_unit_test(forgotten_text_and_vectors_are_in_no_file_after_compaction),
        cmocka_unit_test(forgotten_text_is_not_in_the_dictionary_after_compaction),
        cmocka_unit_test(compaction_of_damaged_vectors_is_refused),
        cmocka_unit_test(cancelled_compaction_and_a_full_disk_leave_the_store_as_it_was),
        cmocka_unit_test(any_failing_call_leaves_the_old_content_or_the_new),
        cmocka_unit_test(compaction_out_of_memory_leaves_the_store_as_it_was),
        cmocka_unit_test(compactions_under_writers_and_readers_lose_nothing),
        cmocka_unit_test(compactor_killed_at_random_loses_nothing),
        cmocka_unit_test(threads_go_on_while_another_compacts),
        cmocka_unit_test(store_stays_the_same_when_the_process_changes_its_folder),
    };
    g_dir = test_make_dir();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_remove_dir(g_dir);
    return failed;
}
