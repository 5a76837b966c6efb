/* change_log.c -- what each generation did, for whoever keeps something derived from the store.
 *
 *     key    generation, 8 bytes big-endian
 *     value  time in ms (8 bytes), then { ns, rec, n_recs, removed, first_row, n_rows } x n
 *
 * Records that follow each other, with their rows, are one change. The last LOG_GENERATIONS are kept. A change with ns 0
 * stands for "all rows have new numbers": nothing that was derived from an earlier generation can be brought up to
 * date. */
#include "memstore/store_internal.h"

#include <string.h>

key_bytes mn_key_log(uint64_t generation)
{
    return key_numbers(2, (uint32_t)(generation >> 32), (uint32_t)generation, 0);
}

static uint64_t generation_of(const MDB_val *key)
{
    return (uint64_t)mn_key_number(key, 0) << 32 | mn_key_number(key, 4);
}

/* Does `next` go on where `change` ends? */
static bool follows(const change_value *change, const change_value *next)
{
    return next->ns == change->ns && next->removed == change->removed && next->rec == change->rec + change->n_recs &&
           next->first_row == change->first_row + change->n_rows;
}

mneme_status mn_log_change(mn_write *write, change_value change, mneme_error *error)
{
    if (write->n_changes && follows(&write->changes[write->n_changes - 1], &change)) {
        write->changes[write->n_changes - 1].n_recs += change.n_recs;
        write->changes[write->n_changes - 1].n_rows += change.n_rows;
        return MNEME_OK;
    }
    mneme_status status =
        mn_grow((void **)&write->changes, write->n_changes, &write->change_capacity, sizeof *write->changes, error);
    if (status == MNEME_OK) write->changes[write->n_changes++] = change;
    return status;
}

/* Drop what is older than the log reaches back; each commit adds one entry, so few ever go at once. */
static mneme_status cut(mn_write *write, uint64_t generation, mneme_error *error)
{
    if (generation <= LOG_GENERATIONS) return MNEME_OK;
    for (;;) {
        MDB_cursor *cursor = NULL;
        mneme_status status = mn_cursor_open(&write->read, DB_LOG, &cursor, error);
        if (status != MNEME_OK) return status;
        MDB_val key, value;
        int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        uint64_t oldest = code == 0 ? generation_of(&key) : generation;
        mdb_cursor_close(cursor);
        if (oldest > generation - LOG_GENERATIONS) return MNEME_OK;
        key_bytes old = mn_key_log(oldest);
        status = mn_db_delete(write, DB_LOG, &old, error);
        if (status != MNEME_OK) return status;
    }
}

mneme_status mn_flush_log(mn_write *write, uint64_t generation, mneme_error *error)
{
    int64_t now = write->read.store->clock(write->read.store->clock_context);
    mn_buffer value = {0};
    mn_buffer_append(&value, &now, sizeof now);
    mn_buffer_append(&value, write->changes, write->n_changes * sizeof *write->changes);
    key_bytes key = mn_key_log(generation);
    mneme_status status = value.failed ? mn_fail_memory(error, "change log")
                                       : mn_db_put(write, DB_LOG, &key, value.data, value.size, error);
    mn_buffer_free(&value);
    return status == MNEME_OK ? cut(write, generation, error) : status;
}

/* What was read so far. */
typedef struct change_list {
    mn_arena *arena;
    mn_change *items;
    size_t n, capacity;
    bool renumbered;
} change_list;

static mneme_status append_changes(change_list *list, uint64_t generation, const MDB_val *value, mneme_error *error)
{
    size_t count = (value->mv_size - 8) / sizeof(change_value);
    int64_t time_ms;
    memcpy(&time_ms, value->mv_data, sizeof time_ms);
    if (list->n + count > list->capacity) {
        size_t larger = (list->n + count) * 2;
        mn_change *grown = mn_arena_array(list->arena, larger, sizeof *grown);
        if (!grown) return mn_fail_memory(error, "change log");
        if (list->n) memcpy(grown, list->items, list->n * sizeof *grown);
        list->items = grown;
        list->capacity = larger;
    }
    for (size_t i = 0; i < count; i++) {
        change_value c;
        memcpy(&c, (const char *)value->mv_data + 8 + i * sizeof c, sizeof c);
        if (c.ns == 0)
            list->renumbered = true;
        else
            list->items[list->n++] = (mn_change){.generation = generation,
                                                 .time_ms = time_ms,
                                                 .ns = c.ns,
                                                 .rec = c.rec,
                                                 .n_recs = c.n_recs,
                                                 .removed = c.removed != 0,
                                                 .first_row = c.first_row,
                                                 .n_rows = c.n_rows};
    }
    return MNEME_OK;
}

mneme_status mn_read_changes(mn_read *read, uint64_t since, mn_arena *arena, mn_change **out, size_t *n, bool *complete,
                             mneme_error *error)
{
    *out = NULL;
    *n = 0;
    *complete = true;
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_LOG, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = mn_key_log(since + 1);
    MDB_val key = key_value(&from), value;
    uint64_t expected = since + 1;
    change_list list = {.arena = arena};
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && status == MNEME_OK; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        uint64_t generation = generation_of(&key);
        if (generation != expected) *complete = false;
        expected = generation + 1;
        if (value.mv_size < 8 || (value.mv_size - 8) % sizeof(change_value) != 0)
            status = mn_fail(error, MNEME_ERR_DAMAGED, "change log entry %llu is damaged", (unsigned long long)generation);
        else
            status = append_changes(&list, generation, &value, error);
    }
    if (expected <= read->generation || list.renumbered) *complete = false;
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND) status = mn_lmdb_fail(error, code, "cannot read the store");
    mdb_cursor_close(cursor);
    *out = list.items;
    *n = list.n;
    return status;
}

mneme_status mn_log_start(const mn_read *read, uint64_t *generation, mneme_error *error)
{
    *generation = 0;
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_LOG, &cursor, error);
    if (status != MNEME_OK) return status;
    MDB_val key, value;
    change_value first = {.ns = 1};
    int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (code == 0 && value.mv_size >= 8 + sizeof first) memcpy(&first, (const char *)value.mv_data + 8, sizeof first);
    if (first.ns == 0) *generation = generation_of(&key);
    mdb_cursor_close(cursor);
    return code == 0 || code == MDB_NOTFOUND ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read the store");
}
