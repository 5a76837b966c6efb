/* eval_plot.h -- what an evaluation found as a picture. */
#ifndef MN_CLI_EVAL_PLOT_H
#define MN_CLI_EVAL_PLOT_H

#include "cli/eval_sweep.h"

/* Context recall against the window's budget, beside that of the plain window where it was measured. path "-" is
 * standard output. CLI_GO_ON or an exit code, said on stderr. */
int cli_plot_budgets(const char *path, const cli_eval_plan *plan, const cli_eval_table *table);

/* The first measure against the median latency: a curve along the last axis for each combination of the others. */
int cli_plot_sweep(const char *path, const cli_sweep *sweep);

#endif
