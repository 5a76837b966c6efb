/* postings.c -- for each term the rows that hold it, with counts, in blocks:
 *
 *     key    ns | term | 00 | first_row
 *     value  per row a varint: (row - row before) * 2 + (count is 1), then, if it is not 1, count - 2 as another;
 *            the first row counts from first_row
 *
 * LMDB rewrites a value whole, so a list is appended to only while its last block fits one page, then a new block
 * begins. A write gathers its postings in memory, with each term once, and flushes them sorted by term. */
#include "memstore/posting_cursor.h"
#include "memstore/store_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { ENTRY_BYTES = 10 }; /* the most that one row takes: two varints of 5 bytes */

bool mn_decode_postings(uint32_t first_row, const MDB_val *value,
                        bool (*visit)(void *context, uint32_t row, uint32_t count), void *context)
{
    const unsigned char *at = value->mv_data, *end = at + value->mv_size;
    uint64_t row = first_row;
    bool first = true;
    while (at < end) {
        uint64_t head, count = 1;
        if (!mn_varint_read(&at, end, &head)) return false;
        if (!(head & 1) && (!mn_varint_read(&at, end, &count) || count > UINT32_MAX - 2u)) return false;
        if (!(head & 1)) count += 2;
        if ((!first && head < 2) || head / 2 > UINT32_MAX) return false;
        row += head / 2;
        if (row >= MN_NO_ROW) return false;
        if (!visit(context, (uint32_t)row, (uint32_t)count)) return true;
        first = false;
    }
    return true;
}

/* ---- reading ---- */

typedef struct posting_list {
    mn_arena *arena;
    mn_posting *items;
    size_t n, capacity;
    bool failed;
} posting_list;

static bool append_posting(void *context, uint32_t row, uint32_t count)
{
    posting_list *list = context;
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        mn_posting *items = mn_arena_array(list->arena, capacity, sizeof *items);
        if (!items) {
            list->failed = true;
            return false;
        }
        if (list->n) memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = (mn_posting){.row = row, .count = count};
    return true;
}

mneme_status mn_read_postings(mn_read *read, uint32_t ns, const char *term, size_t size, mn_arena *arena,
                              mn_posting **out, size_t *n, mneme_error *error)
{
    *out = NULL;
    *n = 0;
    if (size == 0 || size > MN_TERM_MAX) return MNEME_OK;
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_POSTINGS, &cursor, error);
    if (status != MNEME_OK) return status;
    posting_list list = {.arena = arena};
    key_bytes from = mn_key_posting(ns, term, size, 0);
    size_t prefix = from.size - 4;
    MDB_val key = key_value(&from), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && status == MNEME_OK; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (key.mv_size != from.size || memcmp(key.mv_data, from.bytes, prefix) != 0) break;
        uint32_t first_row = mn_key_number(&key, prefix);
        if (!mn_decode_postings(first_row, &value, append_posting, &list))
            status = mn_damaged(error, "postings block", ns, first_row);
        if (list.failed) status = mn_fail_memory(error, "postings");
    }
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND)
        status = mn_lmdb_fail(error, code, "cannot read the store");
    mdb_cursor_close(cursor);
    *out = list.items;
    *n = status == MNEME_OK ? list.n : 0;
    return status;
}

/* ---- cursors ---- */

/* The blocks of one term, where they lie, appended to `blocks`. */
static mneme_status find_blocks(MDB_cursor *cursor, uint32_t ns, const mn_term *term, mn_buffer *blocks,
                                mneme_error *error)
{
    key_bytes from = mn_key_posting(ns, term->text, term->size, 0);
    size_t prefix = from.size - 4;
    MDB_val key = key_value(&from), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (key.mv_size != from.size || memcmp(key.mv_data, from.bytes, prefix) != 0) break;
        if (value.mv_size > UINT32_MAX) return mn_damaged(error, "postings block", ns, mn_key_number(&key, prefix));
        mn_posting_block block = {value.mv_data, (uint32_t)value.mv_size, mn_key_number(&key, prefix)};
        mn_buffer_append(blocks, &block, sizeof block);
    }
    return code == 0 || code == MDB_NOTFOUND ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read the store");
}

/* What a question decodes at once: lists are gone through two or three times, so that most questions decode each only
 * once, in 4 MB; beyond that, again each time, a batch after the other. */
enum { POSTINGS_KEPT = 1 << 19 };

static mneme_status prepare(const mn_buffer *blocks, size_t *allowance, mn_arena *arena, mn_posting_cursor *out,
                            mneme_error *error)
{
    size_t n = blocks->size / sizeof(mn_posting_block);
    if (blocks->size + blocks->failed == 0) return MNEME_OK;
    const mn_posting_block *items = blocks->failed ? NULL : mn_arena_copy(arena, blocks->data, blocks->size);
    bool ready = items && mn_posting_cursor_prepare(out, items, n, allowance, arena);
    return ready ? MNEME_OK : mn_fail_memory(error, "postings");
}

static void decode_list(void *cursors, unsigned i, unsigned worker)
{
    (void)worker;
    mn_posting_cursor *cursor = (mn_posting_cursor *)cursors + i;
    if (cursor->n_blocks) mn_posting_cursor_decode(cursor);
}

mneme_status mn_read_posting_cursors(mn_read *read, uint32_t ns, const mn_term_list *terms, mn_crew *crew,
                                     mn_arena *arena, mn_posting_cursor *out, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mn_buffer blocks = {0};
    size_t allowance = POSTINGS_KEPT;
    mneme_status status = mn_cursor_open(read, DB_POSTINGS, &cursor, error);
    for (size_t i = 0; i < terms->n && status == MNEME_OK; i++) {
        const mn_term *term = &terms->items[i];
        out[i] = (mn_posting_cursor){0};
        if (term->size == 0 || term->size > MN_TERM_MAX) continue;
        mn_buffer_clear(&blocks);
        status = find_blocks(cursor, ns, term, &blocks, error);
        if (status == MNEME_OK) status = prepare(&blocks, &allowance, arena, &out[i], error);
    }
    mn_buffer_free(&blocks);
    if (cursor) mdb_cursor_close(cursor);
    if (status != MNEME_OK) return status;
    mn_crew_run(terms->n < MN_CREW_ITEMS_MOST / 2 ? crew : NULL, (unsigned)terms->n, decode_list, out);
    for (size_t i = 0; i < terms->n; i++)
        if (out[i].damaged) return mn_damaged(error, "postings block", ns, out[i].blocks[0].first_row);
    return MNEME_OK;
}

/* ---- how many rows, without reading them all ---- */

typedef struct block_rows {
    double first, end, n; /* rows first .. end - 1, of them n */
} block_rows;

enum { COUNTED = 256 }; /* postings of a block that are decoded */

/* Exact for a block of up to COUNTED postings, else as if it went on as it begins. */
static mneme_status count_block(uint32_t ns, const MDB_val *key, const MDB_val *value, block_rows *out,
                                mneme_error *error)
{
    mn_posting postings[COUNTED];
    uint32_t first = mn_key_number(key, key->mv_size - 4);
    const unsigned char *begin = value->mv_data;
    mn_posting_position position = {begin, begin + value->mv_size, first, 0};
    bool damaged = false;
    size_t n = mn_postings_decode(&position, postings, COUNTED, &damaged);
    if (damaged) return mn_damaged(error, "postings block", ns, first);
    double share = n ? (double)value->mv_size / (double)(position.at - begin) : 1;
    double rows = n ? (double)(postings[n - 1].row + 1 - first) : 0;
    *out = (block_rows){.first = first, .end = first + rows * share, .n = (double)n * share};
    return MNEME_OK;
}

static double density(const block_rows *block)
{
    return block->end > block->first ? block->n / (block->end - block->first) : 0;
}

/* The cursor stands on the first block, `head`, of the list with this key prefix. */
static mneme_status count_list(MDB_cursor *cursor, uint32_t ns, const key_bytes *from, const block_rows *head,
                               double *n, mneme_error *error)
{
    MDB_val key, value;
    block_rows tail;
    mneme_status status = MNEME_OK;
    size_t prefix = from->size - 4;
    *n = head->n;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    if (code != 0 && code != MDB_NOTFOUND) return mn_lmdb_fail(error, code, "cannot read the store");
    if (code != 0 || key.mv_size != from->size || memcmp(key.mv_data, from->bytes, prefix) != 0) return MNEME_OK;
    double second = mn_key_number(&key, prefix);
    key_bytes last = *from;
    memset(last.bytes + prefix, 0xff, 4);
    if (!mn_cursor_floor(cursor, &last, prefix, &key, &value, &status, error)) return status;
    status = count_block(ns, &key, &value, &tail, error);
    if (status != MNEME_OK) return status;
    *n += tail.n;
    if (tail.first > second) *n += (tail.first - second) * (density(head) + density(&tail)) / 2;
    return MNEME_OK;
}

mneme_status mn_read_term_rows(mn_read *read, uint32_t ns, const char *term, size_t size, uint64_t *n,
                               mneme_error *error)
{
    *n = 0;
    if (size == 0 || size > MN_TERM_MAX) return MNEME_OK;
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_POSTINGS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = mn_key_posting(ns, term, size, 0);
    MDB_val key = key_value(&from), value;
    block_rows head;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (code == 0 && key.mv_size == from.size && memcmp(key.mv_data, from.bytes, from.size - 4) == 0) {
        double rows = 0;
        status = count_block(ns, &key, &value, &head, error);
        if (status == MNEME_OK) status = count_list(cursor, ns, &from, &head, &rows, error);
        *n = (uint64_t)(rows + 0.5);
    } else if (code != 0 && code != MDB_NOTFOUND) {
        status = mn_lmdb_fail(error, code, "cannot read the store");
    }
    mdb_cursor_close(cursor);
    return status;
}

/* ---- writing ---- */

static mneme_status analyze(mn_write *write, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                            mneme_error *error)
{
    const mn_store *store = write->read.store;
    *out = (mn_term_list){0};
    if (!store->analyze) return mn_fail(error, MNEME_ERR_USAGE, "the store has no analyzer");
    return store->analyze(store->analyze_context, text, size, arena, out, error);
}

static bool is_term(const pending_term *a, uint32_t ns, uint64_t hash, const mn_term *term)
{
    return a->hash == hash && a->ns == ns && a->size == term->size && memcmp(a->text, term->text, term->size) == 0;
}

/* Twice the slots, every term in its place. */
static mneme_status grow_slots(mn_write *write, mneme_error *error)
{
    size_t n = write->n_term_slots ? write->n_term_slots * 2 : 1024;
    uint32_t *slots = mn_alloc_zeroed(n, sizeof *slots);
    if (!slots) return mn_fail_memory(error, "postings");
    for (size_t i = 0; i < write->n_terms; i++) {
        size_t at = write->terms[i].hash & (n - 1);
        while (slots[at]) at = (at + 1) & (n - 1);
        slots[at] = (uint32_t)i + 1;
    }
    mn_free(write->term_slots);
    write->term_slots = slots;
    write->n_term_slots = n;
    return MNEME_OK;
}

/* The number of a term in this write; a new one gets the next. */
static mneme_status number_of(mn_write *write, uint32_t ns, const mn_term *term, uint32_t *out, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    if ((write->n_terms + 1) * 2 > write->n_term_slots) status = grow_slots(write, error);
    if (status != MNEME_OK) return status;
    uint64_t hash = XXH3_64bits_withSeed(term->text, term->size, ns);
    size_t at = hash & (write->n_term_slots - 1);
    for (; write->term_slots[at]; at = (at + 1) & (write->n_term_slots - 1)) {
        *out = write->term_slots[at] - 1;
        if (is_term(&write->terms[*out], ns, hash, term)) return MNEME_OK;
    }
    status = mn_grow((void **)&write->terms, write->n_terms, &write->term_capacity, sizeof *write->terms, error);
    if (status != MNEME_OK) return status;
    const char *text = mn_arena_copy(&write->posting_arena, term->text, term->size);
    if (!text) return mn_fail_memory(error, "postings");
    *out = (uint32_t)write->n_terms++;
    write->terms[*out] = (pending_term){.ns = ns, .size = term->size, .hash = hash, .text = text};
    write->term_slots[at] = *out + 1;
    return MNEME_OK;
}

mneme_status mn_append_postings(mn_write *write, uint32_t ns, uint32_t row, const char *text, size_t size,
                                uint32_t *n_terms, mneme_error *error)
{
    mn_arena arena = {0};
    mn_term_list terms;
    *n_terms = 0;
    mneme_status status = analyze(write, text, size, &arena, &terms, error);
    for (size_t i = 0; i < terms.n && status == MNEME_OK; i++) {
        uint32_t term = 0;
        status = mn_grow((void **)&write->postings, write->n_postings, &write->posting_capacity,
                         sizeof *write->postings, error);
        if (status == MNEME_OK) status = number_of(write, ns, &terms.items[i], &term, error);
        if (status != MNEME_OK) break;
        write->postings[write->n_postings++] = (pending_posting){term, row, terms.items[i].count};
        write->terms[term].n++;
    }
    *n_terms = terms.total > UINT32_MAX ? UINT32_MAX : (uint32_t)terms.total;
    mn_arena_free(&arena);
    return status;
}

/* By namespace and text, as the keys are. */
static int by_key(const void *left, const void *right)
{
    const pending_term *a = *(const pending_term *const *)left, *b = *(const pending_term *const *)right;
    if (a->ns != b->ns) return a->ns < b->ns ? -1 : 1;
    int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    if (order != 0) return order;
    return a->size < b->size ? -1 : a->size > b->size;
}

static bool note_last_row(void *context, uint32_t row, uint32_t count)
{
    (void)count;
    *(uint32_t *)context = row;
    return true;
}

static void append_one(mn_buffer *block, uint32_t delta, uint32_t count)
{
    mn_buffer_varint(block, (uint64_t)delta * 2 + (count == 1));
    if (count != 1) mn_buffer_varint(block, (uint64_t)count - 2);
}

/* The block that is being filled. */
typedef struct open_block {
    mn_buffer bytes;
    uint32_t first_row, last_row;
} open_block;

static mneme_status put_block(mn_write *write, const pending_term *term, const open_block *block, mneme_error *error)
{
    if (block->bytes.size == 0) return MNEME_OK;
    if (block->bytes.failed) return mn_fail_memory(error, "postings");
    key_bytes key = mn_key_posting(term->ns, term->text, term->size, block->first_row);
    return mn_db_put(write, DB_POSTINGS, &key, block->bytes.data, block->bytes.size, error);
}

/* Go on with the last block of the term, if it is short. Rows are appended in order, so it is the last one. */
static mneme_status open_last_block(MDB_cursor *cursor, const pending_term *term, open_block *block, mneme_error *error)
{
    key_bytes wanted = mn_key_posting(term->ns, term->text, term->size, UINT32_MAX);
    size_t prefix = wanted.size - 4;
    MDB_val key, value;
    mneme_status status = MNEME_OK;
    mn_buffer_clear(&block->bytes);
    bool found = mn_cursor_floor(cursor, &wanted, prefix, &key, &value, &status, error);
    if (found && key.mv_size == wanted.size && value.mv_size <= POSTINGS_BYTES - ENTRY_BYTES) {
        block->first_row = block->last_row = mn_key_number(&key, prefix);
        if (!mn_decode_postings(block->first_row, &value, note_last_row, &block->last_row))
            status = mn_damaged(error, "postings block", term->ns, block->first_row);
        mn_buffer_append(&block->bytes, value.mv_data, value.mv_size);
    }
    return status;
}

/* All new postings of one term, ascending rows. */
static mneme_status flush_term(mn_write *write, const pending_term *term, const mn_posting *items, open_block *block,
                               mneme_error *error)
{
    MDB_cursor *cursor = NULL; /* a new one each time: puts may move what an old one points at */
    mneme_status status = mn_cursor_open(&write->read, DB_POSTINGS, &cursor, error);
    if (status != MNEME_OK) return status;
    status = open_last_block(cursor, term, block, error);
    mdb_cursor_close(cursor);
    for (size_t i = 0; i < term->n && status == MNEME_OK; i++) {
        if (block->bytes.size > POSTINGS_BYTES - ENTRY_BYTES) {
            status = put_block(write, term, block, error);
            mn_buffer_clear(&block->bytes);
        }
        if (block->bytes.size == 0) block->first_row = block->last_row = items[i].row;
        append_one(&block->bytes, items[i].row - block->last_row, items[i].count);
        block->last_row = items[i].row;
    }
    return status == MNEME_OK ? put_block(write, term, block, error) : status;
}

/* The postings of each term together, terms as they come in `order`; each term's rows stay in their order. */
static void gather_by_term(mn_write *write, pending_term *const *order, size_t *starts, mn_posting *out)
{
    size_t start = 0;
    for (size_t i = 0; i < write->n_terms; start += order[i++]->n) starts[order[i] - write->terms] = start;
    for (size_t i = 0; i < write->n_postings; i++) {
        const pending_posting *p = &write->postings[i];
        out[starts[p->term]++] = (mn_posting){p->row, p->count};
    }
}

mneme_status mn_flush_postings(mn_write *write, mneme_error *error)
{
    if (write->n_postings == 0) return MNEME_OK;
    pending_term **order = mn_alloc_array(write->n_terms, sizeof *order);
    size_t *starts = mn_alloc_array(write->n_terms, sizeof *starts);
    mn_posting *gathered = mn_alloc_array(write->n_postings, sizeof *gathered);
    open_block block = {0};
    mneme_status status = order && starts && gathered ? MNEME_OK : mn_fail_memory(error, "postings");
    if (status == MNEME_OK) {
        for (size_t i = 0; i < write->n_terms; i++) order[i] = &write->terms[i];
        qsort(order, write->n_terms, sizeof *order, by_key);
        gather_by_term(write, order, starts, gathered);
    }
    const mn_posting *items = gathered;
    for (size_t i = 0; i < write->n_terms && status == MNEME_OK; items += order[i++]->n)
        status = flush_term(write, order[i], items, &block, error);
    mn_buffer_free(&block.bytes);
    mn_free(gathered);
    mn_free(starts);
    mn_free(order);
    write->n_postings = write->n_terms = 0;
    if (write->term_slots) memset(write->term_slots, 0, write->n_term_slots * sizeof *write->term_slots);
    mn_arena_free(&write->posting_arena);
    return status;
}

/* ---- removing ---- */

typedef struct removal {
    uint32_t row, last_row;
    mn_buffer left; /* the block without the row */
} removal;

static bool keep_others(void *context, uint32_t row, uint32_t count)
{
    removal *r = context;
    if (row == r->row) return true;
    append_one(&r->left, row - r->last_row, count);
    r->last_row = row;
    return true;
}

static mneme_status remove_posting(mn_write *write, uint32_t ns, uint32_t row, const mn_term *term, removal *r,
                                   mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(&write->read, DB_POSTINGS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes wanted = mn_key_posting(ns, term->text, term->size, row);
    size_t prefix = wanted.size - 4;
    MDB_val key, value;
    uint32_t first_row = 0;
    bool found = mn_cursor_floor(cursor, &wanted, prefix, &key, &value, &status, error) && key.mv_size == wanted.size;
    if (found) {
        first_row = mn_key_number(&key, prefix);
        mn_buffer_clear(&r->left);
        r->row = row;
        r->last_row = first_row;
        if (!mn_decode_postings(first_row, &value, keep_others, r))
            status = mn_damaged(error, "postings block", ns, first_row);
        else if (r->left.failed)
            status = mn_fail_memory(error, "postings");
    }
    mdb_cursor_close(cursor);
    if (status != MNEME_OK || !found) return status;
    key_bytes at = mn_key_posting(ns, term->text, term->size, first_row);
    if (r->left.size == 0) return mn_db_delete(write, DB_POSTINGS, &at, error);
    return mn_db_put(write, DB_POSTINGS, &at, r->left.data, r->left.size, error);
}

mneme_status mn_remove_postings(mn_write *write, uint32_t ns, uint32_t row, const char *text, size_t size,
                                mneme_error *error)
{
    mn_arena arena = {0};
    mn_term_list terms;
    removal r = {0};
    mneme_status status = analyze(write, text, size, &arena, &terms, error);
    for (size_t i = 0; i < terms.n && status == MNEME_OK; i++)
        status = remove_posting(write, ns, row, &terms.items[i], &r, error);
    mn_buffer_free(&r.left);
    mn_arena_free(&arena);
    return status;
}
