/* retrieval.h -- one question on its way through the steps of retrieve.c, and the steps that have files of their own.
 *
 * A step that fails leaves the retrieval to be given up; what it made is in the arenas. */
#ifndef MN_RETRIEVER_RETRIEVAL_H
#define MN_RETRIEVER_RETRIEVAL_H

#include "retriever/bm25.h"
#include "retriever/dates.h"
#include "retriever/fusion.h"
#include "retriever/neighbours.h"
#include "retriever/row_ranges.h"
#include "retriever/scan.h"

/* A speaker of a namespace, and how far the question names him. */
typedef struct mn_speaker {
    const char *name;
    float named; /* the share of the name's terms that the question has */
} mn_speaker;

/* The speakers met so far. */
typedef struct mn_speakers {
    mn_speaker *items;
    size_t n, capacity;
} mn_speakers;

/* The places around a row; what has been read once is not read again. */
typedef struct mn_surroundings {
    uint32_t row;
    size_t n;
    mn_near *items;
} mn_surroundings;

/* One namespace. */
typedef struct mn_space_search {
    const mn_namespace *space;
    mn_rows rows;
    mn_row_filter filter;
    bool restricted; /* to the rows of `ranges` */
    mn_row_ranges ranges;
    mn_vector_blocks vectors;
    mn_scan scan;
    mn_bm25 bm25;
    bool has_dense, has_lexical;      /* which sides this question has here */
    bool has_feedback, has_expansion; /* the same of the refined question */
    mn_scan feedback;
    mn_bm25 expansion;
    bool has_speakers, has_times; /* some record here has one; asked for when the question needs it */
    mn_speakers speakers;
    mn_surroundings *surroundings; /* MN_SURROUNDINGS slots, found by row; NULL = none read yet */
} mn_space_search;

typedef struct mn_retrieval {
    mn_read *read;
    const mn_question *question;
    const mn_retrieve_options *options;
    mn_arena *arena;
    mn_arena beside; /* of what is done at the same time as what uses `arena` */
    mneme_error *error;
    mn_term_list terms;
    mn_space_search *spaces;
    size_t n_spaces;
    mn_candidate *candidates; /* by place: namespace, then row; in the arena */
    size_t n, capacity;
    mn_fusion fusion;
    mn_dates dates; /* that the question names */
} mn_retrieval;

/* Where a worker of a crew may take memory. */
static inline mn_arena *mn_arena_of(mn_retrieval *run, unsigned worker)
{
    return worker == 0 ? run->arena : &run->beside;
}

/* ---- candidates.c ---- */

enum { MN_DENSE_SPREADING_HITS = 20 }; /* hits that pass on score in dense mode, at most */

/* Search the namespaces (borrowed): fills in run->spaces and run->candidates. */
mneme_status mn_find_candidates(mn_retrieval *run, const mn_namespace *namespaces, size_t n);
/* A row on its way to be a candidate, and what is known of it. */
typedef struct mn_new_row {
    uint32_t row;
    bool knows_cosine, knows_share; /* what is not known is measured: */
    bool has_vector;
    float cosine, share;       /* with the question */
    float feedback, expansion; /* with the refined question; 0 where there is none yet */
} mn_new_row;

/* Live rows of one namespace, ascending, none of them a candidate, come in behind the candidates, with exact scores for
 * the question, and for the refined one where there is one. Products and words are measured at the same time. */
mneme_status mn_add_candidates(mn_retrieval *run, mn_space_search *search, mn_new_row *rows, size_t n);
/* max(0, cosine) of a question and a row; 0 when the row has no vector. */
float mn_dense_score(const mn_scan *scan, uint32_t row, bool *has_vector);
/* What a candidate is ranked by. */
float mn_candidate_score(const mn_candidate *candidate);
/* One of the first n candidates; NULL: this row is none. */
mn_candidate *mn_candidate_at(const mn_retrieval *run, size_t n, uint32_t ns_index, uint32_t row);
/* Those behind the first n, which are by place among themselves and are none of these, go where they belong. */
mneme_status mn_settle_candidates(mn_retrieval *run, size_t n);
/* Of the candidates first .. first + n - 1 the m that score highest, best first, equal ones by place: items[i].row is
 * the number of a candidate. In the arena. */
mneme_status mn_best_candidates(const mn_retrieval *run, size_t first, size_t n, size_t m, mn_top *out);

/* ---- nearby_words.c ---- */

enum {
    MN_NEARBY_HITS = 50,   /* whose surroundings are read. 50, 100 and 200 gave LoCoMo the same recall within 0.004 */
    MN_SURROUNDINGS = 256, /* a power of two; rows that fall into one slot take turns */
};

/* The places within options->neighbour_reach of a row that the filter passes; *out borrowed until the next call for
 * this namespace. */
mneme_status mn_surroundings_of(mn_retrieval *run, mn_space_search *search, uint32_t row, const mn_surroundings **out);

/* A turn answers with its own words a question that the one before it asks with others. So a word of the question that
 * stands near a hit counts for the hit, less with distance:
 *
 *     lexical = sum over the question's terms t of  max(own_t, nearby^d * there_t of the places at distance d)
 *
 * own_t, there_t: what BM25 gives the hit, and the place, for t. A term counts once, however often it stands around:
 * sums let talkative surroundings win. (Counts carried to nearby positions: Lv, Zhai 2009, "Positional Language Models
 * for Information Retrieval".) Places that the filter refuses give nothing.
 *
 * For the hits (<= MN_NEARBY_HITS, from mn_best_candidates). Raises their `lexical`. */
mneme_status mn_add_nearby_words(mn_retrieval *run, const mn_top *hits);

/* ---- feedback.c, expansion.c ---- */

enum {
    MN_FEEDBACK_HITS = 10,   /* memories that refine a question, per namespace */
    MN_FEEDBACK_SPACES = 32, /* a question over more namespaces is not refined: it would cost too much */
    MN_EXPANSION_TERMS = 10,
    MN_EXPANSION_AGREE = 2, /* hits that must have a term: what one alone says is about that hit, not the question */
    MN_EXPANSION_LOOKED_AT = 32, /* terms whose frequency in the store is looked up */
};

/* Refine the question by the best hits of each namespace (at most MN_FEEDBACK_HITS) with
 *
 *     attention  a = softmax(scale * own) over the hits
 *
 * feedback.c: q' = (q + weight * sum a_i v_i) / |...|, one step of a modern Hopfield network with the hits' vectors as
 * its stored patterns (Ramsauer et al. 2020, "Hopfield Networks is All You Need"). Attention goes by the fused score,
 * which has the same scale for every encoder, not by the cosine, which has not.
 *
 * expansion.c: the words of the hits, p(t) = sum a_i f_i(t) / length_i, and of the terms that the question has not the
 * MN_EXPANSION_TERMS with the highest p(t) * idf(t) as a second question with counts p(t): RM3 (Abdul-Jaleel et al.
 * 2004, "UMass at TREC 2004") with BM25 as its model.
 *
 * All candidates get their scores for the refined question (mn_rescore), and rows with the most of its words come in.
 */
mneme_status mn_refine(mn_retrieval *run);
/* The texts of the hits as their chunks are indexed; each to be freed. Reads the store. */
mneme_status mn_read_hit_texts(const mn_retrieval *run, const mn_space_search *search, const mn_candidate *const *hits,
                               size_t n, mn_buffer *texts);
/* The second question of a namespace, search->expansion, from the texts of its hits, best first. Reads the store. */
mneme_status mn_expand(mn_retrieval *run, mn_space_search *search, const mn_buffer *texts, const double *attention,
                       size_t n);
/* A score for the question and one for the refined question, of its words:
 *     (lexical + weight * the expansion's share) / (1 + weight) */
float mn_expanded_score(const mn_retrieval *run, float lexical, float share);

/* ---- cues.c ---- */

/* Hits whose speakers are looked at; the same recall on LoCoMo as with all. For the dates of a question, all are. */
enum { MN_CUE_HITS = 150 };

/* What a question says about who and when: the score becomes
 *
 *     (own + neighbour + speaker_weight * named + time_weight * nearness) / (1 + speaker_weight + time_weight)
 *
 * named: the share of the speaker's name that stands in the question; nearness: of the turn's time to the dates in it
 * (dates.h). A weight is left out of both sums when the question names no speaker of these hits, no date. This comes
 * after the spread: what stands beside a turn is not lifted because of who spoke there. */
mneme_status mn_add_cues(mn_retrieval *run);

#endif
