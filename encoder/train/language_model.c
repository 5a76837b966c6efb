/* language_model.c -- see language_model.h. */
#include "encoder/train/language_model.h"

#include <math.h>
#include <string.h>

enum { LAYERS_MOST = 64, HIDDEN_MOST = 1 << 14, STEPS_MOST = 1 << 16, FEED_FORWARD = 4 /* times hidden */ };
static const float NORM_EPSILON = 1e-5f, DEVIATION = 0.02f; /* GPT-2's */

/* ---- making ---------------------------------------------------------------------------------------------------- */

const char *mn_lm_cell_name(mneme_cell cell)
{
    static const char *const names[] = {
        [MNEME_CELL_LSTM] = "lstm", [MNEME_CELL_GRU] = "gru", [MNEME_CELL_TRANSFORMER] = "transformer"};
    return names[cell];
}

mneme_status mn_lm_config_check(const mn_lm_config *c, mneme_error *error)
{
    if (c->cell > MNEME_CELL_TRANSFORMER)
        return mn_fail(error, MNEME_ERR_USAGE, "a language model is an LSTM, a GRU or a Transformer; cell %d is none",
                       (int)c->cell);
    if (c->layers < 1 || c->layers > LAYERS_MOST)
        return mn_fail(error, MNEME_ERR_USAGE, "%u layers: expected 1 to %d", c->layers, LAYERS_MOST);
    if (c->hidden < 1 || c->hidden > HIDDEN_MOST)
        return mn_fail(error, MNEME_ERR_USAGE, "%u hidden units: expected 1 to %d", c->hidden, HIDDEN_MOST);
    if (c->steps_back < 1 || c->steps_back > STEPS_MOST)
        return mn_fail(error, MNEME_ERR_USAGE, "sequences of %u characters: expected 1 to %d", c->steps_back,
                       STEPS_MOST);
    if (!(c->dropout >= 0 && c->dropout < 1))
        return mn_fail(error, MNEME_ERR_USAGE, "a dropout of %g: expected 0 to less than 1", (double)c->dropout);
    if (c->cell == MNEME_CELL_TRANSFORMER && (c->heads < 1 || c->hidden % c->heads != 0))
        return mn_fail(error, MNEME_ERR_USAGE, "%u heads do not share out %u hidden units evenly", c->heads, c->hidden);
    return MNEME_OK;
}

static mneme_status add_recurrent(mn_language_model *m, mneme_error *error)
{
    const mn_recurrent_options options = {.cell = m->config.cell == MNEME_CELL_GRU ? MN_CELL_GRU : MN_CELL_LSTM,
                                          .n_in = m->config.hidden,
                                          .n_hidden = m->config.hidden,
                                          .n_layers = m->config.layers,
                                          .dropout = m->config.dropout};
    return mn_recurrent_add(&m->parameters, "rnn", &options, &m->recurrent, error);
}

static mneme_status add_transformer(mn_language_model *m, mneme_error *error)
{
    const mn_lm_config *c = &m->config;
    const mn_transformer_options options = {.hidden = c->hidden,
                                            .n_heads = c->heads,
                                            .intermediate = FEED_FORWARD * c->hidden,
                                            .norm_first = true,
                                            .causal = true,
                                            .activation = MN_BLOCK_GELU,
                                            .epsilon = NORM_EPSILON,
                                            .dropout = c->dropout};
    mneme_status status =
        mn_positions_add(&m->parameters, "positions.weight", c->steps_back, c->hidden, DEVIATION, &m->positions, error);
    m->blocks = mn_alloc_zeroed(c->layers, sizeof *m->blocks);
    if (status == MNEME_OK && !m->blocks) status = mn_fail_memory(error, "a language model");
    for (uint32_t i = 0; i < c->layers && status == MNEME_OK; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "blocks.%u", i);
        status = mn_transformer_block_add(&m->parameters, prefix, &options, &m->blocks[i], error);
    }
    return status == MNEME_OK ? mn_layer_norm_add(&m->parameters, "norm", c->hidden, NORM_EPSILON, &m->norm, error)
                              : status;
}

/* A tied table is small at first, or the logits would not be; recurrent cells read rows of unit variance best. */
static mneme_status add_all(mn_language_model *m, mneme_error *error)
{
    const mn_lm_config *c = &m->config;
    bool recurrent = mn_lm_carries_state(c);
    const mn_embedding_options embedding = {.n_rows = c->vocabulary,
                                            .width = c->hidden,
                                            .deviation = !recurrent ? DEVIATION
                                                         : c->tied  ? 1 / sqrtf((float)c->hidden)
                                                                    : 1,
                                            .tied = c->tied};
    mneme_status status = mn_embedding_add(&m->parameters, "embedding.weight", &embedding, &m->embedding, error);
    if (status == MNEME_OK) status = recurrent ? add_recurrent(m, error) : add_transformer(m, error);
    if (status != MNEME_OK) return status;
    return c->tied ? mn_embedding_output(&m->parameters, &m->embedding, "output.bias", &m->output, error)
                   : mn_dense_add(&m->parameters, "output", c->hidden, c->vocabulary, true, &m->output, error);
}

mneme_status mn_language_model_new(const mn_lm_config *config, bool bf16, uint64_t seed, mn_language_model **out,
                                   mneme_error *error)
{
    *out = NULL;
    mneme_status status = mn_lm_config_check(config, error);
    if (status != MNEME_OK) return status;
    mn_language_model *m = mn_alloc_zeroed(1, sizeof *m);
    if (!m) return mn_fail_memory(error, "a language model");
    m->config = *config;
    m->arithmetic = mn_train_arithmetic_for(bf16, mn_cpu_detect(), false);
    m->parameters.arithmetic = &m->arithmetic;
    mn_threads *alone = NULL;
    status = add_all(m, error);
    if (status == MNEME_OK) status = mn_parameters_ready(&m->parameters, seed, error);
    if (status == MNEME_OK) status = mn_threads_new(1, &alone, error);
    if (status == MNEME_OK) {
        if (config->cell == MNEME_CELL_LSTM) mn_recurrent_open_forget_gates(&m->recurrent);
        mn_parameters_pack(&m->parameters, alone);
        *out = m;
        m = NULL;
    }
    mn_threads_free(alone);
    mn_language_model_free(m);
    return status;
}

void mn_language_model_free(mn_language_model *model)
{
    if (!model) return;
    mn_parameters_free(&model->parameters);
    mn_free(model->blocks);
    mn_free(model);
}

size_t mn_lm_state_size(const mn_lm_config *config, uint32_t n_sequences)
{
    size_t one = (size_t)config->layers * n_sequences * config->hidden;
    return config->cell == MNEME_CELL_LSTM ? 2 * one : config->cell == MNEME_CELL_GRU ? one : 0;
}

/* ---- one pass -------------------------------------------------------------------------------------------------- */

/* What goes forward, and what it leaves for the way back; in the shard's room. */
typedef struct pass {
    const mn_language_model *model;
    mn_shard *shard;
    const mn_lm_input *input;
    uint32_t n_rows, *offsets;
    bool whole_table; /* recurrent: reads the embedding's table itself, each row once */
    float *x;         /* (rows, hidden): what the first layer reads */
    mn_recurrent_saved *recurrent;
    mn_transformer_saved *blocks;
    mn_layer_norm_saved norm;
    uint64_t drop_x, drop_y; /* states of dropout */
    float *y;                /* (rows, hidden): what the output layer reads */
} pass;

static bool drops(const pass *p)
{
    return p->shard->training && p->model->config.dropout > 0;
}

static void drop(const pass *p, uint64_t state, float *x)
{
    size_t n = (size_t)p->n_rows * p->model->config.hidden;
    if (drops(p)) mn_dropout(state, p->model->config.dropout, x, n, x);
}

static mneme_status prepare(pass *p, mneme_error *error)
{
    const mn_lm_input *in = p->input;
    const mn_lm_config *c = &p->model->config;
    bool recurrent = mn_lm_carries_state(c);
    uint32_t n = recurrent ? in->n_steps : in->n_sequences, each = recurrent ? in->n_sequences : in->n_steps;
    p->n_rows = n * each;
    p->offsets = mn_room_take(&p->shard->room, n + 1, sizeof *p->offsets);
    if (!p->offsets) return mn_fail_memory(error, "activations");
    for (uint32_t i = 0; i <= n; i++) p->offsets[i] = i * each;
    p->whole_table = recurrent && c->vocabulary <= p->n_rows;
    if (drops(p)) {
        p->drop_x = mn_random_next(&p->shard->random);
        p->drop_y = mn_random_next(&p->shard->random);
    }
    size_t size = (size_t)p->n_rows * c->hidden;
    mneme_status status = mn_shard_floats(p->shard, size, &p->y, error);
    if (status != MNEME_OK || p->whole_table) return status;
    status = mn_shard_floats(p->shard, size, &p->x, error);
    if (status == MNEME_OK) mn_embedding_forward(&p->model->embedding, in->ids, p->n_rows, p->x);
    return status;
}

static mneme_status forward_recurrent(pass *p, mneme_error *error)
{
    const mn_language_model *m = p->model;
    const mn_lm_input *in = p->input;
    bool lstm = m->config.cell == MNEME_CELL_LSTM;
    float *c = in->state && lstm ? in->state + mn_lm_state_size(&m->config, in->n_sequences) / 2 : NULL;
    const mn_recurrent_input input = {.steps = {in->n_steps, p->offsets},
                                      .x = p->whole_table ? m->embedding.table->value : p->x,
                                      .row_of = p->whole_table ? in->ids : NULL,
                                      .n_x = p->whole_table ? m->config.vocabulary : p->n_rows,
                                      .h_first = in->state,
                                      .c_first = c,
                                      .h_last = in->state,
                                      .c_last = c};
    mneme_status status = mn_recurrent_forward(&m->recurrent, p->shard, &input, p->y, &p->recurrent, error);
    if (status == MNEME_OK) drop(p, p->drop_y, p->y);
    return status;
}

static mneme_status forward_transformer(pass *p, mneme_error *error)
{
    const mn_language_model *m = p->model;
    const mn_sequences sequences = {p->offsets, p->input->n_sequences};
    uint32_t layers = m->config.layers;
    mn_positions_forward(&m->positions, &sequences, p->x);
    drop(p, p->drop_x, p->x);
    p->blocks = mn_room_take(&p->shard->room, layers, sizeof *p->blocks);
    if (!p->blocks) return mn_fail_memory(error, "activations");
    float *x = p->x;
    mneme_status status = MNEME_OK;
    for (uint32_t i = 0; i < layers && status == MNEME_OK; i++) {
        float *y = NULL;
        const mn_attention_input input = {.x = x, .sequences = sequences};
        status = mn_shard_floats(p->shard, (size_t)p->n_rows * m->config.hidden, &y, error);
        if (status == MNEME_OK)
            status = mn_transformer_block_forward(&m->blocks[i], p->shard, &input, y, &p->blocks[i], error);
        x = y;
    }
    return status == MNEME_OK ? mn_layer_norm_forward(&m->norm, p->shard, x, p->n_rows, p->y, &p->norm, error) : status;
}

static mneme_status forward(pass *p, mneme_error *error)
{
    mneme_status status = prepare(p, error);
    if (status != MNEME_OK) return status;
    return mn_lm_carries_state(&p->model->config) ? forward_recurrent(p, error) : forward_transformer(p, error);
}

/* dy: (rows, hidden) with respect to y; used up. */
static mneme_status backward_recurrent(const pass *p, float *dy, mneme_error *error)
{
    const mn_language_model *m = p->model;
    size_t n_x = p->whole_table ? m->config.vocabulary : p->n_rows, size = n_x * m->config.hidden;
    float *dx = NULL;
    drop(p, p->drop_y, dy);
    mneme_status status = mn_shard_floats(p->shard, size, &dx, error);
    if (status == MNEME_OK) status = mn_recurrent_backward(&m->recurrent, p->shard, p->recurrent, dy, dx, error);
    if (status != MNEME_OK) return status;
    if (!p->whole_table) return mn_embedding_backward(&m->embedding, p->shard, p->input->ids, p->n_rows, dx, error);
    p->shard->arithmetic->train_kernels->add_rows(dx, 0, 1, (uint32_t)size,
                                                  mn_gradient_of(p->shard, m->embedding.table));
    return MNEME_OK;
}

static mneme_status backward_transformer(const pass *p, float *dy, mneme_error *error)
{
    const mn_language_model *m = p->model;
    const mn_sequences sequences = {p->offsets, p->input->n_sequences};
    mneme_status status = MNEME_OK;
    mn_layer_norm_backward(&m->norm, p->shard, &p->norm, dy, NULL, dy);
    for (uint32_t i = m->config.layers; i-- > 0 && status == MNEME_OK;)
        status = mn_transformer_block_backward(&m->blocks[i], p->shard, &p->blocks[i], dy, dy, NULL, error);
    if (status != MNEME_OK) return status;
    drop(p, p->drop_x, dy);
    mn_positions_backward(&m->positions, p->shard, &sequences, dy);
    return mn_embedding_backward(&m->embedding, p->shard, p->input->ids, p->n_rows, dy, error);
}

mneme_status mn_lm_loss(const mn_language_model *model, mn_shard *shard, const mn_lm_input *input,
                        const uint32_t *targets, float scale, double *loss, mneme_error *error)
{
    pass p = {.model = model, .shard = shard, .input = input};
    uint32_t v = model->config.vocabulary;
    float *logits = NULL, *dy = NULL;
    mneme_status status = forward(&p, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, (size_t)p.n_rows * v, &logits, error);
    if (status == MNEME_OK) status = mn_dense_forward(&model->output, shard, p.y, p.n_rows, logits, error);
    if (status != MNEME_OK) return status;
    *loss = shard->arithmetic->train_kernels->cross_entropy(logits, p.n_rows, v, targets, scale);
    if (!shard->training) return MNEME_OK;
    status = mn_shard_floats(shard, (size_t)p.n_rows * model->config.hidden, &dy, error);
    if (status == MNEME_OK) status = mn_dense_backward(&model->output, shard, p.y, logits, p.n_rows, dy, error);
    if (status != MNEME_OK) return status;
    return mn_lm_carries_state(&model->config) ? backward_recurrent(&p, dy, error)
                                               : backward_transformer(&p, dy, error);
}

mneme_status mn_lm_logits(const mn_language_model *model, mn_shard *shard, const mn_lm_input *input, float *logits,
                          mneme_error *error)
{
    pass p = {.model = model, .shard = shard, .input = input};
    mneme_status status = forward(&p, error);
    if (status != MNEME_OK) return status;
    const float *last = p.y + (size_t)(p.n_rows - 1) * model->config.hidden;
    return mn_dense_forward(&model->output, shard, last, 1, logits, error);
}
