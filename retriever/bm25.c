/* bm25.c -- term at a time into one accumulator per row. */
#include "retriever/bm25.h"

#include <math.h>
#include <string.h>

bool mn_bm25_init(mn_bm25 *bm25, const mn_namespace *space, const mn_rows *rows, double k1, double b, mn_arena *arena)
{
    *bm25 = (mn_bm25){.n_chunks = space->n_chunks, .k1 = k1, .b = b};
    if (space->n_chunks) bm25->mean_terms = (double)space->n_terms / (double)space->n_chunks;
    bm25->scores = mn_arena_array(arena, rows->n_rows, sizeof *bm25->scores);
    if (bm25->scores) memset(bm25->scores, 0, rows->n_rows * sizeof *bm25->scores);
    return bm25->scores != NULL;
}

static double idf(uint64_t n_chunks, uint64_t df)
{
    double rest = n_chunks > df ? (double)(n_chunks - df) : 0;
    return log1p((rest + 0.5) / ((double)df + 0.5));
}

void mn_bm25_add(mn_bm25 *bm25, const mn_rows *rows, const mn_posting *postings, size_t n, uint32_t count)
{
    double weight = idf(bm25->n_chunks, n) * (bm25->k1 + 1) * count;
    double per_term = bm25->mean_terms > 0 ? bm25->k1 * bm25->b / bm25->mean_terms : 0;
    double fixed = bm25->k1 * (1 - bm25->b);
    bm25->most += weight;
    for (size_t i = 0; i < n; i++) {
        uint32_t row = postings[i].row;
        if (row >= rows->n_rows) continue; /* damage that `check` names; here it must only not be followed */
        double f = postings[i].count;
        bm25->scores[row] += (float)(weight * f / (f + fixed + per_term * mn_row_at(rows, row)->n_terms));
    }
}

float mn_bm25_share(const mn_bm25 *bm25, uint32_t row)
{
    if (!(bm25->most > 0)) return 0;
    double share = bm25->scores[row] / bm25->most;
    return share < 1 ? (float)share : 1;
}

mneme_status mn_bm25_run(mn_bm25 *bm25, mn_read *read, uint32_t ns, const mn_rows *rows, const mn_term_list *terms,
                         mn_arena *arena, mneme_error *error)
{
    for (size_t i = 0; i < terms->n; i++) {
        const mn_term *term = &terms->items[i];
        mn_posting *postings = NULL;
        size_t n = 0;
        mneme_status status = mn_read_postings(read, ns, term->text, term->size, arena, &postings, &n, error);
        if (status != MNEME_OK) return status;
        mn_bm25_add(bm25, rows, postings, n, term->count);
    }
    return MNEME_OK;
}

void mn_bm25_top(const mn_bm25 *bm25, mn_row_filter *filter, mn_top *top)
{
    for (uint32_t row = 0; row < filter->rows->n_rows; row++)
        if (bm25->scores[row] > 0 && mn_top_wants(top, bm25->scores[row], row) && mn_row_filter_passes(filter, row))
            mn_top_put(top, bm25->scores[row], row);
}
