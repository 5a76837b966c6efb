/* lm_train.h -- training a language model of characters: which batch has which characters, and what is held out.
 *
 * LSTM, GRU: as many streams as the batch has sequences, equally far apart in the text, read on from batch to batch
 * with the state carried over (truncated back-propagation through time: Williams, Peng 1990). Each epoch begins at
 * another place. Transformer: windows from places at random. The last tenth of the text is held out: the streams of an
 * evaluation carry their state as well; a Transformer's windows lie one after another. */
#ifndef MN_ENCODER_TRAIN_LM_TRAIN_H
#define MN_ENCODER_TRAIN_LM_TRAIN_H

#include "common/error.h"

/* See mneme_train_lm, which this is. options and options->train: not NULL, whole. */
mneme_status mn_lm_train(const mneme_lm_options *options, const char *folder, mneme_train_result *result,
                         mneme_error *error);

#endif
