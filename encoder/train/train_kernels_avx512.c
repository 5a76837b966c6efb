/* train_kernels_avx512.c -- the kernels of training for AVX-512; reached through mn_train_kernels_for only. */
#if defined(__AVX512F__) || defined(MN_EMULATE_INSTRUCTIONS)
#define LANES      16
#define TABLE      mn_train_kernels_avx512
#define TABLE_NAME "avx512"
#include "encoder/train/train_kernels_simd.h"
#endif
