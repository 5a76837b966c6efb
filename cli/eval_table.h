/* eval_table.h -- what an evaluation found: a row for each question, a column for each measure; and how it is shown. */
#ifndef MN_CLI_EVAL_TABLE_H
#define MN_CLI_EVAL_TABLE_H

#include "cli/beir.h"

#include <jansson.h>
#include <stdio.h>

#define CLI_EVAL_COLUMNS_MAX 64
#define CLI_EVAL_NAME_MAX    48

typedef struct cli_eval_table {
    char names[CLI_EVAL_COLUMNS_MAX][CLI_EVAL_NAME_MAX];
    size_t n_columns, n_rows;
    const cli_beir *beir; /* borrowed: row i is question i */
    double *values;       /* n_rows x n_columns */
    double *took_ms;      /* n_rows; NULL: nobody was asked */
} cli_eval_table;

/* All values 0, no columns yet. */
void cli_eval_table_init(cli_eval_table *table, const cli_beir *beir, bool timed);
void cli_eval_table_free(cli_eval_table *table);
/* Before any value is set; at most CLI_EVAL_COLUMNS_MAX. Returns the column's number. */
size_t cli_eval_column(cli_eval_table *table, const char *format, ...) CLI_PRINTF(2, 3);
/* The values of row i. */
double *cli_eval_row(const cli_eval_table *table, size_t i);

/* ---- halves ---- */

/* The questions fall into two halves by a hash of their ids (FNV-1a, mixed): the same on every machine and for every
 * set of questions. What is tuned on the one is reported on the other. */
typedef enum cli_half { CLI_HALF_TUNE = 0, CLI_HALF_HELD_OUT = 1, CLI_HALF_BOTH = 2 } cli_half;
cli_half cli_half_of(const char *query);

typedef struct cli_eval_summary {
    size_t n; /* questions */
    double means[CLI_EVAL_COLUMNS_MAX];
    double p50_ms, p99_ms; /* 0 where nobody was asked */
} cli_eval_summary;
/* Means over a half. Without a question in it, all values are 0. */
void cli_eval_summarise(const cli_eval_table *table, cli_half half, cli_eval_summary *out);

/* ---- output ---- */

/* {"queries", each measure, "p50_ms", "p99_ms"}; halves: "tune" and "held_out" with the same in it. Owned. */
json_t *cli_eval_json(const cli_eval_table *table, bool halves);
/* The same from summaries, by cli_half; columns: where their names come from. */
json_t *cli_eval_summaries_json(const cli_eval_table *columns, const cli_eval_summary summaries[3], bool halves);
/* A line for each measure, a column for each half. to_stderr: beside data that has stdout. */
void cli_eval_print(const cli_eval_table *table, bool halves, bool to_stderr);

/* Write each question's values: JSON lines, or columns with a header line. b: NULL, or a second table to write beside
 * `a`. Whether all was written is the file's to say. */
void cli_eval_write_per_query(FILE *out, bool columns, const cli_eval_table *a, const cli_eval_table *b);

#endif
