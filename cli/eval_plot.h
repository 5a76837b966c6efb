/* eval_plot.h -- what an evaluation found as a picture. */
#ifndef MN_CLI_EVAL_PLOT_H
#define MN_CLI_EVAL_PLOT_H

#include "cli/eval_sweep.h"

/* Context recall against the window's budget, beside that of the plain window where it was measured. Whether
 * all was written is the file's to say. */
void cli_plot_budgets(FILE *out, const cli_eval_plan *plan, const cli_eval_table *table);

/* The first measure against the median latency: a curve along the last axis for each combination of the others. */
void cli_plot_sweep(FILE *out, const cli_sweep *sweep);

#endif
