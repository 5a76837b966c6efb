/* splice_support.h -- asking for windows, and what must hold for every one of them. */
#ifndef MN_TESTS_SPLICE_SUPPORT_H
#define MN_TESTS_SPLICE_SUPPORT_H

#include "retriever/retrieve.h"
#include "retriever/splice.h"

#include "retriever/retriever_support.h"

/* Words and punctuation marks, one token each: adds up over any cut between words. */
static inline mneme_status count_words(void *context, const char *text, size_t size, uint64_t *n, mneme_error *error)
{
    (void)context;
    (void)error;
    bool inside = false;
    *n = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_letter = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c >= 128;
        *n += (is_letter && !inside) || (!is_letter && c > ' ');
        inside = is_letter;
    }
    return MNEME_OK;
}

/* A token for every four bytes begun: does not add up, but is more for every text than for its parts less one each. */
static inline mneme_status count_bytes(void *context, const char *text, size_t size, uint64_t *n, mneme_error *error)
{
    (void)context;
    (void)text;
    (void)error;
    *n = size / 4 + 1;
    return MNEME_OK;
}

typedef struct test_window {
    mn_arena arena;
    mn_read *read;
    mn_namespace space;
    mn_ranked *hits;
    size_t n_hits;
    mn_buffer text;
    uint32_t n_tokens;
    mn_spliced *passages;
    size_t n;
} test_window;

/* The k best chunks by words, spliced. options: its count_tokens and budget are used, and accept. */
static inline test_window test_splice(test_memory *memory, const char *question, uint32_t k,
                                      const mn_splice_options *options)
{
    test_window window = {{0}, NULL, {0}, NULL, 0, {0}, 0, NULL, 0};
    assert_ok(mn_read_begin(memory->store, &window.read, test_error()));
    assert_ok(mn_read_namespace(window.read, "", &window.space, test_error()));
    mn_question asked = {.text = question,
                         .text_size = strlen(question),
                         .analyze = mn_analyzer_question,
                         .analyze_context = memory->analyzer};
    mn_retrieve_options how = {.mode = MNEME_MODE_LEXICAL,
                               .k = k,
                               .n_candidates = 100,
                               .k1 = 1.2f,
                               .b = 0.75f,
                               .attention_scale = 10,
                               .accept = options->accept,
                               .accept_context = options->accept_context};
    assert_ok(mn_retrieve(window.read, &window.space, 1, &asked, &how, &window.arena, &window.hits, &window.n_hits,
                          test_error()));
    assert_ok(mn_splice(window.read, &window.space, window.hits, window.n_hits, options, &window.arena, &window.text,
                        &window.n_tokens, &window.passages, &window.n, test_error()));
    return window;
}

static inline void test_window_free(test_window *window)
{
    mn_read_end(window->read);
    mn_arena_free(&window->arena);
    mn_buffer_free(&window->text);
}

/* Skip `expected` at *at; false when something else is there. */
static inline bool test_skip(const char **at, const char *end, const char *expected)
{
    size_t size = strlen(expected);
    if ((size_t)(end - *at) < size || memcmp(*at, expected, size) != 0) return false;
    *at += size;
    return true;
}

/* Between two passages stand only line breaks, gap marks, source lines and the speaker's name. */
static inline void test_expect_seam(const char *at, const char *end, const mn_record *record, bool *new_group, bool *gap)
{
    *new_group = *gap = false;
    if (test_skip(&at, end, "\n\n") || (at < end && *at == '[')) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        if (*at == '[') {
            assert_non_null(line);
            assert_int_equal(line[-1], ']');
            at = line + 1;
        }
        *new_group = true;
    } else {
        test_skip(&at, end, "\n");
        *gap = test_skip(&at, end, "[...]\n");
    }
    if (record->speaker) assert_true(test_skip(&at, end, record->speaker) && test_skip(&at, end, ": "));
    assert_ptr_equal(at, end);
}

static inline bool test_all_space(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \n\t\r", text[i])) return false;
    return true;
}

/* Is `written` the original, but for one backslash each before lines that it calls for? */
static inline bool test_is_written(const char *written, size_t size, const char *original, size_t original_size)
{
    size_t at = 0, from = 0;
    bool line_begins = true;
    for (; at < size; at++) {
        if (from < original_size && written[at] == original[from] && !(line_begins && written[at] == '\\')) {
            line_begins = written[at] == '\n' || (line_begins && written[at] == ' ');
            from++;
        } else if (line_begins && written[at] == '\\') {
            line_begins = false; /* the rest of the line is the original's */
        } else {
            return false;
        }
    }
    return from == original_size;
}

/* Same record or session as the one before: order and what lies between. */
static inline void test_expect_order(test_window *window, const mn_spliced *last, const mn_spliced *next, bool gap)
{
    mn_record a, b;
    assert_ok(mn_read_record(window->read, window->space.ns, last->rec, &a, test_error()));
    assert_ok(mn_read_record(window->read, window->space.ns, next->rec, &b, test_error()));
    if (a.rec != b.rec) {
        assert_int_equal(a.session_number, b.session_number);
        assert_true(a.session_place < b.session_place);
        return;
    }
    assert_true(last->end < next->start);
    assert_true(gap);
    mn_buffer between = {0};
    assert_ok(mn_read_text(window->read, window->space.ns, a.rec, last->end, next->start, &between, test_error()));
    assert_false(test_all_space(between.data, between.size)); /* else they should be one */
    mn_buffer_free(&between);
}

/* What holds for every window. */
static inline void test_expect_sound(test_window *window, const mn_splice_options *options)
{
    uint64_t n_tokens = 0;
    if (window->text.size) options->count_tokens(NULL, window->text.data, window->text.size, &n_tokens, NULL);
    assert_int_equal(window->n_tokens, n_tokens);
    assert_true(window->n_tokens <= options->budget);
    size_t at = 0;
    double weight = 0;
    for (size_t i = 0; i < window->n; i++) {
        const mn_spliced *passage = &window->passages[i];
        mn_record record;
        mn_buffer original = {0};
        bool new_group, gap;
        assert_ok(mn_read_record(window->read, window->space.ns, passage->rec, &record, test_error()));
        assert_true(at <= passage->text_start && passage->text_start < passage->text_end);
        assert_ok(mn_read_text(window->read, window->space.ns, passage->rec, passage->start, passage->end, &original,
                               test_error()));
        assert_int_equal(original.size, passage->end - passage->start);
        assert_true(test_is_written(window->text.data + passage->text_start, passage->text_end - passage->text_start,
                                    original.data, original.size));
        test_expect_seam(window->text.data + at, window->text.data + passage->text_start, &record, &new_group, &gap);
        if (i && !new_group) test_expect_order(window, &window->passages[i - 1], passage, gap);
        for (size_t j = 0; j < i; j++)
            assert_true(window->passages[j].rec != passage->rec || window->passages[j].end <= passage->start);
        weight += (double)passage->weight;
        at = passage->text_end;
        mn_buffer_free(&original);
    }
    assert_int_equal(at, window->text.size);
    assert_true(weight < 1.0001);
}

#endif
