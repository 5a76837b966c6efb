/* kernels_avx512.c -- the vector kernels for AVX-512; compiled with its flags, reached through mn_kernels_for only. */
#if defined(__AVX512F__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES      16
#define TABLE      mn_kernels_avx512
#define TABLE_NAME "avx512"
#include "encoder/kernels_simd.h"
#endif
