/* test_eval_metrics.c -- measures, runs and judgements against trec_eval's own figures (tests/data/eval/make_runs.py).
 */
#include "test_support.h"

#include "cli/arguments.h"
#include "cli/eval_ask.h"
#include "cli/eval_metrics.h"
#include "cli/output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The measures that an expected line has values for. */
static cli_measures measures_of(const json_t *line)
{
    cli_measures measures = {0};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)line, name, value)
    {
        char *wrong = NULL;
        cli_measures one;
        if (!json_is_number(value)) continue;
        assert_true(cli_measures_parse(name, &one, &wrong));
        measures.items[measures.n++] = one.items[0];
    }
    return measures;
}

static void check_values(const cli_measures *measures, const double *values, const json_t *expected, const char *what)
{
    for (size_t i = 0; i < measures->n; i++) {
        const char *name = measures->items[i].name;
        double wanted = json_number_value(json_object_get(expected, name));
        if (fabs(values[i] - wanted) > 1e-9)
            fail_msg("%s: %s is %.12f, trec_eval says %.12f", what, name, values[i], wanted);
    }
}

static void check_line(const json_t *line)
{
    json_t *run = json_object_get(line, "run"), *qrels = json_object_get(line, "qrels"), *grade;
    const char *ids[256], *id;
    cli_judgement judgements[64];
    double values[CLI_MEASURES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(run); i++) ids[i] = json_string_value(json_array_get(run, i));
    json_object_foreach(qrels, id, grade) judgements[n++] =
        (cli_judgement){.id = id, .grade = (int)json_integer_value(grade)};
    cli_judgements_sort(judgements, n);
    cli_measures measures = measures_of(line);
    assert_int_equal(measures.n, 17);
    cli_measure_run(&measures, ids, json_array_size(run), judgements, n, values);
    check_values(&measures, values, line, "a run");
}

/* Calls `take` for each line of a file of tests/data/eval; returns how many there were. */
static size_t each_line(const char *name, void (*take)(const json_t *line))
{
    char path[1200], *text = NULL;
    size_t capacity = 0, n = 0;
    snprintf(path, sizeof path, "%s/tests/data/eval/%s", test_source_dir(), name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (; getline(&text, &capacity, file) > 0; n++) {
        json_t *line = json_loads(text, 0, NULL);
        take(line);
        json_decref(line);
    }
    free(text);
    fclose(file);
    return n;
}

static void measures_of_random_runs_equal_trec_eval(void **state)
{
    (void)state;
    assert_int_equal(each_line("runs.jsonl", check_line), 60);
}

/* ---- files ---- */

static cli_trec_run g_run;
static cli_qrels g_qrels;
static size_t g_unanswered;

static void check_query(const json_t *line)
{
    const char *query = json_string_value(json_object_get(line, "query"));
    const cli_judged *judged = cli_qrels_find(&g_qrels, query);
    const cli_ranking *ranking = cli_trec_run_find(&g_run, query);
    cli_measures measures = measures_of(line);
    double values[CLI_MEASURES_MAX];
    assert_non_null(judged);
    g_unanswered += ranking == NULL;
    cli_measure_run(&measures, ranking ? ranking->ids : NULL, ranking ? ranking->n : 0, judged->judgements, judged->n,
                    values);
    check_values(&measures, values, line, query);
}

static void a_run_with_ties_and_gaps_equals_trec_eval(void **state)
{
    (void)state;
    char run[1200], qrels[1200];
    snprintf(run, sizeof run, "%s/tests/data/eval/ties.run", test_source_dir());
    snprintf(qrels, sizeof qrels, "%s/tests/data/eval/ties.qrels", test_source_dir());
    assert_int_equal(cli_trec_run_read(&g_run, run), CLI_GO_ON);
    assert_int_equal(cli_qrels_read(&g_qrels, qrels), CLI_GO_ON);
    assert_int_equal(each_line("ties.jsonl", check_query), g_qrels.n);
    assert_int_equal(g_qrels.n, 35);
    assert_int_equal(g_unanswered, 5);
    assert_null(cli_qrels_find(&g_qrels, "q6")); /* answered, not judged */
    assert_non_null(cli_trec_run_find(&g_run, "q6"));
    cli_trec_run_free(&g_run);
    cli_qrels_free(&g_qrels);
}

static void names_of_measures_are_read_or_refused(void **state)
{
    (void)state;
    cli_measures measures;
    char *wrong = NULL;
    assert_true(cli_measures_parse("map,ndcg@10,ndcg@010,map@3", &measures, &wrong));
    assert_int_equal(measures.n, 3); /* each once */
    assert_string_equal(measures.items[1].name, "ndcg@10");
    assert_int_equal(cli_measures_depth(&measures), 10);
    static const char *const refused[] = {
        "",         "map,",        "ndgc@10",     "recall",      "ndcg@0",
        "ndcg@",    "ndcg@-1",     "ndcg@10001",  "mrr@1e1",     "ndcg@99999999999999999999",
        "map ,mrr", "precision@x", "success@1 0", "mrr@10,,map", "NDCG@10"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (cli_measures_parse(refused[i], &measures, &wrong)) fail_msg("\"%s\" was taken", refused[i]);
        assert_non_null(wrong);
        free(wrong);
    }
}

static void budgets_are_sorted_and_each_once(void **state)
{
    (void)state;
    cli_budgets budgets;
    assert_true(cli_budgets_parse("512,128,1024,128,1024,512,4294967295", &budgets));
    const uint32_t expected[] = {128, 512, 1024, UINT32_MAX};
    assert_int_equal(budgets.n, 4);
    assert_memory_equal(budgets.items, expected, sizeof expected);
    assert_true(cli_budgets_parse("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", &budgets));
    static const char *const refused[] = {"",   "0",          "1,",  "1,,2",
                                          "-1", "4294967296", "1 2", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_false(cli_budgets_parse(refused[i], &budgets));
}

/* About half of any kind of ids is in each half, also where they differ in their last bytes alone. */
static void halves_are_about_equal(void **state)
{
    (void)state;
    static const char *const forms[] = {"%d", "q%d", "conv-26/q%d", "%da"};
    for (size_t f = 0; f < 4; f++) {
        size_t held_out = 0;
        for (int i = 0; i < 2000; i++) {
            char id[40];
            snprintf(id, sizeof id, forms[f], i);
            held_out += cli_half_of(id) == CLI_HALF_HELD_OUT;
        }
        assert_in_range(held_out, 900, 1100); /* 4.5 standard deviations */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures_of_random_runs_equal_trec_eval),
        cmocka_unit_test(a_run_with_ties_and_gaps_equals_trec_eval),
        cmocka_unit_test(names_of_measures_are_read_or_refused),
        cmocka_unit_test(budgets_are_sorted_and_each_once),
        cmocka_unit_test(halves_are_about_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
