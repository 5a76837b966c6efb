/* lm_folder.h -- a language model's folder: config.json (sizes and characters) and model.safetensors. */
#ifndef MN_ENCODER_TRAIN_LM_FOLDER_H
#define MN_ENCODER_TRAIN_LM_FOLDER_H

#include "encoder/train/language_model.h"
#include "encoder/train/lm_vocabulary.h"

/* Each file whole or not at all. ERR_DISK_FULL, ERR_IO, ERR_MEMORY. */
mneme_status mn_lm_folder_save(const char *folder, const mn_language_model *model, const mn_lm_vocabulary *vocabulary,
                               mneme_error *error);

/* Both are owned: mn_language_model_free, mn_lm_vocabulary_free. ERR_MODEL: a file that is missing or wrong. */
mneme_status mn_lm_folder_load(const char *folder, mn_language_model **model, mn_lm_vocabulary *vocabulary,
                               mneme_error *error);

#endif
