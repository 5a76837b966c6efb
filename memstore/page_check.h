/* page_check.h -- all pages of a snapshot: sound, in order, each in one place. Reads every page but those of long
 * values, of which it reads the first: about 1 ms for 10 MB of records and postings that are in memory. Any thread. */
#ifndef MN_MEMSTORE_PAGE_CHECK_H
#define MN_MEMSTORE_PAGE_CHECK_H

#include "memstore/checked_lmdb.h"

#include "mneme.h"

/* Look at every page that the transaction's snapshot uses or lists as free. `problem` gets one line for each that is
 * damaged; what hangs below a damaged page is not looked at. *n_problems: how many. ERR_MEMORY. */
mneme_status mn_pages_check(MDB_txn *txn, void (*problem)(void *context, const char *line), void *context,
                            uint64_t *n_problems, mneme_error *error);

/* Does the list of free pages, whose own pages were found sound, list pages of the file only, none twice? */
bool mn_free_list_is_sound(const mn_page_space *space, const mn_tree *tree, uint64_t last_page);

#endif
