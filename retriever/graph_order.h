/* graph_order.h -- how high nodes of a graph are, and in which order they are added. The same on every run. */
#ifndef MN_RETRIEVER_GRAPH_ORDER_H
#define MN_RETRIEVER_GRAPH_ORDER_H

#include <stddef.h>
#include <stdint.h>

/* A node that is to be added. */
typedef struct mn_graph_turn {
    uint32_t node;
    uint32_t home;   /* the nearest node above level 0 that was found, MN_GRAPH_NO_HOME: not looked for */
    uint32_t region; /* the same above level 1 */
} mn_graph_turn;

#define MN_GRAPH_NO_HOME UINT32_MAX

/* How many levels a node is on: drawn from the shares of its number alone, so that it does not depend on how many there
 * are. */
int32_t mn_graph_draw_levels(uint32_t node, const double *shares, uint32_t n_levels);

/* The nodes first .. end - 1, those of each level shuffled, the highest first; n_levels of all nodes. *n_above: how
 * many of them are above level 0. */
void mn_graph_order(const int32_t *n_levels, uint64_t first, uint64_t end, mn_graph_turn *turns, size_t *n_above);

/* Put those of one home one after the other, and homes of one region. */
void mn_graph_gather(mn_graph_turn *turns, size_t n);

#endif
