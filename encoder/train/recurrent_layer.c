/* recurrent_layer.c -- one direction of one layer of LSTM or GRU cells, forward and backward through time.
 *
 * The states of all sequences are one matrix (B, H), of which a step changes the first rows. So where sequences begin
 * and end needs no copies: a row that has not begun holds its first state, one that has ended its last. Going backward
 * the same is true of the gradients of the states, which begin with zeros.
 *
 *     forward     P = x W_ih^T + b_ih, many steps at once         backward   for each step, last first:
 *                 for each step:                                               cell
 *                     R = h W_hh^T + b_hh                                      dh (+)= dR W_hh
 *                     cell                                                   dW_ih, dW_hh, db, dx, many steps at once
 *
 * "Many" are steps of MN_LAYER_ROWS rows together: what one product leaves is still in the third-level cache when the
 * next one reads it. */
#include "encoder/train/recurrent_layer.h"

#include "encoder/train/dense.h"

#include <string.h>

/* Rows that lie together. */
typedef struct layer_range {
    size_t first;
    uint32_t n;
} layer_range;

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

/* products: those of the step's rows, or of all of x where rows share them. */
static void run_cell(const mn_layer_direction *d, const mn_shard *shard, uint32_t t, const float *products,
                     const mn_layer_forward *call)
{
    size_t first = d->input.steps->offsets[t], n = d->n_hidden, width = n_gates_of(d);
    const uint32_t *row_of = d->input.row_of;
    const mn_cell_step step = {.n_rows = mn_step_rows(d->input.steps, t),
                               .n_hidden = d->n_hidden,
                               .input = products,
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

/* How many turns from `turn` on make MN_LAYER_ROWS rows, at least one. */
static uint32_t turns_together(const mn_layer_direction *d, uint32_t turn, layer_range *range)
{
    const mn_time_steps *steps = d->input.steps;
    uint32_t count = 0;
    range->n = 0;
    for (; turn + count < steps->n_steps; count++) {
        uint32_t t = step_of(d, turn + count), rows = mn_step_rows(steps, t);
        if (count && range->n + rows > MN_LAYER_ROWS) break;
        if (!count || d->reverse) range->first = steps->offsets[t];
        range->n += rows;
    }
    return count;
}

static mneme_status multiply_inputs(const mn_layer_direction *d, mn_shard *shard, const float *x, uint32_t n_rows,
                                    float *products, mneme_error *error)
{
    const mn_product_out out = {.c = products, .stride = n_gates_of(d), .bias = d->weights->bias_ih->value};
    return mn_multiply_right(shard->arithmetic, &shard->scratch, x, d->input.n_in, n_rows,
                             &d->weights->weight_ih->forward, &out, error);
}

static mneme_status run_steps(const mn_layer_direction *d, mn_shard *shard, const mn_layer_forward *call,
                              mneme_error *error)
{
    const mn_layer_input *in = &d->input;
    size_t width = n_gates_of(d);
    layer_range range = {0, 0};
    mneme_status status = in->row_of ? multiply_inputs(d, shard, in->x, in->n_x, call->products, error) : MNEME_OK;
    for (uint32_t turn = 0, count; status == MNEME_OK && turn < in->steps->n_steps; turn += count) {
        float *products = call->products;
        count = turns_together(d, turn, &range);
        if (!in->row_of) {
            /* A GRU's n goes where its input's product was, unless rows share that. */
            if (d->inner) products = d->inner + range.first * width;
            status = multiply_inputs(d, shard, in->x + range.first * in->n_in, range.n, products, error);
        }
        for (uint32_t i = 0; status == MNEME_OK && i < count; i++) {
            uint32_t t = step_of(d, turn + i);
            size_t row = in->steps->offsets[t];
            status = multiply_states(d, shard, turn + i, d->recurrent + row * width, error);
            if (status == MNEME_OK)
                run_cell(d, shard, t, in->row_of ? products : products + (row - range.first) * width, call);
        }
    }
    return status;
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
    status = run_steps(d, shard, call, error);
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

/* What backward sums over steps. */
typedef struct layer_sums {
    float *d_input;  /* (rows, G H): gradients of W_ih x + b_ih: a GRU's own, or those of W_hh h + b_hh */
    float *products; /* (n_x, G H): the same of each row of x, where rows share them; else NULL */
    float *bias;     /* (G H): of W_hh h + b_hh */
} layer_sums;

static mneme_status take_sums(const mn_layer_direction *d, mn_shard *shard, layer_sums *sums, mneme_error *error)
{
    size_t width = n_gates_of(d), shared = d->input.row_of ? (size_t)d->input.n_x * width : 0;
    *sums = (layer_sums){.d_input = d->inner ? d->inner : d->recurrent};
    mneme_status status = mn_shard_floats(shard, width, &sums->bias, error);
    if (status == MNEME_OK && shared) status = mn_shard_floats(shard, shared, &sums->products, error);
    if (status != MNEME_OK) return status;
    memset(sums->bias, 0, width * sizeof *sums->bias);
    if (shared) memset(sums->products, 0, shared * sizeof *sums->products);
    return MNEME_OK;
}

static void add_biases(const mn_layer_direction *d, mn_shard *shard, const layer_sums *sums)
{
    uint32_t width = n_gates_of(d);
    const mn_train_kernels *kernels = shard->arithmetic->train_kernels;
    kernels->add_rows(sums->bias, width, 1, width, mn_gradient_of(shard, d->weights->bias_hh));
    if (!d->inner) kernels->add_rows(sums->bias, width, 1, width, mn_gradient_of(shard, d->weights->bias_ih));
}

/* dW_ih and dx of n rows of x from `first` on, with the gradients of their products. */
static mneme_status inputs_back(const mn_layer_direction *d, mn_shard *shard, const mn_layer_backward *call,
                                const layer_range *range, const float *d_products, mneme_error *error)
{
    size_t n_in = d->input.n_in;
    mneme_status status =
        mn_weight_gradient(shard, d->weights->weight_ih, d_products, d->input.x + range->first * n_in, range->n, error);
    if (status != MNEME_OK || !call->dx) return status;
    const mn_product_out out = {.c = call->dx + range->first * n_in, .stride = n_in, .add = call->add_dx};
    return mn_multiply_right(shard->arithmetic, &shard->scratch, d_products, n_gates_of(d), range->n,
                             &d->weights->weight_ih->backward, &out, error);
}

/* All sums over some steps' rows, whose gradients are complete. */
static mneme_status add_up(const mn_layer_direction *d, mn_shard *shard, const mn_layer_backward *call,
                           const layer_range *range, const layer_sums *sums, mneme_error *error)
{
    const mn_train_kernels *kernels = shard->arithmetic->train_kernels;
    size_t first = range->first, end = first + range->n;
    uint32_t width = n_gates_of(d);
    const float *d_input = sums->d_input + first * width;
    kernels->add_rows(d->recurrent + first * width, width, range->n, width, sums->bias);
    if (d->inner) kernels->add_rows(d_input, width, range->n, width, mn_gradient_of(shard, d->weights->bias_ih));
    /* The first step's rows have no state and add nothing. */
    size_t stateless = d->from_zero && !d->reverse ? mn_step_rows(d->input.steps, 0) : 0;
    size_t from = first > stateless ? first : stateless;
    mneme_status status = MNEME_OK;
    if (from < end)
        status = mn_weight_gradient(shard, d->weights->weight_hh, d->recurrent + from * width,
                                    d->h_before + from * d->n_hidden, (uint32_t)(end - from), error);
    if (status != MNEME_OK || !d->input.row_of)
        return status == MNEME_OK ? inputs_back(d, shard, call, range, d_input, error) : status;
    for (size_t r = first; r < end; r++)
        kernels->add_rows(sums->d_input + r * width, width, 1, width,
                          sums->products + (size_t)d->input.row_of[r] * width);
    return MNEME_OK;
}

mneme_status mn_layer_direction_backward(mn_layer_direction *d, mn_shard *shard, const mn_layer_backward *call,
                                         mneme_error *error)
{
    const mn_time_steps *steps = d->input.steps;
    size_t n_states = (size_t)mn_step_rows(steps, 0) * d->n_hidden;
    layer_sums sums;
    layer_range range = {0, 0};
    mneme_status status = take_sums(d, shard, &sums, error);
    begin_state(d->h, NULL, n_states);
    begin_state(d->c, NULL, n_states);
    for (uint32_t turn = steps->n_steps; status == MNEME_OK && turn-- > 0;) {
        uint32_t t = step_of(d, turn);
        status = step_back(d, shard, turn, call, error);
        if (!range.n || !d->reverse) range.first = steps->offsets[t];
        range.n += mn_step_rows(steps, t);
        if (turn && range.n + mn_step_rows(steps, step_of(d, turn - 1)) <= MN_LAYER_ROWS) continue;
        if (status == MNEME_OK) status = add_up(d, shard, call, &range, &sums, error);
        range.n = 0;
    }
    if (status == MNEME_OK && d->input.row_of)
        status = inputs_back(d, shard, call, &(layer_range){0, d->input.n_x}, sums.products, error);
    if (status == MNEME_OK) add_biases(d, shard, &sums);
    return status;
}
