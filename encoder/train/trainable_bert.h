/* trainable_bert.h -- a Transformer encoder of the BERT family, read from its folder to be trained on. */
#ifndef MN_ENCODER_TRAIN_TRAINABLE_BERT_H
#define MN_ENCODER_TRAIN_TRAINABLE_BERT_H

#include "encoder/train/trainable.h"

typedef struct mn_trainable_bert_options {
    const char *folder; /* a Hugging Face folder that mn_encoder_open reads */
    uint32_t n_layers;  /* 0, or as many as the model has: all; fewer: so many of them, evenly chosen, the last among
                           them: what a smaller model begins with (Sanh et al. 2019, "DistilBERT") */
    float dropout;
    const mn_train_arithmetic *arithmetic; /* copied */
} mn_trainable_bert_options;

/* Sequences go in as [CLS] text [SEP]. What is saved: a folder of the same layout, weights F32, the configuration with
 * "mneme" and the number of layers set. The weights are not packed yet. ERR_MODEL as mn_model_config_read and
 * mn_parameters_load; ERR_USAGE: more layers than there are. */
mneme_status mn_trainable_bert_open(const mn_trainable_bert_options *options, mn_trainable **out, mneme_error *error);

#endif
