/* eval_window.h -- how much of what matters is inside a window of text?
 *
 * Context recall at N: the share of a question's relevant records whose whole text, white space apart, stands inside
 * the window that mneme_context splices for it within N tokens.
 *
 * The plain window to compare with is what a program does without a splice: the chunks nearest to the question by
 * cosine, one after another, until the next one would not fit. Only their text counts against the budget. */
#ifndef MN_CLI_EVAL_WINDOW_H
#define MN_CLI_EVAL_WINDOW_H

#include "cli/beir.h"
#include "mneme.h"

/* The relevant records of one question, as the store has them. */
typedef struct cli_relevant_records {
    mneme_record_list **items; /* n; NULL: not in the store */
    size_t n, missing;
} cli_relevant_records;

/* Get them, from the question's namespace, or, where it names none, from any of `spaces`. */
void cli_relevant_get(mneme *memory, const mneme_stats *spaces, const cli_beir_query *query, cli_relevant_records *out);
void cli_relevant_free(cli_relevant_records *records);

typedef struct cli_budgets {
    uint32_t items[16]; /* tokens, ascending */
    size_t n;
} cli_budgets;
/* Read whole numbers with commas between them, 1 to 2^32 - 1; false: they are not. */
bool cli_budgets_parse(const char *text, cli_budgets *out);

typedef struct cli_window_question {
    const char *text;
    const mneme_query_options *query; /* mode and selection; the splice's own k */
    const cli_relevant_records *relevant;
} cli_window_question;

/* recalls: one for each budget. A record that is not in the store counts as missed. CLI_GO_ON, or the exit code after
 * saying why. */
int cli_window_recall(mneme *memory, const cli_window_question *question, const cli_budgets *budgets, double *recalls);
int cli_plain_window_recall(mneme *memory, const cli_window_question *question, const cli_budgets *budgets,
                            double *recalls);

#endif
