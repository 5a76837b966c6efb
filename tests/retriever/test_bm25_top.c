/* The best rows by BM25 are those that the shares of all rows give, and the shares are those of the formula. */
#include "retriever/bm25.h"

#include <math.h>

#include "retriever/retriever_support.h"

enum { MAX_ROWS = 20000, MAX_TERMS = 24 };

/* A made-up namespace: counts[term * n_rows + row]. */
typedef struct world {
    uint32_t n_rows, n_terms;
    uint32_t *counts;
    mn_row *rows;
    const mn_row **blocks;
    mn_rows all;
    mn_namespace space;
    mn_arena arena;
} world;

static void world_open(world *w, uint32_t n_rows, uint32_t n_terms)
{
    size_t n_blocks = n_rows / MN_BLOCK_ROWS + 1;
    *w = (world){.n_rows = n_rows, .n_terms = n_terms};
    w->counts = mn_arena_array(&w->arena, (size_t)n_rows * n_terms, sizeof *w->counts);
    w->rows = mn_arena_array(&w->arena, n_blocks * MN_BLOCK_ROWS, sizeof *w->rows);
    w->blocks = mn_arena_array(&w->arena, n_blocks, sizeof *w->blocks);
    assert_true(w->counts && w->rows && w->blocks);
    memset(w->counts, 0, (size_t)n_rows * n_terms * sizeof *w->counts);
    for (size_t i = 0; i < n_blocks; i++) w->blocks[i] = w->rows + i * MN_BLOCK_ROWS;
}

/* Rows and statistics; every row has `filler` terms more, which are not asked for. */
static void world_finish(world *w, uint64_t *seed, uint32_t filler)
{
    w->all = (mn_rows){w->blocks, w->n_rows};
    w->space = (mn_namespace){.name = "", .n_chunks = w->n_rows};
    for (uint32_t row = 0; row < w->n_rows; row++) {
        uint32_t length = filler ? test_below(seed, filler) + 1 : 0;
        for (uint32_t t = 0; t < w->n_terms; t++) length += w->counts[(size_t)t * w->n_rows + row];
        w->rows[row] = (mn_row){.rec = row + 1, .n_terms = length};
        w->space.n_terms += length;
    }
}

static void append_varint(mn_buffer *out, uint64_t value)
{
    for (; value >= 128; value >>= 7) mn_buffer_append(out, &(unsigned char){(unsigned char)(value | 128)}, 1);
    mn_buffer_append(out, &(unsigned char){(unsigned char)value}, 1);
}

/* The postings of a term as the store has them (docs/architecture.md), in blocks of about `block_size` bytes. */
static mn_posting_cursor term_cursor(world *w, uint32_t term, size_t block_size, size_t *allowance)
{
    mn_posting_block *blocks = mn_arena_array(&w->arena, w->n_rows + 1, sizeof *blocks);
    size_t n = 0;
    mn_buffer bytes = {0};
    uint32_t before = 0;
    for (uint32_t row = 0; row <= w->n_rows; row++) {
        uint32_t count = row < w->n_rows ? w->counts[(size_t)term * w->n_rows + row] : 0;
        if (bytes.size > block_size || (row == w->n_rows && bytes.size)) {
            blocks[n - 1].bytes = mn_arena_copy(&w->arena, bytes.data, bytes.size);
            blocks[n - 1].size = (uint32_t)bytes.size;
            mn_buffer_clear(&bytes);
        }
        if (!count) continue;
        if (bytes.size == 0) blocks[n++].first_row = before = row;
        append_varint(&bytes, (uint64_t)(row - before) * 2 + (count == 1));
        if (count != 1) append_varint(&bytes, count - 2);
        before = row;
    }
    mn_buffer_free(&bytes);
    mn_posting_cursor cursor;
    assert_true(mn_posting_cursor_prepare(&cursor, blocks, n, allowance, &w->arena));
    mn_posting_cursor_decode(&cursor);
    assert_false(cursor.damaged);
    return cursor;
}

/* The formula of bm25.h, written out. */
static double plain_score(const world *w, const uint32_t *question, uint32_t row, double k1, double b, double *most)
{
    double score = 0, mean = (double)w->space.n_terms / w->n_rows;
    *most = 0;
    for (uint32_t t = 0; t < w->n_terms; t++) {
        const uint32_t *counts = w->counts + (size_t)t * w->n_rows;
        double df = 0, f = counts[row];
        if (!question[t]) continue;
        for (uint32_t r = 0; r < w->n_rows; r++) df += counts[r] > 0;
        double weight = question[t] * log(1 + (w->n_rows - df + 0.5) / (df + 0.5)) * (k1 + 1);
        *most += weight;
        if (f > 0) score += weight * f / (f + k1 * (1 - b + b * w->rows[row].n_terms / mean));
    }
    return score;
}

static int best_first(const void *left, const void *right)
{
    const mn_scored *a = left, *b = right;
    if (a->score < b->score || a->score > b->score) return a->score > b->score ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

/* The best rows, when it is known that `capacity` of them have a share of `known`. */
static void check_top(world *w, const mn_bm25 *bm25, const mn_scored *expected, size_t n, size_t capacity, float known)
{
    mn_row_filter filter;
    mn_top top;
    assert_true(mn_row_filter_init(&filter, NULL, &w->space, &w->all, &w->arena, NULL));
    assert_true(mn_top_init(&top, capacity, &w->arena));
    mn_bm25_top(bm25, &filter, known, &top);
    mn_top_sort(&top);
    assert_int_equal(top.n, n < capacity ? n : capacity);
    for (size_t i = 0; i < top.n; i++) {
        assert_int_equal(top.items[i].row, expected[i].row);
        assert_true(!(top.items[i].score < expected[i].score) && !(top.items[i].score > expected[i].score));
    }
}

/* The same of two parts of the rows, each with a twin of its own, then put together. */
static void check_parts(world *w, const mn_bm25 *bm25, const mn_scored *expected, size_t n, size_t capacity,
                        float known)
{
    uint32_t half = w->n_rows / 2 - w->n_rows / 2 % MN_BM25_WINDOW;
    mn_row_filter filter;
    mn_bm25 twin;
    mn_top tops[2];
    assert_true(mn_row_filter_init(&filter, NULL, &w->space, &w->all, &w->arena, NULL));
    assert_true(mn_bm25_twin(bm25, &w->arena, &twin));
    for (size_t i = 0; i < 2; i++) assert_true(mn_top_init(&tops[i], capacity, &w->arena));
    mn_bm25_top_between(&twin, half, w->n_rows, &filter, known, &tops[1]);
    mn_bm25_top_between(bm25, 0, half, &filter, known, &tops[0]);
    for (size_t i = 0; i < tops[0].n; i++) assert_true(tops[0].items[i].row < half);
    for (size_t i = 0; i < tops[1].n; i++) {
        const mn_scored *row = &tops[1].items[i];
        assert_true(row->row >= half);
        if (mn_top_wants(&tops[0], row->score, row->row)) mn_top_put(&tops[0], row->score, row->row);
    }
    mn_top_sort(&tops[0]);
    assert_int_equal(tops[0].n, n < capacity ? n : capacity);
    for (size_t i = 0; i < tops[0].n; i++) assert_int_equal(tops[0].items[i].row, expected[i].row);
}

/* Ask in every way that postings are kept, and for several numbers of rows. */
static void check_question(world *w, const uint32_t *question, double k1, double b)
{
    static const struct {
        size_t block_size, allowance;
    } ways[] = {{4080, SIZE_MAX}, {4080, 0}, {300, 1000}, {20, 0}};
    static const size_t capacities[] = {1, 10, 200, MAX_ROWS};
    mn_scored *expected = mn_arena_array(&w->arena, w->n_rows, sizeof *expected);
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        size_t allowance = ways[way].allowance, n = 0;
        mn_bm25 bm25;
        assert_true(mn_bm25_init(&bm25, &w->space, &w->all, k1, b, &w->arena));
        for (uint32_t t = 0; t < w->n_terms; t++) {
            if (!question[t]) continue;
            mn_posting_cursor cursor = term_cursor(w, t, ways[way].block_size, &allowance);
            assert_true(mn_bm25_add(&bm25, &cursor, question[t]));
        }
        assert_true(mn_bm25_ready(&bm25));
        for (uint32_t row = 0; row < w->n_rows; row++) {
            float share = mn_bm25_share(&bm25, row);
            if (row % 97 == 0) {
                double most, plain = plain_score(w, question, row, k1, b, &most);
                assert_true(fabs(plain - (double)share * most) <= 1e-6 * most);
                assert_true((plain > 0) == (share > 0));
            }
            if (share > 0 && w->rows[row].rec) expected[n++] = (mn_scored){share, row};
        }
        qsort(expected, n, sizeof *expected, best_first);
        for (size_t c = 0; c < 3 * (sizeof capacities / sizeof *capacities); c++) {
            size_t capacity = capacities[c / 3];
            float worst = n >= capacity ? expected[capacity - 1].score : 0;
            check_top(w, &bm25, expected, n, capacity, worst * (float)(c % 3) / 2); /* nothing known, less, all */
            check_parts(w, &bm25, expected, n, capacity, worst * (float)(c % 3) / 2);
        }
    }
}

static void pruned_top_of_random_rows_is_that_of_all_shares(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 12; round++) {
        world w;
        world_open(&w, 1 + test_below(&seed, round % 3 == 0 ? 300 : MAX_ROWS), 1 + test_below(&seed, MAX_TERMS));
        for (uint32_t t = 0; t < w.n_terms; t++) {
            double density = pow(test_random(&seed), 4); /* most terms are rare */
            for (uint32_t row = 0; row < w.n_rows; row++)
                if (test_random(&seed) < density)
                    w.counts[(size_t)t * w.n_rows + row] = 1 + test_below(&seed, 4) * (test_random(&seed) < 0.1);
        }
        world_finish(&w, &seed, 40);
        uint32_t question[MAX_TERMS];
        for (uint32_t t = 0; t < MAX_TERMS; t++) question[t] = test_below(&seed, 3);
        question[0] = 1;
        check_question(&w, question, test_random(&seed) * 3, test_random(&seed));
        mn_arena_free(&w.arena);
    }
}

/* Thousands of rows with the same score: only the lowest are kept. */
static void equal_rows_are_kept_by_their_numbers(void **state)
{
    (void)state;
    uint64_t seed = 6;
    world w;
    world_open(&w, 13000, 4);
    for (uint32_t row = 0; row < w.n_rows; row++) {
        w.counts[row] = 1;                                            /* in all rows */
        w.counts[(size_t)w.n_rows + row] = row % 2;                   /* in half of them */
        w.counts[(size_t)2 * w.n_rows + row] = row % 50 == 7 ? 2 : 0; /* in few, twice */
        w.counts[(size_t)3 * w.n_rows + row] = row > 12500;           /* at the end alone */
    }
    world_finish(&w, &seed, 0);
    for (uint32_t terms = 1; terms < 16; terms++) {
        uint32_t question[4];
        for (uint32_t t = 0; t < 4; t++) question[t] = terms >> t & 1;
        check_question(&w, question, 1.2, 0.75);
        check_question(&w, question, 0, 0.75);
        check_question(&w, question, 1.2, 0);
    }
    mn_arena_free(&w.arena);
}

static void counts_and_lengths_beyond_the_tables_are_right(void **state)
{
    (void)state;
    uint64_t seed = 8;
    world w;
    world_open(&w, 6000, 3);
    for (uint32_t row = 0; row < w.n_rows; row += 2)
        for (uint32_t t = 0; t < 3; t++)
            if (test_random(&seed) < 0.5)
                w.counts[(size_t)t * w.n_rows + row] = 1 + test_below(&seed, row % 40 ? 2 : 90000);
    world_finish(&w, &seed, 1000);
    check_question(&w, (uint32_t[]){1, 2, 1}, 1.2, 0.75);
    mn_arena_free(&w.arena);
}

static void dead_rows_and_missing_terms_bring_nothing(void **state)
{
    (void)state;
    uint64_t seed = 9;
    world w;
    world_open(&w, 9000, 3);
    for (uint32_t row = 0; row < w.n_rows; row++) {
        w.counts[row] = test_random(&seed) < 0.3;
        w.counts[(size_t)w.n_rows + row] = test_random(&seed) < 0.01; /* the third is in no row */
    }
    world_finish(&w, &seed, 30);
    for (uint32_t row = 0; row < w.n_rows; row += 3) w.rows[row].rec = 0;
    check_question(&w, (uint32_t[]){1, 1, 1}, 1.2, 0.75);
    check_question(&w, (uint32_t[]){0, 0, 1}, 1.2, 0.75);
    mn_arena_free(&w.arena);
}

/* ---- from a store ----------------------------------------------------------------------------------------------- */

/* `n` records of 5 to 15 words, each one of 2,000, the low numbers more often. */
static void fill_store(test_memory *memory, size_t n)
{
    static char texts[4000][160];
    mneme_record *records = calloc(n, sizeof *records);
    mn_new_record *put = calloc(n, sizeof *put);
    mn_new_chunk *chunks = calloc(n, sizeof *chunks);
    char(*ids)[16] = calloc(n, sizeof *ids);
    uint64_t seed = 3;
    assert_true(n <= 4000 && records && put && chunks && ids);
    for (size_t i = 0; i < n; i++) {
        size_t size = 0;
        for (uint32_t words = 5 + test_below(&seed, 11); words > 0; words--)
            size += (size_t)snprintf(texts[i] + size, sizeof texts[i] - size, "w%u ",
                                     (unsigned)(pow(test_random(&seed), 3) * 2000));
        snprintf(ids[i], sizeof ids[i], "%zu", i);
        records[i] = (mneme_record){.id = ids[i], .text = texts[i], .text_size = size};
        chunks[i] = (mn_new_chunk){0, (uint32_t)size, NULL};
        put[i] = (mn_new_record){.record = &records[i], .hash = {i, 1}, .chunks = &chunks[i], .n_chunks = 1};
    }
    test_put(memory, put, n);
    free(records);
    free(put);
    free(chunks);
    free(ids);
}

static bool accept_some(void *context, const char *name_space, const mn_record *record)
{
    (void)name_space;
    return record->rec % *(uint32_t *)context == 0;
}

/* The 50 best of what `text` finds, held against the shares of all rows that the filter accepts. */
static void check_store(test_memory *memory, const char *text, size_t size, uint32_t every)
{
    mn_read *read = NULL;
    mn_namespace space;
    mn_arena arena = {0};
    mn_rows rows;
    mn_term_list terms;
    mn_bm25 bm25;
    mn_row_filter filter;
    mn_top top;
    assert_ok(mn_read_begin(memory->store, &read, test_error()));
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_ok(mn_read_rows(read, space.ns, &arena, &rows, test_error()));
    assert_ok(mn_analyzer_question(memory->analyzer, text, size, &arena, &terms, test_error()));
    assert_true(mn_bm25_init(&bm25, &space, &rows, 1.2, 0.75, &arena));
    assert_ok(mn_bm25_run(&bm25, read, space.ns, &rows, &terms, &arena, test_error()));
    assert_true(mn_row_filter_init(&filter, read, &space, &rows, &arena, test_error()));
    mn_row_filter_accept(&filter, accept_some, &every);
    assert_true(mn_top_init(&top, 50, &arena));
    mn_bm25_top(&bm25, &filter, 0, &top);
    mn_top_sort(&top);
    mn_scored *expected = mn_arena_array(&arena, rows.n_rows, sizeof *expected);
    size_t n = 0;
    for (uint32_t row = 0; row < rows.n_rows; row++) {
        float share = mn_bm25_share(&bm25, row);
        uint32_t rec = mn_row_at(&rows, row)->rec;
        if (share > 0 && rec && rec % every == 0) expected[n++] = (mn_scored){share, row};
    }
    qsort(expected, n, sizeof *expected, best_first);
    assert_int_equal(top.n, n < 50 ? n : 50);
    for (size_t i = 0; i < top.n; i++) assert_int_equal(top.items[i].row, expected[i].row);
    mn_read_end(read);
    mn_arena_free(&arena);
}

static void store_with_filter_and_forgotten_records_gives_the_best_of_the_rest(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    fill_store(&memory, 4000);
    for (uint32_t i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i * 19);
        test_forget(&memory, "", id);
    }
    static const char *const questions[] = {"w0", "w1 w2 w1999", "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9", "w1500 w1600 w1700",
                                            "nothing has this"};
    for (size_t i = 0; i < 5; i++)
        for (uint32_t every = 1; every < 100; every *= 7)
            check_store(&memory, questions[i], strlen(questions[i]), every);
    test_memory_close(&memory);
}

static void question_of_a_megabyte_is_answered_exactly(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    fill_store(&memory, 4000);
    mn_buffer text = {0};
    uint64_t seed = 12;
    while (text.size < 1 << 20) {
        char word[16];
        mn_buffer_append(&text, word, (size_t)snprintf(word, sizeof word, "w%u ", test_below(&seed, 40000)));
    }
    check_store(&memory, text.data, text.size, 1);
    mn_buffer_free(&text);
    test_memory_close(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pruned_top_of_random_rows_is_that_of_all_shares),
        cmocka_unit_test(equal_rows_are_kept_by_their_numbers),
        cmocka_unit_test(counts_and_lengths_beyond_the_tables_are_right),
        cmocka_unit_test(dead_rows_and_missing_terms_bring_nothing),
        cmocka_unit_test(store_with_filter_and_forgotten_records_gives_the_best_of_the_rest),
        cmocka_unit_test(question_of_a_megabyte_is_answered_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
