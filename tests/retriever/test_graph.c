/* The walk over the graph against FAISS's own search of the same file and against a plain loop over all vectors, and
 * its kernels against sums in double precision. */
#include "retriever/code_products.h"

#include <pthread.h>

#include "retriever/graph_world.h"

static world make_world(mn_index_kind kind, size_t n, uint32_t dimension)
{
    world w = draw_world(kind, n, dimension);
    build_by_faiss(&w);
    open_graph(&w);
    return w;
}

/* ---- against FAISS ---- */

static void as_many_are_found_as_by_faiss_at_the_same_effort(void **state)
{
    (void)state;
    static const size_t efforts[] = {10, 24, 48, 100, 300};
    for (mn_index_kind kind = MN_INDEX_HNSW; kind <= MN_INDEX_HNSW_F32; kind++) {
        world w = make_world(kind, 2500, 50);
        for (size_t i = 0; i < sizeof efforts / sizeof efforts[0]; i++) {
            size_t found = found_by_walk(&w, efforts[i], NULL), theirs = found_by_faiss(&w, efforts[i], NULL);
            if (found + 2 < theirs) /* of 1,000; by chance the walks part now and then */
                fail_msg("%s, effort %zu: %zu found, FAISS %zu", mn_index_kind_name(kind), efforts[i], found, theirs);
        }
        assert_true(found_by_walk(&w, 300, NULL) >= QUESTIONS * BEST * 99 / 100);
        end_world(&w);
    }
}

static void filters_of_every_width_keep_what_faiss_keeps(void **state)
{
    (void)state;
    enum { N = 6000 };
    static const double shares[] = {0.0001, 0.001, 0.01, 0.1, 0.5, 1};
    world w = make_world(MN_INDEX_HNSW, N, 33);
    unsigned char allowed[N / 8];
    uint64_t seed = 3;
    for (size_t s = 0; s < sizeof shares / sizeof shares[0]; s++) {
        memset(allowed, 0, sizeof allowed);
        size_t n = 0, wanted = 0;
        for (size_t i = 0; i < N; i++)
            if (test_random(&seed) < shares[s] || i == 4711) {
                allowed[i / 8] = (unsigned char)(allowed[i / 8] | 1u << i % 8);
                n++;
            }
        wanted = (n < BEST ? n : BEST) * QUESTIONS;
        size_t effort = 48 * N / n;
        size_t found = found_by_walk(&w, effort, allowed), theirs = found_by_faiss(&w, effort, allowed);
        if (found + 2 < theirs || found < wanted * 97 / 100)
            fail_msg("%zu rows allowed: %zu of %zu found, FAISS %zu", n, found, wanted, theirs);
    }
    end_world(&w);
}

static void nothing_is_found_when_nothing_is_allowed(void **state)
{
    (void)state;
    world w = make_world(MN_INDEX_HNSW, 500, 20);
    unsigned char allowed[500 / 8 + 1] = {0};
    int64_t positions[CANDIDATES];
    mn_graph_question question = ask(&w, 0, CANDIDATES, 100, allowed);
    assert_ok(mn_graph_search(w.graph, &question, positions, test_error()));
    for (size_t i = 0; i < CANDIDATES; i++) assert_int_equal(positions[i], -1);
    end_world(&w);
}

/* ---- sizes ---- */

static void small_graphs_of_any_size_are_found_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 17, 63, 64, 65, 129};
    static const uint32_t dimensions[] = {1, 7, 32, 97};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t d = 0; d < sizeof dimensions / sizeof dimensions[0]; d++) {
            world w = make_world((mn_index_kind)(1 + (s + d) % 3), sizes[s], dimensions[d]);
            size_t k = sizes[s] + 5;
            int64_t *positions = calloc(k, sizeof *positions);
            bool seen[200] = {false};
            mn_graph_question question = ask(&w, 1, k, 1, NULL);
            assert_ok(mn_graph_search(w.graph, &question, positions, test_error()));
            for (size_t i = 0; i < k; i++) {
                assert_true(positions[i] < (int64_t)sizes[s]);
                if (i >= sizes[s] || dimensions[d] == 1) continue; /* of one number, many are equal, and unlinked */
                assert_true(positions[i] >= 0 && !seen[positions[i]]);
                seen[positions[i]] = true;
            }
            for (size_t i = sizes[s]; i < k; i++) assert_int_equal(positions[i], -1);
            free(positions);
            end_world(&w);
        }
}

/* Products of what the codes hold fall from one to the next. */
static void positions_come_nearest_first(void **state)
{
    (void)state;
    for (mn_index_kind kind = MN_INDEX_HNSW; kind <= MN_INDEX_HNSW_F32; kind++) {
        world w = make_world(kind, 1000, 64);
        int64_t positions[50];
        for (size_t q = 0; q < QUESTIONS; q++) {
            mn_graph_question question = ask(&w, q, 50, 10, NULL);
            assert_ok(mn_graph_search(w.graph, &question, positions, test_error()));
            for (size_t i = 1; i < 50; i++)
                assert_true(product(&w, q, (size_t)positions[i - 1]) >= product(&w, q, (size_t)positions[i]) - 0.02);
        }
        end_world(&w);
    }
}

/* ---- repeats, threads, memory ---- */

typedef struct asker {
    const world *w;
    int64_t positions[QUESTIONS][CANDIDATES];
} asker;

static void *ask_all(void *context)
{
    asker *a = context;
    for (size_t i = 0; i < QUESTIONS; i++) {
        mn_graph_question question = ask(a->w, i, CANDIDATES, 20 + i, NULL);
        if (mn_graph_search(a->w->graph, &question, a->positions[i], NULL) != MNEME_OK) a->positions[i][0] = -2;
    }
    return NULL;
}

static void threads_that_ask_at_once_get_the_same_answers(void **state)
{
    (void)state;
    world w = make_world(MN_INDEX_HNSW_BF16, 3000, 40);
    asker *askers = calloc(5, sizeof *askers);
    pthread_t threads[4];
    for (size_t i = 0; i < 5; i++) askers[i].w = &w;
    ask_all(&askers[4]);
    for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, ask_all, &askers[i]), 0);
    for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 4; i++)
        assert_memory_equal(askers[i].positions, askers[4].positions, sizeof askers[4].positions);
    assert_true(askers[4].positions[0][0] >= 0);
    free(askers);
    end_world(&w);
}

static void a_search_without_memory_fails_and_the_next_one_is_right(void **state)
{
    (void)state;
    world w = make_world(MN_INDEX_HNSW, 500, 20);
    int64_t before[CANDIDATES], after[CANDIDATES];
    mn_graph_question question = ask(&w, 0, CANDIDATES, 60, NULL);
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        mn_graph *graph = NULL;
        mn_alloc_fail_after(n);
        failed = mn_graph_open(w.file.data, w.file.size, &w.shape, &graph, NULL) != MNEME_OK ||
                 mn_graph_search(graph, &question, before, NULL) != MNEME_OK;
        mn_alloc_fail_after(0);
        if (graph) assert_ok(mn_graph_search(graph, &question, after, test_error()));
        mn_graph_free(graph);
        assert_true(n < 20);
    }
    assert_memory_equal(before, after, sizeof before);
    end_world(&w);
}

/* ---- damage ---- */

/* Searches what can be opened; a copy of its own size, so that a sanitizer sees what is read behind it. */
static void search_damaged(const world *w, const unsigned char *bytes, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);
    mn_graph *graph = NULL;
    memcpy(copy, bytes, size);
    if (mn_graph_open(copy, size, &w->shape, &graph, test_error()) == MNEME_OK) {
        int64_t positions[CANDIDATES];
        mn_graph_question question = ask(w, 0, CANDIDATES, 40, NULL);
        assert_ok(mn_graph_search(graph, &question, positions, test_error()));
        for (size_t i = 0; i < CANDIDATES; i++) assert_true(positions[i] >= -1 && positions[i] < (int64_t)w->shape.n);
    }
    mn_graph_free(graph);
    free(copy);
}

static void damaged_graphs_are_refused_or_searched_within_their_bounds(void **state)
{
    (void)state;
    uint64_t seed = 17;
    world w = make_world(MN_INDEX_HNSW, 300, 20);
    unsigned char *bytes = malloc(w.file.size);
    size_t head = w.file.size - 300 * 32; /* what is before the codes */
    memcpy(bytes, w.file.data, w.file.size);
    for (size_t at = 0; at < w.file.size; at += at < 600 ? 1 : 997) search_damaged(&w, bytes, at); /* cut short */
    for (size_t i = 0; i < 3000; i++) {
        size_t at = i < 700 ? i : (size_t)(test_random(&seed) * (double)head), n = 1 + i % 9;
        for (size_t j = 0; j < n && at + j < head; j++) bytes[at + j] = (unsigned char)(test_random(&seed) * 256);
        search_damaged(&w, bytes, w.file.size);
        memcpy(bytes + at, (const unsigned char *)w.file.data + at, n < head - at ? n : head - at);
    }
    free(bytes);
    end_world(&w);
}

static void a_graph_of_another_shape_is_refused(void **state)
{
    (void)state;
    world w = make_world(MN_INDEX_HNSW, 100, 40);
    const mn_graph_shape others[] = {
        {MN_INDEX_HNSW_BF16, 64, 100}, {MN_INDEX_HNSW_F32, 64, 100}, {MN_INDEX_HNSW, 96, 100}, {MN_INDEX_HNSW, 64, 99}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        mn_graph *graph = NULL;
        assert_int_equal(mn_graph_open(w.file.data, w.file.size, &others[i], &graph, test_error()), MNEME_ERR_DAMAGED);
        assert_null(graph);
    }
    end_world(&w);
}

/* ---- kernels ---- */

static void nearer_is_smaller_for_every_product(void **state)
{
    (void)state;
    static const float floats[] = {-3e38f, -1, -1e-30f, 0, 1e-30f, 0.5f, 1, 3e38f};
    static const int32_t wholes[] = {INT32_MIN, -70000, -1, 0, 1, 70000, INT32_MAX};
    for (size_t i = 1; i < sizeof floats / sizeof floats[0]; i++)
        assert_true(mn_code_far_of_float(floats[i]) < mn_code_far_of_float(floats[i - 1]));
    for (size_t i = 1; i < sizeof wholes / sizeof wholes[0]; i++)
        assert_true(mn_code_far_of_whole(wholes[i]) < mn_code_far_of_whole(wholes[i - 1]));
}

/* The float that this number stands for. */
static float float_of(uint32_t far)
{
    uint32_t bits = far >> 31 ? far : ~far & 0x7fffffffu;
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

typedef struct kernel_rows {
    unsigned char *codes; /* 1 byte off any alignment */
    float *numbers;       /* what they stand for */
    uint32_t n, n_numbers;
} kernel_rows;

static kernel_rows make_rows(mn_index_kind kind, uint32_t n, uint32_t n_numbers, uint64_t *seed)
{
    size_t row_bytes = mn_index_code_bytes(kind, n_numbers);
    kernel_rows rows = {(unsigned char *)malloc(n * row_bytes + 1) + 1, NULL, n, n_numbers};
    rows.numbers = calloc((size_t)n * n_numbers, sizeof *rows.numbers);
    for (size_t i = 0; i < n * row_bytes; i++) rows.codes[i] = (unsigned char)(test_random(seed) * 256);
    for (size_t i = 0; i < (size_t)n * n_numbers; i++) {
        float number = (float)(test_random(seed) - 0.5);
        unsigned char *upper = (unsigned char *)&number + 2; /* little-endian */
        if (kind == MN_INDEX_HNSW_BF16) memcpy(rows.codes + 2 * i, upper, 2);
        if (kind == MN_INDEX_HNSW_F32) memcpy(rows.codes + 4 * i, &number, 4);
    }
    for (uint32_t i = 0; i < n; i++)
        mn_index_decode(kind, rows.codes + i * row_bytes, n_numbers, rows.numbers + (size_t)i * n_numbers);
    return rows;
}

static void check_kernel(mn_index_kind kind, mn_cpu_level level, uint32_t n_numbers, uint64_t *seed)
{
    enum { N = 21 };
    kernel_rows rows = make_rows(kind, N, n_numbers, seed);
    float *question = calloc(n_numbers, sizeof *question), *halves = calloc(n_numbers, sizeof *halves);
    int16_t *wholes = calloc(n_numbers, sizeof *wholes);
    uint32_t positions[N], far[N];
    for (uint32_t i = 0; i < n_numbers; i++) {
        wholes[i] = (int16_t)((test_random(seed) - 0.5) * 65534);
        question[i] = kind == MN_INDEX_HNSW ? (float)wholes[i] : (float)(test_random(seed) - 0.5);
        halves[i % 2 * (n_numbers / 2) + i / 2] = question[i];
    }
    for (uint32_t i = 0; i < N; i++) positions[i] = i * 8 % N;
    const void *asked = kind == MN_INDEX_HNSW ? (const void *)wholes : kind == MN_INDEX_HNSW_BF16 ? halves : question;
    const mn_code_rows given = {rows.codes, mn_index_code_bytes(kind, n_numbers), n_numbers, asked};
    mn_code_products_for(kind, level)(&given, positions, N, far);
    for (uint32_t i = 0; i < N; i++) {
        double sum = 0, size = 0;
        for (uint32_t j = 0; j < n_numbers; j++) {
            double part = (double)rows.numbers[(size_t)positions[i] * n_numbers + j] * (double)question[j];
            sum += part;
            size += fabs(part);
        }
        if (kind == MN_INDEX_HNSW)
            assert_int_equal(far[i], mn_code_far_of_whole((int32_t)sum));
        else
            assert_true(fabs((double)float_of(far[i]) - sum) <= size * 1e-6);
    }
    free(rows.codes - 1);
    free(rows.numbers);
    free(question);
    free(halves);
    free(wholes);
}

static void kernels_give_the_products(void **state)
{
    (void)state;
    uint64_t seed = 23;
    for (mn_cpu_level level = MN_CPU_GENERIC; level <= mn_cpu_detect(); level++)
        for (mn_index_kind kind = MN_INDEX_HNSW; kind <= MN_INDEX_HNSW_F32; kind++)
            for (uint32_t n_numbers = 32; n_numbers <= 256; n_numbers += 32)
                check_kernel(kind, level, n_numbers, &seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_are_found_as_by_faiss_at_the_same_effort),
        cmocka_unit_test(filters_of_every_width_keep_what_faiss_keeps),
        cmocka_unit_test(nothing_is_found_when_nothing_is_allowed),
        cmocka_unit_test(small_graphs_of_any_size_are_found_whole),
        cmocka_unit_test(positions_come_nearest_first),
        cmocka_unit_test(threads_that_ask_at_once_get_the_same_answers),
        cmocka_unit_test(a_search_without_memory_fails_and_the_next_one_is_right),
        cmocka_unit_test(damaged_graphs_are_refused_or_searched_within_their_bounds),
        cmocka_unit_test(a_graph_of_another_shape_is_refused),
        cmocka_unit_test(nearer_is_smaller_for_every_product),
        cmocka_unit_test(kernels_give_the_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
