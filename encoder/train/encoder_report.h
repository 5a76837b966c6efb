/* encoder_report.h -- how an encoder in training does on texts that it is not trained on, and what its folder says of
 * it. */
#ifndef MN_ENCODER_TRAIN_ENCODER_REPORT_H
#define MN_ENCODER_TRAIN_ENCODER_REPORT_H

#include "encoder/train/encoder_run.h"

/* vectors (n, dimension) of texts by the model as it is now; its parameters are packed. */
mneme_status mn_encoder_report_encode(mn_encoder_run *run, const mn_train_workers *workers, const size_t *texts,
                                      size_t n, float *vectors, mneme_error *error);
/* The loss on the held-out units, and run->measured, run->best by it. */
mneme_status mn_encoder_report_measure(mn_encoder_run *run, const mn_train_workers *workers, double *loss,
                                       mneme_error *error);
/* run->before: the teacher's figures, or without its vectors those of the model as it is now. */
mneme_status mn_encoder_report_before(mn_encoder_run *run, mneme_error *error);
/* The object of config.json's key "mneme"; release with free(). NULL: out of memory. */
char *mn_encoder_report_json(const mn_encoder_run *run);
void mn_encoder_report_result(const mn_encoder_run *run, mneme_train_encoder_result *result);

#endif
