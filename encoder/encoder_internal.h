/* encoder_internal.h -- an open encoder, as encoder.c and the kinds of encoders share it. */
#ifndef MN_ENCODER_ENCODER_INTERNAL_H
#define MN_ENCODER_ENCODER_INTERNAL_H

#include "common/crew.h"
#include "common/threads.h"
#include "encoder/bert.h"
#include "encoder/model_story.h"
#include "encoder/packed_file.h"
#include "encoder/recurrent_model.h"
#include "encoder/static_table.h"

#include <pthread.h>

struct mn_encoder {
    const mn_encoder_operations *operations;
    mneme_encoder_info info; /* borrows from what follows */
    char *folder, *name;
    mn_model_story story;
    mn_tokenizer *tokenizer; /* may lie in packed */
    mn_model_config config;
    mn_recurrent_config recurrent_config;
    mn_cpu_level level; /* of the instructions that may be used */
    mn_arithmetic arithmetic;
    mn_packed_file packed; /* {0} = not in use */
    char *packed_path;     /* of the file that is in use or was written; NULL = none */
    mn_threads *threads;
    mn_crew *crew;        /* for calls of one pack; NULL before the first */
    bool weights_touched; /* by a call before */
    pthread_mutex_t lock; /* one call encodes at a time: workers own their buffers */
    mn_bert *bert;
    mn_recurrent_model *recurrent;
    mn_static_table *table;
};

/* Fill in operations, tokenizer, info and the model itself of an encoder that has folder, name and threads. On failure
 * mn_encoder_close copes. */
mneme_status mn_encoder_open_transformer(mn_encoder *encoder, const mn_encoder_options *options, mneme_error *error);
mneme_status mn_encoder_open_static(mn_encoder *encoder, const mn_encoder_options *options, mneme_error *error);
mneme_status mn_encoder_open_recurrent(mn_encoder *encoder, const mn_encoder_options *options, mneme_error *error);

/* encoder->level and ->arithmetic for the precision and the kernels that the options name, and why: *reason is static.
 */
mneme_status mn_encoder_choose_arithmetic(mn_encoder *encoder, const mn_encoder_options *options, const char **reason,
                                          mneme_error *error);
/* ERR_MODEL where the tokenizer has ids that a token table of so many rows has not. */
mneme_status mn_encoder_check_vocabulary(const mn_encoder *encoder, uint32_t rows, mneme_error *error);
/* Open tokenizer and model by open_parts, over the packed file of this arithmetic where there is one; else from the
 * folder, and then what packed_weights gives is kept in a new one. */
mneme_status mn_encoder_open_parts(mn_encoder *encoder, const mn_encoder_options *options,
                                   mneme_status (*open_parts)(mn_encoder *encoder, mneme_error *error),
                                   const void *(*packed_weights)(const mn_encoder *encoder, size_t *size),
                                   mneme_error *error);

/* The packed file of this encoder for a purpose ("int16-avx2") in the folder options->cache: maps it when it is there
 * and whole. *stamp: what to write a new one with. Without a cache folder, or when anything is wrong, nothing is
 * mapped. */
bool mn_encoder_find_packed(mn_encoder *encoder, const mn_encoder_options *options, const char *purpose,
                            uint64_t *stamp);
/* Write it for the next process. A cache that cannot be written is no failure. */
void mn_encoder_keep_packed(mn_encoder *encoder, uint64_t stamp, const void *weights, size_t weights_size);
/* The tokenizer: from the packed file when that is mapped, else from the folder. */
mneme_status mn_encoder_open_tokenizer(mn_encoder *encoder, mneme_error *error);

#endif
