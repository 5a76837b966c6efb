/* test_settings.c -- the settings table, YAML with its complaints, ranks, and the doc's list. */
#include "test_support.h"

#include "memory/settings.h"

static char *g_dir;

static mneme_settings *fresh(void)
{
    mneme_settings *settings = NULL;
    assert_ok(mneme_settings_new(&settings, test_error()));
    return settings;
}

static const char *write_yaml(const char *text)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/mneme.yaml", g_dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static void assert_value(const mneme_settings *settings, const char *name, const char *value, const char *origin)
{
    mneme_setting setting = {0};
    assert_true(mneme_settings_find(settings, name, &setting));
    assert_string_equal(setting.value, value);
    assert_non_null(setting.origin);
    if (!strstr(setting.origin, origin)) fail_msg("%s comes from %s, expected %s", name, setting.origin, origin);
}

static void yaml_values_are_read_with_their_lines(void **state)
{
    (void)state;
    mneme_settings *settings = fresh();
    const char *path = write_yaml(
        "# a comment\nretrieval:\n  k: 20\n  dense_weight: 0.5\nencoder: {threads: 1}\nlexical.language: german\n");
    assert_ok(mneme_settings_load_file(settings, path, test_error()));
    assert_value(settings, "retrieval.k", "20", "mneme.yaml:3");
    assert_value(settings, "encoder.threads", "1", "mneme.yaml:5");
    assert_value(settings, "lexical.language", "german", "mneme.yaml:6");
    assert_value(settings, "lexical.k1", "1.2", "default");
    mn_settings_values values;
    mn_settings_values_get(settings, &values);
    assert_true(values.retrieval_k == 20 && values.retrieval_dense_weight == 0.5 && values.encoder_threads == 1);
    mneme_settings_free(settings);
}

static void yaml_that_is_wrong_is_refused_with_line_and_name(void **state)
{
    (void)state;
    const struct {
        const char *yaml;
        mneme_status status;
        const char *says[2];
    } cases[] = {
        {"retrieval:\n  kk: 20\n", MNEME_ERR_SETTING, {"mneme.yaml:2", "did you mean retrieval.k?"}},
        {"retrieval:\n  dence_weight: 1\n",
         MNEME_ERR_SETTING,
         {"mneme.yaml:2", "did you mean retrieval.dense_weight?"}},
        {"k1: 2\n", MNEME_ERR_SETTING, {"mneme.yaml:1", "lexical.k1"}},
        {"retrieval:\n  k: many\n", MNEME_ERR_SETTING, {"mneme.yaml:2", "whole number"}},
        {"retrieval:\n  k: 0\n", MNEME_ERR_SETTING, {"mneme.yaml:2", "1 to 10000"}},
        {"retrieval:\n  k: 1.5\n", MNEME_ERR_SETTING, {"mneme.yaml:2", "whole number"}},
        {"lexical:\n  b: 2\n", MNEME_ERR_SETTING, {"mneme.yaml:2", "0 to 1"}},
        {"lexical:\n  b: nan\n", MNEME_ERR_SETTING, {"mneme.yaml:2", "number"}},
        {"retrieval:\n  mode: fuzzy\n", MNEME_ERR_SETTING, {"mneme.yaml:2", "hybrid|dense|lexical"}},
        {"retrieval:\n  k: [1, 2]\n", MNEME_ERR_SYNTAX, {"mneme.yaml:2", "list"}},
        {"retrieval:\n  k: 1\n  k: 2\n", MNEME_ERR_SYNTAX, {"mneme.yaml:3", "twice"}},
        {"- a\n", MNEME_ERR_SYNTAX, {"mneme.yaml:1", "name: value"}},
        {"a: {b: {c: {d: {e: {f: {g: {h: {i: {j: 1}}}}}}}}}\n", MNEME_ERR_SYNTAX, {"mneme.yaml:1", "nested"}},
        {"retrieval: &x\n  k: 1\nlexical: *x\n", MNEME_ERR_SYNTAX, {"mneme.yaml:3", "alias"}},
        {"retrieval:\n\tk: 1\n", MNEME_ERR_SYNTAX, {"mneme.yaml:2", ""}},
        {"retrieval: {k: 1\n", MNEME_ERR_SYNTAX, {"mneme.yaml:", ""}},
        {"retrieval:\n  k: 1\n---\nlexical:\n  b: 1\n", MNEME_ERR_SYNTAX, {"mneme.yaml:3", "second"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mneme_settings *settings = fresh();
        mneme_error error = {0};
        mneme_status status = mneme_settings_load_file(settings, write_yaml(cases[i].yaml), &error);
        if (status != cases[i].status) fail_msg("case %zu: %s: %s", i, mneme_status_name(status), error.message);
        for (size_t j = 0; j < 2; j++)
            if (!strstr(error.message, cases[i].says[j]))
                fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].says[j]);
        mneme_settings_free(settings);
    }
}

static void yaml_that_is_empty_or_missing_is_told_apart(void **state)
{
    (void)state;
    mneme_settings *settings = fresh();
    assert_ok(mneme_settings_load_file(settings, write_yaml(""), test_error()));
    assert_ok(mneme_settings_load_file(settings, write_yaml("# nothing\n"), test_error()));
    assert_int_equal(mneme_settings_load_file(settings, "/nowhere/mneme.yaml", NULL), MNEME_ERR_NOT_FOUND);
    mneme_settings_free(settings);
}

static void higher_ranks_win_in_any_order(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        mneme_settings *settings = fresh();
        const char *path = write_yaml("retrieval:\n  k: 1\n  candidates: 1\nlexical:\n  b: 0.1\n");
        setenv("MNEME_RETRIEVAL_K", "2", 1);
        setenv("MNEME_RETRIEVAL_CANDIDATES", "2", 1);
        if (order) assert_ok(mneme_settings_set(settings, "retrieval.k", "3", "command line", test_error()));
        if (order) assert_ok(mneme_settings_load_environment(settings, test_error()));
        assert_ok(mneme_settings_load_file(settings, path, test_error()));
        if (!order) assert_ok(mneme_settings_load_environment(settings, test_error()));
        if (!order) assert_ok(mneme_settings_set(settings, "retrieval.k", "3", "command line", test_error()));
        assert_value(settings, "retrieval.k", "3", "command line");
        assert_value(settings, "retrieval.candidates", "2", "environment");
        assert_value(settings, "lexical.b", "0.1", "mneme.yaml");
        mneme_settings *copy = NULL;
        assert_ok(mn_settings_copy(settings, &copy, test_error()));
        assert_value(copy, "retrieval.k", "3", "command line");
        mneme_settings_free(copy);
        mneme_settings_free(settings);
        unsetenv("MNEME_RETRIEVAL_CANDIDATES");
    }
    setenv("MNEME_RETRIEVAL_K", "none", 1);
    mneme_settings *settings = fresh();
    mneme_error error;
    assert_int_equal(mneme_settings_load_environment(settings, &error), MNEME_ERR_SETTING);
    assert_non_null(strstr(error.message, "$MNEME_RETRIEVAL_K"));
    unsetenv("MNEME_RETRIEVAL_K");
    mneme_settings_free(settings);
}

static void environment_gives_the_model_folders_of_xdg(void **state)
{
    (void)state;
    setenv("XDG_DATA_HOME", "/data", 1);
    setenv("XDG_CACHE_HOME", "relative/is/ignored", 1);
    setenv("HOME", "/home/ann", 1);
    mneme_settings *settings = fresh();
    assert_ok(mneme_settings_load_environment(settings, test_error()));
    assert_value(settings, "encoder.path", "/data/mneme/models:/home/ann/.cache/mneme/models", "default");
    mneme_settings_free(settings);
}

static void documentation_lists_every_setting_as_it_is(void **state)
{
    (void)state;
    char path[1200], *line = NULL;
    snprintf(path, sizeof path, "%s/docs/settings.md", test_source_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t capacity = 0, n_listed = 0, n_settings = 0;
    mneme_settings *settings = fresh();
    mneme_setting setting;
    while (getline(&line, &capacity, file) > 0) {
        char name[100], expected[300];
        if (sscanf(line, "| `%99[^`]` |", name) != 1) continue;
        if (!mneme_settings_find(settings, name, &setting)) fail_msg("%s is in the doc alone", name);
        snprintf(expected, sizeof expected, *setting.value ? "| `%s` | %s |" : "| %s(none) | %s |",
                 *setting.value ? setting.value : "", setting.summary);
        if (!strstr(line, expected)) fail_msg("%s: the doc does not say %s", name, expected);
        n_listed++;
    }
    while (mneme_settings_get(settings, n_settings, &setting)) n_settings++;
    assert_int_equal(n_listed, n_settings);
    mneme_settings_free(settings);
    free(line);
    fclose(file);
}

static void yaml_with_random_changes_never_crashes(void **state)
{
    (void)state;
    const char *good = "retrieval:\n  k: 20\n  mode: dense\nencoder: {threads: 1, model: \"x\"}\nlexical:\n  b: 0.5\n";
    char text[200];
    uint32_t seed = 3;
    for (int trial = 0; trial < 3000; trial++) {
        strcpy(text, good);
        for (int change = 0; change < 1 + trial % 4; change++) {
            seed = seed * 1664525u + 1013904223u;
            text[(seed >> 8) % strlen(good)] = (char)(1 + (seed >> 24) % 255);
        }
        mneme_settings *settings = fresh();
        mneme_error error = {0};
        if (mneme_settings_load_file(settings, write_yaml(text), &error) != MNEME_OK)
            assert_true(strlen(error.message) > 0);
        mneme_settings_free(settings);
    }
}

static void settings_out_of_memory_is_reported(void **state)
{
    (void)state;
    const char *path = write_yaml("retrieval:\n  k: 20\n");
    for (size_t n = 1; n < 200; n++) {
        mneme_settings *settings = fresh();
        mn_alloc_fail_after(n);
        mneme_status status = mneme_settings_load_file(settings, path, NULL);
        mn_alloc_fail_after(0);
        assert_true(status == MNEME_OK || status == MNEME_ERR_MEMORY);
        assert_value(settings, "retrieval.k", status == MNEME_OK ? "20" : "10", "");
        mneme_settings_free(settings);
        if (status == MNEME_OK) return;
    }
    fail_msg("never succeeded");
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
        cmocka_unit_test(yaml_values_are_read_with_their_lines),
        cmocka_unit_test(yaml_that_is_wrong_is_refused_with_line_and_name),
        cmocka_unit_test(yaml_that_is_empty_or_missing_is_told_apart),
        cmocka_unit_test(higher_ranks_win_in_any_order),
        cmocka_unit_test(documentation_lists_every_setting_as_it_is),
        cmocka_unit_test(yaml_with_random_changes_never_crashes),
        cmocka_unit_test(settings_out_of_memory_is_reported),
        cmocka_unit_test(environment_gives_the_model_folders_of_xdg),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
