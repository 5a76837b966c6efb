/* train_kernels.h -- what training does between its products, one pass over memory each.
 *
 * Three implementations of one table: plain C in double precision (the proof), AVX2, AVX-512. All on the calling
 * thread.
 */
#ifndef MN_ENCODER_TRAIN_TRAIN_KERNELS_H
#define MN_ENCODER_TRAIN_TRAIN_KERNELS_H

#include "common/cpu.h"

#include <stddef.h>
#include <stdint.h>

/* One step of Adam with decoupled weight decay: Kingma, Ba 2015; Loshchilov, Hutter 2019, as PyTorch's AdamW. */
typedef struct mn_adam_numbers {
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    float correction1, correction2; /* 1 - beta^step */
    float gradient_scale;           /* of clipping and accumulation */
} mn_adam_numbers;

typedef struct mn_train_kernels {
    const char *name;
    /* c (n_rows, n) += or = tile, rows of tile_stride; bias (n): NULL = none. */
    void (*store_tile)(const float *tile, size_t tile_stride, uint32_t n_rows, uint32_t n, const float *bias, bool add,
                       float *c, size_t stride);
    /* sums (n) += the rows of x (n_rows, n). */
    void (*add_rows)(const float *x, size_t stride, size_t n_rows, uint32_t n, float *sums);
    /* w, m, v (n) by the gradient g (n). */
    void (*adam)(const mn_adam_numbers *numbers, const float *g, float *w, float *m, float *v, size_t n);
    /* loss and gradient of softmax cross-entropy: logits (n_rows, n) become (softmax - one-hot) * scale; a target of
     * n or more counts nothing (its row becomes 0). Returns the sum of -log p(target). */
    double (*cross_entropy)(float *logits, uint32_t n_rows, uint32_t n, const uint32_t *targets, float scale);
    /* out (columns, rows) = x (rows, columns), turned around. */
    void (*transpose)(const float *x, size_t x_stride, size_t rows, size_t columns, float *out, size_t out_stride);
    /* The sum of the squares of x (n). */
    double (*squares)(const float *x, size_t n);
} mn_train_kernels;

const mn_train_kernels *mn_train_kernels_for(mn_cpu_level level);
const mn_train_kernels *mn_train_kernels_reference(void);
/* Only to be called through mn_train_kernels_for, on a processor that has the level. */
const mn_train_kernels *mn_train_kernels_avx2(void);
const mn_train_kernels *mn_train_kernels_avx512(void);

#endif
