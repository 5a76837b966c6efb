/* graph.h -- the graph of an HNSW index in FAISS's format, searched where it lies in the map.
 *
 * HNSW: Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search using Hierarchical
 * Navigable Small World graphs", algorithms 2 and 5. The walk is our own, because FAISS's waits for memory at each
 * step; so is the making of a graph (graph_build.h), to which FAISS can add. Nearness is the product with the question,
 * which orders vectors of one length as their Euclidean distance does. */
#ifndef MN_RETRIEVER_GRAPH_H
#define MN_RETRIEVER_GRAPH_H

#include "common/error.h"
#include "retriever/index_kind.h"

/* An open graph. Threads: searches from any number at once. */
typedef struct mn_graph mn_graph;

/* What it must be of. */
typedef struct mn_graph_shape {
    mn_index_kind kind;
    uint32_t padded;
    uint64_t n; /* positions */
} mn_graph_shape;

/* Find the parts of what FAISS or mn_graph_write has written: `size` bytes that stay where they are while the graph is
 * used. The codes are its last n rows. Sizes are checked here, numbers of nodes and links whenever they are read: a
 * damaged file gives wrong answers at most. *out: owned, mn_graph_free. ERR_DAMAGED: it is not a graph of this shape;
 * ERR_MEMORY. */
mneme_status mn_graph_open(const unsigned char *part, size_t size, const mn_graph_shape *shape, mn_graph **out,
                           mneme_error *error);
void mn_graph_free(mn_graph *graph); /* NULL is fine */

typedef struct mn_graph_question {
    const float *vector;          /* shape.padded numbers; of what the codes stand for, in any scale */
    size_t k;                     /* positions wanted */
    size_t effort;                /* ef: how many of the nearest are gone on from; at least k are */
    const unsigned char *allowed; /* one bit a position, lowest first: others are steps on the way only; NULL = all */
} mn_graph_question;

/* The k positions that are nearest to a question, nearest first, ties by lower position, -1 where there are no more.
 * The same question gives the same positions. ERR_MEMORY. */
mneme_status mn_graph_search(mn_graph *graph, const mn_graph_question *question, int64_t *positions,
                             mneme_error *error);

#endif
