/* retrieve.h -- from a question to ranked chunks: candidates, fusion, refinement, neighbours, cues, attention.
 *
 * Per namespace: the dense candidates (exact scan, or an index with a scan of what is newer) and the lexical ones
 * (BM25) are united and each gets both exact scores. The union over the namespaces is scaled and fused; in hybrid mode
 * the best then refine the question, and all are scored and fused anew. Hits pass some of their score to their
 * neighbours, speakers and days that the question names count, and a softmax over the scores gives each its attention.
 *
 *     dense      max(0, cosine of question and chunk)
 *     lexical    BM25 as a share of the most that the question's terms could give             bm25.h
 *     own        hybrid: w * scaled dense + (1 - w) * scaled lexical                          fusion.h
 *                of the refined question, and with the words around the best hits            retrieval.h
 *                dense, lexical: that side's score as it is
 *                with a prior of weight W: (that + the record's prior) / (1 + W)                 below
 *     neighbour  share * max(0, best own score among the hits within reach - own)             neighbours.h
 *     score      own + neighbour, in [0, 1]; in hybrid mode with speaker and time             retrieval.h
 *     attention  softmax(scale * score) over the hits that are returned                       attention.h
 *
 * The prior is the sum of Generative Agents (Park et al. 2023, "Generative Agents: Interactive Simulacra of Human
 * Behavior"): relevance, importance and recency, weighted; strength is a fourth part here. There
 * each part is scaled by its least and most among the candidates; here all lie in [0,1] as they are, so that equally
 * old or strong memories do not differ by what is no difference.
 *
 * A hybrid score is relative to the other candidates of its question; cosine and share mean the same everywhere. A side
 * that the mode leaves out reads 0. Statistics are the namespace's own: what another one holds changes no dense and no
 * lexical score. */
#ifndef MN_RETRIEVER_RETRIEVE_H
#define MN_RETRIEVER_RETRIEVE_H

#include "common/cpu.h"
#include "common/crew.h"
#include "memstore/store.h"
#include "retriever/index_file.h"

typedef struct mn_retrieve_options {
    mneme_mode mode;
    uint32_t k;               /* hits wanted */
    uint32_t n_candidates;    /* from each side, before fusion; at least k */
    float dense_weight;       /* of the convex fusion, 0..1 */
    float k1, b;              /* BM25 */
    float neighbour_share;    /* of a hit's score that its neighbours get; 0 = off */
    uint32_t neighbour_reach; /* how many places away */
    float nearby_words;       /* what is left of a word's worth one place away from a hit; 0 = off; hybrid mode only */
    float feedback_weight;    /* of the best hits' vectors beside the question's; 0 = off; hybrid mode only */
    float expansion_weight;   /* of the best hits' words beside the question's; 0 = off; hybrid mode only */
    float feedback_scale;     /* of the attention over these hits */
    float speaker_weight;     /* of a turn whose speaker the question names; 0 = off */
    float time_weight;        /* of nearness to the days that the question names; 0 = off */
    int64_t now_ms;           /* what "last week" in a question is relative to */
    float attention_scale;    /* beta of the softmax */
    mn_cpu_level kernels;     /* of a scan, at most; no answer depends on it */
    unsigned n_threads;       /* of a large scan; 0 = one per core; no answer depends on it */
    mn_crew *crew;            /* NULL, or threads to share a question with, begun; no answer depends on it */
    bool one_per_record;
    /* NULL = all. Which records may be answered at all; called at most once per record and namespace. */
    bool (*accept)(void *context, const char *name_space, const mn_record *record);
    /* NULL = not known. When *known, `accept` accepts none but `recs` (ascending, from {0}): only their rows are
     * scanned, and the answer is the same. */
    mneme_status (*candidates)(void *context, mn_read *read, const mn_namespace *space, bool *known, mn_recs *recs,
                               mneme_error *error);
    void *accept_context; /* for both */
    /* NULL = none, or per namespace (in the order given) the index that its vectors are searched through; NULL:
     * exactly. */
    mn_index *const *indexes;
    /* NULL = none. What a record brings whatever the question is: fills in importance, strength and recency, whose sum
     * is 0 .. *weight. Asked of candidates only. */
    mneme_status (*prior)(void *context, mn_read *read, uint32_t ns_index, uint32_t rec, mneme_parts *prior,
                          float *weight, mneme_error *error);
    void *prior_context;
} mn_retrieve_options;

typedef struct mn_question {
    const char *text; /* for BM25 */
    size_t text_size;
    const float *vector; /* unit length; NULL: lexical only */
    uint32_t dimension;
    mn_analyze analyze; /* mn_analyzer_question */
    void *analyze_context;
} mn_question;

typedef struct mn_ranked {
    uint32_t ns_index; /* into the namespaces asked */
    uint32_t row, rec, chunk;
    uint32_t start, end;                               /* the chunk's bytes in the record's text */
    float score, dense, lexical, neighbour, attention; /* as in mneme_hit */
    mneme_parts parts;
} mn_ranked;

/* Rank the chunks of the given namespaces (borrowed for the call). *out: in the arena, best first, at most k. A
 * namespace whose dimension is not the question's is searched by its words alone. Same store and question: same answer,
 * always (on one kind of processor: the order of additions inside an inner product is the vector unit's).
 * ERR_USAGE: the vector is not finite; else errors of the store. Any thread, one at a time per read. */
mneme_status mn_retrieve(mn_read *read, const mn_namespace *namespaces, size_t n_namespaces,
                         const mn_question *question, const mn_retrieve_options *options, mn_arena *arena,
                         mn_ranked **out, size_t *n, mneme_error *error);

#endif
