/* kernels.h -- what a Transformer layer does between its products, one pass over memory each.
 *
 * Three implementations of one table: plain C in double precision (the proof), AVX2, AVX-512. All work on row-major f32
 * and on the calling thread. T: tokens, H: hidden size, L: tokens of one sequence, D: size of one head. */
#ifndef MN_ENCODER_KERNELS_H
#define MN_ENCODER_KERNELS_H

#include "common/cpu.h"

#include <stdint.h>

typedef struct mn_attention_shape {
    uint32_t length;     /* L */
    uint32_t n_heads;
    uint32_t head;       /* D */
    size_t input_stride; /* floats from one token's row to the next in qkv: 3 * n_heads * head */
    size_t output_stride;
} mn_attention_shape;

typedef struct mn_kernels {
    const char *name; /* "reference", "avx2", "avx512" */

    /* x (T,H) = LayerNorm(x + bias + residual) * gain + shift. bias, residual: NULL = none. residual (T,H).
     * Ba, Kiros, Hinton 2016, "Layer Normalization"; variance is the biased one. */
    void (*add_layer_norm)(float *x, const float *bias, const float *residual, const float *gain, const float *shift,
                           float epsilon, uint32_t tokens, uint32_t hidden);

    /* x (T,N) = GELU(x + bias), the exact form x/2 (1 + erf(x / sqrt 2)): Hendrycks, Gimpel 2016. */
    void (*bias_gelu)(float *x, const float *bias, uint32_t tokens, uint32_t n);

    /* x (T,N) = max(0, x + bias). */
    void (*bias_relu)(float *x, const float *bias, uint32_t tokens, uint32_t n);

    /* Attention of one sequence, all heads: out[t, h] = softmax(q k^T / sqrt D) v, where a token's row of qkv holds q,
     * k and v without their biases, heads one after the other: bias (3 * n_heads * D) is added here (qkv is changed).
     * scratch: mn_attention_scratch floats. Vaswani et al. 2017, equation 1. */
    void (*attention)(float *qkv, const float *bias, const mn_attention_shape *shape, float *scratch, float *out);
} mn_kernels;

/* Floats of scratch that attention needs for sequences up to `length`. */
size_t mn_attention_scratch(uint32_t length, uint32_t head);

/* The table for a level; a level that this build or processor lacks gives the next lower one. */
const mn_kernels *mn_kernels_for(mn_cpu_level level);
const mn_kernels *mn_kernels_reference(void);
/* Only to be called through mn_kernels_for, on a processor that has the level. */
const mn_kernels *mn_kernels_avx2(void);
const mn_kernels *mn_kernels_avx512(void);

#endif
