/* index_build.h -- making the index file of a namespace, or bringing one up to date. */
#ifndef MN_MEMORY_INDEX_BUILD_H
#define MN_MEMORY_INDEX_BUILD_H

#include "memory/index_table.h"

typedef struct mn_index_plan {
    mn_index_kind kind;      /* not MN_INDEX_NONE */
    double recall;           /* of the best ten, to be tuned for */
    bool in_background;      /* on half of the cores, else on all */
    bool anew;               /* do not go on from the file that is there */
    mneme_progress progress; /* NULL = none; counts "vectors"; false: ERR_CANCELLED */
    void *context;
} mn_index_plan;

/* What became of it. */
typedef struct mn_index_built {
    mn_index_facts facts;
    uint64_t bytes;
    bool extended; /* the file that was there, else made anew */
} mn_index_built;

/* ERR_BUSY when rows have other numbers in this read than in an index of that epoch: the store was compacted. */
mneme_status mn_index_check_epoch(mn_read *read, const mn_store *store, uint64_t epoch, mneme_error *error);
/* Tell how far it is; ERR_CANCELLED when the plan's progress does not want to go on. */
mneme_status mn_index_report(const mn_index_plan *plan, uint64_t done, uint64_t total, mneme_error *error);

/* Only one builds at a time, in all processes: ERR_BUSY. *lock: to be given to mn_index_build_unlock. */
mneme_status mn_index_build_lock(const mn_store *store, int *lock, mneme_error *error);
void mn_index_build_unlock(int lock);

/* Build under the lock. present: the namespace's index, if a good one is there; NULL = none. Reads of the store are
 * held for a batch of vectors at most; writers go on meanwhile, and what dies then is taken out before
 * this returns. After a failure the old file is as before. ERR_CANCELLED, ERR_DISK_FULL, ERR_MEMORY, ERR_BUSY: the
 * store was compacted meanwhile. */
mneme_status mn_index_build(mn_store *store, const mn_namespace *space, const mn_index_plan *plan, mn_index *present,
                            mn_index_built *out, mneme_error *error);

#endif
