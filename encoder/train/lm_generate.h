/* lm_generate.h -- text from a language model, character by character.
 *
 * LSTM and GRU carry their state from character to character; the Transformer sees the last steps_back characters. */
#ifndef MN_ENCODER_TRAIN_LM_GENERATE_H
#define MN_ENCODER_TRAIN_LM_GENERATE_H

#include "encoder/train/language_model.h"
#include "encoder/train/lm_vocabulary.h"

/* See mneme_lm_generate. Appends to `out`. */
mneme_status mn_lm_write(const mn_language_model *model, const mn_lm_vocabulary *vocabulary,
                         const mneme_lm_text *prompt, const mneme_lm_generate_options *options, mn_buffer *out,
                         mneme_error *error);

/* One of n, with probability softmax(logits / temperature) among the top_k likeliest (0 = all; the lower number wins a
 * tie); temperature 0: the likeliest. logits are changed. */
uint32_t mn_lm_sample(float *logits, uint32_t n, double temperature, uint32_t top_k, mn_random *random);

#endif
