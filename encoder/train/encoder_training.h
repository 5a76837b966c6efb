/* encoder_training.h -- training an encoder: by distillation from another one, by pairs of question and answer, or by
 * neighbouring passages alone. See mneme_train_encoder, which this is. */
#ifndef MN_ENCODER_TRAIN_ENCODER_TRAINING_H
#define MN_ENCODER_TRAIN_ENCODER_TRAINING_H

#include "encoder/encoder.h"

/* teacher: NULL where options->method needs none and options->from says whose tokenizer and weights to begin with. */
mneme_status mn_train_encoder(mn_encoder *teacher, const mneme_train_encoder_options *options, const char *folder,
                              mneme_train_encoder_result *result, mneme_error *error);

#endif
