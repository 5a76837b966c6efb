/* salvage.h -- getting records out of a damaged store.
 *
 * The store is read in a child process, for LMDB may end the process at a damaged page; a new child goes on behind the
 * place where the last one died. This process never opens the store. */
#ifndef MN_CLI_SALVAGE_H
#define MN_CLI_SALVAGE_H

#include "cli/arguments.h"

typedef struct cli_salvage {
    const char *store;
    const mneme_settings *settings;
    mneme_selection select;
    bool vectors;
    /* Takes a line, with its line break; false: end. */
    bool (*put)(void *context, const char *data, size_t size);
    int put_failed; /* the exit code then */
    void *context;
    uint64_t records;  /* written */
    uint64_t problems; /* told on stderr, one line each */
} cli_salvage;

/* CLI_GO_ON, or an exit code after saying why. */
int cli_salvage_run(cli_salvage *salvage);

#endif
