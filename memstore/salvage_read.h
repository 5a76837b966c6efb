/* salvage_read.h -- reading a damaged store record by record, trusting nothing.
 *
 * Values are checked before they are used; damage in LMDB's own pages is LMDB's to notice, which may mean that the
 * process dies in it: callers run this where that can be borne. After an error of LMDB's a read is of no use any more:
 * end it. */
#ifndef MN_MEMSTORE_SALVAGE_READ_H
#define MN_MEMSTORE_SALVAGE_READ_H

#include "memstore/store.h"

/* The namespaces whose entries are whole, by number; array and names in the arena. damaged: called with a line for each
 * other one. */
mneme_status mn_salvage_namespaces(mn_read *read, mn_arena *arena, mn_namespace **out, size_t *n,
                                   void (*damaged)(void *context, const char *line), void *context, mneme_error *error);

/* The first record at or after (ns, rec), in any namespace. ERR_NOT_FOUND at the end. */
mneme_status mn_salvage_next(mn_read *read, uint32_t ns, uint32_t rec, uint32_t *found_ns, uint32_t *found_rec,
                             mneme_error *error);

/* What is there of a record: head and strings (borrowed), and its text, appended: out->text_size bytes, unless some are
 * lost, or that number is damaged. ERR_DAMAGED: nothing is there that could be used. */
mneme_status mn_salvage_record(mn_read *read, uint32_t ns, uint32_t rec, mn_record *out, mn_buffer *text,
                               mneme_error *error);

/* Every id that leads to a record number, until visit returns false. */
mneme_status mn_salvage_ids(mn_read *read, bool (*visit)(void *context, uint32_t ns, uint32_t rec, const char *id),
                            void *context, mneme_error *error);

#endif
