/* test_distill.c -- the parts of distillation against known answers: eigenvectors, ridge regression, half precision,
 * and what is asked of the teacher. */
#include "test_support.h"

#include "encoder/train/distill_texts.h"
#include "encoder/train/principal.h"
#include "encoder/train/static_folder.h"
#include "encoder/train/table_fit.h"

#include <math.h>

/* ---- principal components ---- */

/* Rows along three orthogonal directions with known sums of squares. */
static void components_of_known_directions_are_found(void **state)
{
    (void)state;
    static const double directions[3][3] = {
        {2 / 3.0, 2 / 3.0, 1 / 3.0}, {-2 / 3.0, 1 / 3.0, 2 / 3.0}, {1 / 3.0, -2 / 3.0, 2 / 3.0}};
    static const double lengths[3] = {1, 5, 3};
    float rows[6][3];
    for (size_t r = 0; r < 6; r++)
        for (size_t c = 0; c < 3; c++) rows[r][c] = (float)((r < 3 ? 1 : -1) * lengths[r % 3] * directions[r % 3][c]);
    double components[2][3], kept;
    assert_ok(mn_principal_components(&rows[0][0], 6, 3, 2, &components[0][0], &kept, test_error()));
    static const size_t order[2] = {1, 2};
    for (size_t k = 0; k < 2; k++) {
        const double *expected = directions[order[k]];
        double same = 0;
        for (size_t c = 0; c < 3; c++) same += components[k][c] * expected[c];
        assert_true(fabs(fabs(same) - 1) < 1e-6);
    }
    assert_true(fabs(kept - (25 + 9) / (25 + 9 + 1.0)) < 1e-6);

    float projected[6][2];
    assert_ok(mn_principal_project(&rows[0][0], 6, 3, &components[0][0], 2, &projected[0][0], test_error()));
    for (size_t r = 0; r < 6; r++) {
        assert_true(fabs(fabs((double)projected[r][0]) - (r % 3 == 1 ? 5 : 0)) < 1e-5);
        assert_true(fabs(fabs((double)projected[r][1]) - (r % 3 == 2 ? 3 : 0)) < 1e-5);
    }
}

/* The second difference matrix has eigenvalues 2 - 2 cos(k pi / (n + 1)) and sines as eigenvectors. Rows whose second
 * moment it is: its square root's. Here: the differences themselves, rows e_i - e_(i+1), and the two ends. */
static void components_of_the_difference_matrix_are_sines(void **state)
{
    (void)state;
    enum { N = 40 };
    float rows[N + 1][N] = {{0}};
    for (size_t i = 0; i <= N; i++) {
        if (i > 0) rows[i][i - 1] = 1;
        if (i < N) rows[i][i] = -1;
    }
    double components[N][N], kept;
    assert_ok(mn_principal_components(&rows[0][0], N + 1, N, N, &components[0][0], &kept, test_error()));
    assert_true(fabs(kept - 1) < 1e-12);
    double worst = 0;
    for (size_t k = 0; k < N; k++) {
        double same = 0, most = 0;
        for (size_t i = 0; i < N; i++) {
            same += components[k][i] * sqrt(2.0 / (N + 1)) * sin((double)((N - k) * (i + 1)) * M_PI / (N + 1));
            if (fabs(components[k][i]) > fabs(most)) most = components[k][i];
        }
        worst = fmax(worst, fabs(fabs(same) - 1));
        assert_true(most > 0);
    }
    printf("largest difference from the sines %.2g (tolerance 1e-9)\n", worst);
    assert_true(worst < 1e-9);
}

/* ---- the fit ---- */

/* Solve the normal equations of table_fit.h by elimination, in double precision. */
static void eliminate(size_t n, double *matrix, double *right)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t r = i + 1; r < n; r++) {
            double factor = matrix[r * n + i] / matrix[i * n + i];
            for (size_t c = i; c < n; c++) matrix[r * n + c] -= factor * matrix[i * n + c];
            right[r] -= factor * right[i];
        }
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t c = i + 1; c < n; c++) right[i] -= matrix[i * n + c] * right[c];
        right[i] /= matrix[i * n + i];
    }
}

static uint64_t random_state = 3;
static uint32_t random_number(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

enum { ROWS = 12, TEXTS = 30, WIDTH = 35 };

static void check_column(const mn_fit_texts *texts, const float *before, const float *after, double ridge,
                         size_t column, double *worst)
{
    double matrix[ROWS * ROWS] = {0}, right[ROWS] = {0};
    for (size_t t = 0; t < ROWS; t++) matrix[t * ROWS + t] = ridge;
    for (size_t i = 0; i < TEXTS; i++) {
        double share[ROWS] = {0}, gap = (double)texts->targets[i * WIDTH + column];
        size_t n = texts->offsets[i + 1] - texts->offsets[i];
        for (size_t k = texts->offsets[i]; k < texts->offsets[i + 1]; k++) share[texts->ids[k]] += 1.0 / (double)n;
        for (size_t t = 0; t < ROWS; t++) gap -= share[t] * (double)before[t * WIDTH + column];
        for (size_t t = 0; t < ROWS; t++) {
            right[t] += share[t] * gap;
            for (size_t u = 0; u < ROWS; u++) matrix[t * ROWS + u] += share[t] * share[u];
        }
    }
    eliminate(ROWS, matrix, right);
    for (size_t t = 0; t < ROWS; t++)
        *worst = fmax(*worst, fabs(right[t] + (double)before[t * WIDTH + column] - (double)after[t * WIDTH + column]));
}

static void fit_equals_the_solution_of_the_normal_equations(void **state)
{
    (void)state;
    uint32_t ids[TEXTS * 6], offsets[TEXTS + 1] = {0};
    float targets[TEXTS * WIDTH], before[ROWS * WIDTH], after[ROWS * WIDTH], again[ROWS * WIDTH];
    for (size_t i = 0; i < TEXTS; i++) {
        offsets[i + 1] = offsets[i] + (i == 4 ? 0 : 1 + random_number(6)); /* one is empty; token 11 comes nowhere */
        for (uint32_t k = offsets[i]; k < offsets[i + 1]; k++) ids[k] = random_number(ROWS - 1);
    }
    for (size_t i = 0; i < TEXTS * WIDTH; i++) targets[i] = (float)random_number(2000) / 1000.0f - 1;
    for (size_t i = 0; i < ROWS * WIDTH; i++) before[i] = (float)random_number(2000) / 1000.0f - 1;
    const mn_fit_texts texts = {.ids = ids, .offsets = offsets, .n = TEXTS, .targets = targets};
    double worst = 0;
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        mn_fit_options options = {.ridge = 0.05, .iterations = 60};
        assert_ok(mn_threads_new(threads, &options.threads, test_error()));
        float *table = threads == 1 ? after : again;
        memcpy(table, before, sizeof before);
        assert_ok(mn_table_fit(&texts, &options, table, ROWS, WIDTH, test_error()));
        mn_threads_free(options.threads);
    }
    assert_memory_equal(after, again, sizeof after);
    for (size_t c = 0; c < WIDTH; c++) check_column(&texts, before, after, 0.05, c, &worst);
    printf("largest difference from elimination %.2g (tolerance 1e-3)\n", worst);
    assert_true(worst < 1e-3);
    assert_memory_equal(before + 11 * WIDTH, after + 11 * WIDTH, WIDTH * sizeof(float));
}

/* ---- halves ---- */

static double half_value(uint16_t half)
{
    int exponent = (half & 0x7FFF) >> 10, mantissa = half & 0x3FF;
    double size = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return half & 0x8000 ? -size : size;
}

static void halves_round_to_the_nearest_ties_to_even(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x7C00; half++) {
        double here = half_value((uint16_t)half);
        assert_int_equal(mn_half_from_float((float)here), half);
        assert_int_equal(mn_half_from_float((float)-here), half | 0x8000u);
        if (half == 0x7BFF) continue;
        double next = half_value((uint16_t)(half + 1)), middle = (here + next) / 2;
        assert_int_equal(mn_half_from_float((float)middle), half & 1 ? half + 1 : half);
        assert_int_equal(mn_half_from_float(nextafterf((float)middle, 0)), half);
        assert_int_equal(mn_half_from_float(nextafterf((float)middle, 1e9f)), half + 1);
    }
    assert_int_equal(mn_half_from_float(65519.996f), 0x7BFF);
    assert_int_equal(mn_half_from_float(65520.0f), 0x7C00);
    assert_int_equal(mn_half_from_float(1e30f), 0x7C00);
    assert_int_equal(mn_half_from_float(-INFINITY), 0xFC00);
    assert_true((mn_half_from_float(NAN) & 0x7FFF) > 0x7C00);
    assert_int_equal(mn_half_from_float(1e-30f), 0);
}

/* ---- what is asked ---- */

static void made_up_texts_hold_every_token_once_a_round(void **state)
{
    (void)state;
    enum { N = 500, ROUNDS = 3 };
    mn_kept_tokens kept = {.ids = malloc(N * sizeof(uint32_t)), .n = N, .vocabulary = 2 * N};
    for (uint32_t i = 0; i < N; i++) kept.ids[i] = 2 * i;
    mn_distill_texts texts = {.cls = 1, .sep = 3, .unknown = 2 * 7}, again = texts;
    assert_ok(mn_distill_make_up(&texts, &kept, ROUNDS, test_error()));
    assert_ok(mn_distill_make_up(&again, &kept, ROUNDS, test_error()));
    assert_int_equal(texts.teacher.n, texts.table.n);
    assert_int_equal(texts.teacher.n_ids, again.teacher.n_ids);
    assert_memory_equal(texts.teacher.ids, again.teacher.ids, texts.teacher.n_ids * sizeof(uint32_t));
    size_t count[2 * N] = {0};
    for (size_t i = 0; i < texts.teacher.n; i++) {
        size_t from = texts.teacher.offsets[i], to = texts.teacher.offsets[i + 1], unknown = 0;
        assert_true(to - from >= 3 && to - from <= 18);
        assert_int_equal(texts.teacher.ids[from], 1);
        assert_int_equal(texts.teacher.ids[to - 1], 3);
        for (size_t k = from + 1; k + 1 < to; k++) {
            count[texts.teacher.ids[k]]++;
            unknown += texts.teacher.ids[k] == 2 * 7;
        }
        assert_int_equal(texts.table.offsets[i + 1] - texts.table.offsets[i], to - from - 2 - unknown);
    }
    size_t frequent = 0, rare = 0;
    for (uint32_t i = 0; i < N; i++) {
        assert_true(count[2 * i] >= ROUNDS);
        assert_int_equal(count[2 * i + 1], 0);
        *(i < 20 ? &frequent : &rare) += count[2 * i];
    }
    assert_true(frequent * 480 > 3 * rare * 20); /* Zipf */
    mn_distill_texts_free(&texts);
    mn_distill_texts_free(&again);
    free(kept.ids);
}

static void kept_tokens_are_all_but_unused_and_special_ones(void **state)
{
    (void)state;
    char path[1200];
    snprintf(path, sizeof path, "%s/vocab.txt", test_model_dir());
    FILE *file = fopen(path, "r");
    if (!file) {
        printf("skipped: no model\n");
        skip();
    }
    char *expected = calloc(40000, 1), line[300];
    uint32_t n = 0, n_expected = 0;
    for (; fgets(line, sizeof line, file); n++) {
        bool out = strncmp(line, "[unused", 7) == 0 || strcmp(line, "[CLS]\n") == 0 || strcmp(line, "[SEP]\n") == 0 ||
                   strcmp(line, "[MASK]\n") == 0;
        expected[n] = !out;
        n_expected += !out;
    }
    fclose(file);
    mn_kept_tokens kept = {.vocabulary = n};
    assert_ok(mn_kept_tokens_find(test_model_dir(), 100, &kept, test_error()));
    assert_int_equal(kept.n, n_expected);
    for (uint32_t i = 0; i < kept.n; i++) {
        assert_true(expected[kept.ids[i]]);
        assert_true(i == 0 || kept.ids[i] > kept.ids[i - 1]);
    }
    mn_free(kept.ids);
    free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(components_of_known_directions_are_found),
        cmocka_unit_test(components_of_the_difference_matrix_are_sines),
        cmocka_unit_test(fit_equals_the_solution_of_the_normal_equations),
        cmocka_unit_test(halves_round_to_the_nearest_ties_to_even),
        cmocka_unit_test(made_up_texts_hold_every_token_once_a_round),
        cmocka_unit_test(kept_tokens_are_all_but_unused_and_special_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
