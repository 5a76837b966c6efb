/* bm25.h -- lexical scores: Okapi BM25 with the statistics of one namespace.
 *
 *     score(chunk) = sum over the question's terms t of  c(t) * idf(t) * f * (k1 + 1) / (f + k1 * (1 - b + b * len / mean))
 *     idf(t)       = ln(1 + (N - df + 0.5) / (df + 0.5))
 *
 * f: how often t is in the chunk; c: in the question; len: the chunk's terms; mean: of all chunks; N: live chunks; df:
 * those with t. Robertson, Zaragoza 2009, "The Probabilistic Relevance Framework"; idf as in Lucene, never negative.
 *
 * What leaves this file is the share of the most that the question's terms could give, sum of c(t) * idf(t) * (k1 + 1),
 * terms that no chunk has included: in [0, 1), and comparable between namespaces. */
#ifndef MN_RETRIEVER_BM25_H
#define MN_RETRIEVER_BM25_H

#include "retriever/row_filter.h"
#include "retriever/top.h"

typedef struct mn_bm25 {
    uint64_t n_chunks; /* N */
    double mean_terms;
    double k1, b;
    float *scores; /* per row; sums so far */
    double most;   /* what the terms so far could give */
} mn_bm25;

/* scores: n_rows floats in the arena, 0. False: out of memory. */
bool mn_bm25_init(mn_bm25 *bm25, const mn_namespace *space, const mn_rows *rows, double k1, double b, mn_arena *arena);
/* Add one term of the question: its postings (rows ascending, each < n_rows) and how often the question has it. */
void mn_bm25_add(mn_bm25 *bm25, const mn_rows *rows, const mn_posting *postings, size_t n, uint32_t count);
/* A row's share of the most, [0, 1). */
float mn_bm25_share(const mn_bm25 *bm25, uint32_t row);

/* All of the question's terms, read from the store, in their order. */
mneme_status mn_bm25_run(mn_bm25 *bm25, mn_read *read, uint32_t ns, const mn_rows *rows, const mn_term_list *terms,
                         mn_arena *arena, mneme_error *error);
/* Put the rows with the highest shares above 0 into `top`. */
void mn_bm25_top(const mn_bm25 *bm25, mn_row_filter *filter, mn_top *top);

#endif
