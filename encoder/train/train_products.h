/* train_products.h -- the matrix products of training, on the tile kernels of encoding (encoder/product.h).
 *
 *     c (m, n) = a (m, k) b (k, n)     a: rows as they lie; b: packed, a mn_right
 *     forward      y (n, out)  = x W^T          b = W^T
 *     backward     dx (n, in) += dy W           b = W
 *     gradient     dW (out, in) += dy^T x       mn_multiply_transposed
 *
 * b is cut along the depth into blocks whose panels stay in the first-level cache, so a sum is made of one partial sum
 * for each block, added in f32. With bf16 the operands are rounded to bfloat16 on the way, the sums stay f32. A row of
 * c does not depend on the other rows, and nothing here depends on the number of threads. */
#ifndef MN_ENCODER_TRAIN_TRAIN_PRODUCTS_H
#define MN_ENCODER_TRAIN_TRAIN_PRODUCTS_H

#include "common/error.h"
#include "encoder/linear.h"
#include "encoder/train/cell_kernels.h"
#include "encoder/train/train_kernels.h"

/* What training computes with. */
typedef struct mn_train_arithmetic {
    const char *name;                 /* "f32", "bf16" */
    const mn_product_kernel *product; /* F32 or BF16 */
    mn_row_format format;             /* of both operands */
    const mn_kernels *kernels;
    const mn_train_kernels *train_kernels;
    const mn_cell_kernels *cell_kernels;
} mn_train_arithmetic;

/* bf16 where it is asked for: with the processor's instructions for it, else by rounding. level: at most these
 * instructions; reference: plain C in double precision. */
mn_train_arithmetic mn_train_arithmetic_for(bool bf16, mn_cpu_level level, bool reference);

/* b (depth, columns), packed: in blocks of depth, in panels of columns, in groups. */
typedef struct mn_right {
    uint32_t depth, columns;
    uint32_t *panels; /* NULL = not there */
} mn_right;

/* Bytes of a packed (depth, columns). */
size_t mn_right_size(const mn_train_arithmetic *arithmetic, uint32_t depth, uint32_t columns);
/* Pack into right->panels, 64-byte aligned, of mn_right_size bytes. transposed: b is given as (columns, depth). */
void mn_right_pack(const mn_train_arithmetic *arithmetic, const float *b, size_t stride, bool transposed,
                   mn_right *right);

/* One thread's room for operands on the way. */
typedef struct mn_product_scratch {
    void *block;
    size_t size;
} mn_product_scratch; /* start from {0}; release with mn_free(scratch->block) */

typedef struct mn_product_out {
    float *c;
    size_t stride;
    const float *bias; /* (n); NULL = none */
    bool add;          /* c += instead of c = */
} mn_product_out;

/* a (m, right->depth) with a_stride. ERR_MEMORY. */
mneme_status mn_multiply_right(const mn_train_arithmetic *arithmetic, mn_product_scratch *scratch, const float *a,
                               size_t a_stride, uint32_t m, const mn_right *right, const mn_product_out *out,
                               mneme_error *error);

/* c (m, n) += a^T b with a (k, m), b (k, n), row-major. */
typedef struct mn_transposed_product {
    const float *a, *b;
    size_t a_stride, b_stride;
    uint32_t k, m, n;
    float *c;
    size_t c_stride;
} mn_transposed_product;
mneme_status mn_multiply_transposed(const mn_train_arithmetic *arithmetic, mn_product_scratch *scratch,
                                    const mn_transposed_product *product, mneme_error *error);

#endif
