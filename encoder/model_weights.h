/* model_weights.h -- named weights out of a model's safetensors files, in the shapes that its config.json asks for. */
#ifndef MN_ENCODER_MODEL_WEIGHTS_H
#define MN_ENCODER_MODEL_WEIGHTS_H

#include "encoder/linear.h"
#include "encoder/safetensors.h"

typedef struct mn_model_weights {
    const mn_safetensors *file;
    const char *prefix; /* of all names: "" or "bert." */
} mn_model_weights;

/* A tensor of rows by columns, columns 0: a vector of rows. ERR_MODEL: it is missing, of another shape or not of
 * numbers that mn_tensor_to_f32 knows. */
mneme_status mn_weights_find(const mn_model_weights *weights, const char *name, uint64_t rows, uint64_t columns,
                             const mn_tensor **out, mneme_error *error);

/* The same, copied to `out` as f32. ERR_MODEL also where a number is not finite. */
mneme_status mn_weights_copy(const mn_model_weights *weights, const char *name, uint64_t rows, uint64_t columns,
                             float *out, mneme_error *error);

/* A matrix (n_out, linear->n_in) and its bias become the index-th of those that are stacked by rows into one product.
 * bias: NULL = none. */
mneme_status mn_weights_fill(const mn_model_weights *weights, const mn_arithmetic *arithmetic, const char *weight,
                             const char *bias, uint32_t index, uint32_t n_out, mn_linear *linear, mneme_error *error);

/* A table that is read in place, a row when it is needed: look through it once for what is not finite. */
mneme_status mn_weights_check(const mn_model_weights *weights, const mn_tensor *table, mneme_error *error);

bool mn_all_finite(const float *values, size_t n);

/* Numbers of all floating-point tensors of the file. */
uint64_t mn_weights_parameters(const mn_safetensors *file);
/* Hash of the weights: name, shape, and a sample of the bytes of every tensor. */
uint64_t mn_weights_fingerprint(const mn_safetensors *file);

#endif
