/* layer_norm.h -- y = LayerNorm(x), with its gradients (Ba, Kiros, Hinton 2016). */
#ifndef MN_ENCODER_TRAIN_LAYER_NORM_H
#define MN_ENCODER_TRAIN_LAYER_NORM_H

#include "encoder/train/shard.h"

typedef struct mn_layer_norm {
    mn_parameter *gain, *shift; /* (1, n) */
    float epsilon;
} mn_layer_norm;

/* What backward needs; x must stay as it was. */
typedef struct mn_layer_norm_saved {
    const float *x;
    float *means, *scales; /* (n_rows), in the room */
    uint32_t n_rows;
} mn_layer_norm_saved;

/* Adds PREFIX.weight (ones) and PREFIX.bias (zeros). ERR_MEMORY. */
mneme_status mn_layer_norm_add(mn_parameters *parameters, const char *prefix, uint32_t n, float epsilon,
                               mn_layer_norm *out, mneme_error *error);
/* y (n_rows, n) from x; y is not x. */
mneme_status mn_layer_norm_forward(const mn_layer_norm *norm, mn_shard *shard, const float *x, uint32_t n_rows,
                                   float *y, mn_layer_norm_saved *saved, mneme_error *error);
/* dx (n_rows, n) = gradient + residual (NULL: none). dx may be dy, and residual may be either. */
void mn_layer_norm_backward(const mn_layer_norm *norm, mn_shard *shard, const mn_layer_norm_saved *saved,
                            const float *dy, const float *residual, float *dx);

#endif
