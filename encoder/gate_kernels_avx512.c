/* gate_kernels_avx512.c -- the kernels of gates for AVX-512; compiled with its flags, reached through
 * mn_gate_kernels_for only. */
#if defined(__AVX512F__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES      16
#define TABLE      mn_gate_kernels_avx512
#define TABLE_NAME "avx512"
#include "encoder/gate_kernels_simd.h"
#endif
