/* test_store.c -- the store against plain models of what it should hold: round trips, blocks, postings, growth,
 * processes, damage. */
#include "test_support.h"

#include "memstore/store.h"

#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *g_dir;

static const char *path_of(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    return path;
}

/* Words at spaces, each once, sorted. */
static int by_text(const void *a, const void *b)
{
    const mn_term *x = a, *y = b;
    size_t n = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->text, y->text, n);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

static mneme_status split_words(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out, mneme_error *error)
{
    (void)context;
    char *copy = mn_arena_copy(arena, text, size);
    mn_term *items = mn_arena_array(arena, size + 1, sizeof *items);
    *out = (mn_term_list){.items = items};
    if (!copy || !items) return MNEME_ERR_MEMORY;
    (void)error;
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        size_t end = at;
        while (end < size && copy[end] != ' ') end++;
        if (end > at && end - at <= MN_TERM_MAX) items[n++] = (mn_term){.text = copy + at, .size = (uint32_t)(end - at), .count = 1};
        at = end + 1;
    }
    out->total = n;
    qsort(items, n, sizeof *items, by_text);
    for (size_t i = 0; i < n; i++) {
        if (out->n && by_text(&items[out->n - 1], &items[i]) == 0) items[out->n - 1].count++;
        else items[out->n++] = items[i];
    }
    return MNEME_OK;
}

static mneme_status open_at(const char *name, uint64_t map_bytes, mn_store **out, mneme_error *error)
{
    const mn_store_options options = {.map_bytes = map_bytes, .language = "english"};
    mneme_status status = mn_store_open(path_of(name), &options, out, error);
    if (status == MNEME_OK) mn_store_set_analyzer(*out, split_words, NULL);
    return status;
}

static mn_store *open_store(const char *name)
{
    mn_store *store = NULL;
    assert_ok(open_at(name, 0, &store, test_error()));
    return store;
}

static void assert_sound(mn_store *store)
{
    mneme_check_report report;
    assert_ok(mn_store_check(store, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

/* ---- putting, in one call ---- */

enum { DIM = 4 };

typedef struct job {
    mneme_record record;
    mn_new_chunk chunks[8];
    float vectors[8][DIM];
    uint32_t n_chunks;
    uint32_t forget_ns, forget_rec; /* rec > 0: forget instead */
} job;

static void unit_vector(uint32_t seed, float *out)
{
    double squares = 0, v[DIM];
    for (int i = 0; i < DIM; i++) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = (double)(seed >> 8) / 8388608.0 - 1.0;
        squares += v[i] * v[i];
    }
    for (int i = 0; i < DIM; i++) out[i] = (float)(v[i] / __builtin_sqrt(squares));
}

/* A record whose text is cut into n chunks of equal length. */
static job make_job(const char *id, const char *text, uint32_t n_chunks, uint32_t seed)
{
    job j = {.record = {.id = id, .text = text, .text_size = strlen(text)}, .n_chunks = n_chunks};
    for (uint32_t i = 0; i < n_chunks; i++) {
        j.chunks[i].start = (uint32_t)(j.record.text_size * i / n_chunks);
        j.chunks[i].end = (uint32_t)(j.record.text_size * (i + 1) / n_chunks);
        unit_vector(seed + i, j.vectors[i]);
    }
    return j;
}

typedef struct batch {
    job *jobs;
    size_t n;
} batch;

static mneme_status run_jobs(void *context, mn_write *write, mneme_error *error)
{
    batch *b = context;
    for (size_t i = 0; i < b->n; i++) {
        job *j = &b->jobs[i];
        mneme_status status;
        if (j->forget_rec) {
            status = mn_write_forget(write, j->forget_ns, j->forget_rec, error);
        } else {
            for (uint32_t c = 0; c < j->n_chunks; c++) j->chunks[c].vector = j->vectors[c];
            const mn_new_record record = {.record = &j->record, .hash = {1, 2}, .chunks = j->chunks, .n_chunks = j->n_chunks, .dimension = j->n_chunks ? DIM : 0};
            status = mn_write_put(write, &record, error);
        }
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

static void commit(mn_store *store, job *jobs, size_t n)
{
    batch b = {jobs, n};
    assert_ok(mn_store_update(store, run_jobs, &b, NULL, test_error()));
}

static mn_read *begin_read(mn_store *store)
{
    mn_read *read = NULL;
    assert_ok(mn_read_begin(store, &read, test_error()));
    return read;
}

/* ---- tests ---- */

static void record_put_reads_back_with_every_field(void **state)
{
    (void)state;
    mn_store *store = open_store("fields");
    job j = make_job("id-1", "alpha beta gamma delta", 2, 1);
    j.record.name_space = "space";
    j.record.title = "Title";
    j.record.session = "s";
    j.record.speaker = "Ann";
    j.record.metadata = "{\"a\":1}";
    j.record.source = "f.txt";
    j.record.has_time = true;
    j.record.time_ms = -5;
    commit(store, &j, 1);
    mn_store_close(store);
    store = open_store("fields");
    mn_read *read = begin_read(store);
    mn_namespace space;
    mn_record r;
    uint32_t rec = 0;
    assert_ok(mn_read_namespace(read, "space", &space, test_error()));
    assert_int_equal(space.n_records, 1);
    assert_int_equal(space.n_chunks, 2);
    assert_ok(mn_read_find(read, space.ns, "id-1", &rec, test_error()));
    assert_ok(mn_read_record(read, space.ns, rec, &r, test_error()));
    assert_string_equal(r.id, "id-1");
    assert_string_equal(r.title, "Title");
    assert_string_equal(r.session, "s");
    assert_string_equal(r.speaker, "Ann");
    assert_string_equal(r.metadata, "{\"a\":1}");
    assert_string_equal(r.source, "f.txt");
    assert_true(r.has_time && r.time_ms == -5 && r.hash[0] == 1 && r.hash[1] == 2);
    mn_buffer text = {0};
    assert_ok(mn_read_text(read, space.ns, rec, 6, 10, &text, test_error()));
    assert_string_equal(text.data, "beta");
    mn_buffer_free(&text);
    assert_int_equal(mn_read_namespace(read, "other", &space, NULL), MNEME_ERR_NOT_FOUND);
    mn_read_end(read);
    assert_sound(store);
    struct stat info;
    assert_int_equal(stat(path_of("fields"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    mn_store_close(store);
}

static void text_of_any_length_reads_back_by_ranges(void **state)
{
    (void)state;
    mn_store *store = open_store("texts");
    const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *text = malloc(sizes[i] + 1), id[16];
        for (size_t at = 0; at < sizes[i]; at++) text[at] = (char)('a' + at * 7 % 26);
        text[sizes[i]] = '\0';
        snprintf(id, sizeof id, "t%zu", i);
        job j = make_job(id, text, 0, 1);
        commit(store, &j, 1);
        mn_read *read = begin_read(store);
        mn_namespace space;
        uint32_t rec = 0, seed = 9;
        assert_ok(mn_read_namespace(read, "", &space, test_error()));
        assert_ok(mn_read_find(read, space.ns, id, &rec, test_error()));
        for (int trial = 0; trial < 50; trial++) {
            seed = seed * 1664525u + 1013904223u;
            size_t a = sizes[i] ? (seed >> 4) % (sizes[i] + 1) : 0;
            seed = seed * 1664525u + 1013904223u;
            size_t b = a + (sizes[i] - a ? (seed >> 4) % (sizes[i] - a + 1) : 0);
            mn_buffer got = {0};
            assert_ok(mn_read_text(read, space.ns, rec, a, b, &got, test_error()));
            assert_int_equal(got.size, b - a);
            if (got.size) assert_memory_equal(got.data, text + a, b - a);
            mn_buffer_free(&got);
        }
        mn_buffer none = {0};
        assert_int_equal(mn_read_text(read, space.ns, rec, 0, sizes[i] + 1, &none, NULL), MNEME_ERR_DAMAGED);
        mn_buffer_free(&none);
        mn_read_end(read);
        free(text);
    }
    assert_sound(store);
    mn_store_close(store);
}

/* Write n records of one chunk in batches, then look at every row. */
static void check_blocks(const char *name, size_t n, size_t batch_size)
{
    mn_store *store = open_store(name);
    job *jobs = calloc(batch_size, sizeof *jobs);
    char (*ids)[16] = calloc(batch_size, sizeof *ids);
    for (size_t first = 0; first < n; first += batch_size) {
        size_t count = n - first < batch_size ? n - first : batch_size;
        for (size_t i = 0; i < count; i++) {
            snprintf(ids[i], sizeof ids[i], "r%zu", first + i);
            jobs[i] = make_job(ids[i], "some words", 1, (uint32_t)(first + i) * 31u);
        }
        commit(store, jobs, count);
    }
    mn_read *read = begin_read(store);
    mn_namespace space;
    mn_arena arena = {0};
    mn_vector_blocks blocks;
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_ok(mn_read_vectors(read, space.ns, &arena, &blocks, test_error()));
    for (size_t row = 0; row < n; row++) {
        float expected[DIM];
        unit_vector((uint32_t)row * 31u, expected);
        float got[DIM];
        assert_true(mn_vector_of(&blocks, (uint32_t)row, got));
        assert_memory_equal(got, expected, sizeof expected);
    }
    float none[DIM];
    assert_false(mn_vector_of(&blocks, (uint32_t)n, none));
    for (size_t i = 0; i < n / MN_BLOCK_ROWS; i++) assert_int_equal(blocks.items[i].n_rows, MN_BLOCK_ROWS);
    mn_arena_free(&arena);
    mn_read_end(read);
    assert_sound(store);
    mn_store_close(store);
    free(jobs);
    free(ids);
}

static void vectors_are_gathered_into_full_blocks(void **state)
{
    (void)state;
    check_blocks("b1", 1, 1);
    check_blocks("b1023", 1023, 1023);
    check_blocks("b1024", 1024, 1024);
    check_blocks("b1025", 1025, 1025);
    check_blocks("b3000", 3000, 700);
    check_blocks("b5000", 5000, 5000);
    check_blocks("single", 1030, 103);
}

/* ---- random changes against a plain model ---- */

enum { MODEL_IDS = 40, MODEL_WORDS = 12 };

static void random_text(uint32_t *seed, char *out)
{
    out[0] = '\0';
    *seed = *seed * 1664525u + 1013904223u;
    for (uint32_t n = 1 + (*seed >> 8) % 9; n > 0; n--) {
        char word[8];
        *seed = *seed * 1664525u + 1013904223u;
        snprintf(word, sizeof word, "w%u ", (*seed >> 8) % MODEL_WORDS);
        strcat(out, word);
    }
}

/* How often a word stands in a text. */
static uint32_t occurrences(const char *text, const char *word)
{
    uint32_t n = 0;
    char copy[200], *rest = NULL;
    strcpy(copy, text);
    for (char *part = strtok_r(copy, " ", &rest); part; part = strtok_r(NULL, " ", &rest)) n += strcmp(part, word) == 0;
    return n;
}

static void check_model(mn_store *store, char texts[MODEL_IDS][200])
{
    mn_read *read = begin_read(store);
    mn_namespace space;
    mn_arena arena = {0};
    mn_rows rows;
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_ok(mn_read_rows(read, space.ns, &arena, &rows, test_error()));
    mn_rows same;
    assert_ok(mn_read_rows_of(read, &space, &arena, &same, test_error()));
    assert_int_equal(same.n_rows, rows.n_rows);
    for (uint32_t row = 0; row < rows.n_rows; row++)
        assert_memory_equal(mn_row_at(&same, row), mn_row_at(&rows, row), sizeof(mn_row));
    uint64_t live = 0;
    for (size_t i = 0; i < MODEL_IDS; i++) live += texts[i][0] != '\0';
    assert_int_equal(space.n_records, live);
    for (size_t w = 0; w < MODEL_WORDS; w++) {
        char word[8];
        snprintf(word, sizeof word, "w%zu", w);
        mn_posting *postings = NULL;
        size_t n = 0, expected = 0;
        assert_ok(mn_read_postings(read, space.ns, word, strlen(word), &arena, &postings, &n, test_error()));
        for (size_t i = 0; i < MODEL_IDS; i++) {
            uint32_t count = occurrences(texts[i], word), rec = 0, found = 0;
            if (count == 0) continue;
            char id[16];
            mn_record record;
            expected++;
            snprintf(id, sizeof id, "m%zu", i);
            assert_ok(mn_read_find(read, space.ns, id, &rec, test_error()));
            assert_ok(mn_read_record(read, space.ns, rec, &record, test_error()));
            for (size_t p = 0; p < n; p++) found += postings[p].row == record.first_row ? postings[p].count : 0;
            assert_int_equal(found, count);
        }
        assert_int_equal(n, expected);
        uint64_t n_rows = 0;
        assert_ok(mn_read_term_rows(read, space.ns, word, strlen(word), &n_rows, test_error()));
        assert_int_equal(n_rows, expected);
        for (size_t p = 1; p < n; p++) assert_true(postings[p].row > postings[p - 1].row);
    }
    mn_arena_free(&arena);
    mn_read_end(read);
    assert_sound(store);
}

static void random_puts_replaces_and_forgets_equal_a_plain_model(void **state)
{
    (void)state;
    static char texts[MODEL_IDS][200], ids[50][8], batch_texts[50][200];
    static job jobs[50];
    memset(texts, 0, sizeof texts);
    mn_store *store = open_store("model");
    uint32_t seed = 2024;
    for (int update = 0; update < 40; update++) {
        size_t n = 0;
        mn_read *read = begin_read(store);
        mn_namespace space = {0};
        (void)mn_read_namespace(read, "", &space, NULL);
        bool touched[MODEL_IDS] = {false};
        for (int i = 0; i < 50; i++) {
            seed = seed * 1664525u + 1013904223u;
            size_t which = (seed >> 8) % MODEL_IDS;
            bool forget = (seed >> 28) < 5;
            uint32_t rec = 0;
            snprintf(ids[n], sizeof ids[n], "m%zu", which);
            if (forget) {
                if (touched[which] || !texts[which][0]) continue;
                assert_ok(mn_read_find(read, space.ns, ids[n], &rec, test_error()));
                jobs[n++] = (job){.forget_ns = space.ns, .forget_rec = rec};
                texts[which][0] = '\0';
            } else {
                random_text(&seed, batch_texts[n]);
                jobs[n] = make_job(ids[n], batch_texts[n], 1, seed);
                jobs[n].record.session = which % 3 ? "even" : NULL;
                strcpy(texts[which], batch_texts[n]);
                n++;
            }
            touched[which] = true;
        }
        mn_read_end(read);
        commit(store, jobs, n);
        if (update % 8 == 7) check_model(store, texts);
    }
    mn_store_close(store);
}

/* Terms in each second, 29th, ... row: lists of one block and of many. */
static void rows_of_a_term_are_estimated_within_a_twentieth(void **state)
{
    (void)state;
    enum { ROWS = 30000, TERMS = 4 };
    static const int steps[TERMS] = {2, 29, 113, 1000};
    mn_store *store = open_store("term-rows");
    job *jobs = test_calloc(ROWS, sizeof *jobs);
    char (*texts)[64] = test_calloc(ROWS, sizeof *texts), (*ids)[16] = test_calloc(ROWS, sizeof *ids);
    for (int i = 0; i < ROWS; i++) {
        snprintf(ids[i], sizeof ids[i], "r%d", i);
        strcpy(texts[i], "all");
        for (int t = 0; t < TERMS; t++) {
            char word[16];
            snprintf(word, sizeof word, " t%d", steps[t]);
            if (i % steps[t] == 0) strcat(texts[i], word);
        }
        jobs[i] = make_job(ids[i], texts[i], 1, 1);
    }
    commit(store, jobs, ROWS);
    mn_read *read = begin_read(store);
    mn_namespace space;
    uint64_t n = 0;
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    for (int t = 0; t < TERMS; t++) {
        char word[16];
        double expected = (ROWS - 1) / steps[t] + 1;
        snprintf(word, sizeof word, "t%d", steps[t]);
        assert_ok(mn_read_term_rows(read, space.ns, word, strlen(word), &n, test_error()));
        assert_true(fabs((double)n - expected) <= (expected > 256 ? expected / 20 : 0));
    }
    assert_ok(mn_read_term_rows(read, space.ns, "none", 4, &n, test_error()));
    assert_int_equal(n, 0);
    mn_read_end(read);
    mn_store_close(store);
    test_free(jobs);
    test_free(texts);
    test_free(ids);
}

static void replaced_record_keeps_its_place_in_the_session(void **state)
{
    (void)state;
    mn_store *store = open_store("session");
    const char *ids[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) {
        job j = make_job(ids[i], "x y", 1, (uint32_t)i);
        j.record.session = "s";
        commit(store, &j, 1);
    }
    job again = make_job("b", "new text", 1, 77);
    again.record.session = "s";
    commit(store, &again, 1);
    mn_read *read = begin_read(store);
    mn_namespace space;
    mn_record at, next;
    uint32_t rec = 0;
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_ok(mn_read_find(read, space.ns, "a", &rec, test_error()));
    assert_ok(mn_read_record(read, space.ns, rec, &at, test_error()));
    for (int step = 0; step < 4; step++) {
        assert_ok(mn_read_session_step(read, space.ns, &at, step, &next, test_error()));
        assert_string_equal(next.id, ids[step]);
    }
    assert_int_equal(mn_read_session_step(read, space.ns, &at, 4, &next, NULL), MNEME_ERR_NOT_FOUND);
    assert_int_equal(mn_read_session_step(read, space.ns, &at, -1, &next, NULL), MNEME_ERR_NOT_FOUND);
    mn_read_end(read);
    assert_sound(store);
    mn_store_close(store);
}

static void forgotten_record_leaves_nothing_that_can_be_read(void **state)
{
    (void)state;
    mn_store *store = open_store("forget");
    job jobs[2] = {make_job("gone", "secretword other", 1, 5), make_job("stays", "plain words", 1, 6)};
    jobs[0].record.session = "only";
    commit(store, jobs, 2);
    mn_read *read = begin_read(store);
    mn_namespace space;
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    mn_read_end(read);
    job forget = {.forget_ns = space.ns, .forget_rec = 1};
    commit(store, &forget, 1);
    batch again = {&forget, 1};
    assert_int_equal(mn_store_update(store, run_jobs, &again, NULL, NULL), MNEME_ERR_NOT_FOUND);
    read = begin_read(store);
    mn_arena arena = {0};
    mn_posting *postings = NULL;
    mn_vector_blocks blocks;
    mn_rows rows;
    size_t n = 1;
    uint32_t rec = 1;
    assert_int_equal(mn_read_find(read, space.ns, "gone", &rec, NULL), MNEME_ERR_NOT_FOUND);
    assert_ok(mn_read_postings(read, space.ns, "secretword", 10, &arena, &postings, &n, test_error()));
    assert_int_equal(n, 0);
    assert_ok(mn_read_vectors(read, space.ns, &arena, &blocks, test_error()));
    float gone[DIM];
    assert_true(mn_vector_of(&blocks, 0, gone));
    for (int i = 0; i < DIM; i++) assert_true(gone[i] == 0);
    assert_ok(mn_read_rows(read, space.ns, &arena, &rows, test_error()));
    assert_int_equal(mn_row_at(&rows, 0)->rec, 0);
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_int_equal(space.n_records, 1);
    assert_int_equal(space.n_sessions, 0);
    mn_change *changes = NULL;
    bool complete = false;
    assert_ok(mn_read_changes(read, 0, &arena, &changes, &n, &complete, test_error()));
    assert_true(complete);
    assert_int_equal(n, 2); /* two records added at once, one of them removed */
    assert_true(!changes[0].removed && changes[0].rec == 1 && changes[0].n_recs == 2 && changes[0].generation == 1);
    assert_true(changes[1].removed && changes[1].rec == 1 && changes[1].n_recs == 1 && changes[1].generation == 2);
    mn_arena_free(&arena);
    mn_read_end(read);
    assert_sound(store);
    mn_store_close(store);
}

static void reader_that_does_not_end_is_named_before_the_file_grows_without_bound(void **state)
{
    (void)state;
    char path[1200];
    mn_store *store = NULL;
    mneme_error error;
    snprintf(path, sizeof path, "%s/pinned", g_dir);
    assert_ok(mn_store_open(path, &(mn_store_options){.pinned_bytes = 2 << 20}, &store, test_error()));
    mn_store_set_analyzer(store, split_words, NULL);
    mn_read *read = begin_read(store);
    mneme_status status = MNEME_OK;
    int n = 0;
    for (; n < 5000 && status == MNEME_OK; n++) { /* each replaces the record: pages are freed, and wait for the reader */
        job again = make_job("same", "one two three four five six seven", 1, (uint32_t)n);
        batch b = {&again, 1};
        status = mn_store_update(store, run_jobs, &b, NULL, &error);
    }
    assert_int_equal(status, MNEME_ERR_DISK_FULL);
    char pid[32];
    snprintf(pid, sizeof pid, "process %d ", (int)getpid());
    assert_non_null(strstr(error.message, pid));
    assert_true(n > 16 && mn_store_bytes_on_disk(store) < (8 << 20));
    mn_read_end(read);
    uint64_t bytes = mn_store_bytes_on_disk(store);
    for (int i = 0; i < 200; i++) { /* it goes on, in the space that waited */
        job again = make_job("same", "one two three four five six seven", 1, (uint32_t)i);
        commit(store, &again, 1);
    }
    assert_true(mn_store_bytes_on_disk(store) < bytes + (64 << 10));
    assert_sound(store);
    mn_store_close(store);
}

static void map_that_is_too_small_grows_by_itself(void **state)
{
    (void)state;
    mn_store *store = NULL;
    assert_ok(open_at("grow", 1 << 20, &store, test_error()));
    char *text = malloc(300001);
    memset(text, 'x', 300000);
    text[300000] = '\0';
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof id, "g%d", i);
        job j = make_job(id, text, 0, 1);
        commit(store, &j, 1);
    }
    assert_sound(store);
    mn_store_close(store);
    free(text);
}

static void reader_keeps_its_generation_while_a_writer_commits(void **state)
{
    (void)state;
    mn_store *store = open_store("snapshot");
    job first = make_job("a", "one", 1, 1), second = make_job("b", "two", 1, 2);
    commit(store, &first, 1);
    mn_read *read = begin_read(store);
    uint64_t before = mn_read_generation(read);
    commit(store, &second, 1);
    mn_namespace space;
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_int_equal(space.n_records, 1);
    assert_true(mn_read_generation(read) == before);
    mn_read_end(read);
    read = begin_read(store);
    assert_true(mn_read_generation(read) == before + 1);
    mn_read_end(read);
    mn_store_close(store);
}

/* A child that adds records and says each one that was acknowledged. */
static void write_until_killed(const char *name, int out, const char *prefix, int n)
{
    mn_store *store = NULL;
    if (open_at(name, 1 << 20, &store, NULL) != MNEME_OK) _exit(1);
    for (int i = 0; n == 0 || i < n; i++) {
        char id[16];
        snprintf(id, sizeof id, "%s%d", prefix, i);
        job j = make_job(id, "words of a record that is long enough to matter", 3, (uint32_t)i);
        batch b = {&j, 1};
        if (mn_store_update(store, run_jobs, &b, NULL, NULL) != MNEME_OK) _exit(1);
        if (out >= 0 && write(out, &i, sizeof i) != sizeof i) _exit(1);
    }
    mn_store_close(store);
    _exit(0);
}

static void writer_killed_at_random_loses_nothing_acknowledged(void **state)
{
    (void)state;
    int trials = getenv("MNEME_TEST_LONG") ? 300 : 15;
    uint32_t seed = 77;
    for (int trial = 0; trial < trials; trial++) {
        int pipes[2], last = -1, value;
        char prefix[16], id[32];
        assert_int_equal(pipe(pipes), 0);
        snprintf(prefix, sizeof prefix, "k%d-", trial);
        pid_t child = fork();
        if (child == 0) write_until_killed("killed", pipes[1], prefix, 0);
        close(pipes[1]);
        seed = seed * 1664525u + 1013904223u;
        usleep(5000 + (seed >> 8) % 60000);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(pipes[0], &value, sizeof value) == sizeof value) last = value;
        close(pipes[0]);
        mn_store *store = open_store("killed");
        mn_read *read = begin_read(store);
        mn_namespace space = {0};
        (void)mn_read_namespace(read, "", &space, NULL);
        for (int i = 0; i <= last; i++) {
            uint32_t rec = 0;
            snprintf(id, sizeof id, "%s%d", prefix, i);
            assert_ok(mn_read_find(read, space.ns, id, &rec, test_error()));
        }
        mn_read_end(read);
        assert_sound(store);
        mn_store_close(store);
    }
}

static void two_processes_writing_in_turn_lose_nothing(void **state)
{
    (void)state;
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] == 0) write_until_killed("two", -1, i ? "x" : "y", 60);
    }
    for (int i = 0; i < 2; i++) {
        int status = 1;
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
    mn_store *store = open_store("two");
    mn_read *read = begin_read(store);
    mn_namespace space;
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_int_equal(space.n_records, 120);
    assert_int_equal(mn_read_generation(read), 120);
    mn_read_end(read);
    assert_sound(store);
    mn_store_close(store);
}

static void what_is_no_store_is_refused_by_kind(void **state)
{
    (void)state;
    mn_store *store = (mn_store *)1;
    const mn_store_options existing = {.existing = true}, create = {0};
    char command[3000];
    snprintf(command, sizeof command, "mkdir %s/other && touch %s/other/x && touch %s/file && mkdir %s/garbage && head -c 9000 /dev/urandom > %s/garbage/data.mdb",
             g_dir, g_dir, g_dir, g_dir, g_dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(mn_store_open(path_of("none"), &existing, &store, NULL), MNEME_ERR_NOT_A_STORE);
    assert_null(store);
    assert_int_equal(mn_store_open(path_of("other"), &create, &store, NULL), MNEME_ERR_NOT_A_STORE);
    assert_int_equal(mn_store_open(path_of("file"), &create, &store, NULL), MNEME_ERR_NOT_A_STORE);
    assert_int_equal(mn_store_open(path_of("garbage"), &create, &store, NULL), MNEME_ERR_NOT_A_STORE);
    store = open_store("mine");
    mn_store *second = NULL;
    assert_int_equal(mn_store_open(path_of("mine"), &create, &second, NULL), MNEME_ERR_BUSY);
    mn_store_close(store);
    store = open_store("mine");
    mn_store_close(store);
}

static void update_out_of_memory_leaves_the_store_as_before(void **state)
{
    (void)state;
    mn_store *store = open_store("memory");
    job first = make_job("a", "one two", 1, 1), other = make_job("b", "three four", 2, 2);
    other.record.session = "s";
    commit(store, &first, 1);
    for (size_t n = 1; n < 300; n++) {
        batch b = {&other, 1};
        uint64_t generation = 0;
        mn_alloc_fail_after(n);
        mneme_status status = mn_store_update(store, run_jobs, &b, &generation, NULL);
        mn_alloc_fail_after(0);
        assert_sound(store);
        if (status == MNEME_OK) {
            assert_int_equal(generation, 2);
            mn_store_close(store);
            return;
        }
        assert_int_equal(status, MNEME_ERR_MEMORY);
        mn_read *read = begin_read(store);
        assert_int_equal(mn_read_generation(read), 1);
        mn_read_end(read);
    }
    fail_msg("never succeeded");
}

static void full_disk_is_named_and_work_goes_on_when_there_is_room(void **state)
{
    (void)state;
    char command[3000], name[1300];
    snprintf(command, sizeof command, "mkdir %s/small && mount -t tmpfs -o size=3m tmpfs %s/small 2>/dev/null", g_dir, g_dir);
    if (system(command) != 0) skip();
    snprintf(name, sizeof name, "small/store");
    mn_store *store = open_store(name);
    char *text = malloc(400001);
    uint32_t random = 1; /* nothing that could be packed away */
    for (size_t i = 0; i < 400000; i++) text[i] = (char)(33 + ((random = random * 1664525u + 1013904223u) >> 8) % 94);
    text[400000] = '\0';
    mneme_status status = MNEME_OK;
    int stored = 0;
    while (status == MNEME_OK && stored < 50) {
        char id[16];
        snprintf(id, sizeof id, "f%d", stored);
        job j = make_job(id, text, 0, 1);
        batch b = {&j, 1};
        status = mn_store_update(store, run_jobs, &b, NULL, NULL);
        stored += status == MNEME_OK;
    }
    assert_int_equal(status, MNEME_ERR_DISK_FULL);
    assert_true(stored > 0);
    assert_sound(store);
    snprintf(command, sizeof command, "mount -o remount,size=20m %s/small", g_dir);
    assert_int_equal(system(command), 0);
    job more = make_job("more", text, 0, 1);
    commit(store, &more, 1);
    assert_sound(store);
    mn_store_close(store);
    free(text);
    snprintf(command, sizeof command, "umount %s/small", g_dir);
    assert_int_equal(system(command), 0);
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
        cmocka_unit_test(record_put_reads_back_with_every_field),
        cmocka_unit_test(text_of_any_length_reads_back_by_ranges),
        cmocka_unit_test(vectors_are_gathered_into_full_blocks),
        cmocka_unit_test(random_puts_replaces_and_forgets_equal_a_plain_model),
        cmocka_unit_test(rows_of_a_term_are_estimated_within_a_twentieth),
        cmocka_unit_test(replaced_record_keeps_its_place_in_the_session),
        cmocka_unit_test(forgotten_record_leaves_nothing_that_can_be_read),
        cmocka_unit_test(reader_that_does_not_end_is_named_before_the_file_grows_without_bound),
        cmocka_unit_test(map_that_is_too_small_grows_by_itself),
        cmocka_unit_test(reader_keeps_its_generation_while_a_writer_commits),
        cmocka_unit_test(writer_killed_at_random_loses_nothing_acknowledged),
        cmocka_unit_test(two_processes_writing_in_turn_lose_nothing),
        cmocka_unit_test(what_is_no_store_is_refused_by_kind),
        cmocka_unit_test(update_out_of_memory_leaves_the_store_as_before),
        cmocka_unit_test(full_disk_is_named_and_work_goes_on_when_there_is_room),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
