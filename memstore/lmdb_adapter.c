/* lmdb_adapter.c -- keys, LMDB's calls with our errors, and cursors. */
#include "memstore/store_internal.h"

#include <string.h>

uint32_t mn_key_number(const MDB_val *key, size_t offset)
{
    if (key->mv_size < offset + 4) return 0;
    const unsigned char *b = (const unsigned char *)key->mv_data + offset;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

key_bytes mn_key_namespace(const char *name)
{
    key_bytes key = {.size = 0};
    key_text(&key, "n", 1); /* LMDB has no empty keys, the unnamed namespace has an empty name */
    key_text(&key, name, strlen(name));
    return key;
}

key_bytes mn_key_named(uint32_t ns, const char *name)
{
    key_bytes key = key_numbers(1, ns, 0, 0);
    key_text(&key, name, strlen(name));
    return key;
}

key_bytes mn_key_posting(uint32_t ns, const char *term, size_t size, uint32_t first_row)
{
    key_bytes key = key_numbers(1, ns, 0, 0);
    key_text(&key, term, size);
    key_text(&key, "", 1);
    key_u32(&key, first_row);
    return key;
}

mneme_status mn_lmdb_fail(mneme_error *error, int code, const char *what)
{
    if (code > 0) return mn_fail_errno(error, code, "%s", what);
    mneme_status status = MNEME_ERR_INTERNAL;
    const char *advice = "";
    switch (code) {
    case MDB_NOTFOUND: status = MNEME_ERR_NOT_FOUND; break;
    case MDB_MAP_FULL: status = MNEME_ERR_DISK_FULL; break;
    case MDB_VERSION_MISMATCH: status = MNEME_ERR_FORMAT; break;
    case MDB_INVALID: status = MNEME_ERR_NOT_A_STORE; break;
    case MDB_READERS_FULL:
        status = MNEME_ERR_IO;
        advice = "; over 1000 readers have the store open";
        break;
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_PANIC:
        status = MNEME_ERR_DAMAGED;
        advice = "; `mneme check` says what can be read";
        break;
    default: break;
    }
    return mn_fail(error, status, "%s: %s%s", what, mdb_strerror(code), advice);
}

mneme_status mn_db_get(const mn_read *read, int db, key_bytes *key, MDB_val *value, mneme_error *error)
{
    MDB_val k = key_value(key);
    int code = mdb_get(read->txn, read->store->dbs[db], &k, value);
    if (code == 0) return MNEME_OK;
    if (code == MDB_NOTFOUND) return MNEME_ERR_NOT_FOUND;
    return mn_lmdb_fail(error, code, "cannot read the store");
}

/* Strengths are no content: they make no new generation. */
static void note_write(mn_write *write, int db)
{
    if (db == DB_STRENGTHS)
        write->kept_books = true;
    else
        write->changed = true;
}

static mneme_status written(mn_write *write, int db, int code, mneme_error *error)
{
    note_write(write, db);
    if (code == 0) return MNEME_OK;
    if (code == MDB_MAP_FULL) write->map_full = true;
    return mn_lmdb_fail(error, code, "cannot write the store");
}

mneme_status mn_db_put(mn_write *write, int db, key_bytes *key, const void *data, size_t size, mneme_error *error)
{
    MDB_val k = key_value(key), v = {.mv_size = size, .mv_data = (void *)(uintptr_t)data};
    return written(write, db, mdb_put(write->read.txn, write->read.store->dbs[db], &k, &v, 0), error);
}

mneme_status mn_db_append(mn_write *write, int db, key_bytes *key, const void *data, size_t size, mneme_error *error)
{
    MDB_val k = key_value(key), v = {.mv_size = size, .mv_data = (void *)(uintptr_t)data};
    int code = mdb_put(write->read.txn, write->read.store->dbs[db], &k, &v, MDB_APPEND);
    if (code == MDB_KEYEXIST) return mn_db_put(write, db, key, data, size, error); /* it is not the last */
    return written(write, db, code, error);
}

mneme_status mn_db_delete(mn_write *write, int db, key_bytes *key, mneme_error *error)
{
    MDB_val k = key_value(key);
    int code = mdb_del(write->read.txn, write->read.store->dbs[db], &k, NULL);
    return written(write, db, code == MDB_NOTFOUND ? 0 : code, error);
}

mneme_status mn_cursor_open(const mn_read *read, int db, MDB_cursor **out, mneme_error *error)
{
    *out = NULL;
    int code = mdb_cursor_open(read->txn, read->store->dbs[db], out);
    return code == 0 ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read the store");
}

bool mn_cursor_floor(MDB_cursor *cursor, key_bytes *key, size_t prefix, MDB_val *found, MDB_val *value,
                     mneme_status *status, mneme_error *error)
{
    *status = MNEME_OK;
    *found = key_value(key);
    int code = mdb_cursor_get(cursor, found, value, MDB_SET_RANGE);
    bool exact = code == 0 && found->mv_size == key->size && memcmp(found->mv_data, key->bytes, key->size) == 0;
    if (code == MDB_NOTFOUND) code = mdb_cursor_get(cursor, found, value, MDB_LAST);
    else if (code == 0 && !exact) code = mdb_cursor_get(cursor, found, value, MDB_PREV);
    if (code == MDB_NOTFOUND) return false;
    if (code != 0) {
        *status = mn_lmdb_fail(error, code, "cannot read the store");
        return false;
    }
    return found->mv_size >= prefix && memcmp(found->mv_data, key->bytes, prefix) == 0;
}

mneme_status mn_damaged(mneme_error *error, const char *what, uint32_t ns, uint32_t number)
{
    return mn_fail(error, MNEME_ERR_DAMAGED, "%s %u of namespace number %u is damaged; `mneme check` lists all damage", what,
                   number, ns);
}

mneme_status mn_grow(void **items, size_t n, size_t *capacity, size_t item_size, mneme_error *error)
{
    if (n < *capacity) return MNEME_OK;
    size_t larger = *capacity ? *capacity * 2 : 64;
    void *grown = mn_realloc_array(*items, larger, item_size);
    if (!grown) return mn_fail_memory(error, "write");
    *items = grown;
    *capacity = larger;
    return MNEME_OK;
}

mneme_status mn_meta_get(const mn_read *read, const char *name, MDB_val *value, mneme_error *error)
{
    key_bytes key = {.size = 0};
    key_text(&key, name, strlen(name));
    return mn_db_get(read, DB_META, &key, value, error);
}

mneme_status mn_meta_put(mn_write *write, const char *name, const void *data, size_t size, mneme_error *error)
{
    key_bytes key = {.size = 0};
    key_text(&key, name, strlen(name));
    return mn_db_put(write, DB_META, &key, data, size, error);
}
