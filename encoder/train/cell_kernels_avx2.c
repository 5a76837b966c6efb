/* cell_kernels_avx2.c -- the cells for AVX2 and FMA; reached through mn_cell_kernels_for only. */
#if defined(__AVX2__)
#define LANES      8
#define TABLE      mn_cell_kernels_avx2
#define TABLE_NAME "avx2"
#include "encoder/train/cell_kernels_simd.h"
#endif
