/* backup_mark.c -- which older copies a backup may replace. See backup_mark.h. */
#include "memstore/backup_mark.h"

#include "common/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MARK_MAX = 100 };

static size_t mark_text(int64_t created, uint64_t generation, char out[MARK_MAX])
{
    int size = snprintf(out, MARK_MAX, "{\"created\":%" PRId64 ",\"generation\":%" PRIu64 "}\n", created, generation);
    return (size_t)size;
}

mneme_status mn_backup_mark_write(const char *directory, int64_t created, uint64_t generation, mneme_error *error)
{
    char text[MARK_MAX];
    size_t size = mark_text(created, generation, text);
    char *path = mn_path_join(directory, MN_BACKUP_MARK);
    if (!path) return mn_fail_memory(error, "backup");
    mneme_status status = mn_file_write_atomic(path, text, size, error);
    mn_free(path);
    return status;
}

static mneme_status read_mark(const char *directory, const mn_data_file *of, bool *fits, mneme_error *error)
{
    char text[MARK_MAX];
    size_t size = mark_text(of->created, of->generation, text);
    mn_buffer there = {0};
    *fits = false;
    char *path = mn_path_join(directory, MN_BACKUP_MARK);
    if (!path) return mn_fail_memory(error, "backup");
    mneme_status status = MNEME_OK;
    if (mn_file_exists(path)) {
        status = mn_file_read(path, MARK_MAX, &there, error);
        *fits = status == MNEME_OK && there.size == size && memcmp(there.data, text, size) == 0;
        if (status == MNEME_ERR_TOO_LARGE) status = MNEME_OK; /* it is none */
    }
    mn_buffer_free(&there);
    mn_free(path);
    return status;
}

mneme_status mn_backup_may_replace(const char *directory, mn_data_file *old, const mn_read *source, mneme_error *error)
{
    bool is_ancestor, reaches, marked = false;
    mneme_status status = mn_data_file_is_ancestor(old, source, &is_ancestor, &reaches, error);
    if (status == MNEME_OK && !reaches) status = read_mark(directory, old, &marked, error);
    if (status != MNEME_OK || is_ancestor || marked) return status;
    if (reaches)
        return mn_fail(error, MNEME_ERR_USAGE,
                       "%s holds changes that store %s never had: both have gone on since one was copied from the "
                       "other; name another directory",
                       directory, mn_store_path(source->store));
    return mn_fail(error, MNEME_ERR_USAGE,
                   "it cannot be told whether %s (generation %llu) holds changes that store %s never had: the store's "
                   "change log begins later, and it is not as a backup left it; name another directory",
                   directory, (unsigned long long)old->generation, mn_store_path(source->store));
}
