/* importance.h -- how much a record matters, estimated from its text when it is written.
 *
 *     T       the distinct terms of the text without its questions (sentences that end with a question mark)
 *     n       all terms of the text, repeats counted
 *     w(t)    idf(t) / idf of a term that no chunk has; idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5)), BM25's, of the
 *             namespace before this record: 1 for a word never seen here, near 0 for one that is everywhere
 *     x       sum over T of w(t) / sqrt(n + 1)         how much is said; longer texts do not win by their length alone
 *     x       * answer_factor when the record before it in its session holds a question mark: it answers
 *     importance = x / (x + half)
 *
 * A memory is worth keeping for what it tells, and nobody asks for what was only asked. The sum of surprisals is
 * Shannon's (1948) information of a text under a unigram model; the weights of statements and answers were chosen on
 * LoCoMo (docs/dynamics.md has the figures). */
#ifndef MN_MEMORY_IMPORTANCE_H
#define MN_MEMORY_IMPORTANCE_H

#include "memory/handle.h"

typedef struct mn_importance mn_importance;

/* For the records of one mneme_add, which count for those after them. read: borrowed until mn_importance_close. */
mneme_status mn_importance_open(const mneme *memory, mn_read *read, mn_importance **out, mneme_error *error);
void mn_importance_close(mn_importance *state);

/* Estimate the next record (its text valid and of known size), and count it. *importance: -1 for one without words. */
mneme_status mn_importance_next(mn_importance *state, const mneme_record *record, double *importance,
                                mneme_error *error);
/* Pass over a record that needs no estimate: only its being a question or not matters for the one after it. */
mneme_status mn_importance_pass(mn_importance *state, const mneme_record *record, mneme_error *error);

#endif
