/* recurrent.h -- a stack of LSTM or GRU layers, one or both directions, forward and backward through time.
 *
 * Sequences of different lengths lie as PyTorch's PackedSequence has them: longest first, step by step, without
 * padding. Row offsets[t] + b is step t of sequence b:
 *
 *     step 0           step 1        step 2     offsets
 *     | a0 b0 c0 |     | a1 b1 |     | a2 |     {0, 3, 5, 6}
 *
 * The other direction begins with a sequence's last step. Formulas, the order of gates and the names of parameters
 * are PyTorch's: PREFIX.weight_ih_l0 (G H, n_in), .weight_hh_l0 (G H, H), .bias_ih_l0, .bias_hh_l0 (G H), then
 * ..._l0_reverse, ..._l1; G: 4 (LSTM: i, f, g, o) or 3 (GRU: r, z, n); H: n_hidden. Layers above the first read
 * H times directions columns. */
#ifndef MN_ENCODER_TRAIN_RECURRENT_H
#define MN_ENCODER_TRAIN_RECURRENT_H

#include "encoder/train/cell_kernels.h"
#include "encoder/train/shard.h"

typedef struct mn_recurrent_options {
    mn_cell cell;
    uint32_t n_in, n_hidden, n_layers; /* each at least 1 */
    bool bidirectional;
    float dropout; /* of the outputs of all layers but the last, in training; in [0, 1) */
} mn_recurrent_options;

/* One direction of one layer. */
typedef struct mn_recurrent_weights {
    mn_parameter *weight_ih, *weight_hh, *bias_ih, *bias_hh;
} mn_recurrent_weights;

typedef struct mn_recurrent {
    mn_recurrent_options options;
    mn_recurrent_weights *weights; /* (n_layers, directions); lives as long as the parameters */
} mn_recurrent;

static inline uint32_t mn_recurrent_directions(const mn_recurrent *recurrent)
{
    return recurrent->options.bidirectional ? 2 : 1;
}
/* Columns of the output. */
static inline uint32_t mn_recurrent_width(const mn_recurrent *recurrent)
{
    return recurrent->options.n_hidden * mn_recurrent_directions(recurrent);
}

/* Adds the parameters, uniform in +-1/sqrt(n_hidden) as PyTorch's. ERR_MEMORY. */
mneme_status mn_recurrent_add(mn_parameters *parameters, const char *prefix, const mn_recurrent_options *options,
                              mn_recurrent *out, mneme_error *error);
/* LSTM, after mn_parameters_ready: adds 1 to the bias of every forget gate, so that training begins with a memory
 * that keeps (Jozefowicz, Zaremba, Sutskever 2015). PyTorch does not. */
void mn_recurrent_open_forget_gates(const mn_recurrent *recurrent);

/* Which rows are one step: offsets[t] is the first row of step t, offsets[n_steps] the number of rows. Steps do not
 * grow, and none is empty. */
typedef struct mn_time_steps {
    uint32_t n_steps;
    const uint32_t *offsets; /* (n_steps + 1) */
} mn_time_steps;

static inline uint32_t mn_step_rows(const mn_time_steps *steps, uint32_t t)
{
    return steps->offsets[t + 1] - steps->offsets[t];
}

/* What comes in. All is borrowed until backward is done, but for the states, which forward alone touches. B: sequences,
 * that is rows of step 0.
 *
 * Where rows repeat, as those of an embedding do, x holds each once and row_of says which is whose: the products with
 * W_ih and their gradients are then computed once for each row of x. */
typedef struct mn_recurrent_input {
    mn_time_steps steps;
    const float *x;         /* (n_x, n_in) */
    const uint32_t *row_of; /* (rows): row of x, for each row of the steps; NULL: n_x = rows, in order */
    uint32_t n_x;
    const float *h_first, *c_first; /* (layers * directions, B, H): states to begin with; NULL = zeros. c: LSTM alone */
    float *h_last, *c_last;         /* the same: become the states after each sequence's last step; NULL: not wanted;
                                       may be h_first and c_first: truncated back-propagation carries them over */
} mn_recurrent_input;

typedef struct mn_recurrent_saved mn_recurrent_saved; /* in the shard's room */

/* y (rows, H * directions); the caller may change it afterwards. */
mneme_status mn_recurrent_forward(const mn_recurrent *recurrent, mn_shard *shard, const mn_recurrent_input *input,
                                  float *y, mn_recurrent_saved **saved, mneme_error *error);
/* Once for each forward: what it saved is used up. dy (rows, H * directions); dx (n_x, n_in) is overwritten, NULL: not
 * wanted. No gradient passes through the states to begin with. */
mneme_status mn_recurrent_backward(const mn_recurrent *recurrent, mn_shard *shard, mn_recurrent_saved *saved,
                                   const float *dy, float *dx, mneme_error *error);

#endif
