/* BM25 against bm25s (tests/data/retriever/make_bm25_golden.py) and against the formula written out plainly. */
#include "retriever/bm25.h"

#include <jansson.h>
#include <math.h>

#include "retriever/retriever_support.h"

enum { MAX_CHUNKS = 200, MAX_TERMS = 30 };

/* counts[chunk][term] */
typedef struct small_corpus {
    uint32_t n_chunks, n_terms;
    uint32_t counts[MAX_CHUNKS][MAX_TERMS];
    mn_row rows[MN_BLOCK_ROWS];
    const mn_row *blocks[1];
    mn_rows all;
    mn_namespace space;
} small_corpus;

/* Lengths and statistics from the counts. */
static void finish(small_corpus *corpus)
{
    corpus->space = (mn_namespace){.name = "", .n_chunks = corpus->n_chunks};
    for (uint32_t c = 0; c < corpus->n_chunks; c++) {
        corpus->rows[c] = (mn_row){.rec = c + 1};
        for (uint32_t t = 0; t < corpus->n_terms; t++) corpus->rows[c].n_terms += corpus->counts[c][t];
        corpus->space.n_terms += corpus->rows[c].n_terms;
    }
    corpus->blocks[0] = corpus->rows;
    corpus->all = (mn_rows){corpus->blocks, corpus->n_chunks};
}

static void add_postings(mn_bm25 *bm25, const uint32_t *counts, size_t stride, uint32_t n_chunks, uint32_t count)
{
    mn_posting *postings = mn_arena_array(bm25->arena, MAX_CHUNKS, sizeof *postings);
    assert_non_null(postings);
    uint32_t n = 0;
    for (uint32_t c = 0; c < n_chunks; c++)
        if (counts[c * stride]) postings[n++] = (mn_posting){c, counts[c * stride]};
    mn_posting_cursor cursor;
    mn_posting_cursor_over(&cursor, postings, n);
    assert_true(mn_bm25_add(bm25, &cursor, count));
}

static void add_term(mn_bm25 *bm25, const small_corpus *corpus, uint32_t term, uint32_t count)
{
    add_postings(bm25, &corpus->counts[0][term], MAX_TERMS, corpus->n_chunks, count);
}

static void scores_of_the_small_corpus_equal_those_of_bm25s(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/data/retriever/bm25_golden.json", test_source_dir());
    json_t *golden = json_load_file(path, 0, NULL);
    assert_non_null(golden);
    static small_corpus corpus;
    corpus = (small_corpus){0};
    json_t *document, *term, *one_case;
    size_t i, j;
    static uint32_t counts[MAX_CHUNKS][40];
    memset(counts, 0, sizeof counts);
    uint64_t n_terms = 0;
    json_array_foreach(json_object_get(golden, "corpus"), i, document)
    {
        json_array_foreach(document, j, term) counts[i][atoi(json_string_value(term) + 1)]++;
        corpus.rows[i] = (mn_row){.rec = (uint32_t)i + 1, .n_terms = (uint32_t)json_array_size(document)};
        n_terms += json_array_size(document);
        corpus.n_chunks++;
    }
    corpus.blocks[0] = corpus.rows;
    corpus.all = (mn_rows){corpus.blocks, corpus.n_chunks};
    corpus.space = (mn_namespace){.name = "", .n_chunks = corpus.n_chunks, .n_terms = n_terms};
    assert_int_equal(json_array_size(json_object_get(golden, "cases")), 12);
    json_array_foreach(json_object_get(golden, "cases"), i, one_case)
    {
        mn_arena arena = {0};
        mn_bm25 bm25;
        double k1 = json_number_value(json_object_get(one_case, "k1"));
        assert_true(mn_bm25_init(&bm25, &corpus.space, &corpus.all, k1,
                                 json_number_value(json_object_get(one_case, "b")), &arena));
        json_array_foreach(json_object_get(one_case, "question"), j, term)
        {
            uint32_t number = (uint32_t)atoi(json_string_value(term) + 1);
            add_postings(&bm25, &counts[0][number], 40, corpus.n_chunks, 1);
        }
        assert_true(mn_bm25_ready(&bm25));
        for (uint32_t c = 0; c < corpus.n_chunks; c++) { /* Lucene leaves the constant factor k1 + 1 out */
            double expected = json_number_value(json_array_get(json_object_get(one_case, "scores"), c)) * (k1 + 1);
            assert_true(fabs(expected - (double)mn_bm25_share(&bm25, c) * bm25.most) < 1e-5 * (1 + expected));
        }
        mn_arena_free(&arena);
    }
    json_decref(golden);
}

/* The formula of bm25.h, written out. */
static double plain_share(const small_corpus *corpus, const uint32_t *question, uint32_t chunk, double k1, double b)
{
    double score = 0, most = 0;
    double mean = (double)corpus->space.n_terms / corpus->n_chunks;
    for (uint32_t t = 0; t < corpus->n_terms; t++) {
        double df = 0;
        for (uint32_t c = 0; c < corpus->n_chunks; c++) df += corpus->counts[c][t] > 0;
        double idf = log(1 + (corpus->n_chunks - df + 0.5) / (df + 0.5));
        double f = corpus->counts[chunk][t];
        double norm = k1 * (1 - b + b * corpus->rows[chunk].n_terms / mean);
        most += question[t] * idf * (k1 + 1);
        if (f > 0) score += question[t] * idf * f * (k1 + 1) / (f + norm);
    }
    return most > 0 ? score / most : 0;
}

static void shares_of_random_corpora_equal_the_plain_formula(void **state)
{
    (void)state;
    static small_corpus corpus;
    uint64_t seed = 11;
    for (int round = 0; round < 30; round++) {
        corpus =
            (small_corpus){.n_chunks = 1 + test_below(&seed, MAX_CHUNKS), .n_terms = 1 + test_below(&seed, MAX_TERMS)};
        for (uint32_t c = 0; c < corpus.n_chunks; c++)
            for (uint32_t t = 0; t < corpus.n_terms; t++)
                if (test_random(&seed) < 1.0 / (t + 1)) corpus.counts[c][t] = 1 + test_below(&seed, 4);
        finish(&corpus);
        double k1 = test_random(&seed) * 3, b = test_random(&seed);
        uint32_t question[MAX_TERMS] = {0};
        mn_arena arena = {0};
        mn_bm25 bm25;
        assert_true(mn_bm25_init(&bm25, &corpus.space, &corpus.all, k1, b, &arena));
        for (uint32_t t = 0; t < corpus.n_terms; t++) {
            question[t] = test_below(&seed, 3);
            if (question[t]) add_term(&bm25, &corpus, t, question[t]);
        }
        assert_true(mn_bm25_ready(&bm25));
        for (uint32_t c = 0; c < corpus.n_chunks; c++) {
            double share = (double)mn_bm25_share(&bm25, c);
            assert_true(share >= 0 && share <= 1);
            assert_true(fabs(share - plain_share(&corpus, question, c, k1, b)) < 1e-5);
        }
        mn_arena_free(&arena);
    }
}

static void top_of_a_term_holds_only_live_rows_that_have_it(void **state)
{
    (void)state;
    static small_corpus corpus;
    corpus = (small_corpus){.n_chunks = 10, .n_terms = 2};
    for (uint32_t c = 0; c < 10; c++) corpus.counts[c][c % 2] = c + 1;
    finish(&corpus);
    corpus.rows[5].rec = 0;
    mn_arena arena = {0};
    mn_bm25 bm25;
    mn_row_filter filter;
    mn_top top;
    assert_true(mn_bm25_init(&bm25, &corpus.space, &corpus.all, 1.2, 0, &arena));
    assert_true(mn_row_filter_init(&filter, NULL, &corpus.space, &corpus.all, &arena, NULL));
    assert_true(mn_top_init(&top, 10, &arena));
    add_term(&bm25, &corpus, 1, 1);
    assert_true(mn_bm25_ready(&bm25));
    mn_bm25_top(&bm25, &filter, 0, &top);
    mn_top_sort(&top);
    assert_int_equal(top.n, 4); /* 1 3 7 9: the more often, the higher, since b = 0 */
    static const uint32_t expected[] = {9, 7, 3, 1};
    for (size_t i = 0; i < 4; i++) assert_int_equal(top.items[i].row, expected[i]);
    mn_arena_free(&arena);
}

static void question_of_unknown_terms_gives_zero(void **state)
{
    (void)state;
    static small_corpus corpus;
    corpus = (small_corpus){.n_chunks = 3, .n_terms = 1};
    finish(&corpus);
    mn_arena arena = {0};
    mn_bm25 bm25;
    assert_true(mn_bm25_init(&bm25, &corpus.space, &corpus.all, 1.2, 0.75, &arena));
    assert_true(mn_bm25_ready(&bm25));
    assert_true(mn_bm25_share(&bm25, 0) == 0);
    add_term(&bm25, &corpus, 0, 1);
    assert_true(mn_bm25_ready(&bm25));
    for (uint32_t c = 0; c < 3; c++) assert_true(mn_bm25_share(&bm25, c) == 0);
    mn_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_of_the_small_corpus_equal_those_of_bm25s),
        cmocka_unit_test(shares_of_random_corpora_equal_the_plain_formula),
        cmocka_unit_test(top_of_a_term_holds_only_live_rows_that_have_it),
        cmocka_unit_test(question_of_unknown_terms_gives_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
