/* kernels_avx512bf16.c -- the vector kernels for AVX-512 with its conversion to bfloat16; reached through
 * mn_kernels_for only. */
#if defined(__AVX512BF16__) /* emulated, it would be kernels_avx512.c */
#define LANES      16
#define TABLE      mn_kernels_avx512bf16
#define TABLE_NAME "avx512-bf16"
#include "encoder/kernels_simd.h"
#endif
