/* test_field_index.c -- the index of fields against a plain list of what was put: every record that has a value is
 * found, nothing but the documented coarseness comes along, and writing, replacing and forgetting keep it so. */
#include "test_support.h"

#include "memstore/store.h"

#include <lmdb.h>

enum { RECORDS = 300 };

static char *g_dir;

static const char *path_of(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    return path;
}

static mneme_status no_terms(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                             mneme_error *error)
{
    (void)context, (void)text, (void)size, (void)arena, (void)error;
    *out = (mn_term_list){0};
    return MNEME_OK;
}

static mn_store *open_store(const char *name)
{
    mn_store *store = NULL;
    assert_ok(mn_store_open(path_of(name), &(mn_store_options){.language = "english"}, &store, test_error()));
    mn_store_set_analyzer(store, no_terms, NULL);
    return store;
}

static uint32_t next_random(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

static void print_line(void *context, const char *line)
{
    (void)context;
    printf("%s\n", line);
}

static void assert_sound(mn_store *store)
{
    mneme_check_report report;
    assert_ok(mn_store_check(store, print_line, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

/* ---- writing ---- */

typedef struct change_job {
    const mneme_record *puts;
    size_t n_puts;
    const uint32_t *forgets;
    size_t n_forgets;
    bool rebuild;
} change_job;

static mneme_status do_change(void *context, mn_write *write, mneme_error *error)
{
    const change_job *job = context;
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < job->n_puts && status == MNEME_OK; i++)
        status = mn_write_put(write, &(mn_new_record){.record = &job->puts[i]}, error);
    for (size_t i = 0; i < job->n_forgets && status == MNEME_OK; i++)
        status = mn_write_forget(write, 1, job->forgets[i], error);
    if (status == MNEME_OK && job->rebuild) status = mn_write_rebuild_fields(write, error);
    return status;
}

static void change(mn_store *store, change_job job)
{
    assert_ok(mn_store_update(store, do_change, &job, NULL, test_error()));
}

static void put_one(mn_store *store, mneme_record record)
{
    change(store, (change_job){.puts = &record, .n_puts = 1});
}

/* ---- asking: the ids found, as "a b c" in the order of their numbers ---- */

static const char *found(mn_store *store, mn_field_range range)
{
    static char line[8192];
    mn_read *read = NULL;
    mn_namespace space;
    mn_recs recs = {0};
    size_t n = 0, at = 0;
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_ok(mn_read_field(read, space.ns, &range, &recs, test_error()));
    assert_ok(mn_count_field(read, space.ns, &range, SIZE_MAX, &n, test_error()));
    assert_int_equal(n, recs.n);
    assert_ok(mn_count_field(read, space.ns, &range, 1, &n, test_error()));
    if (range.match != MN_FIELD_CONTAINS) assert_int_equal(n, recs.n > 0);
    mn_recs_sort(&recs);
    line[0] = '\0';
    for (size_t i = 0; i < recs.n; i++) {
        mn_record record;
        assert_ok(mn_read_record(read, space.ns, recs.items[i], &record, test_error()));
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%s", i ? " " : "", record.id);
    }
    mn_free(recs.items);
    mn_read_end(read);
    return line;
}

static mn_field_value text_of(const char *text)
{
    return (mn_field_value){.type = MN_FIELD_TEXT, .text = text};
}

static mn_field_value number_of(double number)
{
    return (mn_field_value){.type = MN_FIELD_NUMBER, .number = number};
}

static mn_field_value time_of(const char *text)
{
    mn_field_value value = {.type = MN_FIELD_TIME};
    assert_ok(mneme_time_parse(text, &value.time_ms, test_error()));
    return value;
}

static mn_field_value element(mn_field_value value)
{
    value.element = true;
    return value;
}

static mn_field_range equal(const char *field, mn_field_value value)
{
    return (mn_field_range){.field = field, .match = MN_FIELD_EQUAL, .low = value};
}

static mn_field_range at_least(const char *field, mn_field_value value)
{
    return (mn_field_range){.field = field, .match = MN_FIELD_BETWEEN, .has_low = true, .low = value};
}

static mn_field_range at_most(const char *field, mn_field_value value)
{
    return (mn_field_range){.field = field, .match = MN_FIELD_BETWEEN, .has_high = true, .high = value};
}

static mn_field_range texts(const char *field, mn_field_match match, const char *text)
{
    return (mn_field_range){.field = field, .match = match, .low = text_of(text)};
}

static mn_store *make_people(const char *name)
{
    static const mneme_record people[] = {
        {.id = "ann",
         .session = "monday",
         .speaker = "Ann",
         .source = "docs/a.md",
         .has_time = true,
         .time_ms = -1,
         .metadata =
             "{\"city\":\"Rome\",\"age\":30,\"member\":true,\"tags\":[\"a\",\"b\",7],\"at\":{\"home\":{\"floor\":2}}}"},
        {.id = "bob",
         .session = "monday",
         .speaker = "Bob",
         .source = "docs/b.md",
         .has_time = true,
         .time_ms = 0,
         .metadata = "{\"city\":\"Oslo\",\"age\":-4.5,\"member\":false,\"tags\":[\"b\"],\"born\":\"2001-02-03\"}"},
        {.id = "cid",
         .session = "tuesday",
         .source = "other/c.md",
         .has_time = true,
         .time_ms = 1683554160000,
         .metadata = "{\"city\":null,\"age\":-0.0,\"tags\":[],\"born\":\"1999-12-31T23:00-02:00\"}"},
        {.id = "dan",
         .metadata = "{\"city\":\"Romeo\",\"age\":1e300,\"at\":\"home\",\"time\":\"none\",\"speaker\":\"Ann\"}"},
        {.id = "eve"},
    };
    mn_store *store = open_store(name);
    change(store, (change_job){.puts = people, .n_puts = sizeof people / sizeof people[0]});
    return store;
}

static void fields_of_each_type_are_found_by_value_and_range(void **state)
{
    (void)state;
    mn_store *store = make_people("types");
    assert_string_equal(found(store, equal("speaker", text_of("Ann"))), "ann"); /* not dan's own "speaker" */
    assert_string_equal(found(store, equal(".speaker", text_of("Ann"))), "dan");
    assert_string_equal(found(store, equal(".city", text_of("Rome"))), "ann");
    assert_string_equal(found(store, texts(".city", MN_FIELD_PREFIX, "Rome")), "ann dan");
    assert_string_equal(found(store, texts(".city", MN_FIELD_CONTAINS, "om")), "ann dan");
    assert_string_equal(found(store, texts("source", MN_FIELD_PREFIX, "docs/")), "ann bob");
    assert_string_equal(found(store, equal(".age", number_of(0))), "cid");
    assert_string_equal(found(store, at_least(".age", number_of(0))), "ann cid dan");
    assert_string_equal(found(store, at_most(".age", number_of(-1e-300))), "bob");
    assert_string_equal(found(store, at_most(".age", number_of(30))), "ann bob cid");
    assert_string_equal(found(store, equal(".member", (mn_field_value){.type = MN_FIELD_BOOLEAN, .boolean = true})),
                        "ann");
    assert_string_equal(found(store, equal(".city", (mn_field_value){.type = MN_FIELD_NULL})), "cid");
    assert_string_equal(found(store, equal(".tags", element(text_of("b")))), "ann bob");
    assert_string_equal(found(store, equal(".tags", element(number_of(7)))), "ann");
    assert_string_equal(found(store, equal(".tags", text_of("b"))), "");
    assert_string_equal(found(store, equal(".at.home.floor", number_of(2))), "ann");
    assert_string_equal(found(store, equal(".born", time_of("2001-02-03"))), "bob");
    assert_string_equal(found(store, at_most(".born", time_of("2000-01-02"))), "cid");
    assert_string_equal(found(store, at_least("time", time_of("1970-01-01"))), "bob cid");
    assert_string_equal(found(store, at_most("time", time_of("1969-12-31"))), "");
    assert_string_equal(found(store, at_most("time", time_of("1969-12-31T23:59:59.999Z"))), "ann");
    assert_string_equal(found(store, (mn_field_range){.field = ".city", .match = MN_FIELD_EXISTS}), "ann bob dan");
    assert_string_equal(found(store, (mn_field_range){.field = ".tags", .match = MN_FIELD_EXISTS}), "ann bob cid");
    assert_string_equal(found(store, (mn_field_range){.field = ".at", .match = MN_FIELD_EXISTS}), "ann dan");
    assert_string_equal(found(store, (mn_field_range){.field = ".cit", .match = MN_FIELD_EXISTS}), "");
    assert_sound(store);
    mn_store_close(store);
}

static void ids_and_sessions_are_found_by_value_and_range(void **state)
{
    (void)state;
    mn_store *store = make_people("names");
    assert_string_equal(found(store, equal("id", text_of("bob"))), "bob");
    assert_string_equal(found(store, equal("id", text_of("bo"))), "");
    assert_string_equal(found(store, at_least("id", text_of("cid"))), "cid dan eve");
    assert_string_equal(found(store, at_most("id", text_of("bob"))), "ann bob");
    assert_string_equal(found(store, texts("id", MN_FIELD_CONTAINS, "n")), "ann dan");
    assert_string_equal(found(store, equal("session", text_of("monday"))), "ann bob");
    assert_string_equal(found(store, texts("session", MN_FIELD_CONTAINS, "day")), "ann bob cid");
    assert_string_equal(found(store, at_least("session", text_of("n"))), "cid");
    assert_string_equal(found(store, (mn_field_range){.field = "session", .match = MN_FIELD_EXISTS}), "ann bob cid");
    mn_store_close(store);
}

static void long_texts_are_told_apart_by_value_but_not_by_order(void **state)
{
    (void)state;
    mn_store *store = open_store("long");
    char metadata[2][300], value[2][200];
    for (int i = 0; i < 2; i++) {
        memset(value[i], 'x', 150);
        value[i][149] = (char)('a' + i);
        value[i][150] = '\0';
        snprintf(metadata[i], sizeof metadata[i], "{\"k\":\"%.150s\"}", value[i]);
        put_one(store, (mneme_record){.id = i ? "second" : "first", .metadata = metadata[i]});
    }
    assert_string_equal(found(store, equal(".k", text_of(value[0]))), "first");
    assert_string_equal(found(store, equal(".k", text_of(value[1]))), "second");
    assert_string_equal(found(store, at_least(".k", text_of(value[1]))), "first second");
    assert_string_equal(found(store, at_most(".k", text_of(value[0]))), "first second");
    assert_string_equal(found(store, texts(".k", MN_FIELD_PREFIX, value[0])), "first second");
    assert_string_equal(found(store, texts(".k", MN_FIELD_CONTAINS, "unseen")),
                        "first second");                                             /* may be behind the cut */
    assert_string_equal(found(store, at_most(".k", text_of("xx"))), "first second"); /* they begin with it */
    assert_string_equal(found(store, at_most(".k", text_of("w"))), "");
    assert_sound(store);
    mn_store_close(store);
}

static void metadata_that_is_too_much_is_listed_as_such(void **state)
{
    (void)state;
    mn_store *store = open_store("much");
    char many[2000] = "{\"k0\":0", names[400], deep[200] = "1";
    for (int i = 1; i < 33; i++) snprintf(many + strlen(many), sizeof many - strlen(many), ",\"k%d\":%d", i, i);
    put_one(store, (mneme_record){.id = "many", .speaker = "Ann", .metadata = strcat(many, "}")});
    memset(names, 0, sizeof names);
    strcpy(names, "{\"");
    memset(names + 2, 'n', 250);
    put_one(store, (mneme_record){.id = "long", .metadata = strcat(names, "\":1}")});
    for (int i = 0; i < 12; i++) {
        char outer[200];
        snprintf(outer, sizeof outer, "{\"a\":%.150s}", deep);
        strcpy(deep, outer);
    }
    put_one(store, (mneme_record){.id = "deep", .metadata = deep});
    put_one(store, (mneme_record){.id = "plain", .metadata = "{\"k1\":1}"});
    put_one(store, (mneme_record){.id = "none"});
    assert_string_equal(found(store, (mn_field_range){.field = MN_FIELD_UNLISTED, .match = MN_FIELD_LISTED}),
                        "many long deep");
    assert_string_equal(found(store, equal(".k1", number_of(1))), "plain");
    assert_string_equal(found(store, equal("speaker", text_of("Ann"))), "many");
    assert_sound(store);
    mn_store_close(store);
}

/* ---- random changes against a model ---- */

typedef struct model_record {
    bool live;
    uint32_t rec; /* as the store numbers them */
    int group, number;
    char id[16], metadata[120];
} model_record;

static mneme_record random_record(model_record *m, uint32_t *seed, uint32_t *next_rec)
{
    m->live = true;
    m->rec = (*next_rec)++;
    m->group = (int)next_random(seed, 4);
    m->number = (int)next_random(seed, 2000) - 1000;
    snprintf(m->metadata, sizeof m->metadata, "{\"group\":\"g%d\",\"number\":%d,\"tags\":[\"g%d\",\"g%d\"]}", m->group,
             m->number, m->group, m->group);
    return (mneme_record){.id = m->id, .metadata = m->metadata, .speaker = m->group ? "Ann" : "Bob"};
}

static void expect_as_the_model(mn_store *store, const model_record *model, mn_field_range range,
                                bool (*matches)(const model_record *m, int value), int value)
{
    mn_read *read = NULL;
    mn_recs recs = {0};
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_ok(mn_read_field(read, 1, &range, &recs, test_error()));
    mn_recs_sort(&recs);
    size_t expected = 0;
    for (size_t i = 0; i < RECORDS; i++) {
        if (!model[i].live || !matches(&model[i], value)) continue;
        bool there = false;
        for (size_t j = 0; j < recs.n && !there; j++) there = recs.items[j] == model[i].rec;
        if (!there) fail_msg("record %u is missing in %s", model[i].rec, range.field);
        expected++;
    }
    assert_int_equal(recs.n, expected);
    mn_free(recs.items);
    mn_read_end(read);
}

static bool in_group(const model_record *m, int value)
{
    return m->group == value;
}
static bool number_at_least(const model_record *m, int value)
{
    return m->number >= value;
}
static bool number_at_most(const model_record *m, int value)
{
    return m->number <= value;
}
static bool spoken_by_ann(const model_record *m, int value)
{
    return (m->group != 0) == (value != 0);
}

static void expect_all_as_the_model(mn_store *store, const model_record *model, uint32_t *seed)
{
    for (int group = 0; group < 4; group++) {
        char name[8];
        snprintf(name, sizeof name, "g%d", group);
        expect_as_the_model(store, model, equal(".group", text_of(name)), in_group, group);
        expect_as_the_model(store, model, equal(".tags", element(text_of(name))), in_group, group);
    }
    for (int i = 0; i < 10; i++) {
        int bound = (int)next_random(seed, 2200) - 1100;
        expect_as_the_model(store, model, at_least(".number", number_of(bound)), number_at_least, bound);
        expect_as_the_model(store, model, at_most(".number", number_of(bound)), number_at_most, bound);
    }
    expect_as_the_model(store, model, equal("speaker", text_of("Ann")), spoken_by_ann, 1);
    expect_as_the_model(store, model, equal("speaker", text_of("Bob")), spoken_by_ann, 0);
}

static void index_follows_random_changes(void **state)
{
    (void)state;
    mn_store *store = open_store("random");
    static model_record model[RECORDS];
    mneme_record puts[40];
    uint32_t forgets[40], seed = 99, next_rec = 1;
    for (int i = 0; i < RECORDS; i++) snprintf(model[i].id, sizeof model[i].id, "r%d", i);
    for (int round = 0; round < 60; round++) {
        change_job job = {.puts = puts, .forgets = forgets};
        /* Replacing an id of this very write is part of it. */
        for (uint32_t n = next_random(&seed, 40); n > 0; n--) {
            model_record *m = &model[next_random(&seed, RECORDS)];
            bool again = false;
            for (size_t i = 0; i < job.n_puts; i++) again = again || puts[i].id == m->id;
            if (!again) puts[job.n_puts++] = random_record(m, &seed, &next_rec);
        }
        for (uint32_t n = next_random(&seed, 10); n > 0; n--) {
            model_record *m = &model[next_random(&seed, RECORDS)];
            if (!m->live) continue;
            m->live = false;
            forgets[job.n_forgets++] = m->rec;
        }
        job.rebuild = round % 17 == 5;
        change(store, job);
        expect_all_as_the_model(store, model, &seed);
        if (round % 10 == 9) assert_sound(store);
    }
    mn_store_close(store);
}

static void index_is_whole_after_compaction(void **state)
{
    (void)state;
    mn_store *store = make_people("compact");
    const uint32_t forgets[] = {2};
    change(store, (change_job){.forgets = forgets, .n_forgets = 1});
    mneme_compact_result result;
    assert_ok(mn_store_compact(store, NULL, NULL, NULL, &result, test_error()));
    assert_sound(store);
    assert_string_equal(found(store, equal(".tags", element(text_of("b")))), "ann");
    assert_string_equal(found(store, at_least(".age", number_of(0))), "ann cid dan");
    mn_store_close(store);
}

static void change_out_of_memory_leaves_the_index_as_before(void **state)
{
    (void)state;
    mn_store *store = make_people("oom");
    const mneme_record puts[] = {{.id = "ann", .speaker = "Anna", .metadata = "{\"city\":\"Bern\",\"tags\":[1,2]}"},
                                 {.id = "new", .source = "x", .metadata = "{\"city\":\"Bern\"}"}};
    const uint32_t forgets[] = {2};
    change_job job = {.puts = puts, .n_puts = 2, .forgets = forgets, .n_forgets = 1};
    size_t n = 1;
    for (;; n++) {
        mn_alloc_fail_after(n);
        mneme_status status = mn_store_update(store, do_change, &job, NULL, NULL);
        mn_alloc_fail_after(0);
        assert_sound(store);
        if (status == MNEME_OK) break;
        assert_int_equal(status, MNEME_ERR_MEMORY);
        assert_string_equal(found(store, equal(".city", text_of("Bern"))), "");
        assert_string_equal(found(store, equal(".tags", element(text_of("b")))), "ann bob");
    }
    assert_true(n > 10);
    assert_string_equal(found(store, equal(".city", text_of("Bern"))), "ann new");
    assert_string_equal(found(store, equal(".tags", element(text_of("b")))), "");
    mn_store_close(store);
}

/* ---- size ---- */

static uint64_t pages_of_fields(const char *name)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi db;
    MDB_stat stat;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_open(env, path_of(name), MDB_RDONLY, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "fields", 0, &db), 0);
    assert_int_equal(mdb_stat(txn, db, &stat), 0);
    /* ms_leaf_pages leaves out the trees of duplicates: the pages of the whole file are what can be compared. */
    MDB_envinfo info;
    assert_int_equal(mdb_env_info(env, &info), 0);
    uint64_t pages = stat.ms_entries ? info.me_last_pgno + 1 : 0;
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return pages;
}

/* A store of n records in one write, each with the metadata; pages of the whole file. */
static uint64_t pages_with(const char *name, size_t n, const char *metadata)
{
    mn_store *store = open_store(name);
    mneme_record *records = calloc(n, sizeof *records);
    char(*ids)[16] = calloc(n, sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "%07zu", i);
        records[i] = (mneme_record){.id = ids[i], .metadata = metadata};
    }
    change(store, (change_job){.puts = records, .n_puts = n});
    mn_store_close(store);
    free(records);
    free(ids);
    return pages_of_fields(name);
}

static void a_repeated_value_takes_four_bytes_a_record(void **state)
{
    (void)state;
    enum { N = 60000 };
    assert_int_equal(pages_with("size0", N, NULL), 0); /* nothing is indexed */
    /* Metadata of one length with one value and with ten. */
    const char *ten = "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":10}";
    char one[100];
    snprintf(one, sizeof one, "%-*s}", (int)strlen(ten) - 1, "{\"a\":1");
    uint64_t few = pages_with("size1", N, one), many = pages_with("size2", N, ten);
    double bytes = (double)(many - few) * 4096 / N / 9;
    if (!(bytes < 4.4)) fail_msg("%.2f bytes a value", bytes);
}

static int setup(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_each_type_are_found_by_value_and_range),
        cmocka_unit_test(ids_and_sessions_are_found_by_value_and_range),
        cmocka_unit_test(long_texts_are_told_apart_by_value_but_not_by_order),
        cmocka_unit_test(metadata_that_is_too_much_is_listed_as_such),
        cmocka_unit_test(index_follows_random_changes),
        cmocka_unit_test(index_is_whole_after_compaction),
        cmocka_unit_test(change_out_of_memory_leaves_the_index_as_before),
        cmocka_unit_test(a_repeated_value_takes_four_bytes_a_record),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
