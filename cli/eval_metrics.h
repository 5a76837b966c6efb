/* eval_metrics.h -- the measures of ranked retrieval, as trec_eval computes them.
 *
 * A run is, for one question, a list of record ids from best to worst; a judgement gives a record a grade. Records that
 * are not judged, or judged 0 or less, are not relevant. */
#ifndef MN_CLI_EVAL_METRICS_H
#define MN_CLI_EVAL_METRICS_H

#include <stddef.h>

typedef struct cli_judgement {
    const char *id;
    int grade;
} cli_judgement;

typedef struct cli_measures {
    double ndcg_10;   /* Järvelin, Kekäläinen 2002: gain = grade, discount log2(rank + 1) */
    double map;       /* over the whole run */
    double mrr_10;    /* 1 / rank of the first relevant one among the first ten */
    double recall_10, recall_20, recall_100;
} cli_measures;

/* Measure one run. judgements: sorted by id (cli_judgements_sort), n_judgements > 0 with at least one relevant. */
void cli_measure(const char *const *run, size_t n_run, const cli_judgement *judgements, size_t n_judgements,
                 cli_measures *out);

/* Sort by id; of one id that comes twice the last grade counts, and the others get grade 0 (as trec_eval reads them). */
void cli_judgements_sort(cli_judgement *judgements, size_t n);
/* How many are relevant. */
size_t cli_relevant(const cli_judgement *judgements, size_t n);
/* The grade of a record, 0 when it is not judged. */
int cli_grade(const cli_judgement *judgements, size_t n, const char *id);

#endif
