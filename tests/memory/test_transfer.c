/* test_transfer.c -- memories out and in: chunks that records bring along, export, salvage. Vectors are made up, so
 * that no model is needed. */
#include "test_support.h"

#include <math.h>

enum { DIM = 4 };

static mneme_settings *g_settings;
static char *g_dir;

static mneme *open_store(const char *name)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    mneme *memory = NULL;
    assert_ok(mneme_open(path, g_settings, 0, &memory, test_error()));
    return memory;
}

static void assert_sound(mneme *memory)
{
    mneme_check_report report;
    assert_ok(mneme_check(memory, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

static mneme_add_options from_encoder(const char *name, uint64_t fingerprint)
{
    mneme_add_options options = MNEME_ADD_OPTIONS_INIT;
    options.encoder = name;
    options.fingerprint = fingerprint;
    return options;
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void random_unit(float *vector, uint32_t dimension, uint32_t *seed)
{
    double squares = 0;
    for (uint32_t i = 0; i < dimension; i++) {
        vector[i] = (float)next_random(seed) / 8388608.0f - 1.0f;
        squares += (double)vector[i] * (double)vector[i];
    }
    for (uint32_t i = 0; i < dimension; i++) vector[i] = (float)((double)vector[i] / sqrt(squares));
}

/* ---- what an export handed out, kept ---- */

typedef struct kept {
    mneme_record record;
    mneme_chunk chunks[8];
    float vectors[8][DIM];
} kept;

typedef struct basket {
    kept *items;
    size_t n, limit; /* limit: cancel there; 0 = none */
    mneme *memory;   /* for callbacks that change the store */
} basket;

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

static bool keep(void *context, const mneme_record *record)
{
    basket *b = context;
    b->items = realloc(b->items, (b->n + 1) * sizeof *b->items);
    kept *k = &b->items[b->n++];
    *k = (kept){.record = *record};
    k->record.id = copy(record->id);
    k->record.name_space = copy(record->name_space);
    k->record.title = copy(record->title);
    k->record.session = copy(record->session);
    k->record.speaker = copy(record->speaker);
    k->record.metadata = copy(record->metadata);
    k->record.source = copy(record->source);
    char *text = malloc(record->text_size + 1);
    memcpy(text, record->text, record->text_size);
    text[record->text_size] = '\0';
    k->record.text = text;
    if (record->vector || record->n_chunks) assert_int_equal(record->dimension, DIM);
    assert_true(record->n_chunks <= 8);
    if (record->vector) memcpy(k->vectors[0], record->vector, sizeof k->vectors[0]);
    for (size_t i = 0; i < record->n_chunks; i++) {
        k->chunks[i] = record->chunks[i];
        memcpy(k->vectors[i], record->chunks[i].vector, sizeof k->vectors[i]);
    }
    return !b->limit || b->n < b->limit;
}

/* The record with its pointers into the kept one. */
static mneme_record record_of(kept *k)
{
    mneme_record record = k->record;
    if (record.vector) record.vector = k->vectors[0];
    for (size_t i = 0; i < record.n_chunks; i++) k->chunks[i].vector = k->vectors[i];
    if (record.chunks) record.chunks = k->chunks;
    return record;
}

static void empty(basket *b)
{
    for (size_t i = 0; i < b->n; i++) {
        mneme_record *r = &b->items[i].record;
        const char *strings[] = {r->id,      r->name_space, r->title,  r->session,
                                 r->speaker, r->metadata,   r->source, r->text};
        for (size_t j = 0; j < 8; j++) free((void *)(uintptr_t)strings[j]);
    }
    free(b->items);
    *b = (basket){0};
}

static mneme_export_result export_into(mneme *memory, basket *b, bool vectors)
{
    mneme_export_options options = MNEME_EXPORT_OPTIONS_INIT;
    mneme_export_result result;
    options.vectors = vectors;
    assert_ok(mneme_export(memory, &options, keep, b, &result, test_error()));
    assert_int_equal(result.records, b->n);
    return result;
}

static void assert_same_string(const char *a, const char *b)
{
    assert_int_equal(!a, !b);
    if (a) assert_string_equal(a, b);
}

static void assert_same_records(basket *a, basket *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const mneme_record x = record_of(&a->items[i]), y = record_of(&b->items[i]);
        assert_string_equal(x.id, y.id);
        assert_same_string(x.name_space, y.name_space);
        assert_same_string(x.title, y.title);
        assert_same_string(x.session, y.session);
        assert_same_string(x.speaker, y.speaker);
        assert_same_string(x.metadata, y.metadata);
        assert_same_string(x.source, y.source);
        assert_int_equal(x.has_time, y.has_time);
        assert_int_equal(x.time_ms, y.time_ms);
        assert_int_equal(x.has_importance, y.has_importance);
        assert_true(x.importance == y.importance);
        assert_int_equal(x.pinned, y.pinned);
        assert_int_equal(x.has_expires, y.has_expires);
        assert_int_equal(x.expires_ms, y.expires_ms);
        assert_int_equal(x.text_size, y.text_size);
        assert_memory_equal(x.text, y.text, x.text_size);
        assert_int_equal(!x.vector, !y.vector);
        if (x.vector) assert_memory_equal(x.vector, y.vector, DIM * sizeof *x.vector);
        assert_int_equal(x.n_chunks, y.n_chunks);
        for (size_t j = 0; j < x.n_chunks; j++) {
            assert_int_equal(x.chunks[j].start, y.chunks[j].start);
            assert_int_equal(x.chunks[j].end, y.chunks[j].end);
            assert_memory_equal(x.chunks[j].vector, y.chunks[j].vector, DIM * sizeof(float));
        }
    }
}

/* ---- chunks that records bring along ---- */

static void chunks_brought_along_need_no_encoder_and_stamp_the_store(void **state)
{
    (void)state;
    mneme *memory = open_store("brought");
    const float vectors[2][DIM] = {{1, 0, 0, 0}, {0, 0.6f, 0.8f, 0}};
    const mneme_chunk chunks[] = {{0, 10, vectors[0]}, {10, 21, vectors[1]}};
    mneme_record record = {
        .id = "a", .text = "first part second part", .chunks = chunks, .n_chunks = 2, .dimension = DIM};
    mneme_add_options options = from_encoder("made-up", 42);
    mneme_add_result result;
    assert_ok(mneme_add(memory, &record, 1, &options, &result, test_error()));
    assert_int_equal(result.added, 1);
    assert_int_equal(result.chunks, 2);
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    assert_string_equal(stats->encoder, "made-up");
    assert_int_equal(stats->fingerprint, 42);
    assert_int_equal(stats->dimension, DIM);
    mneme_stats_free(stats);
    mneme_query_options query = MNEME_QUERY_OPTIONS_INIT;
    query.vector = vectors[1];
    query.dimension = DIM;
    query.mode = MNEME_MODE_DENSE;
    mneme_hits *hits = NULL;
    assert_ok(mneme_query(memory, "", &query, &hits, test_error()));
    assert_int_equal(hits->items[0].start, 10);
    assert_int_equal(hits->items[0].end, 21);
    assert_true(fabsf(hits->items[0].dense - 1) < 1e-6f);
    mneme_hits_free(hits);
    /* Other chunks of the same text are no change. */
    record.n_chunks = 1;
    assert_ok(mneme_add(memory, &record, 1, &options, &result, test_error()));
    assert_int_equal(result.unchanged, 1);
    assert_sound(memory);
    mneme_close(memory);
}

static size_t g_n_refused;

static void count_refused(void *context, size_t index, const mneme_error *error)
{
    (void)context, (void)index;
    assert_true(error->code == MNEME_ERR_RECORD || error->code == MNEME_ERR_DIMENSION);
    g_n_refused++;
}

static void chunks_that_cannot_be_are_refused(void **state)
{
    (void)state;
    mneme *memory = open_store("refused");
    const float unit[DIM] = {1, 0, 0, 0}, nan[DIM] = {1, NAN, 0, 0}, zero[DIM] = {0};
    const mneme_chunk past[] = {{0, 8, unit}}, backwards[] = {{4, 2, unit}}, splits[] = {{0, 2, unit}},
                      splits_start[] = {{2, 4, unit}}, not_a_number[] = {{0, 1, nan}}, nothing[] = {{0, 1, zero}},
                      none[] = {{0, 1, NULL}}, unordered[] = {{1, 7, unit}, {0, 7, unit}}, good[] = {{0, 1, unit}};
    static const char text[] = "h\xC3\xA9llo!"; /* 7 bytes; bytes 1 and 2 are one character */
    const struct {
        const mneme_chunk *chunks;
        size_t n;
        uint32_t dimension;
        const float *vector;
    } cases[] = {{past, 1, DIM, NULL},         {backwards, 1, DIM, NULL},    {splits, 1, DIM, NULL},
                 {splits_start, 1, DIM, NULL}, {not_a_number, 1, DIM, NULL}, {nothing, 1, DIM, NULL},
                 {none, 1, DIM, NULL},         {unordered, 2, DIM, NULL},    {good, 1, 0, NULL},
                 {good, 1, 65537, NULL},       {good, 1, DIM, unit}};
    size_t n = sizeof cases / sizeof cases[0];
    mneme_add_options options = from_encoder("made-up", 42);
    options.refused = count_refused;
    for (size_t i = 0; i < n; i++) {
        const mneme_record record = {.id = "x",
                                     .text = text,
                                     .chunks = cases[i].chunks,
                                     .n_chunks = cases[i].n,
                                     .dimension = cases[i].dimension,
                                     .vector = cases[i].vector};
        mneme_add_result result;
        g_n_refused = 0;
        assert_ok(mneme_add(memory, &record, 1, &options, &result, test_error()));
        if (result.refused != 1 || g_n_refused != 1) fail_msg("case %zu was not refused", i);
    }
    const mneme_record fine = {.id = "x", .text = text, .chunks = good, .n_chunks = 1, .dimension = DIM};
    mneme_add_result result;
    assert_ok(mneme_add(memory, &fine, 1, &options, &result, test_error()));
    assert_int_equal(result.added, 1);
    /* Without a word on where they come from, and from elsewhere. */
    options.encoder = NULL;
    const mneme_record other = {.id = "y", .text = text, .chunks = good, .n_chunks = 1, .dimension = DIM};
    assert_int_equal(mneme_add(memory, &other, 1, &options, NULL, test_error()), MNEME_ERR_USAGE);
    options = from_encoder("another", 43);
    assert_int_equal(mneme_add(memory, &other, 1, &options, NULL, test_error()), MNEME_ERR_ENCODER);
    assert_non_null(strstr(test_error()->message, "made-up"));
    assert_non_null(strstr(test_error()->message, "another"));
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    assert_int_equal(stats->records, 1);
    mneme_stats_free(stats);
    assert_sound(memory);
    mneme_close(memory);
}

static void vectors_of_nearly_unit_length_are_kept_bit_for_bit(void **state)
{
    (void)state;
    mneme *memory = open_store("nearly");
    const float near[DIM] = {0.6001f, 0.8f, 0, 0}; /* squares: 1.00012 */
    const float far[DIM] = {3, 4, 0, 0}, own[DIM] = {0.6f, 0.8f, 0, 0};
    const mneme_chunk chunks[] = {{0, 1, near}, {1, 2, far}};
    const mneme_record records[] = {{.id = "a", .text = "xy", .chunks = chunks, .n_chunks = 2, .dimension = DIM},
                                    {.id = "b", .text = "z", .name_space = "own", .vector = own, .dimension = DIM}};
    mneme_add_options options = from_encoder("made-up", 42);
    assert_ok(mneme_add(memory, records, 2, &options, NULL, test_error()));
    basket b = {0};
    export_into(memory, &b, true);
    assert_int_equal(b.n, 2);
    assert_memory_equal(b.items[0].vectors[0], near, sizeof near);
    assert_true(fabsf(b.items[0].vectors[1][0] - 0.6f) < 1e-7f && fabsf(b.items[0].vectors[1][1] - 0.8f) < 1e-7f);
    assert_memory_equal(b.items[1].vectors[0], own, sizeof own);
    empty(&b);
    mneme_close(memory);
}

static void json_line_with_chunks_is_read(void **state)
{
    (void)state;
    static const char good[] = "{\"id\":\"a\",\"text\":\"xy\",\"chunks\":[{\"start\":0,\"end\":1,\"vector\":[1,0]},"
                               "{\"start\":1,\"end\":2,\"vector\":[0.5,-2.5e-1]}]}";
    mneme_record *record = NULL;
    assert_ok(mneme_record_parse(good, strlen(good), &record, test_error()));
    assert_int_equal(record->n_chunks, 2);
    assert_int_equal(record->dimension, 2);
    assert_int_equal(record->chunks[1].start, 1);
    assert_int_equal(record->chunks[1].end, 2);
    assert_true(record->chunks[1].vector[0] == 0.5f && record->chunks[1].vector[1] == -0.25f);
    mneme_record_free(record);
    static const char number[] = "{\"id\":\"a\",\"text\":\"xy\",\"chunks\":3}"; /* as `get --json` shows it */
    assert_ok(mneme_record_parse(number, strlen(number), &record, test_error()));
    assert_null(record->chunks);
    mneme_record_free(record);
    static const char *const bad[] = {
        "[1]",
        "[{\"start\":0,\"end\":1}]",
        "[{\"start\":-1,\"end\":1,\"vector\":[1]}]",
        "[{\"start\":0,\"end\":1.5,\"vector\":[1]}]",
        "[{\"start\":0,\"end\":1,\"vector\":[]}]",
        "[{\"start\":0,\"end\":1,\"vector\":[\"1\"]}]",
        "[{\"start\":0,\"end\":1,\"vector\":[[0]]}]",
        "[{\"start\":0,\"end\":1,\"vector\":[1e99]}]",
        "[{\"start\":0,\"end\":1,\"vector\":[1]},{\"start\":1,\"end\":2,\"vector\":[1,0]}]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[300];
        snprintf(line, sizeof line, "{\"id\":\"a\",\"text\":\"xy\",\"chunks\":%s}", bad[i]);
        if (mneme_record_parse(line, strlen(line), &record, test_error()) == MNEME_OK) fail_msg("%s was read", bad[i]);
        assert_null(record);
    }
}

/* ---- export ---- */

/* A memory with everything in it that a record can have. */
static void fill_varied(mneme *memory, size_t n)
{
    uint32_t seed = 7;
    for (size_t i = 0; i < n; i++) {
        char id[40], text[200], session[20], metadata[60];
        float vectors[3][DIM];
        mneme_chunk chunks[3];
        size_t size = 30 + next_random(&seed) % 100, n_chunks = next_random(&seed) % 4;
        snprintf(id, sizeof id, "r%zu", i);
        for (size_t j = 0; j < size; j++) text[j] = (char)("ab \n"[next_random(&seed) % 4]);
        text[size / 2] = '\0'; /* data like any other */
        snprintf(session, sizeof session, "s%u", next_random(&seed) % 3);
        snprintf(metadata, sizeof metadata, "{\"n\":%zu,\"tags\":[\"x\",\"\xC3\xA9\"]}", i);
        for (size_t j = 0; j < n_chunks; j++) {
            random_unit(vectors[j], DIM, &seed);
            chunks[j] = (mneme_chunk){size * j / n_chunks, size * (j + 1) / n_chunks, vectors[j]};
        }
        random_unit(vectors[0], DIM, &seed);
        bool own = i % 5 == 0;
        mneme_record record = {.id = id,
                               .name_space = own     ? "pictures"
                                             : i % 3 ? NULL
                                                     : "notes",
                               .text = text,
                               .text_size = size,
                               .title = i % 2 ? "A title" : NULL,
                               .session = i % 4 ? session : NULL,
                               .speaker = i % 3 ? "Ann" : NULL,
                               .metadata = i % 2 ? metadata : NULL,
                               .source = i % 6 ? "notes.md" : NULL,
                               .has_time = i % 3 == 0,
                               .time_ms = (int64_t)i * 86400123 - 1000000,
                               .vector = own ? vectors[0] : NULL,
                               .chunks = own ? NULL : chunks,
                               .n_chunks = own ? 0 : n_chunks,
                               .dimension = DIM,
                               .has_importance = i % 7 == 0,
                               .importance = i % 7 == 0 ? (float)(i % 11) / 10.0f : 0,
                               .pinned = i % 8 == 0,
                               .has_expires = i % 9 == 0,
                               .expires_ms = i % 9 == 0 ? INT64_C(4102444800123) : 0};
        mneme_add_options options = from_encoder("made-up", 42);
        assert_ok(mneme_add(memory, &record, 1, &options, NULL, test_error()));
    }
}

/* In each type that a store may keep vectors in. */
static void same_again(const char *type)
{
    char names[2][40];
    snprintf(names[0], sizeof names[0], "varied %s", type);
    snprintf(names[1], sizeof names[1], "varied %s again", type);
    assert_ok(mneme_settings_set(g_settings, "store.vectors", type, "command line", test_error()));
    mneme *memory = open_store(names[0]), *second = open_store(names[1]);
    fill_varied(memory, 60);
    basket first = {0}, again = {0};
    export_into(memory, &first, true);
    assert_int_equal(first.n, 60);
    size_t n_importance = 0, n_pinned = 0, n_expires = 0;
    for (size_t i = 0; i < first.n; i++) {
        n_importance += first.items[i].record.has_importance;
        n_pinned += first.items[i].record.pinned;
        n_expires += first.items[i].record.has_expires;
    }
    assert_int_equal(n_importance, 9); /* 0 7 14 ... 56 */
    assert_int_equal(n_pinned, 8);
    assert_int_equal(n_expires, 7);
    for (size_t i = 0; i < first.n; i++) {
        mneme_record record = record_of(&first.items[i]);
        mneme_add_options options = from_encoder("made-up", 42);
        options.strict = true;
        assert_ok(mneme_add(second, &record, 1, &options, NULL, test_error()));
    }
    export_into(second, &again, true);
    assert_same_records(&first, &again);
    assert_sound(second);
    mneme_close(memory);
    mneme_close(second);
    empty(&first);
    empty(&again);
}

static void export_added_to_a_new_store_exports_the_same(void **state)
{
    (void)state;
    same_again("bf16");
    same_again("int12");
    same_again("int8");
    same_again("f32");
}

static void add_plain(mneme *memory, const char *id, const char *session, const char *text)
{
    const mneme_chunk none = {0};
    const mneme_record record = {.id = id, .session = session, .text = text, .chunks = &none, .n_chunks = 0};
    assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
}

static void export_gives_each_session_in_its_order(void **state)
{
    (void)state;
    mneme *memory = open_store("order");
    add_plain(memory, "a1", "a", "one");
    add_plain(memory, "b1", "b", "one");
    add_plain(memory, "loose", NULL, "one");
    add_plain(memory, "a2", "a", "two");
    add_plain(memory, "b2", "b", "two");
    add_plain(memory, "a3", "a", "three");
    add_plain(memory, "a1", "a", "one, said otherwise"); /* replaced: added last, but still the first of its session */
    add_plain(memory, "b2", "b", "two, said otherwise");
    basket b = {0};
    export_into(memory, &b, false);
    /* Added: b1 loose a2 a3 a1 b2. The turns of session a (3rd, 4th, 5th) go to a1 a2 a3. */
    static const char *const expected[] = {"b1", "loose", "a1", "a2", "a3", "b2"};
    assert_int_equal(b.n, 6);
    for (size_t i = 0; i < 6; i++) assert_string_equal(b.items[i].record.id, expected[i]);
    empty(&b);
    mneme_close(memory);
}

/* Changes the store while it is being exported. */
static bool keep_and_change(void *context, const mneme_record *record)
{
    basket *b = context;
    if (b->n == 10) {
        add_plain(b->memory, "2900", NULL, "replaced while exporting");
        add_plain(b->memory, "new", NULL, "added while exporting");
        const char *ids[] = {"2901", "2902"};
        mneme_forget_options forget = MNEME_FORGET_OPTIONS_INIT;
        forget.ids = ids;
        forget.n_ids = 2;
        assert_ok(mneme_forget(b->memory, &forget, NULL, test_error()));
    }
    return keep(context, record);
}

/* Writes the store anew while it is being exported. */
static bool keep_and_compact(void *context, const mneme_record *record)
{
    basket *b = context;
    if (b->n == 10) assert_ok(mneme_compact(b->memory, NULL, NULL, test_error()));
    return keep(context, record);
}

static void export_goes_on_over_a_compaction(void **state)
{
    (void)state;
    mneme *memory = open_store("compacted");
    const mneme_chunk none = {0};
    mneme_record *records = calloc(3000, sizeof *records);
    char(*ids)[8] = calloc(3000, sizeof *ids);
    for (int i = 0; i < 3000; i++) {
        snprintf(ids[i], sizeof ids[i], "%d", i);
        records[i] = (mneme_record){.id = ids[i], .text = "a text", .chunks = &none};
    }
    assert_ok(mneme_add(memory, records, 3000, NULL, NULL, test_error()));
    add_plain(memory, "0", NULL, "another text"); /* so that there is something to leave out */
    basket b = {.memory = memory};
    mneme_export_result result;
    assert_ok(mneme_export(memory, NULL, keep_and_compact, &b, &result, test_error()));
    assert_int_equal(result.vanished, 0);
    assert_int_equal(b.n, 3000);
    for (size_t i = 0; i < b.n; i++) assert_int_equal(atoi(b.items[i].record.id), (int)(i + 1) % 3000);
    empty(&b);
    free(records);
    free(ids);
    mneme_close(memory);
}

static void export_is_of_one_generation_while_the_store_changes(void **state)
{
    (void)state;
    mneme *memory = open_store("changing");
    const mneme_chunk none = {0};
    mneme_record *records = calloc(3000, sizeof *records);
    char(*ids)[8] = calloc(3000, sizeof *ids);
    for (int i = 0; i < 3000; i++) {
        snprintf(ids[i], sizeof ids[i], "%d", i);
        records[i] = (mneme_record){.id = ids[i], .text = "as it was", .chunks = &none};
    }
    mneme_add_result added;
    assert_ok(mneme_add(memory, records, 3000, NULL, &added, test_error()));
    basket b = {.memory = memory};
    mneme_export_result result;
    assert_ok(mneme_export(memory, NULL, keep_and_change, &b, &result, test_error()));
    assert_int_equal(result.generation, added.generation);
    assert_int_equal(result.vanished, 3);
    assert_int_equal(result.records, 2997);
    assert_int_equal(b.n, 2997);
    for (size_t i = 0; i < b.n; i++) {
        assert_memory_equal(b.items[i].record.text, "as it was", 9);
        assert_int_equal(atoi(b.items[i].record.id), (int)(i < 2900 ? i : i + 3));
    }
    empty(&b);
    free(records);
    free(ids);
    mneme_close(memory);
}

static void export_selects_and_can_be_cancelled(void **state)
{
    (void)state;
    mneme *memory = open_store("select");
    fill_varied(memory, 30);
    mneme_export_options options = MNEME_EXPORT_OPTIONS_INIT;
    options.select.name_space = "notes";
    options.select.where = "exists speaker";
    basket b = {0};
    mneme_export_result result;
    assert_ok(mneme_export(memory, &options, keep, &b, &result, test_error()));
    for (size_t i = 0; i < b.n; i++) assert_string_equal(b.items[i].record.name_space, "notes");
    assert_int_equal(b.n, 0); /* "notes" are every third, who have no speaker */
    options.select.where = "exists time";
    assert_ok(mneme_export(memory, &options, keep, &b, &result, test_error()));
    assert_int_equal(b.n, 8); /* 3 6 9 12 18 21 24 27 */
    empty(&b);
    /* What has ended is left out, unless it is asked for. */
    const mneme_chunk none = {0};
    const mneme_record ended = {
        .id = "ended", .name_space = "short", .text = "x", .chunks = &none, .has_expires = true, .expires_ms = 1000};
    assert_ok(mneme_add(memory, &ended, 1, NULL, NULL, test_error()));
    options.select = (mneme_selection){.name_space = "short"};
    assert_ok(mneme_export(memory, &options, keep, &b, &result, test_error()));
    assert_int_equal(b.n, 0);
    options.select.include_expired = true;
    assert_ok(mneme_export(memory, &options, keep, &b, &result, test_error()));
    assert_int_equal(b.n, 1);
    empty(&b);
    options.select.where = "speaker = ";
    assert_int_equal(mneme_export(memory, &options, keep, &b, &result, test_error()), MNEME_ERR_SYNTAX);
    options.select = (mneme_selection){0};
    b.limit = 3;
    assert_int_equal(mneme_export(memory, &options, keep, &b, &result, test_error()), MNEME_ERR_CANCELLED);
    assert_int_equal(b.n, 3);
    empty(&b);
    mneme_close(memory);
}

static void export_out_of_memory_says_so(void **state)
{
    (void)state;
    mneme *memory = open_store("memory");
    fill_varied(memory, 20);
    mneme_export_options options = MNEME_EXPORT_OPTIONS_INIT;
    options.vectors = true;
    bool done = false;
    for (size_t n = 1; !done && n < 3000; n++) {
        basket b = {0};
        mneme_error error = {MNEME_OK, ""};
        mn_alloc_fail_after(n);
        mneme_status status = mneme_export(memory, &options, keep, &b, NULL, &error);
        mn_alloc_fail_after(0);
        if (status != MNEME_OK)
            assert_int_equal(status, MNEME_ERR_MEMORY);
        else
            assert_int_equal(b.n, 20);
        done = status == MNEME_OK;
        empty(&b);
    }
    assert_true(done);
    mneme_close(memory);
}

/* ---- salvage ---- */

static size_t g_steps;

static void note_step(void *context, const mneme_salvage_place *place)
{
    (void)context;
    assert_true(place->step >= MNEME_SALVAGE_NAMESPACES && place->step <= MNEME_SALVAGE_ENCODER);
    g_steps++;
}

static bool keep_salvaged(void *context, const mneme_salvage_place *place, const mneme_record *record,
                          const char *problem)
{
    (void)place;
    if (problem) fail_msg("problem: %s", problem);
    return record ? keep(context, record) : true;
}

static void no_damage(void *context, const char *line)
{
    (void)context;
    fail_msg("damage: %s", line);
}

static int by_name(const void *left, const void *right)
{
    const kept *a = left, *b = right;
    int order = strcmp(a->record.name_space, b->record.name_space);
    return order ? order : strcmp(a->record.id, b->record.id);
}

static void salvage_of_a_sound_store_gives_what_export_gives(void **state)
{
    (void)state;
    mneme *memory = open_store("sound");
    fill_varied(memory, 40);
    basket exported = {0}, salvaged = {0};
    export_into(memory, &exported, true);
    mneme_close(memory);
    char path[1200];
    snprintf(path, sizeof path, "%s/sound", g_dir);
    assert_ok(mneme_open(path, g_settings, MNEME_OPEN_DAMAGED, &memory, test_error()));
    mneme_salvage_options options = MNEME_SALVAGE_OPTIONS_INIT;
    options.vectors = true;
    options.at = note_step;
    options.take = keep_salvaged;
    options.damage = no_damage;
    options.context = &salvaged;
    g_steps = 0;
    assert_ok(mneme_salvage(memory, &options, test_error()));
    assert_true(g_steps >= 40);
    qsort(exported.items, exported.n, sizeof *exported.items, by_name);
    qsort(salvaged.items, salvaged.n, sizeof *salvaged.items, by_name);
    assert_same_records(&exported, &salvaged);
    const mneme_record late = {.id = "late", .text = "x", .vector = (const float[DIM]){1, 0, 0, 0}, .dimension = DIM};
    assert_int_equal(mneme_add(memory, &late, 1, NULL, NULL, test_error()), MNEME_ERR_READ_ONLY);
    mneme_close(memory);
    empty(&exported);
    empty(&salvaged);
}

static int set_up(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    if (mneme_settings_new(&g_settings, NULL) != MNEME_OK) return -1;
    return mneme_settings_set(g_settings, "store.vectors", "f32", "command line", NULL);
}

static int tear_down(void **state)
{
    (void)state;
    mneme_settings_free(g_settings);
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_brought_along_need_no_encoder_and_stamp_the_store),
        cmocka_unit_test(chunks_that_cannot_be_are_refused),
        cmocka_unit_test(vectors_of_nearly_unit_length_are_kept_bit_for_bit),
        cmocka_unit_test(json_line_with_chunks_is_read),
        cmocka_unit_test(export_added_to_a_new_store_exports_the_same),
        cmocka_unit_test(export_gives_each_session_in_its_order),
        cmocka_unit_test(export_is_of_one_generation_while_the_store_changes),
        cmocka_unit_test(export_goes_on_over_a_compaction),
        cmocka_unit_test(export_selects_and_can_be_cancelled),
        cmocka_unit_test(export_out_of_memory_says_so),
        cmocka_unit_test(salvage_of_a_sound_store_gives_what_export_gives),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
