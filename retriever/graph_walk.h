/* graph_walk.h -- from node to node towards a question: what searching a graph and building one have in common.
 *
 * HNSW's algorithm 2 (graph.h names the paper), the links and codes read where they lie. Nodes are kept as one number,
 * how far they are (code_products.h) in the upper half and their position in the lower: the order of numbers is the
 * order of nodes, equal ones by position. One thread a walk. */
#ifndef MN_RETRIEVER_GRAPH_WALK_H
#define MN_RETRIEVER_GRAPH_WALK_H

#include "retriever/code_products.h"
#include "retriever/graph_layout.h"
#include "retriever/number_heap.h"

/* What a walk works with, from one to the next. */
typedef struct mn_walk_space {
    uint64_t *visited; /* one bit a position */
    size_t n_words;    /* of them */
    void *question;    /* as the kernel wants it */
    mn_number_heap beam, found, waiting;
} mn_walk_space;

/* For graphs of n positions of `padded` numbers. False: out of memory; to be freed all the same. */
bool mn_walk_space_init(mn_walk_space *space, uint64_t n, uint32_t padded);
/* Room for a beam of `effort` and for k nodes beside it. False: out of memory. */
bool mn_walk_space_reserve(mn_walk_space *space, size_t effort, size_t k);
void mn_walk_space_free(mn_walk_space *space);

typedef struct mn_walk {
    const mn_graph_layout *graph; /* with at least one node */
    mn_code_products products;
    mn_code_rows rows;            /* the graph's codes, and space->question */
    const unsigned char *allowed; /* NULL = all; else the k nearest of these go into space->found */
    size_t k, effort;             /* that space was reserved for */
    mn_walk_space *space;
} mn_walk;

static inline uint64_t mn_walk_number(uint32_t far, uint32_t position)
{
    return (uint64_t)far << 32 | position;
}

/* The entry, as a number. */
uint64_t mn_walk_entry(const mn_walk *walk);
/* From a node of level `level` greedily down to the level above `end`: the nearest node that was found. */
uint64_t mn_walk_descend(const mn_walk *walk, uint64_t nearest, uint32_t level, uint32_t end);

/* Walk over a level from `seeds`, nodes of it: the `effort` nearest that were met are in space->beam afterwards, as
 * ~numbers. */
void mn_walk_level(const mn_walk *walk, uint32_t level, const uint64_t *seeds, size_t n);

#endif
