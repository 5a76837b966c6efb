/* bert_training.h -- a whole encoder of the BERT family (encoder/bert.h) as a layer that is trained: from token ids to
 * unit vectors, and from the vectors' gradients to those of every parameter.
 *
 * Parameters have the names and shapes of the Hugging Face file. Devlin et al. 2018; Reimers, Gurevych 2019. */
#ifndef MN_ENCODER_TRAIN_BERT_TRAINING_H
#define MN_ENCODER_TRAIN_BERT_TRAINING_H

#include "encoder/encoder.h"
#include "encoder/model_config.h"
#include "encoder/train/embedding.h"
#include "encoder/train/transformer_block.h"

typedef struct mn_bert_training_options {
    const mn_model_config *config; /* copied but for its prompts */
    uint32_t n_types;              /* rows of the table of token types; every token is of type 0 */
    const uint32_t *layers;        /* (config->n_layers): their numbers in the parameters' names; NULL: 0, 1, 2, ... */
    float dropout;                 /* of embeddings, attention weights and residuals */
} mn_bert_training_options;

typedef struct mn_bert_training {
    mn_model_config config;
    mn_embedding words; /* sparse: a batch touches few of its rows */
    mn_positions positions;
    mn_parameter *types; /* (n_types, hidden) */
    mn_layer_norm norm;
    mn_transformer_block *blocks; /* config.n_layers, owned by the parameters */
    float dropout;
} mn_bert_training;

/* Adds embeddings.word_embeddings.weight, ..., encoder.layer.0.attention.self.query.weight, ...: normal, 0.02; biases
 * 0. ERR_MEMORY. */
mneme_status mn_bert_training_add(mn_parameters *parameters, const mn_bert_training_options *options,
                                  mn_bert_training *out, mneme_error *error);

/* What backward needs, in the room; backward uses it up. */
typedef struct mn_bert_saved {
    const uint32_t *ids;
    mn_sequences sequences;
    mn_layer_norm_saved norm;
    mn_transformer_saved *blocks;
    const float *rows;    /* (tokens, hidden) of the last layer */
    const float *vectors; /* (n, hidden) */
    float *lengths;       /* (n), of the vectors before they were scaled */
    uint64_t dropout_state;
    bool drops;
} mn_bert_saved;

/* vectors (batch->n, hidden): pooled as config.pooling says, unit length. batch: special tokens are there, no sequence
 * is empty or longer than config.n_positions, ids are below config.vocabulary (ERR_USAGE). The batch and the vectors
 * stay as they are until the step ends. Any thread, each with its shard. */
mneme_status mn_bert_training_forward(const mn_bert_training *bert, mn_shard *shard, const mn_token_batch *batch,
                                      float *vectors, mn_bert_saved *saved, mneme_error *error);
/* d_vectors (n, hidden). Once for each forward. */
mneme_status mn_bert_training_backward(const mn_bert_training *bert, mn_shard *shard, mn_bert_saved *saved,
                                       const float *d_vectors, mneme_error *error);

#endif
