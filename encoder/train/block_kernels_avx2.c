/* block_kernels_avx2.c -- the kernels of Transformer blocks for AVX2 and FMA; compiled with their flags, reached
 * through mn_block_kernels_for only. */
#if defined(__AVX2__)
#define LANES      8
#define TILE_ROWS  6
#define TABLE      mn_block_kernels_avx2
#define TABLE_NAME "avx2"
#include "encoder/train/block_kernels_simd.h"
#endif
