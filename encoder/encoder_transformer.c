/* encoder_transformer.c -- a Transformer as an encoder: choosing its arithmetic, and opening it from the packed file of
 * an earlier process or from the model folder. */
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

static const mn_encoder_operations transformer_operations = {transformer_encode, transformer_destroy, 2, true};

static const char *pooling_name(mn_pooling pooling)
{
    return pooling == MN_POOLING_CLS ? "cls" : pooling == MN_POOLING_MAX ? "max" : "mean";
}

static void describe_transformer(mn_encoder *encoder, const char *reason)
{
    const mn_model_config *config = &encoder->config;
    uint64_t parts[] = {mn_bert_fingerprint(encoder->bert), mn_tokenizer_fingerprint(encoder->tokenizer),
                        (uint64_t)config->pooling, config->max_tokens};
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
                                         .fingerprint = XXH3_64bits(parts, sizeof parts)};
}

static mneme_status choose_arithmetic(const mn_encoder_options *options, mn_arithmetic *out, const char **reason,
                                      mneme_error *error)
{
    static const char *const levels[] = {"reference", "avx2", "avx512", "amx"};
    bool reference = strcmp(options->kernels, levels[0]) == 0;
    mn_cpu_level level = MN_CPU_AMX; /* "auto" */
    for (size_t i = 1; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(options->kernels, levels[i]) == 0) level = (mn_cpu_level)i;
    mn_precision precision;
    if (strcmp(options->precision, "auto") == 0)
        precision = mn_fastest_precision(level, reference, reason);
    else if (mn_precision_parse(options->precision, &precision))
        *reason = "set by encoder.precision";
    else
        return mn_fail(error, MNEME_ERR_SETTING, "encoder.precision: \"%s\" is not known", options->precision);
    *out = mn_arithmetic_for(precision, level, reference);
    return MNEME_OK;
}

/* Everything that the packed weights depend on beside the model's files. */
static void describe_purpose(const mn_arithmetic *arithmetic, char *out, size_t size)
{
    snprintf(out, size, "%s-%s", mn_precision_name(arithmetic->precision), arithmetic->product->name);
}

static mneme_status check_vocabulary(const mn_encoder *encoder, mneme_error *error)
{
    if (mn_tokenizer_cls(encoder->tokenizer) == mn_tokenizer_unk(encoder->tokenizer))
        return mn_fail(error, MNEME_ERR_MODEL, "model %s: the vocabulary has no [CLS]", encoder->folder);
    uint32_t vocabulary = mn_tokenizer_vocabulary(encoder->tokenizer);
    if (vocabulary <= encoder->config.vocabulary) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_MODEL, "model %s: the vocabulary has %u tokens, the embedding table %u rows",
                   encoder->folder, vocabulary, encoder->config.vocabulary);
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

mneme_status mn_encoder_open_transformer(mn_encoder *encoder, const mn_encoder_options *options, mneme_error *error)
{
    encoder->operations = &transformer_operations;
    const char *reason = NULL;
    mneme_status status = mn_model_config_read(encoder->folder, &encoder->config, error);
    if (status == MNEME_OK) status = choose_arithmetic(options, &encoder->arithmetic, &reason, error);
    if (status != MNEME_OK) return status;
    char purpose[64];
    uint64_t stamp = 0;
    describe_purpose(&encoder->arithmetic, purpose, sizeof purpose);
    bool packed = mn_encoder_find_packed(encoder, options, purpose, &stamp);
    status = open_parts(encoder, error);
    if (status != MNEME_OK && packed) { /* the packed file is not what its stamp says */
        mn_tokenizer_close(encoder->tokenizer);
        encoder->tokenizer = NULL;
        mn_packed_close(&encoder->packed);
        packed = false;
        status = open_parts(encoder, error);
    }
    if (status != MNEME_OK) return status;
    if (!packed) {
        size_t size = 0;
        const void *weights = mn_bert_image(encoder->bert, &size);
        mn_encoder_keep_packed(encoder, stamp, weights, size);
    }
    describe_transformer(encoder, reason);
    return MNEME_OK;
}
