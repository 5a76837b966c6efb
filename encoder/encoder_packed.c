/* encoder_packed.c -- where an encoder's packed file lies, and when it is used. */
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
