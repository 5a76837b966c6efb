/* record_entries.c -- records: finding, putting, forgetting. Their bytes are record_layout.c's. */
#include "memstore/field_index.h"

#include <string.h>

/* ---- reading ---- */

mneme_status mn_read_find(mn_read *read, uint32_t ns, const char *id, uint32_t *rec, mneme_error *error)
{
    *rec = 0;
    if (strlen(id) > MN_ID_MAX) return mn_fail(error, MNEME_ERR_NOT_FOUND, "no record \"%.40s...\"", id);
    key_bytes key = mn_key_named(ns, id);
    MDB_val value;
    mneme_status status = mn_db_get(read, DB_IDS, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return mn_fail(error, status, "no record \"%s\"", id);
    if (status != MNEME_OK) return status;
    if (value.mv_size != sizeof *rec) return mn_fail(error, MNEME_ERR_DAMAGED, "the entry of id \"%s\" is damaged", id);
    memcpy(rec, value.mv_data, sizeof *rec);
    return MNEME_OK;
}

mneme_status mn_read_record(mn_read *read, uint32_t ns, uint32_t rec, mn_record *out, mneme_error *error)
{
    key_bytes key = key_numbers(3, ns, rec, 0);
    MDB_val value;
    mn_packed_text text;
    *out = (mn_record){0};
    mneme_status status = mn_db_get(read, DB_RECORDS, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return mn_fail(error, status, "no record number %u", rec);
    return status == MNEME_OK ? mn_parse_record(ns, rec, &value, out, &text, error) : status;
}

mneme_status mn_read_next_record(mn_read *read, uint32_t ns, uint32_t rec, mn_record *out, mneme_error *error)
{
    *out = (mn_record){0};
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_RECORDS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(3, ns, rec, 0);
    MDB_val key = key_value(&from), value;
    mn_packed_text text;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    /* Parts of a damaged record without its head are skipped. */
    while (code == 0 && mn_key_number(&key, 0) == ns && mn_key_number(&key, 8) != 0)
        code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    if (code != 0 && code != MDB_NOTFOUND)
        status = mn_lmdb_fail(error, code, "cannot read the store");
    else if (code != 0 || mn_key_number(&key, 0) != ns)
        status = MNEME_ERR_NOT_FOUND;
    else
        status = mn_parse_record(ns, mn_key_number(&key, 4), &value, out, &text, error);
    mdb_cursor_close(cursor);
    return status;
}

void mn_record_header(const char *title, const char *speaker, mn_buffer *out)
{
    if (title) {
        size_t size = strlen(title);
        while (size > 0 && strchr(" \t\r\n", title[size - 1])) size--;
        if (size > 0) {
            mn_buffer_append(out, title, size);
            mn_buffer_text(out, strchr(".!?", title[size - 1]) ? " " : ". ");
        }
    }
    if (speaker) {
        mn_buffer_text(out, speaker);
        mn_buffer_text(out, ": ");
    }
}

/* ---- putting ---- */

/* Rows, vectors and postings of a record's chunks. */
static mneme_status put_chunks(mn_write *write, namespace_state *space, uint32_t rec, const mn_new_record *new_record,
                               mneme_error *error)
{
    const mneme_record *record = new_record->record;
    mn_buffer text = {0};
    mn_record_header(record->title, record->speaker, &text);
    size_t header = text.size;
    mneme_status status = MNEME_OK;
    for (uint32_t i = 0; i < new_record->n_chunks && status == MNEME_OK; i++) {
        const mn_new_chunk *chunk = &new_record->chunks[i];
        mn_row row = {.rec = rec, .start = chunk->start, .end = chunk->end};
        uint32_t number = space->value.next_row;
        text.size = header;
        mn_buffer_append(&text, record->text + chunk->start, chunk->end - chunk->start);
        if (text.failed) status = mn_fail_memory(error, "chunk");
        if (status == MNEME_OK)
            status = mn_append_postings(write, space->value.ns, number, text.data ? text.data : "", text.size,
                                        &row.n_terms, error);
        if (status == MNEME_OK) status = mn_append_row(write, space, &row, error);
        if (status == MNEME_OK && space->value.dimension)
            status = mn_append_vector(write, space, number, chunk->vector, error);
    }
    mn_buffer_free(&text);
    return status;
}

/* ---- forgetting ---- */

/* Rows die, postings go; the vectors are zeroed when the write is flushed. */
static mneme_status forget_chunks(mn_write *write, namespace_state *space, const mn_record *record, mneme_error *error)
{
    uint32_t ns = space->value.ns;
    bool is_new = record->rec >= space->first_new_rec; /* then its postings may still be in memory */
    mneme_status status = is_new ? mn_flush_postings(write, error) : MNEME_OK;
    mn_buffer text = {0};
    mn_record_header(record->title, record->speaker, &text);
    size_t header = text.size;
    for (uint32_t i = 0; i < record->n_chunks && status == MNEME_OK; i++) {
        mn_row old;
        text.size = header;
        status = mn_kill_row(write, ns, record->first_row + i, &old, error);
        if (status == MNEME_OK) status = mn_read_text(&write->read, ns, record->rec, old.start, old.end, &text, error);
        if (status == MNEME_OK)
            status = mn_remove_postings(write, ns, record->first_row + i, text.data ? text.data : "", text.size, error);
        space->value.n_chunks--;
        space->value.n_terms -= old.n_terms;
    }
    mn_buffer_free(&text);
    return status;
}

static mneme_status delete_entry(mn_write *write, uint32_t ns, const mn_record *record, mneme_error *error)
{
    key_bytes id = mn_key_named(ns, record->id);
    uint32_t rec = record->rec, n_parts = 1;
    if (record->text_size > TEXT_PART) n_parts = (uint32_t)((record->text_size + TEXT_PART - 1) / TEXT_PART);
    const mn_strength nothing = {0};
    mneme_status status = mn_db_delete(write, DB_IDS, &id, error);
    if (status == MNEME_OK) status = mn_write_strength(write, ns, rec, &nothing, error);
    for (uint32_t part = 0; part < n_parts && status == MNEME_OK; part++) { /* `record` is not valid from here on */
        key_bytes key = key_numbers(3, ns, rec, part);
        status = mn_db_delete(write, DB_RECORDS, &key, error);
    }
    return status;
}

/* A record's strings, kept over writes that would move them. */
static mneme_status keep_strings(mn_write *write, mn_record *record, mneme_error *error)
{
    const char **strings[] = {&record->id,      &record->title,    &record->session,
                              &record->speaker, &record->metadata, &record->source};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        if (!*strings[i]) continue;
        *strings[i] = mn_arena_strdup(&write->arena, *strings[i]);
        if (!*strings[i]) return mn_fail_memory(error, "record");
    }
    return MNEME_OK;
}

static mneme_status forget_record(mn_write *write, namespace_state *space, mn_record *record, mneme_error *error)
{
    uint32_t ns = space->value.ns;
    mneme_status status = keep_strings(write, record, error);
    if (status == MNEME_OK) status = forget_chunks(write, space, record, error);
    const field_source source = mn_field_source_of(ns, record);
    if (status == MNEME_OK) status = mn_remove_fields(write, &source, error);
    if (status == MNEME_OK) status = delete_entry(write, ns, record, error);
    if (status != MNEME_OK) return status;
    space->value.n_records--;
    space->dirty = true;
    const change_value change = {
        .ns = ns, .rec = record->rec, .n_recs = 1, .removed = 1, .first_row = record->first_row, .n_rows = record->n_chunks};
    return mn_log_change(write, change, error);
}

mneme_status mn_write_forget(mn_write *write, uint32_t ns, uint32_t rec, mneme_error *error)
{
    namespace_state *space = NULL;
    mn_record record;
    mneme_status status = mn_write_namespace_number(write, ns, &space, error);
    if (status == MNEME_OK) status = mn_read_record(&write->read, ns, rec, &record, error);
    if (status == MNEME_OK) status = forget_record(write, space, &record, error);
    if (status == MNEME_OK && record.session)
        status = mn_leave_session(write, space, record.session, record.session_number, record.session_place, error);
    return status;
}

/* ---- put, with the old record out of the way ---- */

static mneme_status check_new(const mn_new_record *new_record, const namespace_state *space, mneme_error *error)
{
    const mneme_record *record = new_record->record;
    if (!record->id || !*record->id || strlen(record->id) > MN_ID_MAX ||
        (record->session && strlen(record->session) > MN_ID_MAX))
        return mn_fail(error, MNEME_ERR_RECORD, "a record's id must have 1 to %u bytes, its session at most as many",
                       MN_ID_MAX);
    if (record->text_size >= UINT32_MAX)
        return mn_fail(error, MNEME_ERR_TOO_LARGE, "record \"%s\" has over 4 GiB of text", record->id);
    if (new_record->dimension && space->value.dimension && new_record->dimension != space->value.dimension)
        return mn_fail(error, MNEME_ERR_DIMENSION, "record \"%s\" has vectors of dimension %u; namespace \"%s\" has %u",
                       record->id, new_record->dimension, space->name, space->value.dimension);
    for (uint32_t i = 0; i < new_record->n_chunks; i++)
        if (new_record->chunks[i].start > new_record->chunks[i].end || new_record->chunks[i].end > record->text_size)
            return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": chunk %u is not within the text", record->id, i);
    return MNEME_OK;
}

/* If the id exists, forget that record; *place: where it stood, when it stays in the same session, else 0; *strength:
 * what it had. */
static mneme_status replace_old(mn_write *write, namespace_state *space, const mneme_record *record, uint32_t *place,
                                mn_strength *strength, mneme_error *error)
{
    uint32_t rec = 0;
    mn_record old;
    *place = 0;
    mneme_status status = mn_read_find(&write->read, space->value.ns, record->id, &rec, NULL);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status == MNEME_OK) status = mn_read_strength(&write->read, space->value.ns, rec, strength, error);
    if (status == MNEME_OK) status = mn_read_record(&write->read, space->value.ns, rec, &old, error);
    if (status == MNEME_OK) status = forget_record(write, space, &old, error);
    if (status != MNEME_OK || !old.session) return status;
    if (record->session && strcmp(old.session, record->session) == 0) {
        *place = old.session_place;
        return MNEME_OK;
    }
    return mn_leave_session(write, space, old.session, old.session_number, old.session_place, error);
}

static mneme_status put_fields(mn_write *write, uint32_t ns, uint32_t rec, const mneme_record *record, mneme_error *error)
{
    const field_source source = {.ns = ns,
                                 .rec = rec,
                                 .speaker = record->speaker,
                                 .source = record->source,
                                 .metadata = record->metadata,
                                 .has_time = record->has_time,
                                 .time_ms = record->time_ms};
    return mn_append_fields(write, &source, error);
}

/* strength: of the record that was replaced. */
static mneme_status put_strength(mn_write *write, uint32_t ns, uint32_t rec, const mn_new_record *new_record,
                                 mn_strength *strength, mneme_error *error)
{
    if (new_record->strength) return mn_write_strength(write, ns, rec, new_record->strength, error);
    const mneme_record *record = new_record->record;
    strength->pinned = strength->pinned || record->pinned;
    strength->has_expires = record->has_expires;
    strength->expires_ms = record->expires_ms;
    return mn_write_strength(write, ns, rec, strength, error);
}

static mneme_status put_into(mn_write *write, namespace_state *space, const mn_new_record *new_record,
                             mneme_error *error)
{
    const mneme_record *record = new_record->record;
    record_head head = {.n_chunks = 0};
    mn_strength strength = {0};
    mneme_status status = replace_old(write, space, record, &head.session_place, &strength, error);
    if (status != MNEME_OK) return status;
    if (new_record->rec > space->value.next_rec) space->value.next_rec = new_record->rec;
    if (new_record->session_place) head.session_place = new_record->session_place;
    if (space->value.next_rec == UINT32_MAX)
        return mn_fail(error, MNEME_ERR_TOO_LARGE, "a namespace holds at most 2^32 - 2 records");
    uint32_t rec = space->value.next_rec++;
    if (new_record->dimension && !space->value.dimension) {
        space->value.dimension = new_record->dimension;
        space->value.own_vectors = record->vector != NULL;
        space->value.vector_type =
            new_record->vector_type ? *new_record->vector_type : write->read.store->vector_type;
    }
    head.first_row = space->value.next_row;
    head.n_chunks = new_record->n_chunks;
    head.written_ms = new_record->written_ms ? new_record->written_ms : mn_store_now(write->read.store);
    head.has_importance = record->has_importance || new_record->has_estimate;
    head.importance_given = record->has_importance;
    head.importance = record->has_importance ? record->importance : new_record->estimate;
    memcpy(head.hash, new_record->hash, sizeof head.hash);
    if (record->session)
        status = mn_join_session(write, space, record->session, rec, &head.session_number, &head.session_place, error);
    if (status == MNEME_OK) status = put_chunks(write, space, rec, new_record, error);
    if (status == MNEME_OK) status = mn_put_record(write, space->value.ns, rec, record, &head, error);
    if (status == MNEME_OK) status = put_fields(write, space->value.ns, rec, record, error);
    key_bytes id = mn_key_named(space->value.ns, record->id);
    if (status == MNEME_OK) status = mn_db_put(write, DB_IDS, &id, &rec, sizeof rec, error);
    if (status == MNEME_OK) status = put_strength(write, space->value.ns, rec, new_record, &strength, error);
    space->value.n_records++;
    space->dirty = true;
    const change_value change = {
        .ns = space->value.ns, .rec = rec, .n_recs = 1, .first_row = head.first_row, .n_rows = head.n_chunks};
    return status == MNEME_OK ? mn_log_change(write, change, error) : status;
}

mneme_status mn_write_put(mn_write *write, const mn_new_record *new_record, mneme_error *error)
{
    const char *name = new_record->record->name_space ? new_record->record->name_space : "";
    if (strlen(name) > MN_ID_MAX)
        return mn_fail(error, MNEME_ERR_RECORD, "a namespace's name has at most %u bytes", MN_ID_MAX);
    namespace_state *space = NULL;
    mneme_status status = mn_write_namespace(write, name, true, &space, error);
    if (status == MNEME_OK) status = check_new(new_record, space, error);
    return status == MNEME_OK ? put_into(write, space, new_record, error) : status;
}
