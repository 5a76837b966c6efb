/* eval_metrics.c -- nDCG, average precision, reciprocal rank and recall. */
#include "cli/eval_metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_id(const void *left, const void *right)
{
    return strcmp(((const cli_judgement *)left)->id, ((const cli_judgement *)right)->id);
}

void cli_judgements_sort(cli_judgement *judgements, size_t n)
{
    qsort(judgements, n, sizeof *judgements, by_id);
    for (size_t i = 1; i < n; i++)
        if (strcmp(judgements[i].id, judgements[i - 1].id) == 0) judgements[i - 1].grade = 0;
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
    const cli_judgement *found = bsearch(&key, judgements, n, sizeof key, by_id);
    int grade = 0;
    /* Equal ids lie side by side; all but one of them are 0. */
    for (const cli_judgement *at = found; at && at < judgements + n && strcmp(at->id, id) == 0; at++)
        if (at->grade > grade) grade = at->grade;
    for (const cli_judgement *at = found; at && at >= judgements && strcmp(at->id, id) == 0; at--)
        if (at->grade > grade) grade = at->grade;
    return grade;
}

static int by_grade_down(const void *left, const void *right)
{
    int a = *(const int *)left, b = *(const int *)right;
    return a > b ? -1 : a < b;
}

/* The best that any run could reach in its first ten. */
static double ideal_dcg_10(const cli_judgement *judgements, size_t n)
{
    int *grades = malloc((n ? n : 1) * sizeof *grades);
    double sum = 0;
    if (!grades) return 0;
    for (size_t i = 0; i < n; i++) grades[i] = judgements[i].grade;
    qsort(grades, n, sizeof *grades, by_grade_down);
    for (size_t i = 0; i < n && i < 10; i++)
        if (grades[i] > 0) sum += grades[i] / log2((double)i + 2);
    free(grades);
    return sum;
}

void cli_measure(const char *const *run, size_t n_run, const cli_judgement *judgements, size_t n_judgements,
                 cli_measures *out)
{
    double dcg = 0, precisions = 0, relevant = (double)cli_relevant(judgements, n_judgements);
    double ideal = ideal_dcg_10(judgements, n_judgements);
    size_t found = 0;
    *out = (cli_measures){0};
    for (size_t i = 0; i < n_run; i++) {
        int grade = cli_grade(judgements, n_judgements, run[i]);
        if (grade > 0) {
            found++;
            precisions += (double)found / ((double)i + 1);
            if (i < 10) dcg += grade / log2((double)i + 2);
            if (i < 10 && found == 1) out->mrr_10 = 1.0 / ((double)i + 1);
        }
        if (i < 10) out->recall_10 = (double)found;
        if (i < 20) out->recall_20 = (double)found;
        if (i < 100) out->recall_100 = (double)found;
    }
    if (relevant == 0) return;
    out->ndcg_10 = ideal > 0 ? dcg / ideal : 0;
    out->map = precisions / relevant;
    out->recall_10 /= relevant;
    out->recall_20 /= relevant;
    out->recall_100 /= relevant;
}
