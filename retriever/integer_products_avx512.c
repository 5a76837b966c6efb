/* integer_products_avx512.c -- the loop for processors with these instructions. */
#include "retriever/integer_products.h"

#define KERNEL     mn_integer_products_avx512
#define LOW_KERNEL mn_low_products_avx512
#include "retriever/integer_products_simd.h"
