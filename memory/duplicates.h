/* duplicates.h -- which records of a namespace say the same.
 *
 * Two records do when the cosine of their vectors (of several chunks: of the sum) and the Jaccard index of their terms
 * (shared / all) both reach a threshold, their speaker is the same, they hold the same words with digits ("paid invoice
 * 17" is not "paid invoice 18"), and the terms of one, in their order and each as often as it comes, are among those of
 * the other in that order: one may say more, but neither something else ("terminal one", "terminal two") nor the same
 * words of others ("Anna told Peter", "Peter told Anna"). Candidates come from MinHash (Broder 1997) in bands (Leskovec, Rajaraman,
 * Ullman, "Mining of Massive Datasets", 3.4), each then looked at exactly: the cost grows with the records, not with
 * the pairs. */
#ifndef MN_MEMORY_DUPLICATES_H
#define MN_MEMORY_DUPLICATES_H

#include "memory/record_copy.h"
#include "retriever/analyzer.h"

typedef struct mn_duplicate {
    uint32_t survivor, merged; /* records; the survivor is the newer: by time, else by writing, else by number */
    float cosine, terms;
} mn_duplicate;

typedef struct mn_duplicate_limits {
    double cosine, terms;    /* least of each */
    int64_t now_ms;          /* records that have ended by then are left out */
    mneme_progress progress; /* NULL = none; counts "records" that were looked at, may cancel */
    void *context;
} mn_duplicate_limits;

/* *out: by survivor, then merged; no survivor is merged itself; heap, mn_free. A pair at the threshold of terms is
 * missed once in a hundred at most (once in 2,500 at 0.8). The same result on every run. */
mneme_status mn_duplicates_find(const mn_copy_source *source, mn_analyzer *analyzer, const mn_duplicate_limits *limits,
                                mn_duplicate **out, size_t *n, mneme_error *error);

#endif
