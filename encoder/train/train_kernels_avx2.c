/* train_kernels_avx2.c -- the kernels of training for AVX2; reached through mn_train_kernels_for only. */
#if defined(__AVX2__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES      8
#define TABLE      mn_train_kernels_avx2
#define TABLE_NAME "avx2"
#include "encoder/train/train_kernels_simd.h"
#endif
