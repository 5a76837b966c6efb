/* trainable_static.h -- a static encoder in training: a row and a weight for each token, and their mean.
 *
 *     vector = u / |u|,  u = sum over the text's tokens t of exp(w_t) e_t
 *
 * Both start from a table that is there: w at 0. Adam moves every number of a row by about as much as any other, which
 * would leave hardly a way to make a token count more or less; so that has a number of its own. Saved are the rows
 * exp(w_t) e_t, as F16 in model2vec's layout (docs/static-encoder.md). Unknown tokens are left out, but of a text that
 * has no others, as mn_static_pool does it. */
#ifndef MN_ENCODER_TRAIN_TRAINABLE_STATIC_H
#define MN_ENCODER_TRAIN_TRAINABLE_STATIC_H

#include "encoder/train/trainable.h"

typedef struct mn_trainable_static_options {
    uint32_t vocabulary, dimension;
    uint32_t unknown;             /* the id of the token for unknown words */
    float dropout;                /* of tokens: each is left out of a text with this chance */
    const char *tokenizer_folder; /* whose tokenizer it shares, copied */
    const mn_own_vocabulary *own; /* NULL, or whose tokenizer is written instead; borrowed as long as the encoder */
    const char *teacher;          /* name; copied */
    const mn_train_arithmetic *arithmetic; /* copied */
} mn_trainable_static_options;

/* A new one, of zeros until mn_trainable_static_fill. ERR_MEMORY. */
mneme_status mn_trainable_static_new(const mn_trainable_static_options *options, mn_trainable **out,
                                     mneme_error *error);
/* rows (vocabulary, dimension), copied and scaled so that they are 1 long on average: a table of any scale gives the
 * same vectors, and a learning rate means the same for all. */
void mn_trainable_static_fill(mn_trainable *trainable, const float *rows);
/* One in a static encoder's folder, model2vec's own too, to train it on. ERR_MODEL. */
mneme_status mn_trainable_static_open(const char *folder, float dropout, const mn_train_arithmetic *arithmetic,
                                      mn_trainable **out, mneme_error *error);

#endif
