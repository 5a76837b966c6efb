/* static_kernels.h -- the one loop of a static encoder: adding up rows of a table that lie anywhere in it.
 *
 * Three implementations of one function: plain C, AVX2, AVX-512. Each adds the rows to `sum` one after the other,
 * element by element, in single precision, so all three give the same bits (stored numbers widen to f32 exactly; a
 * weighted row is rounded once, by a fused multiply-add). */
#ifndef MN_ENCODER_STATIC_KERNELS_H
#define MN_ENCODER_STATIC_KERNELS_H

#include "common/cpu.h"

#include <stdint.h>

typedef enum mn_static_type { MN_STATIC_F32, MN_STATIC_F16, MN_STATIC_BF16, MN_STATIC_I8 } mn_static_type;

/* Bytes of one number. */
size_t mn_static_type_bytes(mn_static_type type);

typedef struct mn_static_rows {
    const void *table; /* (rows, dimension), row-major, of any alignment */
    mn_static_type type;
    uint32_t dimension;
    const uint32_t *indexes; /* n rows, each inside the table */
    const float *weights;    /* n, or NULL: all are 1 */
    size_t n;
} mn_static_rows;

/* sum (dimension) += weights[i] * table[indexes[i]], for i = 0 .. n - 1 in this order. Any thread. */
typedef void mn_static_sum(const mn_static_rows *rows, float *sum);

/* The function for a level; a level that this build or processor lacks gives the next lower one. *name: "reference",
 * "avx2", "avx512"; static. */
mn_static_sum *mn_static_sum_for(mn_cpu_level level, const char **name);
mn_static_sum mn_static_sum_reference;
/* Only to be called through mn_static_sum_for, on a processor that has the level. */
mn_static_sum mn_static_sum_avx2;
mn_static_sum mn_static_sum_avx512;

/* Scale `vector` to unit length: sums of squares in double precision, eight of them side by side, the same on every
 * processor. False, and the vector left as it is, when its length is zero or not finite. */
bool mn_static_normalize(float *vector, uint32_t dimension);

#endif
