/* checkpoint.c -- see checkpoint.h. Saving and loading go through one list of tensors, so that they cannot differ. */
#include "encoder/train/checkpoint.h"

#include "common/file.h"
#include "common/json.h"
#include "encoder/train/safetensors_write.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { PARTS_OF_A_PARAMETER = 3, OWN_TENSORS = 3 /* step, description, checksum */ };

/* ---- the list -------------------------------------------------------------------------------------------------- */

typedef struct tensor_list {
    mn_arena arena; /* names */
    mn_tensor *items;
    size_t n;
    uint64_t checksum;
} tensor_list;

static bool add_tensor(tensor_list *list, const char *prefix, const char *name, mn_tensor tensor)
{
    size_t size = strlen(prefix) + strlen(name) + 1;
    char *full = mn_arena_alloc(&list->arena, size);
    if (!full) return false;
    snprintf(full, size, "%s%s", prefix, name);
    tensor.name = full;
    list->items[list->n++] = tensor;
    return true;
}

static mn_tensor bytes_tensor(const void *data, size_t size)
{
    return (mn_tensor){.dtype = "U8", .rank = 1, .shape = {size}, .data = data, .size_bytes = size};
}

static mn_tensor floats_tensor(const mn_parameter *p, const float *block)
{
    size_t size = (size_t)p->options.rows * p->options.columns * sizeof(float);
    return (mn_tensor){.dtype = "F32",
                       .rank = 2,
                       .shape = {p->options.rows, p->options.columns},
                       .data = block + p->offset,
                       .size_bytes = size};
}

static bool list_tensors(const mn_checkpoint *c, tensor_list *list)
{
    const mn_parameters *parameters = c->adam->parameters;
    list->items =
        mn_alloc_zeroed(PARTS_OF_A_PARAMETER * parameters->n + c->n_regions + OWN_TENSORS, sizeof *list->items);
    if (!list->items) return false;
    bool fine = true;
    for (size_t i = 0; i < parameters->n && fine; i++) {
        const mn_parameter *p = parameters->items[i];
        fine = add_tensor(list, "parameters.", p->name, floats_tensor(p, parameters->values)) &&
               add_tensor(list, "adam.first.", p->name, floats_tensor(p, c->adam->first)) &&
               add_tensor(list, "adam.second.", p->name, floats_tensor(p, c->adam->second));
    }
    fine = fine && add_tensor(list, "state.", "adam", bytes_tensor(&c->adam->step, sizeof c->adam->step));
    for (size_t i = 0; i < c->n_regions && fine; i++)
        fine = add_tensor(list, "state.", c->regions[i].name, bytes_tensor(c->regions[i].data, c->regions[i].size));
    return fine;
}

static void list_free(tensor_list *list)
{
    mn_free(list->items);
    mn_arena_free(&list->arena);
}

/* Of the tensors in the order of the list, wherever they lie in the file. */
static uint64_t checksum_of(const mn_tensor *tensors, size_t n, const char *description)
{
    XXH64_hash_t sum = XXH3_64bits(description, strlen(description));
    for (size_t i = 0; i < n; i++) sum = XXH3_64bits_withSeed(tensors[i].data, tensors[i].size_bytes, sum);
    return sum;
}

/* ---- saving ---------------------------------------------------------------------------------------------------- */

static mneme_status write_list(const mn_checkpoint *c, tensor_list *list, const char *path, mneme_error *error)
{
    list->checksum = checksum_of(list->items, list->n, c->description);
    const mn_tensor sum = {
        .dtype = "U64", .rank = 1, .shape = {1}, .data = &list->checksum, .size_bytes = sizeof list->checksum};
    if (!add_tensor(list, "", "description", bytes_tensor(c->description, strlen(c->description))) ||
        !add_tensor(list, "", "checksum", sum))
        return mn_fail_memory(error, path);
    mneme_status status = mn_safetensors_write(path, list->items, list->n, error);
    return status == MNEME_OK ? mn_directory_sync(c->folder, error) : status;
}

mneme_status mn_checkpoint_save(const mn_checkpoint *checkpoint, mneme_error *error)
{
    tensor_list list = {0};
    char *path = mn_path_join(checkpoint->folder, MN_CHECKPOINT_FILE);
    mneme_status status = path && list_tensors(checkpoint, &list) ? write_list(checkpoint, &list, path, error)
                                                                  : mn_fail_memory(error, MN_CHECKPOINT_FILE);
    list_free(&list);
    mn_free(path);
    return status;
}

/* ---- loading --------------------------------------------------------------------------------------------------- */

static const char *value_text(const json_t *value, char *buffer, size_t size)
{
    if (!value) return "nothing";
    if (json_is_string(value)) return json_string_value(value);
    if (json_is_integer(value))
        snprintf(buffer, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(buffer, size, "%g", json_real_value(value));
    else
        snprintf(buffer, size, "%s", json_is_true(value) ? "true" : "false");
    return buffer;
}

static mneme_status compare(const char *path, json_t *stored, json_t *wanted, mneme_error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach(wanted, key, value)
    {
        const json_t *other = json_object_get(stored, key);
        if (json_equal(value, other)) continue;
        char a[32], b[32];
        return mn_fail(error, MNEME_ERR_USAGE,
                       "%s is of a run with %s %s, not %s: go on with the same options and texts, or train anew", path,
                       key, value_text(other, a, sizeof a), value_text(value, b, sizeof b));
    }
    return MNEME_OK;
}

static mneme_status check_description(const mn_checkpoint *c, const char *path, const mn_tensor *tensor,
                                      mneme_error *error)
{
    bool flat = tensor && !mn_json_deeper_than(tensor->data, tensor->size_bytes, 1);
    json_t *stored = flat ? json_loadb(tensor->data, tensor->size_bytes, 0, NULL) : NULL;
    json_t *wanted = json_loads(c->description, 0, NULL);
    mneme_status status =
        !wanted ? mn_fail_memory(error, path)
        : !json_is_object(stored)
            ? mn_fail(error, MNEME_ERR_MODEL, "%s is no checkpoint: it does not say of which run it is", path)
            : compare(path, stored, wanted, error);
    json_decref(stored);
    json_decref(wanted);
    return status;
}

/* Find each tensor of the list in the file; found: the same list with the file's data. */
static mneme_status match(const mn_safetensors *file, const char *path, const tensor_list *list, mn_tensor *found,
                          mneme_error *error)
{
    for (size_t i = 0; i < list->n; i++) {
        const mn_tensor *wanted = &list->items[i], *tensor = mn_safetensors_find(file, wanted->name);
        if (!tensor) return mn_fail(error, MNEME_ERR_MODEL, "%s: there is no tensor %s", path, wanted->name);
        bool same = strcmp(tensor->dtype, wanted->dtype) == 0 && tensor->rank == wanted->rank;
        for (size_t d = 0; d < wanted->rank && same; d++) same = tensor->shape[d] == wanted->shape[d];
        if (!same)
            return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is %s of %llu x %llu; expected %s of %llu x %llu",
                           path, wanted->name, tensor->dtype, (unsigned long long)tensor->shape[0],
                           (unsigned long long)(tensor->rank > 1 ? tensor->shape[1] : 1), wanted->dtype,
                           (unsigned long long)wanted->shape[0],
                           (unsigned long long)(wanted->rank > 1 ? wanted->shape[1] : 1));
        found[i] = *tensor;
    }
    return MNEME_OK;
}

static mneme_status load_list(const mn_checkpoint *c, const mn_safetensors *file, const char *path,
                              const tensor_list *list, mneme_error *error)
{
    const mn_tensor *description = mn_safetensors_find(file, "description"),
                    *sum = mn_safetensors_find(file, "checksum");
    mn_tensor *found = mn_alloc_zeroed(list->n, sizeof *found);
    mneme_status status = found ? check_description(c, path, description, error) : mn_fail_memory(error, path);
    if (status == MNEME_OK) status = match(file, path, list, found, error);
    char *text = status == MNEME_OK ? mn_strndup(description->data, description->size_bytes) : NULL;
    uint64_t expected = 0;
    if (sum && sum->size_bytes == sizeof expected) memcpy(&expected, sum->data, sizeof expected);
    if (status == MNEME_OK && !text) status = mn_fail_memory(error, path);
    if (status == MNEME_OK && checksum_of(found, list->n, text) != expected)
        status = mn_fail(error, MNEME_ERR_MODEL, "%s is damaged: its checksum does not fit; train anew", path);
    for (size_t i = 0; i < list->n && status == MNEME_OK; i++) /* the list points into the run */
        memcpy((void *)(uintptr_t)list->items[i].data, found[i].data, found[i].size_bytes);
    mn_free(text);
    mn_free(found);
    return status;
}

mneme_status mn_checkpoint_require(const char *folder, mneme_error *error)
{
    char *path = mn_path_join(folder, MN_CHECKPOINT_FILE);
    mneme_status status = !path                  ? mn_fail_memory(error, "checkpoint")
                          : mn_file_exists(path) ? MNEME_OK
                                                 : mn_fail(error, MNEME_ERR_NOT_FOUND,
                                                           "there is no checkpoint to go on from: %s is missing", path);
    mn_free(path);
    return status;
}

mneme_status mn_checkpoint_load(const mn_checkpoint *checkpoint, mneme_error *error)
{
    tensor_list list = {0};
    mn_safetensors *file = NULL;
    char *path = mn_path_join(checkpoint->folder, MN_CHECKPOINT_FILE);
    mneme_status status = path && list_tensors(checkpoint, &list) ? MNEME_OK : mn_fail_memory(error, "checkpoint");
    if (status == MNEME_OK) status = mn_checkpoint_require(checkpoint->folder, error);
    if (status == MNEME_OK) status = mn_safetensors_open(path, &file, error);
    if (status == MNEME_OK) status = load_list(checkpoint, file, path, &list, error);
    mn_safetensors_close(file);
    list_free(&list);
    mn_free(path);
    return status;
}
