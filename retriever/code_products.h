/* code_products.h -- products of a question with single rows of an index's codes (index_kind.h), wherever they lie:
 * what a walk over a graph spends its time in.
 *
 *     far[i] = a number that is the smaller, the larger the product of the question with row positions[i] is
 *
 *     bytes   sum over j of question[j] * codes[j], whole numbers: every kernel gives the same
 *     bf16    sum over j of question[j] * number[j], in floats: kernels differ in the last bits
 *     f32     the same
 *
 * Codes of bytes are 128 more than they stand for; that adds the same to all products of a question, and is left in.
 * The caller sees to it that the sum of |question[j]| is at most MN_CODE_SUM_MOST: then no partial sum leaves 32 bits.
 * Rows are fetched ahead of their turn. Any thread. */
#ifndef MN_RETRIEVER_CODE_PRODUCTS_H
#define MN_RETRIEVER_CODE_PRODUCTS_H

#include "common/cpu.h"
#include "retriever/index_kind.h"

#include <string.h>

#define MN_CODE_SUM_MOST 8388607 /* times 255, the most that a code can be, is below 2^31 */

typedef struct mn_code_rows {
    const unsigned char *codes; /* any alignment */
    size_t row_bytes;
    uint32_t n_numbers;   /* of a row; a multiple of 32 */
    const void *question; /* n_numbers: int16_t for bytes, else float; for bf16 those of even places first */
} mn_code_rows;

typedef void (*mn_code_products)(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);

/* The fastest for a kind of index (not MN_INDEX_NONE) that a processor of this level runs; MN_CPU_GENERIC gives plain
 * C. */
mn_code_products mn_code_products_for(mn_index_kind kind, mn_cpu_level level);

/* Ask for the cache lines of a row. */
static inline void mn_code_fetch(const mn_code_rows *rows, uint32_t position)
{
    const unsigned char *row = rows->codes + position * rows->row_bytes, *last = row + rows->row_bytes - 1;
    for (; row < last; row += 64) __builtin_prefetch(row);
    __builtin_prefetch(last);
}

/* The smaller, the larger the product. */
static inline uint32_t mn_code_far_of_whole(int32_t product)
{
    return (uint32_t)INT32_MAX - (uint32_t)product;
}

static inline uint32_t mn_code_far_of_float(float product)
{
    uint32_t bits;
    memcpy(&bits, &product, sizeof bits);
    return bits >> 31 ? bits
                      : ~(bits | 0x80000000u); /* floats are ordered as their bits are, negative ones backwards */
}

void mn_code_bytes_generic(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);
void mn_code_bytes_avx2(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);
void mn_code_bytes_avx512(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);
void mn_code_bytes_avx512vnni(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);

void mn_code_bf16_generic(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);
void mn_code_bf16_avx2(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);
void mn_code_bf16_avx512(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);

void mn_code_f32_generic(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);
void mn_code_f32_avx2(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);
void mn_code_f32_avx512(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far);

#endif
