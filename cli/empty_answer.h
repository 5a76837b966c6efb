/* empty_answer.h -- why a question found nothing, as far as it can be told. */
#ifndef MN_CLI_EMPTY_ANSWER_H
#define MN_CLI_EMPTY_ANSWER_H

#include "mneme.h"

/* One line on stderr: the store is empty, the namespace does not exist (with the nearest that does), or no record
 * meets the conditions and the question. */
void cli_explain_empty(mneme *memory, const mneme_selection *select);

/* One line on stderr about a question that the encoder cannot read (mneme_hits.is_unknown). */
void cli_explain_unknown(void);

#endif
