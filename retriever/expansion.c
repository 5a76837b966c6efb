/* expansion.c -- a question's second half: words of its best hits. */
#include "retriever/retrieval.h"
#include "retriever/terms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct weighted_term {
    mn_term term;      /* borrowed from the arena */
    double p, telling; /* telling: p * idf */
    uint32_t n_hits;   /* that have it */
} weighted_term;

typedef struct term_weights {
    weighted_term *items;
    size_t n;
} term_weights;

/* The chunk's own terms, without those that only connect. */
static mneme_status terms_of(mn_retrieval *run, const mn_space_search *search, const mn_candidate *hit,
                             mn_term_list *out)
{
    const mn_row *row = mn_row_at(&search->rows, hit->row);
    mn_buffer text = {0};
    mn_record record;
    mneme_status status = mn_read_record(run->read, search->space->ns, hit->rec, &record, run->error);
    *out = (mn_term_list){0};
    if (status != MNEME_OK) return status;
    mn_record_header(record.title, NULL, &text);
    status = mn_read_text(run->read, search->space->ns, hit->rec, row->start, row->end, &text, run->error);
    if (status == MNEME_OK && text.failed) status = mn_fail_memory(run->error, "text of a hit");
    if (status == MNEME_OK && text.size)
        status =
            run->question->analyze(run->question->analyze_context, text.data, text.size, run->arena, out, run->error);
    mn_buffer_free(&text);
    return status;
}

static int by_term(const void *left, const void *right)
{
    return mn_term_order(&((const weighted_term *)left)->term, &((const weighted_term *)right)->term);
}

static int by_p(const void *left, const void *right)
{
    const weighted_term *a = left, *b = right;
    if (a->p < b->p || a->p > b->p) return a->p > b->p ? -1 : 1;
    return mn_term_order(&a->term, &b->term);
}

static int by_telling(const void *left, const void *right)
{
    const weighted_term *a = left, *b = right;
    if (a->telling < b->telling || a->telling > b->telling) return a->telling > b->telling ? -1 : 1;
    return mn_term_order(&a->term, &b->term);
}

/* Add a hit's terms; both lists are sorted by bytes. */
static bool add(term_weights *all, const mn_term_list *terms, double attention, mn_arena *arena)
{
    weighted_term *items = mn_arena_array(arena, all->n + terms->n, sizeof *items);
    if (!items) return false;
    size_t n = 0;
    for (size_t i = 0, j = 0; i < all->n || j < terms->n;) {
        int side = i == all->n ? 1 : j == terms->n ? -1 : mn_term_order(&all->items[i].term, &terms->items[j]);
        items[n] = side > 0 ? (weighted_term){.term = terms->items[j]} : all->items[i];
        if (side >= 0) {
            items[n].p += attention * terms->items[j].count / (double)terms->total;
            items[n].n_hits++;
        }
        i += side <= 0;
        j += side >= 0;
        n++;
    }
    *all = (term_weights){items, n};
    return true;
}

/* Leave out the question's own terms, and those that too few hits have. */
static void weed(term_weights *all, const mn_term_list *question)
{
    size_t kept = 0;
    for (size_t i = 0, q = 0; i < all->n; i++) {
        while (q < question->n && mn_term_order(&question->items[q], &all->items[i].term) < 0) q++;
        bool asked = q < question->n && mn_term_order(&question->items[q], &all->items[i].term) == 0;
        if (!asked && all->items[i].n_hits >= MN_EXPANSION_AGREE) all->items[kept++] = all->items[i];
    }
    all->n = kept;
}

/* The best first: by p, and of these by p * idf. */
static mneme_status choose(mn_retrieval *run, const mn_space_search *search, term_weights *all)
{
    if (all->n) qsort(all->items, all->n, sizeof *all->items, by_p);
    if (all->n > MN_EXPANSION_LOOKED_AT) all->n = MN_EXPANSION_LOOKED_AT;
    for (size_t i = 0; i < all->n; i++) {
        weighted_term *item = &all->items[i];
        uint64_t n_rows = 0;
        mneme_status status =
            mn_read_term_rows(run->read, search->space->ns, item->term.text, item->term.size, &n_rows, run->error);
        if (status != MNEME_OK) return status;
        item->telling = item->p * mn_bm25_idf(search->space->n_chunks, n_rows);
    }
    if (all->n) qsort(all->items, all->n, sizeof *all->items, by_telling);
    if (all->n > MN_EXPANSION_TERMS) all->n = MN_EXPANSION_TERMS;
    return MNEME_OK;
}

static mneme_status open_expansion(mn_retrieval *run, mn_space_search *search, term_weights *all)
{
    const mn_retrieve_options *options = run->options;
    mn_term terms[MN_EXPANSION_TERMS];
    mn_posting_cursor cursors[MN_EXPANSION_TERMS];
    mn_term_list list = {.items = terms, .n = all->n};
    mn_bm25 *expansion = &search->expansion;
    qsort(all->items, all->n, sizeof *all->items, by_term); /* as mn_bm25_run has them */
    for (size_t i = 0; i < all->n; i++) terms[i] = all->items[i].term;
    mneme_status status = mn_read_posting_cursors(run->read, search->space->ns, &list, run->arena, cursors, run->error);
    if (status != MNEME_OK) return status;
    bool enough = mn_bm25_init(expansion, search->space, &search->rows, options->k1, options->b, run->arena);
    for (size_t i = 0; i < all->n && enough; i++) enough = mn_bm25_add(expansion, &cursors[i], all->items[i].p);
    if (!enough || !mn_bm25_ready(expansion)) return mn_fail_memory(run->error, "words of the hits");
    search->has_expansion = expansion->n > 0;
    return MNEME_OK;
}

mneme_status mn_expand(mn_retrieval *run, mn_space_search *search, const mn_candidate *hits, const double *attention,
                       size_t n)
{
    term_weights all = {NULL, 0};
    for (size_t i = 0; i < n; i++) {
        mn_term_list terms;
        mneme_status status = terms_of(run, search, &hits[i], &terms);
        if (status != MNEME_OK) return status;
        if (!add(&all, &terms, attention[i], run->arena)) return mn_fail_memory(run->error, "words of the hits");
    }
    weed(&all, &run->terms);
    mneme_status status = choose(run, search, &all);
    return status == MNEME_OK && all.n ? open_expansion(run, search, &all) : status;
}
