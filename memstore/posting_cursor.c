/* posting_cursor.c -- decoding postings where they lie, and finding one row's.
 *
 * Seven heads of ten are one byte: a row soon after the one before, with the count 1. They take the shortest way; heads
 * and counts of two bytes the next; what is longer, or near the end of a block, goes the plain way, which checks every
 * step. */
#include "memstore/posting_cursor.h"

#include "common/buffer.h"

#include <string.h>

enum {
    BATCH = 256,  /* postings of a long list that are decoded at a time */
    LONGEST = 20, /* bytes of the longest posting: two varints of 10 */
};
#define FAR (MN_NO_ROW - 65536u) /* so near to the last possible row every step is checked */

size_t mn_postings_decode_plainly(mn_posting_position *position, mn_posting *out, size_t capacity, bool *damaged)
{
    size_t n = 0;
    while (n < capacity && position->at < position->end) {
        uint64_t head, count = 1;
        bool sound = mn_varint_read(&position->at, position->end, &head) && head >= position->least &&
                     head / 2 <= UINT32_MAX && position->row + head / 2 < MN_NO_ROW;
        if (sound && !(head & 1)) {
            sound = mn_varint_read(&position->at, position->end, &count) && count <= UINT32_MAX - 2u;
            count += 2;
        }
        if (!sound) {
            position->at = position->end;
            *damaged = true;
            break;
        }
        position->row += head / 2;
        position->least = 2;
        out[n++] = (mn_posting){(uint32_t)position->row, (uint32_t)count};
    }
    return n;
}

/* A varint of one or two bytes; false for longer ones. Two bytes must be readable. */
static inline bool short_varint(const unsigned char **at, uint32_t *value)
{
    uint32_t first = (*at)[0], second = (*at)[1];
    if (first < 0x80) {
        *value = first;
        *at += 1;
        return true;
    }
    *value = (first & 0x7F) | second << 7;
    *at += 2;
    return second < 0x80;
}

size_t mn_postings_decode(mn_posting_position *position, mn_posting *out, size_t capacity, bool *damaged)
{
    size_t n = mn_postings_decode_plainly(position, out, capacity ? 1 : 0, damaged);
    while (n < capacity && position->at < position->end) {
        const unsigned char *at = position->at, *end = position->end;
        uint64_t row = position->row;
        while (n < capacity && end - at >= LONGEST && row < FAR) {
            const unsigned char *next = at;
            uint32_t head, count = 1;
            if (!short_varint(&next, &head) || head < 2) break;
            if (!(head & 1)) {
                if (!short_varint(&next, &count)) break;
                count += 2;
            }
            at = next;
            row += head / 2;
            out[n++] = (mn_posting){(uint32_t)row, count};
        }
        position->at = at;
        position->row = row;
        if (n < capacity) n += mn_postings_decode_plainly(position, out + n, 1, damaged);
        if (*damaged) break;
    }
    return n;
}

/* ---- the cursor ---- */

static void enter_block(mn_posting_cursor *cursor, size_t block)
{
    cursor->block = block;
    cursor->at = block < cursor->n_blocks ? cursor->blocks[block].bytes : NULL;
    cursor->row = block < cursor->n_blocks ? cursor->blocks[block].first_row : 0;
}

void mn_posting_cursor_rewind(mn_posting_cursor *cursor)
{
    cursor->i = 0;
    if (cursor->whole) return;
    cursor->n = 0;
    enter_block(cursor, 0);
}

void mn_posting_cursor_finish(mn_posting_cursor *cursor)
{
    cursor->i = cursor->n;
    cursor->block = cursor->n_blocks;
}

bool mn_posting_cursor_twin(const mn_posting_cursor *cursor, mn_arena *arena, mn_posting_cursor *out)
{
    *out = *cursor;
    if (!cursor->whole && cursor->capacity) out->batch = mn_arena_array(arena, cursor->capacity, sizeof *out->batch);
    mn_posting_cursor_rewind(out);
    return out->batch || cursor->capacity == 0;
}

bool mn_posting_cursor_batch(mn_posting_cursor *cursor)
{
    if (cursor->whole) {
        cursor->i = cursor->n;
        return false;
    }
    cursor->i = cursor->n = 0;
    while (cursor->block < cursor->n_blocks && cursor->n == 0) {
        const mn_posting_block *block = &cursor->blocks[cursor->block];
        mn_posting_position position = {cursor->at, block->bytes + block->size, cursor->row,
                                        cursor->at == block->bytes ? 0 : 2};
        cursor->n = (uint32_t)mn_postings_decode(&position, cursor->batch, cursor->capacity, &cursor->damaged);
        cursor->at = position.at;
        cursor->row = position.row;
        if (cursor->at == position.end) enter_block(cursor, cursor->block + 1);
    }
    return cursor->n > 0;
}

/* Go to the last block that can have the row, when that is a later one. */
static void skip_blocks(mn_posting_cursor *cursor, uint32_t row)
{
    size_t low = cursor->block, high = cursor->n_blocks; /* the one sought is in [low, high) */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (cursor->blocks[middle].first_row <= row)
            low = middle;
        else
            high = middle;
    }
    if (low > cursor->block) enter_block(cursor, low);
}

/* The place of the first posting of the batch from `low` on that is not before the row; the last one is not. */
static uint32_t gallop(const mn_posting *batch, uint32_t low, uint32_t last, uint32_t row)
{
    uint32_t step = 1;
    while (step < last - low && batch[low + step].row < row) {
        low += step;
        step *= 2;
    }
    uint32_t high = step < last - low ? low + step : last;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (batch[middle].row < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool mn_posting_cursor_seek(mn_posting_cursor *cursor, uint32_t row)
{
    if (cursor->n_rows == 0 || row > cursor->last_row) return false;
    if (cursor->n == 0 || row < cursor->batch[0].row)
        mn_posting_cursor_rewind(cursor);
    else if (cursor->i == cursor->n || cursor->batch[cursor->i].row > row)
        cursor->i = 0;
    while (cursor->n == 0 || cursor->batch[cursor->n - 1].row < row) {
        if (!cursor->whole && cursor->block < cursor->n_blocks) skip_blocks(cursor, row);
        if (!mn_posting_cursor_batch(cursor)) return false;
    }
    cursor->i = gallop(cursor->batch, cursor->i, cursor->n - 1, row);
    return true;
}

uint32_t mn_posting_cursor_count(mn_posting_cursor *cursor, uint32_t row)
{
    if (!mn_posting_cursor_seek(cursor, row)) return 0;
    const mn_posting *posting = &cursor->batch[cursor->i];
    return posting->row == row ? posting->count : 0;
}

/* Take note of the next n postings of the list. Rows ascend within a block; from block to block it is seen here. */
static void note(mn_posting_cursor *cursor, const mn_posting *postings, uint32_t n)
{
    if (n == 0) return;
    if (cursor->n_rows > 0 && postings[0].row <= cursor->last_row) cursor->damaged = true;
    cursor->n_rows += n;
    cursor->last_row = postings[n - 1].row;
    for (uint32_t i = 0; i < n; i++)
        if (postings[i].count > cursor->most_count) cursor->most_count = postings[i].count;
}

/* Everything once, for what is known of the whole list. */
static void decode_once(mn_posting_cursor *cursor)
{
    mn_posting_cursor_rewind(cursor);
    while (mn_posting_cursor_batch(cursor)) note(cursor, cursor->batch, cursor->n);
    mn_posting_cursor_rewind(cursor);
}

/* All of it in one batch. */
static void decode_whole(mn_posting_cursor *cursor)
{
    for (size_t i = 0; i < cursor->n_blocks; i++) {
        const mn_posting_block *block = &cursor->blocks[i];
        mn_posting_position position = {block->bytes, block->bytes + block->size, block->first_row, 0};
        mn_posting *batch = cursor->batch + cursor->n;
        size_t n = mn_postings_decode(&position, batch, cursor->capacity - cursor->n, &cursor->damaged);
        note(cursor, batch, (uint32_t)n);
        cursor->n += (uint32_t)n;
    }
}

bool mn_posting_cursor_prepare(mn_posting_cursor *out, const mn_posting_block *blocks, size_t n_blocks,
                               size_t *allowance, mn_arena *arena)
{
    size_t size = 0; /* a posting has at least one byte */
    *out = (mn_posting_cursor){.blocks = blocks, .n_blocks = n_blocks};
    size_t most = *allowance > BATCH ? *allowance : BATCH;
    for (size_t i = 0; i < n_blocks && size <= most; i++) size += blocks[i].size;
    out->whole = size <= most && size <= UINT32_MAX;
    out->capacity = out->whole ? (uint32_t)size : BATCH;
    if (!(out->batch = mn_arena_array(arena, out->capacity, sizeof *out->batch))) return false;
    if (out->whole) *allowance -= size <= *allowance ? size : 0;
    return true;
}

void mn_posting_cursor_decode(mn_posting_cursor *cursor)
{
    if (cursor->whole)
        decode_whole(cursor);
    else
        decode_once(cursor);
}

void mn_posting_cursor_over(mn_posting_cursor *out, mn_posting *postings, uint32_t n)
{
    *out = (mn_posting_cursor){.batch = postings, .n = n, .capacity = n, .whole = true};
    note(out, postings, n);
}
