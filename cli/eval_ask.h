/* eval_ask.h -- put judged questions to a store, or look up what a run answered, and measure. */
#ifndef MN_CLI_EVAL_ASK_H
#define MN_CLI_EVAL_ASK_H

#include "cli/eval_table.h"
#include "cli/eval_window.h"
#include "cli/trec_run.h"

typedef struct cli_eval_plan {
    const cli_beir *beir;
    cli_measures measures;
    mneme_query_options query; /* k, mode, where; the namespace is each question's own */
    cli_budgets budgets;       /* n 0: no context recall */
    bool baseline;             /* also that of the plain window */
    FILE *run;                 /* NULL, or where the hits are written as a TREC run */
} cli_eval_plan;

/* Ask all questions. table: {0}, owned by the caller afterwards in any case; columns: the measures, then context
 * recalls. Says on stderr how many judged records are not in the store. CLI_GO_ON or an exit code, said on stderr. */
int cli_eval_ask(mneme *memory, cli_eval_plan *plan, cli_eval_table *table);

/* The same from a TREC run, without a store; a question that the run does not answer counts 0, and is told. */
int cli_eval_score(const char *path, const cli_eval_plan *plan, cli_eval_table *table);

#endif
