/* encoder_packed.c -- the arithmetic of an encoder with products, where its packed file lies, and when it is used. */
#include "encoder/encoder_internal.h"

#include "common/memory.h"

#include <string.h>
#include <xxhash.h>

/* <cache>/<name>-<hash of the folder's path>-<purpose>.packed: one file for each model folder and purpose. */
static char *packed_path(const mn_encoder *encoder, const char *cache, const char *purpose)
{
    mn_buffer path = {0};
    mn_buffer_format(&path, "%s/%s-%016llx-%s.packed", cache, encoder->name,
                     (unsigned long long)XXH3_64bits(encoder->folder, strlen(encoder->folder)), purpose);
    if (path.failed) mn_buffer_free(&path);
    return path.data;
}

bool mn_encoder_find_packed(mn_encoder *encoder, const mn_encoder_options *options, const char *purpose,
                            uint64_t *stamp)
{
    *stamp = XXH3_64bits_withSeed(purpose, strlen(purpose), mn_packed_stamp(encoder->folder));
    bool wanted = options->cache && *options->cache && strcmp(options->kernels, "reference") != 0;
    encoder->packed_path = wanted ? packed_path(encoder, options->cache, purpose) : NULL;
    return encoder->packed_path && mn_packed_open(encoder->packed_path, *stamp, &encoder->packed, NULL) == MNEME_OK;
}

void mn_encoder_keep_packed(mn_encoder *encoder, uint64_t stamp, const void *weights, size_t weights_size)
{
    if (!encoder->packed_path) return;
    mn_buffer tokenizer = {0};
    mneme_status status = mn_tokenizer_freeze(encoder->tokenizer, &tokenizer, NULL);
    const mn_packed_part parts[MN_PACKED_PARTS] = {
        [MN_PACKED_TOKENIZER] = {tokenizer.data, tokenizer.size}, [MN_PACKED_WEIGHTS] = {weights, weights_size}};
    if (status == MNEME_OK) status = mn_packed_write(encoder->packed_path, stamp, parts, NULL);
    mn_buffer_free(&tokenizer);
    if (status == MNEME_OK) return;
    mn_free(encoder->packed_path);
    encoder->packed_path = NULL;
}

mneme_status mn_encoder_open_tokenizer(mn_encoder *encoder, mneme_error *error)
{
    const mn_packed_part *part = &encoder->packed.parts[MN_PACKED_TOKENIZER];
    return part->data ? mn_tokenizer_thaw(part->data, part->size, &encoder->tokenizer, error)
                      : mn_tokenizer_open(encoder->folder, &encoder->tokenizer, error);
}

/* The instructions that options->kernels allows; plain C: *reference. */
static mn_cpu_level level_of(const mn_encoder_options *options, bool *reference)
{
    static const char *const levels[] = {"reference", "avx2", "avx512", "amx"};
    *reference = strcmp(options->kernels, levels[0]) == 0;
    if (*reference) return MN_CPU_GENERIC;
    for (size_t i = 1; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(options->kernels, levels[i]) == 0) return (mn_cpu_level)i;
    return MN_CPU_AMX; /* "auto" */
}

mneme_status mn_encoder_choose_arithmetic(mn_encoder *encoder, const mn_encoder_options *options, const char **reason,
                                          mneme_error *error)
{
    bool reference;
    mn_cpu_level level = encoder->level = level_of(options, &reference);
    mn_precision precision;
    if (strcmp(options->precision, "auto") == 0)
        precision = mn_fastest_precision(level, reference, reason);
    else if (mn_precision_parse(options->precision, &precision))
        *reason = "set by encoder.precision";
    else
        return mn_fail(error, MNEME_ERR_SETTING, "encoder.precision: \"%s\" is not known", options->precision);
    encoder->arithmetic = mn_arithmetic_for(precision, level, reference);
    return MNEME_OK;
}

mneme_status mn_encoder_check_vocabulary(const mn_encoder *encoder, uint32_t rows, mneme_error *error)
{
    uint32_t vocabulary = mn_tokenizer_vocabulary(encoder->tokenizer);
    if (vocabulary <= rows) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_MODEL, "model %s: the vocabulary has %u tokens, the embedding table %u rows",
                   encoder->folder, vocabulary, rows);
}

mneme_status mn_encoder_open_parts(mn_encoder *encoder, const mn_encoder_options *options,
                                   mneme_status (*open_parts)(mn_encoder *encoder, mneme_error *error),
                                   const void *(*packed_weights)(const mn_encoder *encoder, size_t *size),
                                   mneme_error *error)
{
    char purpose[64]; /* all that the packed weights depend on beside the model's files */
    snprintf(purpose, sizeof purpose, "%s-%s", mn_precision_name(encoder->arithmetic.precision),
             encoder->arithmetic.product->name);
    uint64_t stamp = 0;
    bool packed = mn_encoder_find_packed(encoder, options, purpose, &stamp);
    mneme_status status = open_parts(encoder, error);
    if (status != MNEME_OK && packed) { /* the packed file is not what its stamp says */
        mn_tokenizer_close(encoder->tokenizer);
        encoder->tokenizer = NULL;
        mn_packed_close(&encoder->packed);
        packed = false;
        status = open_parts(encoder, error);
    }
    if (status == MNEME_OK && !packed) {
        size_t size = 0;
        const void *weights = packed_weights(encoder, &size);
        mn_encoder_keep_packed(encoder, stamp, weights, size);
    }
    return status;
}
