/* product.c -- the plain C products, and the choice among the kernels. */
#include "encoder/product.h"

#include <string.h>

enum { PANEL = 16, TILE_ROWS = 16 };

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* One group of a row times one group of weights, floats. */
static double dot_floats(mn_element element, uint32_t a, uint32_t b)
{
    if (element == MN_ELEMENT_F32) return (double)float_of(a) * (double)float_of(b);
    return (double)float_of(a << 16) * (double)float_of(b << 16) +
           (double)float_of(a & 0xFFFF0000u) * (double)float_of(b & 0xFFFF0000u);
}

/* The same for integers. */
static int32_t dot_integers(mn_element element, uint32_t a, uint32_t b)
{
    if (element == MN_ELEMENT_I16)
        return (int16_t)(a & 0xFFFF) * (int16_t)(b & 0xFFFF) + (int16_t)(a >> 16) * (int16_t)(b >> 16);
    int32_t sum = 0;
    for (unsigned shift = 0; shift < 32; shift += 8) sum += (int32_t)(a >> shift & 0xFF) * (int8_t)(b >> shift & 0xFF);
    return sum;
}

static inline void multiply(mn_element element, const uint32_t *rows, size_t row_stride, uint32_t n_rows,
                            const uint32_t *weights, uint32_t n_groups, void *tile)
{
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < PANEL; c++) {
            double real = 0;
            int32_t whole = 0;
            for (size_t g = 0; g < n_groups; g++) {
                uint32_t a = rows[r * row_stride + g], b = weights[g * PANEL + c];
                if (mn_is_integer(element))
                    whole += dot_integers(element, a, b);
                else
                    real += dot_floats(element, a, b);
            }
            if (mn_is_integer(element))
                ((int32_t *)tile)[r * PANEL + c] = whole;
            else
                ((float *)tile)[r * PANEL + c] = (float)real;
        }
    }
}

#define DEFINE(suffix, which)                                                                                          \
    static void multiply_##suffix(const uint32_t *rows, size_t row_stride, uint32_t n_rows, const uint32_t *weights,   \
                                  uint32_t n_groups, void *tile)                                                       \
    {                                                                                                                  \
        multiply(which, rows, row_stride, n_rows, weights, n_groups, tile);                                            \
    }                                                                                                                  \
    static const mn_product_kernel reference_##suffix = {.name = "reference",                                          \
                                                         .element = which,                                             \
                                                         .panel = PANEL,                                               \
                                                         .tile_rows = TILE_ROWS,                                       \
                                                         .group_multiple = 1,                                          \
                                                         .block_rows = TILE_ROWS,                                      \
                                                         .multiply = multiply_##suffix};

DEFINE(f32, MN_ELEMENT_F32)
DEFINE(bf16, MN_ELEMENT_BF16)
DEFINE(i16, MN_ELEMENT_I16)
DEFINE(u8, MN_ELEMENT_U8)

const mn_product_kernel *mn_product_kernel_reference(mn_element element)
{
    static const mn_product_kernel *const kernels[] = {&reference_f32, &reference_bf16, &reference_i16, &reference_u8};
    return kernels[element];
}

#if defined(__x86_64__)
const mn_product_kernel *mn_product_kernel_for(mn_element element, mn_cpu_level level)
{
    mn_cpu_level available = mn_cpu_detect();
    if (level > available) level = available;
    if (level < MN_CPU_AVX2) return NULL;
    bool avx512 = level >= MN_CPU_AVX512, vnni = avx512 && mn_cpu_has(MN_CPU_AVX512_VNNI);
    switch (element) {
    case MN_ELEMENT_F32: return avx512 ? &mn_product_avx512_f32 : &mn_product_avx2_f32;
    case MN_ELEMENT_I16:
        return vnni ? &mn_product_avx512vnni_i16 : avx512 ? &mn_product_avx512_i16 : &mn_product_avx2_i16;
    case MN_ELEMENT_BF16:
        if (level >= MN_CPU_AMX) return &mn_product_amx_bf16;
        return avx512 && mn_cpu_has(MN_CPU_AVX512_BF16) ? &mn_product_avx512bf16_bf16 : NULL;
    case MN_ELEMENT_U8:
        if (level >= MN_CPU_AMX) return &mn_product_amx_u8;
        return vnni ? &mn_product_avx512vnni_u8 : NULL;
    }
    return NULL;
}
#else
const mn_product_kernel *mn_product_kernel_for(mn_element element, mn_cpu_level level)
{
    (void)element;
    (void)level;
    return NULL;
}
#endif
