/* test_where_plan.c -- filters answered with the index of fields against the same filters asked of every record: random
 * stores, random expressions, the same answers. */
#include "test_support.h"

#include "memory/where_plan.h"

enum { DIM = 4, STORES = 6, EXPRESSIONS = 120 };

static char *g_dir;
static mneme_settings *g_settings;

static mneme *open_store(const char *name)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    mneme *memory = NULL;
    assert_ok(mneme_open(path, g_settings, 0, &memory, test_error()));
    return memory;
}

static uint32_t below(uint32_t *seed, uint32_t n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % n;
}

#define PICK(seed, array) ((array)[below(seed, sizeof(array) / sizeof(array)[0])])

static void print_line(void *context, const char *line)
{
    (void)context;
    printf("%s\n", line);
}

static void assert_sound(mneme *memory)
{
    mneme_check_report report;
    assert_ok(mneme_check(memory, print_line, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

/* ---- random records ---- */

#define LONG                                                                                                           \
    "0123456789012345678901234567890123456789012345678901234567890123456789" /* 70 bytes: over the index's 64 */

static const char *const g_cities[] = {"Rome",          "Romeo",  "Oslo",   "oslo",      "",
                                       "Z\xC3\xBCrich", LONG "a", LONG "b", "2023-05-08"};
static const char *const g_numbers[] = {"0", "-0.0", "1", "-1", "30", "2.5", "-1e300", "1e300", "30.0", "123456789012"};
static const char *const g_dates[] = {
    "2023-05-08", "2023-05-08T12:00:00Z", "2023-05-08T14:00+02:00", "1969-12-31T23:59:59Z", "2024", "soon",
    "2023-05-09"};
static const char *const g_speakers[] = {"Ann", "Bob", "Anna", NULL, NULL};
static const char *const g_sessions[] = {"monday", "tuesday", "2023-05-08", NULL};
static const char *const g_sources[] = {"docs/a.md", "docs/b/c.md", "docsx/a.md", "/abs/a.md", NULL};
static const char *const g_spaces[] = {"", "n1", "n1", "n2"};
static const char *const g_words[] = {"river", "stone", "bridge", "lamp", "apple", "wind"};

/* One value that metadata may have, as JSON. */
static void add_scalar(mn_buffer *out, uint32_t *seed)
{
    switch (below(seed, 6)) {
    case 0: mn_buffer_text(out, below(seed, 2) ? "true" : "false"); break;
    case 1: mn_buffer_text(out, "null"); break;
    case 2: mn_buffer_text(out, PICK(seed, g_numbers)); break;
    case 3: mn_buffer_format(out, "\"%s\"", PICK(seed, g_dates)); break;
    default: mn_buffer_format(out, "\"%s\"", PICK(seed, g_cities)); break;
    }
}

static void add_value(mn_buffer *out, uint32_t *seed, int depth)
{
    uint32_t kind = below(seed, 10), n = below(seed, 4);
    if (kind == 0) {
        mn_buffer_byte(out, '[');
        for (uint32_t i = 0; i < n; i++) {
            if (i) mn_buffer_byte(out, ',');
            add_scalar(out, seed);
        }
        mn_buffer_byte(out, ']');
    } else if (kind == 1 && depth < 3) {
        mn_buffer_text(out, "{\"x\":");
        add_value(out, seed, depth + 1);
        mn_buffer_text(out, ",\"y\":");
        add_value(out, seed, depth + 1);
        mn_buffer_text(out, "}");
    } else {
        add_scalar(out, seed);
    }
}

/* Keys of metadata, on purpose some that are fields of records, too. */
static const char *const g_keys[] = {"city", "age", "born", "tags", "at", "at.x", "speaker", "time"};

static const char *random_metadata(mn_arena *arena, uint32_t *seed)
{
    if (below(seed, 5) == 0) return NULL;
    mn_buffer out = {0};
    mn_buffer_text(&out, "{\"id\":1");
    for (size_t i = 0; i < sizeof g_keys / sizeof g_keys[0]; i++) {
        if (below(seed, 2)) continue;
        mn_buffer_format(&out, ",\"%s\":", g_keys[i]);
        add_value(&out, seed, 0);
    }
    if (below(seed, 40) == 0) /* more than the index takes */
        for (int i = 0; i < 40; i++) mn_buffer_format(&out, ",\"k%d\":%d", i, i);
    mn_buffer_byte(&out, '}');
    const char *kept = mn_arena_copy(arena, out.data, out.size);
    mn_buffer_free(&out);
    return kept;
}

static mneme_record random_record(mn_arena *arena, uint32_t *seed)
{
    char text[200], id[16];
    float *vector = mn_arena_array(arena, DIM, sizeof *vector);
    for (int i = 0; i < DIM; i++) vector[i] = (float)below(seed, 2001) / 1000.0f - 1.0f + (i == 0 ? 0.0005f : 0);
    snprintf(id, sizeof id, "r%u", below(seed, 400));
    snprintf(text, sizeof text, "%s %s %s", PICK(seed, g_words), PICK(seed, g_words), PICK(seed, g_words));
    bool timed = below(seed, 4) > 0;
    return (mneme_record){.id = mn_arena_strdup(arena, id),
                          .name_space = PICK(seed, g_spaces),
                          .text = mn_arena_strdup(arena, text),
                          .title = below(seed, 3) ? NULL : "A title",
                          .session = PICK(seed, g_sessions),
                          .speaker = PICK(seed, g_speakers),
                          .source = PICK(seed, g_sources),
                          .metadata = random_metadata(arena, seed),
                          .has_time = timed,
                          .time_ms = timed ? 1683500000000 + (int64_t)below(seed, 200) * 1800000 : 0,
                          .vector = vector,
                          .dimension = DIM};
}

/* Records added, replaced and forgotten. */
static mneme *random_store(const char *name, uint32_t *seed)
{
    mneme *memory = open_store(name);
    for (int round = 0; round < 4; round++) {
        mn_arena arena = {0};
        mneme_record records[120];
        for (size_t i = 0; i < 120; i++) records[i] = random_record(&arena, seed);
        assert_ok(mneme_add(memory, records, 120, NULL, NULL, test_error()));
        const char *ids[] = {"r1", "r2", "r3", "r50", "r51", "r52"};
        mneme_forget_options forget = MNEME_FORGET_OPTIONS_INIT;
        forget.ids = ids;
        forget.n_ids = 6;
        forget.select.name_space = PICK(seed, g_spaces);
        assert_ok(mneme_forget(memory, &forget, NULL, test_error()));
        mn_arena_free(&arena);
    }
    return memory;
}

/* ---- random expressions ---- */

static const char *const g_fields[] = {
    "id",     "session", "speaker", "source", "title", "time",   "namespace",        "city",          "age",
    "born",   "tags",    "at",      "at.x",   "at.y",  "at.x.y", "metadata.speaker", "metadata.time", "k3",
    "missing"};

static void add_literal(mn_buffer *out, uint32_t *seed)
{
    switch (below(seed, 9)) {
    case 0: mn_buffer_text(out, PICK(seed, g_numbers)); break;
    case 1: mn_buffer_text(out, below(seed, 2) ? "true" : "false"); break;
    case 2: mn_buffer_text(out, "null"); break;
    case 3: mn_buffer_text(out, "2023-05-08"); break;
    case 4: mn_buffer_format(out, "2023-05-0%uT1%u:30:00Z", 7 + below(seed, 3), below(seed, 10)); break;
    case 5: mn_buffer_format(out, "\"%s\"", PICK(seed, g_dates)); break;
    case 6: mn_buffer_format(out, "\"r%u\"", below(seed, 400)); break;
    case 7: {
        static const char *const names[] = {"Ann", "monday", "tuesday", "docs/a.md", "n1", "", "o", "x", "A title"};
        mn_buffer_format(out, "\"%s\"", PICK(seed, names));
        break;
    }
    default: mn_buffer_format(out, "\"%s\"", PICK(seed, g_cities)); break;
    }
}

static void add_expression(mn_buffer *out, uint32_t *seed, int depth)
{
    static const char *const operators[] = {"=", "=", "=", "!=", "<", "<=", ">", ">="};
    uint32_t kind = below(seed, depth < 3 ? 12 : 7);
    const char *field = PICK(seed, g_fields);
    if (kind >= 8 || kind == 7) {
        if (kind == 7) mn_buffer_text(out, "not ");
        mn_buffer_byte(out, '(');
        add_expression(out, seed, depth + 1);
        for (uint32_t n = 1 + below(seed, 3); kind > 7 && n > 0; n--) {
            mn_buffer_text(out, kind > 9 ? " and " : " or ");
            add_expression(out, seed, depth + 1);
        }
        mn_buffer_byte(out, ')');
    } else if (kind == 0) {
        mn_buffer_format(out, "exists %s", field);
    } else if (kind == 1) {
        mn_buffer_format(out, "%s contains ", field);
        add_literal(out, seed);
    } else if (kind == 2) {
        mn_buffer_format(out, "%s %sin (", field, below(seed, 4) ? "" : "not ");
        for (uint32_t n = below(seed, 4); n > 0; n--) {
            add_literal(out, seed);
            mn_buffer_text(out, ", ");
        }
        add_literal(out, seed);
        mn_buffer_byte(out, ')');
    } else {
        mn_buffer_format(out, "%s %s ", field, PICK(seed, operators));
        add_literal(out, seed);
    }
}

/* One that compiles: time is compared with dates alone. */
static void add_valid_expression(mn_buffer *out, uint32_t *seed)
{
    for (bool valid = false; !valid;) {
        mn_arena arena = {0};
        const mn_where *where = NULL;
        mn_buffer_clear(out);
        add_expression(out, seed, 0);
        valid = mn_where_compile(out->data, &arena, &where, NULL) == MNEME_OK;
        mn_arena_free(&arena);
    }
}

static mneme_selection random_selection(uint32_t *seed, const char *where)
{
    static const char *const sources[] = {"docs", "docs/", "docs/b", ".", "/abs", "docs/a.md"};
    mneme_selection select = {.where = where};
    if (below(seed, 2)) select.name_space = PICK(seed, g_spaces);
    if (below(seed, 6) == 0) select.session = PICK(seed, g_sessions);
    if (below(seed, 6) == 0) select.source = PICK(seed, sources);
    if (below(seed, 6) == 0)
        select.has_since = true, select.since_ms = 1683500000000 + (int64_t)below(seed, 200) * 1800000;
    if (below(seed, 6) == 0)
        select.has_until = true, select.until_ms = 1683500000000 + (int64_t)below(seed, 200) * 1800000;
    return select;
}

/* ---- what every record says when it is asked ---- */

/* "space/id space/id ": those accepted, in the order of list. *n_planned: namespaces whose plan was known. */
static void ask_every_record(mneme *memory, const mneme_selection *select, mn_buffer *out, size_t *n, size_t *n_planned)
{
    mn_arena arena = {0};
    mn_read *read = NULL;
    mn_filter filter;
    mn_namespace *spaces = NULL;
    size_t n_spaces = 0;
    *n = 0;
    assert_ok(mn_filter_compile(select, &arena, &filter, test_error()));
    assert_ok(mn_read_begin(memory->store, &read, test_error()));
    assert_ok(mn_selected_namespaces(read, select, &arena, &spaces, &n_spaces, test_error()));
    for (size_t i = 0; i < n_spaces; i++) {
        mn_recs recs = {0};
        bool known = false;
        size_t at = 0;
        mn_record record;
        assert_ok(mn_where_plan(&filter, read, &spaces[i], (size_t)spaces[i].n_records, &known, &recs, test_error()));
        *n_planned += known;
        for (size_t j = 1; j < recs.n; j++) assert_true(recs.items[j - 1] < recs.items[j]);
        for (uint32_t rec = 0; mn_read_next_record(read, spaces[i].ns, rec, &record, NULL) == MNEME_OK;
             rec = record.rec + 1) {
            if (!mn_filter_accepts(&filter, spaces[i].name, &record)) continue;
            mn_buffer_format(out, "%s/%s ", spaces[i].name, record.id);
            ++*n;
            while (at < recs.n && recs.items[at] < record.rec) at++;
            if (known && (at == recs.n || recs.items[at] != record.rec))
                fail_msg("the plan of \"%s\" lacks %s/%s %s", select->where, spaces[i].name, record.id,
                         record.metadata);
        }
        mn_free(recs.items);
    }
    mn_buffer_byte(out, '.');
    mn_read_end(read);
    mn_arena_free(&arena);
}

static void list_pages(mneme *memory, const mneme_selection *select, size_t page, mn_buffer *out)
{
    mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
    char *after = NULL;
    options.select = *select;
    options.limit = page;
    do {
        mneme_record_list *list = NULL;
        options.after = after;
        assert_ok(mneme_list(memory, &options, &list, test_error()));
        for (size_t i = 0; i < list->n; i++)
            mn_buffer_format(out, "%s/%s ", list->items[i].name_space, list->items[i].id);
        free(after);
        after = list->next ? strdup(list->next) : NULL;
        mneme_record_list_free(list);
    } while (after);
    mn_buffer_byte(out, '.');
}

static void filters_list_and_forget_what_every_record_says(void **state)
{
    (void)state;
    size_t n_planned = 0, n_matched = 0;
    for (uint32_t s = 0; s < STORES; s++) {
        char name[32];
        uint32_t seed = 1000 + s;
        snprintf(name, sizeof name, "list%u", s);
        mneme *memory = random_store(name, &seed);
        assert_sound(memory);
        for (int i = 0; i < EXPRESSIONS; i++) {
            mn_buffer where = {0}, expected = {0}, listed = {0};
            size_t n = 0;
            uint64_t n_forgotten = 0;
            add_valid_expression(&where, &seed);
            mneme_selection select = random_selection(&seed, where.data);
            ask_every_record(memory, &select, &expected, &n, &n_planned);
            list_pages(memory, &select, 1 + below(&seed, 30), &listed);
            if (strcmp(expected.data, listed.data) != 0)
                fail_msg("seed %u: %s: %s, not %s", s, where.data, listed.data, expected.data);
            mneme_forget_options forget = MNEME_FORGET_OPTIONS_INIT;
            forget.select = select;
            forget.dry_run = n > 20;
            assert_ok(mneme_forget(memory, &forget, &n_forgotten, test_error()));
            assert_int_equal(n_forgotten, n);
            n_matched += n > 0;
            mn_buffer_free(&where);
            mn_buffer_free(&expected);
            mn_buffer_free(&listed);
        }
        assert_sound(memory);
        mneme_close(memory);
    }
    /* The test has tested something. */
    assert_true(n_planned > STORES * EXPRESSIONS / 2);
    assert_true(n_matched > STORES * EXPRESSIONS / 4);
}

/* ---- ranking ---- */

static void expect_same_hits(mneme *memory, mneme_query_options options, const char *where, size_t *n_hits)
{
    char full[4096];
    mneme_hits *with = NULL, *without = NULL;
    options.select.where = where;
    assert_ok(mneme_query(memory, "river stone lamp", &options, &with, test_error()));
    snprintf(full, sizeof full, "not not (%s)", where); /* for which there is no plan */
    options.select.where = full;
    assert_ok(mneme_query(memory, "river stone lamp", &options, &without, test_error()));
    if (with->n != without->n) fail_msg("%s: %zu hits, not %zu", where, with->n, without->n);
    for (size_t i = 0; i < with->n; i++) {
        const mneme_hit *a = &with->items[i], *b = &without->items[i];
        bool same = strcmp(a->id, b->id) == 0 && strcmp(a->name_space, b->name_space) == 0;
        float scores[2][5] = {{a->score, a->dense, a->lexical, a->neighbour, a->attention},
                              {b->score, b->dense, b->lexical, b->neighbour, b->attention}};
        if (!same || memcmp(scores[0], scores[1], sizeof scores[0]) != 0)
            fail_msg("%s: hit %zu is %s with %g, not %s with %g", where, i, a->id, (double)a->score, b->id,
                     (double)b->score);
    }
    *n_hits += with->n;
    mneme_hits_free(with);
    mneme_hits_free(without);
}

static void ranking_is_the_same_with_and_without_the_index(void **state)
{
    (void)state;
    size_t n_hits = 0;
    for (uint32_t s = 0; s < STORES; s++) {
        char name[32];
        uint32_t seed = 2000 + s;
        snprintf(name, sizeof name, "rank%u", s);
        mneme *memory = random_store(name, &seed);
        for (int i = 0; i < EXPRESSIONS; i++) {
            mn_buffer where = {0};
            add_valid_expression(&where, &seed);
            float vector[DIM] = {(float)below(&seed, 100) / 50 - 1, 0.3f, (float)below(&seed, 100) / 50 - 1, 0.1f};
            mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
            options.k = 1 + below(&seed, 20);
            options.mode = (mneme_mode)(1 + below(&seed, 3));
            options.one_per_record = below(&seed, 2);
            options.vector = vector;
            options.dimension = DIM;
            if (below(&seed, 2)) options.select.name_space = PICK(&seed, g_spaces);
            expect_same_hits(memory, options, where.data, &n_hits);
            mn_buffer_free(&where);
        }
        mneme_close(memory);
    }
    assert_true(n_hits > STORES * EXPRESSIONS);
}

/* ---- choosing ---- */

/* How many candidates the plan of an expression has in the store of the test below; -1: no plan. */
static int plan_size(mneme *memory, const char *where)
{
    mn_arena arena = {0};
    mn_read *read = NULL;
    mn_filter filter;
    mn_namespace space;
    mn_recs recs = {0};
    bool known = false;
    assert_ok(mn_filter_compile(&(mneme_selection){.where = where}, &arena, &filter, test_error()));
    assert_ok(mn_read_begin(memory->store, &read, test_error()));
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_ok(mn_filter_candidates(&filter, read, &space, &known, &recs, test_error()));
    int n = known ? (int)recs.n : -1;
    mn_free(recs.items);
    mn_read_end(read);
    mn_arena_free(&arena);
    return n;
}

static void plans_take_the_most_selective_part(void **state)
{
    (void)state;
    mneme *memory = open_store("choose");
    static mneme_record records[2000];
    static char ids[2000][16], metadata[2000][80];
    const float vector[DIM] = {1, 0, 0, 0};
    for (int i = 0; i < 2000; i++) {
        snprintf(ids[i], sizeof ids[i], "r%04d", i);
        snprintf(metadata[i], sizeof metadata[i], "{\"n\":%d,\"mod\":%d,\"tags\":[\"t%d\"]}", i, i % 10, i % 100);
        records[i] = (mneme_record){.id = ids[i],
                                    .text = "x",
                                    .metadata = metadata[i],
                                    .speaker = i % 2 ? "Ann" : "Bob",
                                    .has_time = true,
                                    .time_ms = (int64_t)i * 86400000,
                                    .vector = vector,
                                    .dimension = DIM};
    }
    assert_ok(mneme_add(memory, records, 2000, NULL, NULL, test_error()));
    assert_int_equal(plan_size(memory, "n = 5"), 1);
    assert_int_equal(plan_size(memory, "speaker = 'Ann' and mod = 3 and tags contains 't7'"), 20);
    assert_int_equal(plan_size(memory, "mod = 3"), 200);
    assert_int_equal(plan_size(memory, "mod = 3 or n in (1, 2, 13)"), 202); /* 13 has mod 3 */
    assert_int_equal(plan_size(memory, "speaker = 'Ann'"), -1);             /* half of them */
    assert_int_equal(plan_size(memory, "mod = 3 or speaker = 'Ann'"), -1);
    assert_int_equal(plan_size(memory, "not mod = 3"), -1);
    assert_int_equal(plan_size(memory, "title = 'x' or mod = 3"), -1);
    assert_int_equal(plan_size(memory, "title = 'x' and mod = 3"), 200);
    assert_int_equal(plan_size(memory, "n >= 1000 and not exists title and n <= 1009"), 10); /* one range */
    assert_int_equal(plan_size(memory, "n >= 100 and mod >= 8 and mod < 9 and n <= 1009"),
                     400); /* the index knows no <: 8 and 9 */
    assert_int_equal(plan_size(memory, "time >= 1970-02-01 and time < 1970-02-11"),
                     11); /* a day more: bounds are rounded */
    assert_int_equal(plan_size(memory, "namespace = 'other'"), 0);
    assert_int_equal(plan_size(memory, "speaker = 5 or source = true"), 0);
    assert_int_equal(plan_size(memory, "id >= 'r1990'"), 10);
    assert_int_equal(plan_size(memory, "missing = 1"), 0);
    mneme_close(memory);
}

static void long_chains_are_planned(void **state)
{
    (void)state;
    mneme *memory = open_store("chain");
    const float vector[DIM] = {1, 0, 0, 0};
    const mneme_record record = {
        .id = "a", .text = "x", .metadata = "{\"n\":3999}", .vector = vector, .dimension = DIM};
    assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
    mn_buffer where = {0};
    mn_buffer_text(&where, "n = 0");
    for (int i = 1; i < 4000; i++) mn_buffer_format(&where, " or n=%d", i);
    mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
    options.select.where = where.data;
    mneme_record_list *list = NULL;
    assert_ok(mneme_list(memory, &options, &list, test_error()));
    assert_int_equal(list->n, 1);
    mneme_record_list_free(list);
    mn_buffer_free(&where);
    mneme_close(memory);
}

static void filters_out_of_memory_say_so(void **state)
{
    (void)state;
    uint32_t seed = 12;
    mneme *memory = random_store("oom", &seed);
    const float vector[DIM] = {1, 0, 0, 0};
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.vector = vector;
    options.dimension = DIM;
    options.select.where = "(city = 'Rome' or tags contains 'Oslo' or speaker in ('Bob', 'Nobody')) and age < 50";
    options.select.name_space = "n1";
    options.select.source = "docs";
    options.select.has_since = true;
    mneme_hits *hits = NULL;
    size_t n = 1;
    for (;; n++) {
        mn_alloc_fail_after(n);
        mneme_status status = mneme_query(memory, "river", &options, &hits, NULL);
        mn_alloc_fail_after(0);
        if (status == MNEME_OK) break;
        assert_int_equal(status, MNEME_ERR_MEMORY);
        assert_null(hits);
    }
    assert_true(n > 10);
    mneme_hits_free(hits);
    mneme_close(memory);
}

static int setup(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    return mneme_settings_new(&g_settings, NULL) == MNEME_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mneme_settings_free(g_settings);
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_list_and_forget_what_every_record_says),
        cmocka_unit_test(ranking_is_the_same_with_and_without_the_index),
        cmocka_unit_test(plans_take_the_most_selective_part),
        cmocka_unit_test(long_chains_are_planned),
        cmocka_unit_test(filters_out_of_memory_say_so),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
