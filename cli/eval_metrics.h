/* eval_metrics.h -- the measures of ranked retrieval, as trec_eval computes them.
 *
 *     name           what it says                                                              trec_eval's name
 *     ndcg@k, ndcg   discounted gain over the best possible one: gain = grade, discount        ndcg_cut_k, ndcg
 *                    log2(rank + 1) (Järvelin, Kekäläinen 2002)
 *     map@k, map     precision at the rank of each relevant record found, summed, over the     map_cut_k, map
 *                    number of relevant records
 *     mrr@k, mrr     1 / rank of the first relevant record                                     recip_rank (of the first
 * k) recall@k       relevant records among the first k, as a share of all relevant ones       recall_k precision@k the
 * same as a share of k                                                  P_k success@k      1 when there is a relevant
 * record among the first k                       success_k
 *
 * A run is, for one question, a list of record ids from best to worst; a judgement gives a record a grade. Records that
 * are not judged, or judged 0 or less, are not relevant. Without @k the whole run counts. */
#ifndef MN_CLI_EVAL_METRICS_H
#define MN_CLI_EVAL_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cli_judgement {
    const char *id;
    int grade;
} cli_judgement;

typedef enum cli_measure_kind {
    CLI_NDCG,
    CLI_MAP,
    CLI_MRR,
    CLI_RECALL,
    CLI_PRECISION,
    CLI_SUCCESS,
    CLI_MEASURE_KINDS
} cli_measure_kind;

typedef struct cli_measure {
    cli_measure_kind kind;
    uint32_t cutoff; /* 0 = the whole run */
    char name[24];   /* "ndcg@10" */
} cli_measure;

#define CLI_MEASURES_MAX     24
#define CLI_MEASURES_DEFAULT "ndcg@10,map,mrr@10,recall@10,recall@20,recall@100"

typedef struct cli_measures {
    cli_measure items[CLI_MEASURES_MAX];
    size_t n;
} cli_measures;

/* Read names with commas between them; each once. False: *wrong (owned, free) says which and what there is. */
bool cli_measures_parse(const char *text, cli_measures *out, char **wrong);
/* The largest k; 0 = none has one. */
uint32_t cli_measures_depth(const cli_measures *measures);

/* Measure one run: values[i] of measures->items[i]. judgements: sorted by id, each id once. With nothing relevant among
 * them every value is 0. */
void cli_measure_run(const cli_measures *measures, const char *const *run, size_t n_run,
                     const cli_judgement *judgements, size_t n_judgements, double *values);

void cli_judgements_sort(cli_judgement *judgements, size_t n);
/* How many are relevant. */
size_t cli_relevant(const cli_judgement *judgements, size_t n);
/* The grade of a record, 0 when it is not judged. */
int cli_grade(const cli_judgement *judgements, size_t n, const char *id);

#endif
