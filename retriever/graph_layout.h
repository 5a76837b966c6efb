/* graph_layout.h -- where the parts of an HNSW index lie in a file of FAISS's. */
#ifndef MN_RETRIEVER_GRAPH_LAYOUT_H
#define MN_RETRIEVER_GRAPH_LAYOUT_H

#include "retriever/graph.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

enum { MN_GRAPH_LEVELS = 32, MN_GRAPH_MOST_LINKS = 256 };

/* Level 0 has all nodes. A node's links begin at its offset, those of level l at level_starts[l] after it; -1 ends a
 * list that is not full. Nothing is aligned. */
typedef struct mn_graph_layout {
    uint64_t n, n_links;
    const unsigned char *offsets; /* u64, n + 1 of them */
    const unsigned char *links;   /* i32, n_links of them */
    const unsigned char *codes;
    size_t row_bytes;
    uint32_t entry, top_level; /* n > 0: where a search begins */
    uint32_t n_levels;
    uint32_t level_starts[MN_GRAPH_LEVELS + 1];
    bool is_growing; /* other threads write links meanwhile: they are aligned, and read as atomic numbers */
} mn_graph_layout;

/* As mn_graph_open says. */
mneme_status mn_graph_read_layout(const unsigned char *part, size_t size, const mn_graph_shape *shape,
                                  mn_graph_layout *out, mneme_error *error);

/* How FAISS has it: twice the links on level 0, and as many levels as have a share of the nodes that is not tiny
 * (Malkov and Yashunin 2018, section 4.1: mL = 1 / ln(links)). Fills in the layout's levels, and the shares, room for
 * MN_GRAPH_LEVELS. 2 <= links <= MN_GRAPH_MOST_LINKS / 2. */
void mn_graph_plan_levels(uint32_t links, mn_graph_layout *layout, double *shares);

/* A graph that is to be written. */
typedef struct mn_graph_parts {
    const mn_graph_layout *layout; /* whole */
    const mn_graph_shape *shape;
    const int32_t *n_levels; /* that each node is on */
    const double *shares;    /* of the nodes, whose highest level this is */
    uint32_t effort;         /* of FAISS's, when it extends it */
} mn_graph_parts;

/* Write it as FAISS does, and as mn_graph_read_layout reads it. ERR_IO, ERR_DISK_FULL, ... */
mneme_status mn_graph_write(const mn_graph_parts *parts, const char *path, mneme_error *error);

/* A graph to search, over parts that stay where they are. *out: owned, mn_graph_free; ERR_MEMORY. */
mneme_status mn_graph_of_layout(const mn_graph_layout *layout, const mn_graph_shape *shape, mn_graph **out,
                                mneme_error *error);

/* The address of a node's links of a level, and how many there may be. None (0) where the file makes no sense. */
static inline const unsigned char *mn_graph_links(const mn_graph_layout *graph, uint32_t node, uint32_t level,
                                                  uint32_t *room)
{
    uint64_t offset;
    memcpy(&offset, graph->offsets + node * sizeof offset, sizeof offset);
    bool is_sound = offset <= graph->n_links && graph->level_starts[level + 1] <= graph->n_links - offset;
    *room = is_sound ? graph->level_starts[level + 1] - graph->level_starts[level] : 0;
    return graph->links + (is_sound ? (offset + graph->level_starts[level]) * sizeof(int32_t) : 0);
}

static inline uint32_t mn_graph_link(const mn_graph_layout *graph, const unsigned char *links, size_t i)
{
    uint32_t position;
    if (graph->is_growing)
        return (uint32_t)atomic_load_explicit((const atomic_int *)(const void *)links + i, memory_order_relaxed);
    memcpy(&position, links + i * sizeof position, sizeof position);
    return position;
}

/* The numbers of a node's neighbours of a level; returns how many. */
static inline size_t mn_graph_list(const mn_graph_layout *graph, uint32_t node, uint32_t level, uint32_t *out)
{
    uint32_t room, n = 0;
    const unsigned char *links = mn_graph_links(graph, node, level, &room);
    while (n < room && (out[n] = mn_graph_link(graph, links, n)) < graph->n) n++; /* -1: the list ends */
    return n;
}

#endif
