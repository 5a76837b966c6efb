/* retrieve.c -- the steps of an answer in their order.
 *
 *     search_space   per namespace: the best rows of each side, united, each with both exact scores
 *     fuse           one scale for all namespaces: own scores, with the records' priors where they count
 *     look_around    the question's words near the best count for them; fused again         nearby_words.c
 *     refine         the best refine the question, which scores all anew; fused again        feedback.c, expansion.c
 *     spread         neighbours of the best are lifted, and come in where they were not candidates
 *     add_cues       speakers and days that the question names                               cues.c
 *     rank           order, one per record, the best k, attention
 *
 * All of it on the calling thread, sums in a fixed order, ties broken by namespace, record and row. */
#include "retriever/retrieve.h"

#include "retriever/attention.h"
#include "retriever/nearest.h"
#include "retriever/retrieval.h"

#include <math.h>
#include <stdlib.h>

/* Hits that pass on score. On LoCoMo 20, 50, 100 and all candidates gave the same recall@10 and @20. */
enum { SPREADING_HITS = 50, DENSE_SPREADING_HITS = 20 };

/* Rows that the words of the best bring in, at least k. 40, 100 and 200 gave the same recall and nDCG within 0.002. */
enum { EXPANDED_HITS = 50 };

static mneme_status reserve(mn_retrieval *run, size_t extra)
{
    if (run->capacity - run->n >= extra) return MNEME_OK;
    size_t capacity = run->n + extra > run->capacity * 2 ? run->n + extra : run->capacity * 2;
    mn_candidate *larger = mn_arena_array(run->arena, capacity, sizeof *larger);
    if (!larger) return mn_fail_memory(run->error, "candidates");
    for (size_t i = 0; i < run->n; i++) larger[i] = run->candidates[i];
    run->candidates = larger;
    run->capacity = capacity;
    return MNEME_OK;
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
    if (options->mode == MNEME_MODE_DENSE || run->terms.n == 0) return MNEME_OK;
    search->has_lexical = true;
    if (!mn_bm25_init(&search->bm25, search->space, &search->rows, options->k1, options->b, run->arena))
        return mn_fail_memory(run->error, "lexical scores");
    return mn_bm25_run(&search->bm25, run->read, search->space->ns, &search->rows, &run->terms, run->arena, run->error);
}

/* Both exact scores of a live row. lexical: the row's share where it is known, else NULL. */
static mn_candidate measure(const mn_retrieval *run, const mn_space_search *search, uint32_t row, const float *lexical)
{
    mn_candidate candidate = {
        .ns_index = (uint32_t)(search - run->spaces), .row = row, .rec = mn_row_at(&search->rows, row)->rec};
    if (search->has_dense) {
        candidate.dense = mn_dense_score(&search->scan, row, &candidate.has_vector);
    }
    if (search->has_lexical) candidate.lexical = lexical ? *lexical : mn_bm25_share(&search->bm25, row);
    candidate.cosine = candidate.dense;
    candidate.share = candidate.lexical;
    return candidate;
}

static int by_row(const void *left, const void *right)
{
    const mn_scored *a = left, *b = right;
    return (a->row > b->row) - (a->row < b->row);
}

/* Add the union of the two lists (which are sorted by row for it) to the candidates. */
static mneme_status unite(mn_retrieval *run, const mn_space_search *search, mn_top *dense, mn_top *lexical)
{
    mneme_status status = reserve(run, dense->n + lexical->n);
    if (status != MNEME_OK) return status;
    if (dense->n) qsort(dense->items, dense->n, sizeof *dense->items, by_row);
    if (lexical->n) qsort(lexical->items, lexical->n, sizeof *lexical->items, by_row);
    for (size_t i = 0, j = 0; i < dense->n || j < lexical->n;) {
        uint32_t left = i < dense->n ? dense->items[i].row : UINT32_MAX;
        uint32_t right = j < lexical->n ? lexical->items[j].row : UINT32_MAX;
        uint32_t row = left < right ? left : right;
        run->candidates[run->n++] = measure(run, search, row, right == row ? &lexical->items[j].score : NULL);
        i += left == row;
        j += right == row;
    }
    return MNEME_OK;
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

/* The rows with the highest inner products: through the namespace's index where it has one and that is the shorter way.
 */
static mneme_status find_dense(const mn_retrieval *run, mn_space_search *search, mn_top *dense)
{
    mn_index *index = run->options->indexes ? run->options->indexes[search - run->spaces] : NULL;
    const mn_row_ranges *ranges = search->restricted ? &search->ranges : NULL;
    bool done = false;
    mneme_status status = MNEME_OK;
    if (index)
        status = mn_nearest_top(index, &search->scan, ranges, &search->filter, run->arena, dense, &done, run->error);
    if (status != MNEME_OK || done) return status;
    if (ranges)
        mn_scan_ranges(&search->scan, ranges, &search->filter, dense);
    else if (!mn_scan_top(&search->scan, &search->filter, run->arena, dense))
        return mn_fail_memory(run->error, "scan");
    return MNEME_OK;
}

/* The best rows of each side. */
static mneme_status find_best(const mn_retrieval *run, mn_space_search *search, mn_top *dense, mn_top *lexical)
{
    mneme_status status = search->has_dense ? find_dense(run, search, dense) : MNEME_OK;
    if (status != MNEME_OK) return status;
    if (search->restricted) {
        if (search->has_lexical) mn_bm25_ranges(&search->bm25, &search->ranges, &search->filter, lexical);
        return MNEME_OK;
    }
    if (search->has_lexical) mn_bm25_top(&search->bm25, &search->filter, 0, lexical);
    return MNEME_OK;
}

/* From each side. A dense answer has no scale that depends on the candidates: what lies behind the wanted ones and
 * those that pass on score is never seen. */
static size_t candidates_needed(const mn_retrieve_options *options)
{
    size_t most = options->n_candidates > options->k ? options->n_candidates : options->k;
    if (options->mode != MNEME_MODE_DENSE || options->one_per_record || options->prior) return most;
    bool spreads = options->neighbour_share > 0 && options->neighbour_reach > 0;
    size_t least = spreads && options->k < DENSE_SPREADING_HITS ? DENSE_SPREADING_HITS : options->k;
    return least < most ? least : most;
}

static mneme_status search_rows(mn_retrieval *run, mn_space_search *search)
{
    const mn_retrieve_options *options = run->options;
    mneme_status status = open_dense(run, search);
    if (status == MNEME_OK) status = open_lexical(run, search);
    if (status != MNEME_OK) return status;
    if (!mn_row_filter_init(&search->filter, run->read, search->space, &search->rows, run->arena, run->error))
        return mn_fail_memory(run->error, "row filter");
    mn_row_filter_accept(&search->filter, options->accept, options->accept_context);
    size_t limit = candidates_needed(options);
    if (limit > search->rows.n_rows) limit = search->rows.n_rows;
    mn_top dense, lexical;
    if (!mn_top_init(&dense, limit, run->arena) || !mn_top_init(&lexical, limit, run->arena))
        return mn_fail_memory(run->error, "candidates");
    status = find_best(run, search, &dense, &lexical);
    if (status != MNEME_OK) return status;
    if (search->filter.status != MNEME_OK) return search->filter.status;
    return unite(run, search, &dense, &lexical);
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

static mneme_status search_all(mn_retrieval *run, const mn_namespace *namespaces, size_t n)
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

/* ---- fuse ------------------------------------------------------------------------------------------------------- */

static mneme_status read_prior(const mn_retrieval *run, mn_candidate *candidate)
{
    const mn_retrieve_options *options = run->options;
    if (candidate->has_prior) return MNEME_OK;
    candidate->has_prior = true;
    return options->prior(options->prior_context, run->read, candidate->ns_index, candidate->rec, &candidate->prior,
                          &candidate->prior_weight, run->error);
}

static mneme_status score(mn_retrieval *run, mn_candidate *candidate)
{
    mneme_parts *parts = &candidate->parts;
    candidate->own = mn_fusion_score(&run->fusion, candidate, parts);
    if (!run->options->prior) return MNEME_OK;
    mneme_status status = read_prior(run, candidate);
    const mneme_parts *prior = &candidate->prior;
    float all = 1 + candidate->prior_weight;
    candidate->own = (candidate->own + (prior->importance + prior->strength + prior->recency)) / all;
    parts->dense /= all;
    parts->lexical /= all;
    parts->importance = prior->importance / all;
    parts->strength = prior->strength / all;
    parts->recency = prior->recency / all;
    if (candidate->own > 1) candidate->own = 1; /* by rounding */
    return status;
}

static mneme_status fuse(mn_retrieval *run)
{
    mn_fusion_fit(&run->fusion, run->options->mode, run->options->dense_weight, run->candidates, run->n);
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < run->n && status == MNEME_OK; i++) status = score(run, &run->candidates[i]);
    return status;
}

/* ---- order ------------------------------------------------------------------------------------------------------ */

static float score_of(const mn_candidate *candidate)
{
    return candidate->own + candidate->neighbour + (candidate->parts.speaker + candidate->parts.time);
}

/* Higher score first; ties by namespace, record, row. */
static int by_rank(const void *left, const void *right)
{
    const mn_candidate *a = left, *b = right;
    float score_a = score_of(a), score_b = score_of(b);
    if (score_a > score_b || score_a < score_b) return score_a > score_b ? -1 : 1;
    if (a->ns_index != b->ns_index) return a->ns_index < b->ns_index ? -1 : 1;
    if (a->rec != b->rec) return a->rec < b->rec ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

static int by_place(const void *left, const void *right)
{
    const mn_candidate *a = left, *b = right;
    if (a->ns_index != b->ns_index) return a->ns_index < b->ns_index ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

static int by_space_then_rank(const void *left, const void *right)
{
    const mn_candidate *a = left, *b = right;
    if (a->ns_index != b->ns_index) return a->ns_index < b->ns_index ? -1 : 1;
    return by_rank(left, right);
}

static void sort_candidates(mn_candidate *candidates, size_t n, int (*order)(const void *, const void *))
{
    if (n) qsort(candidates, n, sizeof *candidates, order);
}

/* ---- refine ----------------------------------------------------------------------------------------------------- */

static mneme_status look_around(mn_retrieval *run)
{
    const mn_retrieve_options *options = run->options;
    if (options->mode != MNEME_MODE_HYBRID || !(options->nearby_words > 0) || options->neighbour_reach == 0)
        return MNEME_OK;
    sort_candidates(run->candidates, run->n, by_rank);
    mneme_status status = mn_add_nearby_words(run, MN_NEARBY_HITS);
    return status == MNEME_OK ? fuse(run) : status;
}

/* How many rows the expansion brings in, at most. */
static size_t expanded_hits(const mn_retrieval *run, const mn_space_search *search)
{
    size_t most = run->options->k > EXPANDED_HITS ? run->options->k : EXPANDED_HITS;
    return most < search->rows.n_rows ? most : search->rows.n_rows;
}

/* The rows with the most of the expansion's words come in, where they are not among the namespace's n candidates from
 * `first` on, which are sorted by row. known: the best of those candidates by the expansion. */
static mneme_status add_expanded(mn_retrieval *run, mn_space_search *search, size_t first, size_t n,
                                 const mn_top *known)
{
    mn_top top;
    if (!mn_top_init(&top, known->capacity, run->arena)) return mn_fail_memory(run->error, "candidates");
    if (search->restricted)
        mn_bm25_ranges(&search->expansion, &search->ranges, &search->filter, &top);
    else
        mn_bm25_top(&search->expansion, &search->filter, known->n == known->capacity ? known->items[0].score : 0, &top);
    mneme_status status = search->filter.status;
    if (status == MNEME_OK) status = reserve(run, top.n);
    if (status != MNEME_OK) return status;
    if (top.n) qsort(top.items, top.n, sizeof *top.items, by_row);
    for (size_t i = 0; i < top.n; i++) {
        mn_candidate key = {.ns_index = (uint32_t)(search - run->spaces), .row = top.items[i].row};
        if (bsearch(&key, run->candidates + first, n, sizeof key, by_place)) continue;
        mn_candidate *added = &run->candidates[run->n++];
        *added = measure(run, search, key.row, NULL);
        mn_rescore(run, search, added);
    }
    return MNEME_OK;
}

/* Refine by the namespace's n candidates from `first` on, best first. */
static mneme_status refine_space(mn_retrieval *run, size_t first, size_t n)
{
    mn_candidate *candidates = run->candidates + first;
    mn_space_search *search = &run->spaces[candidates->ns_index];
    mneme_status status = mn_refine(run, search, candidates, n < MN_FEEDBACK_HITS ? n : MN_FEEDBACK_HITS);
    if (status != MNEME_OK) return status;
    sort_candidates(candidates, n, by_place);
    mn_top known;
    if (!mn_top_init(&known, expanded_hits(run, search), run->arena)) return mn_fail_memory(run->error, "candidates");
    for (size_t i = 0; i < n; i++) {
        float share = mn_rescore(run, search, &candidates[i]);
        if (mn_top_wants(&known, share, candidates[i].row)) mn_top_put(&known, share, candidates[i].row);
    }
    return search->has_expansion ? add_expanded(run, search, first, n, &known) : MNEME_OK;
}

static mneme_status refine(mn_retrieval *run)
{
    const mn_retrieve_options *options = run->options;
    bool wanted = options->feedback_weight > 0 || options->expansion_weight > 0;
    if (options->mode != MNEME_MODE_HYBRID || !wanted || run->n_spaces > MN_FEEDBACK_SPACES) return MNEME_OK;
    sort_candidates(run->candidates, run->n, by_space_then_rank);
    size_t n = run->n; /* what comes in is put behind these */
    for (size_t first = 0, next; first < n; first = next) {
        for (next = first; next < n && run->candidates[next].ns_index == run->candidates[first].ns_index; next++) {
        }
        mneme_status status = refine_space(run, first, next - first);
        if (status != MNEME_OK) return status;
    }
    return fuse(run);
}

/* ---- spread ----------------------------------------------------------------------------------------------------- */

/* The lifts from the best hits. Leaves the candidates ranked by their own scores. */
static mneme_status collect_lifts(mn_retrieval *run, mn_lift **out, size_t *n)
{
    const mn_retrieve_options *options = run->options;
    qsort(run->candidates, run->n, sizeof *run->candidates, by_rank);
    size_t sources = options->k > SPREADING_HITS ? options->k : SPREADING_HITS, each = 0;
    if (sources > run->n) sources = run->n;
    *n = 0;
    *out = mn_multiply(2, options->neighbour_reach, &each) && mn_multiply(sources, each, &each)
               ? mn_arena_array(run->arena, each, sizeof **out)
               : NULL;
    if (!*out) return mn_fail_memory(run->error, "neighbours of the hits");
    for (size_t i = 0; i < sources; i++) {
        const mn_candidate *hit = &run->candidates[i];
        const mn_surroundings *around;
        mneme_status status = mn_surroundings_of(run, &run->spaces[hit->ns_index], hit->row, &around);
        if (status != MNEME_OK) return status;
        for (size_t j = 0; j < around->n; j++)
            (*out)[(*n)++] = (mn_lift){hit->ns_index, around->items[j].row, hit->own};
    }
    *n = mn_lifts_merge(*out, *n);
    return MNEME_OK;
}

static mneme_status spread(mn_retrieval *run)
{
    const mn_retrieve_options *options = run->options;
    if (!(options->neighbour_share > 0) || options->neighbour_reach == 0 || run->n == 0) return MNEME_OK;
    mn_lift *lifts;
    size_t n_lifts;
    mneme_status status = collect_lifts(run, &lifts, &n_lifts);
    if (status == MNEME_OK) status = reserve(run, n_lifts);
    if (status != MNEME_OK) return status;
    size_t n_before = run->n;
    qsort(run->candidates, n_before, sizeof *run->candidates, by_place);
    for (size_t i = 0; i < n_lifts; i++) {
        mn_candidate key = {.ns_index = lifts[i].ns_index, .row = lifts[i].row};
        mn_candidate *lifted = bsearch(&key, run->candidates, n_before, sizeof key, by_place);
        if (!lifted) {
            lifted = &run->candidates[run->n++];
            *lifted = measure(run, &run->spaces[key.ns_index], key.row, NULL);
            mn_rescore(run, &run->spaces[key.ns_index], lifted);
            status = score(run, lifted);
            if (status != MNEME_OK) return status;
        }
        lifted->neighbour = mn_lift_gain(lifted->own, lifts[i].towards, options->neighbour_share);
    }
    return MNEME_OK;
}

/* ---- cues ------------------------------------------------------------------------------------------------------- */

static mneme_status add_cues(mn_retrieval *run)
{
    if (run->options->mode != MNEME_MODE_HYBRID) return MNEME_OK;
    if (run->options->time_weight > 0)
        mn_dates_find(run->question->text, run->question->text_size, run->options->now_ms, &run->dates);
    sort_candidates(run->candidates, run->n, by_rank);
    return mn_add_cues(run);
}

/* ---- answer ----------------------------------------------------------------------------------------------------- */

static int by_record_then_rank(const void *left, const void *right)
{
    const mn_candidate *a = left, *b = right;
    if (a->ns_index != b->ns_index) return a->ns_index < b->ns_index ? -1 : 1;
    if (a->rec != b->rec) return a->rec < b->rec ? -1 : 1;
    return by_rank(left, right);
}

/* Keep the best chunk of each record. */
static void keep_one_per_record(mn_retrieval *run)
{
    qsort(run->candidates, run->n, sizeof *run->candidates, by_record_then_rank);
    size_t kept = 0;
    for (size_t i = 0; i < run->n; i++) {
        const mn_candidate *c = &run->candidates[i];
        if (kept && run->candidates[kept - 1].ns_index == c->ns_index && run->candidates[kept - 1].rec == c->rec)
            continue;
        run->candidates[kept++] = *c;
    }
    run->n = kept;
}

static mneme_status make_hit(const mn_retrieval *run, const mn_candidate *from, mn_ranked *hit)
{
    mn_record record;
    uint32_t ns = run->spaces[from->ns_index].space->ns;
    mneme_status status = mn_read_record(run->read, ns, from->rec, &record, run->error);
    if (status != MNEME_OK) return status;
    float score = score_of(from);
    const mn_row *row = mn_row_at(&run->spaces[from->ns_index].rows, from->row);
    *hit = (mn_ranked){.ns_index = from->ns_index,
                       .row = from->row,
                       .rec = from->rec,
                       .chunk = from->row - record.first_row,
                       .start = row->start,
                       .end = row->end,
                       .score = score > 1 ? 1 : score,
                       .dense = from->cosine,
                       .lexical = from->share,
                       .neighbour = from->neighbour,
                       .parts = from->parts};
    hit->parts.neighbour = from->neighbour;
    return MNEME_OK;
}

static mneme_status rank(mn_retrieval *run, mn_ranked **out, size_t *n)
{
    if (run->n == 0) return MNEME_OK;
    if (run->options->one_per_record) keep_one_per_record(run);
    qsort(run->candidates, run->n, sizeof *run->candidates, by_rank);
    size_t k = run->n < run->options->k ? run->n : run->options->k;
    mn_ranked *hits = mn_arena_array(run->arena, k, sizeof *hits);
    if (!hits) return mn_fail_memory(run->error, "hits");
    for (size_t i = 0; i < k; i++) {
        mneme_status status = make_hit(run, &run->candidates[i], &hits[i]);
        if (status != MNEME_OK) return status;
    }
    mn_attention(hits, k, run->options->attention_scale);
    *out = hits;
    *n = k;
    return MNEME_OK;
}

static mneme_status check_question(const mn_question *question, mneme_error *error)
{
    for (uint32_t i = 0; question->vector && i < question->dimension; i++)
        if (!isfinite(question->vector[i]))
            return mn_fail(error, MNEME_ERR_USAGE, "the question's vector is not finite at position %u", i);
    return MNEME_OK;
}

mneme_status mn_retrieve(mn_read *read, const mn_namespace *namespaces, size_t n_namespaces,
                         const mn_question *question, const mn_retrieve_options *options, mn_arena *arena,
                         mn_ranked **out, size_t *n, mneme_error *error)
{
    *out = NULL;
    *n = 0;
    mneme_status status = check_question(question, error);
    if (status != MNEME_OK || options->k == 0 || n_namespaces == 0) return status;
    mn_retrieval run = {.read = read, .question = question, .options = options, .arena = arena, .error = error};
    if (question->text_size && question->analyze)
        status =
            question->analyze(question->analyze_context, question->text, question->text_size, arena, &run.terms, error);
    if (status == MNEME_OK) status = search_all(&run, namespaces, n_namespaces);
    if (status == MNEME_OK) status = fuse(&run);
    if (status == MNEME_OK) status = look_around(&run);
    if (status == MNEME_OK) status = refine(&run);
    if (status == MNEME_OK) status = spread(&run);
    if (status == MNEME_OK) status = add_cues(&run);
    return status == MNEME_OK ? rank(&run, out, n) : status;
}
