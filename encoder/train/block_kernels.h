/* block_kernels.h -- what a Transformer block does between its large products, forward and backward, and the small
 * products of attention.
 *
 * Three implementations of one table: plain C in double precision (the proof), AVX2, AVX-512. All on the calling
 * thread, on row-major arrays. */
#ifndef MN_ENCODER_TRAIN_BLOCK_KERNELS_H
#define MN_ENCODER_TRAIN_BLOCK_KERNELS_H

#include "encoder/train/train_products.h"

/* GELU: Hendrycks, Gimpel 2016, x/2 (1 + erf(x / sqrt 2)), and the same paper's form with tanh. */
typedef enum mn_block_activation { MN_BLOCK_GELU, MN_BLOCK_GELU_TANH, MN_BLOCK_RELU } mn_block_activation;

/* LayerNorm over n_rows rows of n (Ba, Kiros, Hinton 2016; the variance is the biased one):
 * y = (x - mean) / sqrt(variance + epsilon) * gain + shift. */
typedef struct mn_norm_rows {
    const float *x;
    const float *gain, *shift; /* (n) */
    float *means, *scales;     /* (n_rows): mean and 1 / sqrt(...), forward's results that backward reads */
    float epsilon;
    size_t n_rows;
    uint32_t n;
} mn_norm_rows;

typedef struct mn_norm_gradients {
    const float *dy;
    const float *residual;   /* added to dx; NULL = none. May be dy or dx itself */
    float *dx;               /* may be dy itself */
    float *d_gain, *d_shift; /* (n), added to */
} mn_norm_gradients;

/* Which columns of each row of scores count: row r those below min(n, visible + r), and at most n. With visible = 1,
 * that is the causal mask; with n, all. */
typedef struct mn_softmax_rows {
    size_t stride; /* at least n; what a row has from the last visible column to there becomes 0 */
    uint32_t n_rows, n, visible;
    float scale;
} mn_softmax_rows;

/* What of a square of attention weights is zero, so that its products need not be made. */
typedef enum mn_triangle {
    MN_TRIANGLE_NONE,
    MN_TRIANGLE_RESULT, /* of c, only columns j <= i matter: others may be left as they were */
    MN_TRIANGLE_LOWER,  /* a(i,k) = 0 for k > i */
    MN_TRIANGLE_UPPER,  /* a(i,k) = 0 for k < i */
} mn_triangle;

enum { MN_SMALL_PANEL = 32 };

/* c (m,n) = a (m,k) b (k,n), operands that lie in the nearer caches. Rows of b and c reach to the next multiple of
 * MN_SMALL_PANEL columns: what b has there is read, what c has there is overwritten. */
typedef struct mn_small_product {
    const float *a, *b;
    bool transposed; /* a is given as (k,m) */
    size_t a_stride, b_stride, c_stride;
    float *c;
    uint32_t m, n, k;
    mn_triangle triangle;
} mn_small_product;

typedef struct mn_block_kernels {
    const char *name; /* "reference", "avx2", "avx512" */
    void (*norm)(const mn_norm_rows *rows, float *y);
    void (*norm_backward)(const mn_norm_rows *rows, const mn_norm_gradients *gradients);
    void (*activate)(mn_block_activation activation, const float *x, size_t n, float *y);
    /* dx = dy times the slope at x. dx may be dy. */
    void (*activate_backward)(mn_block_activation activation, const float *x, const float *dy, size_t n, float *dx);
    /* scores = softmax(scale * scores), row by row. */
    void (*softmax)(const mn_softmax_rows *rows, float *scores);
    /* The gradient with respect to the scores from `weights`, which softmax made, and theirs, in place. */
    void (*softmax_backward)(const mn_softmax_rows *rows, const float *weights, float *gradients);
    void (*multiply)(const mn_small_product *product);
    /* y = a + b (n). y may be a or b. */
    void (*add)(const float *a, const float *b, size_t n, float *y);
} mn_block_kernels;

const mn_block_kernels *mn_block_kernels_for(mn_cpu_level level);
/* Those on the instructions that `arithmetic` uses. */
const mn_block_kernels *mn_block_kernels_beside(const mn_train_arithmetic *arithmetic);
const mn_block_kernels *mn_block_kernels_reference(void);
/* Only to be called through the above, on a processor that has the level. */
const mn_block_kernels *mn_block_kernels_avx2(void);
const mn_block_kernels *mn_block_kernels_avx512(void);

/* Dropout (Srivastava et al. 2014), scaled where it is applied: y = x / (1 - rate) or 0, by a stream of random numbers
 * of its own that begins at `state`; so backward needs nothing but the state: dx is the same of dy. rate in [0, 1), in
 * steps of 2^-16. y may be x. The same bits with all instructions. */
void mn_dropout(uint64_t state, float rate, const float *x, size_t n, float *y);

#endif
