/* graph_walk.c -- the steps.
 *
 *     waiting   nodes whose neighbours were not looked at yet, the nearest first
 *     beam      the `effort` nearest nodes seen; its farthest says when to stop
 *     found     the k nearest of those that are allowed (with a filter alone: else the beam has them)
 *
 * What a walk costs is waiting for codes and links that lie all over memory, so both are asked for before they are
 * needed: the codes of a node's unseen neighbours while others are multiplied (code_products.h), and the links of the
 * node that is likely to be next. */
#include "retriever/graph_walk.h"

bool mn_walk_space_init(mn_walk_space *space, uint64_t n, uint32_t padded)
{
    *space = (mn_walk_space){.n_words = (size_t)(n + 63) / 64};
    space->visited = mn_alloc_array(space->n_words, sizeof *space->visited);
    space->question = mn_alloc_array(padded, sizeof(float));
    return space->visited && space->question;
}

bool mn_walk_space_reserve(mn_walk_space *space, size_t effort, size_t k)
{
    return mn_heap_reserve(&space->beam, effort) && mn_heap_reserve(&space->found, k) &&
           mn_heap_reserve(&space->waiting, 2 * effort + MN_GRAPH_MOST_LINKS);
}

void mn_walk_space_free(mn_walk_space *space)
{
    mn_free(space->visited);
    mn_free(space->question);
    mn_free(space->beam.items);
    mn_free(space->found.items);
    mn_free(space->waiting.items);
}

static bool visit(const mn_walk *w, uint32_t position)
{
    uint64_t *word = &w->space->visited[position / 64], bit = (uint64_t)1 << position % 64;
    bool is_new = !(*word & bit);
    *word |= bit;
    return is_new;
}

/* A node's neighbours that were not visited before, and are now. */
static size_t list_unseen(const mn_walk *w, uint32_t node, uint32_t level, uint32_t *out)
{
    size_t n = mn_graph_list(w->graph, node, level, out), n_unseen = 0;
    for (size_t i = 0; i < n; i++) {
        out[n_unseen] = out[i];
        n_unseen += visit(w, out[i]);
    }
    return n_unseen;
}

static void fetch_links(const mn_walk *w, uint32_t node, uint32_t level)
{
    uint32_t room;
    const unsigned char *links = mn_graph_links(w->graph, node, level, &room);
    for (size_t at = 0; at < room * sizeof(int32_t); at += 64) __builtin_prefetch(links + at);
}

uint64_t mn_walk_entry(const mn_walk *w)
{
    uint32_t far;
    w->products(&w->rows, &w->graph->entry, 1, &far);
    return mn_walk_number(far, w->graph->entry);
}

uint64_t mn_walk_descend(const mn_walk *w, uint64_t nearest, uint32_t level, uint32_t end)
{
    uint32_t neighbours[MN_GRAPH_MOST_LINKS], far[MN_GRAPH_MOST_LINKS];
    for (; level > end; level--) {
        uint64_t before;
        do {
            before = nearest;
            size_t n = mn_graph_list(w->graph, (uint32_t)nearest, level, neighbours);
            w->products(&w->rows, neighbours, n, far);
            for (size_t i = 0; i < n; i++) {
                uint64_t number = mn_walk_number(far[i], neighbours[i]);
                if (number < nearest) nearest = number;
            }
        } while (nearest != before);
    }
    return nearest;
}

/* Of the nodes that wait, only those of the beam will have their turn. */
static void drop_far(const mn_walk *w)
{
    mn_number_heap *waiting = &w->space->waiting;
    uint64_t farthest = ~w->space->beam.items[1];
    size_t n = waiting->n;
    waiting->n = 0;
    for (size_t i = 1; i <= n; i++)
        if (waiting->items[i] <= farthest) mn_heap_put(waiting, waiting->items[i]);
}

static bool is_allowed(const mn_walk *w, uint32_t position)
{
    return ((unsigned)w->allowed[position / 8] >> position % 8 & 1u) != 0;
}

/* Keep the n_most nearest. */
static bool keep(mn_number_heap *h, size_t n_most, uint64_t number)
{
    if (h->n < n_most) {
        mn_heap_put(h, ~number);
        return true;
    }
    if (n_most == 0 || number >= ~h->items[1]) return false;
    mn_heap_replace(h, ~number);
    return true;
}

static void meet(const mn_walk *w, uint64_t number)
{
    if (w->allowed && is_allowed(w, (uint32_t)number)) keep(&w->space->found, w->k, number);
    if (keep(&w->space->beam, w->effort, number)) mn_heap_put(&w->space->waiting, number);
}

void mn_walk_level(const mn_walk *w, uint32_t level, const uint64_t *seeds, size_t n_seeds)
{
    mn_walk_space *space = w->space;
    uint32_t neighbours[MN_GRAPH_MOST_LINKS], far[MN_GRAPH_MOST_LINKS];
    memset(space->visited, 0, space->n_words * sizeof *space->visited);
    space->beam.n = space->found.n = space->waiting.n = 0;
    for (size_t i = 0; i < n_seeds; i++)
        if (visit(w, (uint32_t)seeds[i])) meet(w, seeds[i]);
    while (space->waiting.n) {
        uint64_t number = mn_heap_take(&space->waiting);
        if (space->beam.n == w->effort && number > ~space->beam.items[1]) break;
        size_t n = list_unseen(w, (uint32_t)number, level, neighbours);
        if (space->waiting.n) fetch_links(w, (uint32_t)space->waiting.items[1], level);
        if (space->waiting.n + n >= space->waiting.room) drop_far(w);
        w->products(&w->rows, neighbours, n, far);
        for (size_t i = 0; i < n; i++) meet(w, mn_walk_number(far[i], neighbours[i]));
    }
}
