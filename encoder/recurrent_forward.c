/* recurrent_forward.c -- an LSTM or GRU over a batch of texts, step by step (step_plan.h).
 *
 * A layer's input product does not wait for the step before, so that it is run over many rows at once; in the first
 * layer it depends on the token alone and is run once for each distinct token of the batch. Only the recurrent product
 * goes step by step, over the rows that a step has, and reads all of its weights each time: a batch should have dozens
 * of texts (encoder_recurrent.c). A text that begins at a step (all in the first one; on the way back, each where it
 * ends) has no state, and so no product.
 *
 *     gates  = input product of the distinct tokens (first layer), or of the next steps (above)      (.., G H)
 *     sums   = recurrent product of the states before                                                (B, G H)
 *     states = gate kernel of both; it also writes them as the operand of the next step's product
 *
 * Every text's numbers come from the same operations in the same order, whatever else is in the batch and whoever
 * runs which direction. Threads: as bert.c. */
#include "encoder/recurrent_internal.h"

#include "common/memory.h"

#include <math.h>
#include <string.h>

/* Input products that are made at a time above the first layer: enough rows for full speed, and still in the
 * second-level cache when they are read. */
enum { AHEAD_ROWS = 256 };

/* ---- workspace ---- */

static size_t round_rows(size_t rows)
{
    return (rows + MN_ROW_MULTIPLE - 1) / MN_ROW_MULTIPLE * MN_ROW_MULTIPLE;
}

static size_t larger_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void place_direction(const mn_recurrent_model *model, const mn_step_plan *plan, mn_direction_space *space,
                            mn_image *image)
{
    const mn_recurrent_config *config = &model->config;
    const mn_product_kernel *product = model->arithmetic.product;
    size_t hidden = config->hidden, wide = mn_cell_gates(config->cell) * hidden,
           block = round_rows(product->block_rows);
    size_t gate_rows = plan->n_distinct;
    if (config->n_layers > 1) gate_rows = larger_of(gate_rows, (size_t)AHEAD_ROWS + plan->n_texts);
    size_t groups = mn_product_groups(product, config->embedding);
    if (config->n_layers > 1) groups = larger_of(groups, mn_product_groups(product, mn_recurrent_config_width(config)));
    space->gates = mn_image_take(image, gate_rows * wide, sizeof(float));
    space->sums = mn_image_take(image, block * wide, sizeof(float));
    space->c = mn_image_take(image, plan->n_texts * hidden, sizeof(float));
    space->operand = mn_image_take(image, round_rows(plan->n_texts) * mn_product_groups(product, (uint32_t)hidden),
                                   sizeof(uint32_t));
    space->rows = mn_image_take(image, block * groups, sizeof(uint32_t));
    space->scales = mn_image_take(image, block, sizeof(float));
    space->lows = mn_image_take(image, block, sizeof(float));
}

static void place_space(const mn_recurrent_model *model, mn_recurrent_model_space *space, size_t n_directions,
                        mn_image *image)
{
    const mn_recurrent_config *config = &model->config;
    const mn_step_plan *plan = &space->plan;
    size_t width = mn_recurrent_config_width(config), rows = round_rows(plan->n_rows),
           texts = round_rows(plan->n_texts);
    space->tokens = mn_image_take(image, round_rows(plan->n_distinct) * config->embedding, sizeof(float));
    for (size_t i = 0; i < (config->n_layers > 1 ? 2 : 1); i++)
        space->states[i] = mn_image_take(image, rows * width, sizeof(float));
    space->scores = mn_image_take(image, rows, sizeof(float));
    space->largest = mn_image_take(image, texts, sizeof(float));
    space->sums = mn_image_take(image, texts, sizeof(float));
    space->joined = mn_image_take(image, texts * mn_recurrent_model_joined(config), sizeof(float));
    for (size_t d = 0; d < n_directions; d++) place_direction(model, plan, &space->directions[d], image);
}

/* Room for the plan. A product may read rows that round up, which count for no other row, and the groups behind a row,
 * which must be zeros: convert_rows writes them, gate kernels do not. */
static mneme_status reserve(const mn_recurrent_model *model, mn_recurrent_model_space *space, size_t n_directions,
                            mneme_error *error)
{
    mn_image image = {0};
    place_space(model, space, n_directions, &image);
    if (image.overflow) return mn_fail_memory(error, "activations");
    if (image.size > space->size) {
        mn_free(space->block);
        space->size = 0;
        space->block = mn_alloc_aligned(64, image.size);
        if (!space->block) return mn_fail_memory(error, "activations");
        space->size = image.size;
    }
    image = (mn_image){.base = space->block};
    place_space(model, space, n_directions, &image);
    size_t groups = mn_product_groups(model->arithmetic.product, model->config.hidden);
    for (size_t d = 0; d < n_directions; d++)
        memset(space->directions[d].operand, 0, round_rows(space->plan.n_texts) * groups * sizeof(uint32_t));
    return MNEME_OK;
}

void mn_recurrent_model_free_space(mn_recurrent_model_space *space)
{
    mn_step_plan_free(&space->plan);
    mn_free(space->block);
    *space = (mn_recurrent_model_space){0};
}

/* ---- layers ---- */

/* One direction of one layer over the whole plan. */
typedef struct direction_run {
    const mn_recurrent_model *model;
    const mn_step_plan *plan;
    const mn_direction *weights;
    const mn_direction_space *space;
    const float *below; /* (rows, n_in): the distinct tokens of the first layer, else the states below */
    float *states;      /* (rows, W) from this direction's columns on */
    bool first_layer, backward;
    uint32_t ahead_first, ahead_end; /* rows whose gates are there, above the first layer */
} direction_run;

/* gates = the input's products of n rows. */
static void project(const direction_run *run, const float *x, uint32_t n)
{
    const mn_arithmetic *a = &run->model->arithmetic;
    const mn_linear *linear = &run->weights->input;
    uint32_t block = a->product->block_rows, n_in = linear->n_in, groups = linear->n_groups;
    for (uint32_t r = 0; r < n; r += block) {
        uint32_t rows = n - r < block ? n - r : block;
        const float *from = x + (size_t)r * n_in;
        mn_linear_rows operand = {.rows = (const uint32_t *)(const void *)from, .stride = n_in, .n_rows = rows};
        if (!mn_is_plain_float(&a->rows)) {
            const mn_direction_space *space = run->space;
            a->kernels->convert_rows(&a->rows, from, n_in, rows, n_in, groups, space->rows, groups, space->scales,
                                     space->lows);
            operand = (mn_linear_rows){
                .rows = space->rows, .stride = groups, .scales = space->scales, .lows = space->lows, .n_rows = rows};
        }
        const mn_linear_out out = {
            .element = MN_ELEMENT_F32, .y = run->space->gates + (size_t)r * linear->n_out, .stride = linear->n_out};
        mn_linear_run(linear, a, &operand, &out);
    }
}

/* Above the first layer: the gates of this step and of those that come after it, as far as there is room. */
static void project_ahead(direction_run *run, uint32_t step)
{
    const mn_step_plan *plan = run->plan;
    if (plan->first_row[step] >= run->ahead_first && plan->first_row[step + 1] <= run->ahead_end) return;
    uint32_t first = step, end = step + 1; /* steps */
    while (plan->first_row[end] - plan->first_row[first] < AHEAD_ROWS) {
        if (run->backward && first > 0)
            first--;
        else if (!run->backward && end < plan->n_steps)
            end++;
        else
            break;
    }
    run->ahead_first = plan->first_row[first];
    run->ahead_end = plan->first_row[end];
    project(run, run->below + (size_t)run->ahead_first * run->weights->input.n_in, run->ahead_end - run->ahead_first);
}

/* Texts [first, first + n) of a step, of which all have a state, or none. before: the row of the step before where
 * their states lie. */
static void run_rows(const direction_run *run, uint32_t step, uint32_t first, uint32_t n, const uint32_t *before)
{
    const mn_recurrent_model *model = run->model;
    const mn_direction_space *space = run->space;
    const mn_arithmetic *a = &model->arithmetic;
    const mn_linear *recurrent = &run->weights->recurrent;
    uint32_t hidden = model->config.hidden, row = run->plan->first_row[step] + first;
    size_t stride = mn_recurrent_config_width(&model->config), groups = recurrent->n_groups;
    const float *h_before = before ? run->states + (size_t)(*before + first) * stride : NULL;
    uint32_t *operand = mn_is_plain_float(&a->rows) ? NULL : space->operand + first * groups;
    mn_gate_step gates = {.n_rows = n,
                          .hidden = hidden,
                          .recurrent = recurrent->bias, /* of texts without a state: 0 W^T + b */
                          .c = space->c + (size_t)first * hidden,
                          .h_before = h_before,
                          .h = run->states + (size_t)row * stride,
                          .h_stride = stride,
                          .format = &a->rows,
                          .operand = operand,
                          .operand_groups = groups};
    if (run->first_layer) {
        gates.input = space->gates;
        gates.input_rows = run->plan->token + row;
    } else {
        gates.input = space->gates + (size_t)(row - run->ahead_first) * recurrent->n_out;
    }
    if (before) {
        const mn_linear_rows x = {.rows = operand ? operand : (const uint32_t *)(const void *)h_before,
                                  .stride = operand ? groups : stride,
                                  .scales = model->scales,
                                  .lows = model->lows,
                                  .n_rows = n};
        const mn_linear_out out = {.element = MN_ELEMENT_F32, .y = space->sums, .stride = recurrent->n_out};
        mn_linear_run(recurrent, a, &x, &out);
        gates.recurrent = space->sums;
        gates.recurrent_stride = recurrent->n_out;
    } else {
        memset(gates.c, 0, (size_t)n * hidden * sizeof *gates.c);
    }
    if (model->config.cell == MN_CELL_LSTM)
        model->gates->lstm(&gates);
    else
        model->gates->gru(&gates);
}

static void run_step(direction_run *run, uint32_t step)
{
    const mn_step_plan *plan = run->plan;
    uint32_t n = mn_step_plan_rows(plan, step), block = run->model->arithmetic.product->block_rows;
    bool last = run->backward ? step + 1 == plan->n_steps : step == 0; /* of those that begin here, if first */
    uint32_t before_step = run->backward ? step + 1 : step - 1, carried = 0;
    if (!last) carried = mn_step_plan_rows(plan, before_step) < n ? mn_step_plan_rows(plan, before_step) : n;
    if (!run->first_layer) project_ahead(run, step);
    for (uint32_t r = 0; r < carried; r += block)
        run_rows(run, step, r, carried - r < block ? carried - r : block, &plan->first_row[before_step]);
    if (carried < n) run_rows(run, step, carried, n - carried, NULL);
}

static void run_direction(direction_run *run)
{
    uint32_t n_steps = run->plan->n_steps;
    if (run->first_layer) project(run, run->below, run->plan->n_distinct);
    for (uint32_t i = 0; i < n_steps; i++) run_step(run, run->backward ? n_steps - 1 - i : i);
}

typedef struct layer_job {
    direction_run runs[MN_DIRECTIONS_MAX];
} layer_job;

static void run_item(void *context, unsigned item, unsigned worker)
{
    (void)worker;
    run_direction(&((layer_job *)context)->runs[item]);
}

/* states[layer % 2] = the layer over states[(layer + 1) % 2], or over the tokens. */
static void run_layer(const mn_recurrent_model *model, mn_recurrent_model_space *space, size_t layer, mn_crew *crew)
{
    uint32_t n_directions = mn_recurrent_config_directions(&model->config);
    layer_job job;
    for (size_t d = 0; d < n_directions; d++)
        job.runs[d] = (direction_run){.model = model,
                                      .plan = &space->plan,
                                      .weights = &model->layers[layer][d],
                                      .space = &space->directions[crew ? d : 0],
                                      .below = layer ? space->states[(layer + 1) % 2] : space->tokens,
                                      .states = space->states[layer % 2] + d * model->config.hidden,
                                      .first_layer = layer == 0,
                                      .backward = d == 1};
    if (crew && n_directions > 1)
        mn_crew_run(crew, n_directions, run_item, &job);
    else
        for (size_t d = 0; d < n_directions; d++) run_direction(&job.runs[d]);
}

/* ---- tokens, pooling, output ---- */

/* The distinct tokens' rows of the table. A table that was looked through when the weights were packed may have been
 * damaged since. */
static mneme_status read_tokens(const mn_recurrent_model *model, mn_recurrent_model_space *space, mneme_error *error)
{
    size_t n = model->config.embedding;
    for (uint32_t i = 0; i < space->plan.n_distinct; i++) {
        uint32_t id = space->plan.distinct[i];
        mn_tensor_to_f32(model->table, (uint64_t)id * n, n, space->tokens + i * n);
        if (!mn_all_finite(space->tokens + i * n, n))
            return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor embedding.weight holds NaN or infinity in row %u",
                           mn_safetensors_path(model->file), id);
    }
    return MNEME_OK;
}

/* scores = w . h + b of every row, less the largest of its text, as e^.. */
static void score(const mn_recurrent_model *model, mn_recurrent_model_space *space, const float *states)
{
    const mn_step_plan *plan = &space->plan;
    size_t width = mn_recurrent_config_width(&model->config);
    float bias = model->attention[width];
    for (uint32_t t = 0, row = 0; t < plan->n_steps; t++) {
        for (uint32_t r = 0; row < plan->first_row[t + 1]; r++, row++) {
            float value = model->gates->dot(states + row * width, model->attention, width) + bias;
            space->scores[row] = value;
            if (t == 0 || value > space->largest[r]) space->largest[r] = value;
        }
    }
    for (uint32_t t = 0, row = 0; t < plan->n_steps; t++)
        for (uint32_t r = 0; row < plan->first_row[t + 1]; r++, row++)
            space->scores[row] = expf(space->scores[row] - space->largest[r]);
}

/* joined, by text: sums over its steps in their order. */
static void pool(const mn_recurrent_model *model, mn_recurrent_model_space *space, const float *states)
{
    const mn_recurrent_config *config = &model->config;
    const mn_step_plan *plan = &space->plan;
    size_t width = mn_recurrent_config_width(config), n_joined = mn_recurrent_model_joined(config);
    memset(space->joined, 0, round_rows(plan->n_texts) * n_joined * sizeof *space->joined);
    memset(space->sums, 0, plan->n_texts * sizeof *space->sums);
    if (config->attentive) score(model, space, states);
    for (uint32_t t = 0, row = 0; t < plan->n_steps; t++) {
        for (uint32_t r = 0; row < plan->first_row[t + 1]; r++, row++) {
            float weight = config->attentive ? space->scores[row] : 1.0f;
            float *joined = space->joined + plan->order[r] * n_joined;
            space->sums[r] += weight;
            model->gates->add_scaled(joined, states + row * width, weight, width);
            if (config->join_tokens)
                model->gates->add_scaled(joined + width, space->tokens + (size_t)plan->token[row] * config->embedding,
                                         weight, config->embedding);
        }
    }
    for (uint32_t r = 0; r < plan->n_texts; r++) {
        float *joined = space->joined + plan->order[r] * n_joined, scale = 1.0f / space->sums[r];
        for (size_t i = 0; i < n_joined; i++) joined[i] *= scale;
    }
}

static mneme_status normalize(const mn_recurrent_model *model, float *vector, mneme_error *error)
{
    double squares = 0;
    size_t n = model->config.output;
    for (size_t i = 0; i < n; i++) squares += (double)vector[i] * (double)vector[i];
    if (!isfinite(squares))
        return mn_fail(error, MNEME_ERR_MODEL, "%s: the model gives NaN or infinity; its weights are damaged",
                       mn_safetensors_path(model->file));
    double scale = squares > 0 ? 1.0 / sqrt(squares) : 0.0;
    for (size_t i = 0; i < n; i++) vector[i] = (float)((double)vector[i] * scale);
    if (!(squares > 0)) vector[0] = 1; /* every text has a direction */
    return MNEME_OK;
}

static mneme_status give_vectors(const mn_recurrent_model *model, const mn_recurrent_model_space *space, float *vectors,
                                 mneme_error *error)
{
    size_t n_joined = mn_recurrent_model_joined(&model->config), n_out = model->config.output;
    const mn_linear_rows x = {
        .rows = (const uint32_t *)(const void *)space->joined, .stride = n_joined, .n_rows = space->plan.n_texts};
    const mn_linear_out out = {.element = MN_ELEMENT_F32, .y = vectors, .stride = n_out};
    mn_linear_run(&model->output, &model->output_arithmetic, &x, &out);
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < space->plan.n_texts && status == MNEME_OK; i++)
        status = normalize(model, vectors + i * n_out, error);
    return status;
}

mneme_status mn_recurrent_model_encode(mn_recurrent_model *model, const mn_token_batch *batch, unsigned worker,
                                       mn_crew *crew, float *vectors, mneme_error *error)
{
    const mn_recurrent_config *config = &model->config;
    mn_recurrent_model_space *space = &model->spaces[worker];
    mneme_status status = mn_step_plan_make(&space->plan, batch, config->vocabulary, model->unknown, error);
    if (status == MNEME_ERR_MODEL) mn_error_prefix(error, "%s: ", mn_safetensors_path(model->file));
    if (status == MNEME_OK) status = reserve(model, space, crew ? mn_recurrent_config_directions(config) : 1, error);
    if (status == MNEME_OK) status = read_tokens(model, space, error);
    if (status != MNEME_OK) return status;
    for (size_t i = 0; i < config->n_layers; i++) run_layer(model, space, i, crew);
    pool(model, space, space->states[(config->n_layers + 1) % 2]);
    return give_vectors(model, space, vectors, error);
}
