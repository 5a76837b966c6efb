/* index_marks.c -- what ties an index file, which lies beside data.mdb, to the store. In `meta`:
 *
 *     identity     16 random bytes, epoch u64     from the first index on
 *     index <ns>   mn_file_stamp                  the file as it was when somebody last compared its checksums
 *
 * They are extensions of format 2: a store without them is as good. Neither makes a new generation. */
#include "memstore/store_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

typedef struct identity_value {
    unsigned char id[16];
    uint64_t epoch;
} identity_value;

mneme_status mn_read_identity(mn_read *read, mn_identity *out, mneme_error *error)
{
    *out = (mn_identity){0};
    MDB_val value;
    identity_value stored;
    mneme_status status = mn_meta_get(read, "identity", &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK) return status;
    if (value.mv_size != sizeof stored) return mn_fail(error, MNEME_ERR_DAMAGED, "the store's identity is damaged");
    memcpy(&stored, value.mv_data, sizeof stored);
    out->is_known = true;
    memcpy(out->id, stored.id, sizeof out->id);
    out->epoch = stored.epoch;
    return MNEME_OK;
}

static mneme_status put_identity(mn_write *write, const mn_identity *identity, mneme_error *error)
{
    identity_value value = {.epoch = identity->epoch};
    memcpy(value.id, identity->id, sizeof value.id);
    write->kept_books = true;
    return mn_meta_put(write, "identity", &value, sizeof value, error);
}

mneme_status mn_write_identity(mn_write *write, mneme_error *error)
{
    mn_identity identity;
    mneme_status status = mn_read_identity(&write->read, &identity, error);
    if (status != MNEME_OK || identity.is_known) return status;
    if (getrandom(identity.id, sizeof identity.id, 0) != (ssize_t)sizeof identity.id)
        return mn_fail_errno(error, errno, "cannot get random numbers");
    identity.epoch = 1;
    return put_identity(write, &identity, error);
}

mneme_status mn_next_epoch(mn_write *write, mneme_error *error)
{
    mn_identity identity;
    mneme_status status = mn_read_identity(&write->read, &identity, error);
    if (status != MNEME_OK || !identity.is_known) return status;
    identity.epoch++;
    return put_identity(write, &identity, error);
}

static const char *stamp_name(uint32_t ns, char name[24])
{
    snprintf(name, 24, "index %u", ns);
    return name;
}

mneme_status mn_read_index_stamp(mn_read *read, uint32_t ns, mn_file_stamp *out, mneme_error *error)
{
    char name[24];
    MDB_val value;
    *out = (mn_file_stamp){0};
    mneme_status status = mn_meta_get(read, stamp_name(ns, name), &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status == MNEME_OK && value.mv_size == sizeof *out) memcpy(out, value.mv_data, sizeof *out);
    return status;
}

mneme_status mn_write_index_stamp(mn_write *write, uint32_t ns, const mn_file_stamp *stamp, mneme_error *error)
{
    char name[24];
    write->kept_books = true;
    return mn_meta_put(write, stamp_name(ns, name), stamp, sizeof *stamp, error);
}

const char *mn_store_folder(const mn_store *store)
{
    return store->real_path;
}

void mn_store_set_removed(mn_store *store, void (*removed)(void *context), void *context)
{
    store->removed = removed;
    store->removed_context = context;
}
