/* Lists with product quantization, as the adapter makes and searches them, against plain loops. */
#include "retriever/faiss_adapter.h"

#include "common/blas.h"
#include "test_support.h"

#include <math.h>

enum { D = 32, SAMPLE = 10200, OUTLIERS = 256, CENTRES = 120, CODE_BYTES = 8, K = 25 };

typedef struct lists {
    float (*vectors)[D];
    mn_faiss *index;
} lists;

static double draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(*seed >> 11) / 9007199254740992.0 - 0.5;
}

static void draw_unit(uint64_t *seed, float *out)
{
    double squares = 0;
    for (size_t i = 0; i < D; i++) out[i] = (float)draw(seed);
    for (size_t i = 0; i < D; i++) squares += (double)out[i] * (double)out[i];
    for (size_t i = 0; i < D; i++) out[i] = (float)((double)out[i] / sqrt(squares));
}

/* Vectors with no negative number, and eight along each axis: where k-means begins at one of these, its centre has no
 * others. */
static lists make_lists(void)
{
    uint64_t seed = 3;
    mn_faiss_centres *centres = NULL;
    lists l = {.vectors = calloc(SAMPLE, sizeof *l.vectors)};
    for (size_t i = 0; i < SAMPLE; i++) {
        draw_unit(&seed, l.vectors[i]);
        for (size_t j = 0; j < D; j++) l.vectors[i][j] = fabsf(l.vectors[i][j]);
        for (size_t j = 0; j < D && i < OUTLIERS; j++) l.vectors[i][j] = j == i % D;
    }
    mn_faiss_set_threads(1);
    assert_ok(mn_blas_load(test_error()));
    assert_ok(mn_faiss_centres_new(D, CENTRES, &centres, test_error()));
    for (int pass = 0; pass < 5; pass++) assert_ok(mn_faiss_centres_pass(centres, l.vectors[0], SAMPLE, test_error()));
    assert_ok(mn_faiss_new_lists(centres, l.vectors[0], SAMPLE, CODE_BYTES, &l.index, test_error()));
    mn_faiss_centres_free(centres);
    assert_ok(mn_faiss_add(l.index, l.vectors[0], SAMPLE, test_error()));
    return l;
}

static void free_lists(lists *l)
{
    mn_faiss_free(l->index);
    free(l->vectors);
}

static void no_list_is_around_fewer_than_sixteen_of_the_sample(void **state)
{
    (void)state;
    lists l = make_lists();
    size_t n = mn_faiss_n_lists(l.index), n_places = 0;
    assert_in_range(n, CENTRES / 2, CENTRES - 1); /* some were too small */
    for (size_t i = 0; i < n; i++) {
        assert_true(mn_faiss_list_size(l.index, i) >= MN_FAISS_LEAST_OF_LIST);
        n_places += mn_faiss_list_size(l.index, i);
    }
    assert_int_equal(n_places, SAMPLE);
    assert_int_equal(mn_faiss_count(l.index), SAMPLE);
    free_lists(&l);
}

/* The vector that each one's codes stand for, and its list. */
static void decode_all(const lists *l, float (*decoded)[D], size_t *list_of)
{
    unsigned char encoded[CODE_BYTES + 4];
    size_t list_bytes = mn_faiss_encoded_bytes(l->index) - CODE_BYTES;
    assert_in_range(list_bytes, 1, 4);
    for (size_t i = 0; i < SAMPLE; i++) {
        assert_ok(mn_faiss_encode(l->index, l->vectors[i], encoded, test_error()));
        assert_ok(mn_faiss_decode(l->index, encoded, decoded[i], test_error()));
        list_of[i] = 0;
        for (size_t j = 0; j < list_bytes; j++) list_of[i] |= (size_t)encoded[j] << 8 * j;
        assert_true(list_of[i] < mn_faiss_n_lists(l->index));
    }
}

static double product(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < D; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static void codes_are_near_to_their_vectors(void **state)
{
    (void)state;
    lists l = make_lists();
    float(*decoded)[D] = calloc(SAMPLE, sizeof *decoded);
    size_t *list_of = calloc(SAMPLE, sizeof *list_of);
    double squares = 0;
    decode_all(&l, decoded, list_of);
    for (size_t i = OUTLIERS; i < SAMPLE; i++)
        squares += product(l.vectors[i], l.vectors[i]) - 2 * product(l.vectors[i], decoded[i]) +
                   product(decoded[i], decoded[i]);
    /* of two random ones of these, 0.5: the mean of |x| is sqrt(3)/2 of its root mean square */
    assert_true(squares / (SAMPLE - OUTLIERS) < 0.1);
    free(list_of);
    free(decoded);
    free_lists(&l);
}

/* Through all lists, with and without a filter: what the codes stand for, compared one by one. */
static void all_lists_give_the_best_of_the_allowed(void **state)
{
    (void)state;
    lists l = make_lists();
    float(*decoded)[D] = calloc(SAMPLE, sizeof *decoded), question[D], distances[K];
    size_t *list_of = calloc(SAMPLE, sizeof *list_of);
    unsigned char allowed[SAMPLE / 8 + 1] = {0};
    uint64_t seed = 17;
    decode_all(&l, decoded, list_of);
    for (size_t i = 0; i < SAMPLE; i += 3) allowed[i / 8] = (unsigned char)(allowed[i / 8] | 1u << i % 8);
    for (int q = 0; q < 20; q++) {
        int64_t positions[K];
        bool filters = q % 2;
        draw_unit(&seed, question);
        const mn_faiss_probe probe = {question, K, (uint32_t)mn_faiss_n_lists(l.index), filters ? allowed : NULL};
        assert_ok(mn_faiss_search_lists(l.index, &probe, distances, positions, test_error()));
        for (size_t i = 0; i < K; i++) {
            assert_true(positions[i] >= 0 && positions[i] < SAMPLE);
            assert_true(!filters || positions[i] % 3 == 0);
            double score = product(question, decoded[positions[i]]);
            assert_true(fabs(score - (double)distances[i]) < 1e-4);
            size_t n_better = 0;
            for (size_t j = 0; j < SAMPLE; j++)
                n_better += (!filters || j % 3 == 0) && product(question, decoded[j]) > score + 1e-5;
            assert_true(n_better <= i);
        }
    }
    free(list_of);
    free(decoded);
    free_lists(&l);
}

static void one_list_gives_no_more_than_it_holds(void **state)
{
    (void)state;
    enum { MANY = 4000 };
    lists l = make_lists();
    float(*decoded)[D] = calloc(SAMPLE, sizeof *decoded), *distances = calloc(MANY, sizeof *distances);
    size_t *list_of = calloc(SAMPLE, sizeof *list_of), n = 0;
    int64_t *positions = calloc(MANY, sizeof *positions);
    decode_all(&l, decoded, list_of);
    const mn_faiss_probe probe = {l.vectors[100], MANY, 1, NULL};
    assert_ok(mn_faiss_search_lists(l.index, &probe, distances, positions, test_error()));
    while (n < MANY && positions[n] >= 0) {
        assert_int_equal(list_of[positions[n]], list_of[100]);
        n++;
    }
    assert_int_equal(n, mn_faiss_list_size(l.index, list_of[100]));
    for (size_t i = n; i < MANY; i++) assert_int_equal(positions[i], -1);
    free(positions);
    free(list_of);
    free(distances);
    free(decoded);
    free_lists(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_list_is_around_fewer_than_sixteen_of_the_sample),
        cmocka_unit_test(codes_are_near_to_their_vectors),
        cmocka_unit_test(all_lists_give_the_best_of_the_allowed),
        cmocka_unit_test(one_list_gives_no_more_than_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
