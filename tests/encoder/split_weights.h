/* split_weights.h -- turns a folder's model.safetensors into shards and an index, as `save_pretrained` with a small
 * max_shard_size does. By the format alone (safetensors.h is not asked), so that the reader is tested against it. */
#ifndef MN_TESTS_SPLIT_WEIGHTS_H
#define MN_TESTS_SPLIT_WEIGHTS_H

#include "test_support.h"

#include <jansson.h>

static inline void split_write_shard(const char *path, const json_t *header, const char *data, size_t size)
{
    char *text = json_dumps(header, JSON_COMPACT);
    uint64_t text_size = strlen(text);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(&text_size, sizeof text_size, 1, file);
    fwrite(text, 1, text_size, file);
    fwrite(data, 1, size, file);
    assert_int_equal(fclose(file), 0);
    free(text);
}

/* The name of shard i, from 1 on, of n. */
static inline const char *split_name(size_t i, size_t n)
{
    static char name[64];
    snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i, n);
    return name;
}

static inline void split_write_index(const char *folder, const json_t *map)
{
    char path[1200];
    json_t *index = json_pack("{s:{s:i}, s:O}", "metadata", "total_size", 1, "weight_map", map);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    assert_int_equal(json_dump_file(index, path, JSON_INDENT(2)), 0);
    json_decref(index);
}

/* Tensor k goes to shard k mod n; model.safetensors is removed. Returns the map; json_decref it. */
static inline json_t *split_weights(const char *folder, size_t n)
{
    char path[1200], *whole = NULL;
    uint64_t header_size = 0;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    whole = malloc(size);
    assert_int_equal(fread(whole, 1, size, file), size);
    fclose(file);
    remove(path);
    memcpy(&header_size, whole, sizeof header_size);
    json_t *header = json_loadb(whole + 8, header_size, 0, NULL), *map = json_object();
    for (size_t shard = 0; shard < n; shard++) {
        json_t *part = json_object(), *entry;
        char *data = malloc(size);
        size_t used = 0, k = 0;
        const char *name;
        json_object_foreach(header, name, entry)
        {
            if (k++ % n != shard) continue;
            json_t *offsets = json_object_get(entry, "data_offsets"), *copy = json_deep_copy(entry);
            size_t start = (size_t)json_integer_value(json_array_get(offsets, 0));
            size_t bytes = (size_t)json_integer_value(json_array_get(offsets, 1)) - start;
            memcpy(data + used, whole + 8 + header_size + start, bytes);
            json_object_set_new(copy, "data_offsets", json_pack("[II]", (json_int_t)used, (json_int_t)(used + bytes)));
            json_object_set_new(part, name, copy);
            json_object_set_new(map, name, json_string(split_name(shard + 1, n)));
            used += bytes;
        }
        snprintf(path, sizeof path, "%s/%s", folder, split_name(shard + 1, n));
        split_write_shard(path, part, data, used);
        free(data);
        json_decref(part);
    }
    split_write_index(folder, map);
    json_decref(header);
    free(whole);
    return map;
}

#endif
