/* distill_static.h -- making a static encoder (static_table.h) from a Transformer.
 *
 * Tulkens, van Dongen 2024, "Model2Vec": every token of the vocabulary goes alone through the teacher; the vectors are
 * centred, weighted by a / (a + p) (SIF: Arora, Liang, Ma 2017) with p by Zipf's law from the token's place in the
 * vocabulary, and reduced to their principal components. Departures, each measured in docs/static-encoder.md:
 *   - a token's vector is the teacher's unit vector with the teacher's own pooling;
 *   - the weighted table is then fitted to the teacher (table_fit.h) on made-up texts. */
#ifndef MN_ENCODER_TRAIN_DISTILL_STATIC_H
#define MN_ENCODER_TRAIN_DISTILL_STATIC_H

#include "encoder/encoder.h"

/* See mneme_distill_static, which this is. */
mneme_status mn_distill_static(mn_encoder *teacher, const mneme_distill_options *options, const char *folder,
                               mneme_error *error);

#endif
