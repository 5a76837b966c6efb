/* fusion.h -- one score out of two.
 *
 * Convex combination after min-max scaling over the candidates (Bruch, Gai, Ingber 2023, "An Analysis of Fusion
 * Functions for Hybrid Retrieval", where it beats reciprocal rank fusion):
 *
 *     score = w * (dense - min) / (max - min) + (1 - w) * (lexical - min) / (max - min)
 *
 * A side on which all candidates are equal says nothing about their order: it gives 1 where its value is above 0. A
 * side on which all are 0 is empty, and a candidate without a vector has no dense side: the other side decides alone.
 */
#ifndef MN_RETRIEVER_FUSION_H
#define MN_RETRIEVER_FUSION_H

#include "retriever/retrieve.h"

typedef struct mn_candidate {
    uint32_t ns_index, row, rec;
    bool has_vector;
    float cosine, share;  /* what the question itself has with it, exact, [0, 1] */
    float dense, lexical; /* what is fused: the same, until the question is refined and its surroundings are read */
    float own;            /* fused, [0, 1] */
    bool has_prior;
    mneme_parts prior; /* importance, strength, recency, weighted; once it has been asked for */
    float prior_weight;
    mneme_parts parts; /* what own is made of, and speaker and time; its neighbour is not filled in */
    float neighbour;   /* what neighbours add; own + neighbour in [0, 1] */
} mn_candidate;

typedef struct mn_fusion {
    mneme_mode mode;
    float dense_weight;
    float dense_low, dense_span, lexical_low, lexical_span;
    bool dense_empty, lexical_empty;
} mn_fusion;

/* Learn the scales from n candidates. Modes DENSE and LEXICAL take that side's score as it is. */
void mn_fusion_fit(mn_fusion *fusion, mneme_mode mode, float dense_weight, const mn_candidate *candidates, size_t n);
/* The score of any chunk of the same question, [0, 1]; outside the learnt range it is held at its ends. parts (NULL
 * allowed): dense and lexical are set to what each side gives to it, the rest to 0. */
float mn_fusion_score(const mn_fusion *fusion, const mn_candidate *candidate, mneme_parts *parts);

#endif
