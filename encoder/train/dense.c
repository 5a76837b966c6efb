/* dense.c -- see dense.h. */
#include "encoder/train/dense.h"

#include <math.h>

mneme_status mn_dense_add(mn_parameters *parameters, const char *prefix, uint32_t n_in, uint32_t n_out, bool with_bias,
                          mn_dense *out, mneme_error *error)
{
    float scale = 1 / sqrtf((float)n_in);
    const mn_parameter_options weight = {
        .rows = n_out, .columns = n_in, .initial = MN_INITIAL_UNIFORM, .scale = scale, .decays = true, .packed = true};
    const mn_parameter_options bias = {.rows = 1, .columns = n_out, .initial = MN_INITIAL_UNIFORM, .scale = scale};
    out->weight = mn_parameters_add(parameters, &weight, "%s.weight", prefix);
    out->bias = with_bias ? mn_parameters_add(parameters, &bias, "%s.bias", prefix) : NULL;
    return out->weight && (out->bias || !with_bias) ? MNEME_OK : mn_fail_memory(error, prefix);
}

mneme_status mn_dense_forward(const mn_dense *dense, mn_shard *shard, const float *x, uint32_t n, float *y,
                              mneme_error *error)
{
    const mn_parameter_options *shape = &dense->weight->options;
    const mn_product_out out = {.c = y, .stride = shape->rows, .bias = dense->bias ? dense->bias->value : NULL};
    return mn_multiply_right(shard->arithmetic, &shard->scratch, x, shape->columns, n, &dense->weight->forward, &out,
                             error);
}

mneme_status mn_weight_gradient(mn_shard *shard, const mn_parameter *weight, const float *dy, const float *x,
                                uint32_t n, mneme_error *error)
{
    uint32_t n_out = weight->options.rows, n_in = weight->options.columns;
    const mn_transposed_product product = {.a = dy,
                                           .a_stride = n_out,
                                           .b = x,
                                           .b_stride = n_in,
                                           .k = n,
                                           .m = n_out,
                                           .n = n_in,
                                           .c = mn_gradient_of(shard, weight),
                                           .c_stride = n_in};
    return mn_multiply_transposed(shard->arithmetic, &shard->scratch, &product, error);
}

mneme_status mn_dense_backward(const mn_dense *dense, mn_shard *shard, const float *x, const float *dy, uint32_t n,
                               float *dx, mneme_error *error)
{
    uint32_t n_out = dense->weight->options.rows, n_in = dense->weight->options.columns;
    mneme_status status = MNEME_OK;
    if (!dense->weight->frozen) status = mn_weight_gradient(shard, dense->weight, dy, x, n, error);
    if (dense->bias)
        shard->arithmetic->train_kernels->add_rows(dy, n_out, n, n_out, mn_gradient_of(shard, dense->bias));
    if (status != MNEME_OK || !dx) return status;
    const mn_product_out out = {.c = dx, .stride = n_in};
    return mn_multiply_right(shard->arithmetic, &shard->scratch, dy, n_out, n, &dense->weight->backward, &out, error);
}
