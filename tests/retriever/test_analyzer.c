/* Terms of lexical search. Expected stems: the sample vocabulary on Snowball's page of the English stemmer, and its pages
 * of the German and French ones; the rest by hand from the rules in words.h. */
#include "retriever/analyzer.h"

#include <pthread.h>

#include "test_support.h"

static mn_analyzer *open_analyzer(const char *language)
{
    mn_analyzer *analyzer = NULL;
    assert_ok(mn_analyzer_open(language, &analyzer, test_error()));
    return analyzer;
}

/* The terms of text as "term:count term:count". */
static const char *terms_n(mn_analyzer *analyzer, const char *text, size_t size)
{
    static char line[8192];
    mn_arena arena = {0};
    mn_term_list list;
    assert_ok(mn_analyzer_run(analyzer, text, size, &arena, &list, test_error()));
    size_t at = 0;
    uint64_t total = 0;
    line[0] = '\0';
    for (size_t i = 0; i < list.n; i++) {
        assert_in_range(list.items[i].size, 1, MN_TERM_MAX);
        total += list.items[i].count;
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%.*s:%u", i ? " " : "", (int)list.items[i].size,
                               list.items[i].text, list.items[i].count);
    }
    assert_int_equal(total, list.total);
    mn_arena_free(&arena);
    return line;
}

static const char *terms(mn_analyzer *analyzer, const char *text)
{
    return terms_n(analyzer, text, strlen(text));
}

static void english_published_vocabulary_gives_the_published_stems(void **state)
{
    (void)state;
    static const char *const samples[][2] = {
        {"consign", "consign"},         {"consigned", "consign"},      {"consigning", "consign"},
        {"consignment", "consign"},     {"consist", "consist"},        {"consisted", "consist"},
        {"consistency", "consist"},     {"consistent", "consist"},     {"consistently", "consist"},
        {"consolation", "consol"},      {"consolations", "consol"},    {"consolatory", "consolatori"},
        {"console", "consol"},          {"consoled", "consol"},        {"consoling", "consol"},
        {"consolingly", "consol"},      {"conspicuous", "conspicu"},   {"conspicuously", "conspicu"},
        {"conspiracy", "conspiraci"},   {"conspirator", "conspir"},    {"conspire", "conspir"},
        {"constable", "constabl"},      {"constancy", "constanc"},     {"knack", "knack"},
        {"knackeries", "knackeri"},     {"knavish", "knavish"},        {"kneaded", "knead"},
        {"kneel", "kneel"},             {"knees", "knee"},             {"knick", "knick"},
        {"knightly", "knight"},         {"knights", "knight"},         {"knitting", "knit"},
        {"knives", "knive"},            {"knocker", "knocker"},        {"knopp", "knopp"},
        {"knots", "knot"},
    };
    mn_analyzer *analyzer = open_analyzer("english");
    for (int round = 0; round < 2; round++) /* the second from the cache */
        for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
            char expected[64];
            snprintf(expected, sizeof expected, "%s:1", samples[i][1]);
            assert_string_equal(terms(analyzer, samples[i][0]), expected);
        }
    mn_analyzer_close(analyzer);
}

static void other_languages_published_vocabulary_gives_the_published_stems(void **state)
{
    (void)state;
    mn_analyzer *german = open_analyzer("german"), *french = open_analyzer("french");
    assert_string_equal(terms(german, "aufeinanderfolge"), "aufeinanderfolg:1");
    assert_string_equal(terms(german, "kategorischen"), "kategor:1");
    /* the published stem is "aufenthaltsort" for "Aufenthaltsorte"; umlauts go after stemming: "häuser" -> "haus" */
    assert_string_equal(terms(german, "H\xC3\xA4user Haus"), "haus:2");
    assert_string_equal(terms(french, "continuellement"), "continuel:1");
    assert_string_equal(terms(french, "majestueusement"), "majestu:1");
    assert_string_equal(terms(french, "l'homme"), "homm:1 l:1");
    mn_analyzer_close(german);
    mn_analyzer_close(french);
}

static void words_in_any_case_and_order_are_counted_and_sorted(void **state)
{
    (void)state;
    mn_analyzer *analyzer = open_analyzer("none");
    assert_string_equal(terms(analyzer, "The cat, the DOG -- the (cat)."), "cat:2 dog:1 the:3");
    assert_string_equal(terms(analyzer, "foo_bar C3PO mach 2.5 in 1.2.3, 10,000. 7."),
                        "000:1 1.2.3:1 10:1 2.5:1 7:1 bar:1 c3po:1 foo:1 in:1 mach:1");
    assert_string_equal(terms(analyzer, ""), "");
    assert_string_equal(terms(analyzer, " \t...'!? "), "");
    mn_analyzer_close(analyzer);
}

static void apostrophes_are_handled_as_english_uses_them(void **state)
{
    (void)state;
    mn_analyzer *english = open_analyzer("english"), *none = open_analyzer("none");
    assert_string_equal(terms(english, "Caroline's Caroline Caroline\xE2\x80\x99s CAROLINE'S"), "carolin:4");
    assert_string_equal(terms(english, "don't dont don\xE2\x80\x99t"), "dont:3");
    assert_string_equal(terms(english, "'quoted' dogs'"), "dog:1 quot:1");
    assert_string_equal(terms(none, "Caroline's don't rock'n'roll"), "caroline:1 dont:1 rocknroll:1");
    mn_analyzer_close(english);
    mn_analyzer_close(none);
}

static void english_clitics_leave_the_word_before_them(void **state)
{
    (void)state;
    mn_analyzer *analyzer = open_analyzer("english");
    assert_string_equal(terms(analyzer, "she'll shell I'll ill we're were I'd id he'll I'm they've"),
                        "he:1 i:3 id:1 ill:1 she:1 shell:1 they:1 we:1 were:1");
    mn_analyzer_close(analyzer);
}

static void question_loses_the_words_that_only_ask(void **state)
{
    (void)state;
    mn_analyzer *english = open_analyzer("english"), *german = open_analyzer("german");
    mn_arena arena = {0};
    mn_term_list list;
    assert_ok(mn_analyzer_question(english, "What did Caroline's dog do to the shell? The dog!", 49, &arena, &list,
                                   test_error()));
    assert_int_equal(list.n, 3); /* carolin, dog (twice), shell */
    assert_int_equal(list.total, 4);
    assert_memory_equal(list.items[0].text, "carolin", 7);
    assert_memory_equal(list.items[1].text, "dog", 3);
    assert_int_equal(list.items[1].count, 2);
    assert_memory_equal(list.items[2].text, "shell", 5);
    assert_ok(mn_analyzer_question(english, "To be, or not to be", 19, &arena, &list, test_error()));
    assert_int_equal(list.total, 6); /* nothing else there: all of it */
    assert_ok(mn_analyzer_question(english, "", 0, &arena, &list, test_error()));
    assert_int_equal(list.n, 0);
    assert_ok(mn_analyzer_question(german, "what dog", 8, &arena, &list, test_error()));
    assert_int_equal(list.n, 2);
    mn_arena_free(&arena);
    mn_analyzer_close(english);
    mn_analyzer_close(german);
}

static void accents_and_forms_of_one_letter_are_folded(void **state)
{
    (void)state;
    mn_analyzer *analyzer = open_analyzer("none");
    /* composed, decomposed, plain, full width, with a soft hyphen */
    assert_string_equal(terms(analyzer, "caf\xC3\xA9 cafe\xCC\x81 cafe CAF\xC3\x89 \xEF\xBD\x83\xEF\xBD\x81\xEF\xBD\x86"
                                        "\xEF\xBD\x85 ca\xC2\xAD"
                                        "fe"),
                        "cafe:6");
    assert_string_equal(terms(analyzer, "Stra\xC3\x9F" "e STRASSE"), "strasse:2");
    /* Greek: final sigma and accent; Cyrillic: capital letters, io as ie, short i kept */
    assert_string_equal(terms(analyzer, "\xCE\x9B\xCF\x8C\xCE\xB3\xCE\xBF\xCF\x82 \xCE\x9B\xCE\x9F\xCE\x93\xCE\x9F\xCE\xA3"),
                        "\xCE\xBB\xCE\xBF\xCE\xB3\xCE\xBF\xCF\x83:2");
    assert_string_equal(terms(analyzer, "\xD0\x95\xD0\xBB\xD0\xBA\xD0\xB0 \xD1\x91\xD0\xBB\xD0\xBA\xD0\xB0"),
                        "\xD0\xB5\xD0\xBB\xD0\xBA\xD0\xB0:2");
    assert_string_equal(terms(analyzer, "x\xCC\x82 x"), "x:2"); /* a circumflex that no composed letter has */
    assert_string_equal(terms(analyzer, "\xD0\x9C\xD0\xBE\xD0\xB9"), "\xD0\xBC\xD0\xBE\xD0\xB9:1");
    mn_analyzer_close(analyzer);
}

static void unspaced_scripts_give_overlapping_pairs(void **state)
{
    (void)state;
    mn_analyzer *analyzer = open_analyzer("english");
    assert_string_equal(terms(analyzer, "\xE6\x9D\xB1\xE4\xBA\xAC\xE9\x83\xBD"), /* 東京都 */
                        "\xE4\xBA\xAC\xE9\x83\xBD:1 \xE6\x9D\xB1\xE4\xBA\xAC:1");
    assert_string_equal(terms(analyzer, "\xE6\x9D\xB1"), "\xE6\x9D\xB1:1");
    assert_string_equal(terms(analyzer, "iPhone\xE6\x89\x8B\xE6\x9C\xBA 15"),
                        "15:1 iphon:1 \xE6\x89\x8B\xE6\x9C\xBA:1");
    /* half-width ka with voicing mark + na = full-width ga + na */
    assert_string_equal(terms(analyzer, "\xEF\xBD\xB6\xEF\xBE\x9E\xEF\xBE\x85"), "\xE3\x82\xAC\xE3\x83\x8A:1");
    /* Thai: ko kai with mai ek above counts as one character: "กา ก่า" */
    assert_string_equal(terms(analyzer, "\xE0\xB8\x81\xE0\xB9\x88\xE0\xB8\xB2"), "\xE0\xB8\x81\xE0\xB9\x88\xE0\xB8\xB2:1");
    assert_string_equal(terms(analyzer, "\xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4"), /* 한국어 */
                        "\xEA\xB5\xAD\xEC\x96\xB4:1 \xED\x95\x9C\xEA\xB5\xAD:1");
    mn_analyzer_close(analyzer);
}

static void unspaced_long_run_gives_one_pair_less_than_characters(void **state)
{
    (void)state;
    mn_analyzer *analyzer = open_analyzer("none");
    char text[3 * 1000];
    for (size_t n = 1; n <= 1000; n = n * 3 / 2 + 1) {
        for (size_t i = 0; i < n; i++) memcpy(text + 3 * i, i % 2 ? "\xE4\xBA\xAC" : "\xE6\x9D\xB1", 3);
        mn_arena arena = {0};
        mn_term_list list;
        assert_ok(mn_analyzer_run(analyzer, text, 3 * n, &arena, &list, test_error()));
        assert_int_equal(list.total, n == 1 ? 1 : n - 1);
        assert_int_equal(list.n, n < 3 ? 1 : 2);
        mn_arena_free(&arena);
    }
    mn_analyzer_close(analyzer);
}

static void long_terms_are_cut_at_a_character(void **state)
{
    (void)state;
    mn_analyzer *analyzer = open_analyzer("none");
    char text[400];
    memset(text, 'x', sizeof text);
    char expected[80];
    memset(expected, 'x', 64);
    snprintf(expected + 64, sizeof expected - 64, ":1");
    assert_string_equal(terms_n(analyzer, text, sizeof text), expected);
    for (size_t i = 0; i < 100; i++) memcpy(text + 3 * i, "\xE1\x83\x90", 3); /* Georgian an: 21 of 3 bytes fit in 64 */
    for (size_t i = 0; i < 21; i++) memcpy(expected + 3 * i, "\xE1\x83\x90", 3);
    snprintf(expected + 63, sizeof expected - 63, ":1");
    assert_string_equal(terms_n(analyzer, text, 300), expected);
    mn_analyzer_close(analyzer);
}

static void bytes_that_are_no_text_part_words(void **state)
{
    (void)state;
    mn_analyzer *analyzer = open_analyzer("none");
    assert_string_equal(terms_n(analyzer, "one\0two\xFFthree\xC3", 14), "one:1 three:1 two:1");
    unsigned seed = 12345;
    char noise[3000];
    for (int round = 0; round < 200; round++) {
        size_t size = 0;
        while (size + 4 < sizeof noise) {
            seed = seed * 1664525u + 1013904223u;
            noise[size++] = (char)(seed >> 24);
            if (seed & 0x1000u) size -= size > 0;
        }
        mn_arena arena = {0};
        mn_term_list list;
        assert_ok(mn_analyzer_run(analyzer, noise, size, &arena, &list, test_error()));
        for (size_t i = 0; i + 1 < list.n; i++) {
            size_t least = list.items[i].size < list.items[i + 1].size ? list.items[i].size : list.items[i + 1].size;
            int order = memcmp(list.items[i].text, list.items[i + 1].text, least);
            assert_true(order < 0 || (order == 0 && list.items[i].size < list.items[i + 1].size));
        }
        mn_arena_free(&arena);
    }
    mn_analyzer_close(analyzer);
}

static void large_text_has_every_term(void **state)
{
    (void)state;
    mn_analyzer *analyzer = open_analyzer("none");
    enum { N = 50000 };
    char *text = malloc(N * 16);
    size_t size = 0;
    for (int round = 0; round < 2; round++)
        for (int i = round; i < N; i += 2) size += (size_t)sprintf(text + size, "w%d ", i);
    mn_arena arena = {0};
    mn_term_list list;
    assert_ok(mn_analyzer_run(analyzer, text, size, &arena, &list, test_error()));
    assert_int_equal(list.n, N);
    assert_int_equal(list.total, N);
    mn_arena_free(&arena);
    assert_string_equal(terms(analyzer, "small again"), "again:1 small:1");
    free(text);
    mn_analyzer_close(analyzer);
}

static void unknown_language_is_refused_with_the_known_ones(void **state)
{
    (void)state;
    mn_analyzer *analyzer = NULL;
    assert_int_equal(mn_analyzer_open("klingon", &analyzer, test_error()), MNEME_ERR_SETTING);
    assert_null(analyzer);
    assert_non_null(strstr(test_error()->message, "klingon"));
    assert_non_null(strstr(test_error()->message, "english"));
    assert_non_null(strstr(test_error()->message, "none"));
}

static void memory_running_out_is_reported_and_nothing_leaks(void **state)
{
    (void)state;
    for (size_t n = 1; n < 40; n++) {
        mn_analyzer *analyzer = NULL;
        mn_arena arena = {0};
        mn_term_list list;
        mn_alloc_fail_after(n);
        mneme_status status = mn_analyzer_open("english", &analyzer, test_error());
        if (status == MNEME_OK) status = mn_analyzer_run(analyzer, "two words", 9, &arena, &list, test_error());
        mn_alloc_fail_after(0);
        assert_true(status == MNEME_OK || status == MNEME_ERR_MEMORY);
        mn_arena_free(&arena);
        mn_analyzer_close(analyzer);
        if (status == MNEME_OK) return;
    }
    fail_msg("it never succeeded");
}

enum { N_THREADS = 4 };

static void *analyze_much(void *context)
{
    size_t *wrong = calloc(1, sizeof *wrong);
    for (int i = 0; i < 2000; i++) {
        mn_arena arena = {0};
        mn_term_list list;
        if (mn_analyzer_run(context, "consolingly knives", 18, &arena, &list, NULL) != MNEME_OK || list.n != 2 ||
            list.items[0].size != 6 || memcmp(list.items[0].text, "consol", 6) != 0)
            ++*wrong;
        mn_arena_free(&arena);
    }
    return wrong;
}

static void many_threads_get_the_same_terms(void **state)
{
    (void)state;
    mn_analyzer *analyzer = open_analyzer("english");
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, analyze_much, analyzer), 0);
    for (int i = 0; i < N_THREADS; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_int_equal(*(size_t *)wrong, 0);
        free(wrong);
    }
    mn_analyzer_close(analyzer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(english_published_vocabulary_gives_the_published_stems),
        cmocka_unit_test(other_languages_published_vocabulary_gives_the_published_stems),
        cmocka_unit_test(words_in_any_case_and_order_are_counted_and_sorted),
        cmocka_unit_test(apostrophes_are_handled_as_english_uses_them),
        cmocka_unit_test(english_clitics_leave_the_word_before_them),
        cmocka_unit_test(question_loses_the_words_that_only_ask),
        cmocka_unit_test(accents_and_forms_of_one_letter_are_folded),
        cmocka_unit_test(unspaced_scripts_give_overlapping_pairs),
        cmocka_unit_test(unspaced_long_run_gives_one_pair_less_than_characters),
        cmocka_unit_test(long_terms_are_cut_at_a_character),
        cmocka_unit_test(bytes_that_are_no_text_part_words),
        cmocka_unit_test(large_text_has_every_term),
        cmocka_unit_test(unknown_language_is_refused_with_the_known_ones),
        cmocka_unit_test(memory_running_out_is_reported_and_nothing_leaks),
        cmocka_unit_test(many_threads_get_the_same_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
