/* beir.h -- reading the questions and judgements of a BEIR folder: queries.jsonl and qrels/<split>.tsv (with its header
 * line), or the four columns of TREC's qrels. */
#ifndef MN_CLI_BEIR_H
#define MN_CLI_BEIR_H

#include "cli/eval_metrics.h"
#include "cli/text.h"

typedef struct cli_beir_query {
    char *id, *text, *name_space; /* owned; name_space NULL = not restricted */
    cli_judgement *judgements;    /* owned, ids too; sorted */
    size_t n_judgements, capacity;
} cli_beir_query;

typedef struct cli_beir {
    cli_beir_query *queries; /* in the file's order */
    size_t n, capacity;
} cli_beir; /* start from {0} */

/* Read folder/queries.jsonl and folder/qrels/<split>.tsv. Returns CLI_GO_ON, or the exit code after saying what is
 * wrong with file and line. Questions without a relevant record are left out, as trec_eval does. */
int cli_beir_read(const char *folder, const char *split, cli_beir *out);
void cli_beir_free(cli_beir *beir);

#endif
