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

mneme_status mn_read_hit_texts(const mn_retrieval *run, const mn_space_search *search, const mn_candidate *const *hits,
                               size_t n, mn_buffer *texts)
{
    for (size_t i = 0; i < n; i++) {
        const mn_row *row = mn_row_at(&search->rows, hits[i]->row);
        mn_record record;
        mneme_status status = mn_read_record(run->read, search->space->ns, hits[i]->rec, &record, run->error);
        if (status != MNEME_OK) return status;
        mn_record_header(record.title, NULL, &texts[i]);
        status = mn_read_text(run->read, search->space->ns, hits[i]->rec, row->start, row->end, &texts[i], run->error);
        if (status == MNEME_OK && texts[i].failed) status = mn_fail_memory(run->error, "text of a hit");
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

/* The hits' own terms, without those that only connect. */
typedef struct hit_terms {
    mn_retrieval *run;
    const mn_buffer *texts;
    mn_term_list lists[MN_FEEDBACK_HITS];
    mneme_status status[MN_FEEDBACK_HITS];
    mneme_error error[MN_FEEDBACK_HITS];
} hit_terms;

static void analyze_text(void *context, unsigned hit, unsigned worker)
{
    hit_terms *terms = context;
    const mn_question *question = terms->run->question;
    const mn_buffer *text = &terms->texts[hit];
    if (text->size)
        terms->status[hit] = question->analyze(question->analyze_context, text->data, text->size,
                                               mn_arena_of(terms->run, worker), &terms->lists[hit], &terms->error[hit]);
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

/* Put a value among the n highest so far, highest first. */
static void note_highest(double *highest, size_t n, double value)
{
    for (size_t i = 0; i < n; i++) {
        if (!(value > highest[i])) continue;
        double lower = highest[i];
        highest[i] = value;
        value = lower;
    }
}

/* The best first, by p * idf. Terms are looked up in the order of their p, until none can be among the best any more:
 * as many rows as hits have each of them. */
static mneme_status choose(mn_retrieval *run, const mn_space_search *search, term_weights *all)
{
    uint64_t n_chunks = search->space->n_chunks;
    double highest[MN_EXPANSION_TERMS] = {0}, most_idf = mn_bm25_idf(n_chunks, MN_EXPANSION_AGREE);
    size_t n = 0;
    if (all->n) qsort(all->items, all->n, sizeof *all->items, by_p);
    for (; n < all->n && n < MN_EXPANSION_LOOKED_AT; n++) {
        weighted_term *item = &all->items[n];
        uint64_t n_rows = 0;
        if (item->p * most_idf < highest[MN_EXPANSION_TERMS - 1]) break;
        mneme_status status =
            mn_read_term_rows(run->read, search->space->ns, item->term.text, item->term.size, &n_rows, run->error);
        if (status != MNEME_OK) return status;
        item->telling = item->p * mn_bm25_idf(n_chunks, n_rows);
        note_highest(highest, MN_EXPANSION_TERMS, item->telling);
    }
    all->n = n;
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
    mneme_status status =
        mn_read_posting_cursors(run->read, search->space->ns, &list, options->crew, run->arena, cursors, run->error);
    if (status != MNEME_OK) return status;
    bool enough = mn_bm25_init(expansion, search->space, &search->rows, options->k1, options->b, run->arena);
    for (size_t i = 0; i < all->n && enough; i++) enough = mn_bm25_add(expansion, &cursors[i], all->items[i].p);
    if (!enough || !mn_bm25_ready(expansion)) return mn_fail_memory(run->error, "words of the hits");
    search->has_expansion = expansion->n > 0;
    return MNEME_OK;
}

mneme_status mn_expand(mn_retrieval *run, mn_space_search *search, const mn_buffer *texts, const double *attention,
                       size_t n)
{
    term_weights all = {NULL, 0};
    hit_terms terms = {.run = run, .texts = texts};
    mn_crew_run(run->options->crew, (unsigned)n, analyze_text, &terms);
    for (size_t i = 0; i < n; i++) {
        if (terms.status[i] != MNEME_OK) {
            if (run->error) *run->error = terms.error[i];
            return terms.status[i];
        }
        if (!add(&all, &terms.lists[i], attention[i], run->arena))
            return mn_fail_memory(run->error, "words of the hits");
    }
    weed(&all, &run->terms);
    mneme_status status = choose(run, search, &all);
    return status == MNEME_OK && all.n ? open_expansion(run, search, &all) : status;
}
