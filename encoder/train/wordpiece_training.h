/* wordpiece_training.h -- learning a vocabulary of word pieces from words and how often they come.
 *
 * Byte-pair encoding (Sennrich, Haddow, Birch 2016, "Neural Machine Translation of Rare Words with Subword Units") as
 * WordPieceTrainer of Hugging Face's `tokenizers` does it, to the token. Every word begins as its characters, those
 * behind the first as tokens of their own with "##"; the pair of tokens that comes most often becomes a token, until
 * there are as many as asked for. Equal counts: the pair of smaller ids. Two departures:
 *
 *   - Single characters have ids in the order of code points, first plain ones, then those with "##". There, the second
 *     kind stands in the order of a hash table, another one in each run (and so, by equal counts, other merges).
 *   - When the alphabet is cut off, of equally frequent characters the smaller code points stay; there, any. */
#ifndef MN_ENCODER_TRAIN_WORDPIECE_TRAINING_H
#define MN_ENCODER_TRAIN_WORDPIECE_TRAINING_H

#include "encoder/train/word_counts.h"
#include "encoder/vocabulary.h"

/* What a vocabulary begins with, in this order. */
enum { MN_PAD_TOKEN, MN_UNK_TOKEN, MN_CLS_TOKEN, MN_SEP_TOKEN, MN_MASK_TOKEN, MN_SPECIAL_TOKENS };
extern const char *const mn_special_tokens[MN_SPECIAL_TOKENS];

typedef struct mn_wordpiece_options {
    uint32_t n_tokens;      /* special ones included; fewer when there is nothing left to merge */
    uint32_t alphabet_most; /* so many different characters, the most frequent ones; 0 = all. Others are as if they were
                               not in the words */
    uint64_t least_count;   /* pairs that come less often are not merged */
} mn_wordpiece_options;

/* words: valid UTF-8, borrowed. *out: owned (mn_vocabulary_free), prefix "##", ids from 0 in order. The same words and
 * counts give the same vocabulary, whatever their order. ERR_USAGE: n_tokens is too small for the characters;
 * ERR_TOO_LARGE: over 2^30 characters; ERR_MEMORY. */
mneme_status mn_wordpiece_train(const mn_word_counts *words, const mn_wordpiece_options *options, mn_vocabulary **out,
                                mneme_error *error);

#endif
