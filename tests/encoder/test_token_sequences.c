/* test_token_sequences.c -- many texts at once against one text at a time. */
#include "test_support.h"

#include "encoder/token_sequences.h"

enum { TEXTS = 400, WINDOW = 40 };

static mn_tokenizer *tokenizer;

static int open_tokenizer(void **state)
{
    (void)state;
    if (mn_tokenizer_open(test_model_dir(), &tokenizer, test_error()) == MNEME_OK) return 0;
    printf("skipped: no model\n");
    exit(77);
}

static int close_tokenizer(void **state)
{
    (void)state;
    mn_tokenizer_close(tokenizer);
    return 0;
}

/* Texts of 0 to 90 words; together far more than one slice. */
static char **make_texts(size_t *sizes)
{
    static const char *const words[] = {"boundary", "layers", "of", "the", "naïve",
                                        "memory",   "[SEP]",  "☃",  "42,", "unbelievably"};
    char **texts = calloc(TEXTS, sizeof *texts);
    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = calloc(1, 2000);
        for (size_t k = 0; k < i * 7 % 91; k++) {
            strcat(texts[i], words[(i * 31 + k * k) % 10]);
            strcat(texts[i], " ");
        }
        sizes[i] = strlen(texts[i]);
    }
    return texts;
}

static void check(unsigned n_threads, const mn_sequence_options *options, bool with_sizes, size_t n)
{
    size_t sizes[TEXTS];
    char **texts = make_texts(sizes);
    uint32_t offsets[TEXTS + 1];
    mn_tokens all = {0}, one = {0};
    mn_threads *threads = NULL;
    assert_ok(mn_threads_new(n_threads, &threads, test_error()));
    assert_ok(mn_token_sequences(threads, options, (const char *const *)texts, with_sizes ? sizes : NULL, n, &all,
                                 offsets, test_error()));
    assert_int_equal(offsets[0], 0);
    assert_int_equal(offsets[n], all.n);
    for (size_t i = 0; i < n; i++) {
        size_t special = options->with_special ? 1 : 0, limit = options->max_tokens - 2 * special;
        one.n = 0;
        char joined[2100];
        snprintf(joined, sizeof joined, "%s %s", options->prompt, texts[i]);
        assert_ok(mn_tokenizer_encode(tokenizer, joined, strlen(joined), limit, &one, test_error()));
        const uint32_t *ids = all.ids + offsets[i];
        assert_int_equal(offsets[i + 1] - offsets[i], one.n + 2 * special);
        if (special) {
            assert_int_equal(ids[0], mn_tokenizer_cls(tokenizer));
            assert_int_equal(ids[one.n + 1], mn_tokenizer_sep(tokenizer));
        }
        if (one.n) assert_memory_equal(ids + special, one.ids, one.n * sizeof *ids);
    }
    for (size_t i = 0; i < TEXTS; i++) free(texts[i]);
    free(texts);
    mn_tokens_free(&all);
    mn_tokens_free(&one);
    mn_threads_free(threads);
}

static void sequences_equal_texts_one_by_one_on_any_number_of_threads(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads++)
        for (unsigned variant = 0; variant < 8; variant++) {
            const mn_sequence_options options = {.tokenizer = tokenizer,
                                                 .prompt = variant & 1 ? "query:" : "",
                                                 .max_tokens = WINDOW,
                                                 .with_special = variant & 2};
            check(threads, &options, variant & 4, TEXTS);
            check(threads, &options, variant & 4, 1);
        }
}

/* As if it had been written there: a word may go on from it, a special token be closed by the text. */
static void prompt_and_text_are_tokenized_as_one(void **state)
{
    (void)state;
    static const char *const prompts[] = {"un", "query:", "query: ", "[", "na\xc3", "\n", "a b\t"};
    static const char *const texts[] = {"believable things", "CLS] text", "",
                                        " believable",       "\xafve",    "\x01ly",
                                        "\xcc\x81xe",        "e\r\nx",    "w\xe2\x80\xa8x"};
    enum { N = sizeof texts / sizeof texts[0] };
    mn_threads *threads = NULL;
    assert_ok(mn_threads_new(1, &threads, test_error()));
    for (size_t p = 0; p < sizeof prompts / sizeof prompts[0]; p++)
        for (uint32_t window = 4; window < 12; window++) {
            const mn_sequence_options options = {
                .tokenizer = tokenizer, .prompt = prompts[p], .max_tokens = window, .with_special = true};
            mn_tokens all = {0}, one = {0};
            uint32_t offsets[N + 1];
            assert_ok(mn_token_sequences(threads, &options, texts, NULL, N, &all, offsets, test_error()));
            for (size_t i = 0; i < N; i++) {
                char joined[100];
                snprintf(joined, sizeof joined, "%s%s", prompts[p], texts[i]);
                one.n = 0;
                assert_ok(mn_tokenizer_encode(tokenizer, joined, strlen(joined), window - 2, &one, test_error()));
                assert_int_equal(offsets[i + 1] - offsets[i], one.n + 2);
                if (one.n) assert_memory_equal(all.ids + offsets[i] + 1, one.ids, one.n * sizeof *one.ids);
            }
            mn_tokens_free(&all);
            mn_tokens_free(&one);
        }
    mn_threads_free(threads);
}

static void sequences_out_of_memory_are_reported(void **state)
{
    (void)state;
    static const char *const texts[] = {"one text", "and another"};
    const mn_sequence_options options = {
        .tokenizer = tokenizer, .prompt = "", .max_tokens = WINDOW, .with_special = true};
    uint32_t offsets[3];
    mn_threads *threads = NULL;
    assert_ok(mn_threads_new(1, &threads, test_error()));
    size_t n = 0;
    mneme_status status;
    do {
        mn_tokens tokens = {0};
        mn_alloc_fail_after(++n);
        status = mn_token_sequences(threads, &options, texts, NULL, 2, &tokens, offsets, test_error());
        mn_alloc_fail_after(0);
        assert_true(status == MNEME_OK || status == MNEME_ERR_MEMORY);
        mn_tokens_free(&tokens);
    } while (status != MNEME_OK && n < 50);
    assert_true(status == MNEME_OK && n > 2);
    mn_threads_free(threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_equal_texts_one_by_one_on_any_number_of_threads),
        cmocka_unit_test(prompt_and_text_are_tokenized_as_one),
        cmocka_unit_test(sequences_out_of_memory_are_reported),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
