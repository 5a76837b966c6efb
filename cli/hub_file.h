/* hub_file.h -- one file of a model from the hub, whole and checked or not at all; broken off, it goes on next time.
 *
 *     STAGING/files/1_Pooling/config.json         whole and checked
 *     STAGING/model.safetensors.part              what has come so far
 *     STAGING/model.safetensors.note              two lines: the digest that it must have, the ETag that it came under
 */
#ifndef MN_CLI_HUB_FILE_H
#define MN_CLI_HUB_FILE_H

#include "cli/hub.h"
#include "cli/output.h"

#define CLI_STAGING_FILES "files"

typedef struct cli_hub_fetch {
    const cli_hub *hub;
    const char *staging;    /* a folder that is there */
    cli_progress *progress; /* counts bytes of all files */
    uint64_t before;        /* bytes of the files before this one */
} cli_hub_fetch;

/* Fetch `file`, or find it there. Its digest is filled in from the answer where the listing had none; *size receives
 * its bytes, *received those that came over the network (the last attempt's). Returns CLI_GO_ON, or an exit code after
 * saying why on stderr; then a .part is kept unless it is known to be wrong. */
int cli_hub_fetch_file(const cli_hub_fetch *fetch, cli_hub_file *file, uint64_t *size, uint64_t *received);

/* Bytes of `file` that are in the staging folder already. */
uint64_t cli_hub_fetched(const char *staging, const cli_hub_file *file);

#endif
