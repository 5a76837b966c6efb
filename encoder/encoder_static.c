/* encoder_static.c -- a table of token vectors as an encoder. */
#include "encoder/encoder_internal.h"

#include <string.h>
#include <xxhash.h>

static mneme_status static_encode(mn_encoder *encoder, const mn_token_batch *batch, unsigned worker, mn_crew *crew,
                                  float *vectors, mneme_error *error)
{
    (void)worker, (void)crew, (void)error;
    for (size_t i = 0; i < batch->n; i++)
        mn_static_pool(encoder->table, batch->ids + batch->offsets[i], batch->offsets[i + 1] - batch->offsets[i],
                       vectors + i * encoder->info.dimension);
    return MNEME_OK;
}

static void static_destroy(mn_encoder *encoder)
{
    mn_static_table_close(encoder->table);
}

static const mn_encoder_operations static_operations = {static_encode, static_destroy, 0, false, 256, 1024};

mneme_status mn_encoder_open_static(mn_encoder *encoder, const mn_encoder_options *options, mneme_error *error)
{
    encoder->operations = &static_operations;
    uint64_t stamp = 0;
    bool packed = mn_encoder_find_packed(encoder, options, "static", &stamp);
    mneme_status status = mn_encoder_open_tokenizer(encoder, error);
    if (status != MNEME_OK) return status;
    const mn_static_options table = {.folder = encoder->folder,
                                     .vocabulary = mn_tokenizer_vocabulary(encoder->tokenizer),
                                     .unknown = mn_tokenizer_unk(encoder->tokenizer),
                                     .level = strcmp(options->kernels, "reference") == 0 ? MN_CPU_GENERIC
                                              : strcmp(options->kernels, "avx2") == 0    ? MN_CPU_AVX2
                                                                                         : MN_CPU_AVX512};
    status = mn_static_table_open(&table, &encoder->table, error);
    if (status != MNEME_OK) return status;
    if (!packed) mn_encoder_keep_packed(encoder, stamp, NULL, 0);
    uint64_t parts[] = {mn_static_fingerprint(encoder->table), mn_tokenizer_fingerprint(encoder->tokenizer),
                        MN_STATIC_MAX_TOKENS};
    encoder->info = (mneme_encoder_info){.name = encoder->name,
                                         .path = encoder->folder,
                                         .kind = "static",
                                         .precision = mn_static_precision(encoder->table),
                                         .kernels = mn_static_kernels(encoder->table),
                                         .reason = "the number format of its table",
                                         .pooling = "mean",
                                         .dimension = mn_static_dimension(encoder->table),
                                         .max_tokens = MN_STATIC_MAX_TOKENS,
                                         .vocabulary = table.vocabulary,
                                         .n_parameters = mn_static_parameters(encoder->table),
                                         .distilled_from = mn_static_origin(encoder->table),
                                         .packed_file = encoder->packed_path,
                                         .fingerprint = XXH3_64bits(parts, sizeof parts)};
    return MNEME_OK;
}
