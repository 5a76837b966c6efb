/* train_log.h -- log.jsonl, a line for each step of a training run. */
#ifndef MN_ENCODER_TRAIN_TRAIN_LOG_H
#define MN_ENCODER_TRAIN_TRAIN_LOG_H

#include "common/error.h"

#include <stdio.h>

#define MN_TRAIN_LOG_FILE "log.jsonl"

typedef struct mn_train_log {
    FILE *file;
    char *path;
} mn_train_log; /* start from {0} */

/* The folder's log. Of one that is there, the lines up to first_step are kept, the others were of steps that were lost;
 * first_step 0: it begins anew. ERR_IO. */
mneme_status mn_train_log_open(mn_train_log *log, const char *folder, uint64_t first_step, mneme_error *error);
/* Numbers that are not finite are left out. */
mneme_status mn_train_log_write(mn_train_log *log, const mneme_train_progress *progress, mneme_error *error);
void mn_train_log_close(mn_train_log *log);

#endif
