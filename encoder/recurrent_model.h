/* recurrent_model.h -- LSTM and GRU encoders: weights from model.safetensors, the forward pass, pooling.
 *
 * Per layer and direction PyTorch's cell (gate_kernels.h has the formulas), the second direction from each text's last
 * token to its first; layers above the first read both directions' states of the one below. With h_t the last layer's
 * states (both directions side by side) and e_t the tokens' rows of the table:
 *
 *     a      = softmax over the text's tokens of (w . h_t + b), or 1 / length
 *     joined = sum a_t h_t, with join_tokens [sum a_t h_t ; sum a_t e_t]
 *     vector = W joined + b, scaled to unit length
 *
 * Attentive pooling after Lin et al. 2017, "A Structured Self-attentive Sentence Embedding", with one head and no layer
 * between. Inference only. */
#ifndef MN_ENCODER_RECURRENT_MODEL_H
#define MN_ENCODER_RECURRENT_MODEL_H

#include "common/crew.h"
#include "encoder/encoder.h"
#include "encoder/gate_kernels.h"
#include "encoder/linear.h"
#include "encoder/recurrent_config.h"

typedef struct mn_recurrent_model mn_recurrent_model;

typedef struct mn_recurrent_model_options {
    const char *folder;
    const mn_recurrent_config *config;
    mn_arithmetic arithmetic;     /* of the layers */
    mn_arithmetic output;         /* of the product at the end, once for each text: F32 */
    const mn_gate_kernels *gates; /* of the same instructions */
    uint32_t unknown;             /* the token that stands for an empty text */
    const void *packed; /* NULL, or the image of an earlier call (mn_recurrent_model_image), borrowed until close */
    size_t packed_size;
    unsigned workers; /* how many threads will call mn_recurrent_model_encode at once */
} mn_recurrent_model_options;

/* Load the weights of folder/model.safetensors, packed for the arithmetic. ERR_MODEL names the tensor that is missing,
 * of the wrong shape, or not finite; ERR_DAMAGED: packed is not of the size that is needed. */
mneme_status mn_recurrent_model_open(const mn_recurrent_model_options *options, mn_recurrent_model **out,
                                     mneme_error *error);
void mn_recurrent_model_close(mn_recurrent_model *model);

/* See mn_encoder_operations.encode; a text of no tokens is one unknown token. crew: NULL, or between its begin and end:
 * the two directions are shared out; then worker is 0, and no other thread encodes meanwhile. */
mneme_status mn_recurrent_model_encode(mn_recurrent_model *model, const mn_token_batch *batch, unsigned worker,
                                       mn_crew *crew, float *vectors, mneme_error *error);

uint64_t mn_recurrent_model_parameters(const mn_recurrent_model *model);
/* The packed weights; borrowed until close. */
const void *mn_recurrent_model_image(const mn_recurrent_model *model, size_t *size);
uint64_t mn_recurrent_model_fingerprint(const mn_recurrent_model *model);

#endif
