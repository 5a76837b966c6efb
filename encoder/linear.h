/* linear.h -- y = activation(x W^T + b) with packed weights: where nearly all of a Transformer's time goes.
 *
 * A precision is a product kernel, the format that rows are converted to for it, and the magnitudes that weights may
 * have. Integers: one scale per row of activations, found as they come (dynamic), and one per column of weights, which
 * lie around zero. int8's activations take their row's whole range from its least to its largest value: a row with one
 * outlier is one-sided, and gains a bit.
 *
 *     precision   weights               activations     where the processor lacks its instructions
 *     f32         float                 float           -
 *     bf16        bfloat16              bfloat16        values rounded to bfloat16, products in float
 *     int16       int16 within a limit  12 bits + sign  -  (AVX2 multiplies int16 twice as fast as floats)
 *     int8        int8                  uint8           int16 products of the same values: the same sums
 *
 * A weight column's limit in int16 is what keeps every possible sum within int32: about 11 to 13 bits for 384 to 1536
 * inputs (mn_integer_scale), more exact than bfloat16's 8. */
#ifndef MN_ENCODER_LINEAR_H
#define MN_ENCODER_LINEAR_H

#include "common/error.h"
#include "encoder/kernels.h"

typedef enum mn_precision { MN_PRECISION_F32, MN_PRECISION_BF16, MN_PRECISION_INT16, MN_PRECISION_INT8 } mn_precision;

enum { MN_INT16_ROW_LIMIT = 4095, MN_INT16_WEIGHT_LIMIT = 32767, MN_INT8_WEIGHT_LIMIT = 127, MN_INT8_ROW_LIMIT = 255 };

/* What the products of a model run on. */
typedef struct mn_arithmetic {
    mn_precision precision;
    const mn_kernels *kernels;
    const mn_product_kernel *product;   /* of the linear layers */
    mn_row_format rows;                 /* what their input is converted to */
    int32_t weight_limit;               /* integers */
    const mn_product_kernel *attention; /* int8 would spoil attention: its products are bf16 or int16 then */
    mn_row_format attention_rows;
} mn_arithmetic;

/* The best for a precision with instructions of at most `level`; reference: plain C throughout. Never fails: what the
 * processor lacks is done as in the table above. */
mn_arithmetic mn_arithmetic_for(mn_precision precision, mn_cpu_level level, bool reference);
/* The fastest precision whose vectors keep a cosine of 0.999 to f32's (docs/performance.md) with instructions of at
 * most `level`, and why: *reason is static. */
mn_precision mn_fastest_precision(mn_cpu_level level, bool reference, const char **reason);
const char *mn_precision_name(mn_precision precision);
bool mn_precision_parse(const char *name, mn_precision *out);

/* Consecutive pieces of one block of memory, 64-byte aligned: run once with base NULL to learn the size, then over the
 * block. So a block can be written to a file and mapped again. */
typedef struct mn_image {
    unsigned char *base; /* NULL: only count */
    size_t size;
    bool overflow; /* the size does not fit size_t: nothing may be used */
} mn_image;
void *mn_image_take(mn_image *image, size_t n, size_t size); /* NULL while counting */

/* A packed layer; everything points into an image. */
typedef struct mn_linear {
    uint32_t n_out, n_in, n_groups;
    uint32_t *panels;    /* (n_out / panel rounded up, n_groups, panel) */
    float *scale, *bias; /* (n_out rounded up to panels); scale: integers only, else NULL */
    float *sum;          /* the same, of a column's integers; only where rows are from_zero */
} mn_linear;

void mn_linear_place(mn_linear *linear, const mn_arithmetic *arithmetic, uint32_t n_out, uint32_t n_in,
                     mn_image *image);

/* Pack rows [first, first + n) of the weight matrix, (n, n_in) row-major f32, and their biases. Finite values only. */
void mn_linear_fill(mn_linear *linear, const mn_arithmetic *arithmetic, uint32_t first, uint32_t n, const float *weight,
                    const float *bias);

/* What a product reads: n_rows rows of n_groups groups in arithmetic->rows. Rows up to the next multiple of
 * MN_ROW_MULTIPLE must be readable. */
typedef struct mn_linear_rows {
    const uint32_t *rows;
    size_t stride;
    const float *scales, *lows; /* as convert_rows gives them */
    uint32_t n_rows;
} mn_linear_rows;

/* Where it writes y (n_rows, n_out). */
typedef struct mn_linear_out {
    mn_activation activation;
    mn_element element; /* F32 or BF16 */
    void *y;
    size_t stride; /* in elements */
} mn_linear_out;

/* y from x. A row's result does not depend on the other rows. Any thread. */
void mn_linear_run(const mn_linear *linear, const mn_arithmetic *arithmetic, const mn_linear_rows *x,
                   const mn_linear_out *out);
/* The same for the panels [first, first + n) of columns alone: pieces of one product for several threads, equal to the
 * whole bit for bit. */
void mn_linear_run_panels(const mn_linear *linear, const mn_arithmetic *arithmetic, const mn_linear_rows *x,
                          const mn_linear_out *out, uint32_t first, uint32_t n);
uint32_t mn_linear_panels(const mn_linear *linear, const mn_arithmetic *arithmetic);

#endif
