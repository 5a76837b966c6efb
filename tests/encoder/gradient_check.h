/* gradient_check.h -- gradients against central finite differences of the loss.
 *
 * The loss runs forward in f32, so a difference of values h apart carries noise of about 1e-7 / h and an error of order
 * h^2: at h = 1e-2 both are near 1e-4 of a loss near 1. */
#ifndef MN_TESTS_GRADIENT_CHECK_H
#define MN_TESTS_GRADIENT_CHECK_H

#include "test_support.h"

#include "encoder/train/shard.h"

#include <math.h>
#include <stdio.h>

typedef struct gradient_check {
    mn_parameters *parameters; /* may be NULL when only `inputs` are checked */
    mn_threads *threads;
    double (*loss)(void *context); /* of the present values; does not touch the gradients that are checked */
    void *context;
    double h, tolerance; /* |numeric - analytic| <= tolerance * (1 + |analytic|) */
    size_t most;         /* elements of each array that are looked at: every n-th; 0 = all */
} gradient_check;

/* Elements of `values` against `gradient`; name is for the message. Returns the largest difference. */
static inline double check_array_gradient(const gradient_check *c, const char *name, float *values,
                                          const float *gradient, size_t n)
{
    size_t step = c->most && n > c->most ? n / c->most : 1;
    double largest = 0;
    for (size_t i = 0; i < n; i += step) {
        float value = values[i];
        double losses[2];
        for (int side = 0; side < 2; side++) {
            values[i] = (float)((double)value + (side ? c->h : -c->h));
            if (c->parameters) mn_parameters_pack(c->parameters, c->threads);
            losses[side] = c->loss(c->context);
        }
        double width = (double)(float)((double)value + c->h) - (double)(float)((double)value - c->h);
        values[i] = value;
        double numeric = (losses[1] - losses[0]) / width, analytic = (double)gradient[i];
        double difference = fabs(numeric - analytic);
        if (!(difference <= c->tolerance * (1 + fabs(analytic))))
            fail_msg("%s[%zu]: gradient %.6g, finite differences %.6g", name, i, analytic, numeric);
        largest = fmax(largest, difference / (1 + fabs(analytic)));
    }
    if (c->parameters) mn_parameters_pack(c->parameters, c->threads);
    return largest;
}

/* Every dense parameter against the gradients of `shard`, which must come from one forward and backward. Each must have
 * some gradient that is not zero. */
static inline void check_parameter_gradients(const gradient_check *c, const mn_shard *shard)
{
    for (size_t i = 0; i < c->parameters->n; i++) {
        const mn_parameter *p = c->parameters->items[i];
        size_t n = (size_t)p->options.rows * p->options.columns;
        if (p->options.sparse || p->frozen) continue;
        float *analytic = malloc(n * sizeof *analytic), any = 0;
        memcpy(analytic, mn_gradient_of(shard, p), n * sizeof *analytic);
        for (size_t j = 0; j < n; j++) any += fabsf(analytic[j]);
        if (!(any > 0)) fail_msg("%s: no gradient at all", p->name);
        double largest = check_array_gradient(c, p->name, p->value, analytic, n);
        print_message("%s: largest difference %.2g\n", p->name, largest);
        free(analytic);
    }
}

#endif
