/* encoder_transformer.c -- a Transformer as an encoder: opened from the packed file of an earlier process or
 * from the model folder. */
#include "encoder/encoder_internal.h"

#include <string.h>
#include <xxhash.h>

static mneme_status transformer_encode(mn_encoder *encoder, const mn_token_batch *batch, unsigned worker, mn_crew *crew,
                                       float *vectors, mneme_error *error)
{
    return mn_bert_encode(encoder->bert, batch, worker, crew, vectors, error);
}

static void transformer_destroy(mn_encoder *encoder)
{
    mn_bert_close(encoder->bert);
}

static const mn_encoder_operations transformer_operations = {
    transformer_encode, transformer_destroy, 2, true, 256, 256};

static const char *pooling_name(mn_pooling pooling)
{
    return pooling == MN_POOLING_CLS ? "cls" : pooling == MN_POOLING_MAX ? "max" : "mean";
}

static void describe_transformer(mn_encoder *encoder, const char *reason)
{
    const mn_model_config *config = &encoder->config;
    const char *prompt = config->passage_prompt ? config->passage_prompt : ""; /* it is part of every vector kept */
    uint64_t parts[] = {mn_bert_fingerprint(encoder->bert), mn_tokenizer_fingerprint(encoder->tokenizer),
                        (uint64_t)config->pooling, config->max_tokens, XXH3_64bits(prompt, strlen(prompt))};
    size_t n_parts = sizeof parts / sizeof parts[0] - (*prompt ? 0 : 1);
    encoder->info = (mneme_encoder_info){.name = encoder->name,
                                         .path = encoder->folder,
                                         .kind = "transformer",
                                         .precision = mn_precision_name(encoder->arithmetic.precision),
                                         .kernels = encoder->arithmetic.product->name,
                                         .reason = reason,
                                         .pooling = pooling_name(config->pooling),
                                         .dimension = config->hidden,
                                         .max_tokens = config->max_tokens,
                                         .n_layers = config->n_layers,
                                         .n_heads = config->n_heads,
                                         .vocabulary = config->vocabulary,
                                         .n_parameters = mn_bert_parameters(encoder->bert),
                                         .query_prompt = config->query_prompt,
                                         .passage_prompt = config->passage_prompt,
                                         .packed_file = encoder->packed_path,
                                         .fingerprint = XXH3_64bits(parts, n_parts * sizeof parts[0])};
}

static mneme_status check_vocabulary(const mn_encoder *encoder, mneme_error *error)
{
    if (mn_tokenizer_cls(encoder->tokenizer) == mn_tokenizer_unk(encoder->tokenizer))
        return mn_fail(error, MNEME_ERR_MODEL, "model %s: the vocabulary has no [CLS]", encoder->folder);
    return mn_encoder_check_vocabulary(encoder, encoder->config.vocabulary, error);
}

static mneme_status open_parts(mn_encoder *encoder, mneme_error *error)
{
    const mn_packed_part *weights = &encoder->packed.parts[MN_PACKED_WEIGHTS];
    mneme_status status = mn_encoder_open_tokenizer(encoder, error);
    if (status == MNEME_OK) status = check_vocabulary(encoder, error);
    if (status == MNEME_OK)
        status = mn_bert_open(encoder->folder, &encoder->config, &encoder->arithmetic, weights->data, weights->size,
                              mn_threads_count(encoder->threads), &encoder->bert, error);
    return status;
}

static const void *packed_weights(const mn_encoder *encoder, size_t *size)
{
    return mn_bert_image(encoder->bert, size);
}

mneme_status mn_encoder_open_transformer(mn_encoder *encoder, const mn_encoder_options *options, mneme_error *error)
{
    encoder->operations = &transformer_operations;
    const char *reason = NULL;
    mneme_status status = mn_model_config_read(encoder->folder, &encoder->config, error);
    if (status == MNEME_OK) status = mn_encoder_choose_arithmetic(encoder, options, &reason, error);
    if (status == MNEME_OK) status = mn_encoder_open_parts(encoder, options, open_parts, packed_weights, error);
    if (status == MNEME_OK) describe_transformer(encoder, reason);
    return status;
}
