/* test_vector_codes.c -- embeddings in fewer bits: how far off they may be, that coding again changes nothing, and the
 * layout of a value. */
#include "test_support.h"

#include "memstore/vector_codes.h"

#include <math.h>

enum { D = 385, ROWS = 3 }; /* an odd dimension: the last low code has a byte of its own */

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Unit length, numbers of many sizes. */
static void random_vector(uint32_t *seed, float *out)
{
    double squares = 0;
    for (int i = 0; i < D; i++) {
        double number = (double)next_random(seed) / (1 << 23) - 1;
        out[i] = (float)(number * number * number);
        squares += (double)out[i] * (double)out[i];
    }
    for (int i = 0; i < D; i++) out[i] = (float)((double)out[i] / sqrt(squares));
}

static void coded_vector_is_near_and_of_unit_length(void **state)
{
    (void)state;
    /* Half a step of the code, as a share of the largest number (bf16: of the number itself); and the scale's part. */
    static const double steps[MN_VECTOR_TYPES] = {0, 1.0 / 256, 0.5 / 2039, 0.5 / 127};
    uint32_t seed = 1;
    for (uint32_t type = 0; type < MN_VECTOR_TYPES; type++) {
        for (int trial = 0; trial < 50; trial++) {
            float vector[D], back[D];
            static _Alignas(4) unsigned char value[D * 4 + 8];
            double largest = 0, squares = 0;
            random_vector(&seed, vector);
            mn_vector_encode((mn_vector_type)type, D, vector, value, 1, 0);
            mn_vector_block block = mn_vector_block_of((mn_vector_type)type, D, 1, value);
            mn_vector_decode((mn_vector_type)type, D, &block, 0, back);
            for (int i = 0; i < D; i++) largest = fmax(largest, fabs((double)vector[i]));
            for (int i = 0; i < D; i++) {
                assert_true(fabs((double)back[i] - (double)vector[i]) <= steps[type] * largest * 1.2);
                squares += (double)back[i] * (double)back[i];
            }
            assert_true(fabs(squares - 1) < (type == MN_VECTORS_BF16 ? 4e-3 : 1e-6));
        }
    }
}

static void coding_what_was_read_back_gives_the_same_bytes(void **state)
{
    (void)state;
    uint32_t seed = 2;
    for (uint32_t type = 0; type < MN_VECTOR_TYPES; type++) {
        for (int trial = 0; trial < 200; trial++) {
            float vector[D], back[D];
            static _Alignas(4) unsigned char once[D * 4 + 8], again[D * 4 + 8];
            random_vector(&seed, vector);
            mn_vector_encode((mn_vector_type)type, D, vector, once, 1, 0);
            mn_vector_block block = mn_vector_block_of((mn_vector_type)type, D, 1, once);
            mn_vector_decode((mn_vector_type)type, D, &block, 0, back);
            mn_vector_encode((mn_vector_type)type, D, back, again, 1, 0);
            assert_memory_equal(once, again, mn_vector_row_bytes((mn_vector_type)type, D));
        }
    }
}

static void value_lies_as_documented(void **state)
{
    (void)state;
    /* Largest 1: codes 2039, -1019.5 -> -1020 (lrint rounds the half to even), 510 (509.75), 0. */
    const float vector[4] = {1, -0.5f, 0.25f, 0};
    _Alignas(4) unsigned char value[2 * (4 + 4 + 2)];
    mn_vector_encode(MN_VECTORS_INT12, 4, NULL, value, 2, 0);
    mn_vector_encode(MN_VECTORS_INT12, 4, vector, value, 2, 1);
    float scale;
    memcpy(&scale, value + 4, 4);
    assert_true(fabs((double)scale - 1 / sqrt(2039.0 * 2039 + 1020.0 * 1020 + 510.0 * 510)) < 1e-9);
    const signed char *high = (const signed char *)value + 8 + 4;
    assert_int_equal(high[0], 127); /* 2039 = 16 * 127 + 7 */
    assert_int_equal(high[1], -64); /* -1020 = 16 * -64 + 4 */
    assert_int_equal(high[2], 32);  /* 510 = 16 * 32 - 2 */
    assert_int_equal(high[3], 0);
    const unsigned char *low = value + 8 + 8 + 2;
    assert_int_equal(low[0], (4 + 8) << 4 | (7 + 8));
    assert_int_equal(low[1], 8 << 4 | (-2 + 8));
    for (int i = 0; i < 4; i++) assert_int_equal(value[i] | value[8 + i] | value[16 + i / 2], 0); /* the dead row */
}

static void copied_rows_are_the_same_vectors(void **state)
{
    (void)state;
    uint32_t seed = 4;
    for (uint32_t t = 0; t < MN_VECTOR_TYPES; t++) {
        mn_vector_type type = (mn_vector_type)t;
        static _Alignas(4) unsigned char small[ROWS * (D * 4 + 8)], large[3 * ROWS * (D * 4 + 8)];
        memset(large, 0, sizeof large);
        for (uint32_t r = 0; r < ROWS; r++) {
            float vector[D];
            random_vector(&seed, vector);
            mn_vector_encode(type, D, vector, small, ROWS, r);
        }
        mn_vector_copy_rows(type, D, small, ROWS, large, 3 * ROWS, 2);
        mn_vector_block from = mn_vector_block_of(type, D, ROWS, small), to = mn_vector_block_of(type, D, 3 * ROWS, large);
        for (uint32_t r = 0; r < 3 * ROWS; r++) {
            float expected[D] = {0}, got[D];
            if (r >= 2 && r < 2 + ROWS) mn_vector_decode(type, D, &from, r - 2, expected);
            mn_vector_decode(type, D, &to, r, got);
            for (int i = 0; i < D; i++) assert_true(got[i] == expected[i]);
        }
    }
}

static void type_names_are_read_back(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < MN_VECTOR_TYPES; type++) {
        mn_vector_type back = MN_VECTORS_F32;
        assert_true(mn_vector_type_parse(mn_vector_type_name(type), &back));
        assert_int_equal(back, type);
    }
    mn_vector_type back;
    assert_false(mn_vector_type_parse("int16", &back));
    assert_null(mn_vector_type_name(MN_VECTOR_TYPES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coded_vector_is_near_and_of_unit_length),
        cmocka_unit_test(coding_what_was_read_back_gives_the_same_bytes),
        cmocka_unit_test(value_lies_as_documented),
        cmocka_unit_test(copied_rows_are_the_same_vectors),
        cmocka_unit_test(type_names_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
