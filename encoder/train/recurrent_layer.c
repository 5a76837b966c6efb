/* recurrent_layer.c -- one direction of one layer of LSTM or GRU cells, forward and backward through time.
 *
 * The states of all sequences are one matrix (B, H), of which a step changes the first rows. So where sequences begin
 * and end needs no copies: a row that has not begun holds its first state, one that has ended its last. Going backward
 * the same is true of the gradients of the states, which begin with zeros.
 *
 *     forward     P = x W_ih^T + b_ih, all steps at once          backward   for each step, last first:
 *                 for each step:                                               cell
 *                     R = h W_hh^T + b_hh                                      dh (+)= dR W_hh
 *                     cell                                                   dW_ih, dW_hh, db, dx, all steps at once */
#include "encoder/train/recurrent_layer.h"

#include <string.h>

static size_t n_rows_of(const mn_layer_direction *d)
{
    return d->input.steps->offsets[d->input.steps->n_steps];
}

static uint32_t n_gates_of(const mn_layer_direction *d)
{
    return mn_cell_gates(d->cell) * d->n_hidden;
}

/* The step that comes `turn`-th. */
static uint32_t step_of(const mn_layer_direction *d, uint32_t turn)
{
    return d->reverse ? d->input.steps->n_steps - 1 - turn : turn;
}

/* Rows of the turn's step whose state is not zero: all, or those that the turn before had too. */
static uint32_t n_known(const mn_layer_direction *d, uint32_t turn)
{
    const mn_time_steps *steps = d->input.steps;
    uint32_t rows = mn_step_rows(steps, step_of(d, turn));
    if (!d->from_zero) return rows;
    uint32_t before = turn ? mn_step_rows(steps, step_of(d, turn - 1)) : 0;
    return before < rows ? before : rows;
}

/* ---- forward --------------------------------------------------------------------------------------------------- */

static mneme_status take_rooms(mn_layer_direction *d, mn_shard *shard, mneme_error *error)
{
    size_t rows = n_rows_of(d), n = d->n_hidden, n_states = mn_step_rows(d->input.steps, 0) * n;
    bool lstm = d->cell == MN_CELL_LSTM;
    mneme_status status = mn_shard_floats(shard, rows * n_gates_of(d), &d->recurrent, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, rows * n, &d->h_before, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, n_states, &d->h, error);
    if (status == MNEME_OK && lstm) status = mn_shard_floats(shard, rows * n, &d->c_before, error);
    if (status == MNEME_OK && lstm) status = mn_shard_floats(shard, n_states, &d->c, error);
    if (status == MNEME_OK && !lstm) status = mn_shard_floats(shard, rows * 3 * n, &d->inner, error);
    return status;
}

static void begin_state(float *state, const float *first, size_t n)
{
    if (!state) return;
    if (first)
        memcpy(state, first, n * sizeof *state);
    else
        memset(state, 0, n * sizeof *state);
}

/* W_hh h + b_hh of a step: the products of the rows that have a state, the bias alone for the others. */
static mneme_status multiply_states(const mn_layer_direction *d, mn_shard *shard, uint32_t turn, float *recurrent,
                                    mneme_error *error)
{
    uint32_t rows = mn_step_rows(d->input.steps, step_of(d, turn)), known = n_known(d, turn), width = n_gates_of(d);
    const float *bias = d->weights->bias_hh->value;
    for (size_t r = known; r < rows; r++) memcpy(recurrent + r * width, bias, width * sizeof *bias);
    if (!known) return MNEME_OK;
    return mn_multiply_right(shard->arithmetic, &shard->scratch, d->h, d->n_hidden, known,
                             &d->weights->weight_hh->forward,
                             &(mn_product_out){.c = recurrent, .stride = width, .bias = bias}, error);
}

static void run_cell(const mn_layer_direction *d, const mn_shard *shard, uint32_t t, const float *products,
                     const mn_layer_forward *call)
{
    size_t first = d->input.steps->offsets[t], n = d->n_hidden, width = n_gates_of(d);
    const uint32_t *row_of = d->input.row_of;
    const mn_cell_step step = {.n_rows = mn_step_rows(d->input.steps, t),
                               .n_hidden = d->n_hidden,
                               .input = row_of ? products : products + first * width,
                               .input_rows = row_of ? row_of + first : NULL,
                               .recurrent = d->recurrent + first * width,
                               .inner = d->inner ? d->inner + first * width : NULL,
                               .h = d->h,
                               .c = d->c,
                               .h_before = d->h_before + first * n,
                               .c_before = d->c_before ? d->c_before + first * n : NULL,
                               .y = call->y + first * call->y_stride,
                               .y_stride = call->y_stride};
    shard->arithmetic->cell_kernels->forward[d->cell](&step);
}

mneme_status mn_layer_direction_forward(mn_layer_direction *d, mn_shard *shard, const mn_layer_forward *call,
                                        mneme_error *error)
{
    const mn_layer_states *states = &call->states;
    size_t n_states = (size_t)mn_step_rows(d->input.steps, 0) * d->n_hidden;
    mneme_status status = take_rooms(d, shard, error);
    if (status != MNEME_OK) return status;
    d->from_zero = !states->h_first;
    begin_state(d->h, states->h_first, n_states);
    begin_state(d->c, states->c_first, n_states);
    /* A GRU's n goes where its input's product was, unless rows share that. */
    float *products = d->inner && !d->input.row_of ? d->inner : call->products;
    status = mn_multiply_right(
        shard->arithmetic, &shard->scratch, d->input.x, d->input.n_in, d->input.n_x, &d->weights->weight_ih->forward,
        &(mn_product_out){.c = products, .stride = n_gates_of(d), .bias = d->weights->bias_ih->value}, error);
    for (uint32_t turn = 0; status == MNEME_OK && turn < d->input.steps->n_steps; turn++) {
        uint32_t t = step_of(d, turn);
        size_t first = d->input.steps->offsets[t];
        status = multiply_states(d, shard, turn, d->recurrent + first * n_gates_of(d), error);
        if (status == MNEME_OK) run_cell(d, shard, t, products, call);
    }
    if (status != MNEME_OK) return status;
    if (states->h_last) memcpy(states->h_last, d->h, n_states * sizeof *d->h);
    if (states->c_last && d->c) memcpy(states->c_last, d->c, n_states * sizeof *d->c);
    return MNEME_OK;
}

/* ---- backward -------------------------------------------------------------------------------------------------- */

/* A step's gradient of the pre-activations, and with it that of the states before: dh, dc. */
static mneme_status step_back(const mn_layer_direction *d, mn_shard *shard, uint32_t turn,
                              const mn_layer_backward *call, mneme_error *error)
{
    uint32_t t = step_of(d, turn), width = n_gates_of(d);
    size_t first = d->input.steps->offsets[t], n = d->n_hidden;
    const mn_cell_gradient step = {.n_rows = mn_step_rows(d->input.steps, t),
                                   .n_hidden = d->n_hidden,
                                   .recurrent = d->recurrent + first * width,
                                   .inner = d->inner ? d->inner + first * width : NULL,
                                   .h_before = d->h_before + first * n,
                                   .c_before = d->c_before ? d->c_before + first * n : NULL,
                                   .dy = call->dy + first * call->dy_stride,
                                   .dy_stride = call->dy_stride,
                                   .dh = d->h,
                                   .dc = d->c};
    shard->arithmetic->cell_kernels->backward[d->cell](&step);
    uint32_t known = turn ? n_known(d, turn) : 0; /* the gradient of the first states is not wanted */
    if (!known) return MNEME_OK;
    return mn_multiply_right(shard->arithmetic, &shard->scratch, step.recurrent, width, known,
                             &d->weights->weight_hh->backward,
                             &(mn_product_out){.c = d->h, .stride = n, .add = d->cell == MN_CELL_GRU}, error);
}

static mneme_status add_product(mn_shard *shard, const mn_parameter *weight, const float *d_gates, const float *x,
                                size_t n_rows, mneme_error *error)
{
    uint32_t n_out = weight->options.rows, n_in = weight->options.columns;
    if (!n_rows) return MNEME_OK;
    const mn_transposed_product product = {.a = d_gates,
                                           .b = x,
                                           .a_stride = n_out,
                                           .b_stride = n_in,
                                           .k = (uint32_t)n_rows,
                                           .m = n_out,
                                           .n = n_in,
                                           .c = mn_gradient_of(shard, weight),
                                           .c_stride = n_in};
    return mn_multiply_transposed(shard->arithmetic, &shard->scratch, &product, error);
}

/* The gradients of both biases of an LSTM are the same: sums (G H) is room for them. */
static void add_bias(const mn_layer_direction *d, mn_shard *shard, const float *d_input, float *sums)
{
    size_t n_rows = n_rows_of(d);
    uint32_t width = n_gates_of(d);
    const mn_train_kernels *kernels = shard->arithmetic->train_kernels;
    memset(sums, 0, width * sizeof *sums);
    kernels->add_rows(d->recurrent, width, n_rows, width, sums);
    kernels->add_rows(sums, width, 1, width, mn_gradient_of(shard, d->weights->bias_hh));
    if (d_input == d->recurrent)
        kernels->add_rows(sums, width, 1, width, mn_gradient_of(shard, d->weights->bias_ih));
    else
        kernels->add_rows(d_input, width, n_rows, width, mn_gradient_of(shard, d->weights->bias_ih));
}

/* The gradient of each row of x's product: that of all rows which share it. */
static mneme_status gather(const mn_layer_direction *d, mn_shard *shard, const float *d_input, float **out,
                           mneme_error *error)
{
    uint32_t width = n_gates_of(d);
    mneme_status status = mn_shard_floats(shard, (size_t)d->input.n_x * width, out, error);
    if (status != MNEME_OK) return status;
    memset(*out, 0, (size_t)d->input.n_x * width * sizeof **out);
    for (size_t r = 0; r < n_rows_of(d); r++)
        shard->arithmetic->train_kernels->add_rows(d_input + r * width, width, 1, width,
                                                   *out + (size_t)d->input.row_of[r] * width);
    return MNEME_OK;
}

mneme_status mn_layer_direction_backward(mn_layer_direction *d, mn_shard *shard, const mn_layer_backward *call,
                                         mneme_error *error)
{
    size_t n_rows = n_rows_of(d), width = n_gates_of(d), n_states = mn_step_rows(d->input.steps, 0) * d->n_hidden;
    mneme_status status = MNEME_OK;
    begin_state(d->h, NULL, n_states);
    begin_state(d->c, NULL, n_states);
    for (uint32_t turn = d->input.steps->n_steps; status == MNEME_OK && turn-- > 0;)
        status = step_back(d, shard, turn, call, error);
    if (status != MNEME_OK) return status;

    float *d_input = d->inner ? d->inner : d->recurrent, *sums;
    status = mn_shard_floats(shard, width, &sums, error);
    if (status != MNEME_OK) return status;
    add_bias(d, shard, d_input, sums);
    /* The first step's rows have no state and add nothing. */
    size_t skipped = d->from_zero && !d->reverse ? mn_step_rows(d->input.steps, 0) : 0;
    status = add_product(shard, d->weights->weight_hh, d->recurrent + skipped * width,
                         d->h_before + skipped * d->n_hidden, n_rows - skipped, error);
    if (status == MNEME_OK && d->input.row_of) status = gather(d, shard, d_input, &d_input, error);
    if (status == MNEME_OK)
        status = add_product(shard, d->weights->weight_ih, d_input, d->input.x, d->input.n_x, error);
    if (status != MNEME_OK || !call->dx) return status;
    return mn_multiply_right(shard->arithmetic, &shard->scratch, d_input, width, d->input.n_x,
                             &d->weights->weight_ih->backward,
                             &(mn_product_out){.c = call->dx, .stride = d->input.n_in, .add = call->add_dx}, error);
}
