/* test_vector_type.c -- numbers of embed's rows against values written down by hand from IEEE 754 and NumPy's rules,
 * and the .npy header. */
#include "test_support.h"

#include "cli/npy.h"
#include "cli/vector_type.h"

#include <math.h>

/* IEEE 754 binary16; the last two halves of each line are ties. */
static void half_of_known_values_is_right(void **state)
{
    (void)state;
    static const struct {
        float value;
        uint16_t half;
    } known[] = {
        {0.0f, 0x0000},           {-0.0f, 0x8000},          {1.0f, 0x3C00},          {-2.0f, 0xC000},
        {65504.0f, 0x7BFF},       {65519.0f, 0x7BFF},       {65520.0f, 0x7C00},      {INFINITY, 0x7C00},
        {0x1p-14f, 0x0400},       {0x1p-24f, 0x0001},       {0x1p-25f, 0x0000},      {0x1.8p-24f, 0x0002},
        {0x1.8p-25f, 0x0001},     {0x1.ff8p-15f, 0x03FF},   {0x1.fff8p-15f, 0x0400}, {0.333251953125f, 0x3555},
        {1.00048828125f, 0x3C00}, {1.00146484375f, 0x3C02}, {-1.00048840f, 0xBC01},  {0.1f, 0x2E66},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (cli_half_from_float(known[i].value) != known[i].half)
            fail_msg("%a became %04x, not %04x", (double)known[i].value, cli_half_from_float(known[i].value),
                     known[i].half);
    }
    assert_int_equal(cli_half_from_float(NAN) & 0x7C00, 0x7C00);
    assert_true((cli_half_from_float(NAN) & 0x3FF) != 0);
}

static void half_of_every_half_comes_back(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x10000; half++) {
        if ((half & 0x7C00) == 0x7C00 && (half & 0x3FF)) continue; /* not a number */
        assert_int_equal(cli_half_from_float(cli_half_to_float((uint16_t)half)), half);
    }
    assert_true(cli_half_to_float(0x3555) == 0.333251953125f);
    assert_true(cli_half_to_float(0x0001) == 0x1p-24f);
}

/* numpy.packbits([1,0,0,1,1,0,1,0, 1,0,1]) = [0x9A, 0xA0] */
static void bits_are_packed_as_numpy_packs_them(void **state)
{
    (void)state;
    const float vector[11] = {0.5f, -0.5f, 0.0f, 0.1f, 0.2f, -0.0f, 1e-30f, -1, 2, -2, 3};
    uint8_t row[2];
    int8_t signed_row[2];
    assert_int_equal(cli_vector_columns(CLI_VECTOR_UBINARY, 11), 2);
    assert_int_equal(cli_vector_bytes(CLI_VECTOR_BINARY, 384), 48);
    cli_vector_convert(CLI_VECTOR_UBINARY, vector, 11, row);
    assert_int_equal(row[0], 0x9A);
    assert_int_equal(row[1], 0xA0);
    cli_vector_convert(CLI_VECTOR_BINARY, vector, 11, signed_row);
    assert_int_equal(signed_row[0], 0x9A - 128);
    assert_int_equal(signed_row[1], 0xA0 - 128);
    assert_true(cli_vector_number(CLI_VECTOR_BINARY, signed_row, 1) == 0xA0 - 128);
    assert_true(cli_vector_number(CLI_VECTOR_UBINARY, row, 1) == 0xA0);
}

static void int8_has_one_scale_and_stays_in_range(void **state)
{
    (void)state;
    enum { N = 400 }; /* sqrt(400) = 20: c = 5 / 20 */
    float vector[N] = {0.25f, -0.25f, 0.3f, -1.0f, 0.125f, 0.0f, 0.001f, -0.001f};
    int8_t row[N];
    cli_vector_convert(CLI_VECTOR_INT8, vector, N, row);
    const int expected[8] = {127, -127, 127, -127, 64, 0, 1, -1}; /* 63.5: to even; 0.508: 1 */
    for (size_t i = 0; i < 8; i++) assert_int_equal(row[i], expected[i]);
    const float few[4] = {1, -1, 0.5f, 0}; /* up to 25 numbers, c is 1 */
    cli_vector_convert(CLI_VECTOR_INT8, few, 4, row);
    assert_int_equal(row[0], 127);
    assert_int_equal(row[1], -127);
    assert_int_equal(row[2], 64);
    assert_int_equal(row[3], 0);
    assert_true(cli_vector_number(CLI_VECTOR_INT8, row, 1) == -127);
}

/* numpy.lib.format, version 1.0: magic, version, length of the rest, a dict ending in a line break, at a multiple
 * of 64. */
static void npy_header_is_what_numpy_reads(void **state)
{
    (void)state;
    char header[CLI_NPY_HEADER];
    for (cli_vector_type type = CLI_VECTOR_F32; type < CLI_VECTOR_TYPES; type++) {
        static const char *const dtypes[] = {"<f4", "<f2", "|i1", "|i1", "|u1"};
        char expected[200];
        cli_npy_header(cli_vector_dtype(type), 18446744073709551615ull, cli_vector_columns(type, 4294967295u), header);
        assert_memory_equal(header, "\x93NUMPY\x01\x00\x76\x00", 10);
        snprintf(expected, sizeof expected,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (18446744073709551615, %u), }", dtypes[type],
                 cli_vector_columns(type, 4294967295u));
        assert_memory_equal(header + 10, expected, strlen(expected));
        for (size_t i = 10 + strlen(expected); i < sizeof header - 1; i++) assert_int_equal(header[i], ' ');
        assert_int_equal(header[sizeof header - 1], '\n');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_of_known_values_is_right),       cmocka_unit_test(half_of_every_half_comes_back),
        cmocka_unit_test(bits_are_packed_as_numpy_packs_them), cmocka_unit_test(int8_has_one_scale_and_stays_in_range),
        cmocka_unit_test(npy_header_is_what_numpy_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
