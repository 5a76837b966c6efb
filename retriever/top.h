/* top.h -- the best n of many scored rows: a bounded heap. */
#ifndef MN_RETRIEVER_TOP_H
#define MN_RETRIEVER_TOP_H

#include "common/memory.h"

#include <stdint.h>

typedef struct mn_scored {
    float score;
    uint32_t row;
} mn_scored;

typedef struct mn_top {
    mn_scored *items; /* a heap, the worst on top, until mn_top_sort */
    size_t n, capacity;
} mn_top;

/* An empty one for at most `capacity` rows, in the arena. False: out of memory. */
bool mn_top_init(mn_top *top, size_t capacity, mn_arena *arena);
/* Would this row be kept now? Never one whose score is not a number. */
bool mn_top_wants(const mn_top *top, float score, uint32_t row);
/* Keep it (it must be wanted), and let go of the worst when full. */
void mn_top_put(mn_top *top, float score, uint32_t row);
/* Best first; equal scores by lower row. No put after it. */
void mn_top_sort(mn_top *top);
/* For qsort: mn_scored in the order of their rows. */
int mn_scored_by_row(const void *left, const void *right);

#endif
