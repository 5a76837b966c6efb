/* The pure steps after the candidates: fusion, spread and attention. Expected values by hand. */
#include "retriever/fusion.h"

#include <math.h>

#include "retriever/attention.h"
#include "retriever/neighbours.h"
#include "retriever/retriever_support.h"

static mn_candidate candidate(float dense, float lexical)
{
    return (mn_candidate){.has_vector = true, .dense = dense, .lexical = lexical};
}

static void expect_scores(mneme_mode mode, float weight, const mn_candidate *candidates, size_t n, const double *expected)
{
    mn_fusion fusion;
    mn_fusion_fit(&fusion, mode, weight, candidates, n);
    for (size_t i = 0; i < n; i++) {
        double score = (double)mn_fusion_score(&fusion, &candidates[i], NULL);
        if (!(fabs(score - expected[i]) < 1e-6)) fail_msg("candidate %zu: %f instead of %f", i, score, expected[i]);
    }
}

static void fusion_of_two_sides_is_the_convex_sum_after_scaling(void **state)
{
    (void)state;
    const mn_candidate candidates[] = {candidate(0.8f, 0.1f), candidate(0.4f, 0.5f), candidate(0.6f, 0.0f)};
    /* dense scaled 1, 0, 0.5; lexical scaled 0.2, 1, 0 */
    expect_scores(MNEME_MODE_HYBRID, 0.65f, candidates, 3, (const double[]){0.72, 0.35, 0.325});
    expect_scores(MNEME_MODE_HYBRID, 1.0f, candidates, 3, (const double[]){1, 0, 0.5});
    expect_scores(MNEME_MODE_HYBRID, 0.0f, candidates, 3, (const double[]){0.2, 1, 0});
}

static void fusion_of_one_mode_is_the_side_as_it_is(void **state)
{
    (void)state;
    const mn_candidate candidates[] = {candidate(0.8f, 0.1f), candidate(0.4f, 0.5f)};
    expect_scores(MNEME_MODE_DENSE, 0.65f, candidates, 2, (const double[]){0.8, 0.4});
    expect_scores(MNEME_MODE_LEXICAL, 0.65f, candidates, 2, (const double[]){0.1, 0.5});
}

static void fusion_with_an_empty_side_takes_the_other_alone(void **state)
{
    (void)state;
    const mn_candidate no_words[] = {candidate(0.8f, 0), candidate(0.4f, 0), candidate(0.5f, 0)};
    expect_scores(MNEME_MODE_HYBRID, 0.65f, no_words, 3, (const double[]){1, 0, 0.25});
    mn_candidate no_vectors[] = {candidate(0, 0.3f), candidate(0, 0.1f)};
    expect_scores(MNEME_MODE_HYBRID, 0.65f, no_vectors, 2, (const double[]){1, 0});
    no_vectors[0].has_vector = no_vectors[1].has_vector = false;
    expect_scores(MNEME_MODE_HYBRID, 0.65f, no_vectors, 2, (const double[]){1, 0});
    const mn_candidate nothing[] = {candidate(0, 0), candidate(0, 0)};
    expect_scores(MNEME_MODE_HYBRID, 0.65f, nothing, 2, (const double[]){0, 0});
}

static void fusion_of_a_candidate_without_vector_goes_by_its_words(void **state)
{
    (void)state;
    mn_candidate candidates[] = {candidate(0.8f, 0.2f), candidate(0.4f, 0.4f), candidate(0, 0.3f)};
    candidates[2].has_vector = false; /* its 0 is no dense score, and must not stretch the scale */
    expect_scores(MNEME_MODE_HYBRID, 0.5f, candidates, 3, (const double[]){0.5, 0.5, 0.5});
}

static void fusion_of_equal_scores_is_defined(void **state)
{
    (void)state;
    const mn_candidate equal[] = {candidate(0.5f, 0.2f), candidate(0.5f, 0.2f)};
    expect_scores(MNEME_MODE_HYBRID, 0.65f, equal, 2, (const double[]){1, 1});
    const mn_candidate one[] = {candidate(0.01f, 0)};
    expect_scores(MNEME_MODE_HYBRID, 0.65f, one, 1, (const double[]){1});
    const mn_candidate half_equal[] = {candidate(0.5f, 0.1f), candidate(0.5f, 0.3f)};
    expect_scores(MNEME_MODE_HYBRID, 0.65f, half_equal, 2, (const double[]){0.65, 1});
    mn_fusion fusion;
    mn_fusion_fit(&fusion, MNEME_MODE_HYBRID, 0.65f, NULL, 0);
    assert_true(isfinite(mn_fusion_score(&fusion, &one[0], NULL)));
}

static void fusion_outside_the_learnt_range_stays_in_the_unit_interval(void **state)
{
    (void)state;
    const mn_candidate candidates[] = {candidate(0.8f, 0.3f), candidate(0.4f, 0.1f)};
    const mn_candidate low = candidate(0, 0), high = candidate(1, 1);
    mn_fusion fusion;
    mn_fusion_fit(&fusion, MNEME_MODE_HYBRID, 0.65f, candidates, 2);
    assert_true(mn_fusion_score(&fusion, &low, NULL) == 0);
    assert_true(fabs((double)mn_fusion_score(&fusion, &high, NULL) - 1) < 1e-6);
}

static void lift_moves_towards_the_hit_and_never_down(void **state)
{
    (void)state;
    assert_true(fabs((double)mn_lift_gain(0.2f, 0.8f, 0.5f) - 0.3) < 1e-6);
    assert_true(mn_lift_gain(0.8f, 0.2f, 0.5f) == 0);
    assert_true(mn_lift_gain(0.5f, 0.5f, 0.5f) == 0);
    assert_true(fabs((double)mn_lift_gain(0.2f, 0.8f, 1.0f) - 0.6) < 1e-6);
}

static void lifts_merged_keep_the_highest_of_each_row(void **state)
{
    (void)state;
    mn_lift lifts[] = {{1, 4, 0.5f}, {0, 9, 0.1f}, {0, 9, 0.7f}, {1, 4, 0.2f}, {0, 3, 0.3f}, {0, 9, 0.4f}};
    assert_int_equal(mn_lifts_merge(lifts, 6), 3);
    assert_int_equal(lifts[0].row, 3);
    assert_int_equal(lifts[1].row, 9);
    assert_true(lifts[1].towards == 0.7f);
    assert_int_equal(lifts[2].ns_index, 1);
    assert_true(lifts[2].towards == 0.5f);
    assert_int_equal(mn_lifts_merge(lifts, 0), 0);
}

static void attention_sums_to_one_and_follows_the_scores(void **state)
{
    (void)state;
    mn_ranked hits[100] = {{0}};
    uint64_t seed = 3;
    for (size_t n = 1; n <= 100; n += 33) {
        for (size_t i = 0; i < n; i++) hits[i].score = (float)test_random(&seed);
        for (float scale = 0; scale < 2000; scale = scale * 3 + 1) {
            mn_attention(hits, n, scale);
            double sum = 0;
            for (size_t i = 0; i < n; i++) sum += (double)hits[i].attention;
            assert_true(fabs(sum - 1) < 1e-5);
            for (size_t i = 1; i < n; i++)
                if (hits[i].score > hits[i - 1].score) assert_true(hits[i].attention >= hits[i - 1].attention);
        }
    }
    hits[0].score = 0.5f;
    hits[1].score = 0.5f - (float)log(3) / 10;
    mn_attention(hits, 2, 10); /* odds of three to one */
    assert_true(fabs((double)hits[0].attention - 0.75) < 1e-5);
    mn_attention(hits, 0, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fusion_of_two_sides_is_the_convex_sum_after_scaling),
        cmocka_unit_test(fusion_of_one_mode_is_the_side_as_it_is),
        cmocka_unit_test(fusion_with_an_empty_side_takes_the_other_alone),
        cmocka_unit_test(fusion_of_a_candidate_without_vector_goes_by_its_words),
        cmocka_unit_test(fusion_of_equal_scores_is_defined),
        cmocka_unit_test(fusion_outside_the_learnt_range_stays_in_the_unit_interval),
        cmocka_unit_test(lift_moves_towards_the_hit_and_never_down),
        cmocka_unit_test(lifts_merged_keep_the_highest_of_each_row),
        cmocka_unit_test(attention_sums_to_one_and_follows_the_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
