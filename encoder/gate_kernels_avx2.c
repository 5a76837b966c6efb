/* gate_kernels_avx2.c -- the kernels of gates for AVX2 and FMA; compiled with their flags, reached through
 * mn_gate_kernels_for only. */
#if defined(__AVX2__)
#define LANES      8
#define TABLE      mn_gate_kernels_avx2
#define TABLE_NAME "avx2"
#include "encoder/gate_kernels_simd.h"
#endif
