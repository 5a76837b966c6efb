/* candidates.c -- the best rows of each side, united; and the order in which candidates are kept and picked.
 *
 *     candidates   | namespace 0: row 3, row 17, ... | namespace 1: ... |   always by place: namespace, then row
 *     what a step brings in goes behind them, and is merged in place when the step ends (mn_settle_candidates)
 *     the best     numbers of the m with the highest scores (mn_best_candidates): candidates are large, and stay */
#include "retriever/nearest.h"
#include "retriever/retrieval.h"

#include <stdlib.h>
#include <string.h>

/* FEW: rows that are measured before another thread has heard of them. */
enum { FETCH_AHEAD = 6, FEW = 8 };

static mneme_status reserve(mn_retrieval *run, size_t extra)
{
    if (run->capacity - run->n >= extra) return MNEME_OK;
    size_t capacity = run->n + extra > run->capacity * 2 ? run->n + extra : run->capacity * 2;
    mn_candidate *larger = mn_arena_array(run->arena, capacity, sizeof *larger);
    if (!larger) return mn_fail_memory(run->error, "candidates");
    if (run->n) memcpy(larger, run->candidates, run->n * sizeof *larger);
    run->candidates = larger;
    run->capacity = capacity;
    return MNEME_OK;
}

float mn_candidate_score(const mn_candidate *candidate)
{
    return candidate->own + candidate->neighbour + (candidate->parts.speaker + candidate->parts.time);
}

static int by_place(const void *left, const void *right)
{
    const mn_candidate *a = left, *b = right;
    if (a->ns_index != b->ns_index) return a->ns_index < b->ns_index ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

mn_candidate *mn_candidate_at(const mn_retrieval *run, size_t n, uint32_t ns_index, uint32_t row)
{
    const mn_candidate key = {.ns_index = ns_index, .row = row};
    return n ? bsearch(&key, run->candidates, n, sizeof key, by_place) : NULL;
}

mneme_status mn_settle_candidates(mn_retrieval *run, size_t n)
{
    size_t n_new = run->n - n;
    if (n_new == 0) return MNEME_OK;
    mn_candidate *added = mn_arena_copy(run->arena, run->candidates + n, n_new * sizeof *added);
    if (!added) return mn_fail_memory(run->error, "candidates");
    for (size_t at = run->n; n_new > 0; at--) {
        bool old_is_later = n > 0 && by_place(&run->candidates[n - 1], &added[n_new - 1]) > 0;
        run->candidates[at - 1] = old_is_later ? run->candidates[--n] : added[--n_new];
    }
    return MNEME_OK;
}

mneme_status mn_best_candidates(const mn_retrieval *run, size_t first, size_t n, size_t m, mn_top *out)
{
    if (!mn_top_init(out, m < n ? m : n, run->arena)) return mn_fail_memory(run->error, "candidates");
    for (size_t i = first; i < first + n; i++) {
        float score = mn_candidate_score(&run->candidates[i]);
        if (mn_top_wants(out, score, (uint32_t)i)) mn_top_put(out, score, (uint32_t)i);
    }
    mn_top_sort(out);
    return MNEME_OK;
}

/* ---- new candidates --------------------------------------------------------------------------------------------- */

/* A cosine as a score. */
static float dense_score(float cosine)
{
    return cosine < 0 ? 0 : cosine > 1 ? 1 : cosine; /* above 1: by rounding */
}

float mn_dense_score(const mn_scan *scan, uint32_t row, bool *has_vector)
{
    return dense_score(mn_scan_one(scan, row, has_vector));
}

typedef struct new_rows {
    mn_space_search *search;
    mn_new_row *rows;
    size_t n;
} new_rows;

enum { PRODUCTS, WORDS, N_MEASURES };

/* Vectors lie all over memory: they are asked for a few rows ahead. From the last row on, since the words are measured
 * from the first one on: two threads that write side by side wait for each other's cache lines. */
static void measure_products(const mn_space_search *search, mn_new_row *rows, size_t n)
{
    for (size_t i = search->has_dense ? n : 0; i-- > 0;) {
        bool ahead = i >= FETCH_AHEAD && (search->has_feedback || !rows[i - FETCH_AHEAD].knows_cosine);
        if (ahead) mn_scan_fetch(&search->scan, rows[i - FETCH_AHEAD].row);
        if (!rows[i].knows_cosine) rows[i].cosine = mn_scan_one(&search->scan, rows[i].row, &rows[i].has_vector);
        if (search->has_feedback && rows[i].has_vector)
            rows[i].feedback = mn_scan_one(&search->feedback, rows[i].row, &rows[i].has_vector);
    }
}

static void measure_words(const mn_space_search *search, mn_new_row *rows, size_t n)
{
    for (size_t i = 0; search->has_lexical && i < n; i++)
        if (!rows[i].knows_share) rows[i].share = mn_bm25_share(&search->bm25, rows[i].row);
    for (size_t i = 0; search->has_expansion && i < n; i++)
        rows[i].expansion = mn_bm25_share(&search->expansion, rows[i].row);
}

static void measure(void *context, unsigned part, unsigned worker)
{
    (void)worker;
    const new_rows *new = context;
    if (part == PRODUCTS) measure_products(new->search, new->rows, new->n);
    if (part == WORDS) measure_words(new->search, new->rows, new->n);
}

static mn_candidate candidate_of(const mn_retrieval *run, const mn_space_search *search, const mn_new_row *row)
{
    mn_candidate candidate = {.ns_index = (uint32_t)(search - run->spaces),
                              .row = row->row,
                              .rec = mn_row_at(&search->rows, row->row)->rec,
                              .has_vector = row->has_vector,
                              .cosine = dense_score(row->cosine),
                              .share = row->share};
    candidate.dense = search->has_feedback && row->has_vector ? dense_score(row->feedback) : candidate.cosine;
    candidate.lexical = search->has_expansion ? mn_expanded_score(run, row->share, row->expansion) : row->share;
    return candidate;
}

mneme_status mn_add_candidates(mn_retrieval *run, mn_space_search *search, mn_new_row *rows, size_t n)
{
    new_rows new = {search, rows, n};
    mneme_status status = reserve(run, n);
    if (status != MNEME_OK) return status;
    mn_crew_run(n < FEW ? NULL : run->options->crew, N_MEASURES, measure, &new);
    for (size_t i = 0; i < n; i++) run->candidates[run->n++] = candidate_of(run, search, &rows[i]);
    return MNEME_OK;
}

/* The union of the two lists, which are sorted by row for it. */
static mneme_status unite(mn_retrieval *run, mn_space_search *search, mn_top *dense, mn_top *lexical)
{
    mn_new_row *rows = mn_arena_array(run->arena, dense->n + lexical->n, sizeof *rows);
    size_t n = 0;
    if (!rows) return mn_fail_memory(run->error, "candidates");
    if (dense->n) qsort(dense->items, dense->n, sizeof *dense->items, mn_scored_by_row);
    if (lexical->n) qsort(lexical->items, lexical->n, sizeof *lexical->items, mn_scored_by_row);
    for (size_t i = 0, j = 0; i < dense->n || j < lexical->n; n++) {
        uint32_t left = i < dense->n ? dense->items[i].row : UINT32_MAX;
        uint32_t right = j < lexical->n ? lexical->items[j].row : UINT32_MAX;
        rows[n] = (mn_new_row){.row = left < right ? left : right};
        if (left == rows[n].row) {
            rows[n].knows_cosine = rows[n].has_vector = true;
            rows[n].cosine = dense->items[i++].score;
        }
        if (right == rows[n].row) {
            rows[n].knows_share = true;
            rows[n].share = lexical->items[j++].score;
        }
    }
    return mn_add_candidates(run, search, rows, n);
}

/* ---- one namespace ---------------------------------------------------------------------------------------------- */

static mneme_status open_dense(mn_retrieval *run, mn_space_search *search)
{
    const mn_question *question = run->question;
    const mn_namespace *space = search->space;
    if (run->options->mode == MNEME_MODE_LEXICAL || !question->vector || space->dimension == 0 ||
        space->dimension != question->dimension)
        return MNEME_OK;
    search->has_dense = true;
    mneme_status status = mn_read_vectors(run->read, space->ns, run->arena, &search->vectors, run->error);
    if (status != MNEME_OK) return status;
    bool ready = mn_scan_init(&search->scan, &search->vectors, question->vector, run->options->kernels,
                              run->options->n_threads, run->arena);
    return ready ? MNEME_OK : mn_fail_memory(run->error, "question");
}

static mneme_status open_lexical(mn_retrieval *run, mn_space_search *search)
{
    const mn_retrieve_options *options = run->options;
    if (!mn_bm25_init(&search->bm25, search->space, &search->rows, options->k1, options->b, run->arena))
        return mn_fail_memory(run->error, "lexical scores");
    return mn_bm25_run(&search->bm25, run->read, search->space->ns, &search->rows, &run->terms, run->arena, run->error);
}

/* Which records the filter leaves, where that is known beforehand. recs: {0}, mn_free in any case. */
static mneme_status restrict_records(mn_retrieval *run, mn_space_search *search, mn_recs *recs)
{
    const mn_retrieve_options *options = run->options;
    if (!options->candidates) return MNEME_OK;
    return options->candidates(options->accept_context, run->read, search->space, &search->restricted, recs,
                               run->error);
}

static mneme_status restrict_rows(mn_retrieval *run, mn_space_search *search, const mn_recs *recs)
{
    if (!search->restricted) return MNEME_OK;
    search->ranges.items = mn_arena_array(run->arena, recs->n, sizeof *search->ranges.items);
    if (!search->ranges.items) return mn_fail_memory(run->error, "rows of a filter");
    return mn_row_ranges_find(run->read, search->space->ns, &search->rows, recs, &search->ranges, run->error);
}

/* ---- both sides of one namespace; a side works on its own ---- */

typedef struct sides {
    mn_retrieval *run;
    mn_space_search *search;
    mn_index *index; /* NULL: an exact scan */
    mn_top dense, lexical;
    mneme_status dense_status, lexical_status;
    mneme_error dense_error; /* the lexical one's is the question's */
} sides;

enum { DENSE, LEXICAL, N_SIDES };

/* The rows with the highest inner products: through the namespace's index where it has one and that is the shorter way.
 */
static mneme_status find_dense(sides *s)
{
    mn_space_search *search = s->search;
    mn_arena *arena = &s->run->beside;
    const mn_row_ranges *ranges = search->restricted ? &search->ranges : NULL;
    bool done = false;
    mneme_status status = MNEME_OK;
    if (s->index)
        status =
            mn_nearest_top(s->index, &search->scan, ranges, &search->filter, arena, &s->dense, &done, &s->dense_error);
    if (status != MNEME_OK || done) return status;
    if (ranges)
        mn_scan_ranges(&search->scan, ranges, &search->filter, &s->dense);
    else if (!mn_scan_top(&search->scan, &search->filter, arena, &s->dense))
        return mn_fail_memory(&s->dense_error, "scan");
    return MNEME_OK;
}

static mneme_status find_lexical(sides *s)
{
    mn_space_search *search = s->search;
    mneme_status status = open_lexical(s->run, search);
    if (status != MNEME_OK) return status;
    if (search->restricted)
        mn_bm25_ranges(&search->bm25, &search->ranges, &search->filter, &s->lexical);
    else
        mn_bm25_top(&search->bm25, &search->filter, 0, &s->lexical);
    return MNEME_OK;
}

static void find_side(void *context, unsigned side, unsigned worker)
{
    (void)worker;
    sides *s = context;
    if (side == DENSE && s->search->has_dense) s->dense_status = find_dense(s);
    if (side == LEXICAL && s->search->has_lexical) s->lexical_status = find_lexical(s);
}

/* The best rows of each side. At once where there are two threads, and the dense one reads nothing of the store: with
 * an index, and no filter to ask about records. (An exact scan has threads of its own.) */
static mneme_status find_sides(sides *s)
{
    mn_retrieval *run = s->run;
    bool at_once = s->index && !run->options->accept && s->search->has_dense && s->search->has_lexical;
    mn_crew_run(at_once ? run->options->crew : NULL, N_SIDES, find_side, s);
    if (s->dense_status != MNEME_OK) {
        if (run->error) *run->error = s->dense_error;
        return s->dense_status;
    }
    return s->lexical_status != MNEME_OK ? s->lexical_status : s->search->filter.status;
}

/* From each side. A dense answer has no scale that depends on the candidates: what lies behind the wanted ones and
 * those that pass on score is never seen. */
static size_t candidates_needed(const mn_retrieve_options *options)
{
    size_t most = options->n_candidates > options->k ? options->n_candidates : options->k;
    if (options->mode != MNEME_MODE_DENSE || options->one_per_record || options->prior) return most;
    bool spreads = options->neighbour_share > 0 && options->neighbour_reach > 0;
    size_t least = spreads && options->k < MN_DENSE_SPREADING_HITS ? MN_DENSE_SPREADING_HITS : options->k;
    return least < most ? least : most;
}

static mneme_status search_rows(mn_retrieval *run, mn_space_search *search)
{
    const mn_retrieve_options *options = run->options;
    sides s = {.run = run, .search = search};
    mneme_status status = open_dense(run, search);
    if (status != MNEME_OK) return status;
    search->has_lexical = options->mode != MNEME_MODE_DENSE && run->terms.n > 0;
    if (options->indexes) s.index = options->indexes[search - run->spaces];
    if (!mn_row_filter_init(&search->filter, run->read, search->space, &search->rows, run->arena, run->error))
        return mn_fail_memory(run->error, "row filter");
    mn_row_filter_accept(&search->filter, options->accept, options->accept_context);
    size_t limit = candidates_needed(options);
    if (limit > search->rows.n_rows) limit = search->rows.n_rows;
    if (!mn_top_init(&s.dense, limit, run->arena) || !mn_top_init(&s.lexical, limit, run->arena))
        return mn_fail_memory(run->error, "candidates");
    status = find_sides(&s);
    return status == MNEME_OK ? unite(run, search, &s.dense, &s.lexical) : status;
}

static mneme_status search_space(mn_retrieval *run, mn_space_search *search)
{
    mn_recs recs = {0};
    mneme_status status = restrict_records(run, search, &recs);
    bool empty = search->restricted && recs.n == 0;
    if (status == MNEME_OK && !empty)
        status = mn_read_rows_of(run->read, search->space, run->arena, &search->rows, run->error);
    if (status == MNEME_OK && !empty) status = restrict_rows(run, search, &recs);
    mn_free(recs.items);
    return status == MNEME_OK && !empty ? search_rows(run, search) : status;
}

mneme_status mn_find_candidates(mn_retrieval *run, const mn_namespace *namespaces, size_t n)
{
    run->spaces = mn_arena_array(run->arena, n, sizeof *run->spaces);
    if (!run->spaces) return mn_fail_memory(run->error, "namespaces of a question");
    for (size_t i = 0; i < n; i++) run->spaces[i] = (mn_space_search){.space = &namespaces[i]};
    run->n_spaces = n;
    for (size_t i = 0; i < n; i++) {
        mneme_status status = search_space(run, &run->spaces[i]);
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}
