/* new_folder.h -- writing a model's folder, whole or not at all: files go into FOLDER.part-PID beside it, which is
 * renamed at the end. */
#ifndef MN_ENCODER_TRAIN_NEW_FOLDER_H
#define MN_ENCODER_TRAIN_NEW_FOLDER_H

#include "common/error.h"

typedef struct mn_new_folder {
    const char *folder; /* borrowed */
    char *part;         /* where its files are to be written */
    char *old;
    bool replace, made;
} mn_new_folder;

/* Is there a model in it: a config.json? ERR_MEMORY. */
mneme_status mn_folder_holds_model(const char *folder, bool *holds, mneme_error *error);

/* Can it be written there? ERR_USAGE: something is there, and replace is not set, or it is no model's folder. For
 * asking before minutes of work. */
mneme_status mn_new_folder_check(const char *folder, bool replace, mneme_error *error);

/* The same, and make `part`. mn_new_folder_end whatever it returns. */
mneme_status mn_new_folder_begin(mn_new_folder *out, const char *folder, bool replace, mneme_error *error);
/* so_far MNEME_OK: put it in place, and remove what was there; else remove `part`, and what was there is as before.
 * Returns so_far, or what went wrong here. */
mneme_status mn_new_folder_end(mn_new_folder *made, mneme_status so_far, mneme_error *error);

#endif
