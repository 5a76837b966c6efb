/* transformer_block.c -- see transformer_block.h.
 *
 * The three parts differ in f alone; what goes around it (LayerNorm, dropout, residual) is written once:
 *
 *              norm after                           norm before
 *     forward  s = x + drop(f(x)); y = LN(s)        a = LN(x); y = x + drop(f(a))
 *     backward ds = LN'(dy); dx = ds + f'(drop ds)  dx = dy + LN'(f'(drop dy)) */
#include "encoder/train/transformer_block.h"

typedef enum part { PART_ATTENTION, PART_CROSS, PART_FEED } part;

static void start_small(mn_dense *dense)
{
    dense->weight->options.initial = MN_INITIAL_NORMAL;
    dense->weight->options.scale = 0.02f;
    dense->bias->options.initial = MN_INITIAL_ZERO;
}

static mneme_status add_norm(mn_parameters *parameters, const char *prefix, const char *name,
                             const mn_transformer_options *options, mn_layer_norm *out, mneme_error *error)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return mn_layer_norm_add(parameters, full, options->hidden, options->epsilon, out, error);
}

static mneme_status add_attention(mn_parameters *parameters, const char *prefix, const char *name,
                                  const mn_train_attention_options *options, mn_train_attention *out,
                                  mneme_error *error)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return mn_train_attention_add(parameters, full, options, out, error);
}

static mneme_status add_feed(mn_parameters *parameters, const char *prefix, mn_transformer_block *block,
                             mneme_error *error)
{
    char full[256];
    uint32_t hidden = block->options.hidden, wide = block->options.intermediate;
    snprintf(full, sizeof full, "%s.intermediate.dense", prefix);
    mneme_status status = mn_dense_add(parameters, full, hidden, wide, true, &block->up, error);
    snprintf(full, sizeof full, "%s.output.dense", prefix);
    if (status == MNEME_OK) status = mn_dense_add(parameters, full, wide, hidden, true, &block->down, error);
    if (status != MNEME_OK) return status;
    start_small(&block->up);
    start_small(&block->down);
    return MNEME_OK;
}

mneme_status mn_transformer_block_add(mn_parameters *parameters, const char *prefix,
                                      const mn_transformer_options *options, mn_transformer_block *out,
                                      mneme_error *error)
{
    *out = (mn_transformer_block){.options = *options};
    mn_train_attention_options attention = {
        .hidden = options->hidden, .n_heads = options->n_heads, .causal = options->causal, .dropout = options->dropout};
    mneme_status status = add_attention(parameters, prefix, "attention", &attention, &out->attention, error);
    if (status == MNEME_OK)
        status = add_norm(parameters, prefix, "attention.output.LayerNorm", options, &out->attention_norm, error);
    attention.causal = false;
    attention.memory_width = options->memory_width;
    if (status == MNEME_OK && options->crosses)
        status = add_attention(parameters, prefix, "crossattention", &attention, &out->cross, error);
    if (status == MNEME_OK && options->crosses)
        status = add_norm(parameters, prefix, "crossattention.output.LayerNorm", options, &out->cross_norm, error);
    if (status == MNEME_OK) status = add_feed(parameters, prefix, out, error);
    if (status == MNEME_OK)
        status = add_norm(parameters, prefix, "output.LayerNorm", options, &out->output_norm, error);
    return status;
}

/* ---- the parts -------------------------------------------------------------------------------------------------- */

static mneme_status feed_forward(const mn_transformer_block *block, mn_shard *shard, const float *x, uint32_t n_rows,
                                 float *y, mn_residual_saved *saved, mneme_error *error)
{
    size_t size = (size_t)n_rows * block->options.intermediate;
    mneme_status status = mn_shard_floats(shard, size, &saved->of.feed.wide, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, size, &saved->of.feed.activated, error);
    if (status == MNEME_OK) status = mn_dense_forward(&block->up, shard, x, n_rows, saved->of.feed.wide, error);
    if (status != MNEME_OK) return status;
    mn_block_kernels_beside(shard->arithmetic)
        ->activate(block->options.activation, saved->of.feed.wide, size, saved->of.feed.activated);
    return mn_dense_forward(&block->down, shard, saved->of.feed.activated, n_rows, y, error);
}

/* dx is added to. */
static mneme_status feed_backward(const mn_transformer_block *block, mn_shard *shard, const mn_residual_saved *saved,
                                  uint32_t n_rows, const float *dy, float *dx, mneme_error *error)
{
    size_t size = (size_t)n_rows * block->options.intermediate;
    float *d_wide = NULL;
    mneme_status status = mn_shard_floats(shard, size, &d_wide, error);
    if (status == MNEME_OK)
        status = mn_dense_backward(&block->down, shard, saved->of.feed.activated, dy, n_rows, d_wide, error);
    if (status != MNEME_OK) return status;
    mn_block_kernels_beside(shard->arithmetic)
        ->activate_backward(block->options.activation, saved->of.feed.wide, d_wide, size, d_wide);
    status = mn_dense_backward(&block->up, shard, saved->x, d_wide, n_rows, NULL, error);
    if (status != MNEME_OK) return status;
    const mn_product_out out = {.c = dx, .stride = block->options.hidden, .add = true};
    return mn_multiply_right(shard->arithmetic, &shard->scratch, d_wide, block->options.intermediate, n_rows,
                             &block->up.weight->backward, &out, error);
}

static const mn_layer_norm *norm_of(const mn_transformer_block *block, part which)
{
    return which == PART_ATTENTION ? &block->attention_norm
           : which == PART_CROSS   ? &block->cross_norm
                                   : &block->output_norm;
}

static mneme_status part_forward(const mn_transformer_block *block, part which, mn_shard *shard,
                                 const mn_attention_input *input, float *y, mn_residual_saved *saved,
                                 mneme_error *error)
{
    saved->x = input->x;
    if (which == PART_FEED)
        return feed_forward(block, shard, input->x, mn_sequences_rows(&input->sequences), y, saved, error);
    mn_attention_input own = *input;
    if (which == PART_ATTENTION) own.memory = NULL;
    return mn_train_attention_forward(which == PART_CROSS ? &block->cross : &block->attention, shard, &own, y,
                                      &saved->of.attention, error);
}

/* dx is added to. */
static mneme_status part_backward(const mn_transformer_block *block, part which, mn_shard *shard,
                                  mn_residual_saved *saved, const float *dy, float *dx, float *d_memory,
                                  uint32_t n_rows, mneme_error *error)
{
    if (which == PART_FEED) return feed_backward(block, shard, saved, n_rows, dy, dx, error);
    return mn_train_attention_backward(which == PART_CROSS ? &block->cross : &block->attention, shard,
                                       &saved->of.attention, dy, dx, d_memory, error);
}

/* ---- what goes around them -------------------------------------------------------------------------------------- */

static mneme_status residual_forward(const mn_transformer_block *block, part which, mn_shard *shard,
                                     const mn_attention_input *input, float *y, mn_residual_saved *saved,
                                     mneme_error *error)
{
    const mn_block_kernels *kernels = mn_block_kernels_beside(shard->arithmetic);
    const mn_layer_norm *norm = norm_of(block, which);
    bool first = block->options.norm_first;
    uint32_t n_rows = mn_sequences_rows(&input->sequences);
    size_t size = (size_t)n_rows * block->options.hidden;
    mn_attention_input own = *input;
    float *between; /* LN(x), or the sum */
    mneme_status status = mn_shard_floats(shard, size, &between, error);
    if (status == MNEME_OK && first) {
        own.x = between;
        status = mn_layer_norm_forward(norm, shard, input->x, n_rows, between, &saved->norm, error);
    }
    float *f = first ? y : between;
    if (status == MNEME_OK) status = part_forward(block, which, shard, &own, f, saved, error);
    if (status != MNEME_OK) return status;
    saved->drops = shard->training && block->options.dropout > 0;
    if (saved->drops) {
        saved->dropout_state = mn_random_next(&shard->random);
        mn_dropout(saved->dropout_state, block->options.dropout, f, size, f);
    }
    kernels->add(f, input->x, size, f);
    return first ? MNEME_OK : mn_layer_norm_forward(norm, shard, between, n_rows, y, &saved->norm, error);
}

/* dx may be dy. */
static mneme_status residual_backward(const mn_transformer_block *block, part which, mn_shard *shard,
                                      mn_residual_saved *saved, uint32_t n_rows, const float *dy, float *dx,
                                      float *d_memory, mneme_error *error)
{
    const mn_layer_norm *norm = norm_of(block, which);
    bool first = block->options.norm_first;
    size_t size = (size_t)n_rows * block->options.hidden;
    float *d_inner, *d_f = NULL;
    mneme_status status = mn_shard_floats(shard, size, &d_inner, error);
    if (status == MNEME_OK && saved->drops) status = mn_shard_floats(shard, size, &d_f, error);
    if (status != MNEME_OK) return status;
    /* d_inner: norm first, the gradient of LN(x); else that of the sum, to which f's is added. */
    if (first)
        memset(d_inner, 0, size * sizeof *d_inner);
    else
        mn_layer_norm_backward(norm, shard, &saved->norm, dy, NULL, dx);
    const float *d_sum = first ? dy : dx;
    if (saved->drops) mn_dropout(saved->dropout_state, block->options.dropout, d_sum, size, d_f);
    if (!first) {
        memcpy(d_inner, dx, size * sizeof *d_inner);
        if (!saved->drops) d_f = d_inner;
        return part_backward(block, which, shard, saved, d_f, dx, d_memory, n_rows, error);
    }
    status = part_backward(block, which, shard, saved, saved->drops ? d_f : dy, d_inner, d_memory, n_rows, error);
    if (status == MNEME_OK) mn_layer_norm_backward(norm, shard, &saved->norm, d_inner, dy, dx);
    return status;
}

mneme_status mn_transformer_block_forward(const mn_transformer_block *block, mn_shard *shard,
                                          const mn_attention_input *input, float *y, mn_transformer_saved *saved,
                                          mneme_error *error)
{
    mn_attention_input own = *input;
    *saved = (mn_transformer_saved){.n_rows = mn_sequences_rows(&input->sequences),
                                    .has_memory = block->options.crosses && input->memory};
    size_t size = (size_t)saved->n_rows * block->options.hidden;
    float *after_attention, *after_cross = NULL;
    mneme_status status = mn_shard_floats(shard, size, &after_attention, error);
    if (status == MNEME_OK && saved->has_memory) status = mn_shard_floats(shard, size, &after_cross, error);
    if (status == MNEME_OK)
        status = residual_forward(block, PART_ATTENTION, shard, &own, after_attention, &saved->attention, error);
    own.x = after_attention;
    if (status == MNEME_OK && saved->has_memory) {
        status = residual_forward(block, PART_CROSS, shard, &own, after_cross, &saved->cross, error);
        own.x = after_cross;
    }
    if (status == MNEME_OK) status = residual_forward(block, PART_FEED, shard, &own, y, &saved->feed, error);
    return status;
}

mneme_status mn_transformer_block_backward(const mn_transformer_block *block, mn_shard *shard,
                                           mn_transformer_saved *saved, const float *dy, float *dx, float *d_memory,
                                           mneme_error *error)
{
    mneme_status status = residual_backward(block, PART_FEED, shard, &saved->feed, saved->n_rows, dy, dx, NULL, error);
    if (status == MNEME_OK && saved->has_memory)
        status = residual_backward(block, PART_CROSS, shard, &saved->cross, saved->n_rows, dx, dx, d_memory, error);
    if (status == MNEME_OK)
        status = residual_backward(block, PART_ATTENTION, shard, &saved->attention, saved->n_rows, dx, dx, NULL, error);
    return status;
}
