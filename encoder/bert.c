/* bert.c -- the BERT family of Transformer encoders.
 *
 * A batch is one matrix of tokens without padding (T rows); products, LayerNorm and GELU run over all rows, attention
 * over each sequence:
 *
 *     x      = LayerNorm(word[id] + position[place] + type[0])            (T,H)
 *     layer:   qkv = x Wqkv^T + bqkv                                      (T,3H)
 *              y   = attention(qkv) per sequence                          (T,H)
 *              x   = LayerNorm(y Wo^T + bo + x)
 *              f   = GELU(x W1^T + b1)                                    (T,I)
 *              x   = LayerNorm(f W2^T + b2 + x)
 *     vector = pool(x of the sequence) / its length
 *
 * What follows attention, up to the next layer's q, k and v, is done for a block of rows at a time
 * (mn_product_kernel.block_rows). The residual stream x is f32 in every precision; what goes into a product
 * is converted on the way.
 *
 * The embedding tables are read in place from the mapped file. All other weights lie packed in one block of memory, the
 * image, either filled here or mapped from a file that an earlier process wrote (packed_file.c). Activations belong to
 * a worker and are kept. Threads: read-only after opening, one worker number per thread; or a crew for one batch, which
 * shares out the columns of products and the heads of attention. Every number is made by the same operations in the
 * same order either way. */
#include "encoder/bert.h"

#include "common/file.h"
#include "common/memory.h"
#include "encoder/model_weights.h"
#include "encoder/self_attention.h"
#include "encoder/weight_shards.h"

#include <math.h>
#include <string.h>

typedef struct layer_norm_weights {
    float *gain, *shift; /* (H), in the image */
} layer_norm_weights;

typedef struct bert_layer {
    mn_linear qkv, attention_out, up, down;
    layer_norm_weights attention_norm, output_norm;
} bert_layer;

/* One worker's activations, for `tokens` rows; all in one block. Groups: see product.h. B: rows of a block. */
typedef struct workspace {
    uint32_t tokens;
    void *block;
    float *x;                   /* (T,H) */
    void *qkv;                  /* (T,3H) in mn_attention_element */
    void *context;              /* (T,H) floats, or (T, groups of H) where they are bfloat16 */
    float *y, *wide;            /* (B,H), (B, larger of H and I); wide: positions, too, while tokens are embedded */
    uint32_t *rows, *wide_rows; /* (B, groups of H), (B, groups of I): what goes into a product */
    float *scales, *lows;       /* (B), of the rows that go in next */
    double *sums;               /* (H), of pooling */
    void *attention;            /* its scratch */
    mn_crew *crew;              /* NULL, or those who share the work on the present batch */
} workspace;

struct mn_bert {
    mn_model_config config; /* prompts not owned */
    mn_arithmetic arithmetic;
    mn_safetensors *file;
    const char *prefix; /* of the tensors' names: "" or "bert." */
    const mn_tensor *words, *positions, *types;
    layer_norm_weights embedding_norm;
    bert_layer *layers;
    void *owned_image; /* NULL when the image is the caller's */
    mn_image image;
    workspace *workspaces;
    unsigned workers;
};

/* ---- weights ------------------------------------------------------------------------------------------------ */

static mn_model_weights weights_of(const mn_bert *bert)
{
    return (mn_model_weights){.file = bert->file, .prefix = bert->prefix};
}

static mneme_status fill_norm(const mn_bert *bert, const char *name, const layer_norm_weights *norm, mneme_error *error)
{
    char full[256];
    const mn_model_weights weights = weights_of(bert);
    snprintf(full, sizeof full, "%s.weight", name);
    mneme_status status = mn_weights_copy(&weights, full, bert->config.hidden, 0, norm->gain, error);
    if (status != MNEME_OK) return status;
    snprintf(full, sizeof full, "%s.bias", name);
    return mn_weights_copy(&weights, full, bert->config.hidden, 0, norm->shift, error);
}

/* The index-th (n_out, n_in) matrix of those that are stacked by rows into one product. */
static mneme_status fill_linear(const mn_bert *bert, size_t layer, const char *name, uint32_t index, uint32_t n_out,
                                mn_linear *linear, mneme_error *error)
{
    char weight[200], bias[200];
    const mn_model_weights weights = weights_of(bert);
    snprintf(weight, sizeof weight, "encoder.layer.%zu.%s.weight", layer, name);
    snprintf(bias, sizeof bias, "encoder.layer.%zu.%s.bias", layer, name);
    return mn_weights_fill(&weights, &bert->arithmetic, weight, bias, index, n_out, linear, error);
}

static mneme_status fill_layer(const mn_bert *bert, size_t i, bert_layer *layer, mneme_error *error)
{
    uint32_t hidden = bert->config.hidden;
    const struct {
        const char *name;
        mn_linear *linear;
        uint32_t index, n_out;
    } parts[] = {{"attention.self.query", &layer->qkv, 0, hidden},
                 {"attention.self.key", &layer->qkv, 1, hidden},
                 {"attention.self.value", &layer->qkv, 2, hidden},
                 {"attention.output.dense", &layer->attention_out, 0, hidden},
                 {"intermediate.dense", &layer->up, 0, bert->config.intermediate},
                 {"output.dense", &layer->down, 0, hidden}};
    char name[200];
    mneme_status status = MNEME_OK;
    for (size_t p = 0; p < sizeof parts / sizeof parts[0] && status == MNEME_OK; p++)
        status = fill_linear(bert, i, parts[p].name, parts[p].index, parts[p].n_out, parts[p].linear, error);
    snprintf(name, sizeof name, "encoder.layer.%zu.attention.output.LayerNorm", i);
    if (status == MNEME_OK) status = fill_norm(bert, name, &layer->attention_norm, error);
    snprintf(name, sizeof name, "encoder.layer.%zu.output.LayerNorm", i);
    if (status == MNEME_OK) status = fill_norm(bert, name, &layer->output_norm, error);
    return status;
}

/* The embedding tables are used as they lie in the file; they are looked through once, when the rest is packed. */
static mneme_status check_embeddings(const mn_bert *bert, mneme_error *error)
{
    const mn_tensor *tables[] = {bert->words, bert->positions, bert->types};
    const mn_model_weights weights = weights_of(bert);
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < 3 && status == MNEME_OK; i++) status = mn_weights_check(&weights, tables[i], error);
    return status;
}

static mneme_status find_embeddings(mn_bert *bert, mneme_error *error)
{
    const mn_model_config *config = &bert->config;
    if (!mn_safetensors_find(bert->file, "embeddings.word_embeddings.weight")) bert->prefix = "bert.";
    const mn_model_weights weights = weights_of(bert);
    mneme_status status = mn_weights_find(&weights, "embeddings.word_embeddings.weight", config->vocabulary,
                                          config->hidden, &bert->words, error);
    if (status == MNEME_OK)
        status = mn_weights_find(&weights, "embeddings.position_embeddings.weight", config->n_positions, config->hidden,
                                 &bert->positions, error);
    if (status != MNEME_OK) return status;
    char name[64];
    snprintf(name, sizeof name, "%sembeddings.token_type_embeddings.weight", bert->prefix);
    bert->types = mn_safetensors_find(bert->file, name);
    if (!bert->types || bert->types->rank != 2 || bert->types->shape[0] < 1 ||
        bert->types->shape[1] != config->hidden || bert->types->type == MN_TENSOR_OTHER)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is missing or of the wrong shape",
                       mn_safetensors_path(bert->file), name);
    return MNEME_OK;
}

/* Weights of a layer that config.json does not count would be left out in silence. */
static mneme_status check_depth(const mn_bert *bert, mneme_error *error)
{
    char name[100];
    snprintf(name, sizeof name, "%sencoder.layer.%u.output.LayerNorm.weight", bert->prefix, bert->config.n_layers);
    if (!mn_safetensors_find(bert->file, name)) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_MODEL, "%s: has %s, but num_hidden_layers in config.json is %u",
                   mn_safetensors_path(bert->file), name, bert->config.n_layers);
}

static void place_norm(layer_norm_weights *norm, uint32_t hidden, mn_image *image)
{
    norm->gain = mn_image_take(image, hidden, sizeof(float));
    norm->shift = mn_image_take(image, hidden, sizeof(float));
}

/* Where each weight lies in the image; counts only when image->base is NULL. */
static void place_weights(mn_bert *bert, mn_image *image)
{
    uint32_t hidden = bert->config.hidden, wide = bert->config.intermediate;
    const mn_arithmetic *a = &bert->arithmetic;
    place_norm(&bert->embedding_norm, hidden, image);
    for (size_t i = 0; i < bert->config.n_layers; i++) {
        bert_layer *layer = &bert->layers[i];
        mn_linear_place(&layer->qkv, a, 3 * hidden, hidden, image);
        mn_linear_place(&layer->attention_out, a, hidden, hidden, image);
        place_norm(&layer->attention_norm, hidden, image);
        mn_linear_place(&layer->up, a, wide, hidden, image);
        mn_linear_place(&layer->down, a, hidden, wide, image);
        place_norm(&layer->output_norm, hidden, image);
    }
}

/* Pack the weights into a new image, and look for what no vector should be made of. */
static mneme_status fill_image(mn_bert *bert, mneme_error *error)
{
    bert->owned_image = mn_alloc_aligned(64, bert->image.size);
    if (!bert->owned_image) return mn_fail_memory(error, "weights");
    memset(bert->owned_image, 0, bert->image.size); /* what rounds up is zero, so that a file of it repeats */
    bert->image = (mn_image){.base = bert->owned_image};
    place_weights(bert, &bert->image);
    mneme_status status = check_embeddings(bert, error);
    if (status == MNEME_OK) status = fill_norm(bert, "embeddings.LayerNorm", &bert->embedding_norm, error);
    for (size_t i = 0; i < bert->config.n_layers && status == MNEME_OK; i++)
        status = fill_layer(bert, i, &bert->layers[i], error);
    if (status == MNEME_OK) mn_safetensors_release_pages(bert->file);
    return status;
}

static mneme_status set_image(mn_bert *bert, const void *packed, size_t packed_size, mneme_error *error)
{
    place_weights(bert, &bert->image);
    if (bert->image.overflow) return mn_fail_memory(error, "weights");
    if (!packed) return fill_image(bert, error);
    if (packed_size != bert->image.size)
        return mn_fail(error, MNEME_ERR_DAMAGED, "packed weights of %zu bytes where %zu are needed", packed_size,
                       bert->image.size);
    bert->image = (mn_image){.base = (unsigned char *)(uintptr_t)packed};
    place_weights(bert, &bert->image);
    return MNEME_OK;
}

mneme_status mn_bert_open(const char *folder, const mn_model_config *config, const mn_arithmetic *arithmetic,
                          const void *packed, size_t packed_size, unsigned workers, mn_bert **out, mneme_error *error)
{
    *out = NULL;
    mn_bert *bert = mn_alloc_zeroed(1, sizeof *bert);
    if (!bert) return mn_fail_memory(error, folder);
    bert->config = *config;
    bert->arithmetic = *arithmetic;
    bert->prefix = "";
    bert->workers = workers;
    mneme_status status = MNEME_OK;
    char *path = mn_path_join(folder, "model.safetensors");
    bert->layers = mn_alloc_zeroed(config->n_layers, sizeof *bert->layers);
    bert->workspaces = mn_alloc_zeroed(workers, sizeof *bert->workspaces);
    if (!path || !bert->layers || !bert->workspaces) status = mn_fail_memory(error, folder);
    if (status == MNEME_OK) status = mn_weights_open(path, &bert->file, error);
    mn_free(path);
    if (status == MNEME_OK) status = find_embeddings(bert, error);
    if (status == MNEME_OK) status = check_depth(bert, error);
    if (status == MNEME_OK) status = set_image(bert, packed, packed_size, error);
    if (status != MNEME_OK) {
        mn_bert_close(bert);
        return status;
    }
    *out = bert;
    return MNEME_OK;
}

void mn_bert_close(mn_bert *bert)
{
    if (!bert) return;
    for (size_t i = 0; bert->workspaces && i < bert->workers; i++) mn_free(bert->workspaces[i].block);
    mn_free(bert->layers);
    mn_free(bert->workspaces);
    mn_free(bert->owned_image);
    mn_safetensors_close(bert->file);
    mn_free(bert);
}

const void *mn_bert_image(const mn_bert *bert, size_t *size)
{
    *size = bert->image.size;
    return bert->image.base;
}

/* ---- forward ------------------------------------------------------------------------------------------------ */

static size_t round_rows(size_t rows)
{
    return (rows + MN_ROW_MULTIPLE - 1) / MN_ROW_MULTIPLE * MN_ROW_MULTIPLE;
}

static mn_element qkv_element(const mn_bert *bert)
{
    return mn_attention_element(&bert->arithmetic, bert->config.hidden / bert->config.n_heads);
}

/* bfloat16 needs no scale, so what goes into a product next is written as it at once. */
static mn_element context_element(const mn_bert *bert)
{
    return bert->arithmetic.rows.element == MN_ELEMENT_BF16 ? MN_ELEMENT_BF16 : MN_ELEMENT_F32;
}

static size_t context_stride(const mn_bert *bert)
{
    if (context_element(bert) == MN_ELEMENT_F32) return bert->config.hidden;
    return 2 * (size_t)mn_product_groups(bert->arithmetic.product, bert->config.hidden);
}

static void place_workspace(const mn_bert *bert, workspace *space, size_t tokens, mn_image *image)
{
    size_t hidden = bert->config.hidden, wide = bert->config.intermediate, rows = round_rows(tokens);
    const mn_product_kernel *product = bert->arithmetic.product;
    size_t block = round_rows(product->block_rows < rows ? product->block_rows : rows);
    size_t hidden_groups = mn_product_groups(product, (uint32_t)hidden);
    size_t qkv_rows = rows + MN_ROW_MULTIPLE; /* of the last sequence, too, whole multiples of rows are read */
    space->x = mn_image_take(image, rows * hidden, sizeof(float));
    space->qkv = mn_image_take(image, qkv_rows * 3 * hidden, mn_element_size(qkv_element(bert)));
    space->context = mn_image_take(image, rows * context_stride(bert), mn_element_size(context_element(bert)));
    space->y = mn_image_take(image, block * hidden, sizeof(float));
    space->wide = mn_image_take(image, block * (wide > hidden ? wide : hidden), sizeof(float));
    space->rows = mn_image_take(image, block * hidden_groups, sizeof(uint32_t));
    space->wide_rows = mn_image_take(image, block * mn_product_groups(product, (uint32_t)wide), sizeof(uint32_t));
    space->scales = mn_image_take(image, block, sizeof(float));
    space->lows = mn_image_take(image, block, sizeof(float));
    space->sums = mn_image_take(image, hidden, sizeof(double));
    size_t scratch =
        mn_attention_scratch(&bert->arithmetic, bert->config.max_tokens, (uint32_t)hidden / bert->config.n_heads);
    if (scratch == 0) image->overflow = true;
    space->attention = mn_image_take(image, scratch, 1);
}

static mneme_status reserve(const mn_bert *bert, workspace *space, uint32_t tokens, mneme_error *error)
{
    if (space->tokens >= tokens) return MNEME_OK;
    mn_free(space->block);
    *space = (workspace){0};
    mn_image image = {0};
    place_workspace(bert, space, tokens, &image);
    if (image.overflow) return mn_fail_memory(error, "activations");
    void *block = mn_alloc_aligned(64, image.size);
    if (!block) return mn_fail_memory(error, "activations");
    memset(block, 0, image.size); /* the rows that round up a product are read, too */
    image = (mn_image){.base = block};
    place_workspace(bert, space, tokens, &image);
    space->block = block;
    space->tokens = tokens;
    return MNEME_OK;
}

/* n_rows rows of n floats as what the products read: themselves, or what they were converted to in `rows`. */
static mn_linear_rows rows_of(const mn_bert *bert, const float *x, uint32_t n_rows, uint32_t n, const workspace *space,
                              const uint32_t *rows)
{
    const mn_arithmetic *a = &bert->arithmetic;
    if (mn_is_plain_float(&a->rows))
        return (mn_linear_rows){.rows = (const uint32_t *)(const void *)x, .stride = n, .n_rows = n_rows};
    return (mn_linear_rows){.rows = rows,
                            .stride = mn_product_groups(a->product, n),
                            .scales = space->scales,
                            .lows = space->lows,
                            .n_rows = n_rows};
}

/* The same, converted here where they need it. It lasts until the next call. */
static mn_linear_rows operand(const mn_bert *bert, const float *x, uint32_t n_rows, uint32_t n, const workspace *space,
                              uint32_t *rows)
{
    const mn_arithmetic *a = &bert->arithmetic;
    uint32_t groups = mn_product_groups(a->product, n);
    if (!mn_is_plain_float(&a->rows))
        a->kernels->convert_rows(&a->rows, x, n, n_rows, n, groups, rows, groups, space->scales, space->lows);
    return rows_of(bert, x, n_rows, n, space, rows);
}

/* x = LayerNorm(x + bias + residual) for n rows, and them as what the products read, as by operand; nothing of that
 * where no product follows. */
static mn_linear_rows normalize(const mn_bert *bert, const layer_norm_weights *norm, float *x, const float *bias,
                                const float *residual, uint32_t n, const workspace *space, bool product_follows)
{
    const mn_arithmetic *a = &bert->arithmetic;
    uint32_t hidden = bert->config.hidden, groups = mn_product_groups(a->product, hidden);
    const mn_row_target target = {.format = a->rows,
                                  .n_groups = groups,
                                  .rows = space->rows,
                                  .stride = groups,
                                  .scales = space->scales,
                                  .lows = space->lows};
    bool converts = product_follows && !mn_is_plain_float(&a->rows);
    a->kernels->add_layer_norm(x, bias, residual, norm->gain, norm->shift, bert->config.layer_norm_epsilon, n, hidden,
                               converts ? &target : NULL);
    return rows_of(bert, x, n, hidden, space, space->rows);
}

/* A product in pieces of some panels: three for each thread, so that none waits long at the end. */
typedef struct product_job {
    const mn_linear *linear;
    const mn_arithmetic *arithmetic;
    const mn_linear_rows *x;
    const mn_linear_out *out;
    uint32_t n_panels, each;
} product_job;

static void multiply_piece(void *context, unsigned item, unsigned worker)
{
    (void)worker;
    const product_job *job = context;
    uint32_t first = item * job->each, left = job->n_panels - first;
    mn_linear_run_panels(job->linear, job->arithmetic, job->x, job->out, first, left < job->each ? left : job->each);
}

/* By the crew, if there is one for this batch. */
static void multiply(const mn_bert *bert, const workspace *space, const mn_linear *linear, const mn_linear_rows *x,
                     const mn_linear_out *out)
{
    const mn_arithmetic *a = &bert->arithmetic;
    if (!space->crew) {
        mn_linear_run(linear, a, x, out);
        return;
    }
    product_job job = {.linear = linear, .arithmetic = a, .x = x, .out = out, .n_panels = mn_linear_panels(linear, a)};
    unsigned pieces = 3 * mn_crew_count(space->crew);
    job.each = (job.n_panels + pieces - 1) / pieces;
    mn_crew_run(space->crew, (job.n_panels + job.each - 1) / job.each, multiply_piece, &job);
}

typedef struct attention_job {
    mn_bert *bert;
    const mn_token_batch *batch;
    const workspace *space;
} attention_job;

/* One head of one sequence. */
static void attend_item(void *context, unsigned item, unsigned worker)
{
    const attention_job *job = context;
    mn_bert *bert = job->bert;
    uint32_t hidden = bert->config.hidden, n_heads = bert->config.n_heads, s = item / n_heads;
    size_t first = job->batch->offsets[s], stride = context_stride(bert);
    mn_element in = qkv_element(bert), out = context_element(bert);
    const mn_attention_rows rows = {.qkv = (const char *)job->space->qkv + first * 3 * hidden * mn_element_size(in),
                                    .out = (char *)job->space->context + first * stride * mn_element_size(out),
                                    .out_element = out,
                                    .out_stride = stride};
    mn_attention_run_head(&bert->arithmetic, &rows, job->batch->offsets[s + 1] - job->batch->offsets[s], n_heads,
                          hidden / n_heads, item % n_heads, bert->workspaces[worker].attention);
}

static void attend(mn_bert *bert, const mn_token_batch *batch, workspace *space)
{
    attention_job job = {.bert = bert, .batch = batch, .space = space};
    size_t n_items = batch->n * bert->config.n_heads;
    if (space->crew && n_items < MN_CREW_ITEMS_MOST / 2) {
        mn_crew_run(space->crew, (unsigned)n_items, attend_item, &job);
        return;
    }
    unsigned worker = (unsigned)(space - bert->workspaces);
    for (size_t i = 0; i < n_items; i++) attend_item(&job, (unsigned)i, worker);
}

/* q, k and v of rows from row t on. */
static void project(const mn_bert *bert, const bert_layer *layer, const mn_linear_rows *rows, size_t t,
                    const workspace *space)
{
    size_t width = 3 * (size_t)bert->config.hidden;
    mn_element element = qkv_element(bert);
    const mn_linear_out out = {
        .element = element, .y = (char *)space->qkv + t * width * mn_element_size(element), .stride = width};
    multiply(bert, space, &layer->qkv, rows, &out);
}

/* The embeddings of n rows from row t on, and the first layer's q, k and v. */
static void embed_block(const mn_bert *bert, const mn_token_batch *batch, uint32_t t, uint32_t n, workspace *space)
{
    size_t hidden = bert->config.hidden, s = 0;
    float *x = space->x + t * hidden, *type = space->y, *positions = space->wide; /* not in use yet */
    mn_tensor_to_f32(bert->types, 0, hidden, type);
    for (size_t i = 0; i < n; i++) {
        while (batch->offsets[s + 1] <= t + i) s++;
        mn_tensor_to_f32(bert->words, (uint64_t)batch->ids[t + i] * hidden, hidden, x + i * hidden);
        mn_tensor_to_f32(bert->positions, (uint64_t)(t + i - batch->offsets[s]) * hidden, hidden,
                         positions + i * hidden);
    }
    mn_linear_rows rows = normalize(bert, &bert->embedding_norm, x, type, positions, n, space, true);
    project(bert, &bert->layers[0], &rows, t, space);
}

/* wide = activation(y W1^T + b1), as the operand of the product that follows. */
static mn_linear_rows widen(const mn_bert *bert, const bert_layer *layer, const mn_linear_rows *y, workspace *space)
{
    const mn_arithmetic *a = &bert->arithmetic;
    uint32_t wide = bert->config.intermediate, groups = mn_product_groups(a->product, wide);
    mn_activation activation = bert->config.activation;
    bool eight_bits = a->precision == MN_PRECISION_BF16 || a->precision == MN_PRECISION_INT8;
    if (activation == MN_ACTIVATION_GELU && eight_bits) activation = MN_ACTIVATION_GELU_NEAR;
    if (a->rows.element != MN_ELEMENT_BF16) {
        const mn_linear_out out = {
            .activation = activation, .element = MN_ELEMENT_F32, .y = space->wide, .stride = wide};
        multiply(bert, space, &layer->up, y, &out);
        return operand(bert, space->wide, y->n_rows, wide, space, space->wide_rows);
    }
    /* As context_element; what pads a row stays zero. */
    const mn_linear_out out = {
        .activation = activation, .element = MN_ELEMENT_BF16, .y = space->wide_rows, .stride = 2 * (size_t)groups};
    multiply(bert, space, &layer->up, y, &out);
    return (mn_linear_rows){.rows = space->wide_rows, .stride = groups, .n_rows = y->n_rows};
}

/* The rows that attention made, as what the products read. */
static mn_linear_rows context_rows(const mn_bert *bert, uint32_t t, uint32_t n, const workspace *space)
{
    if (context_element(bert) == MN_ELEMENT_F32)
        return operand(bert, (const float *)space->context + (size_t)t * bert->config.hidden, n, bert->config.hidden,
                       space, space->rows);
    size_t groups = context_stride(bert) / 2;
    return (mn_linear_rows){.rows = (const uint32_t *)space->context + t * groups, .stride = groups, .n_rows = n};
}

/* What follows attention, for n rows from row t on, and the next layer's q, k and v (next: NULL after the last). */
static void run_block(const mn_bert *bert, const bert_layer *layer, const bert_layer *next, uint32_t t, uint32_t n,
                      workspace *space)
{
    uint32_t hidden = bert->config.hidden;
    float *x = space->x + (size_t)t * hidden;
    mn_linear_rows rows = context_rows(bert, t, n, space);
    const mn_linear_out y = {.element = MN_ELEMENT_F32, .y = space->y, .stride = hidden};
    multiply(bert, space, &layer->attention_out, &rows, &y);
    rows = normalize(bert, &layer->attention_norm, space->y, NULL, x, n, space, true);
    rows = widen(bert, layer, &rows, space);
    const mn_linear_out out = {.element = MN_ELEMENT_F32, .y = x, .stride = hidden};
    multiply(bert, space, &layer->down, &rows, &out);
    rows = normalize(bert, &layer->output_norm, x, NULL, space->y, n, space, next != NULL);
    if (next) project(bert, next, &rows, t, space);
}

static mneme_status run_layers(mn_bert *bert, const mn_token_batch *batch, workspace *space, mneme_error *error)
{
    uint32_t tokens = batch->offsets[batch->n], block = bert->arithmetic.product->block_rows;
    for (uint32_t t = 0; t < tokens; t++)
        if (batch->ids[t] >= bert->config.vocabulary)
            return mn_fail(error, MNEME_ERR_MODEL, "%s: token id %u is not in the embedding table of %u rows",
                           mn_safetensors_path(bert->file), batch->ids[t], bert->config.vocabulary);
    for (uint32_t t = 0; t < tokens; t += block)
        embed_block(bert, batch, t, tokens - t < block ? tokens - t : block, space);
    for (size_t i = 0; i < bert->config.n_layers; i++) {
        const bert_layer *layer = &bert->layers[i], *next = i + 1 < bert->config.n_layers ? layer + 1 : NULL;
        attend(bert, batch, space);
        for (uint32_t t = 0; t < tokens; t += block)
            run_block(bert, layer, next, t, tokens - t < block ? tokens - t : block, space);
    }
    return MNEME_OK;
}

/* Pool the rows of one sequence and scale to unit length; sums in double precision, they are short. */
static mneme_status pool(const mn_bert *bert, const float *rows, uint32_t length, double *sums, float *vector,
                         mneme_error *error)
{
    size_t hidden = bert->config.hidden;
    mn_pooling pooling = bert->config.pooling;
    double squares = 0;
    for (size_t i = 0; i < hidden; i++) sums[i] = (double)rows[i];
    for (size_t t = 1; t < length && pooling != MN_POOLING_CLS; t++) {
        const float *row = rows + t * hidden;
        if (pooling == MN_POOLING_MAX)
            for (size_t i = 0; i < hidden; i++) sums[i] = (double)row[i] > sums[i] ? (double)row[i] : sums[i];
        else
            for (size_t i = 0; i < hidden; i++) sums[i] += (double)row[i];
    }
    for (size_t i = 0; i < hidden; i++) squares += sums[i] * sums[i];
    if (!isfinite(squares))
        return mn_fail(error, MNEME_ERR_MODEL, "%s: the model gives NaN or infinity; its weights are damaged",
                       mn_safetensors_path(bert->file));
    double scale = squares > 0 ? 1.0 / sqrt(squares) : 0.0; /* the mean's divisor falls out here */
    for (size_t i = 0; i < hidden; i++) vector[i] = (float)(sums[i] * scale);
    return MNEME_OK;
}

/* Each member of the crew has its own scratch for attention. */
static mneme_status reserve_crew(mn_bert *bert, const mn_crew *crew, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (unsigned i = 1; crew && i < mn_crew_count(crew) && status == MNEME_OK; i++)
        status = reserve(bert, &bert->workspaces[i], 1, error);
    return status;
}

mneme_status mn_bert_encode(mn_bert *bert, const mn_token_batch *batch, unsigned worker, mn_crew *crew, float *vectors,
                            mneme_error *error)
{
    workspace *space = &bert->workspaces[worker];
    size_t hidden = bert->config.hidden;
    mneme_status status = reserve(bert, space, batch->offsets[batch->n], error);
    if (status == MNEME_OK) status = reserve_crew(bert, crew, error);
    if (status != MNEME_OK) return status;
    space->crew = crew;
    status = run_layers(bert, batch, space, error);
    space->crew = NULL;
    for (size_t s = 0; s < batch->n && status == MNEME_OK; s++)
        status = pool(bert, space->x + batch->offsets[s] * hidden, batch->offsets[s + 1] - batch->offsets[s],
                      space->sums, vectors + s * hidden, error);
    return status;
}

/* ---- what it is ---------------------------------------------------------------------------------------------- */

uint64_t mn_bert_parameters(const mn_bert *bert)
{
    return mn_weights_parameters(bert->file);
}

uint64_t mn_bert_fingerprint(const mn_bert *bert)
{
    return mn_weights_fingerprint(bert->file);
}
