/* static_table.c -- opening a static encoder's folder, and the mean.
 *
 *     ids  --mapping-->  rows of embeddings (in the map, as stored)  --weights-->  sum  -->  unit length
 *
 * The table is read where it lies; only weights and mapping are copied (4 bytes a token each). */
#include "encoder/static_table.h"

#include "common/file.h"
#include "common/memory.h"
#include "encoder/safetensors.h"
#include "encoder/weight_shards.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

enum { CONFIG_MAX_BYTES = 1 << 20, DIMENSION_MAX = 8192, GATHER = 128 };

struct mn_static_table {
    mn_safetensors *file;
    const void *rows; /* (n_rows, dimension), in the map */
    mn_static_type type;
    uint32_t n_rows, dimension, vocabulary, unknown;
    uint32_t *mapping; /* vocabulary; NULL: a token's row is its id */
    float *weights;    /* vocabulary; NULL: all 1 */
    float *fallback;   /* dimension: the vector of a text without known tokens */
    char *origin;
    mn_static_sum *sum;
    const char *kernels;
    uint64_t fingerprint;
};

/* ---- config.json ---- */

/* NULL: not there, or not JSON; *error says which. */
static json_t *load_config(const char *folder, mneme_error *error)
{
    json_t *config = NULL;
    mn_buffer text = {0};
    char *path = mn_path_join(folder, "config.json");
    if (!path)
        mn_fail_memory(error, "config.json");
    else if (mn_file_read(path, CONFIG_MAX_BYTES, &text, error) == MNEME_OK) {
        json_error_t problem = {0};
        config = text.data ? json_loadb(text.data, text.size, 0, &problem) : NULL;
        if (!config)
            mn_fail(error, MNEME_ERR_MODEL, "%s:%d:%d: %s", path, problem.line, problem.column,
                    text.data ? problem.text : "empty");
    }
    mn_buffer_free(&text);
    mn_free(path);
    return config;
}

bool mn_static_is(const char *folder)
{
    json_t *config = load_config(folder, NULL);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    bool is_static = type && strcmp(type, "model2vec") == 0;
    json_decref(config);
    return is_static;
}

static mneme_status describe_origin(mn_static_table *table, const json_t *config, mneme_error *error)
{
    const char *ours = json_string_value(json_object_get(json_object_get(config, "mneme"), "distilled_from"));
    const char *theirs = json_string_value(json_object_get(config, "tokenizer_name"));
    const char *origin = ours ? ours : theirs && *theirs ? theirs : NULL;
    table->origin = mn_strdup(origin);
    return origin && !table->origin ? mn_fail_memory(error, "config.json") : MNEME_OK;
}

static mneme_status read_config(mn_static_table *table, const char *folder, mneme_error *error)
{
    mneme_error own = {MNEME_OK, ""};
    json_t *config = load_config(folder, &own);
    if (!config) {
        if (error) *error = own;
        return own.code;
    }
    mneme_status status = MNEME_OK;
    const json_t *hidden = json_object_get(config, "hidden_dim");
    if (hidden && json_integer_value(hidden) != (json_int_t)table->dimension)
        status = mn_fail(error, MNEME_ERR_MODEL, "config.json: hidden_dim is %lld, the embeddings have %u columns",
                         (long long)json_integer_value(hidden), table->dimension);
    if (status == MNEME_OK) status = describe_origin(table, config, error);
    json_decref(config);
    return status;
}

/* ---- model.safetensors ---- */

static mneme_status take_embeddings(mn_static_table *table, mneme_error *error)
{
    static const struct {
        const char *dtype;
        mn_static_type type;
    } types[] = {{"F32", MN_STATIC_F32}, {"F16", MN_STATIC_F16}, {"BF16", MN_STATIC_BF16}, {"I8", MN_STATIC_I8}};
    const mn_tensor *tensor = mn_safetensors_find(table->file, "embeddings");
    if (!tensor) return mn_fail(error, MNEME_ERR_MODEL, "model.safetensors: there is no tensor embeddings");
    if (tensor->rank != 2 || tensor->shape[0] < 1 || tensor->shape[0] > UINT32_MAX || tensor->shape[1] < 1 ||
        tensor->shape[1] > DIMENSION_MAX)
        return mn_fail(error, MNEME_ERR_MODEL,
                       "model.safetensors: embeddings must have two dimensions, rows and at most %d columns",
                       DIMENSION_MAX);
    size_t i = 0;
    while (i < sizeof types / sizeof types[0] && strcmp(types[i].dtype, tensor->dtype) != 0) i++;
    if (i == sizeof types / sizeof types[0])
        return mn_fail(error, MNEME_ERR_MODEL, "model.safetensors: embeddings are %s; F32, F16, BF16 or I8 can be read",
                       tensor->dtype);
    table->rows = tensor->data;
    table->type = types[i].type;
    table->n_rows = (uint32_t)tensor->shape[0];
    table->dimension = (uint32_t)tensor->shape[1];
    return MNEME_OK;
}

/* An optional tensor with one number for each token. *out NULL: it is not there. */
static mneme_status find_per_token(const mn_static_table *table, const char *name, const mn_tensor **out,
                                   mneme_error *error)
{
    const mn_tensor *tensor = mn_safetensors_find(table->file, name);
    *out = tensor;
    if (!tensor || (tensor->rank == 1 && tensor->n_elements >= table->vocabulary)) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_MODEL, "model.safetensors: %s must have one number for each of the %u tokens", name,
                   table->vocabulary);
}

static mneme_status take_weights(mn_static_table *table, mneme_error *error)
{
    const mn_tensor *tensor = NULL;
    mneme_status status = find_per_token(table, "weights", &tensor, error);
    if (status != MNEME_OK || !tensor) return status;
    bool doubles = strcmp(tensor->dtype, "F64") == 0;
    if (!doubles && tensor->type == MN_TENSOR_OTHER)
        return mn_fail(error, MNEME_ERR_MODEL, "model.safetensors: weights are %s, not floating-point", tensor->dtype);
    table->weights = mn_alloc_array(table->vocabulary, sizeof *table->weights);
    if (!table->weights) return mn_fail_memory(error, "weights");
    if (!doubles) mn_tensor_to_f32(tensor, 0, table->vocabulary, table->weights);
    for (uint32_t i = 0; i < table->vocabulary; i++) {
        double number = (double)table->weights[i];
        if (doubles) memcpy(&number, (const char *)tensor->data + (size_t)i * 8, sizeof number);
        table->weights[i] = (float)number;
        if (!isfinite(table->weights[i]))
            return mn_fail(error, MNEME_ERR_MODEL, "model.safetensors: weight %u is not finite", i);
    }
    return MNEME_OK;
}

static mneme_status take_mapping(mn_static_table *table, mneme_error *error)
{
    const mn_tensor *tensor = NULL;
    mneme_status status = find_per_token(table, "mapping", &tensor, error);
    if (status != MNEME_OK) return status;
    if (!tensor)
        return table->n_rows >= table->vocabulary
                   ? MNEME_OK
                   : mn_fail(error, MNEME_ERR_MODEL, "the tokenizer has %u tokens, the embeddings have %u rows",
                             table->vocabulary, table->n_rows);
    bool wide = strcmp(tensor->dtype, "I64") == 0;
    if (!wide && strcmp(tensor->dtype, "I32") != 0)
        return mn_fail(error, MNEME_ERR_MODEL, "model.safetensors: mapping is %s, not I32 or I64", tensor->dtype);
    table->mapping = mn_alloc_array(table->vocabulary, sizeof *table->mapping);
    if (!table->mapping) return mn_fail_memory(error, "mapping");
    for (uint32_t i = 0; i < table->vocabulary; i++) {
        int64_t row;
        int32_t narrow;
        if (wide)
            memcpy(&row, (const char *)tensor->data + (size_t)i * 8, sizeof row);
        else
            memcpy(&narrow, (const char *)tensor->data + (size_t)i * 4, sizeof narrow), row = narrow;
        if (row < 0 || row >= (int64_t)table->n_rows)
            return mn_fail(error, MNEME_ERR_MODEL, "model.safetensors: mapping of token %u is %lld, of %u rows", i,
                           (long long)row, table->n_rows);
        table->mapping[i] = (uint32_t)row;
    }
    return MNEME_OK;
}

/* Are all exponent bits set in any of the n numbers: infinity, or no number? Loops that the compiler vectorises. */
static bool any_not_finite(const unsigned char *bytes, size_t n, mn_static_type type)
{
    enum { BLOCK = 2048 };
    uint32_t words[BLOCK];
    uint16_t halves[BLOCK], half_mask = type == MN_STATIC_F16 ? 0x7C00 : 0x7F80, bad_halves = 0;
    uint32_t bad_words = 0;
    for (size_t first = 0; first < n; first += BLOCK) {
        size_t size = n - first < BLOCK ? n - first : BLOCK;
        if (type == MN_STATIC_F32) {
            memcpy(words, bytes + first * 4, size * 4);
            for (size_t i = 0; i < size; i++) bad_words |= (words[i] & 0x7F800000u) == 0x7F800000u;
        } else {
            memcpy(halves, bytes + first * 2, size * 2);
            for (size_t i = 0; i < size; i++) bad_halves |= (uint16_t)((halves[i] & half_mask) == half_mask);
        }
    }
    return bad_words || bad_halves;
}

/* The first number that is not finite, or n. The table is read once; only a broken one is read by rows. */
static size_t first_not_finite(const mn_static_table *table)
{
    size_t n = (size_t)table->n_rows * table->dimension, width = mn_static_type_bytes(table->type);
    const unsigned char *bytes = table->rows;
    if (table->type == MN_STATIC_I8 || !any_not_finite(bytes, n, table->type)) return n;
    size_t at = 0;
    while (at < n && !any_not_finite(bytes + at * width, 1, table->type)) at++;
    return at;
}

static mneme_status check_finite(const mn_static_table *table, mneme_error *error)
{
    size_t at = first_not_finite(table);
    if (at == (size_t)table->n_rows * table->dimension) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_MODEL,
                   "model.safetensors: embeddings row %zu, column %zu is not a finite number; distil or fetch it again",
                   at / table->dimension, at % table->dimension);
}

static mneme_status read_tensors(mn_static_table *table, const char *folder, mneme_error *error)
{
    char *path = mn_path_join(folder, "model.safetensors");
    if (!path) return mn_fail_memory(error, "model.safetensors");
    mneme_status status = mn_weights_open(path, &table->file, error);
    mn_free(path);
    if (status == MNEME_OK) status = take_embeddings(table, error);
    if (status == MNEME_OK) status = take_weights(table, error);
    if (status == MNEME_OK) status = take_mapping(table, error);
    if (status == MNEME_OK) status = check_finite(table, error);
    return status;
}

/* ---- open, close ---- */

static void hash(mn_static_table *table)
{
    size_t bytes = (size_t)table->n_rows * table->dimension * mn_static_type_bytes(table->type);
    uint64_t parts[] = {XXH3_64bits(table->rows, bytes),
                        table->weights ? XXH3_64bits(table->weights, table->vocabulary * sizeof(float)) : 0,
                        table->mapping ? XXH3_64bits(table->mapping, table->vocabulary * sizeof(uint32_t)) : 0,
                        table->dimension,
                        (uint64_t)table->type,
                        table->unknown};
    table->fingerprint = XXH3_64bits(parts, sizeof parts);
}

static void add_tokens(const mn_static_table *table, const uint32_t *ids, size_t n, bool with_unknown, float *sum)
{
    uint32_t indexes[GATHER];
    float weights[GATHER];
    mn_static_rows rows = {.table = table->rows,
                           .type = table->type,
                           .dimension = table->dimension,
                           .indexes = indexes,
                           .weights = table->weights ? weights : NULL};
    for (size_t i = 0; i < n;) {
        for (rows.n = 0; i < n && rows.n < GATHER; i++) {
            if (ids[i] == table->unknown && !with_unknown) continue;
            if (table->weights) weights[rows.n] = table->weights[ids[i]];
            indexes[rows.n++] = table->mapping ? table->mapping[ids[i]] : ids[i];
        }
        table->sum(&rows, sum);
    }
}

static mneme_status make_fallback(mn_static_table *table, mneme_error *error)
{
    table->fallback = mn_alloc_zeroed(table->dimension, sizeof *table->fallback);
    if (!table->fallback) return mn_fail_memory(error, "static encoder");
    if (table->unknown < table->vocabulary) add_tokens(table, &table->unknown, 1, true, table->fallback);
    if (mn_static_normalize(table->fallback, table->dimension)) return MNEME_OK;
    memset(table->fallback, 0, table->dimension * sizeof *table->fallback);
    table->fallback[0] = 1;
    return MNEME_OK;
}

mneme_status mn_static_table_open(const mn_static_options *options, mn_static_table **out, mneme_error *error)
{
    *out = NULL;
    mn_static_table *table = mn_alloc_zeroed(1, sizeof *table);
    if (!table) return mn_fail_memory(error, "static encoder");
    table->vocabulary = options->vocabulary;
    table->unknown = options->unknown;
    table->sum = mn_static_sum_for(options->level, &table->kernels);
    mneme_status status = read_tensors(table, options->folder, error);
    if (status == MNEME_OK) status = read_config(table, options->folder, error);
    if (status == MNEME_OK) status = make_fallback(table, error);
    if (status == MNEME_OK) {
        hash(table);
        *out = table;
        return MNEME_OK;
    }
    if (status != MNEME_ERR_MEMORY) mn_error_prefix(error, "model %s: ", options->folder);
    mn_static_table_close(table);
    return status;
}

void mn_static_table_close(mn_static_table *table)
{
    if (!table) return;
    mn_safetensors_close(table->file);
    mn_free(table->mapping);
    mn_free(table->weights);
    mn_free(table->fallback);
    mn_free(table->origin);
    mn_free(table);
}

/* ---- use ---- */

void mn_static_pool(const mn_static_table *table, const uint32_t *ids, size_t n, float *vector)
{
    memset(vector, 0, table->dimension * sizeof *vector);
    add_tokens(table, ids, n, false, vector);
    if (!mn_static_normalize(vector, table->dimension))
        memcpy(vector, table->fallback, table->dimension * sizeof *vector);
}

void mn_static_row(const mn_static_table *table, uint32_t token, float *row)
{
    memset(row, 0, table->dimension * sizeof *row);
    add_tokens(table, &token, 1, true, row);
}

uint32_t mn_static_dimension(const mn_static_table *table)
{
    return table->dimension;
}

uint64_t mn_static_parameters(const mn_static_table *table)
{
    return (uint64_t)table->n_rows * table->dimension + (table->weights ? table->vocabulary : 0);
}

const char *mn_static_precision(const mn_static_table *table)
{
    static const char *const names[] = {"f32", "f16", "bf16", "int8"};
    return names[table->type];
}

const char *mn_static_kernels(const mn_static_table *table)
{
    return table->kernels;
}

const char *mn_static_origin(const mn_static_table *table)
{
    return table->origin;
}

uint64_t mn_static_fingerprint(const mn_static_table *table)
{
    return table->fingerprint;
}
