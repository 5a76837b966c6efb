/* token_vectors.c -- see token_vectors.h. */
#include "encoder/train/token_vectors.h"

#include "common/memory.h"
#include "encoder/train/distill_texts.h"

mneme_status mn_vectors_centre(float *vectors, size_t n, uint32_t width, mneme_error *error)
{
    double *mean = mn_alloc_zeroed(width, sizeof *mean);
    if (!mean) return mn_fail_memory(error, "distilling");
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < width; c++) mean[c] += (double)vectors[i * width + c];
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < width; c++)
            vectors[i * width + c] = (float)((double)vectors[i * width + c] - mean[c] / (double)n);
    mn_free(mean);
    return MNEME_OK;
}

/* p = 1 / (rank + 2) / sum. */
void mn_vectors_weigh(const float *vectors, const uint32_t *ids, uint32_t n, uint32_t width, double sif, float *table)
{
    double sum = 0;
    for (uint32_t rank = 0; rank < n; rank++) sum += 1 / (rank + 2.0);
    for (uint32_t rank = 0; rank < n; rank++) {
        double p = 1 / (rank + 2.0) / sum, weight = sif / (sif + p);
        float *row = table + (size_t)ids[rank] * width;
        for (size_t c = 0; c < width; c++) row[c] = (float)(weight * (double)vectors[(size_t)rank * width + c]);
    }
}

/* Which tokens are asked about. */
static mneme_status choose(const mn_token_vectors *tokens, mn_kept_tokens *kept, mneme_error *error)
{
    const mn_tokenizer *tokenizer = mn_encoder_tokenizer(tokens->teacher);
    kept->vocabulary = tokens->own ? tokens->own->n : mn_tokenizer_vocabulary(tokenizer);
    if (!tokens->own)
        return mn_kept_tokens_find(mn_encoder_info(tokens->teacher)->path, mn_tokenizer_unk(tokenizer), kept, error);
    const mn_tokenizer *own = tokens->own->tokenizer;
    kept->ids = mn_alloc_array(kept->vocabulary, sizeof *kept->ids);
    if (!kept->ids) return mn_fail_memory(error, "vocabulary");
    for (uint32_t id = 0; id < kept->vocabulary; id++)
        if (id != mn_tokenizer_cls(own) && id != mn_tokenizer_sep(own)) kept->ids[kept->n++] = id;
    return MNEME_OK;
}

/* Sequences for the teacher. batch: both arrays are owned. */
static mneme_status put_together(const mn_token_vectors *tokens, const mn_kept_tokens *kept, uint32_t **ids,
                                 uint32_t **offsets, mneme_error *error)
{
    const mn_tokenizer *tokenizer = mn_encoder_tokenizer(tokens->teacher);
    const mn_own_vocabulary *own = tokens->own;
    bool framed = mn_encoder_special_tokens(tokens->teacher) > 0;
    uint32_t longest = mn_encoder_info(tokens->teacher)->max_tokens - (framed ? 2 : 0);
    size_t most = (size_t)kept->n * 3 + (own ? own->offsets[own->n] : 0);
    *ids = mn_alloc_array(most, sizeof **ids);
    *offsets = mn_alloc_array(kept->n + 1, sizeof **offsets);
    if (!*ids || !*offsets) return mn_fail_memory(error, "vocabulary");
    uint32_t n = 0;
    for (uint32_t i = 0; i < kept->n; i++) {
        uint32_t id = kept->ids[i], from = own ? own->offsets[id] : 0, to = own ? own->offsets[id + 1] : 1;
        (*offsets)[i] = n;
        if (framed) (*ids)[n++] = mn_tokenizer_cls(tokenizer);
        for (uint32_t k = from; k < to && k - from < longest; k++) (*ids)[n++] = own ? own->ids[k] : id;
        if (framed) (*ids)[n++] = mn_tokenizer_sep(tokenizer);
    }
    (*offsets)[kept->n] = n;
    return MNEME_OK;
}

mneme_status mn_token_vectors_fill(const mn_token_vectors *tokens, float *table, mneme_error *error)
{
    uint32_t width = mn_encoder_info(tokens->teacher)->dimension, *ids = NULL, *offsets = NULL;
    mn_kept_tokens kept = {0};
    mneme_status status = choose(tokens, &kept, error);
    float *vectors = status == MNEME_OK ? mn_alloc_array((size_t)kept.n * width + 1, sizeof *vectors) : NULL;
    if (status == MNEME_OK && !vectors) status = mn_fail_memory(error, "the teacher's vectors");
    if (status == MNEME_OK) status = put_together(tokens, &kept, &ids, &offsets, error);
    if (status == MNEME_OK) {
        const mn_token_batch batch = {.ids = ids, .offsets = offsets, .n = kept.n};
        status = mn_encoder_encode_ids(tokens->teacher, &batch, vectors, tokens->progress, tokens->context, error);
    }
    if (status == MNEME_OK) status = mn_vectors_centre(vectors, kept.n, width, error);
    if (status == MNEME_OK) mn_vectors_weigh(vectors, kept.ids, kept.n, width, tokens->sif, table);
    mn_free(kept.ids);
    mn_free(vectors);
    mn_free(ids);
    mn_free(offsets);
    return status;
}
