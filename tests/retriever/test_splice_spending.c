/* test_splice_spending.c -- what a window spends its budget on: nothing is said twice, short records come in whole. */
#include "retriever/splice_support.h"

static void put(test_memory *memory, const char *id, const char *session, const char *speaker, const char *text)
{
    mneme_record record = {.id = id, .session = session, .speaker = speaker, .text = text};
    test_put_turn(memory, &record, NULL, 0);
}

/* The window for the question, sound; caller frees. */
static test_window ask(test_memory *memory, const char *question, uint32_t budget)
{
    static mn_splice_options options;
    options = (mn_splice_options){.budget = budget, .count_tokens = count_words};
    test_window window = test_splice(memory, question, 10, &options);
    test_expect_sound(&window, &options);
    return window;
}

static void expect_window(test_memory *memory, const char *question, uint32_t budget, const char *expected)
{
    test_window window = ask(memory, question, budget);
    assert_string_equal(window.text.data ? window.text.data : "", expected);
    test_window_free(&window);
}

static void same_text_in_two_records_is_shown_once_with_the_attention_of_both(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put(&memory, "1", NULL, NULL, "The lamp is  in the\nshed.");
    put(&memory, "2", NULL, NULL, "The lamp is in the shed.");
    test_window window = ask(&memory, "lamp", 1000);
    assert_int_equal(window.n_hits, 2);
    assert_int_equal(window.n, 1);
    assert_int_equal(window.passages[0].n_hits, 2);
    assert_true(window.passages[0].weight > 0.999f);
    assert_string_equal(window.text.data, "[1]\nThe lamp is  in the\nshed.");
    test_window_free(&window);
    test_memory_close(&memory);
}

static void what_differs_in_speaker_or_in_a_sentence_is_shown(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put(&memory, "1", NULL, "Ann", "The lamp is in the shed.");
    put(&memory, "2", NULL, "Bea", "The lamp is in the shed.");
    put(&memory, "3", NULL, "Ann", "The lamp is in the shed. It is broken.");
    test_window window = ask(&memory, "lamp", 1000);
    assert_int_equal(window.n, 3);
    test_window_free(&window);
    test_memory_close(&memory);
}

static void turns_said_again_in_one_session_stay_where_they_stand(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put(&memory, "1", "s", "Ann", "Do tell me about that old lamp, please.");
    put(&memory, "2", "s", "Bea", "I would rather not, if you do not mind.");
    put(&memory, "3", "s", "Ann", "Do tell me about that old lamp, please.");
    expect_window(&memory, "lamp", 1000,
                  "[s]\nAnn: Do tell me about that old lamp, please.\nBea: I would rather not, if you do not mind.\n"
                  "Ann: Do tell me about that old lamp, please.");
    test_memory_close(&memory);
}

static void growing_ends_where_another_document_has_told_the_same(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    const char *first = "A licence that nobody ever reads stands here. The lamp is red.";
    const char *second = "A licence that nobody ever reads stands here. The lamp is blue.";
    mneme_record a = {.id = "a", .text = first, .text_size = strlen(first)};
    mneme_record b = {.id = "b", .text = second, .text_size = strlen(second)};
    mn_new_chunk a_chunks[] = {{0, 45, NULL}, {46, (uint32_t)strlen(first), NULL}};
    mn_new_chunk b_chunks[] = {{0, 45, NULL}, {46, (uint32_t)strlen(second), NULL}};
    mn_new_record records[] = {{.record = &a, .hash = {1}, .chunks = a_chunks, .n_chunks = 2},
                               {.record = &b, .hash = {2}, .chunks = b_chunks, .n_chunks = 2}};
    test_put(&memory, records, 2);
    expect_window(&memory, "lamp", 1000,
                  "[a]\nA licence that nobody ever reads stands here. The lamp is red.\n\n[b]\nThe lamp is blue.");
    test_memory_close(&memory);
}

static void short_record_comes_in_whole_before_the_next_hit(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    const char *text = "The lamp is red. It once hung in the hall.";
    mneme_record record = {.id = "a", .text = text, .text_size = strlen(text)};
    mn_new_chunk chunks[] = {{0, 16, NULL}, {17, (uint32_t)strlen(text), NULL}};
    mn_new_record new_record = {.record = &record, .hash = {1}, .chunks = chunks, .n_chunks = 2};
    test_put(&memory, &new_record, 1);
    put(&memory, "b", NULL, NULL, "Another lamp stood in the yard, by the old well.");
    /* record a: 3 + 12 tokens, b: 3 + 12; its text is 42 bytes, about 10 tokens */
    expect_window(&memory, "lamp", 24, "[a]\nThe lamp is red. It once hung in the hall.");
    test_memory_close(&memory);
}

static void hit_that_touches_comes_in_before_its_equal(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put(&memory, "1", "s", NULL, "The lamp is red."); /* three equal scores: in the order of adding */
    put(&memory, "x", NULL, NULL, "The lamp is old.");
    put(&memory, "2", "s", NULL, "The lamp is hot.");
    expect_window(&memory, "lamp", 17, "[s]\nThe lamp is red.\nThe lamp is hot."); /* 3 + 5 + 5; x takes 8 more */
    test_memory_close(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_text_in_two_records_is_shown_once_with_the_attention_of_both),
        cmocka_unit_test(what_differs_in_speaker_or_in_a_sentence_is_shown),
        cmocka_unit_test(turns_said_again_in_one_session_stay_where_they_stand),
        cmocka_unit_test(growing_ends_where_another_document_has_told_the_same),
        cmocka_unit_test(hit_that_touches_comes_in_before_its_equal),
        cmocka_unit_test(short_record_comes_in_whole_before_the_next_hit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
