/* own_vocabulary.h -- a vocabulary that a new encoder learns from its own texts, instead of its teacher's. */
#ifndef MN_ENCODER_TRAIN_OWN_VOCABULARY_H
#define MN_ENCODER_TRAIN_OWN_VOCABULARY_H

#include "encoder/tokenizer_settings.h"
#include "encoder/train/word_counts.h"

enum { MN_OWN_VOCABULARY_MOST = 1 << 20 };

typedef struct mn_own_vocabulary {
    mn_tokenizer_settings settings; /* how the teacher treats characters, with the new tokens */
    mn_tokenizer *tokenizer;        /* of these settings */
    uint32_t n;                     /* tokens: ids are 0 to n - 1 */
    uint32_t n_wanted;              /* tokens asked for */
    /* What each token is in the teacher's tokens: token i is ids[offsets[i] .. offsets[i+1]), one or more */
    uint32_t *ids, *offsets;
} mn_own_vocabulary; /* start from {0} */

/* words: of the texts, counted with the teacher's tokenizer. folder: the teacher's. Pairs of tokens that come once
 * make no token; the alphabet is cut off at a quarter of the tokens, or 1,000 characters. n tokens may become less.
 * ERR_USAGE: too few for the characters, too many; ERR_MODEL as mn_tokenizer_settings_read. */
mneme_status mn_own_vocabulary_learn(const mn_word_counts *words, uint32_t n_tokens, const char *folder,
                                     const mn_tokenizer *teacher, mn_own_vocabulary *out, mneme_error *error);
void mn_own_vocabulary_free(mn_own_vocabulary *vocabulary);

#endif
