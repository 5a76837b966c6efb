/* nearby_words.c -- words of the question around the hits. */
#include "retriever/retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TERMS_MAX = 64 }; /* of a question; those that can give most. Longer questions have enough words of their own */

/* A place whose words count for a hit. */
typedef struct nearby {
    uint32_t row, hit;
    double weight;
} nearby;

typedef struct gathering {
    mn_retrieval *run;
    mn_space_search *search;
    const mn_top *hits;
    nearby *items;
    size_t n;
    int64_t gained[MN_NEARBY_HITS]; /* units of the namespace's BM25 */
} gathering;

mneme_status mn_surroundings_of(mn_retrieval *run, mn_space_search *search, uint32_t row, const mn_surroundings **out)
{
    if (!search->surroundings) {
        search->surroundings = mn_arena_array(run->arena, MN_SURROUNDINGS, sizeof *search->surroundings);
        if (!search->surroundings) return mn_fail_memory(run->error, "neighbours of the hits");
        memset(search->surroundings, 0, MN_SURROUNDINGS * sizeof *search->surroundings);
    }
    mn_surroundings *slot = &search->surroundings[row % MN_SURROUNDINGS];
    *out = slot;
    if (slot->items && slot->row == row) return MNEME_OK;
    uint32_t reach = run->options->neighbour_reach;
    size_t each = 0;
    if (!slot->items && mn_multiply(2, reach, &each)) slot->items = mn_arena_array(run->arena, each, sizeof(mn_near));
    if (!slot->items) return mn_fail_memory(run->error, "neighbours of the hits");
    slot->row = row;
    return mn_near_rows(&search->filter, row, reach, slot->items, &slot->n, run->error);
}

static mn_candidate *candidate_of(const gathering *self, size_t hit)
{
    return &self->run->candidates[self->hits->items[hit].row];
}

static mneme_status look_around(gathering *self, uint32_t hit)
{
    mn_retrieval *run = self->run;
    const mn_surroundings *around;
    uint32_t row = candidate_of(self, hit)->row;
    mneme_status status = mn_surroundings_of(run, self->search, row, &around);
    if (status != MNEME_OK) return status;
    self->items[self->n++] = (nearby){row, hit, 1};
    for (size_t i = 0; i < around->n; i++)
        self->items[self->n++] = (nearby){around->items[i].row, hit,
                                          pow((double)run->options->nearby_words, (double)around->items[i].distance)};
    return MNEME_OK;
}

static int by_row(const void *left, const void *right)
{
    const nearby *a = left, *b = right;
    if (a->row != b->row) return a->row < b->row ? -1 : 1;
    return (a->hit > b->hit) - (a->hit < b->hit);
}

/* What one term gives the hits more than they have of it themselves. */
static void gather(gathering *self, mn_bm25_term *term)
{
    const mn_space_search *search = self->search;
    int64_t own[MN_NEARBY_HITS] = {0}, best[MN_NEARBY_HITS] = {0};
    int64_t gain = 0;
    for (size_t i = 0; i < self->n; i++) {
        const nearby *at = &self->items[i];
        if (i == 0 || at->row != self->items[i - 1].row) {
            uint32_t count = mn_posting_cursor_count(&term->cursor, at->row);
            gain = count ? mn_bm25_gain(&search->bm25, term, count, mn_row_at(&search->rows, at->row)->n_terms) : 0;
        }
        int64_t weighed = (int64_t)((double)gain * at->weight);
        if (at->row == candidate_of(self, at->hit)->row) own[at->hit] = gain;
        if (weighed > best[at->hit]) best[at->hit] = weighed;
    }
    for (size_t hit = 0; hit < MN_NEARBY_HITS; hit++)
        if (best[hit] > own[hit]) self->gained[hit] += best[hit] - own[hit];
}

static mneme_status add_in_space(gathering *self)
{
    const mn_bm25 *bm25 = &self->search->bm25;
    uint32_t ns_index = (uint32_t)(self->search - self->run->spaces);
    for (uint32_t hit = 0; hit < self->hits->n; hit++) {
        if (candidate_of(self, hit)->ns_index != ns_index) continue;
        mneme_status status = look_around(self, hit);
        if (status != MNEME_OK) return status;
    }
    if (self->n == 0) return MNEME_OK;
    qsort(self->items, self->n, sizeof *self->items, by_row);
    for (size_t i = bm25->n > TERMS_MAX ? bm25->n - TERMS_MAX : 0; i < bm25->n; i++) gather(self, bm25->order[i]);
    for (size_t hit = 0; hit < self->hits->n; hit++) {
        mn_candidate *candidate = candidate_of(self, hit);
        if (candidate->ns_index != ns_index || self->gained[hit] == 0) continue;
        candidate->lexical += mn_bm25_share_of(bm25, self->gained[hit]);
        if (candidate->lexical > 1) candidate->lexical = 1;
    }
    return MNEME_OK;
}

mneme_status mn_add_nearby_words(mn_retrieval *run, const mn_top *hits)
{
    size_t each = 0, all = 0;
    bool fits = mn_multiply(run->options->neighbour_reach, 2, &each) && mn_multiply(each + 1, hits->n, &all);
    nearby *items = fits ? mn_arena_array(run->arena, all, sizeof *items) : NULL;
    if (!items) return mn_fail_memory(run->error, "words near the hits");
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < run->n_spaces && status == MNEME_OK; i++) {
        if (!run->spaces[i].has_lexical || run->spaces[i].bm25.n == 0) continue;
        gathering self = {.run = run, .search = &run->spaces[i], .hits = hits, .items = items};
        status = add_in_space(&self);
    }
    return status;
}
