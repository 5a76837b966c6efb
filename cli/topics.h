/* topics.h -- reading questions. One file, in one of three forms, told apart by how it begins:
 *
 *     {"_id":"1","text":"what is ...","namespace":"x"}      JSON lines, as BEIR's queries.jsonl
 *     1 <tab> what is ...                                   a line each: id, tab, question
 *     <top> <num> Number: 301 <title> what is ... </top>    TREC topics; the title is the question
 *
 * One thread. */
#ifndef MN_CLI_TOPICS_H
#define MN_CLI_TOPICS_H

#include "cli/row_file.h"

typedef struct cli_topic {
    char *id, *text, *name_space; /* owned by the list; name_space NULL = not restricted */
    uint64_t line;
} cli_topic;

typedef struct cli_topics {
    cli_topic *items; /* in the file's order */
    size_t n, capacity;
    size_t n_repeated; /* questions whose id came before: left out */
} cli_topics;          /* start from {0} */

/* Returns CLI_GO_ON, or CLI_EXIT_USAGE after naming file and line of what is wrong. */
int cli_topics_read(cli_topics *topics, const char *path);
void cli_topics_free(cli_topics *topics);

#endif
