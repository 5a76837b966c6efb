/* shard_names.c -- the names in an index of weights. It may come from a server: a name that could lead out of the
 * folder is refused. */
#include "cli/shard_names.h"

#include "cli/arguments.h"
#include "cli/model_folders.h"
#include "cli/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool plausible(const char *name)
{
    static const char ending[] = ".safetensors";
    size_t size = strlen(name);
    return size >= sizeof ending && size <= 200 && name[0] != '.' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == size &&
           strcmp(name + size - (sizeof ending - 1), ending) == 0;
}

static bool listed(const cli_shard_names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->items[i], name) == 0) return true;
    return false;
}

static bool gather(json_t *map, cli_shard_names *out, char *reason, size_t reason_size)
{
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (!name || !plausible(name)) {
            snprintf(reason, reason_size,
                     CLI_WEIGHTS_INDEX ": '%.80s' is no name of a .safetensors file in the model's folder",
                     name ? name : "(no text)");
            return false;
        }
        if (listed(out, name)) continue;
        if (out->n == CLI_SHARDS_MAX) {
            snprintf(reason, reason_size, CLI_WEIGHTS_INDEX ": weights in over %d files are not read", CLI_SHARDS_MAX);
            return false;
        }
        out->items[out->n++] = cli_strdup(name);
    }
    if (out->n == 0) snprintf(reason, reason_size, CLI_WEIGHTS_INDEX ": there is no \"weight_map\" that names files");
    return out->n > 0;
}

bool cli_shard_names_read(const char *folder, cli_shard_names *out, char *reason, size_t reason_size)
{
    *out = (cli_shard_names){0};
    json_t *index = cli_model_json(folder, CLI_WEIGHTS_INDEX);
    bool fine = false;
    if (index)
        fine = gather(json_object_get(index, "weight_map"), out, reason, reason_size);
    else
        snprintf(reason, reason_size, CLI_WEIGHTS_INDEX " is no JSON of at most 1 MB");
    json_decref(index);
    return fine;
}

void cli_shard_names_free(cli_shard_names *names)
{
    for (size_t i = 0; i < names->n; i++) free(names->items[i]);
    *names = (cli_shard_names){0};
}

/* False: it is not there. */
static bool add_bytes(const char *folder, const char *name, uint64_t *bytes)
{
    struct stat info;
    char *path = cli_path_join(folder, name);
    bool there = stat(path, &info) == 0;
    if (there) *bytes += (uint64_t)info.st_size;
    free(path);
    return there;
}

uint64_t cli_weights_bytes(const char *folder)
{
    uint64_t bytes = 0;
    char reason[400];
    cli_shard_names names;
    if (add_bytes(folder, CLI_WEIGHTS, &bytes)) return bytes;
    bool whole = cli_shard_names_read(folder, &names, reason, sizeof reason);
    for (size_t i = 0; i < names.n && whole; i++) whole = add_bytes(folder, names.items[i], &bytes);
    cli_shard_names_free(&names);
    return whole ? bytes : 0;
}
