/* field_index.c -- keeping the index of fields: writing, removing, checking. The keys are field_keys.c's, reading is
 * field_ranges.c's.
 *
 * A write gathers its keys and flushes them sorted. New records have the highest numbers, so each goes behind the last
 * one of its key, and LMDB packs the numbers of a key without gaps: 4 bytes a record. */
#include "memstore/field_index.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { PENDING_MAX = 1 << 20 }; /* keys that a write holds in memory: about 60 MB */

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

mneme_status mn_append_fields(mn_write *write, const field_source *source, mneme_error *error)
{
    field_keys keys;
    mneme_status status = mn_field_keys(source, &write->field_arena, &keys, error);
    for (size_t i = 0; i < keys.n && status == MNEME_OK; i++) {
        status =
            mn_grow((void **)&write->fields, write->n_fields, &write->field_capacity, sizeof *write->fields, error);
        if (status != MNEME_OK) return status;
        write->fields[write->n_fields++] =
            (pending_field){.key = keys.items[i].bytes, .size = (uint32_t)keys.items[i].size, .rec = source->rec};
    }
    return status == MNEME_OK && write->n_fields > PENDING_MAX ? mn_flush_fields(write, error) : status;
}

static int by_key_and_rec(const void *left, const void *right)
{
    const pending_field *a = left, *b = right;
    int order = memcmp(a->key, b->key, a->size < b->size ? a->size : b->size);
    if (order != 0) return order;
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return a->rec < b->rec ? -1 : a->rec > b->rec;
}

static int put_field(MDB_cursor *cursor, const pending_field *field)
{
    uint32_t rec = field->rec;
    MDB_val key = {.mv_size = field->size, .mv_data = (void *)(uintptr_t)field->key};
    MDB_val value = {.mv_size = sizeof rec, .mv_data = &rec};
    int code = mdb_cursor_put(cursor, &key, &value, MDB_APPENDDUP);
    /* Not the highest number: only a damaged store has that. */
    return code == MDB_KEYEXIST ? mdb_cursor_put(cursor, &key, &value, 0) : code;
}

mneme_status mn_flush_fields(mn_write *write, mneme_error *error)
{
    if (write->n_fields == 0) return MNEME_OK;
    qsort(write->fields, write->n_fields, sizeof *write->fields, by_key_and_rec);
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(&write->read, DB_FIELDS, &cursor, error);
    int code = 0;
    for (size_t i = 0; i < write->n_fields && status == MNEME_OK && code == 0; i++)
        code = put_field(cursor, &write->fields[i]);
    if (cursor) mdb_cursor_close(cursor);
    write->changed = true;
    if (code == MDB_MAP_FULL) write->map_full = true;
    if (code != 0) status = mn_lmdb_fail(error, code, "cannot write the store");
    write->n_fields = 0;
    mn_arena_free(&write->field_arena);
    return status;
}

mneme_status mn_remove_fields(mn_write *write, const field_source *source, mneme_error *error)
{
    field_keys keys;
    mn_arena arena = {0};
    mneme_status status = mn_flush_fields(write, error); /* those of this write, too */
    if (status == MNEME_OK) status = mn_field_keys(source, &arena, &keys, error);
    for (size_t i = 0; status == MNEME_OK && i < keys.n; i++) {
        uint32_t rec = source->rec;
        MDB_val key = {.mv_size = keys.items[i].size, .mv_data = (void *)(uintptr_t)keys.items[i].bytes};
        MDB_val value = {.mv_size = sizeof rec, .mv_data = &rec};
        int code = mdb_del(write->read.txn, write->read.store->dbs[DB_FIELDS], &key, &value);
        if (code == MDB_MAP_FULL) write->map_full = true;
        if (code != 0 && code != MDB_NOTFOUND) status = mn_lmdb_fail(error, code, "cannot write the store");
    }
    write->changed = true;
    mn_arena_free(&arena);
    return status;
}

/* ---- making it anew -----------------------------------------------------------------------------------------------
 */

static mneme_status rebuild_namespace(mn_write *write, uint32_t ns, mneme_error *error)
{
    mn_record record;
    uint32_t rec = 0;
    mneme_status status;
    while ((status = mn_read_next_record(&write->read, ns, rec, &record, error)) == MNEME_OK) {
        const field_source source = mn_field_source_of(ns, &record);
        rec = record.rec + 1;
        status = mn_append_fields(write, &source, error);
        if (status != MNEME_OK) return status;
    }
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

mneme_status mn_write_rebuild_fields(mn_write *write, mneme_error *error)
{
    mn_namespace *spaces = NULL;
    size_t n = 0;
    write->n_fields = 0;
    write->changed = true;
    int code = mdb_drop(write->read.txn, write->read.store->dbs[DB_FIELDS], 0);
    if (code == MDB_MAP_FULL) write->map_full = true;
    if (code != 0) return mn_lmdb_fail(error, code, "cannot write the store");
    mneme_status status = mn_read_namespaces(&write->read, &write->arena, &spaces, &n, error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) status = rebuild_namespace(write, spaces[i].ns, error);
    return status;
}

/* ---- check --------------------------------------------------------------------------------------------------------
 */

MN_PRINTF(2, 3) static void say(field_check *check, const char *format, ...)
{
    char line[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    check->damage(check->context, line);
}

/* The field's name as an expression writes it. */
static const char *name_in(const unsigned char *key)
{
    const char *name = (const char *)key + 4;
    return *name == '.' ? name + 1 : name;
}

mneme_status mn_check_fields_of(field_check *check, const mn_record *record, mneme_error *error)
{
    mn_arena arena = {0};
    field_keys keys = {.n = 0};
    MDB_cursor *cursor = NULL;
    const field_source source = mn_field_source_of(check->ns, record);
    mneme_status status = mn_cursor_open(check->read, DB_FIELDS, &cursor, error);
    if (status == MNEME_OK) status = mn_field_keys(&source, &arena, &keys, error);
    for (size_t i = 0; i < keys.n && status == MNEME_OK; i++) {
        uint32_t rec = record->rec;
        MDB_val key = {.mv_size = keys.items[i].size, .mv_data = (void *)(uintptr_t)keys.items[i].bytes};
        MDB_val value = {.mv_size = sizeof rec, .mv_data = &rec};
        if (mdb_cursor_get(cursor, &key, &value, MDB_GET_BOTH) == 0)
            check->n_found++;
        else
            say(check, "record \"%s\" in namespace \"%s\": the index of fields lacks its \"%s\"", record->id,
                check->name, name_in(keys.items[i].bytes));
    }
    if (cursor) mdb_cursor_close(cursor);
    mn_arena_free(&arena);
    return status;
}

/* Does the record have this key? A damaged one is named elsewhere. */
static mneme_status belongs(field_check *check, const MDB_val *key, uint32_t rec, bool *does, mneme_error *error)
{
    mn_record record;
    mn_arena arena = {0};
    field_keys keys = {.n = 0};
    *does = false;
    if (mn_read_record(check->read, check->ns, rec, &record, NULL) != MNEME_OK) return MNEME_OK;
    const field_source source = mn_field_source_of(check->ns, &record);
    mneme_status status = mn_field_keys(&source, &arena, &keys, error);
    for (size_t i = 0; i < keys.n && !*does; i++)
        *does = keys.items[i].size == key->mv_size && memcmp(keys.items[i].bytes, key->mv_data, key->mv_size) == 0;
    mn_arena_free(&arena);
    return status;
}

static mneme_status check_entry(field_check *check, const MDB_val *key, const MDB_val *value, mneme_error *error)
{
    uint32_t rec = 0;
    bool does = false;
    if (key->mv_size < 6 || !memchr((const char *)key->mv_data + 4, '\0', key->mv_size - 4) ||
        value->mv_size != sizeof rec) {
        say(check, "the index of fields of namespace \"%s\" has an entry that cannot be read", check->name);
        return MNEME_OK;
    }
    memcpy(&rec, value->mv_data, sizeof rec);
    mneme_status status = belongs(check, key, rec, &does, error);
    if (status == MNEME_OK && !does)
        say(check, "the index of fields of namespace \"%s\" says \"%s\" of record number %u, which has no such value",
            check->name, name_in(key->mv_data), rec);
    return status;
}

/* All entries: each with check_entry when `name_them`, else only *n is counted. */
static mneme_status walk_entries(field_check *check, bool name_them, uint64_t *n, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(check->read, DB_FIELDS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(1, check->ns, 0, 0);
    MDB_val key = key_value(&from), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && status == MNEME_OK && mn_key_number(&key, 0) == check->ns;
         code = mdb_cursor_get(cursor, &key, &value, name_them ? MDB_NEXT : MDB_NEXT_NODUP)) {
        size_t many = 1;
        if (name_them)
            status = check_entry(check, &key, &value, error);
        else
            code = mdb_cursor_count(cursor, &many);
        *n += many;
    }
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND)
        say(check, "the index of fields of namespace \"%s\": %s", check->name, mdb_strerror(code));
    mdb_cursor_close(cursor);
    return status;
}

mneme_status mn_check_fields_left(field_check *check, mneme_error *error)
{
    uint64_t n = 0, again = 0;
    mneme_status status = walk_entries(check, false, &n, error);
    if (status != MNEME_OK || n == check->n_found) return status;
    return walk_entries(check, true, &again, error);
}
