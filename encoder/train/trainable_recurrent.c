/* trainable_recurrent.c -- LSTM and GRU encoders in training: the table, the layers, pooling over time, the output.
 *
 * Texts are laid out by step (step_plan.h), as recurrent.h wants them. A token that comes again in a batch is looked up
 * once: its row of the table, the product with it, and its gradient. */
#include "encoder/recurrent_config.h"
#include "encoder/step_plan.h"
#include "encoder/train/dense.h"
#include "encoder/train/model_files.h"
#include "encoder/train/tokenizer_files.h"
#include "encoder/train/trainable.h"
#include "encoder/train/vector_losses.h"
#include "encoder/weight_shards.h"

#include "common/file.h"

#include <math.h>
#include <string.h>

typedef struct trainable_recurrent {
    mn_trainable base;
    mn_recurrent_config config;
    mn_parameter *table; /* (V, E) */
    mn_recurrent layers; /* E to D */
    mn_dense attention;  /* D to 1; attentive alone */
    mn_dense output;     /* D, or D + E, to the vector */
} trainable_recurrent;

/* What forward leaves for backward; all in the shard's room. R: rows, that is tokens; U: distinct ones. */
typedef struct pass {
    mn_step_plan plan;
    float *tokens;  /* (U, E) */
    float *states;  /* (R, D) */
    float *weights; /* (R): of pooling */
    float *joined;  /* (n, D [+ E]) */
    float *vectors; /* (n, dimension), in the caller's order */
    float *unit;    /* (n): lengths before they were scaled to 1 */
    mn_recurrent_saved *saved;
} pass;

static uint32_t joined_width(const trainable_recurrent *t)
{
    return mn_recurrent_width(&t->layers) + (t->config.join_tokens ? t->config.embedding : 0);
}

/* ---- forward --------------------------------------------------------------------------------------------------- */

static mneme_status run_layers(const trainable_recurrent *t, mn_shard *shard, pass *p, mneme_error *error)
{
    size_t width = t->config.embedding;
    mneme_status status = mn_shard_floats(shard, (size_t)p->plan.n_distinct * width, &p->tokens, error);
    if (status == MNEME_OK)
        status = mn_shard_floats(shard, (size_t)p->plan.n_rows * mn_recurrent_width(&t->layers), &p->states, error);
    if (status != MNEME_OK) return status;
    for (size_t i = 0; i < p->plan.n_distinct; i++)
        memcpy(p->tokens + i * width, t->table->value + p->plan.distinct[i] * width, width * sizeof(float));
    const mn_recurrent_input input = {.steps = {p->plan.n_steps, p->plan.first_row},
                                      .x = p->tokens,
                                      .row_of = p->plan.token,
                                      .n_x = p->plan.n_distinct};
    return mn_recurrent_forward(&t->layers, shard, &input, p->states, &p->saved, error);
}

/* weights (R): softmax of the scores along each sequence, or 1 / length. */
static mneme_status weigh(const trainable_recurrent *t, mn_shard *shard, pass *p, mneme_error *error)
{
    mneme_status status = mn_shard_floats(shard, p->plan.n_rows, &p->weights, error);
    if (status == MNEME_OK && t->config.attentive)
        status = mn_dense_forward(&t->attention, shard, p->states, p->plan.n_rows, p->weights, error);
    for (uint32_t b = 0; b < p->plan.n_texts && status == MNEME_OK; b++) {
        double largest = -INFINITY, total = 0;
        for (uint32_t s = 0; s < p->plan.lengths[b]; s++) {
            if (!t->config.attentive) p->weights[p->plan.first_row[s] + b] = 0;
            largest = fmax(largest, (double)p->weights[p->plan.first_row[s] + b]);
        }
        for (uint32_t s = 0; s < p->plan.lengths[b]; s++) {
            float *weight = &p->weights[p->plan.first_row[s] + b];
            *weight = (float)exp((double)*weight - largest);
            total += (double)*weight;
        }
        for (uint32_t s = 0; s < p->plan.lengths[b]; s++) p->weights[p->plan.first_row[s] + b] /= (float)total;
    }
    return status;
}

static inline void add_scaled(float *restrict to, const float *restrict x, float by, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] += by * x[i];
}

static mneme_status pool(const trainable_recurrent *t, mn_shard *shard, pass *p, mneme_error *error)
{
    size_t states = mn_recurrent_width(&t->layers), width = joined_width(t), tokens = t->config.embedding;
    mneme_status status = mn_shard_floats(shard, p->plan.n_texts * width, &p->joined, error);
    if (status != MNEME_OK) return status;
    memset(p->joined, 0, p->plan.n_texts * width * sizeof(float));
    for (uint32_t b = 0; b < p->plan.n_texts; b++)
        for (uint32_t s = 0; s < p->plan.lengths[b]; s++) {
            size_t row = p->plan.first_row[s] + b;
            float *joined = p->joined + b * width;
            add_scaled(joined, p->states + row * states, p->weights[row], states);
            if (t->config.join_tokens)
                add_scaled(joined + states, p->tokens + p->plan.token[row] * tokens, p->weights[row], tokens);
        }
    return MNEME_OK;
}

/* The output layer, scaled to unit length, back in the order in which the texts came. */
static mneme_status put_out(const trainable_recurrent *t, mn_shard *shard, pass *p, mneme_error *error)
{
    uint32_t width = t->base.dimension;
    float *raw = NULL, *sorted = NULL;
    mneme_status status = mn_shard_floats(shard, (size_t)p->plan.n_texts * width, &raw, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, (size_t)p->plan.n_texts * width, &sorted, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, (size_t)p->plan.n_texts * width, &p->vectors, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, p->plan.n_texts, &p->unit, error);
    if (status == MNEME_OK) status = mn_dense_forward(&t->output, shard, p->joined, p->plan.n_texts, raw, error);
    if (status != MNEME_OK) return status;
    mn_unit_forward(raw, p->plan.n_texts, width, sorted, p->unit);
    for (uint32_t b = 0; b < p->plan.n_texts; b++)
        memcpy(p->vectors + (size_t)p->plan.order[b] * width, sorted + (size_t)b * width, width * sizeof(float));
    return MNEME_OK;
}

static mneme_status forward(mn_trainable *trainable, mn_shard *shard, const mn_token_batch *batch, float **vectors,
                            void **saved, mneme_error *error)
{
    const trainable_recurrent *t = (const trainable_recurrent *)trainable;
    uint32_t vocabulary = t->base.vocabulary;
    pass *p = mn_room_take(&shard->room, 1, sizeof *p);
    uint32_t *words = mn_room_take(&shard->room, mn_step_plan_words(batch, vocabulary), sizeof *words);
    if (!p || !words) return mn_fail_memory(error, "activations");
    *p = (pass){0};
    mneme_status status = mn_step_plan_make_in(&p->plan, words, batch, vocabulary, 0, error);
    if (status == MNEME_OK) status = run_layers(t, shard, p, error);
    if (status == MNEME_OK) status = weigh(t, shard, p, error);
    if (status == MNEME_OK) status = pool(t, shard, p, error);
    if (status == MNEME_OK) status = put_out(t, shard, p, error);
    *vectors = p->vectors;
    *saved = p;
    return status;
}

/* ---- backward -------------------------------------------------------------------------------------------------- */

/* Gradients on their way back. */
typedef struct gradients {
    float *output; /* (n, dimension), longest first */
    float *joined; /* (n, D [+ E]) */
    float *states; /* (R, D) */
    float *scores; /* (R) */
    float *tokens; /* (U, E): what pooling gives; then all */
    float *inputs; /* (U, E): what the layers give */
} gradients;

static mneme_status output_backward(const trainable_recurrent *t, mn_shard *shard, const pass *p,
                                    const float *d_vectors, gradients *g, mneme_error *error)
{
    uint32_t width = t->base.dimension;
    mneme_status status = mn_shard_floats(shard, (size_t)p->plan.n_texts * width, &g->output, error);
    if (status == MNEME_OK)
        status = mn_shard_floats(shard, (size_t)p->plan.n_texts * joined_width(t), &g->joined, error);
    if (status != MNEME_OK) return status;
    for (uint32_t b = 0; b < p->plan.n_texts; b++) {
        size_t text = (size_t)p->plan.order[b] * width;
        mn_unit_backward(p->vectors + text, p->unit + b, d_vectors + text, 1, width, g->output + (size_t)b * width);
    }
    return mn_dense_backward(&t->output, shard, p->joined, g->output, p->plan.n_texts, g->joined, error);
}

/* Of the pooled sums to states and tokens, and of the softmax to the scores. */
static void pool_backward(const trainable_recurrent *t, const pass *p, gradients *g)
{
    size_t states = mn_recurrent_width(&t->layers), width = joined_width(t), tokens = t->config.embedding;
    memset(g->tokens, 0, p->plan.n_distinct * tokens * sizeof(float));
    for (uint32_t b = 0; b < p->plan.n_texts; b++) {
        const float *joined = g->joined + b * width;
        double mean = 0; /* sum a da */
        for (uint32_t s = 0; s < p->plan.lengths[b]; s++) {
            size_t row = p->plan.first_row[s] + b, token = p->plan.token[row] * tokens;
            float weight = p->weights[row], d_weight = mn_dot(joined, p->states + row * states, states);
            for (size_t i = 0; i < states; i++) g->states[row * states + i] = weight * joined[i];
            if (t->config.join_tokens) {
                d_weight += mn_dot(joined + states, p->tokens + token, tokens);
                add_scaled(g->tokens + token, joined + states, weight, tokens);
            }
            g->scores[row] = d_weight;
            mean += (double)weight * (double)d_weight;
        }
        for (uint32_t s = 0; s < p->plan.lengths[b]; s++) {
            size_t row = p->plan.first_row[s] + b;
            g->scores[row] = p->weights[row] * (g->scores[row] - (float)mean);
        }
    }
}

/* The scores are w . h + b: one row of weights. */
static void scores_backward(const trainable_recurrent *t, mn_shard *shard, const pass *p, gradients *g)
{
    size_t states = mn_recurrent_width(&t->layers);
    const float *weight = t->attention.weight->value;
    float *d_weight = mn_gradient_of(shard, t->attention.weight), *d_bias = mn_gradient_of(shard, t->attention.bias);
    for (size_t row = 0; row < p->plan.n_rows; row++) {
        add_scaled(d_weight, p->states + row * states, g->scores[row], states);
        add_scaled(g->states + row * states, weight, g->scores[row], states);
        d_bias[0] += g->scores[row];
    }
}

static mneme_status backward(mn_trainable *trainable, mn_shard *shard, void *saved, const float *d_vectors,
                             mneme_error *error)
{
    const trainable_recurrent *t = (const trainable_recurrent *)trainable;
    const pass *p = saved;
    size_t tokens = t->config.embedding, n_tokens = p->plan.n_distinct * tokens;
    gradients g = {0};
    mneme_status status = output_backward(t, shard, p, d_vectors, &g, error);
    if (status == MNEME_OK)
        status = mn_shard_floats(shard, (size_t)p->plan.n_rows * mn_recurrent_width(&t->layers), &g.states, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, p->plan.n_rows, &g.scores, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, n_tokens, &g.tokens, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, n_tokens, &g.inputs, error);
    if (status != MNEME_OK) return status;
    pool_backward(t, p, &g);
    if (t->config.attentive) scores_backward(t, shard, p, &g);
    status = mn_recurrent_backward(&t->layers, shard, p->saved, g.states, g.inputs, error);
    if (status != MNEME_OK || t->table->frozen) return status;
    add_scaled(g.inputs, g.tokens, 1, n_tokens);
    return mn_shard_add_rows(shard, t->table, p->plan.distinct, g.inputs, p->plan.n_distinct, error);
}

/* ---- making, opening, saving ----------------------------------------------------------------------------------- */

static mneme_status save(mn_trainable *trainable, const char *folder, const char *about_json, mneme_error *error)
{
    const trainable_recurrent *t = (const trainable_recurrent *)trainable;
    const mn_recurrent_config *c = &t->config;
    json_t *about = json_loads(about_json, 0, NULL);
    json_t *config = json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:b, s:s, s:b, s:i, s:i, s:o}", "model_type", "mneme-recurrent", "cell",
        c->cell == MN_CELL_LSTM ? "lstm" : "gru", "vocab_size", (int)c->vocabulary, "embedding_size", (int)c->embedding,
        "hidden_size", (int)c->hidden, "num_layers", (int)c->n_layers, "bidirectional", (int)c->bidirectional,
        "pooling", c->attentive ? "attentive" : "mean", "join_tokens", (int)c->join_tokens, "output_size",
        (int)c->output, "max_tokens", (int)c->max_tokens, "mneme", about ? about : json_object());
    char *path = mn_path_join(folder, "model.safetensors");
    mneme_status status =
        path ? mn_parameters_save(&trainable->parameters, path, error) : mn_fail_memory(error, folder);
    if (status == MNEME_OK)
        status = trainable->own ? mn_tokenizer_files_write(&trainable->own->settings, c->max_tokens, folder, error)
                                : mn_model_copy_tokenizer(trainable->tokenizer_folder, folder, error);
    if (status == MNEME_OK)
        status = mn_model_write_json(folder, "config.json", config, error); /* last: what makes it a model's folder */
    else
        json_decref(config);
    mn_free(path);
    return status;
}

static void destroy(mn_trainable *trainable)
{
    mn_parameters_free(&trainable->parameters);
    mn_free(trainable->tokenizer_folder);
    mn_free(trainable);
}

static const mn_trainable_operations operations = {forward, backward, save, destroy};

void mn_trainable_free(mn_trainable *trainable)
{
    if (trainable) trainable->operations->destroy(trainable);
}

/* Everything but the values. */
static mneme_status put_together(const mn_recurrent_config *config, const mn_train_arithmetic *arithmetic,
                                 const char *tokenizer_folder, float dropout, trainable_recurrent **out,
                                 mneme_error *error)
{
    trainable_recurrent *t = mn_alloc_zeroed(1, sizeof *t);
    if (!t) return mn_fail_memory(error, "an encoder to train");
    *out = t;
    t->config = *config;
    t->base = (mn_trainable){.operations = &operations,
                             .arithmetic = *arithmetic,
                             .dimension = config->output,
                             .max_tokens = config->max_tokens,
                             .n_special = config->special_tokens ? 2 : 0,
                             .vocabulary = config->vocabulary,
                             .tokenizer_folder = mn_strdup(tokenizer_folder)};
    mn_parameters *set = &t->base.parameters;
    set->arithmetic = &t->base.arithmetic;
    const mn_parameter_options table = {.rows = config->vocabulary,
                                        .columns = config->embedding,
                                        .initial = MN_INITIAL_NORMAL,
                                        .scale = 0.05f,
                                        .sparse = true};
    const mn_recurrent_options layers = {.cell = config->cell,
                                         .n_in = config->embedding,
                                         .n_hidden = config->hidden,
                                         .n_layers = config->n_layers,
                                         .bidirectional = config->bidirectional,
                                         .dropout = dropout};
    t->table = mn_parameters_add(set, &table, "embedding.weight");
    mneme_status status = t->table && t->base.tokenizer_folder ? MNEME_OK : mn_fail_memory(error, "a token table");
    if (status == MNEME_OK) status = mn_recurrent_add(set, "recurrent", &layers, &t->layers, error);
    if (status == MNEME_OK && config->attentive)
        status = mn_dense_add(set, "attention", mn_recurrent_width(&t->layers), 1, true, &t->attention, error);
    if (status == MNEME_OK)
        status = mn_dense_add(set, "output", joined_width(t), config->output, true, &t->output, error);
    return status;
}

/* The word embeddings of a BERT, or the table of a static or recurrent encoder. */
static const mn_tensor *find_table(const mn_safetensors *file)
{
    static const char *const names[] = {"embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight",
                                        "embeddings", "embedding.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const mn_tensor *tensor = mn_safetensors_find(file, names[i]);
        if (tensor && tensor->rank == 2 && tensor->type != MN_TENSOR_OTHER) return tensor;
    }
    return NULL;
}

/* to: the table to begin with. ERR_MODEL: a token is in no row of the teacher's. */
static mneme_status begin_table(const mn_tensor *table, const mn_own_vocabulary *own, float *to, mneme_error *error)
{
    size_t width = (size_t)table->shape[1];
    if (!own) {
        mn_tensor_to_f32(table, 0, table->n_elements, to);
        return MNEME_OK;
    }
    float *row = mn_alloc_array(width, sizeof *row);
    if (!row) return mn_fail_memory(error, "a token table");
    mneme_status status = MNEME_OK;
    memset(to, 0, own->n * width * sizeof *to);
    for (size_t i = 0; i < own->n && status == MNEME_OK; i++)
        for (size_t k = own->offsets[i]; k < own->offsets[i + 1] && status == MNEME_OK; k++) {
            if (own->ids[k] >= table->shape[0])
                status =
                    mn_fail(error, MNEME_ERR_MODEL, "the teacher's token %u is in no row of its table", own->ids[k]);
            else {
                mn_tensor_to_f32(table, own->ids[k] * width, width, row);
                add_scaled(to + i * width, row, 1 / (float)(own->offsets[i + 1] - own->offsets[i]), width);
            }
        }
    mn_free(row);
    return status;
}

mneme_status mn_trainable_recurrent_new(const mn_trainable_recurrent_options *options, mn_trainable **out,
                                        mneme_error *error)
{
    *out = NULL;
    trainable_recurrent *t = NULL;
    mn_safetensors *file = NULL;
    char *path = mn_path_join(options->teacher_folder, "model.safetensors");
    mneme_status status = path ? mn_weights_open(path, &file, error) : mn_fail_memory(error, "path");
    const mn_tensor *table = status == MNEME_OK ? find_table(file) : NULL;
    if (status == MNEME_OK && (!table || table->shape[0] > UINT32_MAX || table->shape[1] > 65536))
        status = mn_fail(error, MNEME_ERR_MODEL, "%s: there is no table of token vectors to begin with", path);
    if (status == MNEME_OK) {
        const mn_recurrent_config config = {.cell = options->cell,
                                            .vocabulary = options->own ? options->own->n : (uint32_t)table->shape[0],
                                            .embedding = (uint32_t)table->shape[1],
                                            .hidden = options->n_hidden,
                                            .n_layers = options->n_layers,
                                            .output = options->dimension,
                                            .max_tokens = 512,
                                            .bidirectional = options->bidirectional,
                                            .attentive = options->attentive,
                                            .join_tokens = options->join_tokens};
        status = put_together(&config, options->arithmetic, options->teacher_folder, options->dropout, &t, error);
    }
    if (status == MNEME_OK) status = mn_parameters_ready(&t->base.parameters, options->seed, error);
    if (status == MNEME_OK) status = begin_table(table, options->own, t->table->value, error);
    if (status == MNEME_OK) t->base.own = options->own;
    mn_safetensors_close(file);
    mn_free(path);
    if (status == MNEME_OK)
        *out = &t->base;
    else if (t)
        destroy(&t->base);
    return status;
}

mneme_status mn_trainable_recurrent_open(const char *folder, const mn_train_arithmetic *arithmetic, mn_trainable **out,
                                         mneme_error *error)
{
    *out = NULL;
    trainable_recurrent *t = NULL;
    mn_recurrent_config config;
    char *path = mn_path_join(folder, "model.safetensors");
    mneme_status status = path ? mn_recurrent_config_read(folder, &config, error) : mn_fail_memory(error, "path");
    if (status == MNEME_OK) status = put_together(&config, arithmetic, folder, 0, &t, error);
    if (status == MNEME_OK) status = mn_parameters_ready(&t->base.parameters, 0, error);
    if (status == MNEME_OK) status = mn_parameters_load(&t->base.parameters, path, "", error);
    mn_free(path);
    if (status == MNEME_OK)
        *out = &t->base;
    else if (t)
        destroy(&t->base);
    return status;
}
