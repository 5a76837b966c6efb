/* graph_world.h -- vectors around some centres, graphs of them, and what is found in these: by a plain loop over all
 * vectors, by the walk and by FAISS. */
#ifndef MN_TESTS_GRAPH_WORLD_H
#define MN_TESTS_GRAPH_WORLD_H

#include "retriever/graph.h"

#include "common/file.h"
#include "common/memory.h"
#include "retriever/faiss_adapter.h"

#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/impl/AuxIndexStructures_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/index_io_c.h>
#include <math.h>
#include <unistd.h>

#include "retriever/retriever_support.h"

enum { TOPICS = 60, QUESTIONS = 100, BEST = 10, CANDIDATES = 22 };

typedef struct world {
    mn_graph_shape shape;
    uint32_t dimension;
    float *vectors; /* shape.n x padded, the rest zero */
    float *questions;
    float scale;
    char *dir, *path;
    mn_mapping file;
    mn_graph *graph;
} world;

static const char *const recipes[] = {"", "HNSW16,SQ8_direct", "HNSW16,SQbf16", "HNSW16,Flat"};

/* Vectors around some centres, as texts of some topics have them. */
static inline void draw_vector(const world *w, uint64_t *seed, float *out)
{
    double squares = 0;
    uint64_t centre = ((uint64_t)(test_random(seed) * TOPICS) + 1) * 7919;
    for (uint32_t i = 0; i < w->dimension; i++) {
        out[i] = (float)(test_random(&centre) - 0.5 + 0.9 * (test_random(seed) - 0.5));
        squares += (double)out[i] * (double)out[i];
    }
    for (uint32_t i = 0; i < w->dimension; i++) out[i] = (float)((double)out[i] / sqrt(squares));
}

/* The vectors as the index gets them, `padded` floats each; to be freed. */
static inline float *prepare_world(world *w)
{
    uint32_t padded = w->shape.padded;
    size_t n = (size_t)w->shape.n;
    float largest = 0, *codes = calloc(n + 1, padded * sizeof *codes);
    for (size_t i = 0; i < n * padded; i++) largest = fmaxf(largest, fabsf(w->vectors[i]));
    w->scale = mn_index_scale(w->shape.kind, largest);
    for (size_t i = 0; i < n; i++)
        mn_index_prepare(w->shape.kind, w->scale, w->vectors + i * padded, padded, codes + i * padded);
    return codes;
}

/* Write the graph that FAISS makes. */
static inline void build_by_faiss(world *w)
{
    float *codes = prepare_world(w);
    FaissIndex *index = NULL;
    FaissParameterSpace *space = NULL;
    mn_faiss_set_threads(1); /* with more, the graph is another each time */
    assert_int_equal(faiss_index_factory(&index, (int)w->shape.padded, recipes[w->shape.kind], METRIC_L2), 0);
    assert_int_equal(faiss_ParameterSpace_new(&space), 0);
    assert_int_equal(faiss_ParameterSpace_set_index_parameter(space, index, "efConstruction", 40), 0);
    if (w->shape.n) {
        assert_int_equal(faiss_Index_train(index, (idx_t)w->shape.n, codes), 0);
        assert_int_equal(faiss_Index_add(index, (idx_t)w->shape.n, codes), 0);
    }
    assert_int_equal(faiss_write_index_fname(index, w->path), 0);
    faiss_ParameterSpace_free(space);
    faiss_Index_free(index);
    free(codes);
}

/* Vectors and questions; no graph yet. */
static inline world draw_world(mn_index_kind kind, size_t n, uint32_t dimension)
{
    world w = {.shape = {kind, mn_index_padded(dimension), n}, .dimension = dimension, .dir = test_make_dir()};
    uint64_t seed = 5;
    w.vectors = calloc(n + 1, w.shape.padded * sizeof *w.vectors);
    w.questions = calloc(QUESTIONS, w.shape.padded * sizeof *w.questions);
    for (size_t i = 0; i < n; i++) draw_vector(&w, &seed, w.vectors + i * w.shape.padded);
    for (size_t i = 0; i < QUESTIONS; i++) draw_vector(&w, &seed, w.questions + i * w.shape.padded);
    w.path = mn_path_join(w.dir, "graph");
    return w;
}

/* Open what was written. */
static inline void open_graph(world *w)
{
    assert_ok(mn_file_map(w->path, &w->file, test_error()));
    assert_ok(mn_graph_open(w->file.data, w->file.size, &w->shape, &w->graph, test_error()));
}

static inline void end_world(world *w)
{
    mn_graph_free(w->graph);
    mn_file_unmap(&w->file);
    mn_free(w->path);
    test_remove_dir(w->dir);
    free(w->vectors);
    free(w->questions);
}

/* ---- what is right ---- */

static inline double product(const world *w, size_t question, size_t position)
{
    double sum = 0;
    const float *q = w->questions + question * w->shape.padded, *v = w->vectors + position * w->shape.padded;
    for (uint32_t i = 0; i < w->dimension; i++) sum += (double)q[i] * (double)v[i];
    return sum;
}

static inline bool is_allowed(const unsigned char *allowed, size_t position)
{
    return !allowed || (allowed[position / 8] >> position % 8 & 1) != 0;
}

static inline int downwards(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a < b) - (a > b);
}

/* The product of the tenth best of those that are allowed, or of the last; *n: how many are as good. */
static inline double least_of_best(const world *w, size_t question, const unsigned char *allowed, size_t *n)
{
    double *all = calloc((size_t)w->shape.n + 1, sizeof *all);
    size_t n_all = 0;
    for (size_t i = 0; i < w->shape.n; i++)
        if (is_allowed(allowed, i)) all[n_all++] = product(w, question, i);
    qsort(all, n_all, sizeof *all, downwards);
    *n = n_all < BEST ? n_all : BEST;
    double least = *n ? all[*n - 1] : 2;
    free(all);
    return least;
}

/* How many of the best are among the positions, which must be sound. */
static inline size_t count_best(const world *w, size_t question, const unsigned char *allowed, const int64_t *positions)
{
    size_t n_best, found = 0;
    double least = least_of_best(w, question, allowed, &n_best);
    for (size_t i = 0; i < CANDIDATES; i++) {
        if (positions[i] < 0) continue;
        assert_true((uint64_t)positions[i] < w->shape.n);
        assert_true(is_allowed(allowed, (size_t)positions[i]));
        for (size_t j = 0; j < i; j++) assert_true(positions[j] != positions[i]);
        found += product(w, question, (size_t)positions[i]) >= least - 1e-9;
    }
    return found < n_best ? found : n_best;
}

static inline mn_graph_question ask(const world *w, size_t question, size_t k, size_t effort,
                                    const unsigned char *allowed)
{
    return (mn_graph_question){w->questions + question * w->shape.padded, k, effort, allowed};
}

static inline size_t found_by_walk(const world *w, size_t effort, const unsigned char *allowed)
{
    size_t found = 0;
    int64_t positions[CANDIDATES];
    for (size_t i = 0; i < QUESTIONS; i++) {
        mn_graph_question question = ask(w, i, CANDIDATES, effort, allowed);
        assert_ok(mn_graph_search(w->graph, &question, positions, test_error()));
        found += count_best(w, i, allowed, positions);
    }
    return found;
}

static inline size_t found_by_faiss(const world *w, size_t effort, const unsigned char *allowed)
{
    size_t found = 0;
    idx_t positions[CANDIDATES];
    float distances[CANDIDATES], *codes = calloc(w->shape.padded, sizeof *codes);
    FaissIndex *index = NULL;
    FaissParameterSpace *space = NULL;
    FaissIDSelectorBitmap *bitmap = NULL;
    FaissSearchParameters *parameters = NULL;
    assert_int_equal(faiss_read_index_fname(w->path, 0, &index), 0);
    assert_int_equal(faiss_ParameterSpace_new(&space), 0);
    assert_int_equal(faiss_ParameterSpace_set_index_parameter(space, index, "efSearch", (double)effort), 0);
    if (allowed) {
        assert_int_equal(faiss_IDSelectorBitmap_new(&bitmap, (size_t)(w->shape.n + 7) / 8, allowed), 0);
        assert_int_equal(faiss_SearchParameters_new(&parameters, (FaissIDSelector *)bitmap), 0);
    }
    for (size_t i = 0; i < QUESTIONS; i++) {
        mn_index_prepare(w->shape.kind, w->scale, w->questions + i * w->shape.padded, w->shape.padded, codes);
        assert_int_equal(faiss_Index_search_with_params(index, 1, codes, CANDIDATES, parameters, distances, positions),
                         0);
        found += count_best(w, i, allowed, positions);
    }
    if (parameters) faiss_SearchParameters_free(parameters);
    if (bitmap) faiss_IDSelectorBitmap_free(bitmap);
    faiss_ParameterSpace_free(space);
    faiss_Index_free(index);
    free(codes);
    return found;
}

#endif
