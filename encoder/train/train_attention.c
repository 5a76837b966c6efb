/* train_attention.c -- see train_attention.h.
 *
 * For each sequence (T rows, M rows of memory) and head (D of the columns):
 *
 *     S  = Q K^T         P = softmax(S / sqrt D)       O  = P V
 *     dP = dO V^T        dS = softmax'(P, dP)          dV = P^T dO     dQ = dS K     dK = dS^T Q
 *
 * The right operand of each is first copied from its columns of the activations to scratch, where its rows lie close
 * together (at their own stride they would fall on few lines of the first-level cache). P is kept for backward: made
 * anew it would cost a fifth of backward, kept it costs T floats per row and head. dQ, dK and dV replace Q, K and V. */
#include "encoder/train/train_attention.h"

#include "encoder/train/block_kernels.h"

#include <math.h>

static mneme_status add_projection(mn_parameters *parameters, const char *prefix, const char *name, uint32_t n_in,
                                   uint32_t n_out, mn_dense *out, mneme_error *error)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    mneme_status status = mn_dense_add(parameters, full, n_in, n_out, true, out, error);
    if (status != MNEME_OK) return status;
    out->weight->options.initial = MN_INITIAL_NORMAL;
    out->weight->options.scale = 0.02f;
    out->bias->options.initial = MN_INITIAL_ZERO;
    return MNEME_OK;
}

mneme_status mn_train_attention_add(mn_parameters *parameters, const char *prefix,
                                    const mn_train_attention_options *options, mn_train_attention *out,
                                    mneme_error *error)
{
    uint32_t hidden = options->hidden, memory = options->memory_width ? options->memory_width : hidden;
    *out = (mn_train_attention){.options = *options};
    mneme_status status = add_projection(parameters, prefix, "self.query", hidden, hidden, &out->query, error);
    if (status == MNEME_OK) status = add_projection(parameters, prefix, "self.key", memory, hidden, &out->key, error);
    if (status == MNEME_OK)
        status = add_projection(parameters, prefix, "self.value", memory, hidden, &out->value, error);
    if (status == MNEME_OK)
        status = add_projection(parameters, prefix, "output.dense", hidden, hidden, &out->output, error);
    return status;
}

/* ---- one head --------------------------------------------------------------------------------------------------- */

static size_t padded(size_t n)
{
    return (n + MN_SMALL_PANEL - 1) / MN_SMALL_PANEL * MN_SMALL_PANEL;
}

/* What a pass needs for one head at a time. Rows are padded to whole panels. */
typedef struct head_scratch {
    const mn_block_kernels *kernels;
    void (*transpose)(const float *x, size_t x_stride, size_t rows, size_t columns, float *out, size_t out_stride);
    float *turned;          /* (D, M): keys or values as columns */
    float *left, *right;    /* (T or M, D) */
    float *result;          /* (T or M, D) */
    float *square;          /* (T, M): dropped weights */
    float *square_backward; /* (T, M): gradients of weights */
} head_scratch;

/* The place of one head of one sequence. */
typedef struct head_place {
    uint32_t n_queries, n_keys;
    size_t width, head; /* of rows and of the head's columns */
    float *q, *k, *v;   /* first row, first column of the head */
    float *context;     /* of forward, or its gradient */
    float *weights;
    uint64_t dropout_state;
} head_place;

static void longest(const mn_attention_input *input, size_t *queries, size_t *keys)
{
    *queries = *keys = 0;
    for (size_t i = 0; i < input->sequences.n; i++) {
        size_t t = input->sequences.offsets[i + 1] - input->sequences.offsets[i];
        size_t m = input->memory_sequences.offsets[i + 1] - input->memory_sequences.offsets[i];
        *queries = t > *queries ? t : *queries;
        *keys = m > *keys ? m : *keys;
    }
}

static mneme_status take_scratch(mn_shard *shard, const mn_attention_input *input, size_t head, bool backward,
                                 head_scratch *out, mneme_error *error)
{
    size_t queries, keys;
    longest(input, &queries, &keys);
    size_t rows = (queries > keys ? queries : keys) * padded(head), square = queries * padded(keys);
    size_t total = head * padded(keys) + 3 * rows + square * (backward ? 2 : 1);
    float *block;
    *out = (head_scratch){.kernels = mn_block_kernels_beside(shard->arithmetic),
                          .transpose = shard->arithmetic->train_kernels->transpose};
    mneme_status status = mn_shard_floats(shard, total, &block, error);
    if (status != MNEME_OK) return status;
    memset(block, 0, total * sizeof *block); /* what pads a row is read; it may be anything but NaN */
    out->turned = block;
    out->left = out->turned + head * padded(keys);
    out->right = out->left + rows;
    out->result = out->right + rows;
    out->square = out->result + rows;
    out->square_backward = out->square + square;
    return MNEME_OK;
}

/* The head's columns of n rows, close together. */
static void gather(const head_place *place, const float *from, size_t n, float *to)
{
    size_t stride = padded(place->head);
    for (size_t r = 0; r < n; r++) memcpy(to + r * stride, from + r * place->width, place->head * sizeof *to);
}

static void scatter(const head_place *place, const float *from, size_t n, float *to)
{
    size_t stride = padded(place->head);
    for (size_t r = 0; r < n; r++) memcpy(to + r * place->width, from + r * stride, place->head * sizeof *to);
}

/* The same as columns: (D, M). */
static void turn(const head_scratch *scratch, const head_place *place, const float *from)
{
    scratch->transpose(from, place->width, place->n_keys, place->head, scratch->turned, padded(place->n_keys));
}

static mn_softmax_rows softmax_rows(const mn_train_attention *attention, const head_place *place)
{
    return (mn_softmax_rows){.stride = padded(place->n_keys),
                             .n_rows = place->n_queries,
                             .n = place->n_keys,
                             .visible = attention->options.causal ? 1 : place->n_keys,
                             .scale = 1.0f / sqrtf((float)place->head)};
}

/* (T, M) = rows of `from` times what has been turned. */
static void multiply_turned(const mn_train_attention *attention, const head_scratch *scratch, const head_place *place,
                            const float *from, float *square)
{
    const mn_small_product product = {.a = from,
                                      .a_stride = place->width,
                                      .b = scratch->turned,
                                      .b_stride = padded(place->n_keys),
                                      .c = square,
                                      .c_stride = padded(place->n_keys),
                                      .m = place->n_queries,
                                      .n = place->n_keys,
                                      .k = (uint32_t)place->head,
                                      .triangle = attention->options.causal ? MN_TRIANGLE_RESULT : MN_TRIANGLE_NONE};
    scratch->kernels->multiply(&product);
}

/* The head's columns of `to` = square (or its transpose) times `right`. */
static void multiply_square(const mn_train_attention *attention, const head_scratch *scratch, const head_place *place,
                            const float *square, bool transposed, const float *right, float *to)
{
    mn_triangle triangle = transposed ? MN_TRIANGLE_UPPER : MN_TRIANGLE_LOWER;
    const mn_small_product product = {.a = square,
                                      .transposed = transposed,
                                      .a_stride = padded(place->n_keys),
                                      .b = right,
                                      .b_stride = padded(place->head),
                                      .c = scratch->result,
                                      .c_stride = padded(place->head),
                                      .m = transposed ? place->n_keys : place->n_queries,
                                      .n = (uint32_t)place->head,
                                      .k = transposed ? place->n_queries : place->n_keys,
                                      .triangle = attention->options.causal ? triangle : MN_TRIANGLE_NONE};
    scratch->kernels->multiply(&product);
    scatter(place, scratch->result, product.m, to);
}

/* The weights as they are multiplied with the values. */
static const float *dropped(const mn_train_attention *attention, const head_scratch *scratch, const head_place *place,
                            bool drops)
{
    if (!drops) return place->weights;
    mn_dropout(place->dropout_state, attention->options.dropout, place->weights,
               place->n_queries * padded(place->n_keys), scratch->square);
    return scratch->square;
}

static void head_forward(const mn_train_attention *attention, const head_scratch *scratch, const head_place *place,
                         bool drops)
{
    const mn_softmax_rows rows = softmax_rows(attention, place);
    turn(scratch, place, place->k);
    multiply_turned(attention, scratch, place, place->q, place->weights);
    scratch->kernels->softmax(&rows, place->weights);
    gather(place, place->v, place->n_keys, scratch->right);
    multiply_square(attention, scratch, place, dropped(attention, scratch, place, drops), false, scratch->right,
                    place->context);
}

/* place->context: dO. */
static void head_backward(const mn_train_attention *attention, const head_scratch *scratch, const head_place *place,
                          bool drops)
{
    const mn_softmax_rows rows = softmax_rows(attention, place);
    float *d_weights = scratch->square_backward;
    turn(scratch, place, place->v);
    multiply_turned(attention, scratch, place, place->context, d_weights);
    gather(place, place->context, place->n_queries, scratch->right);
    multiply_square(attention, scratch, place, dropped(attention, scratch, place, drops), true, scratch->right,
                    place->v);
    if (drops)
        mn_dropout(place->dropout_state, attention->options.dropout, d_weights,
                   place->n_queries * padded(place->n_keys), d_weights);
    scratch->kernels->softmax_backward(&rows, place->weights, d_weights);
    gather(place, place->q, place->n_queries, scratch->left);
    gather(place, place->k, place->n_keys, scratch->right);
    multiply_square(attention, scratch, place, d_weights, false, scratch->right, place->q);
    multiply_square(attention, scratch, place, d_weights, true, scratch->left, place->k);
}

/* ---- all heads -------------------------------------------------------------------------------------------------- */

/* Floats of the weights of all sequences and heads. */
static size_t weights_size(const mn_attention_input *input, size_t n_heads)
{
    size_t total = 0;
    for (size_t i = 0; i < input->sequences.n; i++)
        total += (size_t)(input->sequences.offsets[i + 1] - input->sequences.offsets[i]) *
                 padded(input->memory_sequences.offsets[i + 1] - input->memory_sequences.offsets[i]);
    return total * n_heads;
}

static void clear_columns(const head_place *place, float *to, size_t n)
{
    for (size_t r = 0; r < n; r++) memset(to + r * place->width, 0, place->head * sizeof *to);
}

static void run_heads(const mn_train_attention *attention, const head_scratch *scratch, const mn_attention_saved *saved,
                      float *context, bool backward)
{
    size_t width = attention->options.hidden, n_heads = attention->options.n_heads, head = width / n_heads;
    float *weights = saved->weights;
    mn_random states = {saved->dropout_state};
    for (size_t s = 0; s < saved->input.sequences.n; s++) {
        const uint32_t *rows = saved->input.sequences.offsets + s, *keys = saved->input.memory_sequences.offsets + s;
        for (size_t h = 0; h < n_heads; h++) {
            size_t first = rows[0] * width + h * head, first_key = keys[0] * width + h * head;
            const head_place place = {.n_queries = rows[1] - rows[0],
                                      .n_keys = keys[1] - keys[0],
                                      .width = width,
                                      .head = head,
                                      .q = saved->q + first,
                                      .k = saved->k + first_key,
                                      .v = saved->v + first_key,
                                      .context = context + first,
                                      .weights = weights,
                                      .dropout_state = mn_random_next(&states)};
            weights += place.n_queries * padded(place.n_keys);
            if (place.n_keys == 0)
                clear_columns(&place, backward ? place.q : place.context, place.n_queries);
            else if (backward)
                head_backward(attention, scratch, &place, saved->drops);
            else
                head_forward(attention, scratch, &place, saved->drops);
        }
    }
}

static const float *memory_of(const mn_attention_input *input)
{
    return input->memory ? input->memory : input->x;
}

static mneme_status take_saved(const mn_train_attention *attention, mn_shard *shard, const mn_attention_input *input,
                               mn_attention_saved *saved, mneme_error *error)
{
    size_t hidden = attention->options.hidden;
    *saved = (mn_attention_saved){.input = *input};
    if (!input->memory) saved->input.memory_sequences = input->sequences;
    size_t rows = mn_sequences_rows(&input->sequences), keys = mn_sequences_rows(&saved->input.memory_sequences);
    saved->drops = shard->training && attention->options.dropout > 0;
    if (saved->drops) saved->dropout_state = mn_random_next(&shard->random);
    mneme_status status = mn_shard_floats(shard, rows * hidden, &saved->q, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, keys * hidden, &saved->k, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, keys * hidden, &saved->v, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, rows * hidden, &saved->context, error);
    if (status == MNEME_OK)
        status =
            mn_shard_floats(shard, weights_size(&saved->input, attention->options.n_heads), &saved->weights, error);
    return status;
}

mneme_status mn_train_attention_forward(const mn_train_attention *attention, mn_shard *shard,
                                        const mn_attention_input *input, float *y, mn_attention_saved *saved,
                                        mneme_error *error)
{
    head_scratch scratch;
    const float *memory = memory_of(input);
    mneme_status status = take_saved(attention, shard, input, saved, error);
    if (status != MNEME_OK) return status;
    uint32_t rows = mn_sequences_rows(&input->sequences), keys = mn_sequences_rows(&saved->input.memory_sequences);
    status = take_scratch(shard, &saved->input, attention->options.hidden / attention->options.n_heads, false, &scratch,
                          error);
    if (status == MNEME_OK) status = mn_dense_forward(&attention->query, shard, input->x, rows, saved->q, error);
    if (status == MNEME_OK) status = mn_dense_forward(&attention->key, shard, memory, keys, saved->k, error);
    if (status == MNEME_OK) status = mn_dense_forward(&attention->value, shard, memory, keys, saved->v, error);
    if (status != MNEME_OK) return status;
    run_heads(attention, &scratch, saved, saved->context, false);
    return mn_dense_forward(&attention->output, shard, saved->context, rows, y, error);
}

/* The gradients of a projection; dx is added to. */
static mneme_status backward_projection(const mn_dense *dense, mn_shard *shard, const float *x, const float *dy,
                                        uint32_t n, float *dx, mneme_error *error)
{
    mneme_status status = mn_dense_backward(dense, shard, x, dy, n, NULL, error);
    if (status != MNEME_OK || !dx) return status;
    const mn_product_out out = {.c = dx, .stride = dense->weight->options.columns, .add = true};
    return mn_multiply_right(shard->arithmetic, &shard->scratch, dy, dense->weight->options.rows, n,
                             &dense->weight->backward, &out, error);
}

mneme_status mn_train_attention_backward(const mn_train_attention *attention, mn_shard *shard,
                                         mn_attention_saved *saved, const float *dy, float *dx, float *d_memory,
                                         mneme_error *error)
{
    const mn_attention_input *input = &saved->input;
    uint32_t rows = mn_sequences_rows(&input->sequences), keys = mn_sequences_rows(&input->memory_sequences);
    uint32_t hidden = attention->options.hidden;
    head_scratch scratch;
    float *d_context, *d_keys = input->memory ? d_memory : dx;
    mneme_status status = mn_shard_floats(shard, (size_t)rows * hidden, &d_context, error);
    if (status == MNEME_OK)
        status = take_scratch(shard, input, hidden / attention->options.n_heads, true, &scratch, error);
    if (status == MNEME_OK)
        status = mn_dense_backward(&attention->output, shard, saved->context, dy, rows, d_context, error);
    if (status != MNEME_OK) return status;
    run_heads(attention, &scratch, saved, d_context, true);
    status = backward_projection(&attention->query, shard, input->x, saved->q, rows, dx, error);
    if (status == MNEME_OK)
        status = backward_projection(&attention->key, shard, memory_of(input), saved->k, keys, d_keys, error);
    if (status == MNEME_OK)
        status = backward_projection(&attention->value, shard, memory_of(input), saved->v, keys, d_keys, error);
    return status;
}
