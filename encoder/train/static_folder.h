/* static_folder.h -- writing a static encoder's folder, whole or not at all. */
#ifndef MN_ENCODER_TRAIN_STATIC_FOLDER_H
#define MN_ENCODER_TRAIN_STATIC_FOLDER_H

#include "common/error.h"

typedef struct mn_static_folder {
    const char *folder;           /* where it is to be */
    const char *tokenizer_folder; /* whose tokenizer files are copied */
    const char *teacher;          /* name */
    uint64_t teacher_fingerprint;
    const char *distilled_from; /* one line for `model info` */
    const char *about_json;     /* NULL, or an object for config.json's key "mneme" instead of teacher, fingerprint and
                                   distilled_from */
    const float *table;         /* (n_rows, dimension); stored as F16 */
    uint32_t n_rows, dimension;
    double sif;
    bool replace; /* a model that is there already */
} mn_static_folder;

/* Can it be written there? ERR_USAGE: something is there, and replace is not set, or it is no model's folder.
 * For asking before minutes of work. */
mneme_status mn_static_folder_check(const mn_static_folder *what, mneme_error *error);

/* Write FOLDER.part-PID beside it, flush, and rename. After a failure nothing is left and what was there is as before.
 */
mneme_status mn_static_folder_write(const mn_static_folder *what, mneme_error *error);

/* The same files, but the tokenizer's, into a folder that is there, each whole or not at all; config.json last. folder,
 * tokenizer_folder and replace are not looked at. */
mneme_status mn_static_files_write(const mn_static_folder *what, const char *folder, mneme_error *error);

/* The nearest IEEE 754 binary16, ties to even; over its range: infinity. */
uint16_t mn_half_from_float(float number);

#endif
