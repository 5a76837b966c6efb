/* linear.c -- the common part of the two products, and the reference one: plain loops, f32 products summed in f64. */
#include "encoder/linear.h"

#include "common/memory.h"

#include <string.h>

typedef struct reference_linear {
    mn_linear base;
    float *weight; /* (n_out, n_in) */
} reference_linear;

static mneme_status reference_run(mn_linear *linear, const float *x, uint32_t rows, float *y, mneme_error *error)
{
    (void)error;
    const float *weight = ((reference_linear *)linear)->weight;
    size_t n_in = linear->n_in, n_out = linear->n_out;
    for (size_t row = 0; row < rows; row++) {
        for (size_t o = 0; o < n_out; o++) {
            double sum = 0;
            for (size_t i = 0; i < n_in; i++) sum += (double)x[row * n_in + i] * (double)weight[o * n_in + i];
            y[row * n_out + o] = (float)sum;
        }
    }
    return MNEME_OK;
}

static void reference_destroy(mn_linear *linear)
{
    mn_free(((reference_linear *)linear)->weight);
    mn_free(linear);
}

mneme_status mn_linear_new_reference(const float *weight, uint32_t n_out, uint32_t n_in, mn_linear **out,
                                     mneme_error *error)
{
    *out = NULL;
    reference_linear *linear = mn_alloc_zeroed(1, sizeof *linear);
    if (!linear) return mn_fail_memory(error, "weights");
    linear->base = (mn_linear){.run = reference_run, .destroy = reference_destroy, .n_out = n_out, .n_in = n_in};
    linear->weight = mn_alloc_array((size_t)n_out * n_in, sizeof(float));
    if (!linear->weight) {
        reference_destroy(&linear->base);
        return mn_fail_memory(error, "weights");
    }
    memcpy(linear->weight, weight, (size_t)n_out * n_in * sizeof(float));
    *out = &linear->base;
    return MNEME_OK;
}

mneme_status mn_linear_run(mn_linear *linear, const float *x, uint32_t rows, float *y, mneme_error *error)
{
    return linear->run(linear, x, rows, y, error);
}

void mn_linear_free(mn_linear *linear)
{
    if (linear) linear->destroy(linear);
}
