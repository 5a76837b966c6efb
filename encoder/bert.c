/* bert.c -- the BERT family of Transformer encoders.
 *
 * A batch is one matrix of tokens without padding (T rows); products, LayerNorm and GELU run over all rows, attention
 * over each sequence:
 *
 *     x      = LayerNorm(word[id] + position[place] + type[0])            (T,H)
 *     layer:   qkv = x Wqkv^T                                             (T,3H)
 *              y   = attention(qkv) per sequence                          (T,H)
 *              x   = LayerNorm(y Wo^T + bo + x)
 *              f   = GELU(x W1^T + b1)                                    (T,I)
 *              x   = LayerNorm(f W2^T + b2 + x)
 *     vector = pool(x of the sequence) / its length
 *
 * The embedding tables are read in place from the mapped file; the rest is packed once. Buffers belong to a worker and
 * are kept. Threads: read-only after opening, one worker number per thread. */
#include "encoder/bert.h"

#include "common/file.h"
#include "common/memory.h"
#include "encoder/kernels.h"
#include "encoder/linear.h"
#include "encoder/safetensors.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

typedef struct layer_norm_weights {
    float *gain, *shift; /* (H) */
} layer_norm_weights;

typedef struct bert_layer {
    mn_linear *qkv, *attention_out, *up, *down;
    float *qkv_bias, *attention_bias, *up_bias, *down_bias;
    layer_norm_weights attention_norm, output_norm;
} bert_layer;

/* One worker's activations, for `tokens` rows. */
typedef struct workspace {
    uint32_t tokens;
    float *x, *y, *wide, *context, *scratch; /* (T,H), (T,H), (T,max(3H,I)), (T,H) */
} workspace;

struct mn_bert {
    mn_model_config config; /* prompts not owned */
    mn_safetensors *file;
    char *path;
    const char *prefix; /* of the tensors' names: "" or "bert." */
    const mn_tensor *words, *positions, *types;
    layer_norm_weights embedding_norm;
    bert_layer *layers;
    const mn_kernels *kernels;
    bool use_onednn;
    workspace *workspaces;
    unsigned workers;
};

/* ---- weights ------------------------------------------------------------------------------------------------ */

static mneme_status find_tensor(const mn_bert *bert, const char *name, uint64_t rows, uint64_t columns,
                                const mn_tensor **out, mneme_error *error)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", bert->prefix, name);
    const mn_tensor *tensor = mn_safetensors_find(bert->file, full);
    if (!tensor) return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is missing", bert->path, full);
    if (tensor->type == MN_TENSOR_OTHER)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is not F32, F16 or BF16", bert->path, full);
    bool vector = columns == 0 && tensor->rank == 1 && tensor->shape[0] == rows;
    bool matrix = columns != 0 && tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns;
    if (!vector && !matrix)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is (%llu, %llu) where config.json asks for (%llu, %llu)",
                       bert->path, full, (unsigned long long)tensor->shape[0],
                       (unsigned long long)(tensor->rank > 1 ? tensor->shape[1] : 0), (unsigned long long)rows,
                       (unsigned long long)columns);
    *out = tensor;
    return MNEME_OK;
}

/* Copy a tensor to `out` as f32 and refuse NaN and infinity. */
static mneme_status copy_weights(const mn_bert *bert, const char *name, uint64_t rows, uint64_t columns, float *out,
                                 mneme_error *error)
{
    const mn_tensor *tensor = NULL;
    mneme_status status = find_tensor(bert, name, rows, columns, &tensor, error);
    if (status != MNEME_OK) return status;
    size_t n = (size_t)tensor->n_elements;
    mn_tensor_to_f32(tensor, 0, n, out);
    float poison = 0; /* stays 0 unless something is not finite: x * 0 is NaN then */
    for (size_t i = 0; i < n; i++) poison += out[i] * 0.0f;
    if (poison != 0)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s holds NaN or infinity", bert->path, tensor->name);
    return MNEME_OK;
}

static mneme_status load_vector(const mn_bert *bert, const char *name, uint32_t n, float **out, mneme_error *error)
{
    *out = mn_alloc_array(n, sizeof(float));
    if (!*out) return mn_fail_memory(error, "weights");
    return copy_weights(bert, name, n, 0, *out, error);
}

static mneme_status load_norm(const mn_bert *bert, const char *name, layer_norm_weights *out, mneme_error *error)
{
    char full[200];
    snprintf(full, sizeof full, "%s.weight", name);
    mneme_status status = load_vector(bert, full, bert->config.hidden, &out->gain, error);
    if (status != MNEME_OK) return status;
    snprintf(full, sizeof full, "%s.bias", name);
    return load_vector(bert, full, bert->config.hidden, &out->shift, error);
}

/* One or more (n_out, n_in) matrices with their biases, stacked by rows into one product. */
static mneme_status load_linear(const mn_bert *bert, size_t layer, const char *const *names, size_t n_names,
                                uint32_t n_out, uint32_t n_in, mn_linear **linear, float **bias, mneme_error *error)
{
    size_t matrix = (size_t)n_out * n_in, all = 0;
    if (!mn_multiply(matrix, n_names, &all)) return mn_fail_memory(error, "weights");
    float *weights = mn_alloc_array(all, sizeof(float));
    *bias = mn_alloc_array((size_t)n_out * n_names, sizeof(float));
    mneme_status status = weights && *bias ? MNEME_OK : mn_fail_memory(error, "weights");
    for (size_t i = 0; i < n_names && status == MNEME_OK; i++) {
        char name[200];
        snprintf(name, sizeof name, "encoder.layer.%zu.%s.weight", layer, names[i]);
        status = copy_weights(bert, name, n_out, n_in, weights + i * matrix, error);
        snprintf(name, sizeof name, "encoder.layer.%zu.%s.bias", layer, names[i]);
        if (status == MNEME_OK) status = copy_weights(bert, name, n_out, 0, *bias + i * n_out, error);
    }
    uint32_t rows = n_out * (uint32_t)n_names;
    if (status == MNEME_OK)
        status = bert->use_onednn ? mn_linear_new_onednn(weights, rows, n_in, linear, error)
                                  : mn_linear_new_reference(weights, rows, n_in, linear, error);
    mn_free(weights);
    return status;
}

static mneme_status load_layer(const mn_bert *bert, size_t i, bert_layer *layer, mneme_error *error)
{
    static const char *const qkv[] = {"attention.self.query", "attention.self.key", "attention.self.value"};
    static const char *const attention_out[] = {"attention.output.dense"};
    static const char *const up[] = {"intermediate.dense"};
    static const char *const down[] = {"output.dense"};
    uint32_t hidden = bert->config.hidden, wide = bert->config.intermediate;
    char name[200];
    mneme_status status = load_linear(bert, i, qkv, 3, hidden, hidden, &layer->qkv, &layer->qkv_bias, error);
    if (status == MNEME_OK)
        status = load_linear(bert, i, attention_out, 1, hidden, hidden, &layer->attention_out, &layer->attention_bias,
                             error);
    if (status == MNEME_OK) status = load_linear(bert, i, up, 1, wide, hidden, &layer->up, &layer->up_bias, error);
    if (status == MNEME_OK) status = load_linear(bert, i, down, 1, hidden, wide, &layer->down, &layer->down_bias, error);
    snprintf(name, sizeof name, "encoder.layer.%zu.attention.output.LayerNorm", i);
    if (status == MNEME_OK) status = load_norm(bert, name, &layer->attention_norm, error);
    snprintf(name, sizeof name, "encoder.layer.%zu.output.LayerNorm", i);
    if (status == MNEME_OK) status = load_norm(bert, name, &layer->output_norm, error);
    return status;
}

static mneme_status load_embeddings(mn_bert *bert, mneme_error *error)
{
    const mn_model_config *config = &bert->config;
    if (!mn_safetensors_find(bert->file, "embeddings.word_embeddings.weight")) bert->prefix = "bert.";
    mneme_status status = find_tensor(bert, "embeddings.word_embeddings.weight", config->vocabulary, config->hidden,
                                      &bert->words, error);
    if (status == MNEME_OK)
        status = find_tensor(bert, "embeddings.position_embeddings.weight", config->n_positions, config->hidden,
                             &bert->positions, error);
    if (status != MNEME_OK) return status;
    char name[64];
    snprintf(name, sizeof name, "%sembeddings.token_type_embeddings.weight", bert->prefix);
    bert->types = mn_safetensors_find(bert->file, name);
    if (!bert->types || bert->types->rank != 2 || bert->types->shape[0] < 1 || bert->types->shape[1] != config->hidden ||
        bert->types->type == MN_TENSOR_OTHER)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is missing or of the wrong shape", bert->path, name);
    return load_norm(bert, "embeddings.LayerNorm", &bert->embedding_norm, error);
}

mneme_status mn_bert_open(const char *folder, const mn_model_config *config, bool reference, mn_cpu_level level,
                          unsigned workers, mn_bert **out, mneme_error *error)
{
    *out = NULL;
    mn_bert *bert = mn_alloc_zeroed(1, sizeof *bert);
    if (!bert) return mn_fail_memory(error, folder);
    bert->config = *config;
    bert->prefix = "";
    bert->use_onednn = !reference;
    bert->kernels = reference ? mn_kernels_reference() : mn_kernels_for(level);
    bert->workers = workers;
    mneme_status status = MNEME_OK;
    bert->path = mn_path_join(folder, "model.safetensors");
    bert->layers = mn_alloc_zeroed(config->n_layers, sizeof *bert->layers);
    bert->workspaces = mn_alloc_zeroed(workers, sizeof *bert->workspaces);
    if (!bert->path || !bert->layers || !bert->workspaces) status = mn_fail_memory(error, folder);
    if (status == MNEME_OK) status = mn_safetensors_open(bert->path, &bert->file, error);
    if (status == MNEME_OK) status = load_embeddings(bert, error);
    mn_linear_limit(level);
    int width = mn_linear_one_thread_begin();
    for (size_t i = 0; i < config->n_layers && status == MNEME_OK; i++)
        status = load_layer(bert, i, &bert->layers[i], error);
    mn_linear_one_thread_end(width);
    if (status != MNEME_OK) {
        mn_bert_close(bert);
        return status;
    }
    mn_safetensors_release_pages(bert->file); /* all but the embedding tables has been packed */
    *out = bert;
    return MNEME_OK;
}

static void free_layer(bert_layer *layer)
{
    mn_linear *linears[] = {layer->qkv, layer->attention_out, layer->up, layer->down};
    float *arrays[] = {layer->qkv_bias,  layer->attention_bias,      layer->up_bias,
                       layer->down_bias, layer->attention_norm.gain, layer->attention_norm.shift,
                       layer->output_norm.gain, layer->output_norm.shift};
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++) mn_linear_free(linears[i]);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) mn_free(arrays[i]);
}

static void free_workspace(workspace *space)
{
    mn_free(space->x);
    mn_free(space->y);
    mn_free(space->wide);
    mn_free(space->context);
    mn_free(space->scratch);
    *space = (workspace){0};
}

void mn_bert_close(mn_bert *bert)
{
    if (!bert) return;
    for (size_t i = 0; bert->layers && i < bert->config.n_layers; i++) free_layer(&bert->layers[i]);
    for (size_t i = 0; bert->workspaces && i < bert->workers; i++) free_workspace(&bert->workspaces[i]);
    mn_free(bert->embedding_norm.gain);
    mn_free(bert->embedding_norm.shift);
    mn_free(bert->layers);
    mn_free(bert->workspaces);
    mn_safetensors_close(bert->file);
    mn_free(bert->path);
    mn_free(bert);
}

/* ---- forward ------------------------------------------------------------------------------------------------ */

static mneme_status reserve(const mn_bert *bert, workspace *space, uint32_t tokens, mneme_error *error)
{
    if (space->tokens >= tokens) return MNEME_OK;
    free_workspace(space);
    size_t rows = ((size_t)tokens + MN_LINEAR_ROW_MULTIPLE - 1) / MN_LINEAR_ROW_MULTIPLE * MN_LINEAR_ROW_MULTIPLE;
    size_t hidden = bert->config.hidden, head = hidden / bert->config.n_heads;
    size_t wide = 3 * hidden > bert->config.intermediate ? 3 * hidden : bert->config.intermediate;
    /* Zeroed: the rows that round up the last product are read, too, and must not hold signalling rubbish. */
    space->x = mn_alloc_zeroed(rows * hidden, sizeof(float));
    space->y = mn_alloc_zeroed(rows * hidden, sizeof(float));
    space->context = mn_alloc_zeroed(rows * hidden, sizeof(float));
    space->wide = mn_alloc_zeroed(rows * wide, sizeof(float));
    space->scratch = mn_alloc_zeroed(mn_attention_scratch(bert->config.max_tokens, (uint32_t)head), sizeof(float));
    if (!space->x || !space->y || !space->context || !space->wide || !space->scratch) {
        free_workspace(space);
        return mn_fail_memory(error, "activations");
    }
    space->tokens = tokens;
    return MNEME_OK;
}

static mneme_status embed_tokens(const mn_bert *bert, const mn_token_batch *batch, workspace *space, mneme_error *error)
{
    size_t hidden = bert->config.hidden;
    const float *type = space->wide; /* row 0 of the type table, for the time of this call */
    mn_tensor_to_f32(bert->types, 0, hidden, space->wide);
    for (size_t s = 0; s < batch->n; s++) {
        for (uint32_t t = batch->offsets[s]; t < batch->offsets[s + 1]; t++) {
            float *row = space->x + t * hidden, *position = space->y + t * hidden;
            if (batch->ids[t] >= bert->config.vocabulary)
                return mn_fail(error, MNEME_ERR_MODEL, "%s: token id %u is not in the embedding table of %u rows", bert->path,
                               batch->ids[t], bert->config.vocabulary);
            mn_tensor_to_f32(bert->words, (uint64_t)batch->ids[t] * hidden, hidden, row);
            mn_tensor_to_f32(bert->positions, (uint64_t)(t - batch->offsets[s]) * hidden, hidden, position);
        }
    }
    bert->kernels->add_layer_norm(space->x, type, space->y, bert->embedding_norm.gain, bert->embedding_norm.shift,
                                  bert->config.layer_norm_epsilon, batch->offsets[batch->n], (uint32_t)hidden);
    return MNEME_OK;
}

static void attend(const mn_bert *bert, const bert_layer *layer, const mn_token_batch *batch, workspace *space)
{
    size_t hidden = bert->config.hidden;
    for (size_t s = 0; s < batch->n; s++) {
        uint32_t first = batch->offsets[s];
        const mn_attention_shape shape = {.length = batch->offsets[s + 1] - first,
                                          .n_heads = bert->config.n_heads,
                                          .head = bert->config.hidden / bert->config.n_heads,
                                          .input_stride = 3 * hidden,
                                          .output_stride = hidden};
        bert->kernels->attention(space->wide + first * 3 * hidden, layer->qkv_bias, &shape, space->scratch,
                                 space->context + first * hidden);
    }
}

static mneme_status run_layer(const mn_bert *bert, const bert_layer *layer, const mn_token_batch *batch,
                              workspace *space, mneme_error *error)
{
    const mn_kernels *kernels = bert->kernels;
    const mn_model_config *config = &bert->config;
    uint32_t tokens = batch->offsets[batch->n];
    mneme_status status = mn_linear_run(layer->qkv, space->x, tokens, space->wide, error);
    if (status != MNEME_OK) return status;
    attend(bert, layer, batch, space);
    status = mn_linear_run(layer->attention_out, space->context, tokens, space->y, error);
    if (status != MNEME_OK) return status;
    kernels->add_layer_norm(space->y, layer->attention_bias, space->x, layer->attention_norm.gain,
                            layer->attention_norm.shift, config->layer_norm_epsilon, tokens, config->hidden);
    status = mn_linear_run(layer->up, space->y, tokens, space->wide, error);
    if (status != MNEME_OK) return status;
    if (config->activation == MN_ACTIVATION_GELU)
        kernels->bias_gelu(space->wide, layer->up_bias, tokens, config->intermediate);
    else kernels->bias_relu(space->wide, layer->up_bias, tokens, config->intermediate);
    status = mn_linear_run(layer->down, space->wide, tokens, space->x, error);
    if (status != MNEME_OK) return status;
    kernels->add_layer_norm(space->x, layer->down_bias, space->y, layer->output_norm.gain, layer->output_norm.shift,
                            config->layer_norm_epsilon, tokens, config->hidden);
    return MNEME_OK;
}

/* Pool the rows of one sequence and scale to unit length; sums in double precision, they are short. */
static mneme_status pool(const mn_bert *bert, const float *rows, uint32_t length, float *vector, mneme_error *error)
{
    size_t hidden = bert->config.hidden;
    double squares = 0;
    for (size_t i = 0; i < hidden; i++) {
        double value = (double)rows[i];
        for (size_t t = 1; t < length && bert->config.pooling != MN_POOLING_CLS; t++) {
            double other = (double)rows[t * hidden + i];
            if (bert->config.pooling == MN_POOLING_MAX) value = other > value ? other : value;
            else value += other;
        }
        if (bert->config.pooling == MN_POOLING_MEAN) value /= length;
        vector[i] = (float)value;
        squares += value * value;
    }
    if (!isfinite(squares))
        return mn_fail(error, MNEME_ERR_MODEL, "%s: the model gives NaN or infinity; its weights are damaged", bert->path);
    float scale = squares > 0 ? (float)(1.0 / sqrt(squares)) : 0.0f;
    for (size_t i = 0; i < hidden; i++) vector[i] *= scale;
    return MNEME_OK;
}

mneme_status mn_bert_encode(mn_bert *bert, const mn_token_batch *batch, unsigned worker, float *vectors,
                            mneme_error *error)
{
    workspace *space = &bert->workspaces[worker];
    size_t hidden = bert->config.hidden;
    mneme_status status = reserve(bert, space, batch->offsets[batch->n], error);
    if (status == MNEME_OK) status = embed_tokens(bert, batch, space, error);
    for (size_t i = 0; i < bert->config.n_layers && status == MNEME_OK; i++)
        status = run_layer(bert, &bert->layers[i], batch, space, error);
    for (size_t s = 0; s < batch->n && status == MNEME_OK; s++)
        status = pool(bert, space->x + batch->offsets[s] * hidden, batch->offsets[s + 1] - batch->offsets[s],
                      vectors + s * hidden, error);
    return status;
}

/* ---- what it is ---------------------------------------------------------------------------------------------- */

uint64_t mn_bert_parameters(const mn_bert *bert)
{
    uint64_t n = 0;
    for (size_t i = 0; i < mn_safetensors_count(bert->file); i++) {
        const mn_tensor *tensor = mn_safetensors_at(bert->file, i);
        if (tensor->type != MN_TENSOR_OTHER) n += tensor->n_elements;
    }
    return n;
}

const char *mn_bert_kernels(const mn_bert *bert)
{
    if (!bert->use_onednn) return "reference";
    return strcmp(bert->kernels->name, "avx512") == 0 ? "oneDNN + avx512"
           : strcmp(bert->kernels->name, "avx2") == 0 ? "oneDNN + avx2"
                                                      : "oneDNN + reference";
}

uint64_t mn_bert_fingerprint(const mn_bert *bert)
{
    enum { SAMPLE = 1024 }; /* bytes at both ends of a tensor: training changes every weight, and all would be 90 MB */
    uint64_t hash = 0;
    for (size_t i = 0; i < mn_safetensors_count(bert->file); i++) {
        const mn_tensor *tensor = mn_safetensors_at(bert->file, i);
        size_t sample = tensor->size_bytes < SAMPLE ? tensor->size_bytes : SAMPLE;
        const unsigned char *last = (const unsigned char *)tensor->data + tensor->size_bytes - sample;
        hash = XXH3_64bits_withSeed(tensor->name, strlen(tensor->name), hash);
        hash = XXH3_64bits_withSeed(tensor->shape, tensor->rank * sizeof tensor->shape[0], hash);
        hash = XXH3_64bits_withSeed(tensor->data, sample, hash);
        hash = XXH3_64bits_withSeed(last, sample, hash);
    }
    return hash;
}
