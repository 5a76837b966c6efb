/* integer_products.h -- products of a question with rows of 8-bit codes: what a scan of coded vectors spends its time
 * in.
 *
 *     sums[r] = sum over i of rows[r][i] * query[i]        0 <= r < n_rows, 0 <= i < dimension
 *
 * Whole numbers, so every kernel gives the same sums, whatever its order of additions. The caller sees to it that the
 * sum of |query[i]| is at most MN_QUERY_SUM_MOST: then no partial sum leaves 32 bits. One loop
 * (integer_products_simd.h), compiled once for each set of instructions. Any thread. */
#ifndef MN_RETRIEVER_INTEGER_PRODUCTS_H
#define MN_RETRIEVER_INTEGER_PRODUCTS_H

#include "common/cpu.h"

#include <stdint.h>

#define MN_QUERY_SUM_MOST 16777215 /* times 128, the most that a code can be, is below 2^31 */

/* rows: n_rows x dimension, any alignment. */
typedef void (*mn_integer_products)(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query,
                                    int32_t *sums);

/* The product with the low parts of one int12 row (memstore/vector_codes.h), 8 more each than they stand for:
 *
 *     sum over i of (low[i] & 15) * even[i] + (low[i] >> 4) * odd[i]
 *
 * even, odd: the question's numbers at even and odd places, `bytes` of each. */
typedef int32_t (*mn_low_products)(const unsigned char *low, size_t bytes, const int16_t *even, const int16_t *odd);

/* The fastest that a processor of this level runs; MN_CPU_GENERIC gives plain C. */
mn_integer_products mn_integer_products_for(mn_cpu_level level);
mn_low_products mn_low_products_for(mn_cpu_level level);

void mn_integer_products_generic(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query,
                                 int32_t *sums);
void mn_integer_products_avx2(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query, int32_t *sums);
void mn_integer_products_avx512(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query,
                                int32_t *sums);
void mn_integer_products_avx512vnni(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query,
                                    int32_t *sums);

int32_t mn_low_products_generic(const unsigned char *low, size_t bytes, const int16_t *even, const int16_t *odd);
int32_t mn_low_products_avx2(const unsigned char *low, size_t bytes, const int16_t *even, const int16_t *odd);
int32_t mn_low_products_avx512(const unsigned char *low, size_t bytes, const int16_t *even, const int16_t *odd);
int32_t mn_low_products_avx512vnni(const unsigned char *low, size_t bytes, const int16_t *even, const int16_t *odd);

#endif
