/* language_model.h -- a language model of characters: which comes next?
 *
 *     LSTM, GRU      embedding -> mn_recurrent -> dropout -> output
 *     Transformer    embedding + learned positions -> dropout -> causal blocks, norm before -> LayerNorm -> output
 *
 * The output is a dense layer, or with `tied` the embedding's table (Press, Wolf 2017) with a bias. Names of
 * parameters: embedding.weight, rnn.* as PyTorch's, positions.weight, blocks.N.*, norm.*, output.*. */
#ifndef MN_ENCODER_TRAIN_LANGUAGE_MODEL_H
#define MN_ENCODER_TRAIN_LANGUAGE_MODEL_H

#include "encoder/train/embedding.h"
#include "encoder/train/recurrent.h"
#include "encoder/train/transformer_block.h"

typedef struct mn_lm_config {
    mneme_cell cell;
    uint32_t layers, hidden;
    uint32_t heads;      /* Transformer alone; divides hidden */
    uint32_t steps_back; /* Transformer: the longest sequence */
    uint32_t vocabulary;
    float dropout;
    bool tied;
} mn_lm_config;

typedef struct mn_language_model {
    mn_lm_config config;
    mn_train_arithmetic arithmetic;
    mn_parameters parameters;
    mn_embedding embedding;
    mn_recurrent recurrent;
    mn_positions positions;
    mn_transformer_block *blocks; /* (layers) */
    mn_layer_norm norm;
    mn_dense output;
} mn_language_model;

const char *mn_lm_cell_name(mneme_cell cell); /* "lstm", "gru", "transformer" */
/* ERR_USAGE: sizes out of their range. */
mneme_status mn_lm_config_check(const mn_lm_config *config, mneme_error *error);

/* With the values of `seed`, ready and packed. *out: owned, mn_language_model_free. ERR_MEMORY. */
mneme_status mn_language_model_new(const mn_lm_config *config, bool bf16, uint64_t seed, mn_language_model **out,
                                   mneme_error *error);
void mn_language_model_free(mn_language_model *model);

static inline bool mn_lm_carries_state(const mn_lm_config *config)
{
    return config->cell != MNEME_CELL_TRANSFORMER;
}
/* Floats of the state of n sequences: for an LSTM, h and then c, each (layers, n, hidden); 0: it carries none. */
size_t mn_lm_state_size(const mn_lm_config *config, uint32_t n_sequences);

/* n_sequences sequences of n_steps characters each. Models that carry a state have them step by step (row t *
 * n_sequences
 * + b), the Transformer one after the other (row b * n_steps + t). */
typedef struct mn_lm_input {
    uint32_t n_sequences, n_steps;
    const uint32_t *ids; /* (rows), borrowed until backward is done */
    float *state;        /* mn_lm_state_size: where the sequences begin, becomes where they end; NULL: zeros */
} mn_lm_input;

/* The sum of -log p(target) over the rows, in nats. A target of `vocabulary` or more counts nothing. When the shard is
 * training: goes backward too, with gradients of scale times the sum. ERR_MEMORY. */
mneme_status mn_lm_loss(const mn_language_model *model, mn_shard *shard, const mn_lm_input *input,
                        const uint32_t *targets, float scale, double *loss, mneme_error *error);

/* What may follow a single sequence: logits (vocabulary) after its last character. ERR_MEMORY. */
mneme_status mn_lm_logits(const mn_language_model *model, mn_shard *shard, const mn_lm_input *input, float *logits,
                          mneme_error *error);

#endif
