/* static_kernels_avx2.c -- the sum of table rows for AVX2, FMA and F16C; compiled with their flags, reached through
 * mn_static_sum_for only. */
#if defined(__AVX2__)
#include <immintrin.h>
#define LANES                 8
#define WIDEN_HALVES(p)       _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define MULTIPLY_ADD(a, b, c) _mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c))
#define SUM                   mn_static_sum_avx2
#include "encoder/static_kernels_simd.h"
#endif
