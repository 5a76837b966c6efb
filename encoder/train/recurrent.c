/* recurrent.c -- the stack: parameters, layers one upon another, dropout between them. */
#include "encoder/train/recurrent.h"

#include "encoder/train/block_kernels.h"
#include "encoder/train/recurrent_layer.h"

#include <math.h>

/* ---- parameters ------------------------------------------------------------------------------------------------ */

static mneme_status add_direction(mn_parameters *parameters, const char *prefix, const mn_recurrent *recurrent,
                                  uint32_t layer, bool reverse)
{
    const mn_recurrent_options *o = &recurrent->options;
    uint32_t n_gates = mn_cell_gates(o->cell) * o->n_hidden;
    uint32_t n_in = layer ? mn_recurrent_width(recurrent) : o->n_in;
    float scale = 1.0f / sqrtf((float)o->n_hidden);
    const char *suffix = reverse ? "_reverse" : "";
    mn_recurrent_weights *w = recurrent->weights + layer * mn_recurrent_directions(recurrent) + reverse;
    const mn_parameter_options weight = {.rows = n_gates,
                                         .columns = n_in,
                                         .initial = MN_INITIAL_UNIFORM,
                                         .scale = scale,
                                         .decays = true,
                                         .packed = true};
    mn_parameter_options inner = weight, bias = {1, n_gates, .initial = MN_INITIAL_UNIFORM, .scale = scale};
    inner.columns = o->n_hidden;
    w->weight_ih = mn_parameters_add(parameters, &weight, "%s.weight_ih_l%u%s", prefix, layer, suffix);
    w->weight_hh = mn_parameters_add(parameters, &inner, "%s.weight_hh_l%u%s", prefix, layer, suffix);
    w->bias_ih = mn_parameters_add(parameters, &bias, "%s.bias_ih_l%u%s", prefix, layer, suffix);
    w->bias_hh = mn_parameters_add(parameters, &bias, "%s.bias_hh_l%u%s", prefix, layer, suffix);
    return w->weight_ih && w->weight_hh && w->bias_ih && w->bias_hh ? MNEME_OK : MNEME_ERR_MEMORY;
}

mneme_status mn_recurrent_add(mn_parameters *parameters, const char *prefix, const mn_recurrent_options *options,
                              mn_recurrent *out, mneme_error *error)
{
    *out = (mn_recurrent){.options = *options};
    uint32_t directions = mn_recurrent_directions(out);
    out->weights = mn_arena_array(&parameters->arena, (size_t)options->n_layers * directions, sizeof *out->weights);
    if (!out->weights) return mn_fail_memory(error, "a recurrent layer");
    for (uint32_t i = 0; i < options->n_layers * directions; i++)
        if (add_direction(parameters, prefix, out, i / directions, i % directions) != MNEME_OK)
            return mn_fail_memory(error, "a recurrent layer");
    return MNEME_OK;
}

void mn_recurrent_open_forget_gates(const mn_recurrent *recurrent)
{
    uint32_t n = recurrent->options.n_hidden;
    if (recurrent->options.cell != MN_CELL_LSTM) return;
    for (uint32_t i = 0; i < recurrent->options.n_layers * mn_recurrent_directions(recurrent); i++)
        for (uint32_t j = 0; j < n; j++) recurrent->weights[i].bias_ih->value[n + j] += 1.0f;
}

/* ---- forward --------------------------------------------------------------------------------------------------- */

struct mn_recurrent_saved {
    mn_time_steps steps;
    size_t n_rows;
    mn_layer_direction *directions; /* (n_layers, directions) */
    bool dropped;                   /* dropout between the layers */
    uint64_t *noise;                /* (n_layers): what it began with (mn_dropout) */
};

static mneme_status new_saved(const mn_recurrent *recurrent, mn_shard *shard, const mn_recurrent_input *input,
                              mn_recurrent_saved **out, mneme_error *error)
{
    size_t n_layers = recurrent->options.n_layers, n = n_layers * mn_recurrent_directions(recurrent);
    mn_recurrent_saved *saved = mn_room_take(&shard->room, 1, sizeof *saved);
    if (!saved) return mn_fail_memory(error, "a recurrent layer");
    *saved = (mn_recurrent_saved){.steps = input->steps,
                                  .n_rows = input->steps.offsets[input->steps.n_steps],
                                  .dropped = shard->training && recurrent->options.dropout > 0};
    saved->directions = mn_room_take(&shard->room, n, sizeof *saved->directions);
    saved->noise = mn_room_take(&shard->room, n_layers, sizeof *saved->noise);
    if (!saved->directions || !saved->noise) return mn_fail_memory(error, "a recurrent layer");
    for (size_t layer = 0; saved->dropped && layer < n_layers; layer++)
        saved->noise[layer] = mn_random_next(&shard->random);
    *out = saved;
    return MNEME_OK;
}

/* A direction's part of the states. */
static mn_layer_states states_of(const mn_recurrent *recurrent, const mn_recurrent_input *input, size_t direction)
{
    size_t at = direction * mn_step_rows(&input->steps, 0) * recurrent->options.n_hidden;
    return (mn_layer_states){.h_first = input->h_first ? input->h_first + at : NULL,
                             .c_first = input->c_first ? input->c_first + at : NULL,
                             .h_last = input->h_last ? input->h_last + at : NULL,
                             .c_last = input->c_last ? input->c_last + at : NULL};
}

/* Room for products of inputs (mn_layer_forward). */
static mneme_status take_products(const mn_recurrent *recurrent, mn_shard *shard, const mn_recurrent_input *input,
                                  float **out, mneme_error *error)
{
    size_t most = MN_LAYER_ROWS, n_sequences = mn_step_rows(&input->steps, 0);
    if (n_sequences > most) most = n_sequences;
    if (input->row_of && input->n_x > most) most = input->n_x;
    return mn_shard_floats(shard, most * mn_cell_gates(recurrent->options.cell) * recurrent->options.n_hidden, out,
                           error);
}

static mneme_status layer_forward(const mn_recurrent *recurrent, mn_shard *shard, const mn_recurrent_input *input,
                                  mn_layer_direction *first, mn_layer_forward *call, mneme_error *error)
{
    uint32_t n = recurrent->options.n_hidden, directions = mn_recurrent_directions(recurrent);
    for (uint32_t i = 0; i < directions; i++) {
        size_t at = (size_t)(first[i].weights - recurrent->weights);
        mn_layer_forward part = *call;
        part.y += i * n;
        part.states = states_of(recurrent, input, at);
        mneme_status status = mn_layer_direction_forward(first + i, shard, &part, error);
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

mneme_status mn_recurrent_forward(const mn_recurrent *recurrent, mn_shard *shard, const mn_recurrent_input *input,
                                  float *y, mn_recurrent_saved **out, mneme_error *error)
{
    const mn_recurrent_options *o = &recurrent->options;
    uint32_t directions = mn_recurrent_directions(recurrent), width = mn_recurrent_width(recurrent);
    mn_recurrent_saved *saved = NULL;
    *out = NULL;
    mneme_status status = new_saved(recurrent, shard, input, &saved, error);
    mn_layer_forward call = {.y_stride = width};
    if (status == MNEME_OK) status = take_products(recurrent, shard, input, &call.products, error);
    if (status != MNEME_OK) return status;
    mn_layer_input below = {&saved->steps, input->x, o->n_in, input->row_of, input->n_x};
    for (uint32_t layer = 0; layer < o->n_layers; layer++) {
        mn_layer_direction *first = saved->directions + layer * directions;
        call.y = y;
        if (layer + 1 < o->n_layers) status = mn_shard_floats(shard, saved->n_rows * width, &call.y, error);
        for (uint32_t i = 0; i < directions; i++)
            first[i] = (mn_layer_direction){.cell = o->cell,
                                            .n_hidden = o->n_hidden,
                                            .reverse = i == 1,
                                            .weights = recurrent->weights + layer * directions + i,
                                            .input = below};
        if (status == MNEME_OK) status = layer_forward(recurrent, shard, input, first, &call, error);
        if (status != MNEME_OK) return status;
        if (saved->dropped && layer + 1 < o->n_layers)
            mn_dropout(saved->noise[layer], o->dropout, call.y, saved->n_rows * width, call.y);
        below = (mn_layer_input){&saved->steps, call.y, width, NULL, (uint32_t)saved->n_rows};
    }
    *out = saved;
    return MNEME_OK;
}

/* ---- backward -------------------------------------------------------------------------------------------------- */

static mneme_status layer_backward(const mn_recurrent *recurrent, mn_shard *shard, mn_layer_direction *first,
                                   const float *dy, float *dx, mneme_error *error)
{
    uint32_t directions = mn_recurrent_directions(recurrent), width = mn_recurrent_width(recurrent);
    for (uint32_t i = 0; i < directions; i++) {
        const mn_layer_backward call = {
            .dy = dy + i * recurrent->options.n_hidden, .dy_stride = width, .dx = dx, .add_dx = i == 1};
        mneme_status status = mn_layer_direction_backward(first + i, shard, &call, error);
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

mneme_status mn_recurrent_backward(const mn_recurrent *recurrent, mn_shard *shard, mn_recurrent_saved *saved,
                                   const float *dy, float *dx, mneme_error *error)
{
    uint32_t directions = mn_recurrent_directions(recurrent), n_layers = recurrent->options.n_layers;
    size_t size = saved->n_rows * mn_recurrent_width(recurrent);
    float *between[2] = {NULL, NULL}; /* gradients of the outputs of inner layers, by turns */
    mneme_status status = MNEME_OK;
    for (uint32_t i = 0; status == MNEME_OK && i < 2 && i + 1 < n_layers; i++)
        status = mn_shard_floats(shard, size, &between[i], error);
    for (uint32_t layer = n_layers; status == MNEME_OK && layer-- > 0;) {
        float *below = layer ? between[(layer - 1) % 2] : dx;
        status = layer_backward(recurrent, shard, saved->directions + layer * directions, dy, below, error);
        if (status == MNEME_OK && layer && saved->dropped)
            mn_dropout(saved->noise[layer - 1], recurrent->options.dropout, below, size, below);
        dy = below;
    }
    return status;
}
