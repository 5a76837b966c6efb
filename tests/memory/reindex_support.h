/* reindex_support.h -- what the tests of reindex share: three small models, a store with everything in it, and a dump
 * of all that a store holds.
 *
 *   wide     a BERT of 48 dimensions, 512 tokens     narrow   a BERT of 64 dimensions, 33 tokens
 *   table    a static encoder of 24 dimensions, distilled from wide
 *
 * The expected result is never reindex's own: the same records are added, replaced and forgotten in a store that is
 * made with the other encoder from the start, and the two are compared whole. */
#ifndef MN_TESTS_REINDEX_SUPPORT_H
#define MN_TESTS_REINDEX_SUPPORT_H

#include "test_support.h"

#include "encoder/model_folder.h"
#include "memstore/store.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RX_RECORDS = 90, RX_GIVEN = 6, RX_GIVEN_DIM = 5 };

static char *g_dir, *g_book;

static inline const char *path_of(const char *name)
{
    return test_inside(g_dir, name);
}

/* ---- models ---- */

static inline void rx_write_bert(const char *shape_name, const char *folder_name)
{
    char path[1024], *line = NULL;
    size_t capacity = 0;
    snprintf(path, sizeof path, "%s/tests/data/bert_shapes/expected.jsonl", test_source_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    bool found = false;
    while (!found && getline(&line, &capacity, file) > 0) {
        json_t *shape = json_loads(line, 0, NULL);
        const char *name = json_string_value(json_object_get(shape, "name"));
        found = name && strcmp(name, shape_name) == 0;
        snprintf(path, sizeof path, "%s/models/%s", g_dir, folder_name);
        if (found) {
            assert_int_equal(mkdir(path, 0755), 0);
            model_write(path, shape, NULL, (model_fault){MODEL_SOUND, NULL});
        }
        json_decref(shape);
    }
    assert_true(found);
    free(line);
    fclose(file);
}

static inline mneme_settings *rx_settings(const char *model)
{
    mneme_settings *settings = NULL;
    const char *const pairs[][2] = {
        {"encoder.path", path_of("models")},   {"encoder.cache", ""},          {"encoder.threads", "1"},
        {"clock.now", "2026-02-03T04:05:06Z"}, {"memory.importance", "fixed"}, {"index.build", "manual"}};
    assert_ok(mneme_settings_new(&settings, test_error()));
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_ok(mneme_settings_set(settings, pairs[i][0], pairs[i][1], "test", test_error()));
    if (model) assert_ok(mneme_settings_set(settings, "encoder.model", model, "test", test_error()));
    return settings;
}

static inline void rx_make_models(void)
{
    assert_int_equal(mkdir(path_of("models"), 0755), 0);
    rx_write_bert("saved-by-newer-versions-cls", "wide");
    rx_write_bert("one-head-cls-bert-prefix", "narrow");
    mneme_settings *settings = rx_settings("wide");
    mneme_encoder *teacher = NULL;
    mneme_distill_options options = MNEME_DISTILL_OPTIONS_INIT;
    options.dimension = 24;
    options.rounds = 0;
    assert_ok(mneme_encoder_open(settings, &teacher, test_error()));
    assert_ok(mneme_distill_static(teacher, &options, path_of("models/table"), test_error()));
    mneme_encoder_close(teacher);
    mneme_settings_free(settings);
}

static inline int rx_set_up(void **state)
{
    (void)state;
    char path[1200];
    g_dir = test_make_dir();
    rx_make_models();
    snprintf(path, sizeof path, "%s/examples/grimms-fairy-tales.txt", test_source_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    g_book = calloc(1, 300001);
    assert_int_equal(fread(g_book, 1, 300000, file), 300000);
    fclose(file);
    return 0;
}

static inline int rx_tear_down(void **state)
{
    (void)state;
    free(g_book);
    test_remove_dir(g_dir);
    return 0;
}

/* ---- stores ---- */

/* model NULL: not set. */
static inline mneme *rx_open(const char *name, const char *model)
{
    mneme *memory = NULL;
    mneme_settings *settings = rx_settings(model);
    assert_ok(mneme_open(path_of(name), settings, 0, &memory, test_error()));
    mneme_settings_free(settings);
    return memory;
}

static inline mneme_status rx_reindex(mneme *memory, const char *encoder, mneme_reindex_result *result)
{
    mneme_reindex_options options = MNEME_REINDEX_OPTIONS_INIT;
    options.encoder = encoder;
    return mneme_reindex(memory, &options, result, test_error());
}

/* Record `i` of version `version`: everything that a record can have, on some of them. */
static inline void rx_add(mneme *memory, unsigned i, unsigned version)
{
    char id[32], session[32], metadata[64];
    size_t at = (i * 2917u + version * 7919u) % 280000, size = 40 + (i * 613u + version * 97u) % 3500;
    while ((g_book[at] & 0xC0) == 0x80) at++;
    while ((g_book[at + size] & 0xC0) == 0x80) size++;
    snprintf(id, sizeof id, "r%u", i);
    snprintf(session, sizeof session, "s%u", i % 7);
    snprintf(metadata, sizeof metadata, "{\"part\": %u, \"version\": %u}", i, version);
    const mneme_record record = {.id = id,
                                 .name_space = i % 3 == 2 ? "notes" : "",
                                 .text = g_book + at,
                                 .text_size = size,
                                 .title = i % 4 == 1 ? "A tale of straw" : NULL,
                                 .session = i % 2 ? session : NULL,
                                 .speaker = i % 5 == 3 ? "The Miller" : NULL,
                                 .metadata = i % 2 ? metadata : NULL,
                                 .source = i % 6 ? NULL : "tales.txt",
                                 .has_time = i % 3 == 0,
                                 .time_ms = 1700000000000 + (int64_t)i * 86400000,
                                 .has_importance = i % 4 == 2,
                                 .importance = 0.25f,
                                 .pinned = i % 11 == 4,
                                 .has_expires = i % 13 == 5,
                                 .expires_ms = 1900000000000};
    assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
}

static inline void rx_forget_id(mneme *memory, const char *name_space, const char *id)
{
    mneme_forget_options options = MNEME_FORGET_OPTIONS_INIT;
    uint64_t n = 0;
    options.ids = &id;
    options.n_ids = 1;
    options.select.name_space = name_space;
    assert_ok(mneme_forget(memory, &options, &n, test_error()));
    assert_int_equal(n, 1);
}

static inline void rx_forget(mneme *memory, unsigned i)
{
    char id[32];
    snprintf(id, sizeof id, "r%u", i);
    rx_forget_id(memory, i % 3 == 2 ? "notes" : "", id);
}

/* A short one in the unnamed namespace. */
static inline mneme_status rx_note(mneme *memory, const char *id, const char *text)
{
    const mneme_record record = {.id = id, .text = text};
    return mneme_add(memory, &record, 1, NULL, NULL, test_error());
}

static inline void rx_add_given(mneme *memory)
{
    for (unsigned i = 0; i < RX_GIVEN; i++) {
        char id[32];
        float vector[RX_GIVEN_DIM] = {(float)i + 1, 1, (float)i, 0, 2};
        snprintf(id, sizeof id, "v%u", i);
        const mneme_record record = {
            .id = id, .name_space = "given", .text = "brought along", .vector = vector, .dimension = RX_GIVEN_DIM};
        assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
    }
}

/* Records, some replaced, some forgotten, some used; a namespace with vectors of its own, one that is empty again. */
static inline void rx_fill(mneme *memory)
{
    for (unsigned i = 0; i < RX_RECORDS; i++) rx_add(memory, i, 0);
    rx_add_given(memory);
    for (unsigned i = 3; i < RX_RECORDS; i += 17) rx_add(memory, i, 1);
    for (unsigned i = 7; i < RX_RECORDS; i += 19) rx_forget(memory, i);
    const mneme_record gone = {.id = "gone", .name_space = "empty", .text = "soon forgotten"};
    const char *used[] = {"r0", "r6"};
    assert_ok(mneme_add(memory, &gone, 1, NULL, NULL, test_error()));
    rx_forget_id(memory, "empty", "gone");
    assert_ok(mneme_reinforce(memory, "", used, 2, 0.5, test_error()));
    assert_ok(rx_note(memory, "blank", " \n "));
}

/* A filled store, and `more` done to it. The filled ones are made once for each model, and copied. */
static inline void rx_make(const char *name, const char *model, void (*more)(mneme *memory))
{
    char base[64], command[2600];
    snprintf(base, sizeof base, "base-%s", model);
    if (access(path_of(base), F_OK) != 0) {
        mneme *memory = rx_open(base, model);
        rx_fill(memory);
        mneme_close(memory);
    }
    snprintf(command, sizeof command, "cp -r %s %s", path_of(base), path_of(name));
    assert_int_equal(system(command), 0);
    if (!more) return;
    mneme *memory = rx_open(name, model);
    more(memory);
    mneme_close(memory);
}

/* ---- all that a store holds, as lines: without the numbers of rows and sessions, which a copy gives anew ---- */

static inline mneme_status rx_no_terms(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                                       mneme_error *error)
{
    (void)context, (void)text, (void)size, (void)arena, (void)error;
    *out = (mn_term_list){0};
    return MNEME_OK;
}

static inline void rx_dump_record(mn_read *read, const mn_namespace *space, const mn_record *r, mn_buffer *out)
{
    mn_strength strength;
    mn_buffer text = {0};
    float *vector = calloc(space->dimension + 1, sizeof *vector);
    assert_ok(mn_read_strength(read, space->ns, r->rec, &strength, test_error()));
    assert_ok(mn_read_text(read, space->ns, r->rec, 0, r->text_size, &text, test_error()));
    mn_buffer_format(out, "%u %s title %s session %s %u speaker %s metadata %s source %s time %d %lld", r->rec, r->id,
                     r->title ? r->title : "-", r->session ? r->session : "-", r->session_place,
                     r->speaker ? r->speaker : "-", r->metadata ? r->metadata : "-", r->source ? r->source : "-",
                     r->has_time, (long long)r->time_ms);
    mn_buffer_format(out, " own %d written %lld importance %d %d %a hash %llx %llx text %s\n", r->own_vector,
                     (long long)r->written_ms, r->has_importance, r->importance_given, (double)r->importance,
                     (unsigned long long)r->hash[0], (unsigned long long)r->hash[1], text.data ? text.data : "");
    mn_buffer_format(out, " used %d %a %a %u %lld pinned %d expires %d %lld\n", strength.used, (double)strength.level,
                     (double)strength.half_life_days, strength.uses, (long long)strength.last_ms, strength.pinned,
                     strength.has_expires, (long long)strength.expires_ms);
    for (uint32_t i = 0; i < r->n_chunks; i++) {
        mn_row row;
        assert_ok(mn_read_row(read, space, r->first_row + i, &row, test_error()));
        mn_buffer_format(out, " %u-%u %u", row.start, row.end, row.n_terms);
        assert_ok(mn_read_row_vector(read, space, r->first_row + i, vector, test_error()));
        for (uint32_t d = 0; d < space->dimension; d++) mn_buffer_format(out, " %a", (double)vector[d]);
        mn_buffer_text(out, "\n");
    }
    mn_buffer_free(&text);
    free(vector);
}

/* Owned by the caller (free). The store must not be open. */
static inline char *rx_dump(const char *name)
{
    const mn_store_options options = {.read_only = true, .existing = true};
    mn_store *store = NULL;
    mn_read *read = NULL;
    mn_arena arena = {0};
    mn_namespace *spaces = NULL;
    mn_encoder_stamp stamp;
    mn_buffer out = {0};
    size_t n = 0;
    assert_ok(mn_store_open(path_of(name), &options, &store, test_error()));
    mn_store_set_analyzer(store, rx_no_terms, NULL);
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_ok(mn_read_encoder(read, &stamp, test_error()));
    assert_ok(mn_read_namespaces(read, &arena, &spaces, &n, test_error()));
    mn_buffer_format(&out, "encoder %s %llx %u\n", stamp.name, (unsigned long long)stamp.fingerprint, stamp.dimension);
    for (size_t i = 0; i < n; i++) {
        const mn_namespace *s = &spaces[i];
        mn_buffer_format(
            &out, "namespace %s %u: dimension %u own %d type %d next %u, %llu records %llu chunks %llu terms\n",
            s->name, s->ns, s->dimension, s->own_vectors, s->dimension ? (int)s->vector_type : -1, s->next_rec,
            (unsigned long long)s->n_records, (unsigned long long)s->n_chunks, (unsigned long long)s->n_terms);
        mn_record record;
        for (uint32_t rec = 1; mn_read_next_record(read, s->ns, rec, &record, NULL) == MNEME_OK; rec = record.rec + 1)
            rx_dump_record(read, s, &record, &out);
    }
    mn_read_end(read);
    mn_store_close(store);
    mn_arena_free(&arena);
    char *copy = strdup(out.data);
    mn_buffer_free(&out);
    return copy;
}

static inline void rx_assert_same(const char *a, const char *b)
{
    size_t at = 0, line = 0;
    if (strcmp(a, b) == 0) return;
    for (; a[at] == b[at]; at++)
        if (a[at] == '\n') line = at + 1;
    fail_msg("they differ at byte %zu:\n%.300s\n-- against --\n%.300s", at, a + line, b + line);
}

static inline void rx_print_problem(void *context, const char *line)
{
    (void)context;
    printf("%s\n", line);
}

static inline void rx_assert_sound(mneme *memory)
{
    mneme_check_report report;
    assert_ok(mneme_check(memory, rx_print_problem, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

/* What some questions get, as lines; owned (free). */
static inline char *rx_ask(mneme *memory)
{
    static const char *const questions[] = {"who can spin straw into gold",
                                            "the King and the miller's daughter",
                                            "gold in the well",
                                            "important",
                                            "r12 nonsense zzz",
                                            "he said to him"};
    mn_buffer out = {0};
    for (size_t q = 0; q < sizeof questions / sizeof *questions; q++)
        for (mneme_mode mode = MNEME_MODE_HYBRID; mode <= MNEME_MODE_LEXICAL; mode++) {
            mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
            mneme_hits *hits = NULL;
            options.mode = mode;
            options.k = 12;
            options.leave_strength = true;
            assert_ok(mneme_query(memory, questions[q], &options, &hits, test_error()));
            mn_buffer_format(&out, "%zu %d: %zu\n", q, (int)mode, hits->n);
            for (size_t i = 0; i < hits->n; i++) {
                const mneme_hit *h = &hits->items[i];
                mn_buffer_format(&out, " %s/%s %u %llu-%llu %a %a %a %a %a\n", h->name_space, h->id, h->chunk,
                                 (unsigned long long)h->start, (unsigned long long)h->end, (double)h->score,
                                 (double)h->dense, (double)h->lexical, (double)h->attention, (double)h->strength);
            }
            mneme_hits_free(hits);
        }
    char *copy = strdup(out.data);
    mn_buffer_free(&out);
    return copy;
}

/* Is the store what `fresh` is: all that it holds, and what it answers? Neither is open. model: as in rx_open. */
static inline void rx_assert_equal(const char *name, const char *model, const char *fresh, const char *fresh_model)
{
    char *a = rx_dump(name), *b = rx_dump(fresh);
    rx_assert_same(a, b);
    free(a);
    free(b);
    mneme *one = rx_open(name, model), *other = rx_open(fresh, fresh_model);
    rx_assert_sound(one);
    a = rx_ask(one);
    b = rx_ask(other);
    rx_assert_same(a, b);
    free(a);
    free(b);
    mneme_close(one);
    mneme_close(other);
}

#endif
