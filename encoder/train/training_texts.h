/* training_texts.h -- what an encoder is trained on: passages, their sentences, and spans of words that stand in for
 * questions, as token ids; and the batches of them.
 *
 * Texts of like length go together, so that a step of an LSTM has as many rows at a batch's end as at its start. A
 * batch depends on its number and the seed alone. */
#ifndef MN_ENCODER_TRAIN_TRAINING_TEXTS_H
#define MN_ENCODER_TRAIN_TRAINING_TEXTS_H

#include "encoder/encoder.h"
#include "encoder/train/shard.h"

/* REST: a passage without one of its spans, right behind that span. */
typedef enum mn_text_part { MN_PART_PASSAGE, MN_PART_SENTENCE, MN_PART_SPAN, MN_PART_REST } mn_text_part;

typedef struct mn_training_text {
    size_t first;      /* of its ids */
    uint32_t n;        /* ids, without special tokens; at least 1 */
    uint32_t document; /* the caller's text that it is of */
    mn_text_part part;
    const char *text; /* a range of the caller's text, borrowed as long as it is there */
    size_t size;
    size_t hole, hole_size; /* of a REST: what is left out of it */
} mn_training_text;

typedef struct mn_training_texts {
    uint32_t *ids;
    size_t n_ids, ids_capacity;
    mn_training_text *items;
    size_t n, capacity;
} mn_training_texts; /* start from {0} */
void mn_training_texts_free(mn_training_texts *texts);

typedef struct mn_cutting {
    const mn_tokenizer *tokenizer;
    uint32_t max_tokens;     /* of a passage: longer texts are cut at the best borders (chunker.h) */
    uint32_t words_per_span; /* one span of 4 to 18 words for so many words of a passage; 0 = none */
    bool sentences;          /* each sentence of passages that have several */
    bool rests;              /* behind each span, the rest of its passage; of a passage with the title, that is the one
                                span */
    uint64_t seed;
} mn_cutting;

/* A text that passages are cut from. */
typedef struct mn_training_source {
    const char *text; /* borrowed as long as what is cut from it */
    size_t size;
    size_t title_size; /* it begins with its title, of so many bytes; 0: it has none */
    uint32_t document;
} mn_training_source;

/* Append the passages of a text and what is cut out of them. A text without tokens adds nothing. ERR_MEMORY. */
mneme_status mn_training_texts_cut(mn_training_texts *texts, const mn_cutting *cutting,
                                   const mn_training_source *source, mneme_error *error);
/* Append one text as it is, cut off at max_tokens, as a passage. *index: its place; SIZE_MAX: it has no token. */
mneme_status mn_training_texts_append(mn_training_texts *texts, const mn_cutting *cutting, const char *text,
                                      size_t size, uint32_t document, size_t *index, mneme_error *error);

/* The same texts, in the same order, as ids of another tokenizer, at most max_tokens of each. out: empty before.
 * ERR_MEMORY. */
mneme_status mn_training_texts_retokenize(const mn_training_texts *texts, const mn_tokenizer *tokenizer,
                                          uint32_t max_tokens, mn_training_texts *out, mneme_error *error);

/* Sequences for an encoder of n items: with [CLS] and [SEP] when n_special is 2, cut off at max_tokens. batch: its
 * arrays are in the room. */
mneme_status mn_training_sequences(const mn_training_texts *texts, const mn_tokenizer *tokenizer, uint32_t n_special,
                                   uint32_t max_tokens, const size_t *indices, size_t n, mn_room *room,
                                   mn_token_batch *batch, mneme_error *error);

/* ---- batches ---- */

/* Units (a text; a pair with its negatives) in bands of like length. */
typedef struct mn_batches {
    size_t *units;            /* n_units, band by band; shuffled within each band for `epoch` */
    uint32_t *starts, *sizes; /* of each batch, in units */
    uint32_t *order;          /* (n_batches): which comes 1st, 2nd, ... in `epoch` */
    size_t n_units, n_batches;
    size_t *band_ends; /* n_bands, into units */
    uint32_t n_bands;
    uint64_t seed, epoch; /* epoch: UINT64_MAX before the first */
} mn_batches;
/* lengths (n_units): tokens of each; a batch has at most `most` units and about `most_tokens` tokens, at least 2
 * units where there are as many. */
mneme_status mn_batches_new(const uint32_t *lengths, size_t n_units, uint32_t most, uint32_t most_tokens, uint64_t seed,
                            mn_batches *out, mneme_error *error);
void mn_batches_free(mn_batches *batches);
/* The units of batch 0, 1, ...; borrowed until the next call. */
const size_t *mn_batches_at(mn_batches *batches, uint64_t number, size_t *n);

#endif
