/* model_files.h -- the files of a model's folder, as everything that makes models writes them: whole or not at all, and
 * readable by everybody. */
#ifndef MN_ENCODER_TRAIN_MODEL_FILES_H
#define MN_ENCODER_TRAIN_MODEL_FILES_H

#include "common/error.h"

#include <jansson.h>

mneme_status mn_model_write_file(const char *folder, const char *name, const void *data, size_t size,
                                 mneme_error *error);
/* json: its reference is taken; NULL: out of memory. */
mneme_status mn_model_write_json(const char *folder, const char *name, json_t *json, mneme_error *error);
/* Of those that `from` has: the files that say how texts become ids; those beside config.json that say what else a
 * Transformer does (window, prompts, pooling). */
mneme_status mn_model_copy_tokenizer(const char *from, const char *folder, mneme_error *error);
mneme_status mn_model_copy_settings(const char *from, const char *folder, mneme_error *error);

#endif
