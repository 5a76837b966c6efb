/* victims.h -- which records of a namespace a budget leaves no room for. */
#ifndef MN_MEMORY_VICTIMS_H
#define MN_MEMORY_VICTIMS_H

#include "memory/handle.h"

typedef struct mn_victim {
    uint32_t rec, n_chunks;
    uint64_t bytes;
    mneme_prune_reason reason;
} mn_victim;

/* What a namespace holds, and what would be left. */
typedef struct mn_victims {
    mn_victim *items; /* in the order in which they go; heap: mn_victims_free */
    size_t n;
    uint64_t kept_records, kept_chunks, kept_bytes;
} mn_victims;

/* Choose. First what has ended; then, by the strategy, until the budgets hold; with the strategy STRENGTH whatever is
 * below options->min_strength goes in any case. Pinned records are never chosen. Depends on nothing but the store, the
 * options and the clock. */
mneme_status mn_victims_choose(const mneme *memory, mn_read *read, const mn_namespace *space,
                               const mneme_prune_options *options, mn_victims *out, mneme_error *error);
void mn_victims_free(mn_victims *victims);

#endif
