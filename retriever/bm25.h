/* bm25.h -- lexical scores: Okapi BM25 with the statistics of one namespace.
 *
 *     score(chunk) = sum over the question's terms t of  c(t) * idf(t) * f * (k1 + 1) / (f + k1 * norm)
 *
 *     idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5))         norm = 1 - b + b * len / mean
 *
 * f: how often t is in the chunk; c: in the question; len: the chunk's terms; mean: of all chunks; N: live chunks; df:
 * those with t. Robertson, Zaragoza 2009, "The Probabilistic Relevance Framework"; idf as in Lucene, never negative.
 *
 * What leaves this file is the share of the most that the question's terms could give, sum of c(t) * idf(t) * (k1 + 1),
 * terms that no chunk has included: in [0, 1), and comparable between namespaces.
 *
 * Sums are whole numbers: what a term gives is rounded to units of 2^-30 of what all terms that are there could give.
 * So a row's sum is the same in whatever order its terms are added, and the best rows found by leaving most of the
 * postings out are exactly those that all of them give. */
#ifndef MN_RETRIEVER_BM25_H
#define MN_RETRIEVER_BM25_H

#include "memstore/posting_cursor.h"
#include "retriever/row_filter.h"
#include "retriever/top.h"

/* A term of the question that some row has. */
typedef struct mn_bm25_term {
    mn_posting_cursor cursor;
    double weight; /* c(t) * idf(t) * (k1 + 1), in units once ready */
    int32_t most;  /* no row gets more from it; units */
    const int32_t
        *one; /* what a row of length 0 .. MN_BM25_LENGTHS - 1 gets that has it once; NULL: not worth a table */
} mn_bm25_term;

#define MN_BM25_LENGTHS 256u
#define MN_BM25_WINDOW  4096u /* rows that are added up at a time */

typedef struct mn_bm25 {
    mn_arena *arena;
    const mn_rows *rows;
    uint64_t n_chunks; /* N */
    double k1;
    double fixed, per_term; /* k1 * (1 - b); k1 * b / mean */
    double most;            /* what the terms so far could give, those without a row included */
    double unit;            /* of the sums, as a share of `most` */
    mn_bm25_term *terms;
    size_t n, capacity;
    mn_bm25_term **order; /* by `most`, least first */
    int64_t *below;       /* below[i]: what order[0 .. i - 1] could give together; n + 1 of them */
} mn_bm25;

/* rows, arena: borrowed for its life. False: out of memory. */
bool mn_bm25_init(mn_bm25 *bm25, const mn_namespace *space, const mn_rows *rows, double k1, double b, mn_arena *arena);
/* Add one term of the question: its postings (the cursor is copied) and how often the question has it. False: out of
 * memory. */
bool mn_bm25_add(mn_bm25 *bm25, const mn_posting_cursor *postings, double count);
/* All terms are there: what follows may be called. False: out of memory. */
bool mn_bm25_ready(mn_bm25 *bm25);
/* idf of a term that df of n_chunks chunks have. */
double mn_bm25_idf(uint64_t n_chunks, uint64_t df);
/* All of the question's terms, read from the store, and ready. */
mneme_status mn_bm25_run(mn_bm25 *bm25, mn_read *read, uint32_t ns, const mn_rows *rows, const mn_term_list *terms,
                         mn_arena *arena, mneme_error *error);

/* A row's share of the most, [0, 1). Rows asked in ascending order cost least. One thread at a time. */
float mn_bm25_share(const mn_bm25 *bm25, uint32_t row);
/* Put the rows with the highest shares above 0 into `top`, which must be empty. known: a share that as many rows as
 * `top` has room for are known to reach, so that others need not be added up; 0: none is. */
void mn_bm25_top(const mn_bm25 *bm25, mn_row_filter *filter, float known, mn_top *top);
/* The same of the rows first .. end - 1 alone; first: a multiple of MN_BM25_WINDOW. */
void mn_bm25_top_between(const mn_bm25 *bm25, uint32_t first, uint32_t end, mn_row_filter *filter, float known,
                         mn_top *top);
/* One that can be asked from another thread at the same time; it borrows what `bm25` has. In the arena. False: out of
 * memory. */
bool mn_bm25_twin(const mn_bm25 *bm25, mn_arena *arena, mn_bm25 *out);

/* ---- for bm25_top.c ---- */

/* What a row of this length gets from a term that it has `count` times. At least 1 unit. */
static inline int32_t mn_bm25_gain(const mn_bm25 *bm25, const mn_bm25_term *term, uint32_t count, uint32_t length)
{
    if (term->one && count == 1 && length < MN_BM25_LENGTHS) return term->one[length];
    double f = count, gain = term->weight * f / (f + bm25->fixed + bm25->per_term * length);
    return gain < 1 ? 1 : (int32_t)(gain + 0.5);
}
/* The share that a sum of units is. Never falls when the sum rises. */
static inline float mn_bm25_share_of(const mn_bm25 *bm25, int64_t units)
{
    double share = (double)units * bm25->unit;
    return share < 1 ? (float)share : 1;
}

#endif
