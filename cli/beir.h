/* beir.h -- judged questions: a BEIR folder (queries.jsonl and qrels/<split>.tsv), or questions and judgements from
 * files of their own (topics.h, qrels.h). */
#ifndef MN_CLI_BEIR_H
#define MN_CLI_BEIR_H

#include "cli/qrels.h"
#include "cli/topics.h"

typedef struct cli_beir_query {
    const char *id, *text, *name_space; /* text NULL: not read; name_space NULL = not restricted */
    const cli_judgement *judgements;    /* sorted, at least one of them relevant */
    size_t n_judgements, n_relevant;
} cli_beir_query;

typedef struct cli_beir_source {
    const char *folder; /* NULL: the two below are set */
    const char *split;
    const char *qrels, *topics; /* NULL: those of the folder */
    bool without_topics;        /* a folder need not have questions: they are not to be asked */
} cli_beir_source;

typedef struct cli_beir {
    cli_beir_query *queries; /* in the order of the questions' file, else of the judgements' */
    size_t n;
    char *qrels_path;
    cli_qrels qrels; /* what the strings point into */
    cli_topics topics;
} cli_beir; /* start from {0} */

/* Returns CLI_GO_ON, or the exit code after saying what is wrong with file and line. Questions without a relevant
 * record are left out: no run can be right or wrong about them. Says on stderr how many judged questions have no text,
 * or stand more than once. */
int cli_beir_read(const cli_beir_source *source, cli_beir *out);
void cli_beir_free(cli_beir *beir);

#endif
