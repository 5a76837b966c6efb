/* file.h -- files and paths. */
#ifndef MN_COMMON_FILE_H
#define MN_COMMON_FILE_H

#include "common/buffer.h"

/* A file's bytes, mapped read-only. */
typedef struct mn_mapping {
    const unsigned char *data; /* NULL when the file is empty */
    size_t size;
} mn_mapping;

mneme_status mn_file_map(const char *path, mn_mapping *out, mneme_error *error);
void mn_file_unmap(mn_mapping *mapping);

/* Append the whole file to `out`; over max_size bytes: ERR_TOO_LARGE. */
mneme_status mn_file_read(const char *path, size_t max_size, mn_buffer *out, mneme_error *error);

/* All of it from where the open file stands. path: for the error. */
mneme_status mn_file_write_all(int fd, const char *path, const void *data, size_t size, mneme_error *error);

/* Write through a temporary file, fsync and rename: afterwards the file is the old or the new one, never half. */
mneme_status mn_file_write_atomic(const char *path, const void *data, size_t size, mneme_error *error);

/* A rename or a new file is durable only once its directory is. */
mneme_status mn_directory_sync(const char *path, mneme_error *error);

bool mn_file_exists(const char *path);
bool mn_is_directory(const char *path);
/* Make the directory and its parents; `mode` for the last, 0777 less umask for parents. Existing is fine. Where it
 * cannot be made: ERR_IO, ERR_PERMISSION, ERR_DISK_FULL; never ERR_NOT_FOUND. */
mneme_status mn_make_directories(const char *path, unsigned mode, mneme_error *error);

/* "a" + "b" -> "a/b"; an absolute b stays b. Owned (mn_free); NULL: out of memory. */
char *mn_path_join(const char *directory, const char *name);
/* Without "." and empty parts, ".." resolved where it can be, by letters alone. Owned; NULL: out of memory. */
char *mn_path_normalize(const char *path);
/* The part after the last '/'; borrowed from path. */
const char *mn_path_base(const char *path);

#endif
