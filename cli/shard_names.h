/* shard_names.h -- which files a model's weights are in: model.safetensors, or those that model.safetensors.index.json
 * names. What they hold is the library's business. */
#ifndef MN_CLI_SHARD_NAMES_H
#define MN_CLI_SHARD_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_WEIGHTS       "model.safetensors"
#define CLI_WEIGHTS_INDEX CLI_WEIGHTS ".index.json"

enum { CLI_SHARDS_MAX = 128 };

typedef struct cli_shard_names {
    char *items[CLI_SHARDS_MAX]; /* each once; of letters, digits, '.', '_' and '-', and not hidden */
    size_t n;
} cli_shard_names;

/* Read the index in `folder`. False: `reason` is one line that says what is wrong with it. In either case
 * cli_shard_names_free. */
bool cli_shard_names_read(const char *folder, cli_shard_names *out, char *reason, size_t reason_size);
void cli_shard_names_free(cli_shard_names *names);

/* Bytes of the folder's weights, all shards together. 0: there are none, or some of them are missing. */
uint64_t cli_weights_bytes(const char *folder);

#endif
