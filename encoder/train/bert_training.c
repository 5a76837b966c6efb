/* bert_training.c -- see bert_training.h. The same forward pass as encoder/bert.c, with what backward needs kept. */
#include "encoder/train/bert_training.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the model -------------------------------------------------------------------------------------------------- */

static mneme_status add_embeddings(mn_parameters *set, uint32_t n_types, mn_bert_training *bert, mneme_error *error)
{
    const mn_model_config *config = &bert->config;
    const mn_embedding_options words = {
        .n_rows = config->vocabulary, .width = config->hidden, .deviation = 0.02f, .sparse = true};
    const mn_parameter_options types = {
        .rows = n_types, .columns = config->hidden, .initial = MN_INITIAL_NORMAL, .scale = 0.02f, .decays = true};
    mneme_status status = mn_embedding_add(set, "embeddings.word_embeddings.weight", &words, &bert->words, error);
    if (status == MNEME_OK)
        status = mn_positions_add(set, "embeddings.position_embeddings.weight", config->n_positions, config->hidden,
                                  0.02f, &bert->positions, error);
    if (status != MNEME_OK) return status;
    bert->types = mn_parameters_add(set, &types, "embeddings.token_type_embeddings.weight");
    if (!bert->types) return mn_fail_memory(error, "a model's parameters");
    return mn_layer_norm_add(set, "embeddings.LayerNorm", config->hidden, config->layer_norm_epsilon, &bert->norm,
                             error);
}

mneme_status mn_bert_training_add(mn_parameters *parameters, const mn_bert_training_options *options,
                                  mn_bert_training *out, mneme_error *error)
{
    const mn_model_config *config = options->config;
    const mn_transformer_options block = {.hidden = config->hidden,
                                          .n_heads = config->n_heads,
                                          .intermediate = config->intermediate,
                                          .activation =
                                              config->activation == MN_ACTIVATION_RELU ? MN_BLOCK_RELU : MN_BLOCK_GELU,
                                          .epsilon = config->layer_norm_epsilon,
                                          .dropout = options->dropout};
    *out = (mn_bert_training){.config = *config, .dropout = options->dropout};
    out->config.query_prompt = out->config.passage_prompt = NULL;
    out->blocks = mn_arena_alloc(&parameters->arena, config->n_layers * sizeof *out->blocks);
    if (!out->blocks) return mn_fail_memory(error, "a model's layers");
    mneme_status status = add_embeddings(parameters, options->n_types, out, error);
    for (uint32_t i = 0; i < config->n_layers && status == MNEME_OK; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "encoder.layer.%u", options->layers ? options->layers[i] : i);
        status = mn_transformer_block_add(parameters, prefix, &block, &out->blocks[i], error);
    }
    return status;
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

static mneme_status check_batch(const mn_bert_training *bert, const mn_token_batch *batch, mneme_error *error)
{
    for (size_t i = 0; i < batch->n; i++) {
        uint32_t length = batch->offsets[i + 1] - batch->offsets[i];
        if (length == 0 || length > bert->config.n_positions)
            return mn_fail(error, MNEME_ERR_USAGE, "sequence %zu has %u tokens; the model takes 1 to %u", i, length,
                           bert->config.n_positions);
    }
    for (size_t t = 0; t < batch->offsets[batch->n]; t++)
        if (batch->ids[t] >= bert->config.vocabulary)
            return mn_fail(error, MNEME_ERR_USAGE, "token id %u is not in the embedding table of %u rows",
                           batch->ids[t], bert->config.vocabulary);
    return MNEME_OK;
}

/* x = dropout(LayerNorm(word + position + type)). */
static mneme_status embed(const mn_bert_training *bert, mn_shard *shard, float *x, mn_bert_saved *saved,
                          mneme_error *error)
{
    const mn_block_kernels *kernels = mn_block_kernels_beside(shard->arithmetic);
    uint32_t hidden = bert->config.hidden, rows = mn_sequences_rows(&saved->sequences);
    float *sums;
    mneme_status status = mn_shard_floats(shard, (size_t)rows * hidden, &sums, error);
    if (status != MNEME_OK) return status;
    mn_embedding_forward(&bert->words, saved->ids, rows, sums);
    mn_positions_forward(&bert->positions, &saved->sequences, sums);
    for (size_t r = 0; r < rows; r++) kernels->add(sums + r * hidden, bert->types->value, hidden, sums + r * hidden);
    status = mn_layer_norm_forward(&bert->norm, shard, sums, rows, x, &saved->norm, error);
    if (status != MNEME_OK) return status;
    saved->drops = shard->training && bert->dropout > 0;
    if (!saved->drops) return MNEME_OK;
    saved->dropout_state = mn_random_next(&shard->random);
    mn_dropout(saved->dropout_state, bert->dropout, x, (size_t)rows * hidden, x);
    return MNEME_OK;
}

static mneme_status run_blocks(const mn_bert_training *bert, mn_shard *shard, const float *x, mn_bert_saved *saved,
                               mneme_error *error)
{
    size_t size = (size_t)mn_sequences_rows(&saved->sequences) * bert->config.hidden;
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < bert->config.n_layers && status == MNEME_OK; i++) {
        float *y;
        const mn_attention_input input = {.x = x, .sequences = saved->sequences};
        status = mn_shard_floats(shard, size, &y, error);
        if (status == MNEME_OK)
            status = mn_transformer_block_forward(&bert->blocks[i], shard, &input, y, &saved->blocks[i], error);
        x = y;
    }
    saved->rows = x;
    return status;
}

/* The row whose element i is the largest of the sequence, the first of equals. */
static size_t row_of_largest(const float *rows, size_t length, size_t hidden, size_t i)
{
    size_t best = 0;
    for (size_t t = 1; t < length; t++)
        if (rows[t * hidden + i] > rows[best * hidden + i]) best = t;
    return best;
}

/* The sum stands for the mean: scaling to unit length takes the divisor away. Returns the length before. */
static float pool(const mn_bert_training *bert, const float *rows, size_t length, float *vector)
{
    size_t hidden = bert->config.hidden;
    double squares = 0;
    for (size_t i = 0; i < hidden; i++) {
        double sum = (double)rows[i];
        if (bert->config.pooling == MN_POOLING_MAX)
            sum = (double)rows[row_of_largest(rows, length, hidden, i) * hidden + i];
        for (size_t t = 1; t < length && bert->config.pooling == MN_POOLING_MEAN; t++)
            sum += (double)rows[t * hidden + i];
        vector[i] = (float)sum;
        squares += sum * sum;
    }
    float by = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (size_t i = 0; i < hidden; i++) vector[i] *= by;
    return (float)sqrt(squares);
}

mneme_status mn_bert_training_forward(const mn_bert_training *bert, mn_shard *shard, const mn_token_batch *batch,
                                      float *vectors, mn_bert_saved *saved, mneme_error *error)
{
    size_t hidden = bert->config.hidden;
    *saved = (mn_bert_saved){
        .ids = batch->ids, .sequences = {.offsets = batch->offsets, .n = (uint32_t)batch->n}, .vectors = vectors};
    mneme_status status = check_batch(bert, batch, error);
    if (status != MNEME_OK) return status;
    float *x;
    saved->blocks = mn_room_take(&shard->room, bert->config.n_layers, sizeof *saved->blocks);
    if (!saved->blocks) return mn_fail_memory(error, "activations");
    status = mn_shard_floats(shard, batch->offsets[batch->n] * hidden, &x, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, batch->n, &saved->lengths, error);
    if (status == MNEME_OK) status = embed(bert, shard, x, saved, error);
    if (status == MNEME_OK) status = run_blocks(bert, shard, x, saved, error);
    for (size_t i = 0; i < batch->n && status == MNEME_OK; i++)
        saved->lengths[i] = pool(bert, saved->rows + batch->offsets[i] * hidden,
                                 batch->offsets[i + 1] - batch->offsets[i], vectors + i * hidden);
    return status;
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

/* v = s / |s|: ds = (dv - v (v . dv)) / |s|, and from s to the rows that it was made of. */
static void pool_backward(const mn_bert_training *bert, const mn_bert_saved *saved, size_t sequence,
                          const float *d_vector, float *dx)
{
    size_t hidden = bert->config.hidden, first = saved->sequences.offsets[sequence];
    size_t length = saved->sequences.offsets[sequence + 1] - first;
    const float *v = saved->vectors + sequence * hidden, *rows = saved->rows + first * hidden;
    double along = 0, by = saved->lengths[sequence] > 0 ? 1 / (double)saved->lengths[sequence] : 0;
    for (size_t i = 0; i < hidden; i++) along += (double)v[i] * (double)d_vector[i];
    float *d_rows = dx + first * hidden;
    memset(d_rows, 0, length * hidden * sizeof *d_rows);
    for (size_t i = 0; i < hidden; i++) {
        float d = (float)(((double)d_vector[i] - (double)v[i] * along) * by);
        if (bert->config.pooling == MN_POOLING_MAX)
            d_rows[row_of_largest(rows, length, hidden, i) * hidden + i] = d;
        else
            for (size_t t = 0; t < (bert->config.pooling == MN_POOLING_CLS ? 1 : length); t++)
                d_rows[t * hidden + i] = d;
    }
}

mneme_status mn_bert_training_backward(const mn_bert_training *bert, mn_shard *shard, mn_bert_saved *saved,
                                       const float *d_vectors, mneme_error *error)
{
    size_t hidden = bert->config.hidden, rows = mn_sequences_rows(&saved->sequences);
    float *dx;
    mneme_status status = mn_shard_floats(shard, rows * hidden, &dx, error);
    if (status != MNEME_OK) return status;
    for (size_t i = 0; i < saved->sequences.n; i++) pool_backward(bert, saved, i, d_vectors + i * hidden, dx);
    for (size_t i = bert->config.n_layers; i-- > 0 && status == MNEME_OK;)
        status = mn_transformer_block_backward(&bert->blocks[i], shard, &saved->blocks[i], dx, dx, NULL, error);
    if (status != MNEME_OK) return status;
    if (saved->drops) mn_dropout(saved->dropout_state, bert->dropout, dx, rows * hidden, dx);
    mn_layer_norm_backward(&bert->norm, shard, &saved->norm, dx, NULL, dx);
    mn_positions_backward(&bert->positions, shard, &saved->sequences, dx);
    shard->arithmetic->train_kernels->add_rows(dx, hidden, rows, (uint32_t)hidden, mn_gradient_of(shard, bert->types));
    return mn_embedding_backward(&bert->words, shard, saved->ids, rows, dx, error);
}
