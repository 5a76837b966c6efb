/* eval_metrics.c -- nDCG, average precision, reciprocal rank, recall, precision and success. */
#include "cli/eval_metrics.h"

#include "cli/arguments.h"
#include "cli/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUTOFF_MAX 10000

/* ---- names ---- */

static const struct {
    const char *name;
    bool whole; /* may stand without @k */
} kinds[CLI_MEASURE_KINDS] = {
    [CLI_NDCG] = {"ndcg", true},
    [CLI_MAP] = {"map", true},
    [CLI_MRR] = {"mrr", true},
    [CLI_RECALL] = {"recall", false},
    [CLI_PRECISION] = {"precision", false},
    [CLI_SUCCESS] = {"success", false},
};

static bool read_measure(const char *text, size_t size, cli_measure *out)
{
    const char *at = memchr(text, '@', size);
    size_t name_size = at ? (size_t)(at - text) : size;
    char *number = at ? cli_strndup(at + 1, size - name_size - 1) : NULL;
    uint64_t cutoff = 0;
    bool fine = !number || (cli_read_count(number, &cutoff) && cutoff >= 1 && cutoff <= CUTOFF_MAX);
    free(number);
    for (size_t i = 0; fine && i < CLI_MEASURE_KINDS; i++) {
        if (strlen(kinds[i].name) != name_size || strncmp(kinds[i].name, text, name_size) != 0) continue;
        if (!at && !kinds[i].whole) return false;
        out->kind = (cli_measure_kind)i;
        out->cutoff = (uint32_t)cutoff;
        snprintf(out->name, sizeof out->name, cutoff ? "%s@%u" : "%s", kinds[i].name, out->cutoff);
        return true;
    }
    return false;
}

static bool is_there(const cli_measures *measures, const cli_measure *one)
{
    for (size_t i = 0; i < measures->n; i++)
        if (measures->items[i].kind == one->kind && measures->items[i].cutoff == one->cutoff) return true;
    return false;
}

bool cli_measures_parse(const char *text, cli_measures *out, char **wrong)
{
    *out = (cli_measures){0};
    *wrong = NULL;
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t size = strcspn(at, ",");
        cli_measure one = {0};
        if (!read_measure(at, size, &one)) {
            *wrong = cli_format(
                "\"%.*s\" is no measure; there are ndcg@k, map, mrr@k, recall@k, precision@k and success@k, k from 1 "
                "to %d",
                (int)(size < 100 ? size : 100), at, CUTOFF_MAX);
            return false;
        }
        if (is_there(out, &one)) continue;
        if (out->n == CLI_MEASURES_MAX) {
            *wrong = cli_format("more than %d measures", CLI_MEASURES_MAX);
            return false;
        }
        out->items[out->n++] = one;
    }
    return true;
}

uint32_t cli_measures_depth(const cli_measures *measures)
{
    uint32_t depth = 0;
    for (size_t i = 0; i < measures->n; i++)
        if (measures->items[i].cutoff > depth) depth = measures->items[i].cutoff;
    return depth;
}

/* ---- judgements ---- */

static int by_id(const void *left, const void *right)
{
    return strcmp(((const cli_judgement *)left)->id, ((const cli_judgement *)right)->id);
}

void cli_judgements_sort(cli_judgement *judgements, size_t n)
{
    if (n) qsort(judgements, n, sizeof *judgements, by_id);
}

size_t cli_relevant(const cli_judgement *judgements, size_t n)
{
    size_t relevant = 0;
    for (size_t i = 0; i < n; i++) relevant += judgements[i].grade > 0;
    return relevant;
}

int cli_grade(const cli_judgement *judgements, size_t n, const char *id)
{
    const cli_judgement key = {.id = id};
    const cli_judgement *found = n ? bsearch(&key, judgements, n, sizeof key, by_id) : NULL;
    return found ? found->grade : 0;
}

/* ---- measuring ---- */

/* What all measures of one question share. */
typedef struct ranking {
    const int *grades; /* of the run's records, best first */
    size_t n;
    const int *ideal; /* the relevant grades, highest first */
    size_t n_relevant;
} ranking;

static double gain(const int *grades, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        if (grades[i] > 0) sum += grades[i] / log2((double)i + 2);
    return sum;
}

static double measure(const cli_measure *what, const ranking *r)
{
    size_t cutoff = what->cutoff ? what->cutoff : SIZE_MAX, n = r->n < cutoff ? r->n : cutoff, found = 0, first = 0;
    double precisions = 0, relevant = (double)r->n_relevant;
    if (r->n_relevant == 0) return 0;
    for (size_t i = 0; i < n; i++) {
        if (r->grades[i] <= 0) continue;
        if (found++ == 0) first = i + 1;
        precisions += (double)found / (double)(i + 1);
    }
    switch (what->kind) {
    case CLI_NDCG: return gain(r->grades, n) / gain(r->ideal, r->n_relevant < cutoff ? r->n_relevant : cutoff);
    case CLI_MAP: return precisions / relevant;
    case CLI_MRR: return first ? 1.0 / (double)first : 0;
    case CLI_RECALL: return (double)found / relevant;
    case CLI_PRECISION: return (double)found / (double)cutoff;
    case CLI_SUCCESS: return found > 0;
    case CLI_MEASURE_KINDS: break;
    }
    return 0;
}

static int by_grade_down(const void *left, const void *right)
{
    int a = *(const int *)left, b = *(const int *)right;
    return (a < b) - (a > b);
}

void cli_measure_run(const cli_measures *measures, const char *const *run, size_t n_run,
                     const cli_judgement *judgements, size_t n_judgements, double *values)
{
    int *grades = cli_alloc(n_run + n_judgements + 1, sizeof *grades), *ideal = grades + n_run;
    ranking r = {.grades = grades, .n = n_run, .ideal = ideal};
    for (size_t i = 0; i < n_run; i++) grades[i] = cli_grade(judgements, n_judgements, run[i]);
    for (size_t i = 0; i < n_judgements; i++)
        if (judgements[i].grade > 0) ideal[r.n_relevant++] = judgements[i].grade;
    if (r.n_relevant) qsort(ideal, r.n_relevant, sizeof *ideal, by_grade_down);
    for (size_t i = 0; i < measures->n; i++) values[i] = measure(&measures->items[i], &r);
    free(grades);
}
