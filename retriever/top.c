/* top.c -- a binary heap whose root is the worst row kept. */
#include "retriever/top.h"

#include <stdlib.h>

static bool better(mn_scored a, mn_scored b)
{
    return a.score > b.score || (!(a.score < b.score) && a.row < b.row);
}

bool mn_top_init(mn_top *top, size_t capacity, mn_arena *arena)
{
    *top = (mn_top){.items = mn_arena_array(arena, capacity, sizeof(mn_scored)), .capacity = capacity};
    return top->items != NULL;
}

bool mn_top_wants(const mn_top *top, float score, uint32_t row)
{
    if (score != score || top->capacity == 0) return false;
    return top->n < top->capacity || better((mn_scored){score, row}, top->items[0]);
}

static void sift_up(mn_scored *heap, size_t at)
{
    mn_scored item = heap[at];
    while (at > 0 && better(heap[(at - 1) / 2], item)) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = item;
}

static void sift_down(mn_scored *heap, size_t n, mn_scored item)
{
    size_t at = 0;
    for (size_t child = 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && better(heap[child], heap[child + 1])) child++;
        if (!better(item, heap[child])) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
}

void mn_top_put(mn_top *top, float score, uint32_t row)
{
    mn_scored item = {score, row};
    if (top->n < top->capacity) {
        top->items[top->n] = item;
        sift_up(top->items, top->n++);
    } else {
        sift_down(top->items, top->n, item);
    }
}

static int best_first(const void *left, const void *right)
{
    const mn_scored *a = left, *b = right;
    return better(*a, *b) ? -1 : better(*b, *a) ? 1 : 0;
}

void mn_top_sort(mn_top *top)
{
    if (top->n > 1) qsort(top->items, top->n, sizeof *top->items, best_first);
}

int mn_scored_by_row(const void *left, const void *right)
{
    const mn_scored *a = left, *b = right;
    return (a->row > b->row) - (a->row < b->row);
}
