/* posting_cursor.h -- the postings of one term in the order of their rows, a batch at a time, read where they lie in
 * the map; and one row's posting, past blocks that need not be looked at.
 *
 *     | block: first_row, varints | block | block |          from the store (mn_read_posting_cursors)
 *               at ^ decoded up to here
 *     batch: | row, count | row, count | ... |               decoded last; `i` is the next of them
 *
 * A short list is one batch, decoded once. Borrowed from a mn_read: valid until it ends. One thread. */
#ifndef MN_MEMSTORE_POSTING_CURSOR_H
#define MN_MEMSTORE_POSTING_CURSOR_H

#include "common/crew.h"
#include "memstore/store.h"

typedef struct mn_posting_block {
    const unsigned char *bytes; /* varints, as memstore/postings.c has them */
    uint32_t size;
    uint32_t first_row; /* no row in it is lower, none in the next block is higher than the next one's */
} mn_posting_block;

typedef struct mn_posting_cursor {
    uint32_t n_rows;     /* of the whole list: the term's document frequency */
    uint32_t most_count; /* the highest count of the list */
    uint32_t last_row;   /* of the list, when it has any */
    mn_posting *batch;
    uint32_t i, n;
    uint32_t capacity;
    const mn_posting_block *blocks;
    size_t n_blocks, block; /* `block`: the one that is being decoded */
    const unsigned char *at;
    uint64_t row; /* decoded last */
    bool whole;   /* the batch is all of the list */
    bool damaged; /* a block is not what the store wrote, or the rows do not ascend: not to be used */
} mn_posting_cursor;

/* A cursor over blocks (borrowed), ascending, at its beginning; n_rows, most_count and last_row are counted.
 * *allowance: how many postings may be decoded at once and kept; what is used of it is taken off. False: out of memory.
 * out->damaged is set when the postings are not to be used: all of them are looked at here, so what is done with the
 * cursor later cannot fail. */
bool mn_posting_cursor_prepare(mn_posting_cursor *out, const mn_posting_block *blocks, size_t n_blocks,
                               size_t *allowance, mn_arena *arena);
void mn_posting_cursor_decode(mn_posting_cursor *cursor);
/* Over postings in memory, ascending; borrowed, and not changed. */
void mn_posting_cursor_over(mn_posting_cursor *out, mn_posting *postings, uint32_t n);

/* Back to the first posting. */
void mn_posting_cursor_rewind(mn_posting_cursor *cursor);
/* Behind the last posting. */
void mn_posting_cursor_finish(mn_posting_cursor *cursor);
/* One that goes its own way, in the arena, which another thread may use at the same time. It borrows what `cursor` has.
 * False: out of memory. */
bool mn_posting_cursor_twin(const mn_posting_cursor *cursor, mn_arena *arena, mn_posting_cursor *out);
/* The next batch in place of this one, i = 0. False (n = 0): there is none. */
bool mn_posting_cursor_batch(mn_posting_cursor *cursor);
/* Make the first posting that is not before `row` the next one, wherever the cursor is; later rows cost least. False:
 * there is none, and the cursor may be anywhere. */
bool mn_posting_cursor_seek(mn_posting_cursor *cursor, uint32_t row);
/* How often the row has the term; 0 when it has not. Seeks it. */
uint32_t mn_posting_cursor_count(mn_posting_cursor *cursor, uint32_t row);

/* ---- the code itself ---- */

/* Where a decoder stands: what it has decoded of a block. */
typedef struct mn_posting_position {
    const unsigned char *at, *end;
    uint64_t row;   /* of the posting before; at the beginning of a block its first_row */
    uint64_t least; /* least value of the next head: 0 at the beginning of a block, else 2 */
} mn_posting_position;

/* Decode up to `capacity` postings into `out`. Returns how many: fewer than capacity at the end of the block, or where
 * it is damaged; then *damaged is set. Reads nothing outside [at, end). */
size_t mn_postings_decode(mn_posting_position *position, mn_posting *out, size_t capacity, bool *damaged);
/* The same, one varint after the other: what the fast one is held against. */
size_t mn_postings_decode_plainly(mn_posting_position *position, mn_posting *out, size_t capacity, bool *damaged);

/* Cursors of the terms, in their order, each at its beginning; `out` has room for terms->n. A term that no row has gets
 * one with n_rows 0. crew: NULL, or threads to decode on, begun. */
mneme_status mn_read_posting_cursors(mn_read *read, uint32_t ns, const mn_term_list *terms, mn_crew *crew,
                                     mn_arena *arena, mn_posting_cursor *out, mneme_error *error);

#endif
