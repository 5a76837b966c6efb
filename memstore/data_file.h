/* data_file.h -- a data file that is not open as a store: what it says of itself, whether it is sound. Only memstore/
 * includes this. One thread at a time. */
#ifndef MN_MEMSTORE_DATA_FILE_H
#define MN_MEMSTORE_DATA_FILE_H

#include "memstore/store_internal.h"

typedef struct mn_data_file {
    const char *path;    /* borrowed */
    mn_store store;      /* only env, and the databases that were asked for */
    mn_read read;        /* one snapshot */
    int64_t created;     /* when the store was made: equal in all its copies */
    uint64_t generation; /* of the snapshot */
} mn_data_file;

/* Look into a data file that nobody writes: ERR_NOT_A_STORE, ERR_DAMAGED, ERR_FORMAT, ERR_IO. Takes no lock. One that
 * is shorter than its pages is made as long when `complete` (LMDB may leave unused pages at the end of its file
 * unwritten), else it is damaged. mn_data_file_close in any case. */
mneme_status mn_data_file_open(const char *path, bool complete, mn_data_file *out, mneme_error *error);
void mn_data_file_close(mn_data_file *file);

/* Read it all: the pages (page_check.h), the checksums, the dictionary. ERR_DAMAGED names the first damage. */
mneme_status mn_data_file_check(mn_data_file *file, mneme_error *error);

/* Is the file's state one that the store of `source` was in: is the newest entry of the file's change log, byte for
 * byte, the one that the source's has of the same generation? *reaches: the source has one of that generation; it may
 * have been dropped, or all of them by a compaction. */
mneme_status mn_data_file_is_ancestor(mn_data_file *file, const mn_read *source, bool *is, bool *reaches,
                                      mneme_error *error);

/* When a store was made, milliseconds since 1970. */
mneme_status mn_read_created(const mn_read *read, int64_t *created, mneme_error *error);

#endif
