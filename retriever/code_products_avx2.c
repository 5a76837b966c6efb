/* code_products_avx2.c -- the loops for processors with these instructions. */
#include "retriever/code_products.h"

#define BYTES_KERNEL mn_code_bytes_avx2
#define LANES        8
#define BF16_KERNEL  mn_code_bf16_avx2
#define F32_KERNEL   mn_code_f32_avx2
#include "retriever/code_products_simd.h"
