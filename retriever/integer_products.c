/* integer_products.c -- which kernel, and the one in plain C. */
#include "retriever/integer_products.h"

#define KERNEL     mn_integer_products_generic
#define LOW_KERNEL mn_low_products_generic
#include "retriever/integer_products_simd.h"

mn_integer_products mn_integer_products_for(mn_cpu_level level)
{
    if (level >= MN_CPU_AVX512 && mn_cpu_has(MN_CPU_AVX512_VNNI)) return mn_integer_products_avx512vnni;
    if (level >= MN_CPU_AVX512) return mn_integer_products_avx512;
    return level >= MN_CPU_AVX2 ? mn_integer_products_avx2 : mn_integer_products_generic;
}

mn_low_products mn_low_products_for(mn_cpu_level level)
{
    if (level >= MN_CPU_AVX512 && mn_cpu_has(MN_CPU_AVX512_VNNI)) return mn_low_products_avx512vnni;
    if (level >= MN_CPU_AVX512) return mn_low_products_avx512;
    return level >= MN_CPU_AVX2 ? mn_low_products_avx2 : mn_low_products_generic;
}
