/* checksums.c -- checksums of values, and the walk that compares them. */
#include "memstore/store_internal.h"

#include <string.h>
#include <xxhash.h>

uint32_t mn_checksum(const void *bytes, size_t size)
{
    return (uint32_t)XXH3_64bits(bytes, size);
}

bool mn_checksum_is_right(const MDB_val *value)
{
    uint32_t stored;
    if (value->mv_size < CHECKSUM_BYTES) return false;
    size_t size = value->mv_size - CHECKSUM_BYTES;
    memcpy(&stored, (const char *)value->mv_data + size, sizeof stored);
    return stored == mn_checksum(value->mv_data, size);
}

void mn_buffer_checksum(mn_buffer *value)
{
    uint32_t sum = mn_checksum(value->data, value->size);
    mn_buffer_append(value, &sum, sizeof sum);
}

mneme_status mn_checksums_compare(const mn_read *read, int db, uint32_t ns, mn_wrong_checksum wrong, void *context,
                                  mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, db, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes first = key_numbers(1, ns, 0, 0);
    MDB_val key = key_value(&first), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && (ns == 0 || mn_key_number(&key, 0) == ns);
         code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))
        if (!mn_checksum_is_right(&value)) wrong(context, mn_key_number(&key, 0), mn_key_number(&key, 4));
    mdb_cursor_close(cursor);
    return code == 0 || code == MDB_NOTFOUND ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read the store");
}
