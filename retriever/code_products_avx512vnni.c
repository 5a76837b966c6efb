/* code_products_avx512vnni.c -- the loops for processors with these instructions. */
#include "retriever/code_products.h"

#define BYTES_KERNEL mn_code_bytes_avx512vnni
#include "retriever/code_products_simd.h"
