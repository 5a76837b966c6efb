/* trec_run.h -- reading and writing TREC runs: what a system answered, six columns a line.
 *
 *     query-id Q0 record-id rank score name
 *
 * As trec_eval reads them: ranked by score, as a float, and records of equal score by their ids, highest first; the
 * column `rank` means nothing. One thread. */
#ifndef MN_CLI_TREC_RUN_H
#define MN_CLI_TREC_RUN_H

#include "cli/row_file.h"
#include "mneme.h"

#include <stdio.h>

typedef struct cli_ranking {
    const char *query;
    const char *const *ids; /* best first */
    size_t n;
} cli_ranking;

typedef struct cli_trec_run {
    cli_row_file text; /* what the ids point into */
    const char **ids;
    cli_ranking *queries; /* sorted by their ids */
    size_t n;             /* queries */
    size_t n_lines;
} cli_trec_run; /* start from {0}; everything lives until the free */

/* Returns CLI_GO_ON, or CLI_EXIT_USAGE after naming file and line of what is wrong: columns that are missing, a score
 * that is no finite number, a record that a question has twice. path: borrowed until the free. */
int cli_trec_run_read(cli_trec_run *run, const char *path);
void cli_trec_run_free(cli_trec_run *run);
/* NULL: the run has nothing for that question. */
const cli_ranking *cli_trec_run_find(const cli_trec_run *run, const char *query);

/* The lines of one question. Scores that are equal as written are set apart, so that a reader that breaks ties its own
 * way keeps the order. Columns are parted by tabs where an id holds white space. */
void cli_trec_run_write(FILE *run, const char *query, const mneme_hits *hits);

#endif
