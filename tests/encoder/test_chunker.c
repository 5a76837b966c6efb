/* test_chunker.c -- borders, and what must hold for the chunks of any text. */
#include "test_support.h"

#include "common/utf8.h"
#include "encoder/chunker.h"

#include <ctype.h>

static mn_tokenizer *g_tokenizer;

/* Sentences of `text`, joined by "|"; headings begin with "H:". */
static void check_sentences(const char *text, const char *expected)
{
    char got[2000] = "";
    size_t at = 0, start, end;
    bool heading;
    while (mn_next_sentence(text, strlen(text), &at, &start, &end, &heading)) {
        if (*got) strcat(got, "|");
        if (heading) strcat(got, "H:");
        strncat(got, text + start, end - start);
    }
    assert_string_equal(got, expected);
}

/* A NUL is a character like any other: no list marker. */
static void a_nul_at_the_start_of_a_line_ends_nothing(void **state)
{
    (void)state;
    const char text[] = "one two\n\0 three four";
    size_t size = sizeof text - 1, at = 0, start, end;
    bool heading;
    assert_true(mn_next_sentence(text, size, &at, &start, &end, &heading));
    assert_int_equal(start, 0);
    assert_int_equal(end, size);
}

static void sentence_borders_are_those_that_people_see(void **state)
{
    (void)state;
    check_sentences("One. Two! Three? Four", "One.|Two!|Three?|Four");
    check_sentences("Mr. Smith met Dr. Jones. They spoke.", "Mr. Smith met Dr. Jones.|They spoke.");
    check_sentences("It cost 3.14 dollars. J. R. Ewing paid.", "It cost 3.14 dollars.|J. R. Ewing paid.");
    check_sentences("\"Go away!\" said the king. (He left.) So did we.", "\"Go away!\"|said the king.|(He left.)|So did we.");
    check_sentences("Wait... what? No.", "Wait... what?|No.");
    check_sentences("See e.g. the fox, i.e. the red one. Done.", "See e.g. the fox, i.e. the red one.|Done.");
    check_sentences("a line\nwrapped hard. Next\nline.", "a line\nwrapped hard.|Next\nline.");
    check_sentences("para one\n\npara two", "para one|para two");
    check_sentences("# Title\nText here. More.\n## Sub\ntext", "H:# Title|Text here.|More.|H:## Sub|text");
    check_sentences("Title\n=====\nText.", "H:Title\n=====|Text.");
    check_sentences("THE GOLDEN BIRD\n\nA certain king had a garden.", "H:THE GOLDEN BIRD|A certain king had a garden.");
    check_sentences("- one\n- two\n1. three", "- one|- two|1. three");
    check_sentences("\xE4\xBB\x8A\xE6\x97\xA5\xE3\x80\x82\xE6\x98\x8E\xE6\x97\xA5\xE3\x80\x82", "\xE4\xBB\x8A\xE6\x97\xA5\xE3\x80\x82|\xE6\x98\x8E\xE6\x97\xA5\xE3\x80\x82");
    check_sentences("  \n \t ", "");
    check_sentences("Mid-line. # no heading. THE END", "Mid-line.|# no heading.|THE END");
    check_sentences("What?!.. Yes...?! Never. \"Oh?..\" He", "What?!..|Yes...?!|Never.|\"Oh?..\"|He");
    check_sentences("one....two ....  three", "one....two ....  three");
    check_sentences("visit example.com/a.b now. Ok", "visit example.com/a.b now.|Ok");
}

static size_t count_tokens(const char *text, size_t size)
{
    mn_tokens tokens = {0};
    assert_ok(mn_tokenizer_encode(g_tokenizer, text, size, SIZE_MAX, &tokens, test_error()));
    size_t n = tokens.n;
    mn_tokens_free(&tokens);
    return n;
}

/* What must hold for any text: order, borders, coverage of all but white space, counts, limit. */
static size_t check_properties(const char *text, size_t size, uint32_t max_tokens, uint32_t overlap)
{
    const mn_chunk_options options = {.max_tokens = max_tokens, .overlap_tokens = overlap};
    mn_chunk_spans spans = {0};
    assert_ok(mn_chunk_text(g_tokenizer, text, size, &options, &spans, test_error()));
    uint64_t covered = 0;
    for (size_t i = 0; i < spans.n; i++) {
        const mn_chunk_span *s = &spans.items[i];
        assert_true(s->start < s->end && s->end <= size);
        if (i > 0) {
            assert_true(s->start > spans.items[i - 1].start && s->end > spans.items[i - 1].end);
            if (s->start < spans.items[i - 1].end)
                assert_true(count_tokens(text + s->start, spans.items[i - 1].end - s->start) <= overlap);
        }
        for (uint64_t at = covered; at < s->start; at++) assert_true(isspace((unsigned char)text[at]));
        covered = s->end;
        assert_true(mn_utf8_floor(text, size, s->start) == s->start && mn_utf8_floor(text, size, s->end) == s->end);
        assert_int_equal(s->n_tokens, count_tokens(text + s->start, s->end - s->start));
        if (s->end - s->start > 4) assert_true(s->n_tokens <= max_tokens);
    }
    for (uint64_t at = covered; at < size; at++) assert_true(isspace((unsigned char)text[at]));
    size_t n = spans.n;
    mn_chunk_spans_free(&spans);
    return n;
}

static void chunks_of_random_texts_keep_the_properties(void **state)
{
    (void)state;
    static const char *const pieces[] = {"word", "The king. ", "! ", "\n", "\n\n", "# Head\n", "- item ", "\xE4\xB8\xAD", "\xE3\x80\x82", " ",
                                         "\xC3\xA9t\xC3\xA9", "...", "\"", "longerwordwithoutanyspaces", "TITLE\n\n", "\t", "1.5 ", "\xF0\x9F\x99\x82"};
    uint32_t seed = 4711;
    char text[4000];
    for (int trial = 0; trial < 300; trial++) {
        size_t size = 0;
        seed = seed * 1664525u + 1013904223u;
        size_t n = (seed >> 8) % 150;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525u + 1013904223u;
            const char *piece = pieces[(seed >> 8) % (sizeof pieces / sizeof pieces[0])];
            memcpy(text + size, piece, strlen(piece));
            size += strlen(piece);
        }
        check_properties(text, size, 8 + (uint32_t)trial % 40, (uint32_t)trial % 4);
    }
}

static void chunks_of_pathological_texts_keep_the_properties(void **state)
{
    (void)state;
    enum { SIZE = 300000 };
    char *text = malloc(SIZE);
    memset(text, 'x', SIZE);
    assert_true(check_properties(text, SIZE, 254, 32) > 1);
    memset(text, '.', SIZE);
    assert_true(check_properties(text, SIZE, 254, 32) > 1);
    memset(text, ' ', SIZE);
    assert_int_equal(check_properties(text, SIZE, 254, 32), 0);
    memset(text, '#', SIZE);
    check_properties(text, SIZE, 254, 32);
    for (size_t i = 0; i < SIZE; i++) text[i] = i % 7 == 6 ? ' ' : 'a'; /* words without a stop */
    assert_true(check_properties(text, SIZE, 254, 32) > 100);
    for (size_t i = 0; i + 3 <= SIZE; i += 3) memcpy(text + i, "\xE4\xB8\xAD", 3);
    assert_true(check_properties(text, SIZE, 254, 32) > 100);
    for (size_t i = 0; i < SIZE; i++) text[i] = i % 2 ? '\n' : 'b';
    check_properties(text, SIZE, 254, 32);
    free(text);
}

static void chunks_of_a_book_keep_the_properties_and_fill_the_window(void **state)
{
    (void)state;
    char path[1200];
    snprintf(path, sizeof path, "%s/examples/grimms-fairy-tales.txt", test_source_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *text = malloc(1 << 20);
    size_t size = fread(text, 1, 1 << 20, file);
    fclose(file);
    size_t tokens = count_tokens(text, size), n = check_properties(text, size, 254, 32);
    printf("%zu tokens in %zu chunks of at most 254\n", tokens, n);
    assert_true(n > tokens / 254 && n < tokens / 254 * 3 / 2);
    free(text);
}

static void heading_stays_with_what_follows(void **state)
{
    (void)state;
    char text[3000] = "";
    for (int i = 0; i < 30; i++) strcat(text, "The cat sat on the mat again. ");
    size_t heading = strlen(text) + 2;
    strcat(text, "\n\n# A heading\n\n");
    for (int i = 0; i < 10; i++) strcat(text, "A dog ran by. ");
    const mn_chunk_options options = {.max_tokens = 100, .overlap_tokens = 16};
    mn_chunk_spans spans = {0};
    assert_ok(mn_chunk_text(g_tokenizer, text, strlen(text), &options, &spans, test_error()));
    bool found = false;
    for (size_t i = 0; i < spans.n; i++) found = found || spans.items[i].start == heading;
    assert_true(found);
    mn_chunk_spans_free(&spans);
}

static int open_model(void **state)
{
    (void)state;
    return mn_tokenizer_open(test_model_dir(), &g_tokenizer, NULL);
}

static int close_model(void **state)
{
    (void)state;
    mn_tokenizer_close(g_tokenizer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentence_borders_are_those_that_people_see),
        cmocka_unit_test(a_nul_at_the_start_of_a_line_ends_nothing),
        cmocka_unit_test(chunks_of_random_texts_keep_the_properties),
        cmocka_unit_test(chunks_of_pathological_texts_keep_the_properties),
        cmocka_unit_test(chunks_of_a_book_keep_the_properties_and_fill_the_window),
        cmocka_unit_test(heading_stays_with_what_follows),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
