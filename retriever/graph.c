/* graph.c -- questions to a graph.
 *
 *     top level, from the entry: always to the nearest neighbour, until none is nearer; one level down, again
 *     level 0: with a beam of the `effort` nearest (graph_walk.c)
 *
 * Bits of visited nodes and heaps are kept from search to search, one set for each search that ran at once. */
#include "retriever/graph.h"

#include "common/memory.h"
#include "retriever/graph_walk.h"

#include <math.h>
#include <pthread.h>

typedef struct walk_space walk_space;
struct walk_space {
    walk_space *next;
    mn_walk_space space;
};

struct mn_graph {
    mn_graph_layout layout;
    mn_graph_shape shape;
    mn_code_products products;
    pthread_mutex_t lock; /* of idle */
    walk_space *idle;
};

static void free_space(walk_space *space)
{
    if (!space) return;
    mn_walk_space_free(&space->space);
    mn_free(space);
}

static walk_space *take_space(mn_graph *graph)
{
    pthread_mutex_lock(&graph->lock);
    walk_space *space = graph->idle;
    if (space) graph->idle = space->next;
    pthread_mutex_unlock(&graph->lock);
    if (space) return space;
    space = mn_alloc_zeroed(1, sizeof *space);
    if (space && mn_walk_space_init(&space->space, graph->shape.n, graph->shape.padded)) return space;
    free_space(space);
    return NULL;
}

static void give_back(mn_graph *graph, walk_space *space)
{
    pthread_mutex_lock(&graph->lock);
    space->next = graph->idle;
    graph->idle = space;
    pthread_mutex_unlock(&graph->lock);
}

mneme_status mn_graph_of_layout(const mn_graph_layout *layout, const mn_graph_shape *shape, mn_graph **out,
                                mneme_error *error)
{
    mn_graph *graph = *out = mn_alloc_zeroed(1, sizeof *graph);
    if (!graph) return mn_fail_memory(error, "index");
    *graph = (mn_graph){*layout, *shape, mn_code_products_for(shape->kind, mn_cpu_detect()), .idle = NULL};
    pthread_mutex_init(&graph->lock, NULL);
    return MNEME_OK;
}

mneme_status mn_graph_open(const unsigned char *part, size_t size, const mn_graph_shape *shape, mn_graph **out,
                           mneme_error *error)
{
    mn_graph_layout layout;
    *out = NULL;
    mneme_status status = mn_graph_read_layout(part, size, shape, &layout, error);
    return status == MNEME_OK ? mn_graph_of_layout(&layout, shape, out, error) : status;
}

void mn_graph_free(mn_graph *graph)
{
    if (!graph) return;
    for (walk_space *space = graph->idle, *next; space; space = next) {
        next = space->next;
        free_space(space);
    }
    pthread_mutex_destroy(&graph->lock);
    mn_free(graph);
}

/* ---- the question ---- */

/* Whole numbers of at most 15 bits, whose sum stays where the kernels need it. */
static void quantize(const float *vector, uint32_t n, int16_t *out)
{
    double largest = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        double number = fabs((double)vector[i]);
        largest = number > largest ? number : largest;
        sum += number;
    }
    double to_code = largest > 0 ? 32767 / largest : 0; /* rounding adds at most 1/2 to each: leave room for n */
    if (sum * to_code > MN_CODE_SUM_MOST - (double)n) to_code = (MN_CODE_SUM_MOST - (double)n) / sum;
    for (uint32_t i = 0; i < n; i++) out[i] = (int16_t)lrint((double)vector[i] * to_code);
}

/* As the kernels want it. */
static void arrange(const mn_graph_shape *shape, const float *vector, void *out)
{
    float *numbers = out;
    uint32_t n = shape->padded;
    if (shape->kind == MN_INDEX_HNSW) quantize(vector, n, out);
    if (shape->kind == MN_INDEX_HNSW_F32) memcpy(out, vector, n * sizeof *numbers);
    for (uint32_t i = 0; i < n && shape->kind == MN_INDEX_HNSW_BF16; i++) numbers[i % 2 * (n / 2) + i / 2] = vector[i];
}

static bool begin(mn_walk *w, const mn_graph *graph, const mn_graph_question *question)
{
    size_t k = question->k < graph->shape.n ? question->k : (size_t)graph->shape.n;
    size_t effort = question->effort > k ? question->effort : k;
    w->graph = &graph->layout;
    w->products = graph->products;
    w->rows = (mn_code_rows){graph->layout.codes, graph->layout.row_bytes, graph->shape.padded, w->space->question};
    w->allowed = question->allowed;
    w->k = k;
    w->effort = effort < graph->shape.n ? effort : (size_t)graph->shape.n;
    arrange(&graph->shape, question->vector, w->space->question);
    return mn_walk_space_reserve(w->space, w->effort, w->k);
}

static void search(const mn_walk *w, int64_t *positions)
{
    mn_number_heap *best = w->allowed ? &w->space->found : &w->space->beam;
    uint64_t first = mn_walk_descend(w, mn_walk_entry(w), w->graph->top_level, 0);
    mn_walk_level(w, 0, &first, 1);
    while (best->n > w->k) mn_heap_take(best);
    while (best->n) {
        size_t at = best->n - 1;
        positions[at] = (int64_t)(uint32_t)~mn_heap_take(best);
    }
}

mneme_status mn_graph_search(mn_graph *graph, const mn_graph_question *question, int64_t *positions, mneme_error *error)
{
    for (size_t i = 0; i < question->k; i++) positions[i] = -1;
    if (graph->shape.n == 0 || question->k == 0) return MNEME_OK;
    walk_space *space = take_space(graph);
    if (!space) return mn_fail_memory(error, "search");
    mn_walk w = {.space = &space->space};
    bool ready = begin(&w, graph, question);
    if (ready) search(&w, positions);
    give_back(graph, space);
    return ready ? MNEME_OK : mn_fail_memory(error, "search");
}
