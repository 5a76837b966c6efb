/* nearest.c -- how many candidates to ask the index for, and when not to ask it at all.
 *
 * The codes of an index are rounded, so it is asked for a quarter more than are wanted, ten at most, and ten. Rows that
 * the filter does not pass take their places among the candidates: when too few are left, it is asked for more, until
 * that costs as much as reading all vectors. Where the rows that may come are known beforehand, only these are taken;
 * the walk goes over the same graph, so that it has to look the farther the fewer they are. How far in lists:
 * lists_effort.h. */
#include "retriever/nearest.h"

#include "retriever/lists_effort.h"

#include <string.h>

/* A search for n candidates takes about as long as scanning ROWS_PER_CANDIDATE * n rows (1.5 us against 25 ns a row,
 * 87,408 rows of 384 dimensions on two cores). */
enum { ROWS_PER_CANDIDATE = 60, MOST_AT_LEAST = 256, FETCH_AHEAD = 8 };

typedef struct search {
    mn_index *index;
    const mn_index_facts *facts;
    const mn_scan *scan;
    mn_row_filter *filter;
    mn_arena *arena;
    mn_top *top;
    mneme_error *error;
} search;

static size_t candidates_for(const mn_index_facts *facts, size_t wanted)
{
    if (facts->n_lists) return mn_lists_candidates(facts, wanted);
    return wanted + (wanted < 40 ? wanted / 4 : 10) + 10;
}

/* The effort is tuned for ten rows; more of them lie farther out. */
static size_t effort_for(const mn_index_facts *facts, size_t k)
{
    if (facts->n_lists) return mn_lists_effort(facts, k);
    return facts->effort + (k > 40 ? (k - 40) / 2 : 0);
}

static size_t most_candidates(const mn_index_facts *facts)
{
    if (facts->n_lists) return mn_lists_most_candidates(facts);
    size_t most = (size_t)facts->n_codes / ROWS_PER_CANDIDATE;
    return most < MOST_AT_LEAST ? MOST_AT_LEAST : most;
}

static void fetch_candidate(const search *s, int64_t position)
{
    if (position >= 0 && (uint64_t)position < s->facts->n_codes)
        mn_scan_fetch(s->scan, mn_index_rows(s->index)[position]);
}

/* Offer what the index found; returns how many the filter passed. */
static size_t offer_found(const search *s, const int64_t *positions, size_t k)
{
    size_t passed = 0;
    const uint32_t *rows = mn_index_rows(s->index);
    for (size_t i = 0; i < k && i < FETCH_AHEAD; i++) fetch_candidate(s, positions[i]);
    for (size_t i = 0; i < k; i++) {
        if (i + FETCH_AHEAD < k) fetch_candidate(s, positions[i + FETCH_AHEAD]);
        if (positions[i] < 0 || (uint64_t)positions[i] >= s->facts->n_codes) continue;
        uint32_t row = rows[positions[i]];
        bool has_vector = false;
        if (row >= s->filter->rows->n_rows || !mn_row_filter_passes(s->filter, row)) continue;
        float score = mn_scan_one(s->scan, row, &has_vector);
        passed += has_vector;
        if (has_vector && mn_top_wants(s->top, score, row)) mn_top_put(s->top, score, row);
    }
    return passed;
}

/* Have enough of the k candidates passed the filter? */
static bool is_enough(const search *s, const int64_t *positions, size_t k, size_t needed, size_t passed)
{
    if (s->facts->n_lists == 0) return passed + 10 >= needed;
    size_t found = 0;
    for (size_t i = 0; i < k; i++) found += positions[i] >= 0 && (uint64_t)positions[i] < s->facts->n_codes;
    bool is_all = positions[k - 1] < 0;
    return mn_lists_will_do(s->top->capacity, is_all && found < needed ? found : needed, passed);
}

/* As many candidates as it takes for the filter to leave enough. */
static mneme_status search_all(const search *s, bool *used)
{
    size_t needed = candidates_for(s->facts, s->top->capacity), most = most_candidates(s->facts), k = needed;
    if (needed > s->facts->n_codes) needed = (size_t)s->facts->n_codes;
    for (;;) {
        int64_t *positions = NULL;
        if (k > s->facts->n_codes) k = (size_t)s->facts->n_codes;
        *used = k <= most;
        s->top->n = 0;
        if (!*used) return MNEME_OK;
        const mn_index_question asked = {s->scan->query, k, effort_for(s->facts, k), NULL};
        mneme_status status = mn_index_search(s->index, &asked, s->arena, &positions, s->error);
        if (status != MNEME_OK) return status;
        size_t passed = offer_found(s, positions, k);
        if (is_enough(s, positions, k, needed, passed) || k == s->facts->n_codes) return MNEME_OK;
        size_t estimate = passed ? k * needed / passed + k / 4 : k * 8;
        k = estimate < 2 * k ? 2 * k : estimate;
    }
}

static bool has_bit(const unsigned char *bits, size_t i)
{
    return ((unsigned)bits[i / 8] >> i % 8 & 1u) != 0;
}

static void set_bit(unsigned char *bits, size_t i)
{
    bits[i / 8] = (unsigned char)(bits[i / 8] | 1u << i % 8);
}

/* One bit for each position whose row lies in the ranges; *n of them. NULL: out of memory. */
static unsigned char *allowed_positions(const search *s, const mn_row_ranges *ranges, size_t *n)
{
    size_t n_rows = s->facts->n_rows, n_codes = (size_t)s->facts->n_codes;
    unsigned char *of_rows = mn_arena_alloc(s->arena, n_rows / 8 + 1);
    unsigned char *allowed = mn_arena_alloc(s->arena, n_codes / 8 + 1);
    const uint32_t *rows = mn_index_rows(s->index);
    *n = 0;
    if (!of_rows || !allowed) return NULL;
    memset(of_rows, 0, n_rows / 8 + 1);
    memset(allowed, 0, n_codes / 8 + 1);
    for (size_t i = 0; i < ranges->n; i++)
        for (uint32_t r = 0; r < ranges->items[i].n && ranges->items[i].first + r < n_rows; r++)
            set_bit(of_rows, ranges->items[i].first + r);
    for (size_t p = 0; p < n_codes; p++)
        if (rows[p] < n_rows && has_bit(of_rows, rows[p])) {
            set_bit(allowed, p);
            (*n)++;
        }
    return allowed;
}

static size_t rows_in(const mn_row_ranges *ranges)
{
    size_t n = 0;
    for (size_t i = 0; i < ranges->n; i++) n += ranges->items[i].n;
    return n;
}

static mneme_status search_ranges_of_lists(const search *s, const mn_row_ranges *ranges, bool *used)
{
    size_t n = 0, k = candidates_for(s->facts, s->top->capacity);
    int64_t *positions = NULL;
    *used = false;
    if (mn_lists_effort_among(s->facts, k, rows_in(ranges)) == 0) return MNEME_OK;
    unsigned char *allowed = allowed_positions(s, ranges, &n);
    if (!allowed) return mn_fail_memory(s->error, "filter");
    uint32_t effort = mn_lists_effort_among(s->facts, k, n);
    if (effort == 0) return MNEME_OK;
    const mn_index_question asked = {s->scan->query, k, effort, allowed};
    mneme_status status = mn_index_search(s->index, &asked, s->arena, &positions, s->error);
    if (status != MNEME_OK) return status;
    *used = is_enough(s, positions, k, k, offer_found(s, positions, k));
    if (!*used) s->top->n = 0;
    return MNEME_OK;
}

/* The effort grows as the share of allowed rows falls: as many allowed ones are to be met. Not worth it when that costs
 * what reading the allowed rows costs. */
static mneme_status search_ranges(const search *s, const mn_row_ranges *ranges, bool *used)
{
    size_t n = 0, k = candidates_for(s->facts, s->top->capacity), share_of = rows_in(ranges);
    size_t effort = effort_for(s->facts, k);
    *used = false;
    if (share_of == 0 || effort * s->facts->n_codes / share_of > share_of / ROWS_PER_CANDIDATE) return MNEME_OK;
    unsigned char *allowed = allowed_positions(s, ranges, &n);
    if (!allowed) return mn_fail_memory(s->error, "filter");
    if (n < k || effort * s->facts->n_codes / n > most_candidates(s->facts)) return MNEME_OK;
    int64_t *positions = NULL;
    const mn_index_question asked = {s->scan->query, k, effort * (size_t)s->facts->n_codes / n, allowed};
    mneme_status status = mn_index_search(s->index, &asked, s->arena, &positions, s->error);
    if (status != MNEME_OK) return status;
    *used = offer_found(s, positions, k) + 10 >= k;
    if (!*used) s->top->n = 0;
    return MNEME_OK;
}

/* ---- what the index does not cover ---- */

static mn_vector_block without_first(const mn_vector_blocks *blocks, mn_vector_block block, uint32_t n)
{
    size_t d = blocks->dimension;
    block.first_row += n;
    block.n_rows -= n;
    if (block.vectors) block.vectors += n * d;
    if (block.halves) block.halves += n * d;
    if (block.scales) block.scales += n;
    if (block.high) block.high += n * d;
    if (block.low) block.low += n * ((d + 1) / 2);
    return block;
}

static bool scan_newer(const search *s)
{
    const mn_vector_blocks *all = s->scan->blocks;
    size_t first = 0, covered = s->facts->n_rows;
    while (first < all->n && all->items[first].first_row + all->items[first].n_rows <= covered) first++;
    if (first == all->n) return true;
    mn_vector_blocks newer = {.n = all->n - first, .dimension = all->dimension, .type = all->type};
    newer.items = mn_arena_array(s->arena, newer.n, sizeof *newer.items);
    if (!newer.items) return false;
    memcpy(newer.items, all->items + first, newer.n * sizeof *newer.items);
    if (newer.items[0].first_row < covered)
        newer.items[0] = without_first(all, newer.items[0], (uint32_t)covered - newer.items[0].first_row);
    mn_scan scan = *s->scan;
    scan.blocks = &newer;
    return mn_scan_top(&scan, s->filter, s->arena, s->top);
}

static bool scan_newer_ranges(const search *s, const mn_row_ranges *ranges)
{
    uint32_t covered = s->facts->n_rows;
    mn_row_ranges newer = {.items = mn_arena_array(s->arena, ranges->n, sizeof *newer.items)};
    if (!newer.items) return false;
    for (size_t i = 0; i < ranges->n; i++) {
        mn_row_range range = ranges->items[i];
        if (range.first + range.n <= covered) continue;
        if (range.first < covered) range = (mn_row_range){covered, range.first + range.n - covered};
        newer.items[newer.n++] = range;
    }
    mn_scan_ranges(s->scan, &newer, s->filter, s->top);
    return true;
}

mneme_status mn_nearest_top(mn_index *index, const mn_scan *scan, const mn_row_ranges *ranges, mn_row_filter *filter,
                            mn_arena *arena, mn_top *top, bool *used, mneme_error *error)
{
    const search s = {index, mn_index_get_facts(index), scan, filter, arena, top, error};
    *used = false;
    if (top->capacity == 0) {
        *used = true;
        return MNEME_OK;
    }
    mneme_status status = MNEME_OK;
    if (!ranges)
        status = search_all(&s, used);
    else if (s.facts->n_lists)
        status = search_ranges_of_lists(&s, ranges, used);
    else
        status = search_ranges(&s, ranges, used);
    if (status != MNEME_OK || !*used) return status;
    bool done = ranges ? scan_newer_ranges(&s, ranges) : scan_newer(&s);
    return done ? MNEME_OK : mn_fail_memory(error, "scan");
}
