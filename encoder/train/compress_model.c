/* compress_model.c -- reading a model's tensors, changing some, and writing them with the other files of its folder. */
#include "encoder/train/compress_model.h"

#include "common/file.h"
#include "common/json.h"
#include "common/memory.h"
#include "encoder/train/model_files.h"
#include "encoder/train/new_folder.h"
#include "encoder/train/safetensors_write.h"
#include "encoder/weight_shards.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_LEAST = 16, CONFIG_MAX_BYTES = 1 << 20, DEPTH_MAX = 32 };

/* The tensors that will be written. */
typedef struct compression {
    const mneme_compress_options *options;
    mn_safetensors *file;
    const char *path; /* of the file, for messages */
    mn_arena arena;   /* of what is new */
    mn_tensor *out;   /* room for two of each that there is */
    size_t n, n_changed;
} compression;

/* ---- bytes ---- */

static bool is_matrix(const mn_tensor *tensor)
{
    return tensor->rank == 2 && tensor->shape[0] >= ROWS_LEAST && tensor->shape[1] > 0 &&
           tensor->type != MN_TENSOR_OTHER;
}

static mneme_status fail_not_finite(const compression *c, const mn_tensor *tensor, mneme_error *error)
{
    return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s holds NaN or infinity", c->path, tensor->name);
}

/* numbers (rows, columns) and scales (rows). */
static mneme_status to_bytes(const compression *c, const mn_tensor *tensor, int8_t *numbers, float *scales,
                             mneme_error *error)
{
    size_t columns = (size_t)tensor->shape[1];
    float *row = mn_alloc_array(columns, sizeof *row);
    if (!row) return mn_fail_memory(error, tensor->name);
    mneme_status status = MNEME_OK;
    for (size_t r = 0; r < tensor->shape[0] && status == MNEME_OK; r++) {
        float largest = 0;
        mn_tensor_to_f32(tensor, r * columns, columns, row);
        for (size_t i = 0; i < columns; i++) {
            if (!isfinite(row[i])) status = fail_not_finite(c, tensor, error);
            largest = fmaxf(largest, fabsf(row[i]));
        }
        scales[r] = largest / 127;
        float inverse = scales[r] > 0 ? 127 / largest : 0;
        if (!isfinite(inverse)) inverse = scales[r] = 0; /* smaller than any weight that counts */
        for (size_t i = 0; i < columns && status == MNEME_OK; i++)
            numbers[r * columns + i] = (int8_t)lrintf(row[i] * inverse);
    }
    mn_free(row);
    return status;
}

static void add(compression *c, const mn_tensor *tensor)
{
    c->out[c->n++] = *tensor;
}

static mn_tensor vector_of(const char *name, const float *data, uint64_t n)
{
    return (mn_tensor){.name = name,
                       .dtype = "F32",
                       .rank = 1,
                       .shape = {n},
                       .n_elements = n,
                       .data = data,
                       .size_bytes = (size_t)n * sizeof *data};
}

/* The tensor as I8 into the list. *scales: (rows), the arena's. */
static mneme_status add_bytes(compression *c, const mn_tensor *tensor, float **scales, mneme_error *error)
{
    int8_t *numbers = mn_arena_array(&c->arena, (size_t)tensor->n_elements, 1);
    *scales = mn_arena_array(&c->arena, (size_t)tensor->shape[0], sizeof **scales);
    if (!numbers || !*scales) return mn_fail_memory(error, tensor->name);
    mneme_status status = to_bytes(c, tensor, numbers, *scales, error);
    if (status != MNEME_OK) return status;
    mn_tensor bytes = *tensor;
    bytes.dtype = "I8";
    bytes.data = numbers;
    bytes.size_bytes = (size_t)tensor->n_elements;
    add(c, &bytes);
    c->n_changed++;
    return MNEME_OK;
}

static mneme_status quantize(compression *c, const mn_tensor *tensor, mneme_error *error)
{
    if (!is_matrix(tensor) || tensor->type == MN_TENSOR_SCALED_I8) {
        add(c, tensor);
        return MNEME_OK;
    }
    float *scales = NULL;
    mneme_status status = add_bytes(c, tensor, &scales, error);
    if (status != MNEME_OK) return status;
    size_t size = strlen(tensor->name) + sizeof ".scale";
    char *name = mn_arena_alloc(&c->arena, size);
    if (!name) return mn_fail_memory(error, tensor->name);
    snprintf(name, size, "%s.scale", tensor->name);
    const mn_tensor scale = vector_of(name, scales, tensor->shape[0]);
    add(c, &scale);
    return MNEME_OK;
}

/* ---- a static encoder's table ---- */

static double number_at(const mn_tensor *tensor, size_t i)
{
    double number;
    float narrow;
    if (!tensor) return 1;
    if (strcmp(tensor->dtype, "F64") == 0) {
        memcpy(&number, (const char *)tensor->data + i * sizeof number, sizeof number);
        return number;
    }
    mn_tensor_to_f32(tensor, i, 1, &narrow);
    return (double)narrow;
}

static uint64_t row_at(const mn_tensor *mapping, size_t i)
{
    int64_t wide;
    int32_t narrow;
    if (!mapping) return i;
    if (strcmp(mapping->dtype, "I64") == 0) {
        memcpy(&wide, (const char *)mapping->data + i * sizeof wide, sizeof wide);
        return (uint64_t)wide;
    }
    memcpy(&narrow, (const char *)mapping->data + i * sizeof narrow, sizeof narrow);
    return (uint64_t)(int64_t)narrow;
}

static bool is_list(const mn_tensor *tensor, const char *one, const char *other)
{
    return tensor->rank == 1 && (strcmp(tensor->dtype, one) == 0 || strcmp(tensor->dtype, other) == 0);
}

/* embeddings as I8; weights: each token's own times the scale of its row. */
static mneme_status quantize_table(compression *c, const mn_tensor *table, mneme_error *error)
{
    const mn_tensor *weights = mn_safetensors_find(c->file, "weights");
    const mn_tensor *mapping = mn_safetensors_find(c->file, "mapping");
    if ((weights && !is_list(weights, "F64", "F32") && !is_list(weights, "F16", "BF16")) ||
        (mapping && !is_list(mapping, "I64", "I32")))
        return mn_fail(error, MNEME_ERR_MODEL, "%s: weights or mapping is not a list of numbers", c->path);
    size_t n = (size_t)(mapping ? mapping->n_elements : table->shape[0]);
    if (weights && weights->n_elements < n) n = (size_t)weights->n_elements;
    float *scales = NULL, *folded = mn_arena_array(&c->arena, n, sizeof *folded);
    if (!folded) return mn_fail_memory(error, "weights");
    mneme_status status = add_bytes(c, table, &scales, error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        uint64_t row = row_at(mapping, i);
        if (row >= table->shape[0])
            return mn_fail(error, MNEME_ERR_MODEL, "%s: mapping of token %zu is no row of embeddings", c->path, i);
        folded[i] = (float)(number_at(weights, i) * (double)scales[row]);
    }
    const mn_tensor vector = vector_of("weights", folded, n);
    if (status == MNEME_OK) add(c, &vector);
    return status;
}

/* ---- zeros ---- */

static bool is_product(const mn_tensor *tensor)
{
    return is_matrix(tensor) && !strstr(tensor->name, "embedding");
}

static int by_magnitude(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return a < b ? -1 : a > b;
}

/* The magnitude below which weights go; of those that have just it, *ties go. */
static float threshold(float *magnitudes, size_t n, size_t n_zeros, size_t *ties)
{
    qsort(magnitudes, n, sizeof *magnitudes, by_magnitude);
    float bound = magnitudes[n_zeros - 1];
    size_t below = n_zeros;
    while (below > 0 && magnitudes[below - 1] == bound) below--;
    *ties = n_zeros - below;
    return bound;
}

static mneme_status prune(compression *c, const mn_tensor *tensor, mneme_error *error)
{
    size_t n = (size_t)tensor->n_elements, n_zeros = n - (size_t)llround(c->options->keep * (double)n);
    if (!is_product(tensor) || n_zeros == 0) {
        add(c, tensor);
        return MNEME_OK;
    }
    size_t width = tensor->size_bytes / n, ties = 0;
    unsigned char *bytes = mn_arena_copy(&c->arena, tensor->data, tensor->size_bytes);
    float *values = mn_alloc_array(n, 2 * sizeof *values), *sorted = values ? values + n : NULL;
    mneme_status status = bytes && values ? MNEME_OK : mn_fail_memory(error, tensor->name);
    if (status == MNEME_OK) mn_tensor_to_f32(tensor, 0, n, values);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        if (!isfinite(values[i])) status = fail_not_finite(c, tensor, error);
        sorted[i] = values[i] = fabsf(values[i]);
    }
    if (status == MNEME_OK) {
        float bound = threshold(sorted, n, n_zeros, &ties);
        for (size_t i = 0; i < n; i++) {
            if (values[i] > bound || (values[i] == bound && ties == 0)) continue;
            if (values[i] == bound) ties--;
            memset(bytes + i * width, 0, width); /* zero in every format */
        }
        mn_tensor pruned = *tensor;
        pruned.data = bytes;
        add(c, &pruned);
        c->n_changed++;
    }
    mn_free(values);
    return status;
}

/* ---- the folder ---- */

/* Names go into a header of JSON as they are. */
static mneme_status check_name(const compression *c, const mn_tensor *tensor, mneme_error *error)
{
    for (const char *at = tensor->name; *at; at++)
        if ((unsigned char)*at <= ' ' || (unsigned char)*at > '~' || *at == '"' || *at == '\\')
            return mn_fail(error, MNEME_ERR_MODEL, "%s: a tensor's name is not of plain characters", c->path);
    return MNEME_OK;
}

static mneme_status change_tensors(compression *c, mneme_error *error)
{
    size_t n = mn_safetensors_count(c->file);
    const mn_tensor *table = mn_safetensors_find(c->file, "embeddings"); /* a static encoder's */
    mneme_status status = MNEME_OK;
    c->out = mn_alloc_array(n, 2 * sizeof *c->out);
    if (!c->out) return mn_fail_memory(error, c->path);
    bool folds = c->options->int8 && table && is_matrix(table);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        const mn_tensor *tensor = mn_safetensors_at(c->file, i);
        status = check_name(c, tensor, error);
        if (status != MNEME_OK) break;
        if (folds && tensor == table)
            status = quantize_table(c, tensor, error);
        else if (folds && strcmp(tensor->name, "weights") == 0)
            continue; /* written with the table */
        else if (c->options->int8)
            status = quantize(c, tensor, error);
        else
            status = prune(c, tensor, error);
    }
    if (status == MNEME_OK && c->n_changed == 0)
        status = mn_fail(error, MNEME_ERR_USAGE, "%s: there is nothing to %s", c->path,
                         c->options->int8 ? "quantize: no matrix of floating-point numbers"
                                          : "prune: no matrix of products, or all is kept");
    return status;
}

static mneme_status read_config(const char *folder, json_t **out, mneme_error *error)
{
    mn_buffer text = {0};
    json_error_t problem = {0};
    char *path = mn_path_join(folder, "config.json");
    *out = NULL;
    mneme_status status =
        path ? mn_file_read(path, CONFIG_MAX_BYTES, &text, error) : mn_fail_memory(error, "config.json");
    if (status == MNEME_OK && text.size > 0 && !mn_json_deeper_than(text.data, text.size, DEPTH_MAX))
        *out = json_loadb(text.data, text.size, 0, &problem);
    if (status == MNEME_OK && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        status = mn_fail(error, MNEME_ERR_MODEL, "%s is no JSON object", path);
    }
    mn_buffer_free(&text);
    mn_free(path);
    return status;
}

/* config.json with a note of what was done, behind those of earlier times. */
static mneme_status write_config(const compression *c, const char *from, const char *folder, mneme_error *error)
{
    json_t *config = NULL;
    mneme_status status = read_config(from, &config, error);
    if (status != MNEME_OK) return status;
    if (!json_is_object(json_object_get(config, "mneme"))) json_object_set_new(config, "mneme", json_object());
    json_t *ours = json_object_get(config, "mneme");
    const char *before = json_string_value(json_object_get(ours, "compressed"));
    mn_buffer note = {0};
    if (before && *before) mn_buffer_format(&note, "%s; ", before);
    if (c->options->int8)
        mn_buffer_format(&note, "weights of %s as int8, one scale a row", mn_path_base(from));
    else
        mn_buffer_format(&note, "weights of %s pruned: the largest %g %% of each product's are kept",
                         mn_path_base(from), 100 * c->options->keep);
    if (note.failed || json_object_set_new(ours, "compressed", json_string(note.data)) != 0)
        status = mn_fail_memory(error, "config.json");
    mn_buffer_free(&note);
    if (status == MNEME_OK) return mn_model_write_json(folder, "config.json", config, error);
    json_decref(config);
    return status;
}

static mneme_status write_folder(const compression *c, const char *from, const char *to, mneme_error *error)
{
    mn_new_folder made;
    mneme_status status = mn_new_folder_begin(&made, to, c->options->replace, error);
    char *path = status == MNEME_OK ? mn_path_join(made.part, "model.safetensors") : NULL;
    if (status == MNEME_OK && !path) status = mn_fail_memory(error, to);
    if (status == MNEME_OK) status = mn_safetensors_write(path, c->out, c->n, error);
    if (status == MNEME_OK) status = mn_model_copy_tokenizer(from, made.part, error);
    if (status == MNEME_OK) status = mn_model_copy_settings(from, made.part, error);
    if (status == MNEME_OK) status = write_config(c, from, made.part, error);
    mn_free(path);
    return mn_new_folder_end(&made, status, error);
}

mneme_status mn_compress_model(const char *from, const mneme_compress_options *options, const char *to,
                               mneme_error *error)
{
    if (!(options->keep > 0 && options->keep <= 1))
        return mn_fail(error, MNEME_ERR_USAGE, "the share of weights to keep must be over 0 and at most 1");
    if (options->int8 ? options->keep < 1 : options->keep >= 1)
        return mn_fail(error, MNEME_ERR_USAGE, "either int8, or a share of weights to keep below 1: one at a time");
    compression c = {.options = options};
    char *path = mn_path_join(from, "model.safetensors");
    c.path = path;
    mneme_status status = path ? mn_new_folder_check(to, options->replace, error) : mn_fail_memory(error, from);
    if (status == MNEME_OK) status = mn_weights_open(path, &c.file, error);
    if (status == MNEME_OK) status = change_tensors(&c, error);
    if (status == MNEME_OK) status = write_folder(&c, from, to, error);
    mn_free(c.out);
    mn_arena_free(&c.arena);
    mn_safetensors_close(c.file);
    mn_free(path);
    return status;
}
