/* backup_copy.h -- the pages of a live store into a file, and what a data file says of itself. */
#ifndef MN_MEMSTORE_BACKUP_COPY_H
#define MN_MEMSTORE_BACKUP_COPY_H

#include "memstore/store_internal.h"

typedef struct mn_backup_copy {
    mn_store *store;
    int fd;                              /* of the target file, open for reading and writing */
    const char *path;                    /* of it, for messages */
    uint64_t expected;                   /* bytes, for the progress */
    const mneme_backup_options *options; /* NULL = none */
} mn_backup_copy;

/* Make the target file the store's data file as of one generation; what is equal there already is not written again.
 * Not synced yet. result: bytes and bytes_written. After a failure the file holds a part, which the next run uses. */
mneme_status mn_backup_copy_run(const mn_backup_copy *copy, mneme_backup_result *result, mneme_error *error);

typedef struct mn_file_facts {
    int64_t created; /* when the store was made: equal in all its copies */
    uint64_t generation;
    uint64_t bytes; /* that the file should have */
} mn_file_facts;

/* Look into a data file that nobody writes: ERR_NOT_A_STORE, ERR_DAMAGED, ERR_FORMAT, ERR_IO. Takes no lock. One that
 * is shorter than its pages is made as long when `complete` (LMDB may leave unused pages at the end of its file
 * unwritten), else it is damaged. */
mneme_status mn_file_facts_read(const char *path, bool complete, mn_file_facts *out, mneme_error *error);

/* When a store was made, milliseconds since 1970. */
mneme_status mn_read_created(const mn_read *read, int64_t *created, mneme_error *error);

#endif
