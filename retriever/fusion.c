/* fusion.c -- min-max scaling and the convex sum. */
#include "retriever/fusion.h"

static void range(const mn_candidate *candidates, size_t n, mn_fusion *fusion)
{
    float dense_high = 0, lexical_high = 0;
    bool any_dense = false;
    for (size_t i = 0; i < n; i++) {
        const mn_candidate *c = &candidates[i];
        if (i == 0 || c->lexical < fusion->lexical_low) fusion->lexical_low = c->lexical;
        if (c->lexical > lexical_high) lexical_high = c->lexical;
        if (!c->has_vector) continue;
        if (!any_dense || c->dense < fusion->dense_low) fusion->dense_low = c->dense;
        if (c->dense > dense_high) dense_high = c->dense;
        any_dense = true;
    }
    fusion->dense_span = dense_high - fusion->dense_low;
    fusion->lexical_span = lexical_high - fusion->lexical_low;
    fusion->dense_empty = !(dense_high > 0);
    fusion->lexical_empty = !(lexical_high > 0);
}

void mn_fusion_fit(mn_fusion *fusion, mneme_mode mode, float dense_weight, const mn_candidate *candidates, size_t n)
{
    *fusion = (mn_fusion){.mode = mode, .dense_weight = dense_weight};
    range(candidates, n, fusion);
}

static float scale(float value, float low, float span)
{
    if (!(span > 0)) return value > 0 ? 1 : 0;
    float scaled = (value - low) / span;
    return scaled < 0 ? 0 : scaled > 1 ? 1 : scaled;
}

/* What each side gives. */
static mneme_parts split(const mn_fusion *fusion, const mn_candidate *candidate)
{
    if (fusion->mode == MNEME_MODE_DENSE) return (mneme_parts){.dense = candidate->dense};
    if (fusion->mode == MNEME_MODE_LEXICAL) return (mneme_parts){.lexical = candidate->lexical};
    float dense = scale(candidate->dense, fusion->dense_low, fusion->dense_span);
    float lexical = scale(candidate->lexical, fusion->lexical_low, fusion->lexical_span);
    if (fusion->dense_empty || !candidate->has_vector) return (mneme_parts){.lexical = lexical};
    if (fusion->lexical_empty) return (mneme_parts){.dense = dense};
    return (mneme_parts){.dense = fusion->dense_weight * dense, .lexical = (1 - fusion->dense_weight) * lexical};
}

float mn_fusion_score(const mn_fusion *fusion, const mn_candidate *candidate, mneme_parts *parts)
{
    mneme_parts both = split(fusion, candidate);
    float score = both.dense + both.lexical;
    if (parts) *parts = both;
    return score > 1 ? 1 : score;
}
