/* index_keeper.h -- the thread that builds and extends indexes in the background of a memory that is open for writing.
 */
#ifndef MN_MEMORY_INDEX_KEEPER_H
#define MN_MEMORY_INDEX_KEEPER_H

#include "common/error.h"

#include <stdint.h>

typedef struct mn_index_keeper mn_index_keeper;

/* memory: borrowed until close; its store and settings must be there. Starts nothing yet. */
mneme_status mn_index_keeper_open(mneme *memory, mn_index_keeper **out, mneme_error *error);
/* Ends a build that is going on, at its next batch, and waits for that. NULL is fine. */
void mn_index_keeper_close(mn_index_keeper *keeper);

/* So many chunks were stored: now and then the thread looks whether an index is wanted, some seconds later, so that a
 * program that stores one record and ends has none of it. Any thread; NULL is fine. */
void mn_index_keeper_note(mn_index_keeper *keeper, uint64_t n_chunks);

/* Wait until no build is going on. progress (NULL = none) tells how far it is; false: the build is ended,
 * ERR_CANCELLED. */
mneme_status mn_index_keeper_wait(mn_index_keeper *keeper, mneme_progress progress, void *context, mneme_error *error);

#endif
