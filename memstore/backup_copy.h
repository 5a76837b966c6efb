/* backup_copy.h -- the pages of a live store into a file. */
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

#endif
