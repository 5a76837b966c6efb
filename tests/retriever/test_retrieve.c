/* Ranking on small stores with vectors and texts whose answers can be seen. */
#include "retriever/retrieve.h"

#include <math.h>

#include "retriever/retriever_support.h"

static const mn_retrieve_options g_plain = {.mode = MNEME_MODE_HYBRID,
                                            .k = 10,
                                            .n_candidates = 50,
                                            .dense_weight = 0.65f,
                                            .k1 = 1.2f,
                                            .b = 0.75f,
                                            .attention_scale = 10};

/* One question put to a store; the answer lives until answer_end. */
typedef struct found_hits {
    mn_arena arena;
    mn_read *read;
    mn_namespace *spaces;
    size_t n_spaces;
    mn_ranked *hits;
    size_t n;
} found_hits;

/* name_space NULL: all. vector NULL: words alone. */
static found_hits ask(test_memory *memory, const char *name_space, const char *text, const float *vector, uint32_t dimension,
                  const mn_retrieve_options *options)
{
    found_hits answer = {{0}, NULL, NULL, 0, NULL, 0};
    assert_ok(mn_read_begin(memory->store, &answer.read, test_error()));
    if (name_space) {
        answer.spaces = mn_arena_alloc(&answer.arena, sizeof(mn_namespace));
        assert_ok(mn_read_namespace(answer.read, name_space, answer.spaces, test_error()));
        answer.n_spaces = 1;
    } else {
        assert_ok(mn_read_namespaces(answer.read, &answer.arena, &answer.spaces, &answer.n_spaces, test_error()));
    }
    mn_question question = {.text = text,
                            .text_size = strlen(text),
                            .vector = vector,
                            .dimension = dimension,
                            .analyze = mn_analyzer_question,
                            .analyze_context = memory->analyzer};
    assert_ok(mn_retrieve(answer.read, answer.spaces, answer.n_spaces, &question, options, &answer.arena, &answer.hits,
                          &answer.n, test_error()));
    return answer;
}

static void answer_end(found_hits *answer)
{
    mn_read_end(answer->read);
    mn_arena_free(&answer->arena);
}

/* The hits as "id/chunk id/chunk". */
static const char *ids(const found_hits *answer)
{
    static char line[4096];
    size_t at = 0;
    line[0] = '\0';
    for (size_t i = 0; i < answer->n; i++) {
        mn_record record;
        const mn_ranked *hit = &answer->hits[i];
        assert_ok(mn_read_record(answer->read, answer->spaces[hit->ns_index].ns, hit->rec, &record, test_error()));
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%s/%u", i ? " " : "", record.id, hit->chunk);
    }
    return line;
}

static void expect_sound(const found_hits *answer)
{
    double sum = 0;
    for (size_t i = 0; i < answer->n; i++) {
        const mn_ranked *hit = &answer->hits[i];
        assert_true(hit->score >= 0 && hit->score <= 1);
        assert_true(hit->dense >= 0 && hit->dense <= 1);
        assert_true(hit->lexical >= 0 && hit->lexical <= 1);
        assert_true(hit->neighbour >= 0 && hit->neighbour <= hit->score);
        if (i) assert_true(hit->score <= answer->hits[i - 1].score);
        sum += (double)hit->attention;
    }
    if (answer->n) assert_true(fabs(sum - 1) < 1e-5);
}

/* Four turns of a session and one elsewhere. */
static void tell_story(test_memory *memory, const char *name_space)
{
    static const struct {
        const char *id, *session, *text;
        float vector[2];
    } turns[] = {
        {"a", "s1", "Where did you leave the key?", {0.6f, 0.8f}},
        {"b", "s1", "Under the third flower pot.", {0, 1}},
        {"c", "s1", "I will bring the wine.", {0.28f, 0.96f}},
        {"d", "s1", "Good, see you then.", {-1, 0}},
        {"e", "s2", "The key of G major has one sharp.", {1, 0}},
    };
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
        mneme_record record = {.id = turns[i].id,
                               .name_space = name_space,
                               .text = turns[i].text,
                               .session = turns[i].session};
        test_put_turn(memory, &record, turns[i].vector, 2);
    }
}

static void dense_mode_ranks_by_cosine(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "");
    mn_retrieve_options options = g_plain;
    options.mode = MNEME_MODE_DENSE;
    found_hits answer = ask(&memory, "", "key", (const float[]){1, 0}, 2, &options);
    expect_sound(&answer);
    assert_string_equal(ids(&answer), "e/0 a/0 c/0 b/0 d/0"); /* cosines 1, 0.6, 0.28, 0, -1 */
    assert_true(fabs((double)answer.hits[1].dense - 0.6) < 1e-6 && answer.hits[1].score == answer.hits[1].dense);
    assert_true(answer.hits[4].dense == 0);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void lexical_mode_needs_no_vector_and_finds_only_the_words(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "");
    mn_retrieve_options options = g_plain;
    options.mode = MNEME_MODE_LEXICAL;
    found_hits answer = ask(&memory, "", "Which key?", NULL, 0, &options);
    expect_sound(&answer);
    assert_string_equal(ids(&answer), "a/0 e/0"); /* "key" once in each; 6 terms against 8 */
    answer_end(&answer);
    answer = ask(&memory, "", "zeppelin", NULL, 0, &options);
    assert_int_equal(answer.n, 0);
    answer_end(&answer);
    answer = ask(&memory, "", "", NULL, 0, &options);
    assert_int_equal(answer.n, 0);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void hybrid_gives_every_candidate_both_exact_scores(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "");
    mn_retrieve_options options = g_plain;
    options.n_candidates = options.k = 2; /* the vectors list b and c, the words a and e */
    found_hits both = ask(&memory, "", "where was the key left", (const float[]){0, 1}, 2, &options);
    expect_sound(&both);
    assert_string_equal(ids(&both), "a/0 b/0"); /* 0.65 * 0.8 + 0.35 * 1 against 0.65 * 1 */
    assert_true(fabs((double)both.hits[0].score - 0.87) < 1e-6);
    assert_true(fabs((double)both.hits[0].dense - 0.8) < 1e-6 && both.hits[0].lexical > 0);
    assert_true(fabs((double)both.hits[1].dense - 1.0) < 1e-6 && both.hits[1].lexical == 0);
    answer_end(&both);
    test_memory_close(&memory);
}

static void spread_brings_in_the_answer_beside_the_question(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "");
    mn_retrieve_options options = g_plain;
    options.mode = MNEME_MODE_LEXICAL;
    options.neighbour_share = 0.5f;
    options.neighbour_reach = 1;
    found_hits near = ask(&memory, "", "key", NULL, 0, &options);
    expect_sound(&near);
    assert_string_equal(ids(&near), "a/0 e/0 b/0"); /* b has no word of the question; e's session has no other turn */
    assert_true(near.hits[0].neighbour == 0);
    assert_true(near.hits[2].lexical == 0);
    assert_true(fabs((double)(near.hits[2].score - near.hits[0].score / 2)) < 1e-6);
    assert_true(near.hits[2].neighbour == near.hits[2].score);
    answer_end(&near);
    options.neighbour_reach = 2;
    found_hits far = ask(&memory, "", "key", NULL, 0, &options);
    assert_string_equal(ids(&far), "a/0 e/0 b/0 c/0");
    answer_end(&far);
    test_memory_close(&memory);
}

static void spread_to_a_chunk_that_was_no_candidate_adds_to_its_own_score(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    test_put_turn(&memory, &(mneme_record){.id = "hit", .session = "s", .text = "one"}, (const float[]){1, 0}, 2);
    test_put_turn(&memory, &(mneme_record){.id = "next", .session = "s", .text = "two"}, (const float[]){0.28f, 0.96f}, 2);
    test_put_turn(&memory, &(mneme_record){.id = "else", .text = "three"}, (const float[]){0.6f, 0.8f}, 2);
    mn_retrieve_options options = g_plain;
    options.mode = MNEME_MODE_DENSE;
    options.k = options.n_candidates = 2;
    options.neighbour_share = 0.5f;
    options.neighbour_reach = 1;
    found_hits answer = ask(&memory, "", "", (const float[]){1, 0}, 2, &options);
    assert_string_equal(ids(&answer), "hit/0 next/0"); /* 0.28 + 0.5 * (1 - 0.28) = 0.64 against 0.6 */
    assert_true(fabs((double)answer.hits[1].score - 0.64) < 1e-6 && fabs((double)answer.hits[1].dense - 0.28) < 1e-6);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void spread_steps_from_a_records_chunks_into_the_next_record(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    const char *text = "alpha one. beta two. gamma three.";
    const mn_new_chunk chunks[] = {{0, 10, NULL}, {11, 20, NULL}, {21, 33, NULL}};
    for (int i = 0; i < 2; i++) {
        mneme_record record = {.id = i ? "second" : "first", .session = "s", .text = text, .text_size = strlen(text)};
        if (i) record.text = "delta one. beta two. gammb three.";
        mn_new_record new_record = {.record = &record, .hash = {1}, .chunks = chunks, .n_chunks = 3};
        test_put(&memory, &new_record, 1);
    }
    mn_retrieve_options options = g_plain;
    options.mode = MNEME_MODE_LEXICAL;
    options.neighbour_share = 0.5f;
    options.neighbour_reach = 2;
    found_hits answer = ask(&memory, "", "delta", NULL, 0, &options);
    assert_string_equal(ids(&answer), "second/0 first/1 first/2 second/1 second/2");
    options.one_per_record = true;
    answer_end(&answer);
    answer = ask(&memory, "", "delta", NULL, 0, &options);
    assert_string_equal(ids(&answer), "second/0 first/1"); /* equal scores: the lower row */
    expect_sound(&answer);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void namespace_content_changes_nothing_in_another(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "one");
    mn_retrieve_options options = g_plain;
    options.neighbour_share = 0.5f;
    options.neighbour_reach = 2;
    const float vector[] = {0.8f, 0.6f};
    found_hits before = ask(&memory, "one", "where is the key", vector, 2, &options);
    assert_int_equal(before.n, 5);
    char *before_ids = strdup(ids(&before));
    for (int i = 0; i < 40; i++) { /* the same words, everywhere, beside it */
        char id[16], text[64];
        snprintf(id, sizeof id, "x%d", i);
        snprintf(text, sizeof text, "key key flower pot wine %d", i);
        mneme_record record = {.id = id, .name_space = "two", .session = "s1", .text = text};
        test_put_turn(&memory, &record, vector, 2);
    }
    found_hits after = ask(&memory, "one", "where is the key", vector, 2, &options);
    assert_string_equal(ids(&after), before_ids);
    assert_memory_equal(after.hits, before.hits, after.n * sizeof *after.hits);
    answer_end(&after);
    /* asked together: the scale is common, cosine and BM25 are still each namespace's own */
    options.k = 100;
    options.neighbour_share = 0;
    found_hits all = ask(&memory, NULL, "where is the key", vector, 2, &options);
    expect_sound(&all);
    size_t found = 0;
    for (size_t i = 0; i < all.n; i++)
        for (size_t j = 0; j < before.n; j++)
            if (strcmp(all.spaces[all.hits[i].ns_index].name, "one") == 0 && all.hits[i].rec == before.hits[j].rec) {
                assert_true(all.hits[i].dense == before.hits[j].dense && all.hits[i].lexical == before.hits[j].lexical);
                found++;
            }
    assert_int_equal(found, 5);
    answer_end(&all);
    answer_end(&before);
    free(before_ids);
    test_memory_close(&memory);
}

static void namespace_of_another_dimension_is_searched_by_its_words(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "flat");
    test_put_turn(&memory, &(mneme_record){.id = "deep", .name_space = "deep", .text = "a key"}, (const float[]){1, 0, 0}, 3);
    test_put_turn(&memory, &(mneme_record){.id = "bare", .name_space = "bare", .text = "my key"}, NULL, 0);
    found_hits all = ask(&memory, NULL, "key", (const float[]){1, 0}, 2, &g_plain);
    expect_sound(&all);
    size_t found = 0;
    for (size_t i = 0; i < all.n; i++) {
        if (strcmp(all.spaces[all.hits[i].ns_index].name, "flat") == 0) continue;
        assert_true(all.hits[i].dense == 0 && all.hits[i].lexical > 0);
        found++;
    }
    assert_int_equal(found, 2);
    answer_end(&all);
    test_memory_close(&memory);
}

typedef struct record_judge {
    int calls[64];
    const char *session;
} record_judge;

static bool accept_session(void *context, const char *name_space, const mn_record *record)
{
    record_judge *judge = context;
    assert_string_equal(name_space, "");
    judge->calls[record->rec]++;
    return strcmp(record->session, judge->session) == 0;
}

static void filter_is_asked_once_per_record_and_shuts_out_the_rest(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "");
    record_judge judge = {{0}, "s1"};
    mn_retrieve_options options = g_plain;
    options.neighbour_share = 0.5f;
    options.neighbour_reach = 2;
    options.accept = accept_session;
    options.accept_context = &judge;
    found_hits answer = ask(&memory, "", "key", (const float[]){1, 0}, 2, &options);
    expect_sound(&answer);
    assert_string_equal(ids(&answer), "a/0 c/0 b/0 d/0");
    for (size_t i = 0; i < 64; i++) assert_true(judge.calls[i] <= 1);
    answer_end(&answer);
    judge.session = "none";
    answer = ask(&memory, "", "key", (const float[]){1, 0}, 2, &options);
    assert_int_equal(answer.n, 0);
    answer_end(&answer);
    test_memory_close(&memory);
}

static void forgotten_records_do_not_come_back(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "");
    test_forget(&memory, "", "b");
    mn_retrieve_options options = g_plain;
    options.neighbour_share = 0.5f;
    options.neighbour_reach = 2;
    found_hits answer = ask(&memory, "", "flower pot key", (const float[]){0, 1}, 2, &options);
    expect_sound(&answer);
    assert_int_equal(answer.n, 4);
    assert_null(strstr(ids(&answer), "b/"));
    answer_end(&answer);
    test_memory_close(&memory);
}

static void odd_questions_have_plain_answers(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "");
    mn_retrieve_options options = g_plain;
    found_hits all = ask(&memory, "", "", (const float[]){1, 0}, 2, &options); /* vector alone */
    assert_int_equal(all.n, 5);
    expect_sound(&all);
    answer_end(&all);
    options.k = 0;
    all = ask(&memory, "", "key", (const float[]){1, 0}, 2, &options);
    assert_int_equal(all.n, 0);
    options.k = UINT32_MAX;
    options.n_candidates = UINT32_MAX;
    answer_end(&all);
    all = ask(&memory, "", "key", (const float[]){1, 0}, 2, &options);
    assert_int_equal(all.n, 5);
    mn_question question = {.text = "key", .text_size = 3, .vector = (const float[]){NAN, 0}, .dimension = 2};
    assert_int_equal(mn_retrieve(all.read, all.spaces, 1, &question, &options, &all.arena, &all.hits, &all.n, test_error()),
                     MNEME_ERR_USAGE);
    assert_non_null(strstr(test_error()->message, "not finite"));
    assert_int_equal(mn_retrieve(all.read, NULL, 0, &question, &options, &all.arena, &all.hits, &all.n, NULL),
                     MNEME_ERR_USAGE);
    answer_end(&all);
    test_memory_close(&memory);
}

static void same_question_gives_the_same_bytes(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    uint64_t seed = 5;
    for (int i = 0; i < 60; i++) {
        char id[16], text[64], session[16];
        snprintf(id, sizeof id, "r%d", i);
        snprintf(session, sizeof session, "s%d", i % 7);
        snprintf(text, sizeof text, "w%u w%u w%u", test_below(&seed, 9), test_below(&seed, 9), test_below(&seed, 9));
        const float angle = (float)(test_below(&seed, 6)); /* many ties */
        const float vector[] = {cosf(angle), sinf(angle)};
        mneme_record record = {.id = id, .name_space = i % 2 ? "odd" : "", .session = session, .text = text};
        test_put_turn(&memory, &record, vector, 2);
    }
    mn_retrieve_options options = test_all_steps();
    options.k = 40;
    found_hits first = ask(&memory, NULL, "w1 w2 w3", (const float[]){1, 0}, 2, &options);
    found_hits second = ask(&memory, NULL, "w1 w2 w3", (const float[]){1, 0}, 2, &options);
    assert_int_equal(first.n, 40);
    assert_memory_equal(first.hits, second.hits, first.n * sizeof *first.hits);
    for (size_t i = 1; i < first.n; i++) {
        const mn_ranked *a = &first.hits[i - 1], *b = &first.hits[i];
        if (!(a->score > b->score))
            assert_true(a->ns_index < b->ns_index || (a->ns_index == b->ns_index && a->rec < b->rec));
    }
    answer_end(&first);
    answer_end(&second);
    test_memory_close(&memory);
}

static void retrieval_without_memory_says_so_and_leaks_nothing(void **state)
{
    (void)state;
    test_memory memory = test_memory_open();
    tell_story(&memory, "");
    mn_retrieve_options options = test_all_steps();
    options.one_per_record = true;
    const float vector[] = {1, 0};
    found_hits whole = ask(&memory, "", "flower pot key", vector, 2, &options);
    mn_question question = {.text = "flower pot key", .text_size = 14, .vector = vector, .dimension = 2};
    question.analyze = mn_analyzer_question;
    question.analyze_context = memory.analyzer;
    mneme_status status = MNEME_ERR_MEMORY;
    for (size_t n = 1; status == MNEME_ERR_MEMORY; n++) {
        assert_true(n < 2000);
        mn_arena arena = {0};
        mn_ranked *hits = NULL;
        size_t n_hits = 0;
        mn_alloc_fail_after(n);
        status = mn_retrieve(whole.read, whole.spaces, 1, &question, &options, &arena, &hits, &n_hits, test_error());
        mn_alloc_fail_after(0);
        if (status == MNEME_OK) {
            assert_int_equal(n_hits, whole.n);
            assert_memory_equal(hits, whole.hits, n_hits * sizeof *hits);
        }
        mn_arena_free(&arena);
    }
    assert_int_equal(status, MNEME_OK);
    answer_end(&whole);
    test_memory_close(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_mode_ranks_by_cosine),
        cmocka_unit_test(lexical_mode_needs_no_vector_and_finds_only_the_words),
        cmocka_unit_test(hybrid_gives_every_candidate_both_exact_scores),
        cmocka_unit_test(spread_brings_in_the_answer_beside_the_question),
        cmocka_unit_test(spread_to_a_chunk_that_was_no_candidate_adds_to_its_own_score),
        cmocka_unit_test(spread_steps_from_a_records_chunks_into_the_next_record),
        cmocka_unit_test(namespace_content_changes_nothing_in_another),
        cmocka_unit_test(namespace_of_another_dimension_is_searched_by_its_words),
        cmocka_unit_test(filter_is_asked_once_per_record_and_shuts_out_the_rest),
        cmocka_unit_test(forgotten_records_do_not_come_back),
        cmocka_unit_test(odd_questions_have_plain_answers),
        cmocka_unit_test(same_question_gives_the_same_bytes),
        cmocka_unit_test(retrieval_without_memory_says_so_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
