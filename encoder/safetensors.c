/* safetensors.c -- reading tensors from a .safetensors file in place.
 *
 *   0        8                8 + n                           size
 *   | n, LE  | JSON, n bytes  | data, offsets count from here |
 *
 * Nothing in the file is trusted: every offset, shape and product is checked before a tensor is offered, and no two
 * tensors may overlap. */
#include "encoder/safetensors.h"

#include "common/file.h"
#include "common/half.h"
#include "common/json.h"
#include "common/memory.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEADER_MAX = 100 << 20, DEPTH_MAX = 16 };

struct mn_safetensors {
    mn_mapping map;
    bool borrowed;  /* map is the caller's */
    json_t *header; /* owns the names */
    mn_tensor *tensors;
    size_t n;
    char *path;
    mn_safetensors **parts; /* of one that was joined; they own maps and names */
    size_t n_parts;
};

static uint64_t read_le64(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static size_t element_bytes(const char *type, mn_tensor_type *out)
{
    static const struct {
        const char *name;
        size_t bytes;
        mn_tensor_type type;
    } types[] = {{"F32", 4, MN_TENSOR_F32},   {"F16", 2, MN_TENSOR_F16},   {"BF16", 2, MN_TENSOR_BF16},
                 {"F64", 8, MN_TENSOR_OTHER}, {"I64", 8, MN_TENSOR_OTHER}, {"I32", 4, MN_TENSOR_OTHER},
                 {"I16", 2, MN_TENSOR_OTHER}, {"I8", 1, MN_TENSOR_OTHER},  {"U64", 8, MN_TENSOR_OTHER},
                 {"U32", 4, MN_TENSOR_OTHER}, {"U16", 2, MN_TENSOR_OTHER}, {"U8", 1, MN_TENSOR_OTHER},
                 {"BOOL", 1, MN_TENSOR_OTHER}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(type, types[i].name) != 0) continue;
        *out = types[i].type;
        return types[i].bytes;
    }
    return 0;
}

static mneme_status read_shape(const char *path, const json_t *shape, mn_tensor *tensor, mneme_error *error)
{
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape) || rank > MN_TENSOR_RANK_MAX)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s has no shape of at most %d dimensions", path,
                       tensor->name, MN_TENSOR_RANK_MAX);
    tensor->rank = rank;
    tensor->n_elements = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *item = json_array_get(shape, i);
        json_int_t extent = json_is_integer(item) ? json_integer_value(item) : -1;
        if (extent < 0 || __builtin_mul_overflow(tensor->n_elements, (uint64_t)extent, &tensor->n_elements))
            return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s has an impossible shape", path, tensor->name);
        tensor->shape[i] = (uint64_t)extent;
    }
    return MNEME_OK;
}

static mneme_status read_tensor(const mn_safetensors *file, const json_t *entry, size_t data_start, mn_tensor *tensor,
                                mneme_error *error)
{
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    size_t width = type ? element_bytes(type, &tensor->type) : 0;
    if (width == 0)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s has an unknown type %s", file->path, tensor->name,
                       type ? type : "(none)");
    tensor->dtype = type;
    mneme_status status = read_shape(file->path, json_object_get(entry, "shape"), tensor, error);
    if (status != MNEME_OK) return status;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s has no data_offsets", file->path, tensor->name);
    json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    size_t available = file->map.size - data_start;
    if (begin < 0 || end < begin || (uint64_t)end > available)
        return mn_fail(
            error, MNEME_ERR_MODEL,
            "%s: tensor %s lies at bytes %lld..%lld of %zu; the file is cut short or damaged, fetch it again",
            file->path, tensor->name, (long long)begin, (long long)end, available);
    uint64_t expected;
    if (__builtin_mul_overflow(tensor->n_elements, (uint64_t)width, &expected) || expected != (uint64_t)(end - begin))
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s has %lld bytes where its shape needs another number",
                       file->path, tensor->name, (long long)(end - begin));
    tensor->data = file->map.data + data_start + (size_t)begin;
    tensor->size_bytes = (size_t)(end - begin);
    return MNEME_OK;
}

static int by_place(const void *left, const void *right)
{
    const mn_tensor *a = left, *b = right;
    if (a->data != b->data) return (uintptr_t)a->data < (uintptr_t)b->data ? -1 : 1;
    return a->size_bytes < b->size_bytes ? -1 : a->size_bytes > b->size_bytes;
}

/* No byte belongs to two tensors, and none stands behind the last; the tensors' order is changed. */
static mneme_status check_places(mn_safetensors *file, mneme_error *error)
{
    qsort(file->tensors, file->n, sizeof *file->tensors, by_place);
    for (size_t i = 1; i < file->n; i++) {
        const mn_tensor *before = &file->tensors[i - 1], *tensor = &file->tensors[i];
        if ((const char *)before->data + before->size_bytes > (const char *)tensor->data)
            return mn_fail(error, MNEME_ERR_MODEL, "%s: tensors %s and %s overlap; the file is damaged, fetch it again",
                           file->path, before->name, tensor->name);
    }
    const mn_tensor *last = file->n ? &file->tensors[file->n - 1] : NULL;
    size_t behind =
        last ? (size_t)(file->map.data + file->map.size - ((const unsigned char *)last->data + last->size_bytes)) : 0;
    if (behind)
        return mn_fail(error, MNEME_ERR_MODEL,
                       "%s: %zu bytes behind the last tensor; the file is damaged, fetch it again", file->path, behind);
    return MNEME_OK;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const mn_tensor *)left)->name, ((const mn_tensor *)right)->name);
}

static mneme_status find_scales(mn_safetensors *file, mneme_error *error)
{
    for (size_t i = 0; i < file->n; i++) {
        mn_tensor *tensor = &file->tensors[i];
        if (strcmp(tensor->dtype, "I8") != 0 || tensor->rank != 2) continue;
        mn_buffer name = {0};
        mn_buffer_format(&name, "%s.scale", tensor->name);
        if (name.failed) return mn_fail_memory(error, file->path);
        const mn_tensor *scale = mn_safetensors_find(file, name.data);
        mn_buffer_free(&name);
        if (!scale || scale->type != MN_TENSOR_F32 || scale->rank != 1 || scale->shape[0] != tensor->shape[0]) continue;
        tensor->type = MN_TENSOR_SCALED_I8;
        tensor->scale = scale->data;
    }
    return MNEME_OK;
}

static mneme_status read_header(mn_safetensors *file, mneme_error *error)
{
    if (file->map.size < 8)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: %zu bytes are no safetensors file", file->path, file->map.size);
    uint64_t header_size = read_le64(file->map.data);
    if (header_size > HEADER_MAX || header_size > file->map.size - 8)
        return mn_fail(error, MNEME_ERR_MODEL,
                       "%s: header of %llu bytes in a file of %zu; the file is cut short or no safetensors file",
                       file->path, (unsigned long long)header_size, file->map.size);
    const char *json = (const char *)file->map.data + 8;
    json_error_t problem;
    if (mn_json_deeper_than(json, (size_t)header_size, DEPTH_MAX))
        return mn_fail(error, MNEME_ERR_MODEL, "%s: header is nested deeper than %d", file->path, DEPTH_MAX);
    file->header = json_loadb(json, (size_t)header_size, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(file->header))
        return mn_fail(error, MNEME_ERR_MODEL, "%s: header: %s at byte %d", file->path,
                       file->header ? "not an object" : problem.text, file->header ? 8 : 8 + problem.position);
    file->tensors = mn_alloc_zeroed(json_object_size(file->header), sizeof *file->tensors);
    if (!file->tensors) return mn_fail_memory(error, file->path);
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        mn_tensor *tensor = &file->tensors[file->n];
        tensor->name = name;
        mneme_status status = read_tensor(file, entry, 8 + (size_t)header_size, tensor, error);
        if (status != MNEME_OK) return status;
        file->n++;
    }
    mneme_status status = check_places(file, error);
    qsort(file->tensors, file->n, sizeof *file->tensors, by_name);
    if (status == MNEME_OK) status = find_scales(file, error);
    return status;
}

static mneme_status open_bytes(const char *name, mn_mapping map, bool borrowed, mn_safetensors **out,
                               mneme_error *error)
{
    *out = NULL;
    mn_safetensors *file = mn_alloc_zeroed(1, sizeof *file);
    if (!file) {
        if (!borrowed) mn_file_unmap(&map);
        return mn_fail_memory(error, name);
    }
    file->map = map;
    file->borrowed = borrowed;
    file->path = mn_strdup(name);
    mneme_status status = file->path ? read_header(file, error) : mn_fail_memory(error, name);
    if (status != MNEME_OK)
        mn_safetensors_close(file);
    else
        *out = file;
    return status;
}

mneme_status mn_safetensors_open(const char *path, mn_safetensors **out, mneme_error *error)
{
    *out = NULL;
    mn_mapping map;
    mneme_status status = mn_file_map(path, &map, error);
    if (status == MNEME_ERR_NOT_FOUND) return mn_fail(error, MNEME_ERR_MODEL, "%s is missing", path);
    return status == MNEME_OK ? open_bytes(path, map, false, out, error) : status;
}

mneme_status mn_safetensors_parse(const char *name, const void *data, size_t size, mn_safetensors **out,
                                  mneme_error *error)
{
    return open_bytes(name, (mn_mapping){.data = data, .size = size}, true, out, error);
}

/* ---- several as one ---- */

/* The part that a tensor comes from, by where its name lies. */
static const char *part_with(const mn_safetensors *joined, const mn_tensor *tensor)
{
    for (size_t i = 0; i < joined->n_parts; i++) {
        const mn_tensor *found = mn_safetensors_find(joined->parts[i], tensor->name);
        if (found && found->name == tensor->name) return mn_path_base(joined->parts[i]->path);
    }
    return joined->path;
}

static mneme_status join_tensors(mn_safetensors *joined, mneme_error *error)
{
    for (size_t i = 0; i < joined->n_parts; i++) {
        const mn_safetensors *part = joined->parts[i];
        if (part->n) memcpy(joined->tensors + joined->n, part->tensors, part->n * sizeof *part->tensors);
        joined->n += part->n;
    }
    qsort(joined->tensors, joined->n, sizeof *joined->tensors, by_name);
    for (size_t i = 1; i < joined->n; i++) {
        const mn_tensor *before = &joined->tensors[i - 1], *tensor = &joined->tensors[i];
        if (strcmp(before->name, tensor->name) == 0)
            return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is in %s and in %s", joined->path, tensor->name,
                           part_with(joined, before), part_with(joined, tensor));
    }
    return find_scales(joined, error); /* a scale may be in another part than its matrix */
}

mneme_status mn_safetensors_join(const char *path, mn_safetensors **parts, size_t n, mn_safetensors **out,
                                 mneme_error *error)
{
    *out = NULL;
    size_t n_tensors = 0;
    for (size_t i = 0; i < n; i++) n_tensors += parts[i]->n;
    mn_safetensors *joined = mn_alloc_zeroed(1, sizeof *joined);
    if (!joined) return mn_fail_memory(error, path);
    joined->path = mn_strdup(path);
    joined->tensors = mn_alloc_zeroed(n_tensors + 1, sizeof *joined->tensors);
    joined->parts = mn_alloc_zeroed(n, sizeof *joined->parts);
    mneme_status status = MNEME_OK;
    if (joined->path && joined->tensors && joined->parts) {
        memcpy(joined->parts, parts, n * sizeof *parts);
        joined->n_parts = n;
        status = join_tensors(joined, error);
    } else {
        status = mn_fail_memory(error, path);
    }
    if (status == MNEME_OK) {
        memset(parts, 0, n * sizeof *parts);
        *out = joined;
    } else {
        joined->n_parts = 0; /* they stay the caller's */
        mn_safetensors_close(joined);
    }
    return status;
}

const char *mn_safetensors_path(const mn_safetensors *file)
{
    return file->path;
}

void mn_safetensors_close(mn_safetensors *file)
{
    if (!file) return;
    for (size_t i = 0; i < file->n_parts; i++) mn_safetensors_close(file->parts[i]);
    mn_free(file->parts);
    mn_free(file->tensors);
    json_decref(file->header);
    if (!file->borrowed) mn_file_unmap(&file->map);
    mn_free(file->path);
    mn_free(file);
}

size_t mn_safetensors_count(const mn_safetensors *file)
{
    return file->n;
}

const mn_tensor *mn_safetensors_at(const mn_safetensors *file, size_t index)
{
    return &file->tensors[index];
}

const mn_tensor *mn_safetensors_find(const mn_safetensors *file, const char *name)
{
    const mn_tensor key = {.name = name};
    return file->n ? bsearch(&key, file->tensors, file->n, sizeof key, by_name) : NULL;
}

static void scaled_to_f32(const mn_tensor *tensor, uint64_t first, size_t n_elements, float *out)
{
    const int8_t *numbers = (const int8_t *)tensor->data + first;
    uint64_t columns = tensor->shape[1];
    for (size_t i = 0; i < n_elements;) {
        uint64_t row = (first + i) / columns, end = (row + 1) * columns - first; /* of the row, from `first` on */
        float scale;
        memcpy(&scale, (const char *)tensor->scale + row * sizeof scale, sizeof scale);
        for (; i < n_elements && i < end; i++) out[i] = (float)numbers[i] * scale;
    }
}

void mn_tensor_to_f32(const mn_tensor *tensor, uint64_t first, size_t n_elements, float *out)
{
    const unsigned char *bytes = tensor->data;
    if (tensor->type == MN_TENSOR_F32) {
        memcpy(out, bytes + first * 4, n_elements * 4);
        return;
    }
    if (tensor->type == MN_TENSOR_SCALED_I8) {
        scaled_to_f32(tensor, first, n_elements, out);
        return;
    }
    for (size_t i = 0; i < n_elements; i++) {
        const unsigned char *at = bytes + (first + i) * 2;
        uint16_t half = (uint16_t)(at[0] | at[1] << 8);
        if (tensor->type == MN_TENSOR_F16) {
            out[i] = mn_half_to_float(half);
        } else {
            uint32_t bits = (uint32_t)half << 16;
            memcpy(&out[i], &bits, sizeof bits);
        }
    }
}

void mn_safetensors_release_pages(const mn_safetensors *file)
{
    for (size_t i = 0; i < file->n_parts; i++) mn_safetensors_release_pages(file->parts[i]);
    if (file->map.data && !file->borrowed) madvise((void *)(uintptr_t)file->map.data, file->map.size, MADV_DONTNEED);
}
