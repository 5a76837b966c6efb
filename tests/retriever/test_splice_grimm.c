/* The splice on a book: Grimm's tales as one record of half a megabyte. */
#include "encoder/chunker.h"
#include "retriever/splice_support.h"

enum { CHUNK_BYTES = 900 };

static mn_buffer g_text;

/* Chunks of whole sentences of about CHUNK_BYTES. */
static uint32_t cut(mn_new_chunk *chunks, uint32_t capacity)
{
    size_t at = 0, start, end;
    bool is_heading;
    uint32_t n = 0;
    while (mn_next_sentence(g_text.data, g_text.size, &at, &start, &end, &is_heading)) {
        if (n && !is_heading && end - chunks[n - 1].start < CHUNK_BYTES) {
            chunks[n - 1].end = (uint32_t)end;
            continue;
        }
        assert_true(n < capacity);
        chunks[n++] = (mn_new_chunk){(uint32_t)start, (uint32_t)end, NULL};
    }
    return n;
}

static test_memory tales(void)
{
    test_memory memory = test_memory_open();
    mn_new_chunk *chunks = calloc(10000, sizeof *chunks);
    mneme_record record = {.id = "grimm", .source = "grimm-tales.txt", .text = g_text.data, .text_size = g_text.size};
    mn_new_record new_record = {.record = &record, .hash = {1}, .chunks = chunks, .n_chunks = cut(chunks, 10000)};
    test_put(&memory, &new_record, 1);
    free(chunks);
    return memory;
}

static void windows_on_a_book_are_sound_and_use_their_budget(void **state)
{
    (void)state;
    static const char *const questions[] = {"Which golden ball did the frog bring back to the princess?",
                                            "Who spun straw into gold for the miller's daughter?",
                                            "the wolf in the grandmother's bed", "a house made of bread and cakes"};
    test_memory memory = tales();
    for (uint32_t budget = 4; budget < 20000; budget = budget * 7 / 3 + 1)
        for (size_t q = 0; q < 4; q++) {
            mn_splice_options options = {.budget = budget, .count_tokens = q % 2 ? count_bytes : count_words};
            test_window window = test_splice(&memory, questions[q], 12, &options);
            test_expect_sound(&window, &options);
            assert_true(window.n > 0);
            if (budget >= 500) assert_true(window.n_tokens >= budget * 9 / 10); /* a sentence may not fit any more */
            test_window_free(&window);
        }
    test_memory_close(&memory);
}

static void window_on_a_book_holds_the_answer_and_begins_and_ends_with_sentences(void **state)
{
    (void)state;
    test_memory memory = tales();
    mn_splice_options options = {.budget = 600, .count_tokens = count_words};
    test_window window = test_splice(&memory, "the frog and the princess's golden ball", 4, &options);
    assert_non_null(strstr(window.text.data, "golden ball"));
    for (size_t i = 0; i < window.n; i++) {
        const mn_spliced *passage = &window.passages[i];
        assert_true(passage->start == 0 || strchr(" \n", g_text.data[passage->start - 1]));
        assert_true(passage->end == g_text.size || strchr(" \n", g_text.data[passage->end]));
        assert_false(strchr(" \n", g_text.data[passage->start]) || strchr(" \n", g_text.data[passage->end - 1]));
    }
    test_window_free(&window);
    test_memory_close(&memory);
}

static void whole_book_fits_a_budget_as_large_as_it(void **state)
{
    (void)state;
    test_memory memory = tales();
    mn_splice_options options = {.budget = 1000000, .count_tokens = count_words};
    test_window window = test_splice(&memory, "the frog prince", 3, &options);
    test_expect_sound(&window, &options);
    assert_int_equal(window.n, 1);
    assert_true(window.passages[0].end - window.passages[0].start > g_text.size - 100); /* but for white space */
    test_window_free(&window);
    test_memory_close(&memory);
}

int main(void)
{
    FILE *file = fopen(test_shared_data("text/grimm-tales.txt"), "rb");
    static char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) mn_buffer_append(&g_text, block, n);
    fclose(file);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_on_a_book_are_sound_and_use_their_budget),
        cmocka_unit_test(window_on_a_book_holds_the_answer_and_begins_and_ends_with_sentences),
        cmocka_unit_test(whole_book_fits_a_budget_as_large_as_it),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mn_buffer_free(&g_text);
    return failed;
}
