/* embedding.h -- a table of rows that are looked up by number, positions, and their gradients. */
#ifndef MN_ENCODER_TRAIN_EMBEDDING_H
#define MN_ENCODER_TRAIN_EMBEDDING_H

#include "encoder/train/dense.h"
#include "encoder/train/train_attention.h"

typedef struct mn_embedding {
    mn_parameter *table; /* (n_rows, width) */
} mn_embedding;

/* Adds the parameter NAME, normal with `deviation`. tied: it is an output layer too (mn_embedding_output), so it lies
 * packed for products and its gradient is dense. sparse: gradients by row; not with tied. ERR_MEMORY. */
typedef struct mn_embedding_options {
    uint32_t n_rows, width;
    float deviation;
    bool tied, sparse;
} mn_embedding_options;
mneme_status mn_embedding_add(mn_parameters *parameters, const char *name, const mn_embedding_options *options,
                              mn_embedding *out, mneme_error *error);

/* y (n, width) = rows ids[0..n), each below n_rows. */
void mn_embedding_forward(const mn_embedding *embedding, const uint32_t *ids, size_t n, float *y);
/* Where the table is sparse, ids and dy stay as they are until the step ends. */
mneme_status mn_embedding_backward(const mn_embedding *embedding, mn_shard *shard, const uint32_t *ids, size_t n,
                                   const float *dy, mneme_error *error);

/* The tied output layer (Press, Wolf 2017): logits = x E^T + bias. Adds BIAS_NAME, zeros; NULL: none. Its gradients and
 * those of look-ups add up in the table's. */
mneme_status mn_embedding_output(mn_parameters *parameters, const mn_embedding *embedding, const char *bias_name,
                                 mn_dense *out, mneme_error *error);

/* What a row gets for its place in its sequence: a row of a table that is learned, or fixed waves. */
typedef struct mn_positions {
    mn_parameter *table; /* (n, width); NULL: fixed */
    float *fixed;        /* (n, width), owned by the parameters */
    uint32_t n, width;
} mn_positions;

/* Adds the parameter NAME, normal with `deviation`. ERR_MEMORY. */
mneme_status mn_positions_add(mn_parameters *parameters, const char *name, uint32_t n, uint32_t width, float deviation,
                              mn_positions *out, mneme_error *error);
/* Sinusoidal (Vaswani et al. 2017, section 3.5): columns 2i and 2i + 1 of row p hold the sine and cosine of
 * p / 10000^(2i / width). They are not among the parameters. ERR_MEMORY. */
mneme_status mn_positions_fixed(mn_parameters *parameters, uint32_t n, uint32_t width, mn_positions *out,
                                mneme_error *error);
/* x (rows, width) += the row of each place. No sequence is longer than n. */
void mn_positions_forward(const mn_positions *positions, const mn_sequences *sequences, float *x);
void mn_positions_backward(const mn_positions *positions, mn_shard *shard, const mn_sequences *sequences,
                           const float *dx);

#endif
