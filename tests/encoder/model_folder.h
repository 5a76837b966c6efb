/* model_folder.h -- writes a small BERT model as a Hugging Face folder: the JSON files of a line of
 * tests/data/bert_shapes/expected.jsonl, vocab.txt, and a model.safetensors with weights that are computed, not stored.
 * tests/data/bert_shapes/shapes.py has the formula and is the other half: both must give the same bits. */
#ifndef MN_TESTS_MODEL_FOLDER_H
#define MN_TESTS_MODEL_FOLDER_H

#include "test_support.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

enum { MODEL_TENSORS_MAX = 256 };

typedef struct model_tensor {
    char name[80];        /* without prefix */
    size_t rows, columns; /* columns 0: a vector */
} model_tensor;

/* What to do wrong with the tensor of this name (without prefix). */
typedef struct model_fault {
    enum {
        MODEL_SOUND,
        MODEL_TENSOR_MISSING,
        MODEL_TENSOR_SHORT,
        MODEL_TENSOR_NAN,
        MODEL_TENSOR_INFINITE,
        MODEL_TENSOR_INTEGER
    } kind;
    const char *tensor;
} model_fault;

/* ---- weights, as in shapes.py ---- */

static inline uint64_t model_random(uint64_t key, uint64_t i)
{
    uint64_t z = key + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline bool model_ends_with(const char *name, const char *ending)
{
    size_t size = strlen(name), tail = strlen(ending);
    return size >= tail && strcmp(name + size - tail, ending) == 0;
}

/* values: n floats, the caller's. */
static inline void model_values(const char *name, size_t n, float *values)
{
    static const struct {
        const char *ending;
        double deviation;
        float centre;
    } scales[] = {{"LayerNorm.weight", 0.1, 1},
                  {"LayerNorm.bias", 0.1, 0},
                  {"embeddings.weight", 0.05, 0},
                  {"embedding.weight", 0.6, 0},
                  {"attention.weight", 1, 0},
                  {".weight", 0.08, 0},
                  {".bias", 0.05, 0},
                  {"", 0.3, 0}};
    size_t s = 0;
    while (!model_ends_with(name, scales[s].ending)) s++;
    const float scale = (float)(scales[s].deviation / 37837);
    uint64_t key = 0xCBF29CE484222325u;
    for (const char *c = name; *c; c++) key = (key ^ (unsigned char)*c) * 0x100000001B3u;
    for (size_t i = 0; i < n; i++) {
        uint64_t z = model_random(key, i);
        int sum = (int)(z & 0xFFFF) + (int)(z >> 16 & 0xFFFF) + (int)(z >> 32 & 0xFFFF) + (int)(z >> 48) - 131070;
        values[i] = (float)sum * scale;
        values[i] += scales[s].centre;
    }
}

static inline uint32_t model_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* To the nearest IEEE 754 half, ties to even; for |value| < 65504. */
static inline uint16_t model_to_half(float value)
{
    uint32_t bits = model_bits(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
    if (magnitude < 0x38800000u) /* below 2^-14: adding 1/2 leaves steps of 2^-24, which is what a subnormal half has */
        return (uint16_t)(sign | (model_bits(fabsf(value) + 0.5f) - model_bits(0.5f)));
    magnitude += 0xFFFu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | ((magnitude - (112u << 23)) >> 13));
}

static inline uint16_t model_to_bfloat(float value)
{
    uint32_t bits = model_bits(value);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

/* ---- tensors ---- */

typedef struct model_tensors {
    model_tensor items[MODEL_TENSORS_MAX];
    size_t n;
} model_tensors;

static inline void model_add(model_tensors *tensors, size_t rows, size_t columns, const char *format, ...)
{
    assert_true(tensors->n < MODEL_TENSORS_MAX);
    model_tensor *tensor = &tensors->items[tensors->n++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tensor->name, sizeof tensor->name, format, arguments);
    va_end(arguments);
    tensor->rows = rows;
    tensor->columns = columns;
}

static inline size_t model_number(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);
    assert_true(json_is_integer(value));
    return (size_t)json_integer_value(value);
}

static inline void model_add_layer(model_tensors *tensors, size_t layer, size_t hidden, size_t wide)
{
    const struct {
        const char *name;
        size_t n_out, n_in; /* n_in 0: LayerNorm */
    } parts[] = {{"attention.self.query", hidden, hidden},
                 {"attention.self.key", hidden, hidden},
                 {"attention.self.value", hidden, hidden},
                 {"attention.output.dense", hidden, hidden},
                 {"attention.output.LayerNorm", hidden, 0},
                 {"intermediate.dense", wide, hidden},
                 {"output.dense", hidden, wide},
                 {"output.LayerNorm", hidden, 0}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        model_add(tensors, parts[i].n_out, parts[i].n_in, "encoder.layer.%zu.%s.weight", layer, parts[i].name);
        model_add(tensors, parts[i].n_out, 0, "encoder.layer.%zu.%s.bias", layer, parts[i].name);
    }
}

/* What a BERT encoder of this config.json reads. tensors: the caller's, filled. */
static inline void model_list_tensors(const json_t *config, model_tensors *tensors)
{
    size_t hidden = model_number(config, "hidden_size");
    tensors->n = 0;
    model_add(tensors, model_number(config, "vocab_size"), hidden, "embeddings.word_embeddings.weight");
    model_add(tensors, model_number(config, "max_position_embeddings"), hidden,
              "embeddings.position_embeddings.weight");
    model_add(tensors, model_number(config, "type_vocab_size"), hidden, "embeddings.token_type_embeddings.weight");
    model_add(tensors, hidden, 0, "embeddings.LayerNorm.weight");
    model_add(tensors, hidden, 0, "embeddings.LayerNorm.bias");
    for (size_t i = 0; i < model_number(config, "num_hidden_layers"); i++)
        model_add_layer(tensors, i, hidden, model_number(config, "intermediate_size"));
}

/* ---- files ---- */

static inline FILE *model_create(const char *folder, const char *name)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    mkdir(path, 0755);
    *slash = '/';
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    return file;
}

static inline void model_write_values(FILE *file, const model_tensor *tensor, const char *type,
                                      const model_fault *fault)
{
    size_t n = tensor->rows * (tensor->columns ? tensor->columns : 1);
    if (n == 0) return;
    float *values = malloc(n * sizeof *values);
    model_values(tensor->name, n, values);
    bool here = fault->tensor && strcmp(fault->tensor, tensor->name) == 0;
    size_t last = tensor->columns ? tensor->columns : n; /* the last column: of every row, so that any token meets it */
    for (size_t i = last - 1; here && fault->kind == MODEL_TENSOR_NAN && i < n; i += last) values[i] = NAN;
    if (here && fault->kind == MODEL_TENSOR_INFINITE) values[n / 2] = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        uint16_t narrow = strcmp(type, "BF16") == 0 ? model_to_bfloat(values[i]) : model_to_half(values[i]);
        if (strcmp(type, "F32") == 0)
            fwrite(&values[i], sizeof values[i], 1, file);
        else
            fwrite(&narrow, sizeof narrow, 1, file);
    }
    free(values);
}

/* The header's entry of one tensor; *offset moves on by its size in bytes. */
static inline json_t *model_describe(const model_tensor *tensor, const char *type, size_t *offset)
{
    size_t width = strcmp(type, "F32") == 0 || strcmp(type, "I32") == 0 ? 4 : 2;
    size_t start = *offset;
    *offset += tensor->rows * (tensor->columns ? tensor->columns : 1) * width;
    json_t *shape = tensor->columns ? json_pack("[II]", (json_int_t)tensor->rows, (json_int_t)tensor->columns)
                                    : json_pack("[I]", (json_int_t)tensor->rows);
    return json_pack("{s:s, s:o, s:[II]}", "dtype", type, "shape", shape, "data_offsets", (json_int_t)start,
                     (json_int_t)*offset);
}

/* folder/model.safetensors; of `tensors`, those that the fault is about are changed. */
static inline void model_write_tensors(const char *folder, model_tensors *tensors, const char *type, const char *prefix,
                                       const model_fault *fault)
{
    json_t *header = json_object();
    size_t offset = 0;
    for (size_t i = 0; i < tensors->n; i++) {
        model_tensor *tensor = &tensors->items[i];
        bool here = fault->tensor && strcmp(fault->tensor, tensor->name) == 0;
        if (here && fault->kind == MODEL_TENSOR_MISSING) tensor->rows = 0;
        if (here && fault->kind == MODEL_TENSOR_SHORT) *(tensor->columns ? &tensor->columns : &tensor->rows) -= 1;
        if (tensor->rows == 0) continue;
        char name[100];
        snprintf(name, sizeof name, "%s%s", prefix, tensor->name);
        const char *named = here && fault->kind == MODEL_TENSOR_INTEGER ? "I32" : type;
        json_object_set_new(header, name, model_describe(tensor, named, &offset));
    }
    char *text = json_dumps(header, JSON_COMPACT);
    uint64_t size = strlen(text);
    FILE *file = model_create(folder, "model.safetensors");
    fwrite(&size, sizeof size, 1, file);
    fwrite(text, 1, size, file);
    for (size_t i = 0; i < tensors->n; i++) model_write_values(file, &tensors->items[i], type, fault);
    assert_int_equal(fclose(file), 0);
    free(text);
    json_decref(header);
}

static inline void model_write_json(const char *folder, const char *name, const json_t *content)
{
    FILE *file = model_create(folder, name);
    assert_int_equal(json_dumpf(content, file, JSON_INDENT(2)), 0);
    fclose(file);
}

static inline void model_write_vocabulary(const char *folder)
{
    char command[2600];
    snprintf(command, sizeof command, "cp '%s/tests/data/bert_shapes/vocab.txt' '%s/'", test_source_dir(), folder);
    assert_int_equal(system(command), 0);
}

/* Write the model of `shape` (a line of expected.jsonl) into an existing folder; what was there is overwritten. The
 * tensors follow `config`, which may differ from what the folder's config.json says; NULL: the same. */
static inline void model_write(const char *folder, const json_t *shape, const json_t *config, model_fault fault)
{
    static model_tensors tensors;
    const char *name;
    json_t *content, *files = json_object_get(shape, "files");
    json_object_foreach(files, name, content)
    {
        model_write_json(folder, name, content);
    }
    model_write_vocabulary(folder);
    model_list_tensors(config ? config : json_object_get(files, "config.json"), &tensors);
    model_write_tensors(folder, &tensors, json_string_value(json_object_get(shape, "dtype")),
                        json_string_value(json_object_get(shape, "prefix")), &fault);
}

/* A teacher for students in training: the small Transformer of tests/data/bert_gradients.json, texts of 9 tokens. */
static inline void model_write_teacher(const char *folder)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/data/bert_gradients.json", test_source_dir());
    json_t *stored = json_load_file(path, 0, NULL), *files = json_object();
    assert_non_null(stored);
    json_t *config = json_deep_copy(json_object_get(stored, "config"));
    json_object_set_new(config, "model_type", json_string("bert"));
    json_object_set_new(files, "config.json", config);
    json_object_set_new(
        files, "tokenizer_config.json",
        json_pack("{s:s, s:b, s:i}", "tokenizer_class", "BertTokenizer", "do_lower_case", 1, "model_max_length", 9));
    json_t *shape = json_pack("{s:s, s:s, s:o}", "dtype", "F32", "prefix", "", "files", files);
    model_write(folder, shape, NULL, (model_fault){0});
    json_decref(shape);
    json_decref(stored);
}

/* The lines of tests/data/NAME, an array; NULL: there is no such file. */
static inline json_t *model_read_lines(const char *name)
{
    char path[1100], *line = NULL;
    size_t capacity = 0;
    snprintf(path, sizeof path, "%s/tests/data/%s", test_source_dir(), name);
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    json_t *lines = json_array();
    while (getline(&line, &capacity, file) > 0) json_array_append_new(lines, json_loads(line, 0, NULL));
    free(line);
    fclose(file);
    return lines;
}

#endif
