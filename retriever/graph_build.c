/* graph_build.c -- node after node into the graph, by several threads.
 *
 *     for each level of the node, from its highest down:
 *         walk (graph_walk.h) with a beam of `effort` --> candidates --> chosen
 *     its own lists are written, on all levels; only then it is put into the lists of those that it has chosen
 *
 * Chosen, by algorithm 4, are the candidates that are not nearer to one chosen before than to the node: so that links
 * lead into all directions, and not many times into one. When a list is full, what it keeps is chosen the same way.
 * Nearness is the product of two rows' codes, as in the walk: rounding to codes changes the length of unit vectors by a
 * thousandth, so that products and distances part in near ties alone. Of bytes the products are whole numbers, which
 * carry 128 times the sum of the question's codes; without that share, products of different questions can be compared.
 *
 * Levels are drawn beforehand, and nodes are added from the highest to the lowest, so that the entry never changes
 * while threads are at work. Most of the time goes into waiting for codes and links: so the nodes of level 0 alone are
 * added region by region, when a part of them is there (SCATTERED), which takes a third less. Threads share the links:
 * a list is written under one of LOCKS locks, and read without, number by number. A reader may see a list that is half
 * new: all that it can hold are nodes of that level that are linked themselves. */
#include "retriever/graph_build.h"

#include "common/threads.h"
#include "memstore/vector_codes.h"
#include "retriever/graph_order.h"
#include "retriever/graph_walk.h"

#include <pthread.h>

/* ALONE: nodes that are added by one thread, before there is something to walk over. SCATTERED: one in so many nodes of
 * level 0 is added before the others are, region by region; with none, half as many rows again were multiplied for a
 * recall of 0.99 (86,403 sentences, effort 60). */
enum { PIECE = 512, LOCKS = 4096, ALONE = 256, SCATTERED = 5 };

typedef struct worker {
    mn_walk_space space; /* with the node that is added as its question */
    void *question;      /* another */
    uint64_t *candidates;
    uint32_t *positions, *far; /* as many */
    uint64_t *chosen;          /* room for most_links on each level */
    uint32_t n_chosen[MN_GRAPH_LEVELS];
} worker;

struct mn_graph_builder {
    mn_graph_shape shape;
    mn_graph_recipe recipe;
    mn_graph_layout layout; /* of what follows */
    uint64_t *offsets;
    atomic_int *links;
    unsigned char *codes;
    int32_t *n_levels;
    double shares[MN_GRAPH_LEVELS];
    mn_code_products products;
    uint64_t n_added;
    mn_graph_turn *turns; /* of those that are being added */
    size_t first;         /* of the piece that is being worked at */
    uint32_t most_links;
    pthread_mutex_t locks[LOCKS];
    mn_threads *threads; /* NULL: one */
    worker *workers;
    unsigned n_workers;
};

/* ---- a row as a question ---- */

/* As the kernels want it; returns what far numbers of this question are to be raised by, to be compared with those of
 * others. */
static uint32_t load(const mn_graph_builder *b, uint32_t node, void *question)
{
    const unsigned char *row = b->codes + node * b->layout.row_bytes;
    uint32_t n = b->shape.padded;
    float *numbers = question;
    int16_t *bytes = question;
    int32_t sum = 0;
    switch (b->shape.kind) {
    case MN_INDEX_HNSW:
        for (uint32_t i = 0; i < n; i++) {
            bytes[i] = (int16_t)(row[i] - 128);
            sum += bytes[i];
        }
        break;
    case MN_INDEX_HNSW_BF16:
        for (uint32_t i = 0; i < n; i++) {
            uint16_t half;
            memcpy(&half, row + i * sizeof half, sizeof half);
            numbers[i % 2 * (n / 2) + i / 2] = mn_vector_half(half);
        }
        break;
    default: memcpy(numbers, row, n * sizeof *numbers);
    }
    return (uint32_t)sum * 128;
}

static mn_code_rows rows_of(const mn_graph_builder *b, const void *question)
{
    return (mn_code_rows){b->codes, b->layout.row_bytes, b->shape.padded, question};
}

static uint32_t far_of(uint64_t number)
{
    return (uint32_t)(number >> 32);
}

/* ---- choosing ---- */

/* Of n candidates, the nearest first, whose order this changes, at most n_most into `chosen`. A chosen one takes along
 * all that are nearer to it than to the node. */
static uint32_t choose(const mn_graph_builder *b, worker *w, uint64_t *candidates, size_t n, uint32_t n_most,
                       uint64_t *chosen)
{
    const mn_code_rows rows = rows_of(b, w->question);
    uint32_t n_chosen = 0;
    while (n && n_chosen < n_most) {
        chosen[n_chosen++] = *candidates++;
        if (--n == 0 || n_chosen == n_most) break;
        uint32_t shift = load(b, (uint32_t)chosen[n_chosen - 1], w->question);
        size_t n_left = 0;
        for (size_t i = 0; i < n; i++) w->positions[i] = (uint32_t)candidates[i];
        b->products(&rows, w->positions, n, w->far);
        for (size_t i = 0; i < n; i++) {
            candidates[n_left] = candidates[i];
            n_left += w->far[i] + shift >= far_of(candidates[i]);
        }
        n = n_left;
    }
    return n_chosen;
}

static void sort_numbers(uint64_t *numbers, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t number = numbers[i];
        size_t at = i;
        for (; at > 0 && numbers[at - 1] > number; at--) numbers[at] = numbers[at - 1];
        numbers[at] = number;
    }
}

/* ---- links ---- */

static atomic_int *links_of(const mn_graph_builder *b, uint32_t node, uint32_t level, uint32_t *room)
{
    const mn_graph_layout *layout = &b->layout;
    *room = layout->level_starts[level + 1] - layout->level_starts[level];
    return b->links + b->offsets[node] + layout->level_starts[level];
}

static void write_link(atomic_int *link, int32_t position)
{
    atomic_store_explicit(link, position, memory_order_relaxed);
}

static void write_links(atomic_int *links, uint32_t room, const uint64_t *chosen, uint32_t n)
{
    for (uint32_t i = 0; i < room; i++) write_link(&links[i], i < n ? (int32_t)(uint32_t)chosen[i] : -1);
}

/* Of a full list and one node more, keep what is chosen of them. */
static void thin(mn_graph_builder *b, worker *w, uint32_t node, uint32_t level, uint32_t newcomer)
{
    uint32_t room, n = (uint32_t)mn_graph_list(&b->layout, node, level, w->positions);
    atomic_int *links = links_of(b, node, level, &room);
    uint64_t chosen[MN_GRAPH_MOST_LINKS];
    const mn_code_rows rows = rows_of(b, w->question);
    uint32_t shift = load(b, node, w->question);
    w->positions[n++] = newcomer;
    b->products(&rows, w->positions, n, w->far);
    for (uint32_t i = 0; i < n; i++) w->candidates[i] = mn_walk_number(w->far[i] + shift, w->positions[i]);
    sort_numbers(w->candidates, n);
    write_links(links, room, chosen, choose(b, w, w->candidates, n, room, chosen));
}

static void link_to(mn_graph_builder *b, worker *w, uint32_t node, uint32_t level, uint32_t newcomer)
{
    uint32_t room, n = 0, end;
    atomic_int *links = links_of(b, node, level, &room);
    pthread_mutex_t *lock = &b->locks[node % LOCKS];
    pthread_mutex_lock(lock);
    for (end = room; n < end;) { /* the first free place */
        uint32_t middle = (n + end) / 2;
        if (atomic_load_explicit(&links[middle], memory_order_relaxed) < 0)
            end = middle;
        else
            n = middle + 1;
    }
    if (n < room)
        write_link(&links[n], (int32_t)newcomer);
    else
        thin(b, w, node, level, newcomer);
    pthread_mutex_unlock(lock);
}

/* ---- one node ---- */

/* The beam as candidates, the nearest first. */
static size_t take_beam(worker *w, uint32_t shift)
{
    size_t n = w->space.beam.n;
    for (size_t i = n; i-- > 0;) {
        uint64_t number = ~mn_heap_take(&w->space.beam);
        w->candidates[i] = mn_walk_number(far_of(number) + shift, (uint32_t)number);
    }
    return n;
}

static mn_walk walk_of(const mn_graph_builder *b, worker *w)
{
    return (mn_walk){.graph = &b->layout,
                     .products = b->products,
                     .rows = rows_of(b, w->space.question),
                     .effort = b->recipe.effort,
                     .space = &w->space};
}

/* Where the walk over its highest level begins. */
static uint64_t seed_of(const mn_walk *walk, const mn_graph_turn *turn, uint32_t top)
{
    uint32_t far;
    if (turn->home == MN_GRAPH_NO_HOME) return mn_walk_descend(walk, mn_walk_entry(walk), walk->graph->top_level, top);
    walk->products(&walk->rows, &turn->home, 1, &far);
    return mn_walk_number(far, turn->home);
}

/* What it is to be linked with, on each level up to `top`. Nothing leads to it yet. */
static void find_links(mn_graph_builder *b, worker *w, const mn_graph_turn *turn, uint32_t top)
{
    uint32_t shift = load(b, turn->node, w->space.question), room;
    const mn_walk walk = walk_of(b, w);
    uint64_t seed = seed_of(&walk, turn, top);
    for (uint32_t level = top + 1; level-- > 0;) {
        mn_walk_level(&walk, level, &seed, 1);
        size_t n = take_beam(w, shift);
        seed = mn_walk_number(far_of(w->candidates[0]) - shift, (uint32_t)w->candidates[0]);
        links_of(b, turn->node, level, &room);
        w->n_chosen[level] = choose(b, w, w->candidates, n, room, w->chosen + level * b->most_links);
    }
}

static void insert(mn_graph_builder *b, worker *w, const mn_graph_turn *turn)
{
    uint32_t top = (uint32_t)b->n_levels[turn->node] - 1, room;
    if (top > b->layout.top_level) top = b->layout.top_level;
    find_links(b, w, turn, top);
    for (uint32_t level = 0; level <= top; level++) {
        atomic_int *links = links_of(b, turn->node, level, &room);
        write_links(links, room, w->chosen + level * b->most_links, w->n_chosen[level]);
    }
    for (uint32_t level = top + 1; level-- > 0;)
        for (uint32_t i = 0; i < w->n_chosen[level]; i++)
            link_to(b, w, (uint32_t)w->chosen[level * b->most_links + i], level, turn->node);
}

static void find_home(mn_graph_builder *b, worker *w, mn_graph_turn *turn)
{
    load(b, turn->node, w->space.question);
    const mn_walk walk = walk_of(b, w);
    uint64_t nearest = mn_walk_descend(&walk, mn_walk_entry(&walk), b->layout.top_level, 1);
    turn->region = (uint32_t)nearest;
    turn->home = (uint32_t)mn_walk_descend(&walk, nearest, 1, 0);
}

/* ---- all nodes ---- */

/* The first of all, or of those that have more levels than there were. */
static void insert_alone(mn_graph_builder *b, const mn_graph_turn *turn, bool is_first)
{
    uint32_t top = (uint32_t)b->n_levels[turn->node] - 1;
    if (!is_first) insert(b, &b->workers[0], turn);
    if (!is_first && top <= b->layout.top_level) return;
    b->layout.entry = turn->node;
    b->layout.top_level = top;
}

static void insert_item(void *context, size_t item, unsigned number)
{
    mn_graph_builder *b = context;
    insert(b, &b->workers[number], &b->turns[b->first + item]);
}

static void find_home_of_item(void *context, size_t item, unsigned number)
{
    mn_graph_builder *b = context;
    find_home(b, &b->workers[number], &b->turns[b->first + item]);
}

typedef struct listener {
    mn_graph_go_on go_on; /* may be NULL */
    void *context;
} listener;

static bool ask(const listener *l, uint64_t n_added)
{
    return !l->go_on || l->go_on(l->context, n_added);
}

/* Do something with the turns first .. end - 1, on all threads. */
static bool do_turns(mn_graph_builder *b, size_t first, size_t end, void (*work)(void *, size_t, unsigned),
                     const listener *l)
{
    for (b->first = first; b->first < end; b->first += PIECE) {
        size_t n = end - b->first < PIECE ? end - b->first : PIECE;
        if (!ask(l, b->n_added + (work == insert_item ? b->first : first))) return false;
        if (b->threads)
            mn_threads_run(b->threads, n, work, b);
        else
            for (size_t i = 0; i < n; i++) work(b, i, 0);
    }
    return true;
}

/* Those of level 0 alone, from `first` on. */
static bool add_level_0(mn_graph_builder *b, size_t first, size_t end, const listener *l)
{
    size_t scattered = (end - first) / SCATTERED, gathered = first + scattered;
    if (scattered < ALONE || b->layout.top_level == 0) return do_turns(b, first, end, insert_item, l);
    if (!do_turns(b, first, gathered, insert_item, l)) return false;
    if (!do_turns(b, gathered, end, find_home_of_item, l)) return false;
    mn_graph_gather(b->turns + gathered, end - gathered);
    return do_turns(b, gathered, end, insert_item, l);
}

bool mn_graph_builder_add(mn_graph_builder *b, uint64_t end, mn_graph_go_on go_on, void *context)
{
    const listener l = {go_on, context};
    size_t n = (size_t)(end - b->n_added), n_above = 0, n_alone = b->n_added < ALONE ? ALONE : 1;
    if (n_alone > n) n_alone = n;
    mn_graph_order(b->n_levels, b->n_added, end, b->turns, &n_above);
    if (n_above < n_alone) n_above = n_alone;
    for (size_t i = 0; i < n_alone; i++) insert_alone(b, &b->turns[i], b->n_added + i == 0);
    if (!do_turns(b, n_alone, n_above, insert_item, &l) || !add_level_0(b, n_above, n, &l)) return false;
    b->n_added = end;
    return ask(&l, end);
}

/* ---- beginning and end ---- */

static bool make_worker(const mn_graph_builder *b, worker *w)
{
    size_t room = b->recipe.effort > b->most_links ? b->recipe.effort : b->most_links + 1;
    w->question = mn_alloc_array(b->shape.padded, sizeof(float));
    w->candidates = mn_alloc_array(room, sizeof *w->candidates);
    w->positions = mn_alloc_array(room, sizeof *w->positions);
    w->far = mn_alloc_array(room, sizeof *w->far);
    w->chosen = mn_alloc_array((size_t)b->layout.n_levels * b->most_links, sizeof *w->chosen);
    return mn_walk_space_init(&w->space, b->shape.n, b->shape.padded) &&
           mn_walk_space_reserve(&w->space, b->recipe.effort, 0) && w->question && w->candidates && w->positions &&
           w->far && w->chosen;
}

static void free_worker(worker *w)
{
    mn_walk_space_free(&w->space);
    mn_free(w->question);
    mn_free(w->candidates);
    mn_free(w->positions);
    mn_free(w->far);
    mn_free(w->chosen);
}

void mn_graph_builder_free(mn_graph_builder *b)
{
    if (!b) return;
    mn_threads_free(b->threads);
    for (unsigned i = 0; i < b->n_workers && b->workers; i++) free_worker(&b->workers[i]);
    for (size_t i = 0; i < LOCKS; i++) pthread_mutex_destroy(&b->locks[i]);
    mn_free(b->workers);
    mn_free(b->offsets);
    mn_free(b->links);
    mn_free(b->codes);
    mn_free(b->n_levels);
    mn_free(b->turns);
    mn_free(b);
}

static bool make_arrays(mn_graph_builder *b)
{
    size_t n = (size_t)b->shape.n;
    mn_graph_layout *layout = &b->layout;
    b->offsets = mn_alloc_array(n + 1, sizeof *b->offsets);
    b->n_levels = mn_alloc_array(n, sizeof *b->n_levels);
    b->turns = mn_alloc_array(n, sizeof *b->turns);
    b->codes = mn_alloc_array(n, layout->row_bytes);
    if (!b->offsets || !b->n_levels || !b->turns || !b->codes) return false;
    b->offsets[0] = 0;
    for (size_t i = 0; i < n; i++) {
        b->n_levels[i] = mn_graph_draw_levels((uint32_t)i, b->shares, layout->n_levels);
        b->offsets[i + 1] = b->offsets[i] + layout->level_starts[b->n_levels[i]];
    }
    layout->n_links = b->offsets[n];
    b->links = mn_alloc_array((size_t)layout->n_links, sizeof *b->links);
    for (uint64_t i = 0; i < layout->n_links && b->links; i++) atomic_init(&b->links[i], -1);
    layout->offsets = (const unsigned char *)b->offsets;
    layout->links = (const unsigned char *)b->links;
    layout->codes = b->codes;
    return b->links;
}

static bool make_workers(mn_graph_builder *b)
{
    bool is_ready = true;
    unsigned n = b->recipe.n_threads ? b->recipe.n_threads : 1;
    b->workers = mn_alloc_zeroed(n, sizeof *b->workers);
    b->n_workers = n;
    for (unsigned i = 0; i < n && b->workers; i++) is_ready = make_worker(b, &b->workers[i]) && is_ready;
    if (n > 1) mn_threads_new(n, &b->threads, NULL);
    return b->workers && is_ready && (n == 1 || b->threads);
}

mneme_status mn_graph_builder_new(const mn_graph_shape *shape, const mn_graph_recipe *recipe, mn_graph_builder **out,
                                  mneme_error *error)
{
    mn_graph_builder *b = *out = mn_alloc_zeroed(1, sizeof *b);
    if (!b) return mn_fail_memory(error, "index");
    b->shape = *shape;
    b->recipe = *recipe;
    b->layout = (mn_graph_layout){
        .n = shape->n, .row_bytes = mn_index_code_bytes(shape->kind, shape->padded), .is_growing = true};
    b->products = mn_code_products_for(shape->kind, mn_cpu_detect());
    mn_graph_plan_levels(recipe->links, &b->layout, b->shares);
    b->most_links = b->layout.level_starts[1];
    for (size_t i = 0; i < LOCKS; i++) pthread_mutex_init(&b->locks[i], NULL);
    if (make_arrays(b) && make_workers(b)) return MNEME_OK;
    mn_graph_builder_free(b);
    *out = NULL;
    return mn_fail_memory(error, "index");
}

unsigned char *mn_graph_builder_codes(mn_graph_builder *b, uint64_t position)
{
    return b->codes + position * b->layout.row_bytes;
}

mneme_status mn_graph_builder_walk(const mn_graph_builder *b, mn_graph **out, mneme_error *error)
{
    mn_graph_shape shape = b->shape;
    mn_graph_layout layout = b->layout;
    shape.n = layout.n = b->n_added;
    return mn_graph_of_layout(&layout, &shape, out, error);
}

mneme_status mn_graph_builder_write(const mn_graph_builder *b, const char *path, mneme_error *error)
{
    const mn_graph_parts parts = {&b->layout, &b->shape, b->n_levels, b->shares, b->recipe.effort};
    return mn_graph_write(&parts, path, error);
}
