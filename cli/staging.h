/* staging.h -- the folder in which a model is put together before it moves into place:
 *
 *     HOME/.pull/org--name/          locked while a pull works in it
 *     HOME/.pull/org--name/files/    whole and checked files: this folder moves into place
 *
 * It outlives a pull that broke off, so that the next one goes on. HOME is the folder of models, on the same file
 * system, so that the last step is a rename. */
#ifndef MN_CLI_STAGING_H
#define MN_CLI_STAGING_H

#include "cli/hub.h"

typedef struct cli_staging {
    char *folder, *files; /* owned */
    int lock;             /* the folder, open and locked; -1 = not */
} cli_staging;

/* Make or take up the staging folder for `model` below `home`, and take out of it what the hub does not list (any
 * more). CLI_GO_ON, or an exit code after saying why: it cannot be made, another pull is at work in it. */
int cli_staging_open(cli_staging *staging, const char *home, const char *model);
/* Remove from files/ what is not among the hub's files now. */
void cli_staging_tidy(const cli_staging *staging, const cli_hub *hub);
/* Is there room for `bytes` more? Says so when not. CLI_GO_ON or an exit code. */
int cli_staging_room(const cli_staging *staging, uint64_t bytes);
void cli_staging_remove(const cli_staging *staging); /* the folder and all that is in it */
void cli_staging_close(cli_staging *staging);

#endif
