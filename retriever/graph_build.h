/* graph_build.h -- making the graph of an HNSW index from its codes (graph.h names the paper), in memory, and writing
 * it as FAISS does.
 *
 *     mn_graph_builder_new --> codes filled in --> mn_graph_builder_add --> mn_graph_builder_write
 *                                                       |
 *                                                       mn_graph_builder_walk: what is there so far, to be searched
 *
 * With one thread the same codes give the same graph; with more, nodes that are added at once do not see each other,
 * and it is another one each time, as good. One thread calls. */
#ifndef MN_RETRIEVER_GRAPH_BUILD_H
#define MN_RETRIEVER_GRAPH_BUILD_H

#include "retriever/graph.h"

typedef struct mn_graph_builder mn_graph_builder;

typedef struct mn_graph_recipe {
    uint32_t links;  /* M: that a node has on each level, twice as many on level 0; 2 .. 128 */
    uint32_t effort; /* efConstruction: among how many of the nearest that are found they are chosen */
    unsigned n_threads;
} mn_graph_recipe;

/* For shape->n positions, at most 2^31 - 1. Takes memory for all of them, as much as the file will have and a few MB a
 * thread. *out: owned, mn_graph_builder_free. ERR_MEMORY. */
mneme_status mn_graph_builder_new(const mn_graph_shape *shape, const mn_graph_recipe *recipe, mn_graph_builder **out,
                                  mneme_error *error);
void mn_graph_builder_free(mn_graph_builder *builder); /* NULL is fine */

/* Where the codes of a position are to be put (mn_index_encode), before it is added. */
unsigned char *mn_graph_builder_codes(mn_graph_builder *builder, uint64_t position);

/* Asked about every 512 nodes, on the calling thread, with how many are in the graph; false: do not go on. */
typedef bool (*mn_graph_go_on)(void *context, uint64_t n_added);

/* Add the positions that are not in the graph yet, up to end - 1. False: go_on did not want it; the builder is of no
 * further use then. go_on: NULL = none. */
bool mn_graph_builder_add(mn_graph_builder *builder, uint64_t end, mn_graph_go_on go_on, void *context);

/* A graph of those that were added, where they lie in the builder. To be freed (mn_graph_free) before more are added.
 * ERR_MEMORY. */
mneme_status mn_graph_builder_walk(const mn_graph_builder *builder, mn_graph **out, mneme_error *error);

/* Write it; all positions must have been added. */
mneme_status mn_graph_builder_write(const mn_graph_builder *builder, const char *path, mneme_error *error);

#endif
