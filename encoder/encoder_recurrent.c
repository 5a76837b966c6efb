/* encoder_recurrent.c -- an LSTM or GRU as an encoder. */
#include "encoder/encoder_internal.h"

#include <string.h>
#include <xxhash.h>

static mneme_status recurrent_encode(mn_encoder *encoder, const mn_token_batch *batch, unsigned worker, mn_crew *crew,
                                     float *vectors, mneme_error *error)
{
    return mn_recurrent_model_encode(encoder->recurrent, batch, worker, crew, vectors, error);
}

static void recurrent_destroy(mn_encoder *encoder)
{
    mn_recurrent_model_close(encoder->recurrent);
}

/* A step reads all recurrent weights: about as long as multiplying a dozen rows by them takes. 2,048 tokens are ten
 * abstracts; the states of 8,192 take 17 MB a thread (512 columns). */
#define PACKS 2048, 8192
static const mn_encoder_operations recurrent_operations = {recurrent_encode, recurrent_destroy, 0, true, PACKS};
static const mn_encoder_operations with_special_tokens = {recurrent_encode, recurrent_destroy, 2, true, PACKS};

static void describe(mn_encoder *encoder, const char *reason)
{
    const mn_recurrent_config *config = &encoder->recurrent_config;
    uint64_t parts[] = {mn_recurrent_model_fingerprint(encoder->recurrent),
                        mn_tokenizer_fingerprint(encoder->tokenizer), config->max_tokens, config->special_tokens};
    encoder->info = (mneme_encoder_info){.name = encoder->name,
                                         .path = encoder->folder,
                                         .kind = config->cell == MN_CELL_LSTM ? "lstm" : "gru",
                                         .precision = mn_precision_name(encoder->arithmetic.precision),
                                         .kernels = encoder->arithmetic.product->name,
                                         .reason = reason,
                                         .pooling = config->attentive ? "attentive" : "mean",
                                         .dimension = config->output,
                                         .max_tokens = config->max_tokens,
                                         .n_layers = config->n_layers,
                                         .vocabulary = config->vocabulary,
                                         .n_parameters = mn_recurrent_model_parameters(encoder->recurrent),
                                         .packed_file = encoder->packed_path,
                                         .fingerprint = XXH3_64bits(parts, sizeof parts)};
}

static mneme_status open_parts(mn_encoder *encoder, mneme_error *error)
{
    const mn_packed_part *weights = &encoder->packed.parts[MN_PACKED_WEIGHTS];
    mneme_status status = mn_encoder_open_tokenizer(encoder, error);
    if (status == MNEME_OK) status = mn_encoder_check_vocabulary(encoder, encoder->recurrent_config.vocabulary, error);
    if (status != MNEME_OK) return status;
    bool reference = encoder->arithmetic.kernels == mn_kernels_reference();
    mn_recurrent_model_options options = {.folder = encoder->folder,
                                          .config = &encoder->recurrent_config,
                                          .arithmetic = encoder->arithmetic,
                                          .output = mn_arithmetic_for(MN_PRECISION_F32, encoder->level, reference),
                                          .gates = reference ? mn_gate_kernels_reference()
                                                             : mn_gate_kernels_for(encoder->level),
                                          .unknown = mn_tokenizer_unk(encoder->tokenizer),
                                          .packed = weights->data,
                                          .packed_size = weights->size,
                                          .workers = mn_threads_count(encoder->threads)};
    return mn_recurrent_model_open(&options, &encoder->recurrent, error);
}

static const void *packed_weights(const mn_encoder *encoder, size_t *size)
{
    return mn_recurrent_model_image(encoder->recurrent, size);
}

mneme_status mn_encoder_open_recurrent(mn_encoder *encoder, const mn_encoder_options *options, mneme_error *error)
{
    encoder->operations = &recurrent_operations;
    const char *reason = NULL;
    mneme_status status = mn_recurrent_config_read(encoder->folder, &encoder->recurrent_config, error);
    if (status == MNEME_OK && encoder->recurrent_config.special_tokens) encoder->operations = &with_special_tokens;
    if (status == MNEME_OK) status = mn_encoder_choose_arithmetic(encoder, options, &reason, error);
    if (status == MNEME_OK) status = mn_encoder_open_parts(encoder, options, open_parts, packed_weights, error);
    if (status == MNEME_OK) describe(encoder, reason);
    return status;
}
