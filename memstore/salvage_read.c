/* salvage_read.c -- reading a damaged store record by record. */
#include "memstore/salvage_read.h"

#include "memstore/store_internal.h"

#include <string.h>

/* ---- namespaces ---- */

static bool number_is_taken(const mn_namespace *items, size_t n, uint32_t ns)
{
    for (size_t i = 0; i < n; i++)
        if (items[i].ns == ns) return true;
    return false;
}

mneme_status mn_salvage_namespaces(mn_read *read, mn_arena *arena, mn_namespace **out, size_t *n,
                                   void (*damaged)(void *context, const char *line), void *context, mneme_error *error)
{
    size_t capacity = 0;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    *out = NULL;
    *n = 0;
    mneme_status status = mn_cursor_open(read, DB_NAMESPACES, &cursor, error);
    if (status != MNEME_OK) return status;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; code == 0 && status == MNEME_OK; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        namespace_value stored;
        if (key.mv_size < 1 || key.mv_size > KEY_MAX) continue;
        char *name = mn_arena_copy(arena, (const char *)key.mv_data + 1, key.mv_size - 1);
        if (*n == capacity) {
            mn_namespace *grown = mn_arena_array(arena, capacity = capacity ? capacity * 2 : 16, sizeof *grown);
            if (grown && *n) memcpy(grown, *out, *n * sizeof *grown);
            *out = grown;
        }
        if (!name || !*out) status = mn_fail_memory(error, "namespaces");
        if (status != MNEME_OK) break;
        if (value.mv_size == sizeof stored) memcpy(&stored, value.mv_data, sizeof stored);
        if (value.mv_size != sizeof stored || number_is_taken(*out, *n, stored.ns) ||
            stored.vector_type >= MN_VECTOR_TYPES) {
            char line[KEY_MAX + 80];
            snprintf(line, sizeof line, "the entry of namespace \"%s\" is damaged", name);
            damaged(context, line);
            continue;
        }
        (*out)[(*n)++] = (mn_namespace){.name = name,
                                        .ns = stored.ns,
                                        .dimension = stored.dimension,
                                        .vector_type = (mn_vector_type)stored.vector_type,
                                        .next_row = stored.next_row,
                                        .n_records = stored.n_records};
    }
    mdb_cursor_close(cursor);
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND)
        return mn_lmdb_fail(error, code, "cannot read the namespaces");
    return status;
}

/* ---- records ---- */

mneme_status mn_salvage_next(mn_read *read, uint32_t ns, uint32_t rec, uint32_t *found_ns, uint32_t *found_rec,
                             mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_RECORDS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(3, ns, rec, 0);
    MDB_val key = key_value(&from), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    uint64_t least = (uint64_t)ns << 32 | rec, found = 0;
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        found = (uint64_t)mn_key_number(&key, 0) << 32 | mn_key_number(&key, 4);
        if (key.mv_size == 12 && found >= least) break; /* keys that go back would never end */
        if (key.mv_size == 12) code = MDB_CORRUPTED;
        if (code != 0) break;
    }
    *found_ns = (uint32_t)(found >> 32);
    *found_rec = (uint32_t)found;
    mdb_cursor_close(cursor);
    if (code == MDB_NOTFOUND) return MNEME_ERR_NOT_FOUND;
    return code == 0 ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read the store");
}

/* Append what can be had of one part of a text. A plain one is taken as it is, a packed one needs its right length.
 * False: nothing. */
static bool append_part(mn_read *read, const mn_packed_text *part, mn_buffer *text)
{
    if (part->kind == TEXT_PLAIN) {
        mn_buffer_append(text, part->bytes, part->size < TEXT_PART ? part->size : TEXT_PART);
        return true;
    }
    if (part->kind > TEXT_WITH_DICTIONARY || part->text_size > TEXT_PART || !mn_buffer_reserve(text, TEXT_PART))
        return false;
    if (mn_text_unpack(read, part, text->data + text->size, NULL) != MNEME_OK) return false;
    text->size += part->text_size;
    text->data[text->size] = '\0';
    return true;
}

/* The parts behind the first, as far as they are there. */
static mneme_status append_parts(mn_read *read, uint32_t ns, const mn_record *record, mn_buffer *text,
                                 mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_RECORDS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(3, ns, record->rec, 1);
    MDB_val key = key_value(&from), value;
    uint64_t least = 1;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && key.mv_size == 12 && !text->failed; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        uint64_t part = mn_key_number(&key, 8), at = part * TEXT_PART;
        if (mn_key_number(&key, 0) != ns || mn_key_number(&key, 4) != record->rec || part < least) break;
        least = part + 1;
        if (value.mv_size < 1 + CHECKSUM_BYTES || at >= record->text_size) continue;
        uint64_t left = record->text_size - at;
        const mn_packed_text packed = {.kind = (mn_text_kind)((const unsigned char *)value.mv_data)[0],
                                       .bytes = (const char *)value.mv_data + 1,
                                       .size = value.mv_size - 1 - CHECKSUM_BYTES,
                                       .text_size = left < TEXT_PART ? (size_t)left : TEXT_PART};
        append_part(read, &packed, text); /* what is lost shows in the length */
    }
    mdb_cursor_close(cursor);
    if (text->failed) return mn_fail_memory(error, "text");
    return code == 0 || code == MDB_NOTFOUND ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read the store");
}

mneme_status mn_salvage_record(mn_read *read, uint32_t ns, uint32_t rec, mn_record *out, mn_buffer *text,
                               mneme_error *error)
{
    key_bytes key = key_numbers(3, ns, rec, 0);
    MDB_val value;
    mn_packed_text first = {0};
    *out = (mn_record){0};
    mneme_status status = mn_db_get(read, DB_RECORDS, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return mn_fail(error, MNEME_ERR_DAMAGED, "its head is not there");
    if (status == MNEME_OK) status = mn_parse_damaged_record(ns, rec, &value, out, &first, error);
    if (status != MNEME_OK) return status;
    if (strlen(out->id) > MN_ID_MAX) return mn_fail(error, MNEME_ERR_DAMAGED, "its id is damaged");
    append_part(read, &first, text);
    if (out->text_size > TEXT_PART) status = append_parts(read, ns, out, text, error);
    if (text->failed) return mn_fail_memory(error, "text");
    return status == MNEME_ERR_MEMORY ? status : MNEME_OK; /* where a part could not be read, its bytes are lost */
}

/* ---- ids ---- */

mneme_status mn_salvage_ids(mn_read *read, bool (*visit)(void *context, uint32_t ns, uint32_t rec, const char *id),
                            void *context, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    unsigned char before[KEY_MAX];
    size_t before_size = 0;
    mneme_status status = mn_cursor_open(read, DB_IDS, &cursor, error);
    if (status != MNEME_OK) return status;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        uint32_t rec;
        char id[KEY_MAX + 1];
        if (key.mv_size <= 4 || key.mv_size > KEY_MAX || value.mv_size != sizeof rec) continue;
        int order = memcmp(key.mv_data, before, key.mv_size < before_size ? key.mv_size : before_size);
        if (order < 0 || (order == 0 && key.mv_size <= before_size)) code = MDB_CORRUPTED; /* it would never end */
        if (code != 0) break;
        memcpy(before, key.mv_data, before_size = key.mv_size);
        memcpy(&rec, value.mv_data, sizeof rec);
        memcpy(id, (const char *)key.mv_data + 4, key.mv_size - 4);
        id[key.mv_size - 4] = '\0';
        if (!visit(context, mn_key_number(&key, 0), rec, id)) break;
    }
    mdb_cursor_close(cursor);
    return code == 0 || code == MDB_NOTFOUND ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read the ids");
}
