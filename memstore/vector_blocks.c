/* vector_blocks.c -- the embeddings, in runs of consecutive rows:
 *
 *     key    ns | first_row
 *     value  n rows, coded as the namespace's vector type says (vector_codes.h); then a checksum u32
 *
 * LMDB rewrites a value whole, so rows are not appended to a value: each write adds a run of its own, and when the rows
 * since the last multiple of 1024 fill a block, the runs there are gathered into one value. So
 *
 *     | 1024 rows | 1024 rows | 300 | 1 | 1 | 17 |        blocks, then the runs of single writes
 *
 * A run whose value lies on overflow pages (over about 2 KB) starts 16 bytes into a page and is read in place; a
 * smaller one may lie at any even address and is copied. */
#include "memstore/store_internal.h"

#include <stdlib.h>
#include <string.h>

static mneme_status namespace_of(mn_read *read, uint32_t ns, mn_namespace *out, mn_arena *arena, mneme_error *error)
{
    mn_namespace *all = NULL;
    size_t n = 0;
    *out = (mn_namespace){.name = ""};
    mneme_status status = mn_read_namespaces(read, arena, &all, &n, error);
    for (size_t i = 0; i < n; i++)
        if (all[i].ns == ns) *out = all[i];
    return status;
}

static mneme_status append_block(mn_vector_blocks *out, size_t *capacity, mn_arena *arena, mn_vector_block block,
                                 mneme_error *error)
{
    if (out->n == *capacity) {
        size_t larger = *capacity ? *capacity * 2 : 64;
        mn_vector_block *items = mn_arena_array(arena, larger, sizeof *items);
        if (!items) return mn_fail_memory(error, "vectors");
        if (out->n) memcpy(items, out->items, out->n * sizeof *items);
        out->items = items;
        *capacity = larger;
    }
    out->items[out->n++] = block;
    return MNEME_OK;
}

size_t mn_vector_rows(size_t value_size, mn_vector_type type, uint32_t dimension)
{
    size_t row_bytes = mn_vector_row_bytes(type, dimension);
    if (dimension == 0 || value_size < CHECKSUM_BYTES || (value_size - CHECKSUM_BYTES) % row_bytes != 0) return 0;
    return (value_size - CHECKSUM_BYTES) / row_bytes;
}

/* One run as it lies in the database, checked against the namespace. */
static mneme_status read_run(const MDB_val *key, const MDB_val *value, const mn_namespace *space, uint32_t next,
                             mn_arena *arena, mn_vector_block *out, mneme_error *error)
{
    uint32_t first = mn_key_number(key, 4);
    size_t n = mn_vector_rows(value->mv_size, space->vector_type, space->dimension);
    if (n == 0 || first < next || first >= space->next_row || n > space->next_row - first)
        return mn_damaged(error, "vector block", space->ns, first);
    const void *rows = value->mv_data;
    if ((uintptr_t)rows % _Alignof(float) != 0) rows = mn_arena_copy(arena, value->mv_data, value->mv_size);
    if (!rows) return mn_fail_memory(error, "vectors");
    *out = mn_vector_block_of(space->vector_type, space->dimension, (uint32_t)n, rows);
    out->first_row = first;
    return MNEME_OK;
}

mneme_status mn_read_vectors(mn_read *read, uint32_t ns, mn_arena *arena, mn_vector_blocks *out, mneme_error *error)
{
    *out = (mn_vector_blocks){0};
    mn_namespace space;
    MDB_cursor *cursor = NULL;
    mneme_status status = namespace_of(read, ns, &space, arena, error);
    out->dimension = space.dimension;
    out->type = space.vector_type;
    if (status == MNEME_OK) status = mn_cursor_open(read, DB_VECTORS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes first = key_numbers(2, ns, 0, 0);
    MDB_val key = key_value(&first), value;
    size_t capacity = 0;
    uint32_t next = 0;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && status == MNEME_OK; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (key.mv_size != 8 || mn_key_number(&key, 0) != ns) break;
        mn_vector_block run = {0};
        status = read_run(&key, &value, &space, next, arena, &run, error);
        if (status == MNEME_OK) status = append_block(out, &capacity, arena, run, error);
        next = run.first_row + run.n_rows;
    }
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND)
        status = mn_lmdb_fail(error, code, "cannot read the store");
    mdb_cursor_close(cursor);
    return status;
}

const mn_vector_block *mn_vector_find(const mn_vector_blocks *blocks, uint32_t row, uint32_t *place)
{
    size_t low = 0, high = blocks->n; /* the last block with first_row <= row is items[low - 1] in the end */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (blocks->items[middle].first_row <= row)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return NULL;
    const mn_vector_block *block = &blocks->items[low - 1];
    *place = row - block->first_row;
    return *place < block->n_rows ? block : NULL;
}

bool mn_vector_of(const mn_vector_blocks *blocks, uint32_t row, float *out)
{
    uint32_t place;
    const mn_vector_block *block = mn_vector_find(blocks, row, &place);
    if (block) mn_vector_decode(blocks->type, blocks->dimension, block, place, out);
    return block != NULL;
}

/* ---- writing ---- */

mneme_status mn_append_vector(mn_write *write, namespace_state *space, uint32_t row, const float *vector,
                              mneme_error *error)
{
    (void)write;
    size_t dimension = space->value.dimension;
    if (space->n_new == 0) space->new_first = row;
    if (space->n_new == space->new_capacity) {
        uint32_t capacity = space->new_capacity ? space->new_capacity * 2 : 16;
        float *grown = mn_realloc_array(space->new_vectors, capacity, dimension * sizeof *grown);
        if (!grown) return mn_fail_memory(error, "vectors");
        space->new_vectors = grown;
        space->new_capacity = capacity;
    }
    float *place = space->new_vectors + (size_t)space->n_new * dimension;
    if (vector)
        memcpy(place, vector, dimension * sizeof *place);
    else
        memset(place, 0, dimension * sizeof *place);
    space->n_new++;
    return MNEME_OK;
}

/* What a namespace's rows look like on disk. */
static size_t row_bytes_of(const namespace_state *space)
{
    return mn_vector_row_bytes(space->value.vector_type, space->value.dimension);
}

/* Copy the runs of rows [first, end), which must be complete, to the beginning of a block's value `out`, and delete
 * them. */
static mneme_status take_runs(mn_write *write, const namespace_state *space, uint32_t first, uint32_t end,
                              unsigned char *out, mneme_error *error)
{
    size_t n_runs = 0;
    uint32_t run_starts[MN_BLOCK_ROWS], next = first;
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(&write->read, DB_VECTORS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(2, space->value.ns, first, 0);
    MDB_val key = key_value(&from), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && next < end; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        size_t n = mn_vector_rows(value.mv_size, space->value.vector_type, space->value.dimension);
        bool follows = mn_key_number(&key, 0) == space->value.ns && mn_key_number(&key, 4) == next;
        if (!follows || n == 0 || n > end - next) break;
        mn_vector_copy_rows(space->value.vector_type, space->value.dimension, value.mv_data, (uint32_t)n, out,
                            MN_BLOCK_ROWS, next - first);
        run_starts[n_runs++] = next;
        next += (uint32_t)n;
    }
    mdb_cursor_close(cursor);
    if (code != 0 && code != MDB_NOTFOUND) return mn_lmdb_fail(error, code, "cannot read vectors");
    if (next != end) return mn_damaged(error, "vector block", space->value.ns, next);
    for (size_t i = 0; i < n_runs && status == MNEME_OK; i++) {
        key_bytes run = key_numbers(2, space->value.ns, run_starts[i], 0);
        status = mn_db_delete(write, DB_VECTORS, &run, error);
    }
    return status;
}

/* Code new rows `from` .. from + n - 1 into a value of n_rows rows, from place `to` on. */
static void encode_new(const namespace_state *space, uint32_t from, uint32_t n, unsigned char *value, uint32_t n_rows,
                       uint32_t to)
{
    size_t dimension = space->value.dimension;
    for (uint32_t i = 0; i < n; i++)
        mn_vector_encode(space->value.vector_type, space->value.dimension, space->new_vectors + (from + i) * dimension,
                         value, n_rows, to + i);
}

/* Seal n rows in `scratch` with their checksum; returns the value's size. */
static size_t seal(const namespace_state *space, unsigned char *scratch, size_t n)
{
    size_t size = n * row_bytes_of(space);
    uint32_t sum = mn_checksum(scratch, size);
    memcpy(scratch + size, &sum, sizeof sum);
    return size + sizeof sum;
}

/* Put new rows `from` .. as a run of n rows; `scratch` has room for a block. */
static mneme_status put_run(mn_write *write, const namespace_state *space, uint32_t from, uint32_t n,
                            unsigned char *scratch, mneme_error *error)
{
    if (n == 0) return MNEME_OK;
    key_bytes key = key_numbers(2, space->value.ns, space->new_first + from, 0);
    encode_new(space, from, n, scratch, n, 0);
    return mn_db_append(write, DB_VECTORS, &key, scratch, seal(space, scratch, n), error);
}

/* The runs of the block that is being filled and the new rows that fill it become one value. */
static mneme_status fill_block(mn_write *write, const namespace_state *space, uint32_t block, uint32_t n_new,
                               unsigned char *scratch, mneme_error *error)
{
    uint32_t n_old = space->new_first - block;
    mneme_status status = take_runs(write, space, block, space->new_first, scratch, error);
    if (status != MNEME_OK) return status;
    encode_new(space, 0, n_new, scratch, MN_BLOCK_ROWS, n_old);
    key_bytes key = key_numbers(2, space->value.ns, block, 0);
    return mn_db_put(write, DB_VECTORS, &key, scratch, seal(space, scratch, MN_BLOCK_ROWS), error);
}

/* The new rows of one namespace: gather with the runs before them where a block of 1024 becomes full. */
static mneme_status flush_namespace(mn_write *write, namespace_state *space, mneme_error *error)
{
    uint32_t first = space->new_first, n = space->n_new, done = 0, block = first / MN_BLOCK_ROWS * MN_BLOCK_ROWS;
    unsigned char *scratch = mn_alloc_array(MN_BLOCK_ROWS + 1, row_bytes_of(space) + CHECKSUM_BYTES);
    if (!scratch) return mn_fail_memory(error, "vectors");
    mneme_status status = MNEME_OK;
    if (first != block && n >= block + MN_BLOCK_ROWS - first) {
        done = block + MN_BLOCK_ROWS - first;
        status = fill_block(write, space, block, done, scratch, error);
    }
    bool at_border = (first + done) % MN_BLOCK_ROWS == 0;
    for (; status == MNEME_OK && at_border && n - done >= MN_BLOCK_ROWS; done += MN_BLOCK_ROWS)
        status = put_run(write, space, done, MN_BLOCK_ROWS, scratch, error);
    if (status == MNEME_OK) status = put_run(write, space, done, n - done, scratch, error);
    mn_free(scratch);
    space->n_new = 0;
    return status;
}

static int by_place(const void *left, const void *right)
{
    const dead_row *a = left, *b = right;
    if (a->ns != b->ns) return a->ns < b->ns ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

/* Zero the vectors of dead[0..], all that lie in one run; *n_done: how many that were. */
static mneme_status zero_run(mn_write *write, MDB_cursor *cursor, const dead_row *dead, size_t n, size_t *n_done,
                             mneme_error *error)
{
    *n_done = 1;
    namespace_state *space = NULL;
    mneme_status status = mn_write_namespace_number(write, dead[0].ns, &space, error);
    key_bytes wanted = key_numbers(2, dead[0].ns, dead[0].row, 0);
    MDB_val key, value;
    if (status != MNEME_OK || !mn_cursor_floor(cursor, &wanted, 4, &key, &value, &status, error)) return status;
    uint32_t first = mn_key_number(&key, 4);
    uint32_t rows = (uint32_t)mn_vector_rows(value.mv_size, space->value.vector_type, space->value.dimension);
    if (dead[0].row - first >= rows) return MNEME_OK; /* it never had a vector */
    unsigned char *copy = mn_alloc(value.mv_size);
    if (!copy) return mn_fail_memory(error, "vectors");
    memcpy(copy, value.mv_data, value.mv_size);
    size_t i = 0;
    for (; i < n && dead[i].ns == dead[0].ns && dead[i].row - first < rows; i++)
        mn_vector_encode(space->value.vector_type, space->value.dimension, NULL, copy, rows, dead[i].row - first);
    *n_done = i;
    key_bytes at = key_numbers(2, dead[0].ns, first, 0);
    status = mn_db_put(write, DB_VECTORS, &at, copy, seal(space, copy, rows), error);
    mn_free(copy);
    return status;
}

static mneme_status zero_dead_rows(mn_write *write, mneme_error *error)
{
    if (write->n_dead_rows == 0) return MNEME_OK;
    qsort(write->dead_rows, write->n_dead_rows, sizeof *write->dead_rows, by_place);
    mneme_status status = MNEME_OK;
    for (size_t i = 0, n_done; i < write->n_dead_rows && status == MNEME_OK; i += n_done) {
        MDB_cursor *cursor = NULL; /* a new one each time: puts may move what an old one points at */
        n_done = 1;
        status = mn_cursor_open(&write->read, DB_VECTORS, &cursor, error);
        if (status != MNEME_OK) break;
        status = zero_run(write, cursor, write->dead_rows + i, write->n_dead_rows - i, &n_done, error);
        mdb_cursor_close(cursor);
    }
    write->n_dead_rows = 0;
    return status;
}

mneme_status mn_flush_vectors(mn_write *write, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < write->n_namespaces && status == MNEME_OK; i++)
        if (write->namespaces[i].n_new) status = flush_namespace(write, &write->namespaces[i], error);
    return status == MNEME_OK ? zero_dead_rows(write, error) : status;
}
