/* index_input.h -- from one file, or standard input, to records in an indexer. */
#ifndef MN_CLI_INDEX_INPUT_H
#define MN_CLI_INDEX_INPUT_H

#include "cli/document.h"
#include "cli/indexer.h"
#include "cli/walk.h"

typedef struct cli_input_options {
    cli_format_kind format; /* AUTO: by the name */
    uint64_t max_size;      /* bytes of a document, and of a line of JSONL */
    bool is_export;         /* lines keep the source that they name, and must have an id */
} cli_input_options;

/* Read one file into the indexer. source: its name in the store, borrowed until the run ends. False: end the run. */
bool cli_index_file(cli_indexer *indexer, const cli_input_options *options, const cli_file *file, const char *source);

/* The same for an open file of unknown kind under the name `source` ("-"): JSONL when its first line is a JSON object,
 * else one text. */
bool cli_index_stream(cli_indexer *indexer, const cli_input_options *options, int fd, const char *source);

#endif
