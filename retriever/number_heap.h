/* number_heap.h -- heaps of whole numbers, the least first. Kept as ~number, the greatest comes first. */
#ifndef MN_RETRIEVER_NUMBER_HEAP_H
#define MN_RETRIEVER_NUMBER_HEAP_H

#include "common/memory.h"

#include <stdint.h>

typedef struct mn_number_heap {
    uint64_t *items; /* items[1] is the least; mn_free */
    size_t n, room;
} mn_number_heap; /* start from {0} */

/* Empty it, and make room for n numbers. False: out of memory, it is as it was, but empty. */
static inline bool mn_heap_reserve(mn_number_heap *heap, size_t n)
{
    heap->n = 0;
    if (n < heap->room) return true;
    uint64_t *items = mn_realloc_array(heap->items, n + 1, sizeof *items);
    if (!items) return false;
    heap->items = items;
    heap->room = n + 1;
    return true;
}

/* Put a number in the place of the least. */
static inline void mn_heap_replace(mn_number_heap *heap, uint64_t number)
{
    size_t at = 1, child;
    while ((child = 2 * at) <= heap->n) {
        if (child < heap->n) child += heap->items[child + 1] < heap->items[child];
        if (heap->items[child] >= number) break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = number;
}

/* There must be room. */
static inline void mn_heap_put(mn_number_heap *heap, uint64_t number)
{
    size_t at = ++heap->n;
    for (; at > 1 && heap->items[at / 2] > number; at /= 2) heap->items[at] = heap->items[at / 2];
    heap->items[at] = number;
}

/* Take the least out. It must not be empty. */
static inline uint64_t mn_heap_take(mn_number_heap *heap)
{
    uint64_t least = heap->items[1], last = heap->items[heap->n--];
    if (heap->n) mn_heap_replace(heap, last);
    return least;
}

#endif
