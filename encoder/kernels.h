/* kernels.h -- what a Transformer layer does between its products, one pass over memory each.
 *
 * Implementations of one table: plain C in double precision (the proof), AVX2, AVX-512 with and without BF16. All work
 * on row-major arrays and on the calling thread. T: tokens, H: hidden size, L: tokens of one sequence, D: size of one
 * head. */
#ifndef MN_ENCODER_KERNELS_H
#define MN_ENCODER_KERNELS_H

#include "encoder/product.h"

#include <string.h>

typedef enum mn_activation {
    MN_ACTIVATION_NONE,
    MN_ACTIVATION_GELU,      /* the exact form x/2 (1 + erf(x / sqrt 2)), Hendrycks, Gimpel 2016 */
    MN_ACTIVATION_GELU_NEAR, /* within 5e-5 of it (above 6: 2e-6 of x), for what is rounded to 8 bits next */
    MN_ACTIVATION_RELU
} mn_activation;

/* How rows of floats become operands of a product. */
typedef struct mn_row_format {
    mn_element element;
    bool rounded;   /* F32 only: to values that bfloat16 has, for processors without its instructions */
    bool from_zero; /* integers: 0..limit stand for the row's least to its largest value; else -limit..limit around 0 */
    int32_t limit;
} mn_row_format;

/* Are rows of floats operands as they are? Their kernels read no row that they are not given (AMX does, product.h). */
static inline bool mn_is_plain_float(const mn_row_format *format)
{
    return format->element == MN_ELEMENT_F32 && !format->rounded;
}

/* Where rows of floats go as operands of the product that follows. */
typedef struct mn_row_target {
    mn_row_format format;
    uint32_t n_groups;
    uint32_t *rows;       /* (n, n_groups) */
    size_t stride;        /* in groups */
    float *scales, *lows; /* (n), as convert_rows gives them */
} mn_row_target;

/* What becomes of a tile of raw sums: y = activation((sum * row_scale + row_low * column_sum) * column_scale + bias).
 */
typedef struct mn_finish {
    bool integers;             /* the tile holds int32_t, else float */
    uint32_t tile_stride;      /* its row, in sums */
    const float *row_scale;    /* (rows); NULL = 1 */
    const float *row_low;      /* (rows), what 0 stands for; NULL = 0, and then column_sum is not read */
    const float *column_sum;   /* (columns), of the weights as integers */
    const float *column_scale; /* (columns); NULL = 1 */
    const float *bias;         /* (columns); NULL = 0 */
    mn_activation activation;
    mn_element out_element; /* F32 or BF16 */
} mn_finish;

typedef struct mn_kernels {
    const char *name; /* "reference", "avx2", "avx512", "avx512-bf16" */

    /* out (n_rows, n_columns) from tile; out_stride in elements of out. Floats may go to the tile itself. */
    void (*finish)(const mn_finish *finish, const void *tile, uint32_t n_rows, uint32_t n_columns, void *out,
                   size_t out_stride);

    /* Rows of n floats to rows of n_groups groups (product.h), zeros behind them. Integers: value = round((x - low) /
     * scale), ties to even, with low = 0 and scale = the row's largest magnitude / limit; from_zero: low = the least of
     * the row and 0, scale = (largest - low) / limit. Both go to scales and lows (n_rows; lows only from_zero, scales
     * only integers). */
    void (*convert_rows)(const mn_row_format *format, const float *x, size_t x_stride, uint32_t n_rows, uint32_t n,
                         uint32_t n_groups, uint32_t *out, size_t out_stride, float *scales, float *lows);

    /* A panel of weights from rows that run along the depth: column c of the panel is x[0..depth, c]. Integers:
     * column_scale (n_columns) is chosen so that a row of magnitudes up to row_limit cannot overflow a sum
     * (mn_integer_scale). Groups are filled up to n_groups, columns up to `panel`, with zeros. F32, BF16, I16. */
    void (*pack_columns)(const mn_row_format *format, int32_t row_limit, const float *x, size_t x_stride,
                         uint32_t depth, uint32_t n_columns, uint32_t n_groups, uint32_t panel, uint32_t *out,
                         float *column_scale);

    /* The same for BF16 from rows that are bfloat16 already: their bits. */
    void (*pack_bf16_columns)(const uint16_t *x, size_t x_stride, uint32_t depth, uint32_t n_columns, uint32_t n_groups,
                              uint32_t panel, uint32_t *out);

    /* Rows of groups to panels in which each row is a column; zeros up to a whole panel. */
    void (*pack_rows)(const uint32_t *rows, size_t stride, uint32_t n_rows, uint32_t n_groups, uint32_t panel,
                      uint32_t *out);

    /* For each row: weights = softmax(scale * scores), times 1 / factor, in `format` (limit: what the largest becomes).
     * scores as products leave them, in tiles of (tile_rows, panel) one after the other: that of row r and column c is
     * scores[(c / panel * tile_rows + r) * panel + c % panel], c < n. factor (n_rows) makes the weights as they were
     * rounded sum to 1. out as in convert_rows, but with zeros up to a multiple of MN_PANEL_MAX numbers, for which
     * there must be room. panel: 16 or 32; n_rows <= MN_TILE_ROWS_MAX. Not for U8. */
    void (*softmax)(const mn_row_format *format, const float *scores, uint32_t tile_rows, uint32_t panel,
                    uint32_t n_rows, uint32_t n, float scale, uint32_t *out, size_t out_stride, float *factor);

    /* x (T,H) = LayerNorm(x + bias + residual) * gain + shift. bias, residual: NULL = none. residual (T,H).
     * Ba, Kiros, Hinton 2016, "Layer Normalization"; variance is the biased one. target: NULL, or where each row goes
     * as an operand, too, while it is in the first-level cache. */
    void (*add_layer_norm)(float *x, const float *bias, const float *residual, const float *gain, const float *shift,
                           float epsilon, uint32_t tokens, uint32_t hidden, const mn_row_target *target);
} mn_kernels;

/* The scale of a row or column of n weights with the given largest magnitude and sum of magnitudes, so that
 * |round(w / scale)| <= limit and a product with values up to row_limit fits int32_t:
 * row_limit * sum |round(w / scale)| <= 2^31 - 1. 0 where all are 0. sum: not too small by more than a millionth. */
static inline float mn_integer_scale(float largest, double sum, uint32_t n, int32_t limit, int32_t row_limit)
{
    double by_range = (double)largest / limit;
    double by_sum = sum / (2147483647.0 / row_limit - 0.5 * n - 1.0);
    return (float)((by_range > by_sum ? by_range : by_sum) * (1.0 + 1e-6));
}

static inline uint32_t mn_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The nearest bfloat16, ties to even, in the upper half; finite values only. */
static inline uint32_t mn_round_bf16(uint32_t bits)
{
    return (bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u;
}

/* The table for a level; a level that this build or processor lacks gives the next lower one. */
const mn_kernels *mn_kernels_for(mn_cpu_level level);
const mn_kernels *mn_kernels_reference(void);
/* Only to be called through mn_kernels_for, on a processor that has the level. */
const mn_kernels *mn_kernels_avx2(void);
const mn_kernels *mn_kernels_avx512(void);
const mn_kernels *mn_kernels_avx512bf16(void);

#endif
