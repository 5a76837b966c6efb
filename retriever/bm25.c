/* bm25.c -- the terms of a question with their weights, and the score of one row. The best of all rows: bm25_top.c. */
#include "retriever/bm25.h"

#include <math.h>
#include <stdlib.h>

#define UNITS 1073741824.0 /* 2^30: a sum of many rounded numbers stays below 2^31 */

bool mn_bm25_init(mn_bm25 *bm25, const mn_namespace *space, const mn_rows *rows, double k1, double b, mn_arena *arena)
{
    *bm25 = (mn_bm25){.arena = arena, .rows = rows, .n_chunks = space->n_chunks, .k1 = k1, .fixed = k1 * (1 - b)};
    if (space->n_chunks && space->n_terms) bm25->per_term = k1 * b / ((double)space->n_terms / (double)space->n_chunks);
    return true;
}

double mn_bm25_idf(uint64_t n_chunks, uint64_t df)
{
    double rest = n_chunks > df ? (double)(n_chunks - df) : 0;
    return log1p((rest + 0.5) / ((double)df + 0.5));
}

static bool reserve(mn_bm25 *bm25, size_t n)
{
    if (n <= bm25->capacity) return true;
    size_t capacity = n > bm25->capacity * 2 ? n : bm25->capacity * 2;
    mn_bm25_term *terms = mn_arena_array(bm25->arena, capacity, sizeof *terms);
    if (!terms) return false;
    for (size_t i = 0; i < bm25->n; i++) terms[i] = bm25->terms[i];
    bm25->terms = terms;
    bm25->capacity = capacity;
    return true;
}

bool mn_bm25_add(mn_bm25 *bm25, const mn_posting_cursor *postings, double count)
{
    double weight = mn_bm25_idf(bm25->n_chunks, postings->n_rows) * (bm25->k1 + 1) * count;
    bm25->most += weight;
    if (postings->n_rows == 0) return true;
    if (!reserve(bm25, bm25->n + 1)) return false;
    bm25->terms[bm25->n++] = (mn_bm25_term){.cursor = *postings, .weight = weight};
    return true;
}

/* ---- ready ---- */

static int by_most(const void *left, const void *right)
{
    const mn_bm25_term *a = *(mn_bm25_term *const *)left, *b = *(mn_bm25_term *const *)right;
    if (a->most != b->most) return a->most < b->most ? -1 : 1;
    return (a > b) - (a < b);
}

/* A row has a term as often as the list's highest count, or less, and is at least that long. */
static int32_t bound(const mn_bm25 *bm25, const mn_bm25_term *term)
{
    double f = term->cursor.most_count;
    return (int32_t)ceil(term->weight * f / (f + bm25->fixed + bm25->per_term * f)) + 1;
}

static const int32_t *table(const mn_bm25 *bm25, const mn_bm25_term *term)
{
    int32_t *one = mn_arena_array(bm25->arena, MN_BM25_LENGTHS, sizeof *one);
    for (uint32_t length = 0; one && length < MN_BM25_LENGTHS; length++)
        one[length] = mn_bm25_gain(bm25, term, 1, length);
    return one;
}

bool mn_bm25_ready(mn_bm25 *bm25)
{
    double present = 0;
    for (size_t i = 0; i < bm25->n; i++) present += bm25->terms[i].weight;
    bm25->unit = bm25->n ? present / UNITS / bm25->most : 0;
    bm25->order = mn_arena_array(bm25->arena, bm25->n, sizeof *bm25->order);
    bm25->below = mn_arena_array(bm25->arena, bm25->n + 1, sizeof *bm25->below);
    if (!bm25->order || !bm25->below) return false;
    for (size_t i = 0; i < bm25->n; i++) {
        mn_bm25_term *term = bm25->order[i] = &bm25->terms[i];
        term->weight *= UNITS / present;
        term->most = bound(bm25, term);
        if (term->cursor.n_rows > MN_BM25_LENGTHS && !(term->one = table(bm25, term))) return false;
    }
    if (bm25->n) qsort(bm25->order, bm25->n, sizeof *bm25->order, by_most);
    bm25->below[0] = 0;
    for (size_t i = 0; i < bm25->n; i++) bm25->below[i + 1] = bm25->below[i] + bm25->order[i]->most;
    return true;
}

bool mn_bm25_twin(const mn_bm25 *bm25, mn_arena *arena, mn_bm25 *out)
{
    *out = *bm25;
    out->arena = arena;
    out->terms = mn_arena_array(arena, bm25->n, sizeof *out->terms);
    out->order = mn_arena_array(arena, bm25->n, sizeof *out->order);
    if (!out->terms || !out->order) return false;
    for (size_t i = 0; i < bm25->n; i++) {
        out->terms[i] = bm25->terms[i];
        out->order[i] = out->terms + (bm25->order[i] - bm25->terms);
        if (!mn_posting_cursor_twin(&bm25->terms[i].cursor, arena, &out->terms[i].cursor)) return false;
    }
    return true;
}

mneme_status mn_bm25_run(mn_bm25 *bm25, mn_read *read, uint32_t ns, const mn_rows *rows, const mn_term_list *terms,
                         mn_arena *arena, mneme_error *error)
{
    bm25->rows = rows;
    mn_posting_cursor *cursors = mn_arena_array(arena, terms->n, sizeof *cursors);
    if (!cursors) return mn_fail_memory(error, "postings");
    mneme_status status = mn_read_posting_cursors(read, ns, terms, NULL, arena, cursors, error);
    bool enough = true;
    for (size_t i = 0; i < terms->n && status == MNEME_OK && enough; i++)
        enough = mn_bm25_add(bm25, &cursors[i], terms->items[i].count);
    if (status == MNEME_OK && !(enough && mn_bm25_ready(bm25))) status = mn_fail_memory(error, "lexical scores");
    return status;
}

/* ---- one row ---- */

float mn_bm25_share(const mn_bm25 *bm25, uint32_t row)
{
    uint32_t length = mn_row_at(bm25->rows, row)->n_terms;
    int64_t sum = 0;
    for (size_t i = 0; i < bm25->n; i++) {
        uint32_t count = mn_posting_cursor_count(&bm25->terms[i].cursor, row);
        if (count) sum += mn_bm25_gain(bm25, &bm25->terms[i], count, length);
    }
    return mn_bm25_share_of(bm25, sum);
}
