/* recurrent_model.c -- opening an LSTM or GRU encoder: its weights, checked and packed.
 *
 * The token table is read in place from the mapped file. All other weights lie packed in one block of memory, the
 * image, either filled here or mapped from a file that an earlier process wrote (packed_file.c). */
#include "encoder/recurrent_model.h"

#include "common/file.h"
#include "common/memory.h"
#include "encoder/recurrent_internal.h"
#include "encoder/weight_shards.h"

#include <string.h>
#include <xxhash.h>

/* ---- the image ---- */

/* Where each weight lies in the image; counts only when image->base is NULL. */
static void place_weights(mn_recurrent_model *model, mn_image *image)
{
    const mn_recurrent_config *config = &model->config;
    const mn_arithmetic *a = &model->arithmetic;
    uint32_t wide = mn_cell_gates(config->cell) * config->hidden;
    for (size_t i = 0; i < config->n_layers; i++) {
        for (size_t d = 0; d < mn_recurrent_config_directions(config); d++) {
            mn_linear_place(&model->layers[i][d].input, a, wide, mn_recurrent_model_inputs(config, i), image);
            mn_linear_place(&model->layers[i][d].recurrent, a, wide, config->hidden, image);
        }
    }
    if (config->attentive)
        model->attention = mn_image_take(image, (size_t)mn_recurrent_config_width(config) + 1, sizeof(float));
    mn_linear_place(&model->output, &model->output_arithmetic, config->output, mn_recurrent_model_joined(config),
                    image);
}

/* Both biases of a direction, (G H) each: `input` gets what can be added up before the recurrent product is known,
 * `recurrent` the rest, which is the GRU's candidate (its reset gate multiplies it). */
static mneme_status read_biases(const mn_recurrent_model *model, const char *ending, float *input, float *recurrent,
                                mneme_error *error)
{
    const mn_model_weights weights = mn_recurrent_model_weights(model);
    uint32_t hidden = model->config.hidden, n = mn_cell_gates(model->config.cell) * hidden;
    char name[64];
    snprintf(name, sizeof name, "recurrent.bias_ih_%s", ending);
    mneme_status status = mn_weights_copy(&weights, name, n, 0, input, error);
    snprintf(name, sizeof name, "recurrent.bias_hh_%s", ending);
    if (status == MNEME_OK) status = mn_weights_copy(&weights, name, n, 0, recurrent, error);
    if (status != MNEME_OK) return status;
    uint32_t added = model->config.cell == MN_CELL_GRU ? 2 * hidden : n;
    for (uint32_t i = 0; i < added; i++) {
        input[i] += recurrent[i];
        recurrent[i] = 0;
    }
    return MNEME_OK;
}

/* A matrix (G H, linear->n_in) of the file with a bias that is ready. */
static mneme_status fill_product(const mn_recurrent_model *model, const char *name, const float *bias,
                                 mn_linear *linear, mneme_error *error)
{
    const mn_model_weights weights = mn_recurrent_model_weights(model);
    float *values = NULL;
    size_t n = 0;
    if (mn_multiply(linear->n_out, linear->n_in, &n)) values = mn_alloc_array(n, sizeof *values);
    if (!values) return mn_fail_memory(error, "weights");
    mneme_status status = mn_weights_copy(&weights, name, linear->n_out, linear->n_in, values, error);
    if (status == MNEME_OK) mn_linear_fill(linear, &model->arithmetic, 0, linear->n_out, values, bias);
    mn_free(values);
    return status;
}

static mneme_status fill_direction(const mn_recurrent_model *model, size_t layer, size_t d, mneme_error *error)
{
    mn_direction *direction = &model->layers[layer][d];
    size_t n = direction->input.n_out;
    char ending[32], name[64];
    snprintf(ending, sizeof ending, "l%zu%s", layer, d ? "_reverse" : "");
    float *biases = mn_alloc_array(n, 2 * sizeof *biases);
    if (!biases) return mn_fail_memory(error, "weights");
    mneme_status status = read_biases(model, ending, biases, biases + n, error);
    snprintf(name, sizeof name, "recurrent.weight_ih_%s", ending);
    if (status == MNEME_OK) status = fill_product(model, name, biases, &direction->input, error);
    snprintf(name, sizeof name, "recurrent.weight_hh_%s", ending);
    if (status == MNEME_OK) status = fill_product(model, name, biases + n, &direction->recurrent, error);
    mn_free(biases);
    return status;
}

static mneme_status fill_attention(const mn_recurrent_model *model, mneme_error *error)
{
    const mn_model_weights weights = mn_recurrent_model_weights(model);
    uint32_t width = mn_recurrent_config_width(&model->config);
    mneme_status status = mn_weights_copy(&weights, "attention.weight", 1, width, model->attention, error);
    if (status != MNEME_OK) return status;
    return mn_weights_copy(&weights, "attention.bias", 1, 0, model->attention + width, error);
}

/* Pack the weights into a new image, and look for what no vector should be made of. */
static mneme_status fill_image(mn_recurrent_model *model, mneme_error *error)
{
    const mn_recurrent_config *config = &model->config;
    const mn_model_weights weights = mn_recurrent_model_weights(model);
    model->owned_image = mn_alloc_aligned(64, model->image.size);
    if (!model->owned_image) return mn_fail_memory(error, "weights");
    memset(model->owned_image, 0, model->image.size); /* what rounds up is zero, so that a file of it repeats */
    model->image = (mn_image){.base = model->owned_image};
    place_weights(model, &model->image);
    mneme_status status = mn_weights_check(&weights, model->table, error);
    for (size_t i = 0; i < config->n_layers; i++)
        for (size_t d = 0; d < mn_recurrent_config_directions(config) && status == MNEME_OK; d++)
            status = fill_direction(model, i, d, error);
    if (status == MNEME_OK && config->attentive) status = fill_attention(model, error);
    if (status == MNEME_OK)
        status = mn_weights_fill(&weights, &model->output_arithmetic, "output.weight", "output.bias", 0, config->output,
                                 &model->output, error);
    if (status == MNEME_OK) mn_safetensors_release_pages(model->file);
    return status;
}

static mneme_status set_image(mn_recurrent_model *model, const void *packed, size_t packed_size, mneme_error *error)
{
    place_weights(model, &model->image);
    if (model->image.overflow) return mn_fail_memory(error, "weights");
    if (!packed) return fill_image(model, error);
    if (packed_size != model->image.size)
        return mn_fail(error, MNEME_ERR_DAMAGED, "packed weights of %zu bytes where %zu are needed", packed_size,
                       model->image.size);
    model->image = (mn_image){.base = (unsigned char *)(uintptr_t)packed};
    place_weights(model, &model->image);
    return MNEME_OK;
}

/* ---- open, close ---- */

/* Scales of operands: the rows of one block of a product all have the same one. */
static mneme_status fill_scales(mn_recurrent_model *model, mneme_error *error)
{
    const mn_row_format *format = &model->arithmetic.rows;
    if (!mn_is_integer(format->element)) return MNEME_OK;
    size_t n = model->arithmetic.product->block_rows;
    model->scales = mn_alloc_array(n, 2 * sizeof(float));
    if (!model->scales) return mn_fail_memory(error, "encoder");
    model->lows = model->scales + n;
    for (size_t i = 0; i < n; i++) {
        model->scales[i] = mn_gate_scale(format);
        model->lows[i] = mn_gate_low(format);
    }
    return MNEME_OK;
}

static mneme_status open_file(mn_recurrent_model *model, const mn_recurrent_model_options *options, mneme_error *error)
{
    char *path = mn_path_join(options->folder, "model.safetensors");
    mneme_status status = path ? mn_weights_open(path, &model->file, error) : mn_fail_memory(error, options->folder);
    mn_free(path);
    if (status != MNEME_OK) return status;
    const mn_model_weights weights = mn_recurrent_model_weights(model);
    status = mn_weights_find(&weights, "embedding.weight", model->config.vocabulary, model->config.embedding,
                             &model->table, error);
    if (status == MNEME_OK) status = set_image(model, options->packed, options->packed_size, error);
    return status;
}

mneme_status mn_recurrent_model_open(const mn_recurrent_model_options *options, mn_recurrent_model **out,
                                     mneme_error *error)
{
    *out = NULL;
    mn_recurrent_model *model = mn_alloc_zeroed(1, sizeof *model);
    if (!model) return mn_fail_memory(error, options->folder);
    model->config = *options->config;
    model->arithmetic = options->arithmetic;
    model->output_arithmetic = options->output;
    model->gates = options->gates;
    model->unknown = options->unknown;
    model->workers = options->workers;
    model->layers = mn_alloc_zeroed(options->config->n_layers, sizeof *model->layers);
    model->spaces = mn_alloc_zeroed(options->workers, sizeof *model->spaces);
    mneme_status status = MNEME_OK;
    if (!model->layers || !model->spaces) status = mn_fail_memory(error, options->folder);
    if (status == MNEME_OK) status = fill_scales(model, error);
    if (status == MNEME_OK) status = open_file(model, options, error);
    if (status != MNEME_OK) {
        mn_recurrent_model_close(model);
        return status;
    }
    *out = model;
    return MNEME_OK;
}

void mn_recurrent_model_close(mn_recurrent_model *model)
{
    if (!model) return;
    for (size_t i = 0; model->spaces && i < model->workers; i++) mn_recurrent_model_free_space(&model->spaces[i]);
    mn_free(model->spaces);
    mn_free(model->layers);
    mn_free(model->scales);
    mn_free(model->owned_image);
    mn_safetensors_close(model->file);
    mn_free(model);
}

/* ---- what it is ---- */

const void *mn_recurrent_model_image(const mn_recurrent_model *model, size_t *size)
{
    *size = model->image.size;
    return model->image.base;
}

uint64_t mn_recurrent_model_parameters(const mn_recurrent_model *model)
{
    return mn_weights_parameters(model->file);
}

uint64_t mn_recurrent_model_fingerprint(const mn_recurrent_model *model)
{
    const mn_recurrent_config *config = &model->config;
    uint64_t parts[] = {mn_weights_fingerprint(model->file), (uint64_t)config->cell,
                        (uint64_t)config->attentive << 1 | config->join_tokens};
    return XXH3_64bits(parts, sizeof parts);
}
