/* index_check.h -- holding index files against the store. */
#ifndef MN_MEMORY_INDEX_CHECK_H
#define MN_MEMORY_INDEX_CHECK_H

#include "memory/handle.h"

/* Compare all checksums of the index files that are in use, and each vector in them with the store's: those of dead rows
 * must be gone. problem (NULL = none) is called with one line for each damage, counted in report->problems. A file that
 * the store has gone past (compact) is no damage. */
mneme_status mn_check_indexes(mneme *memory, void (*problem)(void *context, const char *line), void *context,
                              mneme_check_report *report, mneme_error *error);

#endif
