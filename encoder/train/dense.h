/* dense.h -- y = x W^T + b, and its gradients. */
#ifndef MN_ENCODER_TRAIN_DENSE_H
#define MN_ENCODER_TRAIN_DENSE_H

#include "encoder/train/shard.h"

typedef struct mn_dense {
    mn_parameter *weight; /* (n_out, n_in) */
    mn_parameter *bias;   /* (1, n_out); NULL = none */
} mn_dense;

/* Adds PREFIX.weight and PREFIX.bias, uniform in +-1/sqrt(n_in), as PyTorch's Linear. ERR_MEMORY. */
mneme_status mn_dense_add(mn_parameters *parameters, const char *prefix, uint32_t n_in, uint32_t n_out, bool with_bias,
                          mn_dense *out, mneme_error *error);
/* y (n, n_out) from x (n, n_in). */
mneme_status mn_dense_forward(const mn_dense *dense, mn_shard *shard, const float *x, uint32_t n, float *y,
                              mneme_error *error);
/* dx (n, n_in) = dy W; NULL: not wanted. x as in forward. */
mneme_status mn_dense_backward(const mn_dense *dense, mn_shard *shard, const float *x, const float *dy, uint32_t n,
                               float *dx, mneme_error *error);

/* Of y = x W^T with dy (n, n_out) and x (n, n_in): dW is added to the shard's gradients. */
mneme_status mn_weight_gradient(mn_shard *shard, const mn_parameter *weight, const float *dy, const float *x,
                                uint32_t n, mneme_error *error);

#endif
