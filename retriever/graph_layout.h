/* graph_layout.h -- where the parts of an HNSW index lie in what FAISS writes. */
#ifndef MN_RETRIEVER_GRAPH_LAYOUT_H
#define MN_RETRIEVER_GRAPH_LAYOUT_H

#include "retriever/graph.h"

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
} mn_graph_layout;

/* As mn_graph_open says. */
mneme_status mn_graph_read_layout(const unsigned char *part, size_t size, const mn_graph_shape *shape,
                                  mn_graph_layout *out, mneme_error *error);

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

#endif
