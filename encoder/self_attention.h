/* self_attention.h -- attention over one sequence, all heads: out = softmax(q k^T / sqrt D) v.
 *
 * Vaswani et al. 2017, "Attention Is All You Need", equation 1. Both products run on the tile kernels, a few queries at
 * a time, so that the scores of one head never leave the cache. L: tokens of the sequence, D: size of a head. */
#ifndef MN_ENCODER_SELF_ATTENTION_H
#define MN_ENCODER_SELF_ATTENTION_H

#include "encoder/linear.h"

/* Bytes of scratch for sequences of up to max_length; 0 when that does not fit size_t. */
size_t mn_attention_scratch(const mn_arithmetic *arithmetic, uint32_t max_length, uint32_t head);

/* What q, k and v are best given as: BF16 where the products take it and heads of D fill whole groups, else F32. */
mn_element mn_attention_element(const mn_arithmetic *arithmetic, uint32_t head);

typedef struct mn_attention_rows {
    const void *qkv; /* (L, 3 * n_heads * D) in mn_attention_element: a token's row holds q, k and v, heads one after
                        the other. Rows up to the next multiple of MN_ROW_MULTIPLE are read. */
    void *out;       /* (L, n_heads * D) in out_element, F32 or BF16 */
    mn_element out_element;
    size_t out_stride; /* in elements */
} mn_attention_rows;

/* scratch: mn_attention_scratch bytes, 64-byte aligned. Any thread. */
void mn_attention_run(const mn_arithmetic *arithmetic, const mn_attention_rows *rows, uint32_t length, uint32_t n_heads,
                      uint32_t head, void *scratch);
/* The h-th head alone: its D columns of out. Heads may run on different threads, each with its own scratch. */
void mn_attention_run_head(const mn_arithmetic *arithmetic, const mn_attention_rows *rows, uint32_t length,
                           uint32_t n_heads, uint32_t head, uint32_t h, void *scratch);

#endif
