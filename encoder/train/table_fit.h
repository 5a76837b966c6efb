/* table_fit.h -- fitting a token table to a teacher: the rows whose means come nearest to the teacher's vectors.
 *
 *     minimise over E:  sum over texts i of | mean of E[t], t in text i, - y_i |^2  +  ridge |E - E0|^2
 *
 * Ridge regression towards the rows that are there already (Hoerl, Kennard 1970), solved by conjugate gradients with
 * the diagonal as preconditioner (Hestenes, Stiefel 1952). The columns of E do not depend on one another: threads take
 * them in blocks, and the result does not depend on how many there are. A token that no text has keeps its row. */
#ifndef MN_ENCODER_TRAIN_TABLE_FIT_H
#define MN_ENCODER_TRAIN_TABLE_FIT_H

#include "common/threads.h"

typedef struct mn_fit_texts {
    const uint32_t *ids;     /* of all texts, end to end, each below n_rows */
    const uint32_t *offsets; /* n + 1; empty texts are allowed and count nothing */
    size_t n;
    const float *targets; /* (n, width) */
} mn_fit_texts;

typedef struct mn_fit_options {
    double ridge;        /* > 0 */
    uint32_t iterations; /* at most; a column stops when its residual is 1e-4 of what it was */
    mn_threads *threads; /* borrowed */
} mn_fit_options;

/* table (n_rows, width): E0, replaced by E. ERR_MEMORY: the table may be partly changed. */
mneme_status mn_table_fit(const mn_fit_texts *texts, const mn_fit_options *options, float *table, uint32_t n_rows,
                          uint32_t width, mneme_error *error);

#endif
