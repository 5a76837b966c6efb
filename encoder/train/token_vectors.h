/* token_vectors.h -- what a teacher says of every token alone: where a static encoder's table begins.
 *
 * Tulkens, van Dongen 2024, "Model2Vec": each token goes through the teacher as a text of its own; the vectors are
 * centred and weighted by SIF, a / (a + p) (Arora, Liang, Ma 2017), with p by Zipf's law from the token's place in the
 * vocabulary, whose order is that of frequency. */
#ifndef MN_ENCODER_TRAIN_TOKEN_VECTORS_H
#define MN_ENCODER_TRAIN_TOKEN_VECTORS_H

#include "encoder/encoder.h"
#include "encoder/train/own_vocabulary.h"

#define MN_SIF 1e-4 /* a, as mneme_distill_static has it by default */

/* Subtract from the n rows of vectors (n, width) their mean, which is nothing that tells texts apart. ERR_MEMORY. */
mneme_status mn_vectors_centre(float *vectors, size_t n, uint32_t width, mneme_error *error);

/* table: row ids[rank] = row `rank` of vectors (n, width) by its SIF weight, as model2vec ranks: from 2 on. */
void mn_vectors_weigh(const float *vectors, const uint32_t *ids, uint32_t n, uint32_t width, double sif, float *table);

typedef struct mn_token_vectors {
    mn_encoder *teacher;          /* borrowed */
    const mn_own_vocabulary *own; /* NULL: the teacher's tokens; else those of a vocabulary of its own */
    double sif;                   /* a; in (0, 1) */
    mneme_progress progress;      /* NULL = none; counts tokens, as "texts" */
    void *context;
} mn_token_vectors;

/* table: zeros, a row of the teacher's dimension for each token. Tokens that no text has ([CLS], [unused1]) keep zeros.
 * ERR_MODEL: the teacher's files; ERR_CANCELLED; ERR_MEMORY. */
mneme_status mn_token_vectors_fill(const mn_token_vectors *tokens, float *table, mneme_error *error);

#endif
