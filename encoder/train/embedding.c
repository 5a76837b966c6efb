/* embedding.c -- see embedding.h. */
#include "encoder/train/embedding.h"

#include <math.h>
#include <string.h>

mneme_status mn_embedding_add(mn_parameters *parameters, const char *name, const mn_embedding_options *options,
                              mn_embedding *out, mneme_error *error)
{
    const mn_parameter_options table = {.rows = options->n_rows,
                                        .columns = options->width,
                                        .initial = MN_INITIAL_NORMAL,
                                        .scale = options->deviation,
                                        .decays = true,
                                        .sparse = options->sparse && !options->tied,
                                        .packed = options->tied};
    out->table = mn_parameters_add(parameters, &table, "%s", name);
    return out->table ? MNEME_OK : mn_fail_memory(error, name);
}

void mn_embedding_forward(const mn_embedding *embedding, const uint32_t *ids, size_t n, float *y)
{
    size_t width = embedding->table->options.columns;
    for (size_t i = 0; i < n; i++) memcpy(y + i * width, embedding->table->value + ids[i] * width, width * sizeof *y);
}

static void add_row(float *sum, const float *row, size_t n)
{
    for (size_t i = 0; i < n; i++) sum[i] += row[i];
}

mneme_status mn_embedding_backward(const mn_embedding *embedding, mn_shard *shard, const uint32_t *ids, size_t n,
                                   const float *dy, mneme_error *error)
{
    size_t width = embedding->table->options.columns;
    if (embedding->table->frozen) return MNEME_OK;
    if (embedding->table->options.sparse) return mn_shard_add_rows(shard, embedding->table, ids, dy, n, error);
    float *gradient = mn_gradient_of(shard, embedding->table);
    for (size_t i = 0; i < n; i++) add_row(gradient + ids[i] * width, dy + i * width, width);
    return MNEME_OK;
}

mneme_status mn_embedding_output(mn_parameters *parameters, const mn_embedding *embedding, const char *bias_name,
                                 mn_dense *out, mneme_error *error)
{
    const mn_parameter_options bias = {
        .rows = 1, .columns = embedding->table->options.rows, .initial = MN_INITIAL_ZERO};
    *out = (mn_dense){.weight = embedding->table};
    if (!bias_name) return MNEME_OK;
    out->bias = mn_parameters_add(parameters, &bias, "%s", bias_name);
    return out->bias ? MNEME_OK : mn_fail_memory(error, bias_name);
}

mneme_status mn_positions_add(mn_parameters *parameters, const char *name, uint32_t n, uint32_t width, float deviation,
                              mn_positions *out, mneme_error *error)
{
    const mn_parameter_options table = {
        .rows = n, .columns = width, .initial = MN_INITIAL_NORMAL, .scale = deviation, .decays = true};
    *out = (mn_positions){.table = mn_parameters_add(parameters, &table, "%s", name), .n = n, .width = width};
    return out->table ? MNEME_OK : mn_fail_memory(error, name);
}

mneme_status mn_positions_fixed(mn_parameters *parameters, uint32_t n, uint32_t width, mn_positions *out,
                                mneme_error *error)
{
    size_t size;
    bool fits = mn_multiply(n, (size_t)width * sizeof(float), &size);
    *out = (mn_positions){.fixed = fits ? mn_arena_alloc(&parameters->arena, size) : NULL, .n = n, .width = width};
    if (!out->fixed) return mn_fail_memory(error, "positions");
    for (size_t p = 0; p < n; p++)
        for (size_t i = 0; i < width; i++) {
            double angle = (double)p / pow(10000.0, (double)(i / 2 * 2) / (double)width);
            out->fixed[p * width + i] = (float)(i % 2 ? cos(angle) : sin(angle));
        }
    return MNEME_OK;
}

void mn_positions_forward(const mn_positions *positions, const mn_sequences *sequences, float *x)
{
    const float *rows = positions->table ? positions->table->value : positions->fixed;
    for (size_t s = 0; s < sequences->n; s++) {
        size_t first = sequences->offsets[s], length = sequences->offsets[s + 1] - first;
        add_row(x + first * positions->width, rows, length * positions->width);
    }
}

void mn_positions_backward(const mn_positions *positions, mn_shard *shard, const mn_sequences *sequences,
                           const float *dx)
{
    if (!positions->table || positions->table->frozen) return;
    float *gradient = mn_gradient_of(shard, positions->table);
    for (size_t s = 0; s < sequences->n; s++) {
        size_t first = sequences->offsets[s], length = sequences->offsets[s + 1] - first;
        add_row(gradient, dx + first * positions->width, length * positions->width);
    }
}
