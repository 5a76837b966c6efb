/* test_windows.c -- windows and reasons through the public API, on vectors of the test's own: no model is needed. */
#include "test_support.h"

#include <math.h>

static char *g_dir;

static mneme *open_store(const char *name, const char *const (*settings)[2], size_t n)
{
    char path[1200];
    mneme_settings *all;
    mneme *memory = NULL;
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    assert_ok(mneme_settings_new(&all, test_error()));
    assert_ok(mneme_settings_set(all, "encoder.model", "no-such-model", "test", test_error()));
    for (size_t i = 0; i < n; i++)
        assert_ok(mneme_settings_set(all, settings[i][0], settings[i][1], "test", test_error()));
    assert_ok(mneme_open(path, all, 0, &memory, test_error()));
    mneme_settings_free(all);
    return memory;
}

static void fill(mneme *memory)
{
    static const float vectors[][4] = {{1, 0, 0, 0}, {0.8f, 0.6f, 0, 0}, {0, 0, 1, 0}, {0, 0, 0.6f, 0.8f}};
    const mneme_record records[] = {
        {.id = "1",
         .session = "s",
         .speaker = "Ann",
         .text = "The spare key hangs in the shed.",
         .vector = vectors[0],
         .dimension = 4,
         .has_importance = true,
         .importance = 0.9f},
        {.id = "2",
         .session = "s",
         .speaker = "Bea",
         .text = "Then I shall look there.",
         .vector = vectors[1],
         .dimension = 4,
         .has_importance = true,
         .importance = 0.1f},
        {.id = "3", .text = "A key opens doors.", .vector = vectors[2], .dimension = 4},
        {.id = "4", .text = "Cakes need apples.", .vector = vectors[3], .dimension = 4},
    };
    assert_ok(mneme_add(memory, records, 4, NULL, NULL, test_error()));
}

static mneme_context_options in_words(void)
{
    mneme_context_options options = MNEME_CONTEXT_OPTIONS_INIT;
    options.query.mode = MNEME_MODE_LEXICAL;
    options.counting = MNEME_COUNT_BYTES_4;
    return options;
}

static void window_in_words_and_bytes_needs_no_model(void **state)
{
    (void)state;
    mneme *memory = open_store("bytes", NULL, 0);
    mneme_window *window = NULL;
    fill(memory);
    mneme_context_options options = in_words();
    for (options.budget = 1; options.budget < 60; options.budget++) {
        assert_ok(mneme_context(memory, "spare key", &options, &window, test_error()));
        assert_int_equal(window->tokens, (window->text_size + 3) / 4);
        assert_true(window->tokens <= options.budget);
        assert_int_equal(window->n_found, 3); /* 1, 3, and 2 as a neighbour */
        mneme_window_free(window);
    }
    options.counting = MNEME_COUNT_ENCODER;
    assert_int_equal(mneme_context(memory, "spare key", &options, &window, test_error()), MNEME_ERR_MODEL);
    assert_null(window);
    mneme_close(memory);
}

static void settings_choose_template_and_counting(void **state)
{
    (void)state;
    static const char *const settings[][2] = {{"context.template", "xml"}, {"context.tokens", "bytes/4"}};
    mneme *memory = open_store("settings", settings, 2);
    mneme_window *window = NULL;
    fill(memory);
    mneme_context_options options = in_words();
    options.counting = MNEME_COUNT_DEFAULT;
    assert_ok(mneme_context(memory, "spare key", &options, &window, test_error()));
    assert_memory_equal(window->text, "<memory>\n", 9);
    mneme_window_free(window);
    options.form = MNEME_TEMPLATE_PLAIN;
    assert_ok(mneme_context(memory, "spare key", &options, &window, test_error()));
    assert_int_equal(window->text[0], '[');
    mneme_window_free(window);
    mneme_close(memory);
}

typedef struct counter {
    size_t n_calls, n_fail; /* the n_fail-th call fails; 0 = none */
    bool silent;
} counter;

static mneme_status count_letters(void *context, const char *text, size_t size, uint64_t *n_tokens, mneme_error *error)
{
    counter *self = context;
    *n_tokens = 0;
    for (size_t i = 0; i < size; i++) *n_tokens += text[i] != ' ' && text[i] != '\n';
    if (++self->n_calls != self->n_fail) return MNEME_OK;
    if (error && !self->silent) snprintf(error->message, sizeof error->message, "the tokenizer is tired");
    return MNEME_ERR_CANCELLED;
}

static void tokenizer_of_the_callers_own_counts_the_budget(void **state)
{
    (void)state;
    mneme *memory = open_store("own", NULL, 0);
    mneme_window *window = NULL;
    mneme_error error;
    counter self = {0, 0, false};
    fill(memory);
    mneme_context_options options = in_words();
    options.counting = MNEME_COUNT_ENCODER; /* the caller's goes first */
    options.count_tokens = count_letters;
    options.count_context = &self;
    for (options.budget = 1; options.budget < 150; options.budget += 3) {
        uint64_t n = 0;
        assert_ok(mneme_context(memory, "spare key", &options, &window, test_error()));
        count_letters(&self, window->text, window->text_size, &n, NULL);
        assert_int_equal(window->tokens, n);
        assert_true(n <= options.budget);
        mneme_window_free(window);
    }
    self = (counter){0, 3, false};
    assert_int_equal(mneme_context(memory, "spare key", &options, &window, &error), MNEME_ERR_CANCELLED);
    assert_string_equal(error.message, "the tokenizer is tired");
    self = (counter){0, 1, true};
    assert_int_equal(mneme_context(memory, "spare key", &options, &window, &error), MNEME_ERR_CANCELLED);
    assert_true(strlen(error.message) > 0);
    mneme_close(memory);
}

static void template_or_counting_that_does_not_exist_is_refused(void **state)
{
    (void)state;
    mneme *memory = open_store("bad", NULL, 0);
    mneme_window *window = NULL;
    fill(memory);
    mneme_context_options options = in_words();
    options.form = (mneme_template)9;
    assert_int_equal(mneme_context(memory, "key", &options, &window, test_error()), MNEME_ERR_USAGE);
    options = in_words();
    options.counting = (mneme_counting)7;
    assert_int_equal(mneme_context(memory, "key", &options, &window, test_error()), MNEME_ERR_USAGE);
    mneme_close(memory);
}

/* ---- reasons ---------------------------------------------------------------------------------------------------- */

static double sum(const mneme_parts *parts)
{
    return (double)parts->dense + (double)parts->lexical + (double)parts->neighbour + (double)parts->importance +
           (double)parts->strength + (double)parts->recency;
}

static void expect_parts(mneme *memory, mneme_mode mode, bool priors)
{
    static const float about_keys[] = {0.9f, 0.1f, 0.3f, 0};
    mneme_hits *hits = NULL;
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.mode = mode;
    options.vector = about_keys;
    options.dimension = 4;
    options.explain = true;
    assert_ok(mneme_query(memory, "the spare key", &options, &hits, test_error()));
    assert_true(hits->n >= 2);
    bool any_neighbour = false;
    for (size_t i = 0; i < hits->n; i++) {
        const mneme_hit *hit = &hits->items[i];
        assert_true(fabs(sum(&hit->parts) - (double)hit->score) < 1e-5);
        assert_true(hit->parts.neighbour == hit->neighbour);
        assert_true(mode != MNEME_MODE_DENSE || hit->parts.lexical == 0);
        assert_true(mode != MNEME_MODE_LEXICAL || hit->parts.dense == 0);
        assert_true((hit->parts.strength > 0) == priors && (hit->parts.recency > 0) == priors);
        any_neighbour = any_neighbour || hit->neighbour > 0;
    }
    assert_true(any_neighbour);
    mneme_hits_free(hits);
}

static void parts_add_up_to_the_score(void **state)
{
    (void)state;
    static const char *const settings[][2] = {{"retrieval.importance_weight", "0.3"},
                                              {"retrieval.strength_weight", "0.2"},
                                              {"retrieval.recency_weight", "0.1"}};
    for (size_t n = 0; n <= 3; n += 3) {
        mneme *memory = open_store(n ? "priors" : "parts", settings, n);
        fill(memory);
        for (mneme_mode mode = MNEME_MODE_HYBRID; mode <= MNEME_MODE_LEXICAL; mode++) expect_parts(memory, mode, n > 0);
        mneme_close(memory);
    }
}

static void terms_are_the_questions_that_the_hit_has(void **state)
{
    (void)state;
    mneme *memory = open_store("terms", NULL, 0);
    mneme_hits *hits = NULL;
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    fill(memory);
    options.mode = MNEME_MODE_LEXICAL;
    options.explain = true;
    assert_ok(mneme_query(memory, "where did Ann hang the spare keys?", &options, &hits, test_error()));
    assert_string_equal(hits->items[0].id, "1");
    assert_int_equal(hits->items[0].n_terms, 4); /* the speaker counts */
    const char *wanted[] = {"ann", "hang", "key", "spare"};
    for (size_t i = 0; i < 4; i++) assert_string_equal(hits->items[0].terms[i], wanted[i]);
    mneme_hits_free(hits);
    options.explain = false;
    assert_ok(mneme_query(memory, "spare keys", &options, &hits, test_error()));
    assert_int_equal(hits->items[0].n_terms, 0);
    mneme_hits_free(hits);
    mneme_close(memory);
}

static void passages_carry_the_reasons_of_their_best_hit(void **state)
{
    (void)state;
    mneme *memory = open_store("reasons", NULL, 0);
    mneme_window *window = NULL;
    fill(memory);
    mneme_context_options options = in_words();
    options.query.explain = true;
    options.query.k = 1;
    assert_ok(mneme_context(memory, "spare key", &options, &window, test_error()));
    assert_int_equal(window->n, 2); /* the hit, and the turn after it */
    const mneme_passage *hit = &window->items[0], *beside = &window->items[1];
    assert_int_equal(hit->n_hits, 1);
    assert_true(fabs(sum(&hit->parts) - (double)hit->score) < 1e-5 && hit->score > 0 && hit->weight > 0.99f);
    assert_int_equal(hit->n_terms, 2);
    assert_int_equal(beside->n_hits, 0);
    assert_true(beside->score == 0 && beside->weight == 0 && sum(&beside->parts) == 0);
    mneme_window_free(window);
    mneme_close(memory);
}

/* ---- bad questions ---------------------------------------------------------------------------------------------- */

static mneme_status ask_both(mneme *memory, const char *question, const float *vector, uint32_t dimension, size_t *n)
{
    mneme_hits *hits = NULL;
    mneme_window *window = NULL;
    mneme_context_options options = MNEME_CONTEXT_OPTIONS_INIT;
    options.counting = MNEME_COUNT_BYTES_4;
    options.query.vector = vector;
    options.query.dimension = dimension;
    mneme_status status = mneme_query(memory, question, &options.query, &hits, test_error());
    assert_int_equal(mneme_context(memory, question, &options, &window, test_error()), status);
    assert_true((status == MNEME_OK) == (hits != NULL) && (hits != NULL) == (window != NULL));
    if (hits) assert_true((hits->n > 0) == (window->n > 0));
    if (hits) *n = hits->n;
    mneme_hits_free(hits);
    mneme_window_free(window);
    return status;
}

static void vectors_that_are_none_are_refused(void **state)
{
    (void)state;
    mneme *memory = open_store("vectors", NULL, 0);
    size_t n = 0;
    fill(memory);
    for (size_t i = 0; i < 4; i++) {
        float vector[5] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
        const float bad[] = {NAN, INFINITY, -INFINITY};
        for (size_t j = 0; j < 3; j++) {
            vector[i] = bad[j];
            assert_int_equal(ask_both(memory, "key", vector, 4, &n), MNEME_ERR_USAGE);
        }
    }
    const float none[4] = {0, 0, 0, 0}, five[5] = {1, 1, 1, 1, 1}, four[4] = {1, 0, 0, 0};
    assert_int_equal(ask_both(memory, "key", none, 4, &n), MNEME_ERR_USAGE);
    assert_int_equal(ask_both(memory, "key", five, 0, &n), MNEME_ERR_USAGE);
    assert_int_equal(ask_both(memory, "key", five, 5, &n), MNEME_ERR_DIMENSION);
    assert_int_equal(ask_both(memory, "", four, 4, &n), MNEME_OK);
    assert_true(n > 0);
    mneme_close(memory);
}

static void questions_without_a_word_find_nothing(void **state)
{
    (void)state;
    static const char *const settings[][2] = {{"retrieval.mode", "lexical"}};
    mneme *memory = open_store("words", settings, 1);
    size_t n = 9;
    fill(memory);
    static const char *const questions[] = {"", "   \n", "?!", "what did of the", "zebra"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(ask_both(memory, questions[i], NULL, 0, &n), MNEME_OK);
        assert_int_equal(n, i == 3 ? 2 : 0); /* such words alone are asked as they are: "the" in 1, and its neighbour */
    }
    assert_int_equal(ask_both(memory, NULL, NULL, 0, &n), MNEME_OK);
    assert_int_equal(n, 0);
    mneme_close(memory);
}

static void question_of_a_megabyte_and_more_than_all_is_answered(void **state)
{
    (void)state;
    static const char *const settings[][2] = {{"retrieval.mode", "lexical"}};
    mneme *memory = open_store("large", settings, 1);
    size_t size = 1 << 20, n = 0;
    char *question = malloc(size + 1);
    for (size_t i = 0; i < size; i++) question[i] = "spare key "[i % 10];
    question[size] = '\0';
    fill(memory);
    assert_int_equal(ask_both(memory, question, NULL, 0, &n), MNEME_OK);
    assert_int_equal(n, 3);
    memset(question, 'x', size);
    assert_int_equal(ask_both(memory, question, NULL, 0, &n), MNEME_OK);
    assert_int_equal(n, 0);
    free(question);
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.k = UINT32_MAX;
    mneme_hits *hits = NULL;
    assert_ok(mneme_query(memory, "key", &options, &hits, test_error()));
    assert_int_equal(hits->n, 3);
    mneme_hits_free(hits);
    options.select.name_space = "nowhere";
    assert_ok(mneme_query(memory, "key", &options, &hits, test_error()));
    assert_int_equal(hits->n, 0);
    mneme_hits_free(hits);
    mneme_close(memory);
}

static int begin(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    return 0;
}

static int end(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_in_words_and_bytes_needs_no_model),
        cmocka_unit_test(settings_choose_template_and_counting),
        cmocka_unit_test(tokenizer_of_the_callers_own_counts_the_budget),
        cmocka_unit_test(template_or_counting_that_does_not_exist_is_refused),
        cmocka_unit_test(parts_add_up_to_the_score),
        cmocka_unit_test(terms_are_the_questions_that_the_hit_has),
        cmocka_unit_test(passages_carry_the_reasons_of_their_best_hit),
        cmocka_unit_test(vectors_that_are_none_are_refused),
        cmocka_unit_test(questions_without_a_word_find_nothing),
        cmocka_unit_test(question_of_a_megabyte_and_more_than_all_is_answered),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
