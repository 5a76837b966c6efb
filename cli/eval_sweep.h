/* eval_sweep.h -- the same questions under every combination of some settings' values. */
#ifndef MN_CLI_EVAL_SWEEP_H
#define MN_CLI_EVAL_SWEEP_H

#include "cli/arguments.h"
#include "cli/eval_ask.h"

#define CLI_SWEEP_AXES   4
#define CLI_SWEEP_VALUES 64
#define CLI_SWEEP_POINTS 1024

typedef struct cli_sweep_axis {
    char *name;
    char *values[CLI_SWEEP_VALUES];
    size_t n;
} cli_sweep_axis;

/* One combination: the value's number on each axis, and what came out with it. */
typedef struct cli_sweep_point {
    size_t at[CLI_SWEEP_AXES];
    cli_eval_summary summaries[3]; /* by cli_half */
} cli_sweep_point;

typedef struct cli_sweep {
    cli_sweep_axis axes[CLI_SWEEP_AXES];
    size_t n_axes;
    cli_sweep_point *points; /* the last axis turns fastest */
    size_t n_points;
    cli_eval_table columns; /* of the first point: names of the columns */
} cli_sweep;                /* start from {0} */

/* Read "NAME=VALUE,VALUE" items into axes. NULL, or what is wrong with them (owned, free). */
char *cli_sweep_parse(const cli_list *given, cli_sweep *out);
void cli_sweep_free(cli_sweep *sweep);

/* Open the store under each combination, over what `global` sets, and ask all questions. All combinations are looked at
 * before the first question. CLI_GO_ON or an exit code, said on stderr. */
int cli_sweep_run(const cli_global *global, cli_eval_plan *plan, cli_sweep *sweep);

/* A table for all questions, or for each half, and the best combination: by the first measure, with halves on the one
 * to tune on, beside what it is worth on the other. */
void cli_sweep_print(const cli_sweep *sweep, bool halves, bool json);
/* The number of the best point. */
size_t cli_sweep_best(const cli_sweep *sweep, bool halves);

#endif
