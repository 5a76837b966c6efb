/* chunk_entries.c -- one chunk by its row number: for readers that go record by record, and do not want a whole
 * namespace in memory. What scans uses mn_read_rows and mn_read_vectors. */
#include "memstore/store_internal.h"

#include <string.h>

mneme_status mn_read_row(mn_read *read, const mn_namespace *space, uint32_t row, mn_row *out, mneme_error *error)
{
    key_bytes key = key_numbers(2, space->ns, row / MN_BLOCK_ROWS, 0);
    MDB_val value;
    size_t at = (size_t)(row % MN_BLOCK_ROWS) * sizeof *out;
    *out = (mn_row){0};
    mneme_status status = mn_db_get(read, DB_ROWS, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND || (status == MNEME_OK && at + sizeof *out > value.mv_size))
        return mn_damaged(error, "row", space->ns, row);
    if (status == MNEME_OK) memcpy(out, (const char *)value.mv_data + at, sizeof *out);
    return status;
}

/* A value's rows must lie on a 4-byte border to be decoded; small values do not always. */
static mneme_status decode_row(const mn_namespace *space, const MDB_val *value, uint32_t n_rows, uint32_t place,
                               float *out, mneme_error *error)
{
    void *aligned = NULL;
    if ((uintptr_t)value->mv_data % _Alignof(float) != 0) {
        aligned = mn_alloc(value->mv_size);
        if (!aligned) return mn_fail_memory(error, "vectors");
        memcpy(aligned, value->mv_data, value->mv_size);
    }
    mn_vector_block block =
        mn_vector_block_of(space->vector_type, space->dimension, n_rows, aligned ? aligned : value->mv_data);
    mn_vector_decode(space->vector_type, space->dimension, &block, place, out);
    mn_free(aligned);
    return MNEME_OK;
}

/* Rows are read one after the other: the checksum of a block is compared once for all of its rows that follow. */
static bool run_is_right(mn_read *read, const MDB_val *value)
{
    if (read->run.of != value->mv_data || read->run.size != value->mv_size) {
        read->run.of = value->mv_data;
        read->run.size = value->mv_size;
        read->run.right = mn_checksum_is_right(value);
    }
    return read->run.right;
}

mneme_status mn_read_row_vector(mn_read *read, const mn_namespace *space, uint32_t row, float *out, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    size_t n_rows = 0;
    key_bytes wanted = key_numbers(2, space->ns, row, 0);
    mneme_status status = mn_cursor_open(read, DB_VECTORS, &cursor, error);
    if (status != MNEME_OK) return status;
    bool found = mn_cursor_floor(cursor, &wanted, 4, &key, &value, &status, error) && key.mv_size == 8;
    uint32_t place = found ? row - mn_key_number(&key, 4) : 0;
    if (found) n_rows = mn_vector_rows(value.mv_size, space->vector_type, space->dimension);
    found = place < n_rows && n_rows <= UINT32_MAX;
    if (found) status = decode_row(space, &value, (uint32_t)n_rows, place, out, error);
    bool right = found && run_is_right(read, &value);
    mdb_cursor_close(cursor);
    if (status != MNEME_OK) return status;
    if (found && !right) return mn_damaged(error, "the checksum of the vectors around row", space->ns, row);
    return found ? MNEME_OK : mn_damaged(error, "the vector of row", space->ns, row);
}
