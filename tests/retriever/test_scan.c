/* The exact scan against a plain loop in double precision. */
#include "retriever/scan.h"

#include <math.h>

#include "retriever/retriever_support.h"

enum { MAX_ROWS = 5000 };

typedef struct scan_world {
    mn_arena arena;
    mn_rows rows;
    mn_vector_blocks blocks;
    double *products; /* per row, by the plain loop; NAN: dead or without a vector */
    float *query;
} scan_world;

static void fill_rows(scan_world *world, uint32_t n_rows, uint64_t *seed)
{
    uint32_t n_blocks = (n_rows + MN_BLOCK_ROWS - 1) / MN_BLOCK_ROWS;
    world->rows.n_rows = n_rows;
    world->rows.blocks = mn_arena_array(&world->arena, n_blocks, sizeof *world->rows.blocks);
    for (uint32_t b = 0; b < n_blocks; b++) {
        mn_row *rows = mn_arena_array(&world->arena, MN_BLOCK_ROWS, sizeof *rows);
        for (uint32_t i = 0; i < MN_BLOCK_ROWS; i++)
            rows[i] = (mn_row){.rec = test_random(seed) < 0.2 ? 0 : b * MN_BLOCK_ROWS + i + 1, .end = 1, .n_terms = 1};
        world->rows.blocks[b] = rows;
    }
}

/* The block keeps its vectors in the world's type; what the products are computed of is what it then holds. */
static void fill_block(scan_world *world, mn_vector_block *block, uint64_t *seed)
{
    uint32_t dimension = world->blocks.dimension, first_row = block->first_row, n_rows = block->n_rows;
    mn_vector_type type = world->blocks.type;
    float *vectors = mn_arena_array(&world->arena, (size_t)n_rows * dimension, sizeof *vectors);
    /* one float into the arena's piece: blocks are 4-byte aligned and no more */
    size_t bytes = n_rows * mn_vector_row_bytes(type, dimension) + sizeof(float);
    unsigned char *value = (unsigned char *)mn_arena_alloc(&world->arena, bytes) + sizeof(float);
    *block = mn_vector_block_of(type, dimension, n_rows, value);
    block->first_row = first_row;
    float *stored = mn_arena_array(&world->arena, dimension, sizeof *stored);
    for (uint32_t i = 0; i < block->n_rows; i++) {
        double product = 0;
        float *vector = vectors + (size_t)i * dimension;
        for (uint32_t d = 0; d < dimension; d++) {
            vector[d] = (float)(test_random(seed) * 2 - 1);
            if (i > 0 && i % 7 == 0) vector[d] = vector[(size_t)d - dimension]; /* now and then the row before again */
        }
        mn_vector_encode(type, dimension, vector, value, n_rows, i);
        mn_vector_decode(type, dimension, block, i, stored);
        for (uint32_t d = 0; d < dimension; d++) product += (double)stored[d] * (double)world->query[d];
        if (mn_row_at(&world->rows, block->first_row + i)->rec) world->products[block->first_row + i] = product;
    }
}

/* Blocks of odd sizes with gaps between them. */
static void make_world(scan_world *world, mn_vector_type type, uint32_t n_rows, uint32_t dimension, uint64_t *seed)
{
    *world = (scan_world){.blocks = {.dimension = dimension, .type = type}};
    fill_rows(world, n_rows, seed);
    world->products = mn_arena_array(&world->arena, n_rows, sizeof(double));
    for (uint32_t i = 0; i < n_rows; i++) world->products[i] = NAN;
    world->query = mn_arena_array(&world->arena, dimension, sizeof(float));
    for (uint32_t d = 0; d < dimension; d++) world->query[d] = (float)(test_random(seed) * 2 - 1);
    world->blocks.items = mn_arena_array(&world->arena, n_rows, sizeof(mn_vector_block));
    for (uint32_t at = 0; at < n_rows;) {
        uint32_t n = 1 + test_below(seed, test_random(seed) < 0.5 ? 5 : 1500);
        if (n > n_rows - at) n = n_rows - at;
        mn_vector_block *block = &world->blocks.items[world->blocks.n++];
        *block = (mn_vector_block){.first_row = at, .n_rows = n};
        fill_block(world, block, seed);
        at += n + test_below(seed, 3);
    }
}

static bool even_records(void *context, const char *name_space, const mn_record *record)
{
    (void)context;
    (void)name_space;
    return record->rec % 2 == 0;
}

/* What the scan found must be what the products say, up to rounding. */
static void expect_best(const scan_world *world, const mn_top *top, size_t wanted, bool even_only)
{
    const double rounding = 1e-4;
    size_t n_visible = 0;
    double worst = top->n ? (double)top->items[top->n - 1].score : INFINITY;
    bool found[MAX_ROWS] = {false};
    for (size_t i = 0; i < top->n; i++) {
        mn_scored hit = top->items[i];
        assert_false(found[hit.row]);
        found[hit.row] = true;
        assert_true(fabs(world->products[hit.row] - (double)hit.score) < rounding); /* also fails on NAN: dead */
        if (i)
            assert_true(hit.score < top->items[i - 1].score ||
                        (!(hit.score > top->items[i - 1].score) && hit.row > top->items[i - 1].row));
    }
    for (uint32_t row = 0; row < world->rows.n_rows; row++) {
        bool visible = !isnan(world->products[row]) && (!even_only || mn_row_at(&world->rows, row)->rec % 2 == 0);
        n_visible += visible;
        if (visible && !found[row]) assert_true(world->products[row] < worst + rounding);
        if (found[row]) assert_true(visible);
    }
    assert_int_equal(top->n, n_visible < wanted ? n_visible : wanted);
}

static void scan_random_blocks_finds_what_the_plain_loop_finds(void **state)
{
    (void)state;
    static const uint32_t dimensions[] = {1, 3, 8, 17, 64, 100, 384};
    static const mn_cpu_level levels[] = {MN_CPU_GENERIC, MN_CPU_AVX2, MN_CPU_AVX512};
    uint64_t seed = 7;
    for (size_t i = 0; i < 84; i++) {
        scan_world world;
        mn_scan scan;
        make_world(&world, (mn_vector_type)(i % 4), 1 + test_below(&seed, MAX_ROWS), dimensions[i % 7], &seed);
        mn_row_filter filter;
        assert_true(mn_row_filter_init(&filter, NULL, &(mn_namespace){.name = ""}, &world.rows, &world.arena, NULL));
        bool even_only = i % 2;
        if (even_only) { /* as if every record had been asked about */
            mn_row_filter_accept(&filter, even_records, NULL);
            for (uint32_t row = 0; row < world.rows.n_rows; row++)
                assert_true(mn_row_filter_note(&filter, row, mn_row_at(&world.rows, row)->rec % 2 == 0));
        }
        size_t wanted = i % 3 == 0 ? 1 : i % 3 == 1 ? 100 : MAX_ROWS;
        mn_top top;
        assert_true(mn_top_init(&top, wanted, &world.arena));
        mn_cpu_level level = levels[i / 4 % 3] < mn_cpu_detect() ? levels[i / 4 % 3] : mn_cpu_detect();
        assert_true(mn_scan_init(&scan, &world.blocks, world.query, level, 1, &world.arena));
        assert_true(mn_scan_top(&scan, &filter, &world.arena, &top));
        mn_top_sort(&top);
        expect_best(&world, &top, wanted, even_only);
        for (size_t r = 0; r < top.n; r++) { /* one row alone has the same product */
            bool has_vector = false;
            float alone = mn_scan_one(&scan, top.items[r].row, &has_vector), score = top.items[r].score;
            assert_true(has_vector);
            assert_true(world.blocks.type == MN_VECTORS_F32 ? fabsf(alone - score) < 1e-4f : alone == score);
        }
        mn_arena_free(&world.arena);
    }
}

static float *draw_query(scan_world *world, uint64_t *seed)
{
    float *query = mn_arena_array(&world->arena, world->blocks.dimension, sizeof *query);
    for (uint32_t d = 0; d < world->blocks.dimension; d++) query[d] = (float)(test_random(seed) * 2 - 1);
    return query;
}

/* Each with a filter and a size of its own. */
static void many_questions_at_once_have_the_answers_of_each_alone(void **state)
{
    (void)state;
    enum { N = 5 };
    uint64_t seed = 19;
    for (size_t i = 0; i < 16; i++) {
        scan_world world;
        mn_scan scans[N];
        mn_row_filter filters[N];
        mn_top tops[N], alone;
        unsigned n_threads = i % 3 ? 1 : 3;
        make_world(&world, (mn_vector_type)(i % 4), i < 4 ? 4500 : 1 + test_below(&seed, 1000), i < 4 ? 700 : 33,
                   &seed);
        for (size_t q = 0; q < N; q++) {
            mn_row_filter_init(&filters[q], NULL, &(mn_namespace){.name = ""}, &world.rows, &world.arena, NULL);
            if (q % 2) mn_row_filter_accept(&filters[q], even_records, NULL);
            for (uint32_t row = 0; row < world.rows.n_rows; row++)
                mn_row_filter_note(&filters[q], row, mn_row_at(&world.rows, row)->rec % 2 == 0);
            assert_true(mn_top_init(&tops[q], q * 20, &world.arena));
            assert_true(mn_scan_init(&scans[q], &world.blocks, q ? draw_query(&world, &seed) : world.query,
                                     mn_cpu_detect(), n_threads, &world.arena));
        }
        assert_true(mn_scan_top_of_each(scans, N, filters, &world.arena, tops));
        for (size_t q = 0; q < N; q++) {
            assert_true(mn_top_init(&alone, q * 20, &world.arena));
            assert_true(mn_scan_top(&scans[q], &filters[q], &world.arena, &alone));
            mn_top_sort(&alone);
            mn_top_sort(&tops[q]);
            assert_int_equal(tops[q].n, alone.n);
            for (size_t r = 0; r < alone.n; r++) {
                assert_int_equal(tops[q].items[r].row, alone.items[r].row);
                assert_true(tops[q].items[r].score == alone.items[r].score);
            }
        }
        mn_arena_free(&world.arena);
    }
}

/* 5,000 rows of 1,800 bytes are large enough to be shared out. */
static void scan_on_threads(mn_vector_type type, uint32_t dimension)
{
    uint64_t seed = 11;
    scan_world world;
    make_world(&world, type, MAX_ROWS, dimension, &seed);
    mn_row_filter filter;
    assert_true(mn_row_filter_init(&filter, NULL, &(mn_namespace){.name = ""}, &world.rows, &world.arena, NULL));
    static const unsigned threads[] = {1, 2, 3, 7, 0};
    mn_top expected;
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        mn_top top;
        assert_true(mn_top_init(&top, 300, &world.arena));
        mn_scan scan;
        mn_cpu_level level = i % 2 ? MN_CPU_GENERIC : mn_cpu_detect();
        assert_true(mn_scan_init(&scan, &world.blocks, world.query, level, threads[i], &world.arena));
        assert_true(mn_scan_top(&scan, &filter, &world.arena, &top));
        mn_top_sort(&top);
        expect_best(&world, &top, 300, false);
        if (i == 0) expected = top;
        assert_int_equal(top.n, expected.n);
        for (size_t r = 0; r < top.n; r++) {
            assert_int_equal(top.items[r].row, expected.items[r].row);
            assert_true(top.items[r].score == expected.items[r].score);
        }
    }
    mn_arena_free(&world.arena);
}

static void scan_on_many_threads_and_any_kernel_finds_the_same(void **state)
{
    (void)state;
    scan_on_threads(MN_VECTORS_F32, 640);
    scan_on_threads(MN_VECTORS_BF16, 900);
    scan_on_threads(MN_VECTORS_INT12, 1201);
    scan_on_threads(MN_VECTORS_INT8, 1800);
}

/* All vectors almost the same: the high parts alone cannot tell them apart. */
static void scan_of_twins_is_decided_by_the_low_parts(void **state)
{
    (void)state;
    enum { ROWS = 1000, D = 64 };
    mn_arena arena = {0};
    float query[D], vector[D], stored[D];
    mn_row *rows = mn_arena_array(&arena, ROWS, sizeof *rows);
    unsigned char *value = mn_arena_alloc(&arena, ROWS * mn_vector_row_bytes(MN_VECTORS_INT12, D));
    double products[ROWS];
    uint64_t seed = 3;
    for (uint32_t d = 0; d < D; d++) query[d] = vector[d] = (float)(test_random(&seed) * 2 - 1);
    mn_vector_block block = mn_vector_block_of(MN_VECTORS_INT12, D, ROWS, value);
    for (uint32_t r = 0; r < ROWS; r++) {
        rows[r] = (mn_row){.rec = r + 1};
        vector[r % D] = query[r % D] + (float)(test_random(&seed) * 2 - 1) * 0.004f;
        mn_vector_encode(MN_VECTORS_INT12, D, vector, value, ROWS, r);
        mn_vector_decode(MN_VECTORS_INT12, D, &block, r, stored);
        products[r] = 0;
        for (uint32_t d = 0; d < D; d++) products[r] += (double)stored[d] * (double)query[d];
    }
    const mn_row *row_blocks[] = {rows};
    mn_rows all = {row_blocks, ROWS};
    mn_vector_blocks blocks = {.items = &block, .n = 1, .dimension = D, .type = MN_VECTORS_INT12};
    mn_row_filter filter;
    mn_scan scan;
    mn_top top;
    assert_true(mn_row_filter_init(&filter, NULL, &(mn_namespace){.name = ""}, &all, &arena, NULL));
    assert_true(mn_top_init(&top, 10, &arena) && mn_scan_init(&scan, &blocks, query, mn_cpu_detect(), 1, &arena));
    assert_true(mn_scan_top(&scan, &filter, &arena, &top));
    mn_top_sort(&top);
    assert_int_equal(top.n, 10);
    for (size_t i = 0; i < 10; i++) {
        size_t better = 0;
        for (uint32_t r = 0; r < ROWS; r++) better += products[r] > products[top.items[i].row] + 1e-4;
        assert_true(better <= i);
    }
    mn_arena_free(&arena);
}

static void scan_vectors_that_are_no_numbers_are_left_out(void **state)
{
    (void)state;
    const float vectors[] = {1, 0, NAN, 0, 0.5f, 0, INFINITY, 0};
    const float query[] = {1, 0};
    const mn_row rows[4] = {{.rec = 1}, {.rec = 2}, {.rec = 3}, {.rec = 4}};
    const mn_row *blocks[] = {rows};
    mn_rows all = {blocks, 4};
    mn_vector_block block = {.n_rows = 4, .vectors = vectors};
    mn_vector_blocks vector_blocks = {.items = &block, .n = 1, .dimension = 2};
    mn_arena arena = {0};
    mn_row_filter filter;
    mn_top top;
    assert_true(mn_row_filter_init(&filter, NULL, &(mn_namespace){.name = ""}, &all, &arena, NULL));
    assert_true(mn_top_init(&top, 4, &arena));
    mn_scan scan;
    assert_true(mn_scan_init(&scan, &vector_blocks, query, mn_cpu_detect(), 1, &arena));
    assert_true(mn_scan_top(&scan, &filter, &arena, &top));
    for (size_t i = 0; i < top.n; i++) assert_int_not_equal(top.items[i].row, 1);
    bool has_vector = true;
    assert_true(mn_scan_one(&scan, 1, &has_vector) == 0);
    assert_false(has_vector);
    assert_true(mn_scan_one(&scan, 2, &has_vector) == 0.5f);
    assert_true(has_vector);
    assert_true(mn_scan_one(&scan, 9, &has_vector) == 0);
    assert_false(has_vector);
    mn_arena_free(&arena);
}

static void top_of_equal_scores_keeps_the_lower_rows(void **state)
{
    (void)state;
    mn_arena arena = {0};
    mn_top top;
    assert_true(mn_top_init(&top, 5, &arena));
    for (uint32_t i = 0; i < 50; i++) {
        uint32_t row = i * 37 % 50;
        if (mn_top_wants(&top, 0.25f, row)) mn_top_put(&top, 0.25f, row);
    }
    mn_top_sort(&top);
    assert_int_equal(top.n, 5);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(top.items[i].row, i);
    assert_true(mn_top_init(&top, 0, &arena));
    assert_false(mn_top_wants(&top, 1, 0));
    mn_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_random_blocks_finds_what_the_plain_loop_finds),
        cmocka_unit_test(many_questions_at_once_have_the_answers_of_each_alone),
        cmocka_unit_test(scan_on_many_threads_and_any_kernel_finds_the_same),
        cmocka_unit_test(scan_of_twins_is_decided_by_the_low_parts),
        cmocka_unit_test(scan_vectors_that_are_no_numbers_are_left_out),
        cmocka_unit_test(top_of_equal_scores_keeps_the_lower_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
