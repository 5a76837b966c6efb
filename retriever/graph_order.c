/* graph_order.c -- shuffling and sorting. */
#include "retriever/graph_order.h"

#include "common/random.h"

#include <stdlib.h>

/* A number that has nothing to do with x, always the same. */
static uint64_t mix(uint64_t x)
{
    mn_random random = {x};
    return mn_random_next(&random);
}

int32_t mn_graph_draw_levels(uint32_t node, const double *shares, uint32_t n_levels)
{
    double number = (double)(mix(node) >> 11) / 9007199254740992.0; /* 2^53 */
    uint32_t level = 0;
    for (; level + 1 < n_levels && number >= shares[level]; level++) number -= shares[level];
    return (int32_t)level + 1;
}

static void shuffle(mn_graph_turn *turns, size_t n)
{
    mn_random random = {n};
    for (size_t i = n; i > 1; i--) {
        size_t other = mn_random_next(&random) % i;
        mn_graph_turn turn = turns[other];
        turns[other] = turns[i - 1];
        turns[i - 1] = turn;
    }
}

void mn_graph_order(const int32_t *n_levels, uint64_t first, uint64_t end, mn_graph_turn *turns, size_t *n_above)
{
    int32_t most = 1;
    size_t n = 0;
    for (uint64_t i = first; i < end; i++)
        if (n_levels[i] > most) most = n_levels[i];
    for (int32_t levels = most; levels > 0; levels--) {
        size_t start = n;
        for (uint64_t i = first; i < end; i++)
            if (n_levels[i] == levels) turns[n++] = (mn_graph_turn){(uint32_t)i, MN_GRAPH_NO_HOME, MN_GRAPH_NO_HOME};
        shuffle(turns + start, n - start);
        *n_above = start;
    }
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* In an order of regions and homes that has nothing to do with that of the rows. */
static int compare_turns(const void *left, const void *right)
{
    const mn_graph_turn *a = left, *b = right;
    int order = compare(mix(a->region), mix(b->region));
    if (order == 0) order = compare(mix(a->home), mix(b->home));
    return order ? order : compare(a->node, b->node);
}

void mn_graph_gather(mn_graph_turn *turns, size_t n)
{
    qsort(turns, n, sizeof *turns, compare_turns);
}
