/* test_namespaces.c -- namespaces are walls: one store holds a namespace alone, another holds the same beside others
 * that use the same ids, sessions, words, sources and metadata. Whatever is asked of that namespace, both must say the
 * same. */
#include "test_support.h"

#include "common/buffer.h"

#include <math.h>

enum { DIM = 4, OTHER_DIM = 3, ROUNDS = 5, EACH = 60 };

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

static void assert_sound(mneme *memory)
{
    mneme_check_report report;
    assert_ok(mneme_check(memory, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

/* ---- what is put ---- */

typedef struct turn {
    mneme_record record;
    char id[16], text[120], metadata[64];
    float vector[DIM];
} turn;

static void make_turn(turn *t, const char *name_space, uint32_t dimension, uint32_t *seed)
{
    static const char *const words[] = {"bank", "code", "river", "stone", "four", "seven", "lamp", "garden"};
    static const char *const sessions[] = {"monday", "tuesday", NULL};
    static const char *const speakers[] = {"Ann", "Bob"};
    snprintf(t->id, sizeof t->id, "r%u", below(seed, 150));
    t->text[0] = '\0';
    for (uint32_t i = 2 + below(seed, 12); i > 0; i--) {
        strcat(t->text, words[below(seed, 8)]);
        strcat(t->text, " ");
    }
    snprintf(t->metadata, sizeof t->metadata, "{\"kind\":\"k%u\",\"tags\":[\"t%u\"]}", below(seed, 4), below(seed, 5));
    for (uint32_t i = 0; i < dimension; i++) t->vector[i] = (float)below(seed, 2000) / 1000.0f - 0.9995f;
    t->record = (mneme_record){.id = t->id,
                               .name_space = name_space,
                               .text = t->text,
                               .session = sessions[below(seed, 3)],
                               .speaker = speakers[below(seed, 2)],
                               .source = below(seed, 2) ? "docs/a.md" : "docs/b.md",
                               .metadata = t->metadata,
                               .has_time = true,
                               .time_ms = 1683500000000 + (int64_t)below(seed, 100) * 3600000,
                               .vector = t->vector,
                               .dimension = dimension};
}

static void add_turns(mneme *memory, const char *name_space, uint32_t dimension, uint32_t *seed)
{
    static turn turns[EACH];
    mneme_record records[EACH];
    for (size_t i = 0; i < EACH; i++) {
        make_turn(&turns[i], name_space, dimension, seed);
        records[i] = turns[i].record;
    }
    assert_ok(mneme_add(memory, records, EACH, NULL, NULL, test_error()));
}

static uint64_t forget_where(mneme *memory, const char *name_space, const char *where)
{
    mneme_forget_options options = MNEME_FORGET_OPTIONS_INIT;
    uint64_t n = 0;
    options.select.name_space = name_space;
    options.select.where = where;
    assert_ok(mneme_forget(memory, &options, &n, test_error()));
    return n;
}

/* The same in `me` every time; beside it, when asked, in others. */
static mneme *make_store(const char *name, bool others)
{
    mneme *memory = open_store(name);
    uint32_t seed = 7, other_seed = 99;
    for (int round = 0; round < ROUNDS; round++) {
        if (others) add_turns(memory, "you", OTHER_DIM, &other_seed);
        if (others) add_turns(memory, "", DIM, &other_seed);
        add_turns(memory, "me", DIM, &seed);
        if (others) add_turns(memory, "me too", DIM, &other_seed);
        if (others) forget_where(memory, "you", "kind = 'k1'");
        forget_where(memory, "me",
                     round % 2 ? "session = 'monday' and kind = 'k3'" : "id = 'r7' or tags contains 't4'");
        if (others) forget_where(memory, "", "time > 2023-05-10");
    }
    return memory;
}

/* ---- what is asked: everything goes into one text ---- */

static void tell_hits(mneme *memory, const char *question, mneme_query_options options, mn_buffer *out)
{
    mneme_hits *hits = NULL;
    assert_ok(mneme_query(memory, question, &options, &hits, test_error()));
    for (size_t i = 0; i < hits->n; i++) {
        const mneme_hit *h = &hits->items[i];
        assert_string_equal(h->name_space, "me");
        mn_buffer_format(out, "%s/%u %a %a %a %a %a %.*s\n", h->id, h->chunk, (double)h->score, (double)h->dense,
                         (double)h->lexical, (double)h->neighbour, (double)h->attention, (int)h->text_size, h->text);
    }
    mn_buffer_text(out, "--\n");
    mneme_hits_free(hits);
}

static const char *const g_wheres[] = {NULL,
                                       "namespace = \"me\"",
                                       "namespace != \"me\"",
                                       "not namespace = \"me\"",
                                       "namespace = \"you\"",
                                       "namespace contains \"o\"",
                                       "session = \"monday\"",
                                       "kind = \"k2\"",
                                       "tags contains \"t1\"",
                                       "source = \"docs/a.md\" and speaker = \"Ann\"",
                                       "id in (\"r1\", \"r2\", \"r3\")",
                                       "time >= 2023-05-09",
                                       "exists session or kind = \"k0\""};

static void tell_answers(mneme *memory, mn_buffer *out)
{
    uint32_t seed = 5;
    for (size_t w = 0; w < sizeof g_wheres / sizeof g_wheres[0]; w++) {
        for (mneme_mode mode = MNEME_MODE_HYBRID; mode <= MNEME_MODE_LEXICAL; mode++) {
            float vector[DIM];
            for (int i = 0; i < DIM; i++) vector[i] = (float)below(&seed, 2000) / 1000.0f - 0.9995f;
            mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
            options.select.name_space = "me";
            options.select.where = g_wheres[w];
            options.mode = mode;
            options.k = 20;
            options.vector = vector;
            options.dimension = DIM;
            options.one_per_record = w % 2;
            tell_hits(memory, "bank code four garden", options, out);
            options.select.session = "tuesday";
            tell_hits(memory, "river", options, out);
        }
    }
}

static void tell_windows(mneme *memory, mn_buffer *out)
{
    for (size_t w = 0; w < sizeof g_wheres / sizeof g_wheres[0]; w++) {
        mneme_context_options options = MNEME_CONTEXT_OPTIONS_INIT;
        mneme_window *window = NULL;
        const float vector[DIM] = {0.5f, -0.5f, 0.5f, 0.5f};
        options.budget = 200;
        options.query.select.name_space = "me";
        options.query.select.where = g_wheres[w];
        options.query.vector = vector;
        options.query.dimension = DIM;
        assert_ok(mneme_context(memory, "bank code", &options, &window, test_error()));
        for (size_t i = 0; i < window->n; i++) assert_string_equal(window->items[i].name_space, "me");
        mn_buffer_format(out, "%u: %.*s\n--\n", window->tokens, (int)window->text_size, window->text);
        mneme_window_free(window);
    }
}

static void tell_records(mneme *memory, mn_buffer *out)
{
    for (size_t w = 0; w < sizeof g_wheres / sizeof g_wheres[0]; w++) {
        mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
        mneme_record_list *list = NULL;
        options.select.name_space = "me";
        options.select.where = g_wheres[w];
        options.limit = 1000;
        assert_ok(mneme_list(memory, &options, &list, test_error()));
        for (size_t i = 0; i < list->n; i++) {
            assert_string_equal(list->items[i].name_space, "me");
            mn_buffer_format(out, "%s %s %s\n", list->items[i].id, list->items[i].text, list->items[i].metadata);
        }
        mn_buffer_text(out, "--\n");
        mneme_record_list_free(list);
    }
    for (int i = 0; i < 160; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        mneme_record_list *list = NULL;
        mneme_status status = mneme_get(memory, "me", id, &list, test_error());
        assert_true(status == MNEME_OK || status == MNEME_ERR_NOT_FOUND);
        if (list) assert_string_equal(list->items[0].name_space, "me");
        mn_buffer_format(out, "%s %s\n", id, list ? list->items[0].text : "-");
        mneme_record_list_free(list);
    }
}

static const mneme_namespace_stats *stats_of(const mneme_stats *stats, const char *name)
{
    for (size_t i = 0; i < stats->n_namespaces; i++)
        if (strcmp(stats->namespaces[i].name, name) == 0) return &stats->namespaces[i];
    fail_msg("no namespace \"%s\"", name);
    return NULL;
}

static void tell_statistics(mneme *memory, mn_buffer *out)
{
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    const mneme_namespace_stats *me = stats_of(stats, "me");
    mn_buffer_format(out, "%u %llu %llu %llu %llu\n", me->dimension, (unsigned long long)me->records,
                     (unsigned long long)me->chunks, (unsigned long long)me->terms, (unsigned long long)me->sessions);
    mneme_stats_free(stats);
}

static void expect_the_same(void (*tell)(mneme *, mn_buffer *), mneme *alone, mneme *beside, size_t least)
{
    mn_buffer first = {0}, second = {0};
    tell(alone, &first);
    tell(beside, &second);
    assert_true(first.size > least); /* there was something to tell */
    size_t at = 0;
    while (at < first.size && at < second.size && first.data[at] == second.data[at]) at++;
    if (first.size != second.size || at < first.size)
        fail_msg("alone: \"%.200s\"\nbeside others: \"%.200s\"", first.data + at, second.data + at);
    mn_buffer_free(&first);
    mn_buffer_free(&second);
}

static void a_namespace_says_the_same_whatever_others_hold(void **state)
{
    (void)state;
    mneme *alone = make_store("alone", false), *beside = make_store("beside", true);
    expect_the_same(tell_statistics, alone, beside, 8);
    expect_the_same(tell_records, alone, beside, 5000);
    expect_the_same(tell_answers, alone, beside, 50000);
    expect_the_same(tell_windows, alone, beside, 2000);
    assert_sound(alone);
    assert_sound(beside);
    mneme_close(alone);
    mneme_close(beside);
}

static void forgetting_in_a_namespace_leaves_others_alone(void **state)
{
    (void)state;
    mneme *memory = make_store("forget", true);
    mneme_stats *before = NULL, *after = NULL;
    assert_ok(mneme_get_stats(memory, &before, test_error()));
    assert_int_equal(forget_where(memory, "me", "namespace = \"you\""), 0);
    assert_int_equal(forget_where(memory, "nowhere", "exists id"), 0);
    uint64_t n = forget_where(memory, "me", "exists id");
    assert_int_equal(n, stats_of(before, "me")->records);
    assert_ok(mneme_get_stats(memory, &after, test_error()));
    assert_int_equal(stats_of(after, "me")->records, 0);
    for (size_t i = 0; i < before->n_namespaces; i++) {
        const mneme_namespace_stats *was = &before->namespaces[i];
        if (strcmp(was->name, "me") == 0) continue;
        const mneme_namespace_stats *is = stats_of(after, was->name);
        assert_true(is->records == was->records && is->terms == was->terms && is->sessions == was->sessions);
    }
    mneme_stats_free(before);
    mneme_stats_free(after);
    assert_sound(memory);
    mneme_close(memory);
}

static void a_page_of_another_namespace_leads_nowhere(void **state)
{
    (void)state;
    mneme *memory = make_store("pages", true);
    const char *const after[] = {"1:you", "1:", "1:me too", "99999:me", "1:zzz"};
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++) {
        mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
        mneme_record_list *list = NULL;
        options.select.name_space = "me";
        options.after = after[i];
        assert_ok(mneme_list(memory, &options, &list, test_error()));
        for (size_t j = 0; j < list->n; j++) assert_string_equal(list->items[j].name_space, "me");
        mneme_record_list_free(list);
    }
    mneme_close(memory);
}

/* ---- vectors of one's own ---- */

typedef struct refusals {
    size_t n;
    char lines[12][508];
} refusals;

static void note(void *context, size_t index, const mneme_error *error)
{
    refusals *r = context;
    (void)index;
    snprintf(r->lines[r->n++], sizeof r->lines[0], "%s", error->message);
}

static void vectors_that_cannot_be_are_refused_with_a_clear_line(void **state)
{
    (void)state;
    mneme *memory = open_store("vectors");
    const float nan3[3] = {1, NAN, 0}, inf3[3] = {0, 0, -INFINITY}, zero[3] = {0}, huge[3] = {3e38f, 3e38f, 0},
                tiny[3] = {1e-30f, 0, 0};
    const float three[3] = {3, 0, 4}, four[4] = {1, 0, 0, 0};
    const mneme_record good = {.id = "good", .name_space = "pictures", .vector = three, .dimension = 3};
    assert_ok(mneme_add(memory, &good, 1, NULL, NULL, test_error()));
    const struct {
        const float *vector;
        uint32_t dimension;
        const char *says;
    } cases[] = {{nan3, 3, "element 1 of the vector is not a number"},
                 {inf3, 3, "element 2 of the vector is not a number"},
                 {zero, 3, "a vector of length 0"},
                 {four, 4, "a vector of dimension 4; namespace \"pictures\" has vectors of dimension 3"},
                 {three, 2, "a vector of dimension 2; namespace \"pictures\" has vectors of dimension 3"},
                 {three, 0, "a vector of dimension 0"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refusals seen = {.n = 0};
        mneme_add_options options = MNEME_ADD_OPTIONS_INIT;
        mneme_add_result result;
        options.refused = note;
        options.context = &seen;
        const mneme_record bad = {
            .id = "bad", .name_space = "pictures", .vector = cases[i].vector, .dimension = cases[i].dimension};
        assert_ok(mneme_add(memory, &bad, 1, &options, &result, test_error()));
        assert_int_equal(result.refused, 1);
        assert_int_equal(seen.n, 1);
        if (!strstr(seen.lines[0], "record \"bad\"") || !strstr(seen.lines[0], cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", seen.lines[0], cases[i].says);
    }
    /* Very long and very short ones are fine: they are scaled. */
    const mneme_record far = {.id = "far", .name_space = "pictures", .vector = huge, .dimension = 3};
    const mneme_record near = {.id = "near", .name_space = "pictures", .vector = tiny, .dimension = 3};
    assert_ok(mneme_add(memory, &far, 1, NULL, NULL, test_error()));
    assert_ok(mneme_add(memory, &near, 1, NULL, NULL, test_error()));
    /* Another namespace has a dimension of its own. */
    const mneme_record other = {.id = "good", .name_space = "sounds", .vector = four, .dimension = 4};
    assert_ok(mneme_add(memory, &other, 1, NULL, NULL, test_error()));
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    assert_int_equal(stats_of(stats, "pictures")->dimension, 3);
    assert_int_equal(stats_of(stats, "pictures")->records, 3);
    assert_int_equal(stats_of(stats, "sounds")->dimension, 4);
    mneme_stats_free(stats);
    assert_sound(memory);
    mneme_close(memory);
}

static int setup(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    if (mneme_settings_new(&g_settings, NULL) != MNEME_OK) return -1;
    return mneme_settings_set(g_settings, "encoder.model", test_model_dir(), "test", NULL) == MNEME_OK ? 0 : -1;
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
        cmocka_unit_test(a_namespace_says_the_same_whatever_others_hold),
        cmocka_unit_test(forgetting_in_a_namespace_leaves_others_alone),
        cmocka_unit_test(a_page_of_another_namespace_leads_nowhere),
        cmocka_unit_test(vectors_that_cannot_be_are_refused_with_a_clear_line),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
