/* train_kinds.h -- every arithmetic that training can run on: plain C, this processor's instructions, and those that it
 * may lack in plain C (emulated.h). */
#ifndef MN_TESTS_TRAIN_KINDS_H
#define MN_TESTS_TRAIN_KINDS_H

#include "encoder/emulated.h"
#include "encoder/train/shard.h"

#include <stdlib.h>

const mn_train_kernels *emulated_train_kernels_avx512(void);
const mn_cell_kernels *emulated_cell_kernels_avx512(void);

enum { KINDS_MAX = 16 };
static mn_train_arithmetic g_kinds[KINDS_MAX];
static size_t g_n_kinds;
static mn_threads *g_threads;

static void add_emulated(bool bf16, const mn_product_kernel *product)
{
    g_kinds[g_n_kinds++] = (mn_train_arithmetic){.name = bf16 ? "bf16" : "f32",
                                                 .product = product,
                                                 .format = {.element = product->element},
                                                 .kernels = emulated_kernels_avx512(),
                                                 .train_kernels = emulated_train_kernels_avx512(),
                                                 .cell_kernels = emulated_cell_kernels_avx512()};
}

static int fill_kinds(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        g_kinds[g_n_kinds++] = mn_train_arithmetic_for(bf16, MN_CPU_GENERIC, true);
        for (mn_cpu_level level = MN_CPU_AVX2; level <= mn_cpu_detect(); level++)
            g_kinds[g_n_kinds++] = mn_train_arithmetic_for(bf16, level, false);
    }
    add_emulated(false, &emulated_avx512_f32);
    add_emulated(true, &emulated_avx512bf16_bf16);
    add_emulated(true, &emulated_amx_bf16);
    return mn_threads_new(2, &g_threads, NULL) == MNEME_OK ? 0 : -1;
}

static int free_kinds(void **state)
{
    (void)state;
    mn_threads_free(g_threads);
    return 0;
}

static bool is_bf16(const mn_train_arithmetic *kind)
{
    return strcmp(kind->name, "bf16") == 0;
}

/* Numbers in -scale..scale, with 64 bytes to spare behind them. */
static float *random_array(size_t n, uint64_t seed, float scale)
{
    mn_random random = {seed};
    float *values = malloc(n * sizeof *values + 64);
    for (size_t i = 0; i < n; i++) values[i] = scale * (2 * mn_random_unit(&random) - 1);
    return values;
}

#endif
