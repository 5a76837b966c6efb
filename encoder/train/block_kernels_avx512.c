/* block_kernels_avx512.c -- the kernels of Transformer blocks for AVX-512; compiled with its flags, reached through
 * mn_block_kernels_for only. */
#if defined(__AVX512F__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES      16
#define TILE_ROWS  12
#define TABLE      mn_block_kernels_avx512
#define TABLE_NAME "avx512"
#include "encoder/train/block_kernels_simd.h"
#endif
