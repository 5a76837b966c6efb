/* feedback.c -- the question refined by its best hits: its vector here, its words in expansion.c. Sums in double and in
 * the order of the hits. */
#include "retriever/retrieval.h"

#include <math.h>

static void attend(const mn_candidate *hits, size_t n, double scale, double *attention)
{
    double highest = (double)hits[0].own, sum = 0;
    for (size_t i = 1; i < n; i++)
        if ((double)hits[i].own > highest) highest = (double)hits[i].own;
    for (size_t i = 0; i < n; i++) sum += attention[i] = exp(scale * ((double)hits[i].own - highest));
    for (size_t i = 0; i < n; i++) attention[i] /= sum;
}

/* q' in the arena; NULL with status OK: the hits have no vectors, or cancel it. */
static mneme_status refine_vector(mn_retrieval *run, const mn_space_search *search, const mn_candidate *hits,
                                  const double *attention, size_t n, float **out)
{
    uint32_t dimension = search->vectors.dimension;
    double *sum = mn_arena_array(run->arena, dimension, sizeof *sum), squares = 0;
    float *vector = mn_arena_array(run->arena, dimension, sizeof *vector);
    *out = NULL;
    if (!sum || !vector) return mn_fail_memory(run->error, "refined question");
    for (uint32_t d = 0; d < dimension; d++) sum[d] = (double)run->question->vector[d];
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (!hits[i].has_vector || !mn_vector_of(&search->vectors, hits[i].row, vector)) continue;
        any = true;
        for (uint32_t d = 0; d < dimension; d++)
            sum[d] += (double)run->options->feedback_weight * attention[i] * (double)vector[d];
    }
    for (uint32_t d = 0; d < dimension; d++) squares += sum[d] * sum[d];
    if (!any || !(squares > 1e-12) || !isfinite(squares)) return MNEME_OK;
    for (uint32_t d = 0; d < dimension; d++) vector[d] = (float)(sum[d] / sqrt(squares));
    *out = vector;
    return MNEME_OK;
}

mneme_status mn_refine(mn_retrieval *run, mn_space_search *search, const mn_candidate *hits, size_t n)
{
    const mn_retrieve_options *options = run->options;
    double attention[MN_FEEDBACK_HITS];
    if (n == 0) return MNEME_OK;
    if (n > MN_FEEDBACK_HITS) n = MN_FEEDBACK_HITS;
    attend(hits, n, (double)options->feedback_scale, attention);
    if (search->has_dense && options->feedback_weight > 0) {
        float *vector;
        mneme_status status = refine_vector(run, search, hits, attention, n, &vector);
        if (status != MNEME_OK) return status;
        search->has_feedback = vector != NULL;
        if (vector && !mn_scan_init(&search->feedback, &search->vectors, vector, options->kernels, options->n_threads,
                                    run->arena))
            return mn_fail_memory(run->error, "refined question");
    }
    if (!search->has_lexical || !(options->expansion_weight > 0)) return MNEME_OK;
    return mn_expand(run, search, hits, attention, n);
}

float mn_rescore(const mn_retrieval *run, const mn_space_search *search, mn_candidate *candidate)
{
    if (search->has_feedback && candidate->has_vector) {
        bool has_vector;
        candidate->dense = mn_dense_score(&search->feedback, candidate->row, &has_vector);
    }
    if (!search->has_expansion) return 0;
    float weight = run->options->expansion_weight, share = mn_bm25_share(&search->expansion, candidate->row);
    candidate->lexical = (candidate->lexical + weight * share) / (1 + weight);
    return share;
}
