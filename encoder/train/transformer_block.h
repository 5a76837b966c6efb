/* transformer_block.h -- one layer of a Transformer, with its gradients: attention, cross-attention where it is wanted,
 * and a feed-forward network, each with a residual and a LayerNorm.
 *
 * With f for any of the three:
 *     norm after (Vaswani et al. 2017; BERT)     y = LayerNorm(x + dropout(f(x)))
 *     norm before (Xiong et al. 2020; GPT-2)     y = x + dropout(f(LayerNorm(x)))   and the model ends with a LayerNorm
 */
#ifndef MN_ENCODER_TRAIN_TRANSFORMER_BLOCK_H
#define MN_ENCODER_TRAIN_TRANSFORMER_BLOCK_H

#include "encoder/train/block_kernels.h"
#include "encoder/train/layer_norm.h"
#include "encoder/train/train_attention.h"

typedef struct mn_transformer_options {
    uint32_t hidden, n_heads, intermediate; /* n_heads divides hidden */
    bool norm_first, causal;
    bool crosses;          /* cross-attention between the other two */
    uint32_t memory_width; /* of its memory's rows; 0: hidden */
    mn_block_activation activation;
    float epsilon; /* of LayerNorm */
    float dropout; /* of what is added to the residual, and of attention weights */
} mn_transformer_options;

typedef struct mn_transformer_block {
    mn_transformer_options options;
    mn_train_attention attention, cross;
    mn_dense up, down; /* down(activation(up(x))) */
    mn_layer_norm attention_norm, cross_norm, output_norm;
} mn_transformer_block;

/* One f with what goes around it. */
typedef struct mn_residual_saved {
    mn_layer_norm_saved norm;
    const float *x; /* f's input */
    uint64_t dropout_state;
    bool drops;
    union {
        mn_attention_saved attention;
        struct {
            float *wide, *activated; /* (rows, intermediate) */
        } feed;
    } of;
} mn_residual_saved;

/* What backward needs, in the room; backward uses it up. */
typedef struct mn_transformer_saved {
    uint32_t n_rows;
    bool has_memory;
    mn_residual_saved attention, cross, feed;
} mn_transformer_saved;

/* Adds the parameters under the names that Hugging Face's BertLayer gives them: PREFIX.attention.self.query.weight,
 * ..., PREFIX.attention.output.LayerNorm.weight, PREFIX.crossattention. ..., PREFIX.intermediate.dense.weight,
 * PREFIX.output.dense.weight, PREFIX.output.LayerNorm.weight (with the norm first, the LayerNorm that stands before
 * that part). Weights: normal, 0.02; biases 0. ERR_MEMORY. */
mneme_status mn_transformer_block_add(mn_parameters *parameters, const char *prefix,
                                      const mn_transformer_options *options, mn_transformer_block *out,
                                      mneme_error *error);
/* y (rows, hidden), not input->x. A block that crosses needs input->memory; without one (NULL) it leaves that part
 * out. Others ignore it. */
mneme_status mn_transformer_block_forward(const mn_transformer_block *block, mn_shard *shard,
                                          const mn_attention_input *input, float *y, mn_transformer_saved *saved,
                                          mneme_error *error);
/* dx (rows, hidden), which may be dy; d_memory is added to, NULL: not wanted. Once for each forward. */
mneme_status mn_transformer_block_backward(const mn_transformer_block *block, mn_shard *shard,
                                           mn_transformer_saved *saved, const float *dy, float *dx, float *d_memory,
                                           mneme_error *error);

#endif
