/* distill_texts.h -- what a teacher is asked when a static encoder is distilled from it: every token alone, and
 * made-up texts. */
#ifndef MN_ENCODER_TRAIN_DISTILL_TEXTS_H
#define MN_ENCODER_TRAIN_DISTILL_TEXTS_H

#include "encoder/encoder.h"

/* Which rows of the table mean something. */
typedef struct mn_kept_tokens {
    uint32_t *ids; /* owned; ascending: the order of the vocabulary, which is that of frequency */
    uint32_t n, vocabulary;
} mn_kept_tokens;

/* All tokens but [unused...] and the special ones other than [PAD] and the unknown one, as model2vec has it.
 * folder: the teacher's. ERR_MODEL. Release with mn_free(kept->ids). */
mneme_status mn_kept_tokens_find(const char *folder, uint32_t unknown, mn_kept_tokens *out, mneme_error *error);

/* Texts as token ids, end to end, twice: as the teacher reads them ([CLS] ... [SEP]) and as the table does (without
 * special and unknown tokens). */
typedef struct mn_id_lists {
    uint32_t *ids, *offsets; /* owned; offsets has n + 1 */
    size_t n, n_ids, capacity, ids_capacity;
} mn_id_lists;

typedef struct mn_distill_texts {
    mn_id_lists teacher, table; /* equally many lists */
    uint32_t cls, sep, unknown;
} mn_distill_texts; /* start from {0} but for the ids */

void mn_distill_texts_free(mn_distill_texts *texts);

mneme_status mn_distill_texts_append(mn_distill_texts *texts, const uint32_t *ids, size_t n, mneme_error *error);

/* Texts that nobody wrote: in each round every kept token comes once in a group of 2 to 8, to which up to as many
 * tokens are added at random by Zipf's law; all are shuffled. The same on every run and machine. */
mneme_status mn_distill_make_up(mn_distill_texts *texts, const mn_kept_tokens *kept, uint32_t rounds,
                                mneme_error *error);

#endif
