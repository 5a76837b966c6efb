/* query_rows.h -- rows of a judgement file or of a run: a question, a record and a number, gathered and put in order.
 */
#ifndef MN_CLI_QUERY_ROWS_H
#define MN_CLI_QUERY_ROWS_H

#include <stddef.h>
#include <stdint.h>

typedef struct cli_query_row {
    const char *query, *id; /* borrowed */
    double number;          /* a grade, a score */
    uint64_t line;          /* where it stands */
} cli_query_row;

typedef struct cli_query_rows {
    cli_query_row *items;
    size_t n, capacity;
} cli_query_rows; /* start from {0} */

void cli_query_rows_add(cli_query_rows *rows, cli_query_row row);
void cli_query_rows_free(cli_query_rows *rows);

/* By question, then record, then line. */
void cli_query_rows_sort(cli_query_rows *rows);
/* By question, then number, the highest first, then record from the end of the alphabet, as trec_eval does. */
void cli_query_rows_rank(cli_query_rows *rows);

/* The item whose question this is, of n that begin with a `const char *query` and are sorted by it; or NULL. */
const void *cli_query_find(const char *query, const void *items, size_t n, size_t size);

#endif
