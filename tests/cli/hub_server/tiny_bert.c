/* tiny_bert.c -- writes a BERT of one layer with random weights, for tests that need a model and not its answers.
 *
 *     tiny_bert FOLDER SEED [N]   into FOLDER, which is there; 55 KB; equal seeds give equal files; N: the weights in N
 *                                 files and an index, tensor i in file i mod N */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HIDDEN = 32, INNER = 64, POSITIONS = 64, VOCABULARY = 57 };

static const struct {
    const char *name;
    unsigned rows, columns; /* columns 0: a vector */
    float constant;         /* 0: random */
} tensors[] = {
    {"embeddings.word_embeddings.weight", VOCABULARY, HIDDEN, 0},
    {"embeddings.position_embeddings.weight", POSITIONS, HIDDEN, 0},
    {"embeddings.token_type_embeddings.weight", 2, HIDDEN, 0},
    {"embeddings.LayerNorm.weight", HIDDEN, 0, 1},
    {"embeddings.LayerNorm.bias", HIDDEN, 0, 0},
    {"encoder.layer.0.attention.self.query.weight", HIDDEN, HIDDEN, 0},
    {"encoder.layer.0.attention.self.query.bias", HIDDEN, 0, 0},
    {"encoder.layer.0.attention.self.key.weight", HIDDEN, HIDDEN, 0},
    {"encoder.layer.0.attention.self.key.bias", HIDDEN, 0, 0},
    {"encoder.layer.0.attention.self.value.weight", HIDDEN, HIDDEN, 0},
    {"encoder.layer.0.attention.self.value.bias", HIDDEN, 0, 0},
    {"encoder.layer.0.attention.output.dense.weight", HIDDEN, HIDDEN, 0},
    {"encoder.layer.0.attention.output.dense.bias", HIDDEN, 0, 0},
    {"encoder.layer.0.attention.output.LayerNorm.weight", HIDDEN, 0, 1},
    {"encoder.layer.0.attention.output.LayerNorm.bias", HIDDEN, 0, 0},
    {"encoder.layer.0.intermediate.dense.weight", INNER, HIDDEN, 0},
    {"encoder.layer.0.intermediate.dense.bias", INNER, 0, 0},
    {"encoder.layer.0.output.dense.weight", HIDDEN, INNER, 0},
    {"encoder.layer.0.output.dense.bias", HIDDEN, 0, 0},
    {"encoder.layer.0.output.LayerNorm.weight", HIDDEN, 0, 1},
    {"encoder.layer.0.output.LayerNorm.bias", HIDDEN, 0, 0},
};
#define N_TENSORS (sizeof tensors / sizeof *tensors)

static unsigned elements(size_t i)
{
    return tensors[i].rows * (tensors[i].columns ? tensors[i].columns : 1);
}

static FILE *create(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file) perror(path), exit(1);
    return file;
}

static void close_file(FILE *file)
{
    if (fclose(file) != 0) perror("tiny_bert"), exit(1);
}

static float *values[N_TENSORS];

static void make_values(uint32_t seed)
{
    for (size_t i = 0; i < N_TENSORS; i++) {
        values[i] = calloc(elements(i), sizeof **values);
        if (!values[i]) exit(1);
        for (unsigned k = 0; k < elements(i); k++) {
            seed = seed * 1664525u + 1013904223u;
            values[i][k] = tensors[i].constant > 0 ? tensors[i].constant : ((float)(seed >> 8) / 16777216.0f - 0.5f);
        }
    }
}

/* Safetensors: size of the header (u64, little-endian), the header as JSON, the data. Of tensors first, first + step...
 */
static void write_weights(const char *folder, const char *name, size_t first, size_t step)
{
    static char head[8192];
    size_t size = 0, offset = 0;
    size += (size_t)snprintf(head, sizeof head, "{");
    for (size_t i = first; i < N_TENSORS; i += step) {
        char shape[32];
        snprintf(shape, sizeof shape, tensors[i].columns ? "%u,%u" : "%u", tensors[i].rows, tensors[i].columns);
        size_t end = offset + 4 * elements(i);
        size += (size_t)snprintf(head + size, sizeof head - size,
                                 "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                                 i > first ? "," : "", tensors[i].name, shape, offset, end);
        offset = end;
    }
    size += (size_t)snprintf(head + size, sizeof head - size, "}");
    FILE *file = create(folder, name);
    for (unsigned i = 0; i < 8; i++) fputc((int)((uint64_t)size >> (8 * i) & 255), file);
    fwrite(head, 1, size, file);
    for (size_t i = first; i < N_TENSORS; i += step) fwrite(values[i], sizeof **values, elements(i), file);
    close_file(file);
}

static void write_shards(const char *folder, size_t n)
{
    FILE *index = create(folder, "model.safetensors.index.json");
    fputs("{\"metadata\": {\"total_size\": 55000}, \"weight_map\": {", index);
    for (size_t i = 0; i < N_TENSORS; i++)
        fprintf(index, "%s\n  \"%s\": \"model-%05zu-of-%05zu.safetensors\"", i ? "," : "", tensors[i].name, i % n + 1,
                n);
    fputs("}}\n", index);
    close_file(index);
    for (size_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, n);
        write_weights(folder, name, i, n);
    }
}

static void write_vocabulary(const char *folder)
{
    FILE *file = create(folder, "vocab.txt");
    fputs("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", file);
    for (char c = 'a'; c <= 'z'; c++) fprintf(file, "%c\n", c);
    for (char c = 'a'; c <= 'z'; c++) fprintf(file, "##%c\n", c);
    close_file(file);
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) return fputs("usage: tiny_bert FOLDER SEED [N]\n", stderr), 2;
    size_t n = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    FILE *file = create(argv[1], "config.json");
    fprintf(
        file,
        "{\"model_type\": \"bert\", \"hidden_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": 1,\n"
        " \"num_attention_heads\": 2, \"vocab_size\": %d, \"max_position_embeddings\": %d, \"hidden_act\": \"gelu\"}\n",
        HIDDEN, INNER, VOCABULARY, POSITIONS);
    close_file(file);
    file = create(argv[1], "tokenizer_config.json");
    fputs("{\"do_lower_case\": true, \"tokenizer_class\": \"BertTokenizer\"}\n", file);
    close_file(file);
    file = create(argv[1], "config_sentence_transformers.json");
    fputs("{\"prompts\": {\"query\": \"find: \", \"document\": \"\"}}\n", file);
    close_file(file);
    write_vocabulary(argv[1]);
    make_values((uint32_t)strtoul(argv[2], NULL, 10));
    if (n)
        write_shards(argv[1], n);
    else
        write_weights(argv[1], "model.safetensors", 0, 1);
    for (size_t i = 0; i < N_TENSORS; i++) free(values[i]);
    return 0;
}
