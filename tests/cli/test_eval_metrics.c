/* test_eval_metrics.c -- the measures against trec_eval's own (tests/data/eval/make_runs.py). */
#include "test_support.h"

#include "cli/eval_metrics.h"

#include <jansson.h>
#include <math.h>

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void check_line(const json_t *line)
{
    json_t *run = json_object_get(line, "run"), *qrels = json_object_get(line, "qrels"), *grade;
    const char *ids[256], *id;
    cli_judgement judgements[64];
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(run); i++) ids[i] = json_string_value(json_array_get(run, i));
    json_object_foreach(qrels, id, grade) judgements[n++] = (cli_judgement){.id = id, .grade = (int)json_integer_value(grade)};
    cli_judgements_sort(judgements, n);
    cli_measures m;
    cli_measure(ids, json_array_size(run), judgements, n, &m);
    const struct {
        const char *name;
        double got;
    } measures[] = {{"ndcg@10", m.ndcg_10},     {"map", m.map},             {"mrr@10", m.mrr_10},
                    {"recall@10", m.recall_10}, {"recall@20", m.recall_20}, {"recall@100", m.recall_100}};
    for (size_t i = 0; i < 6; i++)
        if (fabs(measures[i].got - number(line, measures[i].name)) > 1e-9)
            fail_msg("%s is %.12f, trec_eval says %.12f", measures[i].name, measures[i].got, number(line, measures[i].name));
}

static void measures_of_random_runs_equal_trec_eval(void **state)
{
    (void)state;
    char path[1200], *text = NULL;
    size_t capacity = 0, n = 0;
    snprintf(path, sizeof path, "%s/tests/data/eval/runs.jsonl", test_source_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (; getline(&text, &capacity, file) > 0; n++) {
        json_t *line = json_loads(text, 0, NULL);
        check_line(line);
        json_decref(line);
    }
    assert_int_equal(n, 60);
    free(text);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(measures_of_random_runs_equal_trec_eval)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
