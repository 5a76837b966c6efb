/* recurrent_layer.h -- one direction of one layer of recurrent.h, through all steps. For recurrent.c alone. */
#ifndef MN_ENCODER_TRAIN_RECURRENT_LAYER_H
#define MN_ENCODER_TRAIN_RECURRENT_LAYER_H

#include "encoder/train/recurrent.h"

/* Rows that are multiplied by W_ih at once, and summed into its gradient: of whole steps, so one step may have more.
 * The depth of one block of products (train_products.c). */
enum { MN_LAYER_ROWS = 384 };

/* What a layer reads: x as in mn_recurrent_input. */
typedef struct mn_layer_input {
    const mn_time_steps *steps;
    const float *x;
    size_t n_in;
    const uint32_t *row_of;
    uint32_t n_x;
} mn_layer_input;

/* One direction on its way; what backward needs is in the shard's room.
 *
 *     recurrent   (rows, G H)   i f g o; GRU: r z W_hn h + b_hn
 *     inner       (rows, 3 H)   GRU: . . n
 *     h_before    (rows, H)     and c_before */
typedef struct mn_layer_direction {
    mn_cell cell;
    uint32_t n_hidden;
    bool reverse;
    bool from_zero; /* no states to begin with */
    const mn_recurrent_weights *weights;
    mn_layer_input input;
    float *recurrent, *inner, *h_before, *c_before;
    float *h, *c; /* (B, H): forward's states; backward's gradients of them */
} mn_layer_direction;

typedef struct mn_layer_states {
    const float *h_first, *c_first; /* (B, H); NULL = zeros */
    float *h_last, *c_last;         /* NULL: not wanted */
} mn_layer_states;

/* y: columns of this direction, rows of y_stride. products: room for G H columns of MN_LAYER_ROWS rows, of step 0's and
 * of n_x where rows share them; free again afterwards. */
typedef struct mn_layer_forward {
    mn_layer_states states;
    float *products;
    float *y;
    size_t y_stride;
} mn_layer_forward;

/* direction: cell, n_hidden, reverse, weights and input are set. */
mneme_status mn_layer_direction_forward(mn_layer_direction *direction, mn_shard *shard, const mn_layer_forward *call,
                                        mneme_error *error);

typedef struct mn_layer_backward {
    const float *dy; /* columns of this direction */
    size_t dy_stride;
    float *dx;   /* (n_x, n_in); NULL: not wanted */
    bool add_dx; /* dx += instead of dx = */
} mn_layer_backward;

mneme_status mn_layer_direction_backward(mn_layer_direction *direction, mn_shard *shard, const mn_layer_backward *call,
                                         mneme_error *error);

#endif
