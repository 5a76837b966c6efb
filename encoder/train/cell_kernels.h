/* cell_kernels.h -- one time step of an LSTM or GRU cell between its products, one pass over memory each.
 *
 * LSTM (Hochreiter, Schmidhuber 1997, with the forget gate of Gers, Schmidhuber, Cummins 2000), gates in the order
 * i, f, g, o, each of n_hidden columns:
 *
 *     a = W_ih x + b_ih + W_hh h + b_hh
 *     i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)    g = tanh(a_g)
 *     c' = f c + i g                                        h' = o tanh(c')
 *
 * GRU (Cho et al. 2014, with the reset gate behind the product as in cuDNN and PyTorch), in the order r, z, n:
 *
 *     r, z = sigmoid of the sums as above    n = tanh(W_in x + b_in + r (W_hn h + b_hn))    h' = (1 - z) n + z h
 *
 * Three implementations of one table: plain C in double precision (the proof), AVX2, AVX-512. All on the calling
 * thread. B: rows of the step, H: n_hidden, G: gates, 4 or 3. */
#ifndef MN_ENCODER_TRAIN_CELL_KERNELS_H
#define MN_ENCODER_TRAIN_CELL_KERNELS_H

#include "common/cpu.h"
#include "encoder/cell.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mn_cell_step {
    uint32_t n_rows, n_hidden;
    const float *input;         /* W_ih x + b_ih, rows of G H */
    const uint32_t *input_rows; /* (B): which row of input is a row's own; NULL: they lie in order */
    float *recurrent;           /* (B, G H): W_hh h + b_hh. Becomes i, f, g, o; GRU: r, z, W_hn h + b_hn */
    float *inner;               /* GRU: (B, 3 H), of which the last third becomes n; may be input */
    float *h, *c;               /* (B, H): the state before, becomes the state after; c: LSTM alone */
    float *h_before, *c_before; /* (B, H): become the state before, for backward */
    float *y;                   /* (B, H), y_stride: becomes h' too */
    size_t y_stride;
} mn_cell_step;

typedef struct mn_cell_gradient {
    uint32_t n_rows, n_hidden;
    float *recurrent;                 /* as forward left it; becomes the gradient of W_hh h + b_hh */
    float *inner;                     /* GRU: as forward left it; becomes the gradient of W_ih x + b_ih. LSTM: the
                                         gradient is that of recurrent */
    const float *h_before, *c_before; /* as forward left them */
    const float *dy;                  /* (B, H), dy_stride: gradient of y */
    size_t dy_stride;
    float *dh; /* (B, H): gradient of h' from the later step. GRU: becomes that of h but for W_hh's part */
    float *dc; /* LSTM: (B, H), gradient of c' from the later step; becomes that of c */
} mn_cell_gradient;

typedef struct mn_cell_kernels {
    const char *name;
    void (*forward[MN_CELL_COUNT])(const mn_cell_step *step); /* by mn_cell */
    void (*backward[MN_CELL_COUNT])(const mn_cell_gradient *step);
} mn_cell_kernels;

/* The table for a level; a level that this build or processor lacks gives the next lower one. */
const mn_cell_kernels *mn_cell_kernels_for(mn_cpu_level level);
const mn_cell_kernels *mn_cell_kernels_reference(void);
/* Only to be called through mn_cell_kernels_for, on a processor that has the level. */
const mn_cell_kernels *mn_cell_kernels_avx2(void);
const mn_cell_kernels *mn_cell_kernels_avx512(void);

#endif
