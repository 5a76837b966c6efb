/* train_attention.h -- multi-head attention with its gradients: Vaswani et al. 2017, "Attention Is All You Need",
 * section 3.2.
 *
 * Sequences lie end to end, without padding. Their rows ask their own rows (self-attention; causal: none asks a later
 * one), or each sequence asks the rows of a memory of its own (cross-attention). Products with weights run as
 * train_products.h has it; those of queries with keys and of weights with values are f32 always. */
#ifndef MN_ENCODER_TRAIN_TRAIN_ATTENTION_H
#define MN_ENCODER_TRAIN_TRAIN_ATTENTION_H

#include "encoder/train/dense.h"

/* n sequences: sequence i is rows offsets[i] .. offsets[i+1]. offsets[0] is 0; empty ones are allowed. */
typedef struct mn_sequences {
    const uint32_t *offsets; /* n + 1, borrowed until the step ends */
    uint32_t n;
} mn_sequences;

static inline uint32_t mn_sequences_rows(const mn_sequences *sequences)
{
    return sequences->offsets[sequences->n];
}

typedef struct mn_train_attention_options {
    uint32_t hidden, n_heads; /* n_heads divides hidden */
    uint32_t memory_width;    /* cross-attention: width of the memory's rows; 0: hidden */
    bool causal;              /* self-attention only */
    float dropout;            /* of the weights */
} mn_train_attention_options;

typedef struct mn_train_attention {
    mn_train_attention_options options;
    mn_dense query, key, value, output;
} mn_train_attention;

typedef struct mn_attention_input {
    const float *x; /* (rows, hidden) */
    mn_sequences sequences;
    const float *memory; /* (rows, memory_width), as many sequences; NULL: x itself */
    mn_sequences memory_sequences;
} mn_attention_input;

/* What backward needs, in the room; backward uses it up. */
typedef struct mn_attention_saved {
    mn_attention_input input; /* x and memory must stay as they were */
    float *q, *k, *v;         /* (rows, hidden) */
    float *weights;           /* of each sequence and head: (rows, memory rows rounded up) */
    float *context;           /* (rows, hidden) */
    uint64_t dropout_state;
    bool drops;
} mn_attention_saved;

/* Adds PREFIX.self.query, .key, .value and PREFIX.output.dense, each with .weight and .bias, as the Hugging Face
 * names of BERT are. Weights: normal, 0.02; biases 0. ERR_MEMORY. */
mneme_status mn_train_attention_add(mn_parameters *parameters, const char *prefix,
                                    const mn_train_attention_options *options, mn_train_attention *out,
                                    mneme_error *error);
/* y (rows, hidden). A sequence with an empty memory gets the output's bias alone. */
mneme_status mn_train_attention_forward(const mn_train_attention *attention, mn_shard *shard,
                                        const mn_attention_input *input, float *y, mn_attention_saved *saved,
                                        mneme_error *error);
/* dx (rows, hidden) and, with a memory, d_memory are added to; NULL: not wanted. Once for each forward. */
mneme_status mn_train_attention_backward(const mn_train_attention *attention, mn_shard *shard,
                                         mn_attention_saved *saved, const float *dy, float *dx, float *d_memory,
                                         mneme_error *error);

#endif
