/* The steps of a hybrid question after fusion: words nearby, feedback, expansion, speakers and days. Expected values by
 * hand, or by the formulas of retrieval.h written out again. */
#include "retriever/retrieval.h"

#include <math.h>
#include <string.h>

#include "retriever/retriever_support.h"

typedef struct turn {
    const char *id, *session, *speaker, *text, *time;
    float vector[2]; /* {0, 0}: none */
} turn;

static void put(test_memory *memory, const char *name_space, const turn *turns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const turn *t = &turns[i];
        mneme_record record = {.id = t->id,
                               .name_space = name_space,
                               .session = t->session,
                               .speaker = t->speaker,
                               .text = t->text,
                               .has_time = t->time != NULL};
        if (t->time) assert_ok(mneme_time_parse(t->time, &record.time_ms, test_error()));
        bool has_vector = t->vector[0] > 0 || t->vector[0] < 0 || t->vector[1] > 0 || t->vector[1] < 0;
        test_put_turn(memory, &record, has_vector ? t->vector : NULL, 2);
    }
}

typedef struct found_hits {
    mn_arena arena;
    mn_read *read;
    mn_namespace space;
    mn_ranked *hits;
    size_t n;
} found_hits;

static found_hits ask(test_memory *memory, const char *text, const float *vector, const mn_retrieve_options *options)
{
    found_hits answer = {{0}, NULL, {0}, NULL, 0};
    assert_ok(mn_read_begin(memory->store, &answer.read, test_error()));
    assert_ok(mn_read_namespace(answer.read, "", &answer.space, test_error()));
    mn_question question = {.text = text,
                            .text_size = strlen(text),
                            .vector = vector,
                            .dimension = 2,
                            .analyze = mn_analyzer_question,
                            .analyze_context = memory->analyzer};
    assert_ok(mn_retrieve(answer.read, &answer.space, 1, &question, options, &answer.arena, &answer.hits, &answer.n,
                          test_error()));
    return answer;
}

static void answer_end(found_hits *answer)
{
    mn_read_end(answer->read);
    mn_arena_free(&answer->arena);
}

static const mn_ranked *hit_of(const found_hits *answer, const char *id)
{
    for (size_t i = 0; i < answer->n; i++) {
        mn_record record;
        assert_ok(mn_read_record(answer->read, answer->space.ns, answer->hits[i].rec, &record, test_error()));
        if (strcmp(record.id, id) == 0) return &answer->hits[i];
    }
    return NULL;
}

static void expect_score(const found_hits *answer, const char *id, double expected)
{
    const mn_ranked *hit = hit_of(answer, id);
    if (!hit) fail_msg("%s is no hit", id);
    double score = (double)hit->score;
    if (!(fabs(score - expected) < 1e-5)) fail_msg("%s: %f instead of %f", id, score, expected);
    const mneme_parts *p = &hit->parts;
    double sum = (double)p->dense + (double)p->lexical + (double)p->neighbour + (double)p->importance +
                 (double)p->strength + (double)p->recency + (double)p->speaker + (double)p->time;
    if (!(fabs(sum - score) < 1e-5)) fail_msg("%s: parts add up to %f, not %f", id, sum, score);
}

/* Fusion and one step; all chunks have equally many terms, so that BM25 gives a term its idf where it stands once. */
static mn_retrieve_options words_only(void)
{
    return (mn_retrieve_options){.mode = MNEME_MODE_HYBRID,
                                 .k = 20,
                                 .n_candidates = 50,
                                 .dense_weight = 0,
                                 .k1 = 1.2f,
                                 .b = 0.75f,
                                 .neighbour_reach = 2,
                                 .attention_scale = 10};
}

static const turn g_session[] = {
    {"a", "s", NULL, "alpha one two", NULL, {1, 0}},     {"b", "s", NULL, "beta three four", NULL, {1, 0}},
    {"c", "s", NULL, "five six seven", NULL, {1, 0}},    {"d", "s", NULL, "eight nine ten", NULL, {1, 0}},
    {"e", "s", NULL, "eleven eleven red", NULL, {1, 0}}, {"f", "t", NULL, "green blue white", NULL, {1, 0}},
};

static bool refuse_b(void *context, const char *name_space, const mn_record *record)
{
    (void)context;
    (void)name_space;
    return strcmp(record->id, "b") != 0;
}

static void words_near_a_hit_count_less_with_distance(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put(&memory, "", g_session, 6);
    mn_retrieve_options options = words_only();
    options.nearby_words = 0.5f;
    found_hits answer = ask(&memory, "alpha beta", (const float[]){1, 0}, &options);
    /* in units of one word's idf: a 1 + 0.5, b 0.5 + 1, c 0.25 + 0.5, d 0 + 0.25, e and f 0 */
    expect_score(&answer, "a", 1);
    expect_score(&answer, "b", 1);
    expect_score(&answer, "c", 0.5);
    expect_score(&answer, "d", 1.0 / 6);
    expect_score(&answer, "e", 0);
    expect_score(&answer, "f", 0);
    assert_true(hit_of(&answer, "c")->lexical == 0); /* what is told is the chunk's own */
    answer_end(&answer);
    test_memory_close(&memory);
}

static void words_of_a_refused_neighbour_count_for_nobody(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put(&memory, "", g_session, 6);
    mn_retrieve_options options = words_only();
    options.nearby_words = 0.5f;
    options.accept = refuse_b;
    found_hits answer = ask(&memory, "alpha beta", (const float[]){1, 0}, &options);
    assert_null(hit_of(&answer, "b"));
    expect_score(&answer, "a", 1);
    expect_score(&answer, "c", 0.25); /* alpha, two places away; beta is not there */
    expect_score(&answer, "d", 0);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void feedback_moves_the_question_towards_its_best_hits(void **state)
{
    (void)state;
    const turn turns[] = {{"a", NULL, NULL, "x", NULL, {0.8f, 0.6f}},
                          {"b", NULL, NULL, "x", NULL, {0.6f, 0.8f}},
                          {"c", NULL, NULL, "x", NULL, {0.96f, -0.28f}},
                          {"d", NULL, NULL, "x", NULL, {0, 1}}};
    test_memory memory = test_memory_open();
    put(&memory, "", turns, 4);
    mn_retrieve_options options = words_only();
    options.dense_weight = 1;
    options.feedback_weight = 0.7f;
    options.feedback_scale = 5;
    found_hits answer = ask(&memory, "y", (const float[]){1, 0}, &options);
    /* cosines 0.8, 0.6, 0.96, 0, so scaled by 0.96; the attention over them; the sum; cosines with it */
    double own[4], attention[4], sum = 0, q[2] = {1, 0}, cosine[4], high = 0, low = 1;
    for (int i = 0; i < 4; i++) own[i] = (double)turns[i].vector[0] / 0.96;
    for (int i = 0; i < 4; i++) sum += attention[i] = exp(5 * own[i]);
    for (int i = 0; i < 4; i++)
        for (int d = 0; d < 2; d++) q[d] += 0.7 * attention[i] / sum * (double)turns[i].vector[d];
    for (int i = 0; i < 4; i++) {
        cosine[i] = (q[0] * (double)turns[i].vector[0] + q[1] * (double)turns[i].vector[1]) / hypot(q[0], q[1]);
        high = cosine[i] > high ? cosine[i] : high;
        low = cosine[i] < low ? cosine[i] : low;
    }
    for (int i = 0; i < 4; i++) expect_score(&answer, turns[i].id, (cosine[i] - low) / (high - low));
    assert_true(fabs((double)hit_of(&answer, "a")->dense - 0.8) < 1e-6); /* told is the cosine with the question */
    answer_end(&answer);
    test_memory_close(&memory);
}

static void expansion_finds_by_words_that_the_best_hits_share(void **state)
{
    (void)state;
    const turn turns[] = {
        {"a", NULL, NULL, "alpha gamma delta", NULL, {0, 0}}, {"b", NULL, NULL, "alpha gamma sun", NULL, {0, 0}},
        {"c", NULL, NULL, "alpha moon star", NULL, {0, 0}},   {"d", NULL, NULL, "gamma sky cloud", NULL, {0, 0}},
        {"e", NULL, NULL, "delta rain snow", NULL, {0, 0}},   {"f", NULL, NULL, "river hill lake", NULL, {0, 0}}};
    test_memory memory = test_memory_open();
    put(&memory, "", turns, 6);
    mn_retrieve_options options = words_only();
    options.feedback_scale = 5;
    found_hits answer = ask(&memory, "alpha", NULL, &options);
    assert_int_equal(answer.n, 3);
    answer_end(&answer);
    options.expansion_weight = 0.5f;
    answer = ask(&memory, "alpha", NULL, &options);
    /* gamma is in two of the hits, every other word in one. In shares of 1 / (k1 + 1): a and b (1 + 0.5) / 1.5,
     * c 1 / 1.5, d 0.5 / 1.5 */
    assert_int_equal(answer.n, 4);
    expect_score(&answer, "a", 1);
    expect_score(&answer, "b", 1);
    expect_score(&answer, "c", 0.5);
    expect_score(&answer, "d", 0);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void speaker_named_in_the_question_counts(void **state)
{
    (void)state;
    const turn turns[] = {{"a", NULL, "Ann Smith", "green tea", NULL, {0.6f, 0.8f}},
                          {"b", NULL, "Bob", "green tea", NULL, {1, 0}},
                          {"c", NULL, NULL, "coffee", NULL, {0, 1}}};
    test_memory memory = test_memory_open();
    put(&memory, "", turns, 3);
    mn_retrieve_options options = words_only();
    options.dense_weight = 1;
    options.speaker_weight = 0.1f;
    found_hits answer = ask(&memory, "What does Ann drink?", (const float[]){1, 0}, &options);
    expect_score(&answer, "b", 1 / 1.1);
    expect_score(&answer, "a", (0.6 + 0.05) / 1.1); /* half of the name */
    expect_score(&answer, "c", 0);
    answer_end(&answer);
    answer = ask(&memory, "What do Bob and ann smith drink?", (const float[]){1, 0}, &options);
    expect_score(&answer, "b", 1);
    expect_score(&answer, "a", (0.6 + 0.1) / 1.1);
    answer_end(&answer);
    answer = ask(&memory, "What does he drink?", (const float[]){1, 0}, &options);
    expect_score(&answer, "b", 1);
    expect_score(&answer, "a", 0.6);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void days_named_in_the_question_count(void **state)
{
    (void)state;
    const turn turns[] = {{"a", NULL, NULL, "green tea", "2023-05-08T10:00:00Z", {0.6f, 0.8f}},
                          {"b", NULL, NULL, "green tea", "2023-05-12T10:00:00Z", {1, 0}},
                          {"c", NULL, NULL, "coffee", NULL, {0, 1}}};
    test_memory memory = test_memory_open();
    put(&memory, "", turns, 3);
    mn_retrieve_options options = words_only();
    options.dense_weight = 1;
    options.time_weight = 0.3f;
    found_hits answer = ask(&memory, "What was drunk on 8 May 2023?", (const float[]){1, 0}, &options);
    expect_score(&answer, "a", (0.6 + 0.3) / 1.3);
    expect_score(&answer, "b", (1 + 0.3 * (1 - 4.0 / 7)) / 1.3);
    expect_score(&answer, "c", 0);
    answer_end(&answer);
    assert_ok(mneme_time_parse("2023-05-09T08:00:00Z", &options.now_ms, test_error()));
    answer = ask(&memory, "What was drunk yesterday?", (const float[]){1, 0}, &options);
    expect_score(&answer, "a", (0.6 + 0.3) / 1.3);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void other_modes_are_their_side_alone(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put(&memory, "", g_session, 6);
    mn_retrieve_options options = test_all_steps();
    options.neighbour_share = 0;
    options.mode = MNEME_MODE_DENSE;
    found_hits answer = ask(&memory, "alpha beta", (const float[]){0.6f, 0.8f}, &options);
    for (size_t i = 0; i < answer.n; i++) assert_true(answer.hits[i].score == answer.hits[i].dense);
    answer_end(&answer);
    options.mode = MNEME_MODE_LEXICAL;
    answer = ask(&memory, "alpha beta", NULL, &options);
    assert_int_equal(answer.n, 2);
    for (size_t i = 0; i < answer.n; i++) assert_true(answer.hits[i].score == answer.hits[i].lexical);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void another_namespace_changes_no_byte_of_any_step(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    const turn more[] = {{"x", "s", "Ann", "alpha beta gamma", "2023-05-08", {0.6f, 0.8f}},
                         {"y", "s", "Bob", "alpha one red", "2023-05-08", {0.8f, 0.6f}}};
    put(&memory, "", g_session, 6);
    put(&memory, "", more, 2);
    mn_retrieve_options options = test_all_steps();
    found_hits before = ask(&memory, "What did Ann say of alpha, beta on 8 May 2023?", (const float[]){1, 0}, &options);
    put(&memory, "other", g_session, 6);
    put(&memory, "other", more, 2);
    found_hits after = ask(&memory, "What did Ann say of alpha, beta on 8 May 2023?", (const float[]){1, 0}, &options);
    assert_int_equal(before.n, after.n);
    assert_memory_equal(before.hits, after.hits, before.n * sizeof *before.hits);
    answer_end(&before);
    answer_end(&after);
    test_memory_close(&memory);
}

static void odd_questions_pass_every_step(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    put(&memory, "", g_session, 6);
    mn_retrieve_options options = test_all_steps();
    const char *const questions[] = {"", "the of and", "alpha", "\xff\xfe alpha", "8 May 2023"};
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        for (int with_vector = 0; with_vector < 2; with_vector++) {
            const float vector[] = {-1, 0}; /* away from every memory */
            found_hits answer = ask(&memory, questions[i], with_vector ? vector : NULL, &options);
            for (size_t h = 0; h < answer.n; h++) assert_true(answer.hits[h].score >= 0 && answer.hits[h].score <= 1);
            answer_end(&answer);
        }
    }
    test_memory_close(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_near_a_hit_count_less_with_distance),
        cmocka_unit_test(words_of_a_refused_neighbour_count_for_nobody),
        cmocka_unit_test(feedback_moves_the_question_towards_its_best_hits),
        cmocka_unit_test(expansion_finds_by_words_that_the_best_hits_share),
        cmocka_unit_test(speaker_named_in_the_question_counts),
        cmocka_unit_test(days_named_in_the_question_count),
        cmocka_unit_test(other_modes_are_their_side_alone),
        cmocka_unit_test(another_namespace_changes_no_byte_of_any_step),
        cmocka_unit_test(odd_questions_pass_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
