/* optimize.h -- what the public call and the background share. */
#ifndef MN_MEMORY_OPTIMIZE_H
#define MN_MEMORY_OPTIMIZE_H

#include "memory/handle.h"

/* The kind of index that a namespace should have; `kind` as in mneme_optimize_options, not NULL. */
mn_index_kind mn_index_kind_for(const mneme *memory, const mn_namespace *space, const char *kind);

/* Does any namespace want an index, or a larger one, as mneme_optimize_options.only_wanted means it? */
bool mn_index_is_wanted(mneme *memory);

/* mneme_optimize without the lock (mn_index_build_lock), which the caller has. options: sound. in_background: see
 * mn_index_plan. */
mneme_status mn_optimize_all(mneme *memory, const mneme_optimize_options *options, bool in_background,
                             mneme_error *error);

#endif
