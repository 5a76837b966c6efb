/* index_table.h -- the index files that an open memory searches through: opened when they are first asked for, and
 * again when a newer one lies there. */
#ifndef MN_MEMORY_INDEX_TABLE_H
#define MN_MEMORY_INDEX_TABLE_H

#include "retriever/index_file.h"

/* Threads: any number at once, each with a read of its own. */
typedef struct mn_index_table mn_index_table;

/* store: borrowed until close. */
mneme_status mn_index_table_open(mn_store *store, mn_index_table **out, mneme_error *error);
void mn_index_table_close(mn_index_table *table);

enum { MN_INDEX_REASON_SIZE = 160 }; /* bytes of a text that says why a file is not used */

/* The index of a namespace that fits this read; a reference of the caller's, to be given to mn_index_release. NULL:
 * there is none, or it is refused. reason (NULL allowed, MN_INDEX_REASON_SIZE bytes): why; "" = there is no file. */
mn_index *mn_index_table_get(mn_index_table *table, mn_read *read, const mn_namespace *space, char *reason);

/* Take the codes of rows that have died out of all index files of this store that lie there. A file in which that fails
 * is removed: what was forgotten must not stay. As mn_store_set_removed wants it; context is the table. */
void mn_index_table_scrub(void *table);

/* Note in the store that the files are whole, as far as this table compared or changed them. When it is open for
 * writing. */
void mn_index_table_note_stamps(mn_index_table *table);

/* What an index of this namespace must be of. */
mneme_status mn_index_owner_of(mn_read *read, const mn_namespace *space, mn_index_owner *out, mneme_error *error);

#endif
