/* gate_kernels.h -- what an LSTM or GRU encoder does between its products: the gates of a step, and pooling.
 *
 * Inference alone: nothing is kept but the state. Gates lie one after the other in a row, each of H numbers, in
 * PyTorch's order:
 *
 *     LSTM   i f g o    c' = sigmoid(f) c + sigmoid(i) tanh(g)    h' = sigmoid(o) tanh(c')
 *     GRU    r z n      n  = tanh(input n + sigmoid(r) recurrent n)    h' = (1 - sigmoid(z)) n + sigmoid(z) h
 *
 * each gate being input + recurrent (Hochreiter, Schmidhuber 1997, "Long short-term memory", with the forget gate of
 * Gers et al. 2000; Cho et al. 2014, the reset gate behind the product as in cuDNN). Three implementations of one
 * table: plain C in double precision (the proof), AVX2, AVX-512. */
#ifndef MN_ENCODER_GATE_KERNELS_H
#define MN_ENCODER_GATE_KERNELS_H

#include "encoder/kernels.h"

/* One step of n_rows sequences; H = hidden, G = gates. */
typedef struct mn_gate_step {
    uint32_t n_rows, hidden;
    const float *input;         /* rows of G H: W_ih x + b */
    const uint32_t *input_rows; /* (n_rows): which of them; NULL: they lie in order */
    const float *recurrent;     /* (n_rows, G H): W_hh h + b */
    size_t recurrent_stride;    /* 0: one row for all, of sequences that begin here */
    float *c;                   /* LSTM: (n_rows, H), before and after */
    const float *h_before;      /* GRU: (n_rows, H), h_stride; NULL: zeros */
    float *h;                   /* (n_rows, H), h_stride: after */
    size_t h_stride;
    const mn_row_format *format; /* of operand */
    uint32_t *operand;           /* (n_rows) rows of operand_groups: h as the next product reads it; NULL: not wanted */
    size_t operand_groups;       /* what lies behind H numbers is not written */
} mn_gate_step;

/* Integers of an operand stand for -1..1, as no state is beyond: so there is one scale, and no search for it. */
static inline float mn_gate_scale(const mn_row_format *format)
{
    return (format->from_zero ? 2.0f : 1.0f) / (float)format->limit;
}
static inline float mn_gate_low(const mn_row_format *format)
{
    return format->from_zero ? -1.0f : 0.0f;
}

typedef struct mn_gate_kernels {
    const char *name; /* "reference", "avx2", "avx512" */
    void (*lstm)(const mn_gate_step *step);
    void (*gru)(const mn_gate_step *step);
    float (*dot)(const float *a, const float *b, size_t n);
    void (*add_scaled)(float *sum, const float *x, float factor, size_t n); /* sum += factor x */
} mn_gate_kernels;

/* The table for a level; a level that this build or processor lacks gives the next lower one. */
const mn_gate_kernels *mn_gate_kernels_for(mn_cpu_level level);
const mn_gate_kernels *mn_gate_kernels_reference(void);
/* Only to be called through mn_gate_kernels_for, on a processor that has the level. */
const mn_gate_kernels *mn_gate_kernels_avx2(void);
const mn_gate_kernels *mn_gate_kernels_avx512(void);

#endif
