/* test_eval_compare.c -- the paired randomisation test against an enumeration of its own, and against
 * scipy.stats.permutation_test (tests/data/eval/make_permutations.py). */
#include "test_support.h"

#include "cli/eval_compare.h"

#include <math.h>
#include <stdlib.h>

/* Swap the pairs in every way, one by one, and compare means. */
static double enumerate(const double *a, const double *b, size_t n)
{
    double observed = 0;
    size_t hits = 0, all = (size_t)1 << n;
    for (size_t i = 0; i < n; i++) observed += (b[i] - a[i]) / (double)n;
    for (size_t pattern = 0; pattern < all; pattern++) {
        double mean_a = 0, mean_b = 0;
        for (size_t i = 0; i < n; i++) {
            bool swapped = pattern >> i & 1;
            mean_a += (swapped ? b[i] : a[i]) / (double)n;
            mean_b += (swapped ? a[i] : b[i]) / (double)n;
        }
        hits += fabs(mean_b - mean_a) >= fabs(observed) - 1e-12;
    }
    return (double)hits / (double)all;
}

static void p_of_few_questions_is_that_of_all_swappings(void **state)
{
    (void)state;
    uint64_t seed = 4;
    const cli_permutations permutations = CLI_PERMUTATIONS_DEFAULT;
    for (size_t n = 1; n <= 13; n++) {
        for (int round = 0; round < 8; round++) {
            double a[16], b[16];
            for (size_t i = 0; i < n; i++) {
                /* Steps of a tenth: many differences are equal, some are 0. */
                seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                a[i] = (double)(seed >> 33 & 7) / 10;
                b[i] = (double)(seed >> 40 & 7) / 10;
            }
            cli_paired_test test;
            cli_paired_randomisation(a, b, n, &permutations, &test);
            assert_true(test.exact);
            if (fabs(test.p - enumerate(a, b, n)) > 1e-12) fail_msg("n %zu: %.12f", n, test.p);
            assert_int_equal(test.better + test.worse + test.equal, n);
        }
    }
}

static void read_values(const json_t *array, double *values)
{
    for (size_t i = 0; i < json_array_size(array); i++) values[i] = json_number_value(json_array_get(array, i));
}

static void check_case(const json_t *one)
{
    const cli_permutations permutations = CLI_PERMUTATIONS_DEFAULT;
    double a[1000], b[1000], p = json_number_value(json_object_get(one, "p"));
    size_t n = json_array_size(json_object_get(one, "a"));
    bool exact = json_is_true(json_object_get(one, "exact"));
    cli_paired_test test;
    assert_in_range(n, 1, 1000);
    read_values(json_object_get(one, "a"), a);
    read_values(json_object_get(one, "b"), b);
    cli_paired_randomisation(a, b, n, &permutations, &test);
    assert_int_equal(test.exact, exact);
    /* Five standard deviations of two samples. */
    double allowed = exact ? 1e-9 : 5 * sqrt(p * (1 - p) * (1e-5 + 1e-6)) + 2e-5;
    if (fabs(test.p - p) > allowed) fail_msg("n %zu: p is %.9f, scipy says %.9f", n, test.p, p);
    cli_paired_test again, turned;
    cli_paired_randomisation(a, b, n, &permutations, &again);
    assert_true(again.p == test.p); /* one seed, one answer */
    cli_paired_randomisation(b, a, n, &permutations, &turned);
    assert_true(turned.p == test.p);
    assert_int_equal(turned.better, test.worse);
}

static void p_agrees_with_scipy(void **state)
{
    (void)state;
    char path[1200], *text = NULL;
    size_t capacity = 0, n = 0;
    snprintf(path, sizeof path, "%s/tests/data/eval/permutations.jsonl", test_source_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (; getline(&text, &capacity, file) > 0; n++) {
        json_t *one = json_loads(text, 0, NULL);
        check_case(one);
        json_decref(one);
    }
    assert_int_equal(n, 9);
    free(text);
    fclose(file);
}

static void equal_runs_differ_by_nothing(void **state)
{
    (void)state;
    double a[100];
    const cli_permutations permutations = CLI_PERMUTATIONS_DEFAULT;
    for (size_t i = 0; i < 100; i++) a[i] = 1.0 / (double)(i + 1);
    cli_paired_test test;
    cli_paired_randomisation(a, a, 100, &permutations, &test);
    assert_true(test.exact && test.p == 1);
    assert_int_equal(test.equal, 100);
}

/* Always better by as much: of the drawn swappings none comes up to it, and p is the least that there is. */
static void a_clear_difference_has_the_least_p(void **state)
{
    (void)state;
    double a[100] = {0}, b[100];
    const cli_permutations permutations = {999, 7};
    for (size_t i = 0; i < 100; i++) b[i] = 0.1;
    cli_paired_test test;
    cli_paired_randomisation(a, b, 100, &permutations, &test);
    assert_false(test.exact);
    assert_true(fabs(test.p - 0.001) < 1e-12);
    assert_int_equal(test.better, 100);
    assert_true(fabs(test.mean_b - 0.1) < 1e-12 && test.mean_a == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p_of_few_questions_is_that_of_all_swappings),
        cmocka_unit_test(p_agrees_with_scipy),
        cmocka_unit_test(equal_runs_differ_by_nothing),
        cmocka_unit_test(a_clear_difference_has_the_least_p),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
