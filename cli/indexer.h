/* indexer.h -- records on their way into the store: gathered into batches, stored, counted.
 *
 *     file --(index_input.h)--> record --> batch --mneme_add--> store
 *
 * A batch is stored when it holds index.batch_records records or 1 MiB of text, or is two seconds old: so a kill loses
 * little, and memory stays flat whatever the input's size. */
#ifndef MN_CLI_INDEXER_H
#define MN_CLI_INDEXER_H

#include "cli/export_line.h"
#include "cli/output.h"
#include "cli/seen.h"

/* One record with the memory behind it. */
typedef struct cli_item {
    mneme_record record;
    mneme_record *parsed;      /* owned: from mneme_record_parse; NULL = none */
    char *id, *text, *title;   /* owned: what `record` points to besides; NULL = nothing */
    const char *source;        /* borrowed until the run ends */
    uint64_t line;             /* in a JSONL file; 0 = a whole document */
    uint64_t input_bytes;      /* of the file, for the progress */
} cli_item;

typedef struct cli_totals {
    uint64_t added, updated, unchanged, removed, refused, skipped;
    uint64_t chunks, replaced_characters, generation;
} cli_totals;

typedef struct cli_indexer {
    mneme *memory;   /* NULL: a dry run without a store; every record counts as added */
    bool dry_run;    /* store nothing */
    bool show;       /* name each record that would change (on a dry run) */
    bool strict;     /* stop at the first refusal of a batch */
    bool remember;   /* fill `seen` and `sources` */
    const char *name_space; /* of records that have none; NULL = the unnamed one */
    size_t batch_records;
    cli_export_header from; /* encoder NULL: records bring no vectors but their own */
    cli_totals totals;
    cli_seen seen;    /* (namespace, id) of JSONL records, refused ones included */
    cli_seen sources; /* (source, "") of documents, and of files with anything refused in them */
    json_t *refusals; /* for --json: [{"source","line","reason"}], at most 1,000; NULL = not wanted */
    json_t *changes;  /* for --json on a dry run: [{"id","namespace","change"}]; NULL = not wanted */
    cli_progress progress;
    uint64_t bytes_done; /* of input, in batches that are stored */
    cli_item *items;     /* the batch in hand */
    size_t n_items;
    uint64_t batch_text, batch_input; /* bytes */
    double batch_started;             /* seconds */
    bool stop_said;
    int failure; /* exit code of a failure that ends the run, said on stderr; 0 = none */
} cli_indexer;   /* start from {0}, then set what is above `totals` */

/* Take the record over (the item's memory is the indexer's from now on), and store the batch when it is full. False:
 * end the run, see failure and cli_stop_asked. */
bool cli_indexer_add(cli_indexer *indexer, cli_item *item);
/* Store what is gathered. False as above. */
bool cli_indexer_flush(cli_indexer *indexer);
/* From now on records come from another file: the one with this first line (NULL: without one). Stores what is gathered
 * first. Takes over what the header owns. False as above. */
bool cli_indexer_from(cli_indexer *indexer, const cli_export_header *header);
/* Some input cannot be stored: names it on stderr, counts it. line 0 = the whole file. */
void cli_indexer_refuse(cli_indexer *indexer, const char *source, uint64_t line, const char *reason);
/* Input that makes no record (skipped, refused): only moves the progress. */
void cli_indexer_pass(cli_indexer *indexer, uint64_t input_bytes);
void cli_indexer_free(cli_indexer *indexer);

#endif
