/* feedback.c -- the question refined by its best hits: its vector here, its words in expansion.c; and what it finds
 * then. Sums in double and in the order of the hits. */
#include "retriever/retrieval.h"

#include <math.h>
#include <stdlib.h>

/* Rows that the words of the best bring in, at least k. 40, 100 and 200 gave the same recall and nDCG within 0.002. */
enum { EXPANDED_HITS = 50 };

/* One namespace: its candidates first .. first + n - 1, and the best of them. */
typedef struct refinement {
    mn_retrieval *run;
    mn_space_search *search;
    size_t first, n;
    const mn_candidate *hits[MN_FEEDBACK_HITS]; /* best first */
    double attention[MN_FEEDBACK_HITS];
    size_t n_hits;
    const mn_bm25 *expansions[2];      /* the search's, and one for a second thread: a twin where there is a crew */
    float *shares;                     /* the expansion's, of each candidate */
    mn_buffer texts[MN_FEEDBACK_HITS]; /* of the hits */
    mneme_status status;               /* of reading them */
} refinement;

static void attend(refinement *r)
{
    double scale = (double)r->run->options->feedback_scale, highest = (double)r->hits[0]->own, sum = 0;
    for (size_t i = 1; i < r->n_hits; i++)
        if ((double)r->hits[i]->own > highest) highest = (double)r->hits[i]->own;
    for (size_t i = 0; i < r->n_hits; i++) sum += r->attention[i] = exp(scale * ((double)r->hits[i]->own - highest));
    for (size_t i = 0; i < r->n_hits; i++) r->attention[i] /= sum;
}

static mneme_status choose_hits(refinement *r)
{
    mn_top best;
    mneme_status status = mn_best_candidates(r->run, r->first, r->n, MN_FEEDBACK_HITS, &best);
    if (status != MNEME_OK) return status;
    r->n_hits = best.n;
    for (size_t i = 0; i < best.n; i++) r->hits[i] = &r->run->candidates[best.items[i].row];
    if (best.n) attend(r);
    return MNEME_OK;
}

/* ---- the vector ---- */

/* q' in the arena; NULL with status OK: the hits have no vectors, or cancel it. */
static mneme_status refine_vector(const refinement *r, float **out)
{
    mn_retrieval *run = r->run;
    const mn_vector_blocks *vectors = &r->search->vectors;
    uint32_t dimension = vectors->dimension;
    double *sum = mn_arena_array(run->arena, dimension, sizeof *sum), squares = 0;
    float *vector = mn_arena_array(run->arena, dimension, sizeof *vector);
    *out = NULL;
    if (!sum || !vector) return mn_fail_memory(run->error, "refined question");
    for (uint32_t d = 0; d < dimension; d++) sum[d] = (double)run->question->vector[d];
    bool any = false;
    for (size_t i = 0; i < r->n_hits; i++) {
        if (!r->hits[i]->has_vector || !mn_vector_of(vectors, r->hits[i]->row, vector)) continue;
        any = true;
        for (uint32_t d = 0; d < dimension; d++)
            sum[d] += (double)run->options->feedback_weight * r->attention[i] * (double)vector[d];
    }
    for (uint32_t d = 0; d < dimension; d++) squares += sum[d] * sum[d];
    if (!any || !(squares > 1e-12) || !isfinite(squares)) return MNEME_OK;
    for (uint32_t d = 0; d < dimension; d++) vector[d] = (float)(sum[d] / sqrt(squares));
    *out = vector;
    return MNEME_OK;
}

static mneme_status open_feedback(refinement *r)
{
    const mn_retrieve_options *options = r->run->options;
    mn_space_search *search = r->search;
    float *vector;
    if (!search->has_dense || !(options->feedback_weight > 0)) return MNEME_OK;
    mneme_status status = refine_vector(r, &vector);
    if (status != MNEME_OK) return status;
    search->has_feedback = vector != NULL;
    if (vector &&
        !mn_scan_init(&search->feedback, &search->vectors, vector, options->kernels, options->n_threads, r->run->arena))
        return mn_fail_memory(r->run->error, "refined question");
    return MNEME_OK;
}

/* ---- new scores ---- */

float mn_expanded_score(const mn_retrieval *run, float lexical, float share)
{
    float weight = run->options->expansion_weight;
    return (lexical + weight * share) / (1 + weight);
}

enum { TEXTS, VECTORS, N_PARTS, FETCH_AHEAD = 8 };

/* Vectors lie all over memory, and in another core's cache: they are asked for a few rows ahead. */
static void rescore_vectors(const refinement *r)
{
    mn_candidate *candidates = r->run->candidates + r->first;
    for (size_t i = 0; i < r->n; i++) {
        bool has_vector;
        if (i + FETCH_AHEAD < r->n) mn_scan_fetch(&r->search->feedback, candidates[i + FETCH_AHEAD].row);
        if (candidates[i].has_vector)
            candidates[i].dense = mn_dense_score(&r->search->feedback, candidates[i].row, &has_vector);
    }
}

static bool expands(const refinement *r)
{
    return r->search->has_lexical && r->run->options->expansion_weight > 0;
}

/* The hits' texts, which come from the store, and the candidates' products, which need nothing of it. */
static void run_part(void *context, unsigned part, unsigned worker)
{
    (void)worker;
    refinement *r = context;
    if (part == TEXTS && expands(r)) r->status = mn_read_hit_texts(r->run, r->search, r->hits, r->n_hits, r->texts);
    if (part == VECTORS && r->search->has_feedback) rescore_vectors(r);
}

/* Both parts, and then the second question that the texts make. */
static mneme_status refine_question(refinement *r)
{
    mn_crew_run(r->run->options->crew, N_PARTS, run_part, r);
    mneme_status status = r->status;
    if (status == MNEME_OK && expands(r)) status = mn_expand(r->run, r->search, r->texts, r->attention, r->n_hits);
    for (size_t i = 0; i < r->n_hits; i++) mn_buffer_free(&r->texts[i]);
    return status;
}

static bool open_twin(refinement *r)
{
    const mn_bm25 *own = &r->search->expansion;
    r->expansions[0] = r->expansions[1] = own;
    if (!r->run->options->crew) return true;
    mn_bm25 *twin = mn_arena_alloc(r->run->arena, sizeof *twin);
    r->expansions[1] = twin;
    return twin && mn_bm25_twin(own, r->run->arena, twin);
}

/* Half of the candidates' new lexical scores. */
static void rescore_half(void *context, unsigned half, unsigned worker)
{
    (void)worker;
    refinement *r = context;
    size_t first = half ? r->n / 2 : 0, end = half ? r->n : r->n / 2;
    for (size_t i = first; i < end; i++) {
        mn_candidate *candidate = &r->run->candidates[r->first + i];
        r->shares[i] = mn_bm25_share(r->expansions[half], candidate->row);
        candidate->lexical = mn_expanded_score(r->run, candidate->lexical, r->shares[i]);
    }
}

/* All of them, and a share that as many candidates reach as rows are wanted (0: there are not so many). */
static mneme_status rescore_all(refinement *r, size_t wanted, float *known)
{
    mn_retrieval *run = r->run;
    mn_top best;
    r->shares = mn_arena_array(run->arena, r->n, sizeof *r->shares);
    if (!r->shares || !mn_top_init(&best, wanted, run->arena) || !open_twin(r))
        return mn_fail_memory(run->error, "words of the hits");
    mn_crew_run(run->options->crew, 2, rescore_half, r);
    for (size_t i = 0; i < r->n; i++) {
        uint32_t row = run->candidates[r->first + i].row;
        if (mn_top_wants(&best, r->shares[i], row)) mn_top_put(&best, r->shares[i], row);
    }
    *known = best.n && best.n == best.capacity ? best.items[0].score : 0;
    return MNEME_OK;
}

/* ---- rows that only the refined question finds ---- */

/* A part of the namespace's rows, and the best of them by the expansion. */
typedef struct row_part {
    const mn_bm25 *expansion; /* the search's, or its twin */
    uint32_t first, end;
    mn_top top;
} row_part;

typedef struct expanded_search {
    mn_row_filter *filter;
    float known;
    row_part parts[2];
} expanded_search;

static void search_part(void *context, unsigned part, unsigned worker)
{
    (void)worker;
    expanded_search *s = context;
    row_part *p = &s->parts[part];
    mn_bm25_top_between(p->expansion, p->first, p->end, s->filter, s->known, &p->top);
}

/* The rows with the most of the expansion's words into `top`: on two threads, each with one half of the rows, where no
 * filter has to be asked. */
static mneme_status search_expansion(const refinement *r, float known, mn_top *top)
{
    mn_retrieval *run = r->run;
    mn_space_search *search = r->search;
    uint32_t n_rows = search->rows.n_rows, half = n_rows / 2 - n_rows / 2 % MN_BM25_WINDOW;
    if (search->restricted || !run->options->crew || run->options->accept || half == 0) {
        if (search->restricted)
            mn_bm25_ranges(&search->expansion, &search->ranges, &search->filter, top);
        else
            mn_bm25_top(&search->expansion, &search->filter, known, top);
        return search->filter.status;
    }
    expanded_search s = {.filter = &search->filter, .known = known};
    s.parts[0] = (row_part){.expansion = r->expansions[0], .first = 0, .end = half, .top = *top};
    s.parts[1] = (row_part){.expansion = r->expansions[1], .first = half, .end = n_rows};
    if (!mn_top_init(&s.parts[1].top, top->capacity, run->arena)) return mn_fail_memory(run->error, "candidates");
    mn_crew_run(run->options->crew, 2, search_part, &s);
    *top = s.parts[0].top;
    for (size_t i = 0; i < s.parts[1].top.n; i++) {
        const mn_scored *row = &s.parts[1].top.items[i];
        if (mn_top_wants(top, row->score, row->row)) mn_top_put(top, row->score, row->row);
    }
    return MNEME_OK;
}

/* The rows with the most of the expansion's words come in behind the candidates, where they are none yet. n: candidates
 * before any came in. */
static mneme_status add_expanded(const refinement *r, size_t n, size_t wanted, float known)
{
    mn_retrieval *run = r->run;
    mn_space_search *search = r->search;
    mn_top top;
    if (!mn_top_init(&top, wanted, run->arena)) return mn_fail_memory(run->error, "candidates");
    mneme_status status = search_expansion(r, known, &top);
    if (status != MNEME_OK) return status;
    mn_new_row *rows = mn_arena_array(run->arena, top.n, sizeof *rows);
    if (!rows) return mn_fail_memory(run->error, "candidates");
    if (top.n) qsort(top.items, top.n, sizeof *top.items, mn_scored_by_row);
    size_t n_new = 0;
    for (size_t i = 0; i < top.n; i++)
        if (!mn_candidate_at(run, n, (uint32_t)(search - run->spaces), top.items[i].row))
            rows[n_new++] = (mn_new_row){.row = top.items[i].row};
    return mn_add_candidates(run, search, rows, n_new);
}

/* n: candidates before any came in. */
static mneme_status refine_space(refinement *r, size_t n)
{
    mn_retrieval *run = r->run;
    const mn_space_search *search = r->search;
    mneme_status status = choose_hits(r);
    if (status == MNEME_OK) status = open_feedback(r);
    if (status != MNEME_OK) return status;
    status = refine_question(r);
    if (status != MNEME_OK || !search->has_expansion) return status;
    size_t wanted = run->options->k > EXPANDED_HITS ? run->options->k : EXPANDED_HITS;
    if (wanted > search->rows.n_rows) wanted = search->rows.n_rows;
    float known = 0;
    status = rescore_all(r, wanted, &known);
    return status == MNEME_OK ? add_expanded(r, n, wanted, known) : status;
}

mneme_status mn_refine(mn_retrieval *run)
{
    size_t n = run->n; /* what comes in is put behind these */
    for (size_t first = 0, next; first < n; first = next) {
        uint32_t ns_index = run->candidates[first].ns_index;
        for (next = first; next < n && run->candidates[next].ns_index == ns_index; next++) {
        }
        refinement r = {.run = run, .search = &run->spaces[ns_index], .first = first, .n = next - first};
        mneme_status status = refine_space(&r, n);
        if (status != MNEME_OK) return status;
    }
    return mn_settle_candidates(run, n);
}
