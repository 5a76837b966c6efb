/* salvage_child.h -- the process that reads a damaged store, and may die of it. */
#ifndef MN_CLI_SALVAGE_CHILD_H
#define MN_CLI_SALVAGE_CHILD_H

#include "cli/salvage.h"

/* In memory that parent and child share: what the child was doing when it died. */
typedef struct cli_salvage_board {
    bool opened;
    mneme_salvage_place place;
} cli_salvage_board;

/* Records that were found, for the search for lost ids: name_space << 32 | record, ascending. */
typedef struct cli_salvage_found {
    uint64_t *items;
    size_t n, capacity;
} cli_salvage_found;

/* Namespaces that are known. */
typedef struct cli_salvage_names {
    struct cli_salvage_name {
        uint32_t number;
        char *name;         /* owned */
        uint64_t n_records; /* that it should have */
    } * items;
    size_t n;
} cli_salvage_names;
/* "namespace "x"", or "namespace number 3"; owned (free). */
char *cli_salvage_name_of(const cli_salvage_names *names, uint32_t number);

/* What comes through the pipe: a head, then `size` bytes. */
typedef enum cli_salvage_kind {
    CLI_SALVAGE_HEADER,  /* the first line */
    CLI_SALVAGE_COUNT,   /* place: how many records the namespace named next should have */
    CLI_SALVAGE_NAME,    /* place: a namespace's number; its name */
    CLI_SALVAGE_RECORD,  /* place; a line of JSON */
    CLI_SALVAGE_SEEN,    /* place; nothing: not selected, or nothing of it can be used */
    CLI_SALVAGE_PROBLEM, /* words */
    CLI_SALVAGE_AGAIN,   /* words that another child may have said already */
    CLI_SALVAGE_LOST,    /* words about one id */
    CLI_SALVAGE_FAILED   /* words, for a failure that another try does not mend; place is a mneme_status */
} cli_salvage_kind;
typedef struct cli_salvage_frame {
    uint64_t kind, place, size;
} cli_salvage_frame;

typedef enum cli_salvage_task {
    CLI_SALVAGE_WALK, /* the records from a place on */
    CLI_SALVAGE_LOOK, /* can the first record from a place on be found? */
    CLI_SALVAGE_IDS   /* ids that lead to no record found */
} cli_salvage_task;

/* How the child ends when LMDB gave up in good order: as good as dead. */
#define CLI_SALVAGE_GAVE_UP 9

typedef struct cli_salvage_work {
    const cli_salvage *salvage;
    cli_salvage_task task;
    mneme_salvage_place from;                 /* step VECTORS: without those of this record */
    bool vectors, header, without_namespaces; /* header: send it */
    const cli_salvage_found *found;
    const cli_salvage_names *names;
    cli_salvage_board *board;
    int fd; /* where frames go */
} cli_salvage_work;

/* Does the work and ends the process. */
_Noreturn void cli_salvage_child(const cli_salvage_work *work);

#endif
