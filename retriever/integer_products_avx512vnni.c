/* integer_products_avx512vnni.c -- the loop for processors with these instructions. */
#include "retriever/integer_products.h"

#define KERNEL     mn_integer_products_avx512vnni
#define LOW_KERNEL mn_low_products_avx512vnni
#include "retriever/integer_products_simd.h"
