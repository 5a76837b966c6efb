/* source_texts.h -- the texts of files or of a store, to train on or to measure with. */
#ifndef MN_CLI_SOURCE_TEXTS_H
#define MN_CLI_SOURCE_TEXTS_H

#include "cli/text.h"
#include "mneme.h"

typedef struct cli_source_texts {
    char **items; /* owned, and each of them */
    size_t *sizes;
    uint64_t *documents; /* the same number: records of one session, or a record or file by itself */
    size_t *title_sizes; /* bytes of the title that it begins with; 0: none */
    size_t n, capacity;
} cli_source_texts; /* start from {0} */

void cli_source_texts_free(cli_source_texts *texts);

/* Read every file: a JSONL file gives one text for each record ("title. speaker: text", as a store
 * encodes it), any other file one. CLI_GO_ON, or the
 * exit code after saying which file (and line) cannot be read. */
int cli_source_texts_read(cli_source_texts *texts, const cli_list *files);

/* The same of every record of a store, whatever its namespace. */
int cli_source_texts_of_store(cli_source_texts *texts, mneme *memory);

#endif
