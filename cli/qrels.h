/* qrels.h -- reading judgements: which records are relevant to which questions.
 *
 *     query-id <tab> corpus-id <tab> score        BEIR, with this header line or without it
 *     query-id iteration record-id grade          TREC
 *
 * A grade is a whole number; above 0 means relevant. One thread. */
#ifndef MN_CLI_QRELS_H
#define MN_CLI_QRELS_H

#include "cli/eval_metrics.h"
#include "cli/row_file.h"

typedef struct cli_judged {
    const char *query;
    const cli_judgement *judgements; /* sorted by id, each id once */
    size_t n;
    uint64_t line; /* where the question is judged first */
} cli_judged;

typedef struct cli_qrels {
    cli_row_file text; /* what the ids point into */
    cli_judgement *judgements;
    cli_judged *queries; /* sorted by their ids */
    size_t n;            /* queries */
    size_t n_judgements;
    size_t n_repeated; /* given more than once for one question and record: the last counts */
} cli_qrels;           /* start from {0}; everything lives until the free */

/* Returns CLI_GO_ON, or CLI_EXIT_USAGE after naming file and line of what is wrong. path: borrowed until the free. */
int cli_qrels_read(cli_qrels *qrels, const char *path);
void cli_qrels_free(cli_qrels *qrels);
/* NULL: that question is not judged. */
const cli_judged *cli_qrels_find(const cli_qrels *qrels, const char *query);

#endif
