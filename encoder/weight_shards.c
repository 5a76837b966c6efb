/* weight_shards.c -- the index of a model's shards, and opening all of them as one.
 *
 * The index comes from wherever the model does: a shard's name is looked at before it becomes part of a path. */
#include "encoder/weight_shards.h"

#include "common/file.h"
#include "common/json.h"
#include "common/memory.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_MAX_BYTES = 1 << 20, DEPTH_MAX = 16, NAME_MAX_BYTES = 200 };

struct mn_weight_index {
    json_t *json;        /* owns all names */
    const json_t *map;   /* tensor -> shard */
    const char **shards; /* (n), in order */
    size_t n;
};

/* ---- the index ---- */

/* One file's name of letters, digits, '.', '_' and '-', not hidden, ending as its content asks for. */
static bool is_shard_name(const char *name)
{
    static const char ending[] = ".safetensors";
    size_t size = strlen(name);
    return size >= sizeof ending && size <= NAME_MAX_BYTES && name[0] != '.' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == size &&
           strcmp(name + size - (sizeof ending - 1), ending) == 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of shards, one for each tensor, become one for each shard. */
static mneme_status gather_shards(const char *name, mn_weight_index *index, mneme_error *error)
{
    const char *tensor;
    json_t *value;
    size_t n = 0;
    index->shards = mn_alloc_zeroed(json_object_size(index->map) + 1, sizeof *index->shards);
    if (!index->shards) return mn_fail_memory(error, name);
    json_object_foreach((json_t *)(uintptr_t)index->map, tensor, value)
    {
        const char *shard = json_string_value(value);
        if (!shard || !is_shard_name(shard))
            return mn_fail(
                error, MNEME_ERR_MODEL,
                "%s: tensor %.200s is said to be in '%.80s'; expected the name of a .safetensors file beside "
                "the index",
                name, tensor, shard ? shard : "(no text)");
        index->shards[n++] = shard;
    }
    qsort((void *)index->shards, n, sizeof *index->shards, by_text);
    for (size_t i = 0; i < n; i++)
        if (index->n == 0 || strcmp(index->shards[index->n - 1], index->shards[i]) != 0)
            index->shards[index->n++] = index->shards[i];
    if (index->n == 0) return mn_fail(error, MNEME_ERR_MODEL, "%s: the weight_map is empty", name);
    if (index->n > MN_WEIGHT_SHARDS_MAX)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: the weights are in %zu files; at most %d are read", name, index->n,
                       MN_WEIGHT_SHARDS_MAX);
    return MNEME_OK;
}

static mneme_status parse(const char *name, const char *text, size_t size, mn_weight_index *index, mneme_error *error)
{
    json_error_t problem = {0};
    if (size == 0) return mn_fail(error, MNEME_ERR_MODEL, "%s is empty", name);
    if (mn_json_deeper_than(text, size, DEPTH_MAX))
        return mn_fail(error, MNEME_ERR_MODEL, "%s is nested deeper than %d", name, DEPTH_MAX);
    index->json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    if (!index->json) return mn_fail(error, MNEME_ERR_MODEL, "%s: %s in line %d", name, problem.text, problem.line);
    index->map = json_object_get(index->json, "weight_map");
    if (!json_is_object(index->map))
        return mn_fail(error, MNEME_ERR_MODEL, "%s: there is no \"weight_map\" of tensors and files", name);
    return gather_shards(name, index, error);
}

mneme_status mn_weight_index_parse(const char *name, const void *text, size_t size, mn_weight_index **out,
                                   mneme_error *error)
{
    *out = NULL;
    mn_weight_index *index = mn_alloc_zeroed(1, sizeof *index);
    if (!index) return mn_fail_memory(error, name);
    mneme_status status = parse(name, text, size, index, error);
    if (status == MNEME_OK)
        *out = index;
    else
        mn_weight_index_free(index);
    return status;
}

mneme_status mn_weight_index_read(const char *path, mn_weight_index **out, mneme_error *error)
{
    *out = NULL;
    mn_buffer text = {0};
    mneme_status status = mn_file_read(path, INDEX_MAX_BYTES, &text, error);
    if (status == MNEME_OK) status = mn_weight_index_parse(path, text.data, text.size, out, error);
    mn_buffer_free(&text);
    return status;
}

void mn_weight_index_free(mn_weight_index *index)
{
    if (!index) return;
    mn_free((void *)index->shards);
    json_decref(index->json);
    mn_free(index);
}

size_t mn_weight_index_count(const mn_weight_index *index)
{
    return index->n;
}

const char *mn_weight_index_shard(const mn_weight_index *index, size_t i)
{
    return index->shards[i];
}

/* ---- opening ---- */

static mneme_status open_shard(const char *index_path, const char *name, mn_safetensors **out, mneme_error *error)
{
    char *folder = mn_strndup(index_path, (size_t)(mn_path_base(index_path) - index_path));
    char *path = folder ? mn_path_join(*folder ? folder : ".", name) : NULL;
    mneme_status status = MNEME_OK;
    if (!path)
        status = mn_fail_memory(error, name);
    else if (!mn_file_exists(path))
        status = mn_fail(error, MNEME_ERR_MODEL, "%s is missing; %s names it", path, mn_path_base(index_path));
    else
        status = mn_safetensors_open(path, out, error);
    mn_free(path);
    mn_free(folder);
    return status;
}

/* Every tensor is where the index says. */
static mneme_status check_map(const char *path, const mn_weight_index *index, mn_safetensors *const *shards,
                              mneme_error *error)
{
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)index->map, tensor, value)
    {
        const char *name = json_string_value(value);
        const char **place = bsearch(&name, (const void *)index->shards, index->n, sizeof *index->shards, by_text);
        if (!mn_safetensors_find(shards[place - index->shards], tensor))
            return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is said to be in %s, which lacks it", path, tensor,
                           name);
    }
    return MNEME_OK;
}

static mneme_status open_shards(const char *path, const mn_weight_index *index, mn_safetensors **out,
                                mneme_error *error)
{
    mneme_status status = MNEME_OK;
    mn_safetensors **shards = mn_alloc_zeroed(index->n, sizeof *shards);
    if (!shards) return mn_fail_memory(error, path);
    for (size_t i = 0; i < index->n && status == MNEME_OK; i++)
        status = open_shard(path, index->shards[i], &shards[i], error);
    if (status == MNEME_OK) status = check_map(path, index, shards, error);
    if (status == MNEME_OK) status = mn_safetensors_join(path, shards, index->n, out, error);
    for (size_t i = 0; i < index->n; i++) mn_safetensors_close(shards[i]); /* those that were not taken over */
    mn_free(shards);
    return status;
}

/* No weights at `path`; those of PyTorch's own format may be beside it. */
static mneme_status fail_missing(const char *path, mneme_error *error)
{
    mn_buffer other = {0};
    mn_buffer_append(&other, path, (size_t)(mn_path_base(path) - path));
    mn_buffer_format(&other, "pytorch_model.bin");
    bool pytorch = !other.failed && mn_file_exists(other.data);
    mn_buffer_free(&other);
    return mn_fail(error, MNEME_ERR_MODEL, "%s is missing%s", path,
                   pytorch ? "; the pytorch_model.bin beside it is not read, save it as safetensors" : "");
}

mneme_status mn_weights_open(const char *path, mn_safetensors **out, mneme_error *error)
{
    *out = NULL;
    if (mn_file_exists(path)) return mn_safetensors_open(path, out, error);
    mn_buffer name = {0};
    mn_weight_index *index = NULL;
    mn_buffer_format(&name, "%s" MN_WEIGHT_INDEX_ENDING, path);
    mneme_status status = name.failed ? mn_fail_memory(error, path) : mn_weight_index_read(name.data, &index, error);
    if (status == MNEME_ERR_NOT_FOUND) status = fail_missing(path, error);
    if (status == MNEME_OK) status = open_shards(name.data, index, out, error);
    mn_weight_index_free(index);
    mn_buffer_free(&name);
    return status;
}
