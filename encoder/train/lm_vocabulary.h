/* lm_vocabulary.h -- the characters that a language model knows, and texts as their numbers. */
#ifndef MN_ENCODER_TRAIN_LM_VOCABULARY_H
#define MN_ENCODER_TRAIN_LM_VOCABULARY_H

#include "common/buffer.h"

#include <stdint.h>

/* Character number i is codepoints[i], ascending; of bytes, i itself. */
typedef struct mn_lm_vocabulary {
    bool bytes;
    uint32_t n;
    uint32_t *codepoints; /* owned; NULL of bytes */
} mn_lm_vocabulary;       /* start from {0} */

void mn_lm_vocabulary_free(mn_lm_vocabulary *vocabulary);

/* All characters of the texts; bytes: the 256 bytes. ERR_USAGE: a text that is not UTF-8 (named, with the offset), or
 * fewer than two different characters in all. */
mneme_status mn_lm_vocabulary_of(const mneme_lm_text *texts, size_t n, bool bytes, mn_lm_vocabulary *out,
                                 mneme_error *error);

/* A text as numbers: *ids is owned (mn_free). ERR_USAGE: a character that is not in the vocabulary, or not UTF-8. */
mneme_status mn_lm_encode(const mn_lm_vocabulary *vocabulary, const mneme_lm_text *text, uint32_t **ids, size_t *n_ids,
                          mneme_error *error);
/* Append character number `id`. */
void mn_lm_decode(const mn_lm_vocabulary *vocabulary, uint32_t id, mn_buffer *out);
/* The number of a character; false: it is not in the vocabulary. */
bool mn_lm_find(const mn_lm_vocabulary *vocabulary, uint32_t codepoint, uint32_t *id);

#endif
