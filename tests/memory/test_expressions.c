/* test_expressions.c -- --where expressions and records from JSON. */
#include "test_support.h"

#include "memory/where.h"

/* ---- where ---- */

static const mn_record g_record = {
    .rec = 1,
    .id = "r1",
    .session = "chat",
    .speaker = "Ann \"the\" Great",
    .has_time = true,
    .time_ms = 1683554160000, /* 2023-05-08T13:56:00Z */
    .metadata = "{\"city\":\"Rome\",\"stars\":4.5,\"open\":true,\"none\":null,\"nul\":\"a\\u0000b\",\"tags\":[\"a\",\"b\",3],\"answer\":{\"score\":7,\"a.b\":1},"
                "\"day\":\"2023-06-01\",\"a.c\":\"dotted\",\"caf\xC3\xA9\":1}"};

static void where_expressions_mean_what_the_grammar_says(void **state)
{
    (void)state;
    const struct {
        const char *expression;
        bool expected;
    } cases[] = {
        {"city = \"Rome\"", true},
        {"city = 'Oslo'", false},
        {"city != \"Oslo\"", true},
        {"city == \"Rome\" AND stars >= 4.5", true},
        {"stars < 4.5 or open = true", true},
        {"not (stars < 4.5) and not open = false", true},
        {"stars > -1e1", true},
        {"id = \"r1\" and namespace = \"ns\" and session = \"chat\"", true},
        {"title = \"x\"", false},
        {"title != \"x\"", false},
        {"exists title", false},
        {"exists city and not exists nothing", true},
        {"exists none", false},
        {"none = null", true},
        {"time >= 2023-05-08 and time < 2023-05-09", true},
        {"time = \"2023-05-08T13:56:00Z\"", true},
        {"day > 2023-05-31", true},
        {"city in (\"Oslo\", \"Rome\")", true},
        {"city not in (\"Oslo\", \"Rome\")", false},
        {"stars in (1, 4.5)", true},
        {"tags contains \"b\" and tags contains 3", true},
        {"tags contains \"c\"", false},
        {"city contains \"om\"", true},
        {"answer contains \"score\"", true},
        {"answer.score = 7 and metadata.answer.score = 7", true},
        {"a.c = \"dotted\"", true},
        {"speaker = \"Ann \\\"the\\\" Great\"", true},
        {"caf\xC3\xA9 = 1", true},
        {"stars = \"4.5\"", false},
        {"stars != \"4.5\"", true},
        {"city = \"Rome\" or city = \"x\" and city = \"y\"", true}, /* and binds first */
        {"(city = \"Rome\" or city = \"x\") and city = \"y\"", false},
        {"not not city = \"Rome\"", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mn_arena arena = {0};
        const mn_where *where = NULL;
        assert_ok(mn_where_compile(cases[i].expression, &arena, &where, test_error()));
        if (mn_where_matches(where, "ns", &g_record) != cases[i].expected) fail_msg("%s is not %d", cases[i].expression, cases[i].expected);
        mn_arena_free(&arena);
    }
}

static void where_mistakes_point_at_the_column(void **state)
{
    (void)state;
    const struct {
        const char *expression, *says;
    } cases[] = {{"", "column 1"},
                 {"city", "column 5"},
                 {"city =", "column 7"},
                 {"city = Rome", "column 8"},
                 {"city = \"Rome", "column 8"},
                 {"city = \"Rome\" and", "column 18"},
                 {"city = \"Rome\" city", "column 15"},
                 {"(city = 1", "column 10"},
                 {"city in 3", "column 9"},
                 {"city in (3", "column 11"},
                 {"city not 3", "column 10"},
                 {"= 3", "column 1"},
                 {"stars = 3x", "column 9"},
                 {"not time >= 2024", "column 13"}, /* a number: it would match everything */
                 {"time in (2024-05-01, \"soon\")", "column 22"},
                 {"caf\xC3\xA9 ! 3", "column 6"},
                 {"exists", "column 7"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mn_arena arena = {0};
        const mn_where *where = (const mn_where *)1;
        mneme_error error;
        assert_int_equal(mn_where_compile(cases[i].expression, &arena, &where, &error), MNEME_ERR_SYNTAX);
        assert_null(where);
        if (!strstr(error.message, cases[i].says)) fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].expression, error.message, cases[i].says);
        mn_arena_free(&arena);
    }
}

static void where_nested_too_deeply_is_refused_and_long_chains_are_fine(void **state)
{
    (void)state;
    mn_arena arena = {0};
    const mn_where *where = NULL;
    char *text = calloc(1, 70000);
    for (int i = 0; i < 1000; i++) strcat(text, "(");
    assert_int_equal(mn_where_compile(text, &arena, &where, NULL), MNEME_ERR_SYNTAX);
    text[0] = '\0';
    for (int i = 0; i < 1000; i++) strcat(text, "not ");
    assert_int_equal(mn_where_compile(text, &arena, &where, NULL), MNEME_ERR_SYNTAX);
    strcpy(text, "a = 1");
    for (int i = 0; i < 4000; i++) strcat(text, " or a = 1");
    assert_ok(mn_where_compile(text, &arena, &where, test_error()));
    assert_false(mn_where_matches(where, "", &g_record));
    memset(text, 'a', 69999);
    assert_int_equal(mn_where_compile(text, &arena, &where, NULL), MNEME_ERR_SYNTAX);
    free(text);
    mn_arena_free(&arena);
}

static void where_random_text_never_crashes(void **state)
{
    (void)state;
    static const char *const pieces[] = {"city", " ", "=", "!=", "<", "(", ")", "and", "or", "not", "in", "exists", "contains", "\"x\"", "'",
                                         "\"", "\\", "1", "-", "2023-05-08", ",", ".", "a.b", "null", "true", "\xC3\xA9", "\xFF"};
    uint32_t seed = 17;
    for (int trial = 0; trial < 20000; trial++) {
        char text[300] = "";
        seed = seed * 1664525u + 1013904223u;
        for (size_t i = (seed >> 8) % 20; i > 0; i--) {
            seed = seed * 1664525u + 1013904223u;
            strcat(text, pieces[(seed >> 8) % (sizeof pieces / sizeof pieces[0])]);
            if (seed >> 31) strcat(text, " ");
        }
        mn_arena arena = {0};
        const mn_where *where = NULL;
        if (mn_where_compile(text, &arena, &where, NULL) == MNEME_OK) (void)mn_where_matches(where, "", &g_record);
        mn_arena_free(&arena);
    }
}

/* ---- records from JSON ---- */

static void record_with_all_fields_is_read(void **state)
{
    (void)state;
    const char *json = "{\"_id\":\"a\",\"text\":\"x\\u0000y\",\"title\":\"t\",\"namespace\":\"n\",\"session\":\"s\",\"speaker\":\"p\",\"source\":\"f\","
                       "\"time\":\"2023-05-08T13:56:00Z\",\"metadata\":{\"k\":[1,2]},\"vector\":[1,0.5],\"unknown\":{}}";
    mneme_record *r = NULL;
    assert_ok(mneme_record_parse(json, strlen(json), &r, test_error()));
    assert_string_equal(r->id, "a");
    assert_int_equal(r->text_size, 3);
    assert_memory_equal(r->text, "x\0y", 3);
    assert_string_equal(r->title, "t");
    assert_string_equal(r->name_space, "n");
    assert_string_equal(r->session, "s");
    assert_string_equal(r->speaker, "p");
    assert_string_equal(r->source, "f");
    assert_true(r->has_time && r->time_ms == 1683554160000);
    assert_string_equal(r->metadata, "{\"k\":[1,2]}");
    assert_int_equal(r->dimension, 2);
    assert_true(r->vector[0] == 1.0f && r->vector[1] == 0.5f);
    mneme_record_free(r);
}

static void record_forms_that_people_use_are_read(void **state)
{
    (void)state;
    const struct {
        const char *json, *id;
        int64_t time_ms;
    } cases[] = {{"{\"id\":7,\"text\":\"x\"}", "7", 0},
                 {"{\"_id\":\"a\",\"id\":\"b\",\"text\":\"x\",\"time\":1683554160}", "a", 1683554160000},
                 {" {\"id\":\"a\",\"text\":\"x\",\"title\":null,\"time\":null}\r\n", "a", 0},
                 {"{\"text\":\"no id: the caller makes one\"}", NULL, 0},
                 {"{\"id\":\"a\",\"text\":\"bad \xFF byte\"}", "a", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mneme_record *r = NULL;
        assert_ok(mneme_record_parse(cases[i].json, strlen(cases[i].json), &r, test_error()));
        if (cases[i].id) assert_string_equal(r->id, cases[i].id);
        else assert_null(r->id);
        assert_true(r->time_ms == cases[i].time_ms && r->has_time == (cases[i].time_ms != 0));
        mneme_record_free(r);
    }
}

static void record_that_is_wrong_is_refused_with_field_or_byte(void **state)
{
    (void)state;
    const struct {
        const char *json;
        mneme_status status;
        const char *says;
    } cases[] = {{"", MNEME_ERR_SYNTAX, "byte"},
                 {"{\"id\":\"a\",", MNEME_ERR_SYNTAX, "byte 10"},
                 {"[1]", MNEME_ERR_SYNTAX, "object"},
                 {"{\"id\":\"a\",\"id\":\"b\"}", MNEME_ERR_SYNTAX, "duplicate"},
                 {"{\"id\":\"a\"}", MNEME_ERR_RECORD, "text"},
                 {"{\"id\":\"a\\u0000b\",\"text\":\"x\"}", MNEME_ERR_RECORD, "\"id\""},
                 {"{\"id\":[],\"text\":\"x\"}", MNEME_ERR_RECORD, "\"id\""},
                 {"{\"id\":\"a\",\"text\":5}", MNEME_ERR_RECORD, "\"text\""},
                 {"{\"id\":\"a\",\"text\":\"x\",\"time\":\"soon\"}", MNEME_ERR_RECORD, "\"time\""},
                 {"{\"id\":\"a\",\"text\":\"x\",\"time\":1e300}", MNEME_ERR_RECORD, "\"time\""},
                 {"{\"id\":\"a\",\"text\":\"x\",\"metadata\":[1]}", MNEME_ERR_RECORD, "\"metadata\""},
                 {"{\"id\":\"a\",\"text\":\"x\",\"vector\":[]}", MNEME_ERR_RECORD, "\"vector\""},
                 {"{\"id\":\"a\",\"text\":\"x\",\"vector\":[1,\"2\"]}", MNEME_ERR_RECORD, "element 1"},
                 {"{\"id\":\"a\",\"text\":\"x\",\"vector\":[1e300]}", MNEME_ERR_RECORD, "element 0"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mneme_record *r = (mneme_record *)1;
        mneme_error error;
        assert_int_equal(mneme_record_parse(cases[i].json, strlen(cases[i].json), &r, &error), cases[i].status);
        assert_null(r);
        if (!strstr(error.message, cases[i].says)) fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].json, error.message, cases[i].says);
    }
    char deep[5000];
    memset(deep, '[', sizeof deep);
    mneme_record *r = NULL;
    assert_int_equal(mneme_record_parse(deep, sizeof deep, &r, NULL), MNEME_ERR_SYNTAX);
}

static void record_with_random_changes_never_crashes(void **state)
{
    (void)state;
    const char *good = "{\"_id\":\"a\",\"text\":\"x y\",\"title\":\"t\",\"time\":\"2023-05-08\",\"metadata\":{\"k\":[1,2]},\"vector\":[1,0.5]}";
    uint32_t seed = 5;
    char text[200];
    for (int trial = 0; trial < 20000; trial++) {
        size_t size = strlen(good);
        memcpy(text, good, size);
        for (int change = 0; change < 1 + trial % 4; change++) {
            seed = seed * 1664525u + 1013904223u;
            text[(seed >> 8) % size] = (char)(seed >> 24);
        }
        mneme_record *r = NULL;
        if (mneme_record_parse(text, trial % 7 ? size : size / 2, &r, NULL) == MNEME_OK) mneme_record_free(r);
        else assert_null(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_expressions_mean_what_the_grammar_says),
        cmocka_unit_test(where_mistakes_point_at_the_column),
        cmocka_unit_test(where_nested_too_deeply_is_refused_and_long_chains_are_fine),
        cmocka_unit_test(where_random_text_never_crashes),
        cmocka_unit_test(record_with_all_fields_is_read),
        cmocka_unit_test(record_forms_that_people_use_are_read),
        cmocka_unit_test(record_that_is_wrong_is_refused_with_field_or_byte),
        cmocka_unit_test(record_with_random_changes_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
