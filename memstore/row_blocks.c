/* row_blocks.c -- one row for each chunk: which record, which bytes, how many terms. 1024 rows of 16 bytes are one value:
 *
 *     key    ns | block                    rows block * 1024 ...
 *     value  { rec, start, end, n_terms } x n      rec 0: the row is dead
 *
 * A full block lies on overflow pages and is read in place. A write keeps the one block that it changes in memory. */
#include "memstore/store_internal.h"

#include <string.h>

/* The rows of a value, in place where they are aligned, else copied to the arena. */
static const mn_row *rows_in_place(const MDB_val *value, mn_arena *arena)
{
    if ((uintptr_t)value->mv_data % _Alignof(mn_row) == 0) return value->mv_data;
    return mn_arena_copy(arena, value->mv_data, value->mv_size);
}

static size_t rows_in_block(uint32_t n_rows, uint32_t block)
{
    uint32_t left = n_rows - block * MN_BLOCK_ROWS;
    return left < MN_BLOCK_ROWS ? left : MN_BLOCK_ROWS;
}

static mneme_status namespace_rows(mn_read *read, uint32_t ns, uint32_t *n_rows, mneme_error *error)
{
    mn_arena arena = {0};
    mn_namespace *all = NULL;
    size_t n = 0;
    mneme_status status = mn_read_namespaces(read, &arena, &all, &n, error);
    *n_rows = 0;
    for (size_t i = 0; i < n; i++)
        if (all[i].ns == ns) *n_rows = all[i].next_row;
    mn_arena_free(&arena);
    return status;
}

/* The blocks of the rows that out->n_rows says. */
static mneme_status read_blocks(mn_read *read, uint32_t ns, mn_arena *arena, mn_rows *out, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    uint32_t n_blocks = (uint32_t)(((uint64_t)out->n_rows + MN_BLOCK_ROWS - 1) / MN_BLOCK_ROWS);
    MDB_cursor *cursor = NULL;
    if (!(out->blocks = mn_arena_array(arena, n_blocks, sizeof *out->blocks))) status = mn_fail_memory(error, "rows");
    if (status == MNEME_OK) status = mn_cursor_open(read, DB_ROWS, &cursor, error);
    key_bytes first = key_numbers(2, ns, 0, 0);
    MDB_val key = key_value(&first), value;
    for (uint32_t block = 0; block < n_blocks && status == MNEME_OK; block++) {
        int code = mdb_cursor_get(cursor, &key, &value, block == 0 ? MDB_SET_RANGE : MDB_NEXT);
        bool right = code == 0 && mn_key_number(&key, 0) == ns && mn_key_number(&key, 4) == block &&
                     value.mv_size == rows_in_block(out->n_rows, block) * sizeof(mn_row);
        if (code != 0 && code != MDB_NOTFOUND) status = mn_lmdb_fail(error, code, "cannot read the store");
        else if (!right) status = mn_damaged(error, "row block", ns, block);
        else if (!(out->blocks[block] = rows_in_place(&value, arena))) status = mn_fail_memory(error, "rows");
    }
    if (cursor) mdb_cursor_close(cursor);
    return status;
}

mneme_status mn_read_rows(mn_read *read, uint32_t ns, mn_arena *arena, mn_rows *out, mneme_error *error)
{
    *out = (mn_rows){0};
    mneme_status status = namespace_rows(read, ns, &out->n_rows, error);
    return status == MNEME_OK ? read_blocks(read, ns, arena, out, error) : status;
}

mneme_status mn_read_rows_of(mn_read *read, const mn_namespace *space, mn_arena *arena, mn_rows *out, mneme_error *error)
{
    *out = (mn_rows){.n_rows = space->next_row};
    return read_blocks(read, space->ns, arena, out, error);
}

/* ---- writing ---- */

mneme_status mn_flush_rows(mn_write *write, mneme_error *error)
{
    if (!write->rows.loaded || !write->rows.dirty) return MNEME_OK;
    key_bytes key = key_numbers(2, write->rows.ns, write->rows.block, 0);
    write->rows.dirty = false;
    return mn_db_put(write, DB_ROWS, &key, write->rows.rows, write->rows.n * sizeof(mn_row), error);
}

static mneme_status load_block(mn_write *write, uint32_t ns, uint32_t block, mneme_error *error)
{
    if (write->rows.loaded && write->rows.ns == ns && write->rows.block == block) return MNEME_OK;
    mneme_status status = mn_flush_rows(write, error);
    if (status != MNEME_OK) return status;
    key_bytes key = key_numbers(2, ns, block, 0);
    MDB_val value = {0};
    status = mn_db_get(&write->read, DB_ROWS, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND) value.mv_size = 0;
    else if (status != MNEME_OK) return status;
    if (value.mv_size > sizeof write->rows.rows || value.mv_size % sizeof(mn_row) != 0)
        return mn_damaged(error, "row block", ns, block);
    if (value.mv_size) memcpy(write->rows.rows, value.mv_data, value.mv_size);
    write->rows.ns = ns;
    write->rows.block = block;
    write->rows.n = (uint32_t)(value.mv_size / sizeof(mn_row));
    write->rows.loaded = true;
    return MNEME_OK;
}

mneme_status mn_append_row(mn_write *write, namespace_state *space, const mn_row *row, mneme_error *error)
{
    uint32_t number = space->value.next_row;
    if (number >= MN_NO_ROW - 1) return mn_fail(error, MNEME_ERR_TOO_LARGE, "a namespace holds at most 2^32 - 2 chunks");
    mneme_status status = load_block(write, space->value.ns, number / MN_BLOCK_ROWS, error);
    if (status != MNEME_OK) return status;
    if (write->rows.n != number % MN_BLOCK_ROWS) return mn_damaged(error, "row block", space->value.ns, write->rows.block);
    write->rows.rows[write->rows.n++] = *row;
    write->rows.dirty = true;
    space->value.next_row++;
    space->value.n_chunks++;
    space->value.n_terms += row->n_terms;
    space->dirty = true;
    return MNEME_OK;
}

mneme_status mn_kill_row(mn_write *write, uint32_t ns, uint32_t row, mn_row *old, mneme_error *error)
{
    mneme_status status = load_block(write, ns, row / MN_BLOCK_ROWS, error);
    if (status != MNEME_OK) return status;
    if (row % MN_BLOCK_ROWS >= write->rows.n) return mn_damaged(error, "row", ns, row);
    mn_row *place = &write->rows.rows[row % MN_BLOCK_ROWS];
    *old = *place;
    *place = (mn_row){0};
    write->rows.dirty = true;
    status = mn_grow((void **)&write->dead_rows, write->n_dead_rows, &write->dead_capacity, sizeof *write->dead_rows, error);
    if (status == MNEME_OK) write->dead_rows[write->n_dead_rows++] = (dead_row){.ns = ns, .row = row};
    return status;
}
