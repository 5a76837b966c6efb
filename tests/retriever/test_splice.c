/* The splice: small windows word for word, and what must hold for windows over random sessions. */
#include "retriever/splice_support.h"

/* 2023-05-08 and the days after it */
enum { DAY = 86400000 };
static const int64_t g_monday = 1683504000000;

static void put_turn(test_memory *memory, const char *id, const char *session, const char *speaker, int day, const char *text)
{
    mneme_record record = {.id = id, .session = session, .speaker = speaker, .text = text};
    record.has_time = day >= 0;
    record.time_ms = g_monday + (int64_t)day * DAY;
    test_put_turn(memory, &record, NULL, 0);
}

/* Put a text whose chunks begin at the given byte offsets. */
static void put_document(test_memory *memory, const mneme_record *about, const uint32_t *starts, uint32_t n)
{
    mneme_record record = *about;
    record.text_size = strlen(record.text);
    mn_new_chunk chunks[32];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t end = i + 1 < n ? starts[i + 1] : (uint32_t)record.text_size;
        while (end > starts[i] && record.text[end - 1] == ' ') end--;
        chunks[i] = (mn_new_chunk){starts[i], end, NULL};
    }
    mn_new_record new_record = {.record = &record, .hash = {9}, .chunks = chunks, .n_chunks = n};
    test_put(memory, &new_record, 1);
}

static void expect_window(test_memory *memory, const char *question, uint32_t k, uint32_t budget, const char *expected)
{
    mn_splice_options options = {.budget = budget, .count_tokens = count_words};
    test_window window = test_splice(memory, question, k, &options);
    assert_string_equal(window.text.data ? window.text.data : "", expected);
    test_expect_sound(&window, &options);
    test_window_free(&window);
}

static test_memory two_talks(void)
{
    test_memory memory = test_memory_open();
    put_turn(&memory, "7", "talk-2", "Bea", 3, "I found the lamp.");
    put_turn(&memory, "1", "talk-1", "Ann", 0, "Good morning, Bea!");
    put_turn(&memory, "2", "talk-1", "Bea", 0, "Good morning. I lost my lamp.");
    put_turn(&memory, "3", "talk-1", "Ann", 0, "Oh dear. Where?");
    put_turn(&memory, "4", "talk-1", "Bea", 0, "In the garden.");
    put_turn(&memory, "5", "talk-1", "Ann", 0, "Did the fox take it?");
    return memory;
}

static void window_has_hits_in_their_order_under_their_sources(void **state)
{
    (void)state;
    test_memory memory = two_talks();
    /* talk-2 was stored first and ranks first ("lamp" in fewer words), but is later in time. A source line is 11 tokens. */
    expect_window(&memory, "lamp", 2, 43,
                  "[talk-1, 2023-05-08]\nBea: Good morning. I lost my lamp.\n\n"
                  "[talk-2, 2023-05-11]\nBea: I found the lamp.");
    test_memory_close(&memory);
}

static void window_with_room_grows_by_turns_and_marks_gaps(void **state)
{
    (void)state;
    test_memory memory = two_talks();
    expect_window(&memory, "fox lamp lost", 1, 26, /* the whole of turn 2 goes in; turn 3 as the next */
                  "[talk-1, 2023-05-08]\nBea: Good morning. I lost my lamp.\nAnn: Oh dear.");
    expect_window(&memory, "lost fox", 2, 36,
                  "[talk-1, 2023-05-08]\nBea: Good morning. I lost my lamp.\n[...]\nAnn: Did the fox take it?");
    expect_window(&memory, "lost fox", 2, 1000,
                  "[talk-1, 2023-05-08]\nAnn: Good morning, Bea!\nBea: Good morning. I lost my lamp.\n"
                  "Ann: Oh dear. Where?\nBea: In the garden.\nAnn: Did the fox take it?");
    test_memory_close(&memory);
}

static void window_too_small_for_the_best_hit_cuts_it(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put_turn(&memory, "1", NULL, "Ann", -1, "The fox ran away. It was never seen again in this valley.");
    expect_window(&memory, "fox valley", 5, 20, /* [1]: 3 tokens, the name 2, the text 14 */
                  "[1]\nAnn: The fox ran away. It was never seen again in this valley.");
    expect_window(&memory, "fox valley", 5, 18, "[1]\nAnn: The fox ran away.");
    expect_window(&memory, "fox valley", 5, 9, "[1]\nAnn: The fox ran");
    expect_window(&memory, "fox valley", 5, 4, "Ann: The fox");
    expect_window(&memory, "fox valley", 5, 2, "");
    expect_window(&memory, "fox valley", 5, 0, "");
    expect_window(&memory, "elephant", 5, 100, "");
    test_memory_close(&memory);
}

static void window_of_a_text_without_spaces_is_cut_at_characters(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    char text[3 * 60 + 1] = "";
    for (int i = 0; i < 60; i++) strcat(text, i % 2 ? "\xE4\xBA\xAC" : "\xE6\x9D\xB1");
    mneme_record record = {.id = "1", .text = text};
    test_put_turn(&memory, &record, NULL, 0);
    mn_splice_options options = {.budget = 20, .count_tokens = count_bytes};
    test_window window = test_splice(&memory, "\xE6\x9D\xB1\xE4\xBA\xAC", 1, &options);
    test_expect_sound(&window, &options);
    assert_int_equal(window.n, 1);
    assert_true(window.passages[0].end > 30);
    assert_int_equal(window.passages[0].end % 3, 0);
    test_window_free(&window);
    test_memory_close(&memory);
}

static void document_chunks_that_touch_become_one_passage(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    const mneme_record about = {.id = "tale",
                                .title = "A tale",
                                .source = "/books/tale.txt",
                                .text = "One fox. Two owls.  Three cats. Four dogs. Five fish. Six fox cubs."};
    const uint32_t starts[] = {0, 9, 20, 32, 43, 54};
    put_document(&memory, &about, starts, 6);
    /* the source line is 8 tokens; hits: the sentences with foxes and owls */
    expect_window(&memory, "fox owls", 3, 23, "[A tale, tale.txt]\nOne fox. Two owls.\n[...]\nSix fox cubs.");
    expect_window(&memory, "fox owls", 3, 26, "[A tale, tale.txt]\nOne fox. Two owls.  Three cats.\n[...]\nSix fox cubs.");
    expect_window(&memory, "fox owls", 3, 29,
                  "[A tale, tale.txt]\nOne fox. Two owls.  Three cats. Four dogs.\n[...]\nSix fox cubs.");
    expect_window(&memory, "fox owls", 3, 32,
                  "[A tale, tale.txt]\nOne fox. Two owls.  Three cats. Four dogs. Five fish. Six fox cubs.");
    test_memory_close(&memory);
}

static void chunks_that_overlap_are_not_said_twice(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    const char *text = "One fox. Two owls. Three cats. Four foxes.";
    mneme_record record = {.id = "x", .text = text, .text_size = strlen(text)};
    const mn_new_chunk chunks[] = {{0, 30, NULL}, {19, 42, NULL}};
    mn_new_record new_record = {.record = &record, .hash = {1}, .chunks = chunks, .n_chunks = 2};
    test_put(&memory, &new_record, 1);
    expect_window(&memory, "fox", 2, 100, "[x]\nOne fox. Two owls. Three cats. Four foxes.");
    expect_window(&memory, "fox", 2, 15, "[x]\nOne fox. Two owls. Three cats. Four foxes.");
    test_memory_close(&memory);
}

static bool not_ann(void *context, const char *name_space, const mn_record *record)
{
    (void)context;
    (void)name_space;
    return strcmp(record->speaker, "Ann") != 0;
}

static void window_shows_no_record_that_the_filter_refuses(void **state)
{
    (void)state;
    test_memory memory = two_talks();
    mn_splice_options options = {.budget = 1000, .count_tokens = count_words, .accept = not_ann};
    test_window window = test_splice(&memory, "lamp garden", 10, &options);
    test_expect_sound(&window, &options);
    assert_int_equal(window.n, 3);
    assert_null(strstr(window.text.data, "Ann:"));
    test_window_free(&window);
    test_memory_close(&memory);
}

static void groups_stand_by_time_and_before_them_those_without(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put_turn(&memory, "late", NULL, NULL, 9, "fox late.");
    put_turn(&memory, "none", NULL, NULL, -1, "fox without any time at all.");
    put_turn(&memory, "best", NULL, NULL, -1, "fox fox.");
    put_turn(&memory, "early", NULL, NULL, 2, "fox early.");
    expect_window(&memory, "fox", 10, 100,
                  "[best]\nfox fox.\n\n[none]\nfox without any time at all.\n\n[early, 2023-05-10]\nfox early.\n\n"
                  "[late, 2023-05-17]\nfox late.");
    test_memory_close(&memory);
}

static void source_line_stays_one_line(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    mneme_record record = {.id = "1", .title = "Two\nlines\tand a tab", .text = "fox"};
    test_put_turn(&memory, &record, NULL, 0);
    expect_window(&memory, "fox", 1, 100, "[Two lines and a tab]\nfox");
    char title[600];
    memset(title, 'x', sizeof title - 1);
    title[sizeof title - 1] = '\0';
    record = (mneme_record){.id = "2", .title = title, .text = "owl"};
    test_put_turn(&memory, &record, NULL, 0);
    mn_splice_options options = {.budget = 100, .count_tokens = count_words};
    test_window window = test_splice(&memory, "owl", 1, &options);
    assert_true(window.text.size < 150);
    test_window_free(&window);
    test_memory_close(&memory);
}

/* Sessions of turns of one to four sentences over a small vocabulary. */
static void fill_random(test_memory *memory, uint64_t *seed)
{
    for (int i = 0; i < 120; i++) {
        char id[16], session[16], text[512] = "";
        snprintf(id, sizeof id, "r%d", i);
        snprintf(session, sizeof session, "s%u", test_below(seed, 5));
        uint32_t n_sentences = 1 + test_below(seed, 4);
        for (uint32_t s = 0; s < n_sentences; s++) {
            uint32_t n_words = 1 + test_below(seed, 8);
            for (uint32_t w = 0; w < n_words; w++) {
                char word[24];
                snprintf(word, sizeof word, "%s%s%u", w || !s ? "" : " ", w ? " w" : "W", test_below(seed, 60));
                strcat(text, word);
            }
            strcat(text, ".");
        }
        const char *speakers[] = {"Ann", "Bea", NULL};
        bool has_session = test_random(seed) < 0.8;
        put_turn(memory, id, has_session ? session : NULL, speakers[i % 3], (int)test_below(seed, 4) - 1, text);
    }
    static const char *const gone[] = {"r3", "r9", "r17", "r40", "r41", "r42", "r77", "r90", "r111", "r119"};
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) test_forget(memory, "", gone[i]);
}

static void windows_of_random_sessions_are_sound_at_every_budget(void **state)
{
    (void)state;
    uint64_t seed = 99;
    for (int round = 0; round < 3; round++) {
        test_memory memory = test_memory_open();
        fill_random(&memory, &seed);
        for (uint32_t budget = 1; budget < 1500; budget = budget * 5 / 4 + 1) {
            char question[64];
            snprintf(question, sizeof question, "w%u w%u w%u", test_below(&seed, 60), test_below(&seed, 60),
                     test_below(&seed, 60));
            mn_splice_options options = {.budget = budget, .count_tokens = budget % 2 ? count_words : count_bytes};
            test_window window = test_splice(&memory, question, 1 + test_below(&seed, 20), &options);
            test_expect_sound(&window, &options);
            test_window_free(&window);
        }
        test_memory_close(&memory);
    }
}

static void expect_every_failed_allocation_is_told(test_memory *memory, mneme_template form)
{
    mn_splice_options options = {.budget = 400, .count_tokens = count_words, .form = form};
    test_window window = test_splice(memory, "lamp fox", 5, &options);
    assert_true(window.n > 0);
    mneme_status status = MNEME_ERR_MEMORY;
    for (size_t n = 1; status == MNEME_ERR_MEMORY; n++) {
        assert_true(n < 1000);
        mn_arena arena = {0};
        mn_buffer text = {0};
        mn_alloc_fail_after(n);
        status = mn_splice(window.read, &window.space, window.hits, window.n_hits, &options, &arena, &text,
                           &window.n_tokens, &window.passages, &window.n, test_error());
        mn_alloc_fail_after(0);
        if (status == MNEME_OK) assert_string_equal(text.data, window.text.data);
        mn_arena_free(&arena);
        mn_buffer_free(&text);
    }
    assert_int_equal(status, MNEME_OK);
    test_window_free(&window);
}

static void splice_without_memory_says_so_and_leaks_nothing(void **state)
{
    (void)state;
    test_memory memory = two_talks();
    for (mneme_template form = MNEME_TEMPLATE_PLAIN; form <= MNEME_TEMPLATE_CHAT; form++)
        expect_every_failed_allocation_is_told(&memory, form);
    test_memory_close(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_has_hits_in_their_order_under_their_sources),
        cmocka_unit_test(window_with_room_grows_by_turns_and_marks_gaps),
        cmocka_unit_test(window_too_small_for_the_best_hit_cuts_it),
        cmocka_unit_test(window_of_a_text_without_spaces_is_cut_at_characters),
        cmocka_unit_test(document_chunks_that_touch_become_one_passage),
        cmocka_unit_test(chunks_that_overlap_are_not_said_twice),
        cmocka_unit_test(window_shows_no_record_that_the_filter_refuses),
        cmocka_unit_test(groups_stand_by_time_and_before_them_those_without),
        cmocka_unit_test(source_line_stays_one_line),
        cmocka_unit_test(windows_of_random_sessions_are_sound_at_every_budget),
        cmocka_unit_test(splice_without_memory_says_so_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
