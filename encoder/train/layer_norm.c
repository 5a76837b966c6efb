/* layer_norm.c -- see layer_norm.h; the work is in block_kernels.h. */
#include "encoder/train/layer_norm.h"

#include "encoder/train/block_kernels.h"

mneme_status mn_layer_norm_add(mn_parameters *parameters, const char *prefix, uint32_t n, float epsilon,
                               mn_layer_norm *out, mneme_error *error)
{
    const mn_parameter_options gain = {.rows = 1, .columns = n, .initial = MN_INITIAL_ONE};
    const mn_parameter_options shift = {.rows = 1, .columns = n, .initial = MN_INITIAL_ZERO};
    out->gain = mn_parameters_add(parameters, &gain, "%s.weight", prefix);
    out->shift = mn_parameters_add(parameters, &shift, "%s.bias", prefix);
    out->epsilon = epsilon;
    return out->gain && out->shift ? MNEME_OK : mn_fail_memory(error, prefix);
}

static mn_norm_rows rows_of(const mn_layer_norm *norm, const mn_layer_norm_saved *saved)
{
    return (mn_norm_rows){.x = saved->x,
                          .gain = norm->gain->value,
                          .shift = norm->shift->value,
                          .means = saved->means,
                          .scales = saved->scales,
                          .epsilon = norm->epsilon,
                          .n_rows = saved->n_rows,
                          .n = norm->gain->options.columns};
}

mneme_status mn_layer_norm_forward(const mn_layer_norm *norm, mn_shard *shard, const float *x, uint32_t n_rows,
                                   float *y, mn_layer_norm_saved *saved, mneme_error *error)
{
    *saved = (mn_layer_norm_saved){.x = x, .n_rows = n_rows};
    mneme_status status = mn_shard_floats(shard, n_rows, &saved->means, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, n_rows, &saved->scales, error);
    if (status != MNEME_OK) return status;
    const mn_norm_rows rows = rows_of(norm, saved);
    mn_block_kernels_beside(shard->arithmetic)->norm(&rows, y);
    return MNEME_OK;
}

void mn_layer_norm_backward(const mn_layer_norm *norm, mn_shard *shard, const mn_layer_norm_saved *saved,
                            const float *dy, const float *residual, float *dx)
{
    const mn_norm_rows rows = rows_of(norm, saved);
    const mn_norm_gradients gradients = {.dy = dy,
                                         .residual = residual,
                                         .dx = dx,
                                         .d_gain = mn_gradient_of(shard, norm->gain),
                                         .d_shift = mn_gradient_of(shard, norm->shift)};
    mn_block_kernels_beside(shard->arithmetic)->norm_backward(&rows, &gradients);
}
