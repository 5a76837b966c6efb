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

/* The fastest that a processor of this level runs; MN_CPU_GENERIC gives plain C. */
mn_integer_products mn_integer_products_for(mn_cpu_level level);

void mn_integer_products_generic(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query,
                                 int32_t *sums);
void mn_integer_products_avx2(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query, int32_t *sums);
void mn_integer_products_avx512(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query,
                                int32_t *sums);
void mn_integer_products_avx512vnni(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query,
                                    int32_t *sums);

#endif
