/* hub.h -- a model hub in the Hugging Face layout: which files a model has there, and getting one of them.
 *
 *     GET ENDPOINT/api/models/NAME/revision/REVISION?blobs=true   {"sha", "siblings": [{"rfilename", "size", "blobId",
 *                                                                 "lfs": {"size", "sha256"}}]}
 *     GET ENDPOINT/NAME/resolve/COMMIT/FILE                       the file; those in LFS redirect to another host
 *
 * REVISION is a branch, a tag or a commit; the answer's "sha" is the commit, and files are asked for by it, so that all
 * of them are of one version. Words about what goes wrong are said on stderr here. One thread. */
#ifndef MN_CLI_HUB_H
#define MN_CLI_HUB_H

#include "cli/digest.h"
#include "cli/http.h"
#include "cli/shard_names.h"

#include <jansson.h>

#define CLI_HUB_FILES_MAX (16 + CLI_SHARDS_MAX)

typedef struct cli_hub_file {
    const char *name; /* as in the model's folder: of the table in hub.c or among cli_hub.shards */
    bool has_size;
    uint64_t size, max_bytes;     /* as the hub says; at most */
    cli_digest kind;              /* of digest; NONE: the hub named none */
    char digest[CLI_DIGEST_TEXT]; /* what the content must have */
} cli_hub_file;

typedef struct cli_hub {
    char *endpoint;                        /* owned; without a '/' at the end */
    const char *token;                     /* NULL = none */
    const char *model, *revision;          /* borrowed */
    char commit[CLI_DIGEST_TEXT];          /* after cli_hub_list */
    cli_hub_file files[CLI_HUB_FILES_MAX]; /* those that mneme reads, the weights last */
    size_t n_files, n_before_weights;
    bool sharded;           /* the last file is the index; cli_hub_add_shards is to follow */
    cli_shard_names shards; /* after that */
    json_t *listing;        /* owned */
} cli_hub;

/* $HF_ENDPOINT and $HF_TOKEN are read here. model ("org/name") and revision: borrowed until cli_hub_close. Returns
 * CLI_GO_ON, or the exit code of bad usage. */
int cli_hub_open(cli_hub *hub, const char *model, const char *revision);
void cli_hub_close(cli_hub *hub);

/* Ask which files there are. A model that mneme cannot read for what it lacks is refused. CLI_GO_ON or an exit code. */
int cli_hub_list(cli_hub *hub);

/* Of a sharded model whose index is in `folder` now: add the files that it names. CLI_GO_ON, or an exit code after
 * saying what is wrong with the index, or that the hub lacks a file. */
int cli_hub_add_shards(cli_hub *hub, const char *folder);

/* What a repeated request goes on from: called before each attempt, with the answer before (NULL at first); returns the
 * first byte that is wanted. */
typedef uint64_t (*cli_hub_prepare)(void *context, const cli_http_answer *before);

/* GET with up to three repeats where that may help (5xx, 429, no or a broken connection); an attempt that brought
 * something on starts the count again. `file`: for the messages, NULL = the listing. request's url and token are set
 * here. Returns CLI_GO_ON, CLI_HUB_TAKER when begin or take said no, or an exit code after saying why. */
#define CLI_HUB_TAKER (-2)
int cli_hub_get(const cli_hub *hub, const char *file, cli_http_request *request, cli_hub_prepare prepare,
                cli_http_answer *answer);

#endif
