/* graph.c -- the walk.
 *
 *     top level, from the entry: always to the nearest neighbour, until none is nearer; one level down, again
 *     level 0: waiting   nodes whose neighbours were not looked at yet, the nearest first
 *              beam      the `effort` nearest nodes seen; its farthest says when to stop
 *              found     the k nearest of those that are allowed (with a filter alone: else the beam has them)
 *
 * Nodes are kept as one number, how far they are in the upper half and their position in the lower: the order of
 * numbers is the order of nodes, equal ones by position. What a walk costs is waiting for codes and links that lie all
 * over the map, so both are asked for before they are needed: the codes of a node's unseen neighbours while others are
 * multiplied (code_products.h), and the links of the node that is likely to be next.
 *
 * Bits of visited nodes and heaps are kept from search to search, one set for each search that ran at once. */
#include "retriever/graph.h"

#include "common/memory.h"
#include "retriever/code_products.h"
#include "retriever/graph_layout.h"

#include <math.h>
#include <pthread.h>

/* ---- heaps of numbers, the least first ---- */

typedef struct heap {
    uint64_t *items; /* items[1] is the least */
    size_t n, room;
} heap;

static void sift_down(heap *h, uint64_t item)
{
    size_t at = 1, child;
    while ((child = 2 * at) <= h->n) {
        if (child < h->n) child += h->items[child + 1] < h->items[child];
        if (h->items[child] >= item) break;
        h->items[at] = h->items[child];
        at = child;
    }
    h->items[at] = item;
}

static void heap_put(heap *h, uint64_t item)
{
    size_t at = ++h->n;
    for (; at > 1 && h->items[at / 2] > item; at /= 2) h->items[at] = h->items[at / 2];
    h->items[at] = item;
}

static uint64_t heap_take(heap *h)
{
    uint64_t least = h->items[1], last = h->items[h->n--];
    if (h->n) sift_down(h, last);
    return least;
}

static bool heap_reserve(heap *h, size_t n)
{
    h->n = 0;
    if (n < h->room) return true;
    uint64_t *items = mn_realloc_array(h->items, n + 1, sizeof *items);
    if (!items) return false;
    h->items = items;
    h->room = n + 1;
    return true;
}

/* ---- what a search works with ---- */

typedef struct walk_space walk_space;
struct walk_space {
    walk_space *next;
    uint64_t *visited;         /* one bit a position */
    heap beam, found, waiting; /* beam and found: of ~number, so that the farthest comes first */
    void *question;            /* as the kernel wants it */
};

struct mn_graph {
    mn_graph_layout layout;
    mn_graph_shape shape;
    mn_code_products products;
    pthread_mutex_t lock; /* of idle */
    walk_space *idle;
};

typedef struct walk {
    const mn_graph_layout *graph;
    mn_code_products products;
    mn_code_rows rows;
    const unsigned char *allowed;
    size_t k, effort;
    walk_space *space;
} walk;

static size_t visited_words(const mn_graph *graph)
{
    return (size_t)(graph->shape.n + 63) / 64;
}

static void free_space(walk_space *space)
{
    if (!space) return;
    mn_free(space->visited);
    mn_free(space->beam.items);
    mn_free(space->found.items);
    mn_free(space->waiting.items);
    mn_free(space->question);
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
    if (!space) return NULL;
    space->visited = mn_alloc_array(visited_words(graph), sizeof *space->visited);
    space->question = mn_alloc_array(graph->shape.padded, sizeof(float));
    if (space->visited && space->question) return space;
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

mneme_status mn_graph_open(const unsigned char *part, size_t size, const mn_graph_shape *shape, mn_graph **out,
                           mneme_error *error)
{
    mn_graph_layout layout;
    *out = NULL;
    mneme_status status = mn_graph_read_layout(part, size, shape, &layout, error);
    if (status != MNEME_OK) return status;
    mn_graph *graph = mn_alloc_zeroed(1, sizeof *graph);
    if (!graph) return mn_fail_memory(error, "index");
    *graph = (mn_graph){layout, *shape, mn_code_products_for(shape->kind, mn_cpu_detect()), .idle = NULL};
    pthread_mutex_init(&graph->lock, NULL);
    *out = graph;
    return MNEME_OK;
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

static bool begin(walk *w, const mn_graph *graph, const mn_graph_question *question)
{
    walk_space *space = w->space;
    size_t k = question->k < graph->shape.n ? question->k : (size_t)graph->shape.n;
    size_t effort = question->effort > k ? question->effort : k;
    w->graph = &graph->layout;
    w->products = graph->products;
    w->rows = (mn_code_rows){graph->layout.codes, graph->layout.row_bytes, graph->shape.padded, space->question};
    w->allowed = question->allowed;
    w->k = k;
    w->effort = effort < graph->shape.n ? effort : (size_t)graph->shape.n;
    arrange(&graph->shape, question->vector, space->question);
    memset(space->visited, 0, visited_words(graph) * sizeof *space->visited);
    return heap_reserve(&space->beam, w->effort) && heap_reserve(&space->found, w->k) &&
           heap_reserve(&space->waiting, 2 * w->effort + MN_GRAPH_MOST_LINKS);
}

/* ---- steps ---- */

static uint64_t number_of(uint32_t far, uint32_t position)
{
    return (uint64_t)far << 32 | position;
}

static bool visit(walk *w, uint32_t position)
{
    uint64_t *word = &w->space->visited[position / 64], bit = (uint64_t)1 << position % 64;
    bool is_new = !(*word & bit);
    *word |= bit;
    return is_new;
}

/* A node's neighbours of a level; of level 0 those alone that were not visited before, and are now. */
static size_t list_neighbours(walk *w, uint32_t node, uint32_t level, uint32_t *out)
{
    uint32_t room;
    size_t n = 0;
    const unsigned char *links = mn_graph_links(w->graph, node, level, &room);
    for (uint32_t i = 0; i < room; i++) {
        uint32_t position;
        memcpy(&position, links + i * sizeof position, sizeof position);
        if (position >= w->graph->n) break; /* -1: the list ends */
        out[n] = position;
        n += level > 0 || visit(w, position);
    }
    return n;
}

static void fetch_links(const walk *w, uint32_t node)
{
    uint32_t room;
    const unsigned char *links = mn_graph_links(w->graph, node, 0, &room);
    for (size_t at = 0; at < room * sizeof(int32_t); at += 64) __builtin_prefetch(links + at);
}

static uint64_t descend(walk *w)
{
    uint32_t neighbours[MN_GRAPH_MOST_LINKS], far[MN_GRAPH_MOST_LINKS], entry = w->graph->entry;
    w->products(&w->rows, &entry, 1, far);
    uint64_t nearest = number_of(far[0], entry);
    for (uint32_t level = w->graph->top_level; level > 0; level--) {
        uint64_t before;
        do {
            before = nearest;
            size_t n = list_neighbours(w, (uint32_t)nearest, level, neighbours);
            w->products(&w->rows, neighbours, n, far);
            for (size_t i = 0; i < n; i++) {
                uint64_t number = number_of(far[i], neighbours[i]);
                if (number < nearest) nearest = number;
            }
        } while (nearest != before);
    }
    return nearest;
}

/* Of the nodes that wait, only those of the beam will have their turn. */
static void drop_far(walk *w)
{
    heap *waiting = &w->space->waiting;
    uint64_t farthest = ~w->space->beam.items[1];
    size_t n = waiting->n;
    waiting->n = 0;
    for (size_t i = 1; i <= n; i++)
        if (waiting->items[i] <= farthest) heap_put(waiting, waiting->items[i]);
}

static bool is_allowed(const walk *w, uint32_t position)
{
    return ((unsigned)w->allowed[position / 8] >> position % 8 & 1u) != 0;
}

/* Keep the n_most nearest. */
static bool keep(heap *h, size_t n_most, uint64_t number)
{
    if (h->n < n_most) {
        heap_put(h, ~number);
        return true;
    }
    if (n_most == 0 || number >= ~h->items[1]) return false;
    sift_down(h, ~number);
    return true;
}

static void meet(walk *w, uint64_t number)
{
    if (w->allowed && is_allowed(w, (uint32_t)number)) keep(&w->space->found, w->k, number);
    if (keep(&w->space->beam, w->effort, number)) heap_put(&w->space->waiting, number);
}

static void walk_level_0(walk *w)
{
    walk_space *space = w->space;
    uint32_t neighbours[MN_GRAPH_MOST_LINKS], far[MN_GRAPH_MOST_LINKS];
    uint64_t first = descend(w);
    visit(w, (uint32_t)first);
    meet(w, first);
    while (space->waiting.n) {
        uint64_t number = heap_take(&space->waiting);
        if (space->beam.n == w->effort && number > ~space->beam.items[1]) break;
        size_t n = list_neighbours(w, (uint32_t)number, 0, neighbours);
        if (space->waiting.n) fetch_links(w, (uint32_t)space->waiting.items[1]);
        if (space->waiting.n + n >= space->waiting.room) drop_far(w);
        w->products(&w->rows, neighbours, n, far);
        for (size_t i = 0; i < n; i++) meet(w, number_of(far[i], neighbours[i]));
    }
}

mneme_status mn_graph_search(mn_graph *graph, const mn_graph_question *question, int64_t *positions, mneme_error *error)
{
    for (size_t i = 0; i < question->k; i++) positions[i] = -1;
    if (graph->shape.n == 0 || question->k == 0) return MNEME_OK;
    walk w = {.space = take_space(graph)};
    if (!w.space) return mn_fail_memory(error, "search");
    bool ready = begin(&w, graph, question);
    if (ready) {
        heap *best = w.allowed ? &w.space->found : &w.space->beam;
        walk_level_0(&w);
        while (best->n > w.k) heap_take(best);
        while (best->n) {
            size_t at = best->n - 1;
            positions[at] = (int64_t)(uint32_t)~heap_take(best);
        }
    }
    give_back(graph, w.space);
    return ready ? MNEME_OK : mn_fail_memory(error, "search");
}
