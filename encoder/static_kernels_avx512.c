/* static_kernels_avx512.c -- the sum of table rows for AVX-512; compiled with its flags, reached through
 * mn_static_sum_for only. */
#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES                 16
#define WIDEN_HALVES(p)       _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define MULTIPLY_ADD(a, b, c) _mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c))
#define SUM                   mn_static_sum_avx512
#include "encoder/static_kernels_simd.h"
#endif
