/* word_counts.h -- a list of different words, each with a count: found by its text or by its place in the list. */
#ifndef MN_ENCODER_TRAIN_WORD_COUNTS_H
#define MN_ENCODER_TRAIN_WORD_COUNTS_H

#include "encoder/tokenizer.h"

typedef struct mn_counted_word {
    uint64_t offset; /* into bytes */
    uint64_t count;
    uint32_t size;
} mn_counted_word;

typedef struct mn_word_counts {
    mn_buffer bytes;
    mn_counted_word *items; /* n, in the order in which they came first */
    size_t n, capacity;
    uint32_t *slots; /* places in items + 1, 0 = empty; at least twice as many as items */
    size_t n_slots;  /* a power of two */
} mn_word_counts;    /* start from {0} */
void mn_word_counts_free(mn_word_counts *words);

static inline const char *mn_word_at(const mn_word_counts *words, size_t i)
{
    return words->bytes.data + words->items[i].offset;
}

/* The word's count grows by `count`. word: copied; not part of words->bytes. *place: in items; NULL allowed.
 * ERR_MEMORY; ERR_TOO_LARGE over 2^31 words. */
mneme_status mn_word_counts_add(mn_word_counts *words, const char *word, size_t size, uint64_t count, size_t *place,
                                mneme_error *error);
/* The place of a word; SIZE_MAX: it is not there. */
size_t mn_word_counts_find(const mn_word_counts *words, const char *word, size_t size);
/* Every word of a text, as this tokenizer normalises and splits it (mn_tokenizer_words), but those with a NUL. */
mneme_status mn_word_counts_add_text(mn_word_counts *words, const mn_tokenizer *tokenizer, const char *text,
                                     size_t size, mneme_error *error);

#endif
