/* session_order.c -- the order of records within a session: a number per session, a place per record. */
#include "memstore/store_internal.h"

#include <string.h>

static mneme_status read_session(const mn_read *read, key_bytes *key, session_value *out, mneme_error *error)
{
    MDB_val value;
    mneme_status status = mn_db_get(read, DB_SESSIONS, key, &value, error);
    if (status != MNEME_OK) return status;
    if (value.mv_size != sizeof *out) return mn_fail(error, MNEME_ERR_DAMAGED, "a session's entry is damaged");
    memcpy(out, value.mv_data, sizeof *out);
    return MNEME_OK;
}

mneme_status mn_join_session(mn_write *write, namespace_state *space, const char *name, uint32_t rec, uint32_t *number,
                             uint32_t *place, mneme_error *error)
{
    key_bytes key = mn_key_named(space->value.ns, name);
    session_value session;
    mneme_status status = read_session(&write->read, &key, &session, error);
    if (status == MNEME_ERR_NOT_FOUND) {
        session = (session_value){.number = space->value.next_session++, .next_place = 1};
        space->value.n_sessions++;
        space->dirty = true;
    } else if (status != MNEME_OK) {
        return status;
    }
    if (*place == 0) *place = session.next_place; /* else the record takes the place of the one it replaces */
    if (*place >= session.next_place) session.next_place = *place + 1;
    *number = session.number;
    status = mn_db_put(write, DB_SESSIONS, &key, &session, sizeof session, error);
    key_bytes entry = key_numbers(3, space->value.ns, session.number, *place);
    if (status == MNEME_OK) status = mn_db_put(write, DB_SESSION_RECORDS, &entry, &rec, sizeof rec, error);
    return status;
}

/* Does the session have any record? */
static mneme_status session_is_empty(mn_write *write, uint32_t ns, uint32_t number, bool *empty, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(&write->read, DB_SESSION_RECORDS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(3, ns, number, 0);
    MDB_val key = key_value(&from), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    *empty = code != 0 || mn_key_number(&key, 0) != ns || mn_key_number(&key, 4) != number;
    mdb_cursor_close(cursor);
    return code == 0 || code == MDB_NOTFOUND ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read the store");
}

mneme_status mn_leave_session(mn_write *write, namespace_state *space, const char *name, uint32_t number, uint32_t place,
                              mneme_error *error)
{
    key_bytes entry = key_numbers(3, space->value.ns, number, place);
    bool empty = false;
    mneme_status status = mn_db_delete(write, DB_SESSION_RECORDS, &entry, error);
    if (status == MNEME_OK) status = session_is_empty(write, space->value.ns, number, &empty, error);
    if (status != MNEME_OK || !empty) return status;
    key_bytes key = mn_key_named(space->value.ns, name);
    space->value.n_sessions--;
    space->dirty = true;
    return mn_db_delete(write, DB_SESSIONS, &key, error);
}

mneme_status mn_read_session_step(mn_read *read, uint32_t ns, const mn_record *record, int steps, mn_record *out,
                                  mneme_error *error)
{
    *out = (mn_record){0};
    if (!record->session) return MNEME_ERR_NOT_FOUND;
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_SESSION_RECORDS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes at = key_numbers(3, ns, record->session_number, record->session_place);
    MDB_val key = key_value(&at), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET);
    for (int i = 0; i != steps && code == 0; i += steps > 0 ? 1 : -1)
        code = mdb_cursor_get(cursor, &key, &value, steps > 0 ? MDB_NEXT : MDB_PREV);
    bool same = code == 0 && key.mv_size == 12 && mn_key_number(&key, 0) == ns &&
                mn_key_number(&key, 4) == record->session_number && value.mv_size == sizeof(uint32_t);
    uint32_t rec = 0;
    if (same) memcpy(&rec, value.mv_data, sizeof rec);
    mdb_cursor_close(cursor);
    if (code != 0 && code != MDB_NOTFOUND) return mn_lmdb_fail(error, code, "cannot read the store");
    return same ? mn_read_record(read, ns, rec, out, error) : MNEME_ERR_NOT_FOUND;
}

mneme_status mn_read_session_last(mn_read *read, uint32_t ns, const char *name, mn_record *out, mneme_error *error)
{
    *out = (mn_record){0};
    key_bytes key = mn_key_named(ns, name);
    session_value session;
    mneme_status status = read_session(read, &key, &session, error);
    if (status != MNEME_OK) return status;
    MDB_cursor *cursor = NULL;
    MDB_val found, value;
    key_bytes last = key_numbers(3, ns, session.number, UINT32_MAX);
    uint32_t rec = 0;
    status = mn_cursor_open(read, DB_SESSION_RECORDS, &cursor, error);
    if (status != MNEME_OK) return status;
    bool any = mn_cursor_floor(cursor, &last, 8, &found, &value, &status, error) && value.mv_size == sizeof rec;
    if (any) memcpy(&rec, value.mv_data, sizeof rec);
    mdb_cursor_close(cursor);
    if (status != MNEME_OK) return status;
    return any ? mn_read_record(read, ns, rec, out, error) : MNEME_ERR_NOT_FOUND;
}
