/* static_kernels_simd.h -- the sum of table rows in vectors. static_kernels_avx2.c and static_kernels_avx512.c include
 * this with LANES (floats in a vector), WIDEN_HALVES (LANES halves at p to floats), MULTIPLY_ADD and SUM (the
 * function's name) set.
 *
 * Rows lie scattered over megabytes, so the time goes into waiting for them: while four rows are added to the sum
 * (which stays in the first-level cache), the four after the next are being fetched. */
#include "encoder/static_kernels.h"

#include <string.h>

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef uint32_t uvec __attribute__((vector_size(LANES * 4)));
typedef int32_t ivec __attribute__((vector_size(LANES * 4)));
typedef uint16_t hvec __attribute__((vector_size(LANES * 2)));
typedef int8_t bvec __attribute__((vector_size(LANES)));

enum { GROUP = 4, AHEAD = 8, LINE = 64 };

/* LANES numbers at p, of any alignment, as floats. `type` is a constant where this is called, so the switch is gone. */
static inline vec widen(const unsigned char *p, mn_static_type type)
{
    vec floats;
    hvec halves;
    bvec bytes;
    switch (type) {
    case MN_STATIC_F32: memcpy(&floats, p, sizeof floats); return floats;
    case MN_STATIC_F16: return (vec)WIDEN_HALVES(p);
    case MN_STATIC_BF16: memcpy(&halves, p, sizeof halves); return (vec)(__builtin_convertvector(halves, uvec) << 16);
    case MN_STATIC_I8: break;
    }
    memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(__builtin_convertvector(bytes, ivec), vec);
}

/* total + weight * number, rounded once; without weights total + number. */
static inline vec add(vec total, vec weight, vec number, bool weighted)
{
    if (weighted) return (vec)MULTIPLY_ADD(weight, number, total);
    return total + number;
}

static inline void fetch(const unsigned char *row, size_t size)
{
    for (size_t at = 0; at < size; at += LINE) __builtin_prefetch(row + at);
}

/* The columns from `first` on that do not fill a vector, of one row. */
static void add_rest(const mn_static_rows *rows, size_t i, size_t first, float *sum)
{
    if (first == rows->dimension) return;
    float one_row[LANES];
    uint32_t zero = 0, left = rows->dimension - (uint32_t)first;
    size_t bytes = mn_static_type_bytes(rows->type);
    const mn_static_rows rest = {.table = (const unsigned char *)rows->table +
                                          ((size_t)rows->indexes[i] * rows->dimension + first) * bytes,
                                 .type = rows->type,
                                 .dimension = left,
                                 .indexes = &zero,
                                 .weights = rows->weights ? rows->weights + i : NULL,
                                 .n = 1};
    memcpy(one_row, sum + first, left * sizeof *sum);
    mn_static_sum_reference(&rest, one_row);
    memcpy(sum + first, one_row, left * sizeof *sum);
}

static inline __attribute__((always_inline)) void sum_rows(const mn_static_rows *rows, mn_static_type type,
                                                           bool weighted, float *sum)
{
    const size_t bytes = mn_static_type_bytes(type), stride = rows->dimension * bytes;
    const size_t whole = rows->dimension / LANES * LANES;
    const unsigned char *table = rows->table;
    for (size_t i = 0; i < rows->n && i < AHEAD; i++) fetch(table + rows->indexes[i] * stride, stride);
    size_t i = 0;
    for (; i + GROUP <= rows->n; i += GROUP) {
        const unsigned char *row[GROUP];
        vec weight[GROUP] = {0};
        for (size_t r = 0; r < GROUP; r++) {
            row[r] = table + rows->indexes[i + r] * stride;
            if (weighted) weight[r] = rows->weights[i + r] - (vec){0};
            if (i + AHEAD + r < rows->n) fetch(table + rows->indexes[i + AHEAD + r] * stride, stride);
        }
        for (size_t c = 0; c < whole; c += LANES) {
            vec total;
            memcpy(&total, sum + c, sizeof total);
            for (size_t r = 0; r < GROUP; r++) total = add(total, weight[r], widen(row[r] + c * bytes, type), weighted);
            memcpy(sum + c, &total, sizeof total);
        }
        for (size_t r = 0; r < GROUP; r++) add_rest(rows, i + r, whole, sum);
    }
    for (; i < rows->n; i++) {
        const unsigned char *row = table + rows->indexes[i] * stride;
        vec weight = (weighted ? rows->weights[i] : 1.0f) - (vec){0};
        for (size_t c = 0; c < whole; c += LANES) {
            vec total;
            memcpy(&total, sum + c, sizeof total);
            total = add(total, weight, widen(row + c * bytes, type), weighted);
            memcpy(sum + c, &total, sizeof total);
        }
        add_rest(rows, i, whole, sum);
    }
}

void SUM(const mn_static_rows *rows, float *sum)
{
    if (rows->weights) {
        switch (rows->type) {
        case MN_STATIC_F32: sum_rows(rows, MN_STATIC_F32, true, sum); return;
        case MN_STATIC_F16: sum_rows(rows, MN_STATIC_F16, true, sum); return;
        case MN_STATIC_BF16: sum_rows(rows, MN_STATIC_BF16, true, sum); return;
        case MN_STATIC_I8: sum_rows(rows, MN_STATIC_I8, true, sum); return;
        }
    }
    switch (rows->type) {
    case MN_STATIC_F32: sum_rows(rows, MN_STATIC_F32, false, sum); return;
    case MN_STATIC_F16: sum_rows(rows, MN_STATIC_F16, false, sum); return;
    case MN_STATIC_BF16: sum_rows(rows, MN_STATIC_BF16, false, sum); return;
    case MN_STATIC_I8: sum_rows(rows, MN_STATIC_I8, false, sum); return;
    }
}
