/* bm25_top.c -- the best rows by BM25, without adding up what cannot matter: MaxScore in windows of rows.
 *
 * Turtle, Flood 1995, "Query evaluation: strategies and optimizations"; in windows as in Lucene's bulk scorer. The
 * terms are ordered by the most that a row can get from them. Those that together cannot lift a row over the worst one
 * kept so far are optional: a row that has no other term need not be looked at.
 *
 *     order       | optional: below[n_optional] <= threshold | needed ... |
 *     window      4096 rows; the needed terms' postings are added up in it, one term after the other
 *     candidates  rows whose sum + below[n_optional] is over it: they get the optional terms, too, the greatest first
 *
 * Rows come in ascending order, so a row that only equals the worst one kept loses. Sums are whole numbers (bm25.h), so
 * nothing here depends on the order of additions. */
#include "retriever/bm25.h"

enum {
    WINDOW = MN_BM25_WINDOW,
    GROUPS = WINDOW / 64,
    AHEAD = 12, /* postings: a row lies in another cache line than the one before, so it is asked for in time */
    SEEK = 4,   /* a row looked up in a list takes as long as so many postings passed over */
};

typedef struct window_search {
    const mn_bm25 *bm25;
    mn_row_filter *filter;
    mn_top *top;
    int64_t threshold; /* units; a row must have more */
    size_t n_optional;
    uint32_t base, end;       /* the window's rows: base .. end - 1 */
    uint64_t touched[GROUPS]; /* a bit for each row of the window that has a sum */
    int32_t sums[WINDOW];
    uint16_t candidates[WINDOW]; /* places in the window, ascending */
} window_search;

/* The highest sum whose share is surely below this one, or at most it; a little lower, at worst. */
static int64_t units_below(const mn_bm25 *bm25, float share, bool at_most)
{
    double units = (double)share / bm25->unit;
    int64_t sum = units < 4e9 ? (int64_t)units : 0;
    for (; sum > 0; sum -= 1 + sum / (1 << 24)) {
        float of_sum = mn_bm25_share_of(bm25, sum);
        if (of_sum < share || (at_most && !(of_sum > share))) break;
    }
    return sum;
}

/* To the highest sum that is surely not better than the worst row kept, and no lower. */
static void raise_threshold(window_search *search)
{
    const mn_top *top = search->top;
    if (top->n < top->capacity) return;
    int64_t threshold = units_below(search->bm25, top->items[0].score, true);
    if (threshold > search->threshold) search->threshold = threshold;
}

static void choose_optional(window_search *search)
{
    const mn_bm25 *bm25 = search->bm25;
    while (search->n_optional < bm25->n && bm25->below[search->n_optional + 1] <= search->threshold)
        search->n_optional++;
}

/* The lowest row that a needed term still has; MN_NO_ROW: there is none. */
static uint32_t next_row(const window_search *search)
{
    uint32_t least = MN_NO_ROW;
    for (size_t i = search->n_optional; i < search->bm25->n; i++) {
        mn_posting_cursor *cursor = &search->bm25->order[i]->cursor;
        if (cursor->i == cursor->n && !mn_posting_cursor_batch(cursor)) continue;
        if (cursor->batch[cursor->i].row < least) least = cursor->batch[cursor->i].row;
    }
    return least;
}

static void add_term(window_search *search, mn_bm25_term *term)
{
    const mn_bm25 *bm25 = search->bm25;
    mn_posting_cursor *cursor = &term->cursor;
    uint32_t base = search->base, end = search->end;
    do {
        const mn_posting *at = cursor->batch + cursor->i, *last = cursor->batch + cursor->n;
        for (; at < last && at->row < end; at++) {
            uint32_t place = at->row - base;
            if (last - at > AHEAD) __builtin_prefetch(&mn_row_at(bm25->rows, at[AHEAD].row)->n_terms);
            search->sums[place] += mn_bm25_gain(bm25, term, at->count, mn_row_at(bm25->rows, at->row)->n_terms);
            search->touched[place / 64] |= (uint64_t)1 << place % 64;
        }
        cursor->i = (uint32_t)(at - cursor->batch);
        if (at < last) break;
    } while (mn_posting_cursor_batch(cursor));
}

/* The rows of the window that the optional terms could lift over the threshold. */
static size_t collect(window_search *search)
{
    int64_t optional = search->bm25->below[search->n_optional];
    size_t n = 0;
    for (uint32_t group = 0; group < GROUPS; group++) {
        for (uint64_t left = search->touched[group]; left; left &= left - 1) {
            uint32_t place = group * 64 + (uint32_t)__builtin_ctzll(left);
            search->candidates[n] = (uint16_t)place;
            n += search->sums[place] + optional > search->threshold;
        }
    }
    return n;
}

/* Add what an optional term gives to the rows that have a sum, along its postings. */
static void add_along(window_search *search, mn_bm25_term *term)
{
    const mn_bm25 *bm25 = search->bm25;
    mn_posting_cursor *cursor = &term->cursor;
    if (!mn_posting_cursor_seek(cursor, search->base)) return;
    do {
        const mn_posting *at = cursor->batch + cursor->i, *last = cursor->batch + cursor->n;
        for (; at < last && at->row < search->end; at++) {
            uint32_t place = at->row - search->base;
            if (search->touched[place / 64] >> place % 64 & 1)
                search->sums[place] += mn_bm25_gain(bm25, term, at->count, mn_row_at(bm25->rows, at->row)->n_terms);
        }
        cursor->i = (uint32_t)(at - cursor->batch);
        if (at < last) break;
    } while (mn_posting_cursor_batch(cursor));
}

/* The same for the candidates alone, one after the other. */
static void add_to_candidates(window_search *search, mn_bm25_term *term, size_t n)
{
    const mn_bm25 *bm25 = search->bm25;
    for (size_t i = 0; i < n; i++) {
        uint32_t row = search->base + search->candidates[i], count = mn_posting_cursor_count(&term->cursor, row);
        if (count)
            search->sums[row - search->base] += mn_bm25_gain(bm25, term, count, mn_row_at(bm25->rows, row)->n_terms);
    }
}

/* Add the optional terms, the greatest first, to the candidates that can still be wanted; returns how many are left. */
static size_t add_optional(window_search *search, size_t n)
{
    const mn_bm25 *bm25 = search->bm25;
    for (size_t i = search->n_optional; i-- > 0 && n > 0;) {
        mn_bm25_term *term = bm25->order[i];
        double here = (double)term->cursor.n_rows * WINDOW / bm25->rows->n_rows;
        if (here < (double)n * SEEK)
            add_along(search, term);
        else
            add_to_candidates(search, term, n);
        size_t kept = 0;
        for (size_t j = 0; j < n; j++) {
            uint16_t place = search->candidates[j];
            search->candidates[kept] = place;
            kept += search->sums[place] + bm25->below[i] > search->threshold;
        }
        n = kept;
    }
    return n;
}

static void keep_best(window_search *search, size_t n)
{
    mn_top *top = search->top;
    float worst = top->n < top->capacity ? 0 : top->items[0].score;
    for (size_t i = 0; i < n; i++) {
        uint32_t row = search->base + search->candidates[i];
        float share = mn_bm25_share_of(search->bm25, search->sums[search->candidates[i]]);
        if (!(share > worst) || !mn_row_filter_passes(search->filter, row)) continue;
        mn_top_put(top, share, row);
        if (top->n == top->capacity) worst = top->items[0].score;
    }
}

/* Before the first posting that is not before the row. */
static void begin(mn_posting_cursor *cursor, uint32_t row)
{
    mn_posting_cursor_rewind(cursor);
    if (row > 0 && !mn_posting_cursor_seek(cursor, row)) mn_posting_cursor_finish(cursor);
}

static void clear_window(window_search *search)
{
    for (uint32_t group = 0; group < GROUPS; group++) {
        for (uint64_t left = search->touched[group]; left; left &= left - 1)
            search->sums[group * 64 + (uint32_t)__builtin_ctzll(left)] = 0;
        search->touched[group] = 0;
    }
}

void mn_bm25_top(const mn_bm25 *bm25, mn_row_filter *filter, float known, mn_top *top)
{
    mn_bm25_top_between(bm25, 0, bm25->rows->n_rows, filter, known, top);
}

void mn_bm25_top_between(const mn_bm25 *bm25, uint32_t first, uint32_t end, mn_row_filter *filter, float known,
                         mn_top *top)
{
    if (bm25->n == 0 || top->capacity == 0) return;
    window_search search = {.bm25 = bm25, .filter = filter, .top = top, .threshold = units_below(bm25, known, false)};
    for (size_t i = 0; i < bm25->n; i++) begin(&bm25->terms[i].cursor, first);
    for (;;) {
        raise_threshold(&search);
        choose_optional(&search);
        uint32_t row = next_row(&search);
        if (row >= end) break; /* rows beyond the last are damage that `check` names; here they are only not followed */
        search.base = row - row % WINDOW;
        search.end = end - search.base < WINDOW ? end : search.base + WINDOW;
        for (size_t i = search.n_optional; i < bm25->n; i++) add_term(&search, bm25->order[i]);
        keep_best(&search, add_optional(&search, collect(&search)));
        clear_window(&search);
    }
}
