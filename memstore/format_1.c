/* format_1.c -- reading stores of format 1, to bring them to the present one. Nothing else reads them.
 *
 * The new file is made and put in the old one's place as `compact` does it (store_compact.c, store_swap.c), with two
 * differences. A program of that time knows nothing of swapped files, so nobody else may have the store open: its
 * lock.mdb is locked as LMDB does that for its first user, and those who come later wait for it. And the old file stays
 * beside the new one, as data.mdb.format-1.
 *
 *     namespaces  n name         namespace_1
 *     records     ns rec part    part 0: record_1 | id 00 | title 00 | session 00 | speaker 00 | metadata 00 | source
 * 00 | text[0 .. 64 KiB); part p: text[p * 64 KiB ..) rows, vectors              as today, vectors always f32; there
 * are neither strengths nor fields
 */
#include "memstore/store_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BATCH_RECORDS = 2048,
    BATCH_TEXT = 16 << 20, /* bytes */
    PART_1 = 65536,
    STRINGS_1 = 6
};

typedef struct namespace_1 {
    uint32_t ns, dimension, own_vectors, next_row, next_rec, next_session;
    uint64_t n_records, n_chunks, n_terms, n_sessions;
} namespace_1;

typedef struct record_1 {
    uint64_t text_size, hash[2];
    int64_t time_ms;
    uint32_t first_row, n_chunks, session_number, session_place;
    uint32_t flags; /* 1: has a time, 2: its own vector */
    uint32_t lengths[STRINGS_1];
} record_1;
#define NO_STRING_1 UINT32_MAX

typedef struct upgrade {
    mn_store *old, *target;
    mn_read from;
    const char *name; /* of the namespace at work */
    namespace_1 space;
    mn_arena arena;
    uint32_t next_rec; /* where the next batch begins; 0: the namespace is done */
    uint64_t n_records;
    mn_buffer text;
} upgrade;

/* ---- one record ---- */

/* *text: what of it lies in this entry. */
static mneme_status parse_record(const upgrade *u, uint32_t rec, const MDB_val *value, record_1 *head,
                                 const char *strings[STRINGS_1], MDB_val *text, mneme_error *error)
{
    const char *at = (const char *)value->mv_data + sizeof *head, *end = (const char *)value->mv_data + value->mv_size;
    if (value->mv_size < sizeof *head) return mn_damaged(error, "record", u->space.ns, rec);
    memcpy(head, value->mv_data, sizeof *head);
    for (size_t i = 0; i < STRINGS_1; i++) {
        uint32_t length = head->lengths[i];
        strings[i] = NULL;
        if (length == NO_STRING_1) continue;
        if ((size_t)(end - at) <= length || at[length] != '\0') return mn_damaged(error, "record", u->space.ns, rec);
        strings[i] = at;
        at += length + 1;
    }
    uint64_t here = head->text_size < PART_1 ? head->text_size : PART_1;
    if (!strings[0] || (uint64_t)(end - at) != here) return mn_damaged(error, "record", u->space.ns, rec);
    *text = (MDB_val){.mv_size = (size_t)here, .mv_data = (void *)(uintptr_t)at};
    return MNEME_OK;
}

static mneme_status read_text(upgrade *u, uint32_t rec, uint64_t size, const MDB_val *first, mneme_error *error)
{
    mn_buffer_clear(&u->text);
    mn_buffer_append(&u->text, first->mv_data, first->mv_size);
    for (uint32_t part = 1; (uint64_t)part * PART_1 < size; part++) {
        key_bytes key = key_numbers(3, u->space.ns, rec, part);
        MDB_val value;
        mneme_status status = mn_db_get(&u->from, DB_RECORDS, &key, &value, error);
        if (status == MNEME_ERR_NOT_FOUND) break;
        if (status != MNEME_OK) return status;
        mn_buffer_append(&u->text, value.mv_data, value.mv_size);
    }
    if (u->text.failed) return mn_fail_memory(error, "text");
    return u->text.size == size ? MNEME_OK : mn_damaged(error, "the text of record", u->space.ns, rec);
}

static mneme_status read_row(upgrade *u, uint32_t rec, uint32_t row, mn_row *out, mneme_error *error)
{
    key_bytes key = key_numbers(2, u->space.ns, row / MN_BLOCK_ROWS, 0);
    size_t at = row % MN_BLOCK_ROWS * sizeof *out;
    MDB_val value;
    *out = (mn_row){0};
    mneme_status status = mn_db_get(&u->from, DB_ROWS, &key, &value, error);
    if (status == MNEME_OK && value.mv_size >= at + sizeof *out)
        memcpy(out, (const char *)value.mv_data + at, sizeof *out);
    if (status != MNEME_OK && status != MNEME_ERR_NOT_FOUND) return status;
    return out->rec == rec ? MNEME_OK : mn_damaged(error, "row", u->space.ns, row);
}

static mneme_status read_vector(upgrade *u, MDB_cursor *cursor, uint32_t row, float *out, mneme_error *error)
{
    size_t size = u->space.dimension * sizeof *out;
    key_bytes wanted = key_numbers(2, u->space.ns, row, 0);
    MDB_val key, value;
    mneme_status status = MNEME_OK;
    if (!mn_cursor_floor(cursor, &wanted, 4, &key, &value, &status, error))
        return status == MNEME_OK ? mn_damaged(error, "vector", u->space.ns, row) : status;
    size_t place = row - mn_key_number(&key, 4);
    if (value.mv_size / size <= place) return mn_damaged(error, "vector", u->space.ns, row);
    memcpy(out, (const char *)value.mv_data + place * size, size);
    return MNEME_OK;
}

/* In the arena. */
static mneme_status gather_chunks(upgrade *u, uint32_t rec, const record_1 *head, mn_arena *arena, mn_new_chunk **out,
                                  mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mn_new_chunk *chunks =
        head->n_chunks <= u->space.next_row ? mn_arena_array(arena, head->n_chunks, sizeof *chunks) : NULL;
    if (!chunks) return mn_fail_memory(error, "upgrade");
    mneme_status status = mn_cursor_open(&u->from, DB_VECTORS, &cursor, error);
    for (uint32_t i = 0; i < head->n_chunks && status == MNEME_OK; i++) {
        mn_row row;
        status = read_row(u, rec, head->first_row + i, &row, error);
        chunks[i] = (mn_new_chunk){.start = row.start, .end = row.end};
        if (status != MNEME_OK || u->space.dimension == 0) continue;
        float *vector = mn_arena_array(arena, u->space.dimension, sizeof *vector);
        status = vector ? read_vector(u, cursor, head->first_row + i, vector, error) : mn_fail_memory(error, "upgrade");
        chunks[i].vector = vector;
    }
    if (cursor) mdb_cursor_close(cursor);
    *out = chunks;
    return status;
}

static mneme_status copy_record(upgrade *u, mn_write *write, uint32_t rec, const MDB_val *value, mneme_error *error)
{
    static const float given = 0; /* that the vector is the record's own is all that its pointer says */
    static const mn_strength as_written = {0};
    record_1 head = {0};
    const char *strings[STRINGS_1] = {0};
    MDB_val first = {0};
    mn_arena arena = {0};
    mn_new_chunk *chunks = NULL;
    mneme_status status = parse_record(u, rec, value, &head, strings, &first, error);
    if (status == MNEME_OK) status = read_text(u, rec, head.text_size, &first, error);
    if (status == MNEME_OK) status = gather_chunks(u, rec, &head, &arena, &chunks, error);
    const mneme_record record = {.id = strings[0],
                                 .text = u->text.data ? u->text.data : "",
                                 .text_size = u->text.size,
                                 .name_space = u->name,
                                 .title = strings[1],
                                 .session = strings[2],
                                 .speaker = strings[3],
                                 .metadata = strings[4],
                                 .source = strings[5],
                                 .has_time = (head.flags & 1) != 0,
                                 .time_ms = head.time_ms,
                                 .vector = head.flags & 2 ? &given : NULL};
    const mn_new_record copy = {.record = &record,
                                .hash = {head.hash[0], head.hash[1]},
                                .chunks = chunks,
                                .n_chunks = head.n_chunks,
                                .dimension = u->space.dimension,
                                .rec = rec,
                                .session_place = head.session_place,
                                .strength = &as_written};
    if (status == MNEME_OK) status = mn_write_put(write, &copy, error);
    mn_arena_free(&arena);
    return status;
}

/* ---- namespaces ---- */

static mneme_status begin_namespace(void *context, mn_write *write, mneme_error *error)
{
    const upgrade *u = context;
    key_bytes key = mn_key_namespace(u->name);
    const namespace_value fresh = {.ns = u->space.ns,
                                   .dimension = u->space.dimension,
                                   .own_vectors = u->space.own_vectors,
                                   .vector_type = MN_VECTORS_F32,
                                   .next_rec = 1,
                                   .next_session = 1};
    return mn_db_put(write, DB_NAMESPACES, &key, &fresh, sizeof fresh, error);
}

/* After the last record: the numbers go on where they were. */
static mneme_status end_namespace(const upgrade *u, mn_write *write, mneme_error *error)
{
    namespace_state *space = NULL;
    mneme_status status = mn_write_namespace(write, u->name, false, &space, error);
    if (status != MNEME_OK) return status;
    if (space->value.n_records != u->space.n_records || space->value.n_chunks != u->space.n_chunks)
        return mn_fail(
            error, MNEME_ERR_DAMAGED,
            "namespace \"%s\" has %llu of %llu records; the store stays in format 1, whose `mneme check` lists "
            "what is missing",
            u->name, (unsigned long long)space->value.n_records, (unsigned long long)u->space.n_records);
    space->value.next_rec = u->space.next_rec;
    space->dirty = true;
    return MNEME_OK;
}

typedef struct batch {
    upgrade *upgrade;
    uint32_t next_rec; /* where it ended; 0: at the namespace's end */
} batch;

static mneme_status copy_batch(void *context, mn_write *write, mneme_error *error)
{
    batch *b = context;
    upgrade *u = b->upgrade;
    uint64_t n_records = 0, text_size = 0;
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(&u->from, DB_RECORDS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(3, u->space.ns, u->next_rec, 0);
    MDB_val key = key_value(&from), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    bool here = false;
    for (b->next_rec = u->next_rec; status == MNEME_OK; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        here = code == 0 && mn_key_number(&key, 0) == u->space.ns;
        if (!here || n_records == BATCH_RECORDS || text_size >= BATCH_TEXT) break;
        if (mn_key_number(&key, 8) != 0) continue; /* a further part of the text */
        uint32_t rec = mn_key_number(&key, 4);
        status = copy_record(u, write, rec, &value, error);
        b->next_rec = rec + 1;
        n_records++;
        text_size += u->text.size;
    }
    mdb_cursor_close(cursor);
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND)
        status = mn_lmdb_fail(error, code, "cannot read the store");
    if (status != MNEME_OK || here) return status;
    b->next_rec = 0;
    return end_namespace(u, write, error);
}

static mneme_status copy_namespace(upgrade *u, const MDB_val *key, const MDB_val *value, mneme_error *error)
{
    u->name = mn_arena_copy(&u->arena, (const char *)key->mv_data + 1, key->mv_size - 1);
    if (!u->name) return mn_fail_memory(error, "upgrade");
    if (value->mv_size != sizeof u->space)
        return mn_fail(error, MNEME_ERR_DAMAGED, "namespace \"%s\" of the store of format 1 is damaged", u->name);
    memcpy(&u->space, value->mv_data, sizeof u->space);
    mneme_status status = mn_store_update(u->target, begin_namespace, u, NULL, error);
    for (u->next_rec = 1; status == MNEME_OK && u->next_rec != 0;) {
        batch b = {.upgrade = u};
        status = mn_store_update(u->target, copy_batch, &b, NULL, error);
        u->next_rec = b.next_rec;
    }
    return status;
}

static mneme_status copy_meta(void *context, mn_write *write, mneme_error *error)
{
    upgrade *u = context;
    return mn_copy_meta(&u->from, write, error);
}

static mneme_status copy_all(upgrade *u, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    mneme_status status = mn_cursor_open(&u->from, DB_NAMESPACES, &cursor, error);
    if (status != MNEME_OK) return status;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; code == 0 && status == MNEME_OK; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))
        status = copy_namespace(u, &key, &value, error);
    mdb_cursor_close(cursor);
    if (status == MNEME_OK && code != MDB_NOTFOUND) status = mn_lmdb_fail(error, code, "cannot read the store");
    return status == MNEME_OK ? mn_store_update(u->target, copy_meta, u, NULL, error) : status;
}

/* ---- the whole ---- */

/* The old file's second name. One that is there already must be the same file, from an upgrade that was killed. */
static mneme_status keep_old_file(const mn_store *old, mneme_error *error)
{
    struct stat kept, data;
    int dir = old->directory;
    if (linkat(dir, "data.mdb", dir, MN_FORMAT_1_FILE, 0) == 0) return MNEME_OK;
    int code = errno;
    if (code == EEXIST && fstatat(dir, MN_FORMAT_1_FILE, &kept, 0) == 0 && fstatat(dir, "data.mdb", &data, 0) == 0 &&
        kept.st_dev == data.st_dev && kept.st_ino == data.st_ino)
        return MNEME_OK;
    return mn_fail_errno(error, code, "cannot keep the old file of store %s as " MN_FORMAT_1_FILE, old->path);
}

static mneme_status upgrade_held(upgrade *u, const mn_gate *gate, mneme_error *error)
{
    bool swapped = false;
    uint64_t bytes = 0;
    mn_compact_files_remove(u->old);
    mneme_status status = mn_load_generation(&u->from, error);
    if (status == MNEME_OK) status = mn_check_space(u->old, u->from.txn, 0, error);
    if (status == MNEME_OK) status = mn_target_open(u->old, &u->target, error);
    if (status == MNEME_OK) status = copy_all(u, error);
    if (status == MNEME_OK) status = mn_target_write(u->old, &u->target, &bytes, error);
    if (status == MNEME_OK) status = keep_old_file(u->old, error);
    if (status == MNEME_OK) status = mn_swap_data(u->old, gate, u->from.txn, MN_COMPACT_FILE, &swapped, error);
    mn_store_close(u->target);
    if (status == MNEME_OK || !swapped) mn_compact_files_remove(u->old);
    return status;
}

mneme_status mn_store_upgrade(const char *path, mn_make_analyzer make, void *context, mneme_error *error)
{
    upgrade u = {.old = NULL};
    mn_gate gate = {.fd = -1};
    mn_analyze analyze = NULL;
    void *analyze_context = NULL;
    mneme_status status = mn_store_open_alone(path, 1, &u.old, error);
    if (status != MNEME_OK) return status;
    u.from.store = u.old;
    status = make(context, mn_store_language(u.old), &analyze, &analyze_context, error);
    mn_store_set_analyzer(u.old, analyze, analyze_context);
    if (status == MNEME_OK) status = mn_gate_enter_swapping(u.old, &gate, error);
    int code = status == MNEME_OK ? mdb_txn_begin(u.old->env, NULL, MDB_RDONLY, &u.from.txn) : 0;
    if (code != 0) status = mn_lmdb_fail(error, code, path);
    if (status == MNEME_OK) status = upgrade_held(&u, &gate, error);
    if (status != MNEME_OK) mn_error_prefix(error, "bringing store %s from format 1 to %u: ", path, MN_STORE_FORMAT);
    if (u.from.txn) mdb_txn_abort(u.from.txn);
    mn_gate_leave(&gate);
    mn_arena_free(&u.arena);
    mn_arena_free(&u.from.arena);
    mn_buffer_free(&u.text);
    mn_store_close(u.old);
    return status;
}
