/* cell_kernels_avx512.c -- the cells for AVX-512; reached through mn_cell_kernels_for only. */
#if defined(__AVX512F__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES      16
#define TABLE      mn_cell_kernels_avx512
#define TABLE_NAME "avx512"
#include "encoder/train/cell_kernels_simd.h"
#endif
