/* lm_vocabulary.c -- see lm_vocabulary.h. */
#include "encoder/train/lm_vocabulary.h"

#include "common/memory.h"
#include "common/utf8.h"

#include <stdlib.h>

enum { N_CODEPOINTS = 0x110000, N_BYTES = 256 };

void mn_lm_vocabulary_free(mn_lm_vocabulary *vocabulary)
{
    mn_free(vocabulary->codepoints);
    *vocabulary = (mn_lm_vocabulary){0};
}

static mneme_status fail_utf8(const mneme_lm_text *text, size_t offset, mneme_error *error)
{
    return mn_fail(error, MNEME_ERR_USAGE,
                   "%s: byte %zu (0x%02X) is not UTF-8; convert the text, or take bytes for "
                   "characters (--bytes)",
                   text->name, offset, (unsigned)(unsigned char)text->data[offset]);
}

/* seen[codepoint] = 1. */
static mneme_status see(const mneme_lm_text *text, unsigned char *seen, mneme_error *error)
{
    for (size_t at = 0, size; at < text->size; at += size) {
        uint32_t codepoint;
        size = mn_utf8_decode(text->data + at, text->size - at, &codepoint);
        if (size == 0) return fail_utf8(text, at, error);
        seen[codepoint] = 1;
    }
    return MNEME_OK;
}

static mneme_status gather(const unsigned char *seen, mn_lm_vocabulary *out, mneme_error *error)
{
    uint32_t n = 0;
    for (uint32_t c = 0; c < N_CODEPOINTS; c++) n += seen[c];
    if (n == 0) return mn_fail(error, MNEME_ERR_USAGE, "the texts are empty: there is nothing to learn from");
    if (n == 1)
        return mn_fail(error, MNEME_ERR_USAGE,
                       "the texts are one character again and again: there is nothing to learn");
    out->codepoints = mn_alloc_array(n, sizeof *out->codepoints);
    if (!out->codepoints) return mn_fail_memory(error, "vocabulary");
    for (uint32_t c = 0; c < N_CODEPOINTS; c++)
        if (seen[c]) out->codepoints[out->n++] = c;
    return MNEME_OK;
}

/* Of bytes: two different ones at least. */
static mneme_status check_bytes(const mneme_lm_text *texts, size_t n, mneme_error *error)
{
    int first = -1;
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; at < texts[i].size; at++) {
            int byte = (unsigned char)texts[i].data[at];
            if (first < 0) first = byte;
            if (byte != first) return MNEME_OK;
        }
    return first < 0
               ? mn_fail(error, MNEME_ERR_USAGE, "the texts are empty: there is nothing to learn from")
               : mn_fail(error, MNEME_ERR_USAGE, "the texts are one byte again and again: there is nothing to learn");
}

mneme_status mn_lm_vocabulary_of(const mneme_lm_text *texts, size_t n, bool bytes, mn_lm_vocabulary *out,
                                 mneme_error *error)
{
    *out = (mn_lm_vocabulary){.bytes = bytes, .n = bytes ? N_BYTES : 0};
    if (bytes) return check_bytes(texts, n, error);
    unsigned char *seen = mn_alloc_zeroed(N_CODEPOINTS, 1);
    if (!seen) return mn_fail_memory(error, "vocabulary");
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < n && status == MNEME_OK; i++) status = see(&texts[i], seen, error);
    if (status == MNEME_OK) status = gather(seen, out, error);
    mn_free(seen);
    return status;
}

static int by_codepoint(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

bool mn_lm_find(const mn_lm_vocabulary *vocabulary, uint32_t codepoint, uint32_t *id)
{
    if (vocabulary->bytes) {
        *id = codepoint;
        return codepoint < vocabulary->n;
    }
    const uint32_t *found =
        bsearch(&codepoint, vocabulary->codepoints, vocabulary->n, sizeof *vocabulary->codepoints, by_codepoint);
    if (found) *id = (uint32_t)(found - vocabulary->codepoints);
    return found != NULL;
}

mneme_status mn_lm_encode(const mn_lm_vocabulary *vocabulary, const mneme_lm_text *text, uint32_t **ids, size_t *n_ids,
                          mneme_error *error)
{
    *n_ids = 0;
    *ids = mn_alloc_array(text->size, sizeof **ids);
    if (!*ids) return mn_fail_memory(error, text->name);
    for (size_t at = 0, size = 1; at < text->size; at += size) {
        uint32_t codepoint = (unsigned char)text->data[at];
        if (!vocabulary->bytes) size = mn_utf8_decode(text->data + at, text->size - at, &codepoint);
        mneme_status status = MNEME_OK;
        if (size == 0)
            status = fail_utf8(text, at, error);
        else if (!mn_lm_find(vocabulary, codepoint, &(*ids)[(*n_ids)++]))
            status = mn_fail(error, MNEME_ERR_USAGE, "%s: the model does not know the character U+%04X at byte %zu",
                             text->name, codepoint, at);
        if (status != MNEME_OK) {
            mn_free(*ids);
            *ids = NULL;
            return status;
        }
    }
    return MNEME_OK;
}

void mn_lm_decode(const mn_lm_vocabulary *vocabulary, uint32_t id, mn_buffer *out)
{
    char text[4];
    if (vocabulary->bytes)
        mn_buffer_byte(out, (char)id);
    else
        mn_buffer_append(out, text, mn_utf8_encode(vocabulary->codepoints[id], text));
}
