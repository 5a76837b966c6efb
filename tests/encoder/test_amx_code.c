/* test_amx_code.c -- the compiled code of product_amx.c, on processors without AMX through a signal handler, against
 * plain loops. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* the registers' names in ucontext.h */
#endif
#include "test_support.h"

#include "encoder/product.h"

#include <math.h>

#if defined(__x86_64__)
#include "encoder/amx_trap.h"

enum { ROWS = 32, GROUPS = 176, STRIDE = GROUPS + 16 };

typedef struct operands {
    uint32_t rows[ROWS][STRIDE], weights[GROUPS][MN_PANEL_MAX];
} operands;

static operands g_operands __attribute__((aligned(64)));
static bool g_native;

static uint32_t random_bits(void)
{
    static uint32_t seed = 1;
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8 & 0xFFFF;
}

/* Any two bfloat16 from 1/2 to 2, or four bytes. */
static uint32_t random_group(mn_element element)
{
    if (element == MN_ELEMENT_U8) return random_bits() << 16 | random_bits();
    return ((random_bits() & 0x80FF) | 0x3F00) << 16 | ((random_bits() & 0x80FF) | 0x3F00);
}

static float bf16_at(uint32_t group, unsigned shift)
{
    uint32_t bits = (group >> shift) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double exact_sum(mn_element element, size_t r, size_t c)
{
    double sum = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        uint32_t a = g_operands.rows[r][g], b = g_operands.weights[g][c];
        for (unsigned shift = 0; element == MN_ELEMENT_U8 && shift < 32; shift += 8)
            sum += (a >> shift & 0xFF) * (double)(int8_t)(b >> shift & 0xFF);
        for (unsigned shift = 0; element == MN_ELEMENT_BF16 && shift < 32; shift += 16)
            sum += (double)bf16_at(a, shift) * (double)bf16_at(b, shift);
    }
    return sum;
}

static void expect_sums(const mn_product_kernel *kernel, uint32_t n_rows, const void *tile)
{
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < kernel->panel; c++) {
            size_t at = r * kernel->panel + c;
            double exact = exact_sum(kernel->element, r, c), sum = 0;
            sum = kernel->element == MN_ELEMENT_U8 ? ((const int32_t *)tile)[at] : (double)((const float *)tile)[at];
            /* bfloat16: sums of up to 1,408 are rounded 352 times to a 2^24th */
            double allowed = kernel->element == MN_ELEMENT_U8 ? 0 : 0.02;
            if (!(fabs(sum - exact) <= allowed))
                fail_msg("%u rows, row %zu, column %zu: %.9g, not %.9g", n_rows, r, c, sum, exact);
        }
}

static void sums_equal_plain_loops(const mn_product_kernel *kernel)
{
    if (!g_native) amx_trap_install(); /* here: cmocka has handlers of its own around each test */
    for (size_t i = 0; i < ROWS * STRIDE; i++) g_operands.rows[i / STRIDE][i % STRIDE] = random_group(kernel->element);
    for (size_t i = 0; i < GROUPS * MN_PANEL_MAX; i++)
        g_operands.weights[i / MN_PANEL_MAX][i % MN_PANEL_MAX] = random_group(kernel->element);
    assert_int_equal(kernel->panel, MN_PANEL_MAX);
    static uint32_t tile[MN_TILE_ROWS_MAX * MN_PANEL_MAX] __attribute__((aligned(64)));
    const uint32_t heights[] = {1, 16, 17, 32};
    for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++) {
        memset(tile, 0xEE, sizeof tile);
        kernel->begin();
        kernel->multiply(g_operands.rows[0], STRIDE, heights[h], g_operands.weights[0], GROUPS, tile);
        kernel->end();
        expect_sums(kernel, heights[h], tile);
        memset(tile, 0xEE, sizeof tile);
        kernel->begin();
        for (uint32_t g = 0, n; g < GROUPS; g += n) {
            n = GROUPS - g < kernel->part_groups ? GROUPS - g : kernel->part_groups;
            kernel->multiply_part(g_operands.rows[0] + g, STRIDE, heights[h], g_operands.weights[g], n, g == 0, tile);
        }
        kernel->end();
        expect_sums(kernel, heights[h], tile);
    }
}

static void bf16_code_equals_plain_loops(void **state)
{
    (void)state;
    sums_equal_plain_loops(&mn_product_amx_bf16);
}

static void u8_code_equals_plain_loops(void **state)
{
    (void)state;
    sums_equal_plain_loops(&mn_product_amx_u8);
}

static void it_was_the_tile_instructions(void **state)
{
    (void)state;
    if (g_native) return;
    /* Twice, for 11 steps: 2 heights of 2 tiles of sums and 2 of 4. */
    assert_int_equal(g_amx.n_dots, 2 * 2 * 11 * (2 * 2 + 2 * 4));
    assert_int_equal(g_amx.n_streamed, 2 * 11 * (2 * 1 + 2 * 2));
    assert_false(g_amx.configured);
}

int main(void)
{
    g_native = mn_cpu_detect() == MN_CPU_AMX;
    /* A processor that has tiles and a system that refuses them would execute half of the instructions. */
    if (!g_native && __builtin_cpu_supports("amx-tile")) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_code_equals_plain_loops),
        cmocka_unit_test(u8_code_equals_plain_loops),
        cmocka_unit_test(it_was_the_tile_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    return 77; /* there are no such instructions */
}
#endif
