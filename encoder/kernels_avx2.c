/* kernels_avx2.c -- the vector kernels for AVX2 and FMA; compiled with their flags, reached through mn_kernels_for only. */
#if defined(__AVX2__)
#define LANES 8
#define TABLE mn_kernels_avx2
#define TABLE_NAME "avx2"
#include "encoder/kernels_simd.h"
#endif
