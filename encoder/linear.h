/* linear.h -- y = x W^T, the product that nearly all of a Transformer's time goes into.
 *
 * Two implementations: oneDNN with packed weights (linear_onednn.c), and plain C for proof and for processors that
 * oneDNN does not serve (linear_reference.c). */
#ifndef MN_ENCODER_LINEAR_H
#define MN_ENCODER_LINEAR_H

#include "common/cpu.h"
#include "common/error.h"

typedef struct mn_linear mn_linear;

/* Rows of x and y are processed in multiples of this: both must have room for rows rounded up. */
#define MN_LINEAR_ROW_MULTIPLE 16u

/* weight: (n_out, n_in) row-major f32, borrowed for the call (packed or copied). ERR_INTERNAL carries oneDNN's status. */
mneme_status mn_linear_new_onednn(const float *weight, uint32_t n_out, uint32_t n_in, mn_linear **out, mneme_error *error);
mneme_status mn_linear_new_reference(const float *weight, uint32_t n_out, uint32_t n_in, mn_linear **out,
                                     mneme_error *error);
void mn_linear_free(mn_linear *linear);

/* y (rows, n_out) = x (rows, n_in) W^T, row-major; rows up to the next multiple of MN_LINEAR_ROW_MULTIPLE are read and
 * written as well. A row's result does not depend on the other rows. Any thread; runs on the calling thread alone, which
 * must be inside mn_linear_one_thread_begin/end. */
mneme_status mn_linear_run(mn_linear *linear, const float *x, uint32_t rows, float *y, mneme_error *error);

/* Keep oneDNN to instructions of at most `level`. It holds for the whole process and only before oneDNN's first product;
 * later calls change nothing. MN_CPU_AVX512 = no limit. */
void mn_linear_limit(mn_cpu_level level);

/* oneDNN would share out one product over OpenMP's threads; mneme shares out sequences instead. Begin sets this thread's
 * OpenMP width to one and returns the width before, end restores it. */
int mn_linear_one_thread_begin(void);
void mn_linear_one_thread_end(int width_before);

/* What an implementation fills in; mn_linear is the head of its own struct. */
struct mn_linear {
    mneme_status (*run)(mn_linear *linear, const float *x, uint32_t rows, float *y, mneme_error *error);
    void (*destroy)(mn_linear *linear);
    uint32_t n_out, n_in;
};

#endif
