/* test_strength.c -- the formulas of strength and of importance against values worked out by hand. */
#include "test_support.h"

#include "memory/strength.h"

#include <math.h>

#define DAY INT64_C(86400000)
static const int64_t start = INT64_C(1700000000000);
static const mn_strength_model model = {
    .importance = 0.5, .half_life_days = 100, .use_gain = 0.5, .half_life_growth = 1.5, .spacing = 0.1};

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-6)) fail_msg("%.9f is not %.9f", value, expected);
}

static mn_strength_state new_memory(void)
{
    const mn_record record = {.written_ms = start};
    const mn_strength kept = {0};
    return mn_strength_state_of(&model, &record, &kept);
}

static void strength_is_half_after_a_half_life(void **state)
{
    (void)state;
    mn_strength_state memory = new_memory();
    assert_near(mn_strength_at(&memory, start), 0.5);
    assert_near(mn_strength_at(&memory, start + 50 * DAY), 0.353553391);
    assert_near(mn_strength_at(&memory, start + 100 * DAY), 0.25);
    assert_near(mn_strength_at(&memory, start - 100 * DAY), 0.5); /* a clock that went back */
    memory.half_life_days = 0;
    assert_near(mn_strength_at(&memory, start + 100000 * DAY), 0.5);
}

static void use_strengthens_by_attention_and_lengthens_by_gap(void **state)
{
    (void)state;
    mn_strength_state memory = new_memory();
    memory = mn_strength_used(&model, &memory, 0.4, start + 50 * DAY); /* well spaced: 50 of at least 10 days */
    assert_near(memory.level, 0.482842712);                            /* 0.353553 + 0.5 * 0.4 * (1 - 0.353553) */
    assert_near(memory.half_life_days, 160);                           /* 100 * (1 + 1.5 * 0.4) */
    assert_near(mn_strength_at(&memory, start + 130 * DAY), 0.341421356);
    memory = mn_strength_used(&model, &memory, 1, start + 54 * DAY); /* 4 of 16 days: a quarter of the growth */
    assert_near(memory.level, 0.737273812);
    assert_near(memory.half_life_days, 220); /* 160 * (1 + 1.5 * 4 / 16) */
    mn_strength_state again = mn_strength_used(&model, &memory, 1, start + 54 * DAY);
    assert_near(again.half_life_days, 220); /* at once: no growth */
    assert_near(again.level, 1 - 0.5 * (1 - 0.737273812));
    again = mn_strength_used(&model, &memory, 1, start);
    assert_true(again.last_ms == start + 54 * DAY); /* a clock that went back */
}

static void strength_stays_within_bounds(void **state)
{
    (void)state;
    mn_strength_state memory = new_memory();
    int64_t now = start;
    for (int i = 0; i < 500; i++) {
        now += 40 * DAY;
        memory = mn_strength_used(&model, &memory, 100, now);
        assert_true(memory.level >= 0 && memory.level <= 1 && memory.half_life_days <= 1000000);
    }
    assert_true(mn_strength_at(&memory, INT64_MAX) >= 0);
    mn_strength_state weak = {.level = 1, .half_life_days = 1e-9, .last_ms = start};
    weak = mn_strength_used(&model, &weak, 0.1, start + 1000 * DAY);
    assert_near(weak.level, 0.05);
}

static void kept_use_counts_and_goes_on_from_what_was_kept(void **state)
{
    (void)state;
    const mn_record record = {.written_ms = start, .has_importance = true, .importance = 0.25f};
    mn_strength kept = {0};
    mn_strength_keep_use(&model, &record, 1, start, &kept);
    assert_true(kept.used && kept.uses == 1 && kept.last_ms == start);
    assert_near((double)kept.level, 0.625);
    mn_strength_keep_use(&model, &record, 1, start + 100 * DAY, &kept);
    assert_true(kept.uses == 2);
    assert_near((double)kept.level, 0.65625); /* 0.3125 + 0.5 * 0.6875 */
    assert_near((double)kept.half_life_days, 250);
}

/* ---- importance, through the library: own vectors, so that no model is needed ---- */

static char *g_dir;

static double importance_of(mneme *memory, const char *id)
{
    mneme_record_list *list = NULL;
    assert_ok(mneme_get(memory, NULL, id, &list, test_error()));
    assert_false(list->items[0].has_importance); /* estimated, not given */
    double importance = (double)list->strengths[0].importance;
    mneme_record_list_free(list);
    return importance;
}

static void add(mneme *memory, const char *id, const char *text, const char *session)
{
    static const float vector[2] = {1, 0};
    const mneme_record record = {.id = id, .text = text, .session = session, .vector = vector, .dimension = 2};
    assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
}

static mneme *open_store(const char *name, const char *importance)
{
    char path[1200];
    mneme *memory = NULL;
    mneme_settings *settings = NULL;
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    assert_ok(mneme_settings_new(&settings, test_error()));
    assert_ok(mneme_settings_set(settings, "lexical.language", "none", NULL, test_error()));
    assert_ok(mneme_settings_set(settings, "memory.importance", importance, NULL, test_error()));
    assert_ok(mneme_open(path, settings, 0, &memory, test_error()));
    mneme_settings_free(settings);
    return memory;
}

static void importance_is_what_is_said_by_rarity(void **state)
{
    (void)state;
    mneme *memory = open_store("importance", "auto");
    add(memory, "a", "red green blue", NULL); /* all new: 3 / sqrt(4) = 1.5; 1.5 / 3.5 = 0.4286 */
    assert_near(importance_of(memory, "a"), 0.43);
    /* N 1, df(red) 1: idf ln(1 + 0.5 / 1.5) = 0.28768 of ln(1 + 1.5 / 0.5) = 1.38629; (0.20752 + 1) / sqrt(3) = 0.69716
     */
    add(memory, "b", "red pear", NULL);
    assert_near(importance_of(memory, "b"), 0.26); /* 0.25849 */
    add(memory, "c", "Where is the melon?", NULL);
    assert_near(importance_of(memory, "c"), 0); /* only asked */
    /* "plum" alone is said, n = 5; N 3: 1 / sqrt(6) = 0.40825 */
    add(memory, "d", "Plum! Where is the melon?", NULL);
    assert_near(importance_of(memory, "d"), 0.17); /* 0.16953 */
    mneme_close(memory);
}

static void importance_of_an_answer_is_higher(void **state)
{
    (void)state;
    mneme *memory = open_store("answer", "auto");
    add(memory, "ask", "What is it?", "s");
    add(memory, "answer", "kiwi", "s");                  /* 1 / sqrt(2) * 1.5 = 1.06066 */
    assert_near(importance_of(memory, "answer"), 0.345); /* 0.34655 */
    add(memory, "after", "lime", "s");                   /* follows no question: 0.70711 */
    assert_near(importance_of(memory, "after"), 0.26);   /* 0.26120 */
    add(memory, "other", "mango", "t");
    assert_near(importance_of(memory, "other"), 0.26);
    static const float vector[2] = {1, 0};
    const mneme_record both[] = {{.id = "q", .text = "And then?", .session = "u", .vector = vector, .dimension = 2},
                                 {.id = "r", .text = "fig", .session = "u", .vector = vector, .dimension = 2}};
    assert_ok(mneme_add(memory, both, 2, NULL, NULL, test_error())); /* in one call */
    assert_near(importance_of(memory, "r"), 0.345);
    mneme_close(memory);
}

static void importance_fixed_is_the_same_for_all(void **state)
{
    (void)state;
    mneme *memory = open_store("fixed", "fixed");
    add(memory, "a", "red green blue", NULL);
    add(memory, "b", "Red?", NULL);
    assert_near(importance_of(memory, "a"), 0.5);
    assert_near(importance_of(memory, "b"), 0.5);
    mneme_close(memory);
}

static void importance_of_no_words_is_the_fixed_one(void **state)
{
    (void)state;
    mneme *memory = open_store("empty", "auto");
    add(memory, "picture", "", NULL);
    assert_near(importance_of(memory, "picture"), 0.5);
    mneme_close(memory);
}

/* Thousands of rows: the rows of frequent terms are estimated, and rare words still stand out. */
static void importance_in_a_large_store_tells_rare_from_frequent(void **state)
{
    (void)state;
    enum { N = 6000 };
    static const float vector[2] = {1, 0};
    mneme *memory = open_store("large", "auto");
    mneme_record *records = calloc(N, sizeof *records);
    char(*ids)[16] = calloc(N, sizeof *ids);
    for (size_t i = 0; i < N; i++) {
        snprintf(ids[i], sizeof ids[i], "r%zu", i);
        records[i] = (mneme_record){
            .id = ids[i], .text = i % 2 ? "common words" : "common talk", .vector = vector, .dimension = 2};
    }
    assert_ok(mneme_add(memory, records, N, NULL, NULL, test_error()));
    add(memory, "frequent", "common common", NULL);
    add(memory, "half", "words words", NULL);
    add(memory, "rare", "zebra zebra", NULL);
    /* df = N: w = ln(1 + 0.5 / 6000.5) / ln(12002) = 0.0000; df = N / 2: ln(2) / 9.39283 = 0.07380; /sqrt(3) */
    assert_near(importance_of(memory, "frequent"), 0);
    assert_near(importance_of(memory, "half"), 0.02);  /* 0.04261 / 2.04261 = 0.0209 */
    assert_near(importance_of(memory, "rare"), 0.225); /* 0.57735 / 2.57735 = 0.22401 */
    free(records);
    free(ids);
    mneme_close(memory);
}

int main(void)
{
    g_dir = test_make_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strength_is_half_after_a_half_life),
        cmocka_unit_test(use_strengthens_by_attention_and_lengthens_by_gap),
        cmocka_unit_test(strength_stays_within_bounds),
        cmocka_unit_test(kept_use_counts_and_goes_on_from_what_was_kept),
        cmocka_unit_test(importance_is_what_is_said_by_rarity),
        cmocka_unit_test(importance_of_an_answer_is_higher),
        cmocka_unit_test(importance_fixed_is_the_same_for_all),
        cmocka_unit_test(importance_of_no_words_is_the_fixed_one),
        cmocka_unit_test(importance_in_a_large_store_tells_rare_from_frequent),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_remove_dir(g_dir);
    return failed;
}
