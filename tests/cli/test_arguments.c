/* test_arguments.c -- options, values, suggestions and paths of the command. */
#include "test_support.h"

#include "cli/arguments.h"
#include "cli/output.h"
#include "cli/path.h"
#include "cli/seen.h"

static const cli_command command = {.name = "try", .usage = "", .summary = "", .example = ""};

typedef struct values {
    cli_global global;
    bool flag;
    uint64_t count, size;
    double number;
    int choice, maybe;
    const char *text;
    cli_list list;
    cli_time time;
    cli_words words;
} values;

static int parse(values *v, int n, const char *const *arguments)
{
    const cli_option options[] = {
        {'f', "flag", CLI_FLAG, &v->flag, NULL, "help"},
        {'k', NULL, CLI_COUNT, &v->count, "N", "help"},
        {0, "size", CLI_SIZE, &v->size, "SIZE", "help"},
        {0, "number", CLI_NUMBER, &v->number, "X", "help"},
        {0, "mode", CLI_CHOICE, &v->choice, "hybrid|dense|lexical", "help"},
        {0, "maybe", CLI_MAYBE, &v->maybe, "table|html", "help"},
        {'t', "text", CLI_TEXT, &v->text, "TEXT", "help"},
        {0, "list", CLI_LIST, &v->list, "ITEM", "help"},
        {0, "time", CLI_TIME, &v->time, "TIME", "help"},
        CLI_OPTIONS_END,
    };
    char *argv[32];
    for (int i = 0; i < n; i++) argv[i] = (char *)(uintptr_t)arguments[i];
    return cli_parse(&v->global, &command, options, n, argv, &v->words);
}
#define PARSE(v, ...)                                                                                                  \
    parse(v, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *const[]){__VA_ARGS__})

static void release(values *v)
{
    cli_list_free(&v->global.set);
    cli_list_free(&v->list);
    cli_list_free(&v->words);
}

static void options_in_every_form_are_read(void **state)
{
    (void)state;
    values v = {0};
    assert_int_equal(PARSE(&v, "one", "-fk7", "--size=2k", "--number", "-0.5", "--mode", "dense", "-tx", "--list", "a", "two",
                           "--list=b=c", "--time", "2023-05-08", "--store", "S", "--json", "-", "--", "--flag"),
                     CLI_GO_ON);
    assert_true(v.flag);
    assert_int_equal(v.count, 7);
    assert_int_equal(v.size, 2048);
    assert_true(v.number == -0.5);
    assert_int_equal(v.choice, 1);
    assert_string_equal(v.text, "x");
    assert_int_equal(v.list.n, 2);
    assert_string_equal(v.list.items[1], "b=c");
    assert_true(v.time.set);
    assert_true(v.time.ms == INT64_C(1683504000000)); /* date -u -d 2023-05-08 +%s */
    assert_string_equal(v.global.store, "S");
    assert_true(v.global.json);
    static const char *const words[] = {"one", "two", "-", "--flag"};
    assert_int_equal(v.words.n, 4);
    for (size_t i = 0; i < 4; i++) assert_string_equal(v.words.items[i], words[i]);
    release(&v);
}

static void options_that_make_no_sense_are_usage_errors(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"--nope", NULL},      {"-x", NULL},           {"-k", NULL},         {"-k", "ten"},         {"-k", "-1"},
        {"-k", "1e3"},         {"-k", ""},             {"-k", "99999999999999999999"}, {"--size", "1x"}, {"--size", "17179869184G"},
        {"--number", "nan"},   {"--number", "1,5"},    {"--mode", "den"},    {"--mode", ""},        {"--time", "yesterday"},
        {"--time", "2023-13-01"}, {"--flag=yes", NULL}, {"--text", NULL},    {"--store", NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        values v = {0};
        if (parse(&v, bad[i][1] ? 2 : 1, bad[i]) != CLI_EXIT_USAGE) fail_msg("%s %s", bad[i][0], bad[i][1] ? bad[i][1] : "");
        release(&v);
    }
}

static void sizes_are_powers_of_1024(void **state)
{
    (void)state;
    uint64_t size = 0;
    assert_true(cli_read_size("10", &size) && size == 10);
    assert_true(cli_read_size("500k", &size) && size == 512000);
    assert_true(cli_read_size("3MB", &size) && size == 3145728);
    assert_true(cli_read_size("1GiB", &size) && size == 1073741824);
    assert_false(cli_read_size("-1", &size));
    assert_false(cli_read_size("1.5M", &size));
    assert_false(cli_read_size("", &size));
}

static void globals_stand_before_the_command(void **state)
{
    (void)state;
    cli_global global = {0};
    char *argv[] = {"--store", "D", "--json", "--set", "a=b", "query", "x", "--json"};
    int used = -1;
    assert_int_equal(cli_parse_global(&global, 8, argv, &used), CLI_GO_ON);
    assert_int_equal(used, 5);
    assert_string_equal(global.store, "D");
    assert_int_equal(global.set.n, 1);
    cli_list_free(&global.set);
    char *wrong[] = {"--stor", "D"};
    assert_int_equal(cli_parse_global(&global, 2, wrong, &used), CLI_EXIT_USAGE);
}

static void nearest_name_is_found_or_none(void **state)
{
    (void)state;
    static const char *const names[] = {"index", "query", "context", "config"};
    assert_string_equal(cli_nearest("qeury", names, 4), "query");
    assert_string_equal(cli_nearest("contxt", names, 4), "context");
    assert_string_equal(cli_nearest("idnex", names, 4), "index");
    assert_null(cli_nearest("banana", names, 4));
    assert_null(cli_nearest("", names, 4));
}

static void paths_are_normalized_by_letters(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a/b", "a/b"},       {"./a//b/", "a/b"}, {"a/../b", "b"},   {"../a", "../a"}, {"a/../../b", "../b"}, {"/", "/"},
        {"/a/../..", "/"},    {"", "."},          {"./", "."},       {"a/..", "."},    {"/a//b/./c", "/a/b/c"}, {"..", ".."},
        {"../..", "../.."},   {"/..", "/"},       {".../x", ".../x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = cli_path_normalize(cases[i][0]);
        assert_string_equal(path, cases[i][1]);
        free(path);
    }
    assert_string_equal(cli_path_below("a/b/c", "a"), "b/c");
    assert_string_equal(cli_path_below("a", "a"), ".");
    assert_string_equal(cli_path_below("a/b", "."), "a/b");
    assert_string_equal(cli_path_below("/a", "/"), "a");
    assert_null(cli_path_below("ab/c", "a"));
    assert_null(cli_path_below("../a", "."));
    assert_null(cli_path_below("/a", "."));
}

static void seen_pairs_are_kept_apart(void **state)
{
    (void)state;
    cli_seen seen = {0};
    char name[32];
    assert_false(cli_seen_has(&seen, "", "a"));
    assert_true(cli_seen_add(&seen, "ab", "c"));
    assert_false(cli_seen_add(&seen, "ab", "c"));
    assert_false(cli_seen_has(&seen, "a", "bc"));
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "%d", i);
        assert_true(cli_seen_add(&seen, "n", name));
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "%d", i);
        assert_true(cli_seen_has(&seen, "n", name));
        assert_false(cli_seen_has(&seen, name, "n"));
    }
    assert_int_equal(seen.n, 20001);
    cli_seen_free(&seen);
}

static void status_maps_to_the_designs_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(cli_exit_code(MNEME_OK), 0);
    assert_int_equal(cli_exit_code(MNEME_ERR_NOT_FOUND), 1);
    assert_int_equal(cli_exit_code(MNEME_ERR_USAGE), 2);
    assert_int_equal(cli_exit_code(MNEME_ERR_SETTING), 2);
    assert_int_equal(cli_exit_code(MNEME_ERR_RECORD), 3);
    assert_int_equal(cli_exit_code(MNEME_ERR_TOO_LARGE), 3);
    assert_int_equal(cli_exit_code(MNEME_ERR_NOT_A_STORE), 4);
    assert_int_equal(cli_exit_code(MNEME_ERR_DISK_FULL), 4);
    assert_int_equal(cli_exit_code(MNEME_ERR_DAMAGED), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_in_every_form_are_read),
        cmocka_unit_test(options_that_make_no_sense_are_usage_errors),
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(globals_stand_before_the_command),
        cmocka_unit_test(nearest_name_is_found_or_none),
        cmocka_unit_test(paths_are_normalized_by_letters),
        cmocka_unit_test(seen_pairs_are_kept_apart),
        cmocka_unit_test(status_maps_to_the_designs_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
