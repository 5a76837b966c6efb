/* namespaces.c -- the walls: each with its numbers, dimension and statistics; and the encoder's stamp. */
#include "memstore/store_internal.h"

#include <string.h>

static mneme_status parse_namespace(const MDB_val *value, const char *name, namespace_value *out, mneme_error *error)
{
    if (value->mv_size != sizeof *out)
        return mn_fail(error, MNEME_ERR_DAMAGED, "namespace \"%s\" is damaged; `mneme check` lists all damage", name);
    memcpy(out, value->mv_data, sizeof *out);
    if (out->vector_type < MN_VECTOR_TYPES) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_DAMAGED, "namespace \"%s\" has vectors of an unknown type (%u)", name,
                   out->vector_type);
}

static mn_namespace public_view(const namespace_value *value, const char *name)
{
    return (mn_namespace){.name = name,
                          .ns = value->ns,
                          .dimension = value->dimension,
                          .own_vectors = value->own_vectors != 0,
                          .vector_type = (mn_vector_type)value->vector_type,
                          .next_row = value->next_row,
                          .next_rec = value->next_rec,
                          .n_records = value->n_records,
                          .n_chunks = value->n_chunks,
                          .n_terms = value->n_terms,
                          .n_sessions = value->n_sessions};
}

mneme_status mn_read_namespace(mn_read *read, const char *name, mn_namespace *out, mneme_error *error)
{
    *out = (mn_namespace){.name = ""};
    if (!name) name = "";
    if (strlen(name) > MN_ID_MAX) return mn_fail(error, MNEME_ERR_NOT_FOUND, "no namespace of that name");
    key_bytes key = mn_key_namespace(name);
    MDB_val value;
    namespace_value stored;
    mneme_status status = mn_db_get(read, DB_NAMESPACES, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return mn_fail(error, status, "no namespace \"%s\"", name);
    if (status == MNEME_OK) status = parse_namespace(&value, name, &stored, error);
    if (status != MNEME_OK) return status;
    const char *kept = mn_arena_strdup(&read->arena, name);
    if (!kept) return mn_fail_memory(error, "namespace");
    *out = public_view(&stored, kept);
    return MNEME_OK;
}

mneme_status mn_read_namespaces(mn_read *read, mn_arena *arena, mn_namespace **out, size_t *n, mneme_error *error)
{
    *out = NULL;
    *n = 0;
    MDB_stat stat;
    mdb_stat(read->txn, read->store->dbs[DB_NAMESPACES], &stat);
    mn_namespace *items = mn_arena_array(arena, stat.ms_entries, sizeof *items);
    MDB_cursor *cursor = NULL;
    mneme_status status =
        items ? mn_cursor_open(read, DB_NAMESPACES, &cursor, error) : mn_fail_memory(error, "namespaces");
    MDB_val key, value;
    int code = status == MNEME_OK ? mdb_cursor_get(cursor, &key, &value, MDB_FIRST) : MDB_NOTFOUND;
    for (; code == 0 && *n < stat.ms_entries; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        const char *name = mn_arena_copy(arena, (const char *)key.mv_data + 1, key.mv_size - 1);
        namespace_value stored;
        status = name ? parse_namespace(&value, name, &stored, error) : mn_fail_memory(error, "namespaces");
        if (status != MNEME_OK) break;
        items[(*n)++] = public_view(&stored, name);
    }
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND)
        status = mn_lmdb_fail(error, code, "cannot read the store");
    if (cursor) mdb_cursor_close(cursor);
    *out = items;
    return status;
}

/* ---- inside a write ---- */

static mneme_status add_state(mn_write *write, const char *name, const namespace_value *value, namespace_state **out,
                              mneme_error *error)
{
    mneme_status status = mn_grow((void **)&write->namespaces, write->n_namespaces, &write->namespace_capacity,
                                  sizeof *write->namespaces, error);
    char *kept = status == MNEME_OK ? mn_arena_strdup(&write->arena, name) : NULL;
    if (status != MNEME_OK) return status;
    if (!kept) return mn_fail_memory(error, "namespace");
    *out = &write->namespaces[write->n_namespaces++];
    **out = (namespace_state){.value = *value, .name = kept, .first_new_rec = value->next_rec};
    return MNEME_OK;
}

static mneme_status create_namespace(mn_write *write, const char *name, namespace_state **out, mneme_error *error)
{
    MDB_val value;
    uint32_t ns = 0;
    mneme_status status = mn_meta_get(&write->read, "next_ns", &value, error);
    if (status != MNEME_OK || value.mv_size != sizeof ns)
        return mn_fail(error, MNEME_ERR_DAMAGED, "the store has no next namespace number");
    memcpy(&ns, value.mv_data, sizeof ns);
    uint32_t next = ns + 1;
    status = mn_meta_put(write, "next_ns", &next, sizeof next, error);
    if (status != MNEME_OK) return status;
    const namespace_value fresh = {.ns = ns, .next_rec = 1, .next_session = 1};
    status = add_state(write, name, &fresh, out, error);
    if (status == MNEME_OK) (*out)->dirty = true;
    return status;
}

mneme_status mn_write_namespace(mn_write *write, const char *name, bool create, namespace_state **out,
                                mneme_error *error)
{
    *out = NULL;
    if (!name) name = "";
    for (size_t i = 0; i < write->n_namespaces; i++) {
        if (strcmp(write->namespaces[i].name, name) != 0) continue;
        *out = &write->namespaces[i];
        return MNEME_OK;
    }
    key_bytes key = mn_key_namespace(name);
    MDB_val value;
    namespace_value stored;
    mneme_status status = mn_db_get(&write->read, DB_NAMESPACES, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND && create) return create_namespace(write, name, out, error);
    if (status == MNEME_OK) status = parse_namespace(&value, name, &stored, error);
    return status == MNEME_OK ? add_state(write, name, &stored, out, error) : status;
}

mneme_status mn_write_namespace_number(mn_write *write, uint32_t ns, namespace_state **out, mneme_error *error)
{
    *out = NULL;
    for (size_t i = 0; i < write->n_namespaces; i++) {
        if (write->namespaces[i].value.ns != ns) continue;
        *out = &write->namespaces[i];
        return MNEME_OK;
    }
    mn_namespace *all = NULL;
    size_t n = 0;
    mneme_status status = mn_read_namespaces(&write->read, &write->arena, &all, &n, error);
    if (status != MNEME_OK) return status;
    for (size_t i = 0; i < n; i++)
        if (all[i].ns == ns) return mn_write_namespace(write, all[i].name, false, out, error);
    return mn_fail(error, MNEME_ERR_NOT_FOUND, "no namespace number %u", ns);
}

mneme_status mn_flush_namespaces(mn_write *write, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < write->n_namespaces && status == MNEME_OK; i++) {
        namespace_state *space = &write->namespaces[i];
        if (!space->dirty) continue;
        key_bytes key = mn_key_namespace(space->name);
        status = mn_db_put(write, DB_NAMESPACES, &key, &space->value, sizeof space->value, error);
        space->dirty = false;
    }
    return status;
}

/* ---- the encoder's stamp: fingerprint, dimension, name ---- */

mneme_status mn_read_encoder(mn_read *read, mn_encoder_stamp *out, mneme_error *error)
{
    *out = (mn_encoder_stamp){.name = ""};
    MDB_val value;
    mneme_status status = mn_meta_get(read, "encoder", &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK) return status;
    if (value.mv_size < 12) return mn_fail(error, MNEME_ERR_DAMAGED, "the store's encoder stamp is damaged");
    const char *bytes = value.mv_data;
    memcpy(&out->fingerprint, bytes, 8);
    memcpy(&out->dimension, bytes + 8, 4);
    const char *name = mn_arena_copy(&read->arena, bytes + 12, value.mv_size - 12);
    if (!name) return mn_fail_memory(error, "encoder stamp");
    out->name = name;
    return MNEME_OK;
}

mneme_status mn_put_encoder(mn_write *write, const mn_encoder_stamp *stamp, mneme_error *error)
{
    mn_buffer value = {0};
    mn_buffer_append(&value, &stamp->fingerprint, 8);
    mn_buffer_append(&value, &stamp->dimension, 4);
    mn_buffer_text(&value, stamp->name);
    mneme_status status = value.failed ? mn_fail_memory(error, "encoder stamp")
                                       : mn_meta_put(write, "encoder", value.data, value.size, error);
    mn_buffer_free(&value);
    return status;
}

mneme_status mn_write_encoder(mn_write *write, const mn_encoder_stamp *stamp, mneme_error *error)
{
    mn_encoder_stamp stored;
    mneme_status status = mn_read_encoder(&write->read, &stored, error);
    if (status != MNEME_OK) return status;
    if (*stored.name && stored.fingerprint != stamp->fingerprint)
        return mn_fail(error, MNEME_ERR_ENCODER, "the store was made with encoder %s (%016llx), not with %s (%016llx)",
                       stored.name, (unsigned long long)stored.fingerprint, stamp->name,
                       (unsigned long long)stamp->fingerprint);
    return *stored.name ? MNEME_OK : mn_put_encoder(write, stamp, error);
}
