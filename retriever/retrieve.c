/* retrieve.c -- the steps of an answer in their order.
 *
 *     candidates     per namespace: the best rows of each side, united, each with both exact scores   candidates.c
 *     fuse           one scale for all namespaces: own scores, with the records' priors where they count
 *     look_around    the question's words near the best count for them; fused again         nearby_words.c
 *     refine         the best refine the question, which scores all anew; fused again        feedback.c, expansion.c
 *     spread         neighbours of the best are lifted, and come in where they were not candidates
 *     add_cues       speakers and days that the question names                               cues.c
 *     rank           order, one per record, the best k, attention
 *
 * On the calling thread, but for what a crew of the caller's takes (common/crew.h); no answer depends on that. Sums
 * are in a fixed order, ties are broken by namespace and row. */
#include "retriever/retrieve.h"

#include "retriever/attention.h"
#include "retriever/retrieval.h"

#include <math.h>
#include <stdlib.h>

/* Hits that pass on score. On LoCoMo 20, 50, 100 and all candidates gave the same recall@10 and @20. */
enum { SPREADING_HITS = 50 };

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

/* ---- refine ----------------------------------------------------------------------------------------------------- */

static mneme_status look_around(mn_retrieval *run)
{
    const mn_retrieve_options *options = run->options;
    if (options->mode != MNEME_MODE_HYBRID || !(options->nearby_words > 0) || options->neighbour_reach == 0)
        return MNEME_OK;
    mn_top best;
    mneme_status status = mn_best_candidates(run, 0, run->n, MN_NEARBY_HITS, &best);
    if (status == MNEME_OK) status = mn_add_nearby_words(run, &best);
    return status == MNEME_OK ? fuse(run) : status;
}

static mneme_status refine(mn_retrieval *run)
{
    const mn_retrieve_options *options = run->options;
    bool wanted = options->feedback_weight > 0 || options->expansion_weight > 0;
    if (options->mode != MNEME_MODE_HYBRID || !wanted || run->n_spaces > MN_FEEDBACK_SPACES) return MNEME_OK;
    mneme_status status = mn_refine(run);
    return status == MNEME_OK ? fuse(run) : status;
}

/* ---- spread ----------------------------------------------------------------------------------------------------- */

/* The lifts from the best hits. */
static mneme_status collect_lifts(mn_retrieval *run, mn_lift **out, size_t *n)
{
    const mn_retrieve_options *options = run->options;
    size_t sources = options->k > SPREADING_HITS ? options->k : SPREADING_HITS, each = 0;
    mn_top best;
    mneme_status status = mn_best_candidates(run, 0, run->n, sources, &best);
    if (status != MNEME_OK) return status;
    *n = 0;
    *out = mn_multiply(2, options->neighbour_reach, &each) && mn_multiply(best.n, each, &each)
               ? mn_arena_array(run->arena, each, sizeof **out)
               : NULL;
    if (!*out) return mn_fail_memory(run->error, "neighbours of the hits");
    for (size_t i = 0; i < best.n; i++) {
        const mn_candidate *hit = &run->candidates[best.items[i].row];
        const mn_surroundings *around;
        status = mn_surroundings_of(run, &run->spaces[hit->ns_index], hit->row, &around);
        if (status != MNEME_OK) return status;
        for (size_t j = 0; j < around->n; j++)
            (*out)[(*n)++] = (mn_lift){hit->ns_index, around->items[j].row, hit->own};
    }
    *n = mn_lifts_merge(*out, *n);
    return MNEME_OK;
}

/* Lifted rows that are no candidates come in. */
static mneme_status add_lifted(mn_retrieval *run, const mn_lift *lifts, size_t n)
{
    size_t n_before = run->n;
    mn_new_row *rows = mn_arena_array(run->arena, n, sizeof *rows);
    if (!rows) return mn_fail_memory(run->error, "neighbours of the hits");
    mneme_status status = MNEME_OK;
    for (size_t first = 0, next; first < n && status == MNEME_OK; first = next) {
        uint32_t ns_index = lifts[first].ns_index;
        size_t n_new = 0;
        for (next = first; next < n && lifts[next].ns_index == ns_index; next++)
            if (!mn_candidate_at(run, n_before, ns_index, lifts[next].row))
                rows[n_new++] = (mn_new_row){.row = lifts[next].row};
        status = mn_add_candidates(run, &run->spaces[ns_index], rows, n_new);
    }
    for (size_t i = n_before; i < run->n && status == MNEME_OK; i++) status = score(run, &run->candidates[i]);
    return status == MNEME_OK ? mn_settle_candidates(run, n_before) : status;
}

static mneme_status spread(mn_retrieval *run)
{
    const mn_retrieve_options *options = run->options;
    if (!(options->neighbour_share > 0) || options->neighbour_reach == 0 || run->n == 0) return MNEME_OK;
    mn_lift *lifts;
    size_t n_lifts;
    mneme_status status = collect_lifts(run, &lifts, &n_lifts);
    if (status == MNEME_OK) status = add_lifted(run, lifts, n_lifts);
    for (size_t i = 0; i < n_lifts && status == MNEME_OK; i++) {
        mn_candidate *lifted = mn_candidate_at(run, run->n, lifts[i].ns_index, lifts[i].row);
        lifted->neighbour = mn_lift_gain(lifted->own, lifts[i].towards, options->neighbour_share);
    }
    return status;
}

/* ---- cues ------------------------------------------------------------------------------------------------------- */

static mneme_status add_cues(mn_retrieval *run)
{
    if (run->options->mode != MNEME_MODE_HYBRID) return MNEME_OK;
    if (run->options->time_weight > 0)
        mn_dates_find(run->question->text, run->question->text_size, run->options->now_ms, &run->dates);
    return mn_add_cues(run);
}

/* ---- answer ----------------------------------------------------------------------------------------------------- */

/* Keep the best chunk of each record: its rows follow each other. */
static void keep_one_per_record(mn_retrieval *run)
{
    size_t kept = 0;
    for (size_t i = 0; i < run->n; i++) {
        const mn_candidate *c = &run->candidates[i], *before = kept ? &run->candidates[kept - 1] : NULL;
        bool same = before && before->ns_index == c->ns_index && before->rec == c->rec;
        if (!same) kept++;
        if (!same || mn_candidate_score(c) > mn_candidate_score(before)) run->candidates[kept - 1] = *c;
    }
    run->n = kept;
}

static mneme_status make_hit(const mn_retrieval *run, const mn_candidate *from, mn_ranked *hit)
{
    mn_record record;
    uint32_t ns = run->spaces[from->ns_index].space->ns;
    mneme_status status = mn_read_record(run->read, ns, from->rec, &record, run->error);
    if (status != MNEME_OK) return status;
    float score = mn_candidate_score(from);
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
    mn_top best;
    mneme_status status = mn_best_candidates(run, 0, run->n, run->options->k, &best);
    if (status != MNEME_OK) return status;
    mn_ranked *hits = mn_arena_array(run->arena, best.n, sizeof *hits);
    if (!hits) return mn_fail_memory(run->error, "hits");
    for (size_t i = 0; i < best.n; i++) {
        status = make_hit(run, &run->candidates[best.items[i].row], &hits[i]);
        if (status != MNEME_OK) return status;
    }
    mn_attention(hits, best.n, run->options->attention_scale);
    *out = hits;
    *n = best.n;
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
    if (status == MNEME_OK) status = mn_find_candidates(&run, namespaces, n_namespaces);
    if (status == MNEME_OK) status = fuse(&run);
    if (status == MNEME_OK) status = look_around(&run);
    if (status == MNEME_OK) status = refine(&run);
    if (status == MNEME_OK) status = spread(&run);
    if (status == MNEME_OK) status = add_cues(&run);
    if (status == MNEME_OK) status = rank(&run, out, n);
    mn_arena_free(&run.beside);
    return status;
}
