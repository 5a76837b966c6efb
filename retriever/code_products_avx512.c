/* code_products_avx512.c -- the loops for processors with these instructions. */
#include "retriever/code_products.h"

#define BYTES_KERNEL mn_code_bytes_avx512
#define LANES        16
#define BF16_KERNEL  mn_code_bf16_avx512
#define F32_KERNEL   mn_code_f32_avx512
#include "retriever/code_products_simd.h"
