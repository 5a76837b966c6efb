/* reindex_file.h -- vectors by another encoder that are ready, kept beside the store until all are.
 *
 * The file, STORE/reindex.vectors, is derived: what it lacks, or holds damaged, is encoded again. A vector is found by
 * what was encoded (a hash of header and text), whatever record that is of; the record that it was made for is kept
 * with it, so that the vector goes when the record is forgotten. docs/reindex.md tells the life of the file.
 *
 * One process at a time has it open, by a lock; one thread. */
#ifndef MN_MEMORY_REINDEX_FILE_H
#define MN_MEMORY_REINDEX_FILE_H

#include "memstore/store.h"

typedef struct mn_ready_file mn_ready_file;

#define MN_NOT_READY SIZE_MAX

/* What a vector is of. */
typedef struct mn_ready_key {
    uint64_t hash[2];
    uint32_t ns, rec; /* the record that it is made for */
} mn_ready_key;

/* XXH3-128 of a text with its header. */
mn_ready_key mn_ready_key_of(const char *text, size_t size, uint32_t ns, uint32_t rec);

/* Open the file of a store for an encoder, making it when `create`; one of another encoder is begun anew then. *out:
 * owned (mn_ready_close); NULL with MNEME_OK: there is none, and it is not to be made. ERR_BUSY: another process, or
 * another handle here, has it; ERR_DISK_FULL, ERR_PERMISSION, ERR_IO, ERR_MEMORY. */
mneme_status mn_ready_open(const mn_store *store, const mn_encoder_stamp *stamp, bool create, mn_ready_file **out,
                           mneme_error *error);
void mn_ready_close(mn_ready_file *file);  /* what it holds stays */
void mn_ready_remove(mn_ready_file *file); /* close, and delete the file */

/* The number of the vector with this hash, or MN_NOT_READY. */
size_t mn_ready_find(const mn_ready_file *file, const mn_ready_key *key);
size_t mn_ready_count(const mn_ready_file *file);
/* Forget the number of one that cannot be read: it is not found any more. */
void mn_ready_drop(mn_ready_file *file, size_t number);
/* ERR_DISK_FULL unless there is room for n more. */
mneme_status mn_ready_check_space(const mn_ready_file *file, uint64_t n, mneme_error *error);

/* Add n vectors (n x dimension floats); key i gets the number first + i. They survive kill -9 from here on, power loss
 * from the next mn_ready_sync. After a failure the file is as before, or longer by some of them. */
mneme_status mn_ready_put(mn_ready_file *file, const mn_ready_key *keys, const float *vectors, size_t n, size_t *first,
                          mneme_error *error);
mneme_status mn_ready_sync(mn_ready_file *file, mneme_error *error);

/* Copy one out. ERR_DAMAGED: it does not fit its checksum. */
mneme_status mn_ready_read(mn_ready_file *file, size_t number, float *out, mneme_error *error);

/* Overwrite the vectors of records that are gone. Of a file that is open, or of the store's, if no one has it open.
 * What fails there deletes the file: it is derived. Not inside a read of the same thread. */
void mn_ready_scrub(mn_ready_file *file, mn_store *store);
void mn_ready_scrub_store(mn_store *store);

/* How many vectors the store's file holds of records that are gone; 0 when someone has it open, who will see to it. */
mneme_status mn_ready_count_dead(mn_store *store, mn_read *read, uint64_t *n, mneme_error *error);

#endif
