/* parameters.h -- the numbers of a model that training changes: named matrices, where they start, and how they lie
 * ready for products.
 *
 * Layers add what they need while a model is put together; then mn_parameters_ready lays all values in one block:
 *
 *     values      | embedding | layer 0 weight | layer 0 bias | ... |
 *     gradients   the same places in a block of each shard (shard.h); sparse parameters have none there
 *
 * Only the thread that owns the model changes a set; between changes any number of threads read it. */
#ifndef MN_ENCODER_TRAIN_PARAMETERS_H
#define MN_ENCODER_TRAIN_PARAMETERS_H

#include "common/memory.h"
#include "common/threads.h"
#include "encoder/train/train_products.h"

#include <stdint.h>

typedef enum mn_initial { MN_INITIAL_ZERO, MN_INITIAL_ONE, MN_INITIAL_UNIFORM, MN_INITIAL_NORMAL } mn_initial;

/* What a layer says of a parameter when it adds it. */
typedef struct mn_parameter_options {
    uint32_t rows, columns; /* a vector has one row; a weight is (n_out, n_in) */
    mn_initial initial;
    float scale; /* UNIFORM: in [-scale, scale]; NORMAL: standard deviation */
    bool decays; /* weight decay: weights of products and tables; not biases and gains */
    bool sparse; /* a table of which a step touches few rows: gradients by row (shard.h) */
    bool packed; /* a weight of products: kept packed for y = x W^T and for dx = dy W */
} mn_parameter_options;

typedef struct mn_parameter {
    const char *name;
    mn_parameter_options options;
    size_t offset;              /* of its values in the block, and of its gradient */
    float *value;               /* (rows, columns); NULL before mn_parameters_ready */
    bool frozen;                /* Adam leaves it as it is */
    mn_right forward, backward; /* packed: x (n, columns) times forward = (n, rows); dy (n, rows) times backward */
} mn_parameter;

typedef struct mn_parameters {
    mn_arena arena; /* names, parameters */
    mn_parameter **items;
    size_t n, capacity;
    size_t size;       /* floats of the block of values */
    size_t dense_size; /* of gradients: dense parameters come first in the block */
    float *values;
    void *packings;
    const mn_train_arithmetic *arithmetic; /* borrowed */
} mn_parameters;                           /* start from {.arithmetic = ...} */

/* NULL: out of memory. name is copied, format as printf. Stays where it is until mn_parameters_free. */
mn_parameter *mn_parameters_add(mn_parameters *set, const mn_parameter_options *options, const char *name, ...)
    MN_PRINTF(3, 4);
/* Lay out the block and fill it: every parameter from a stream of random numbers of its own, of seed and name. */
mneme_status mn_parameters_ready(mn_parameters *set, uint64_t seed, mneme_error *error);
void mn_parameters_free(mn_parameters *set);

mn_parameter *mn_parameters_find(const mn_parameters *set, const char *name); /* NULL: none of that name */
/* Pack anew what values have changed; threads share the work. After mn_parameters_ready, a load, and each step. */
void mn_parameters_pack(mn_parameters *set, mn_threads *threads);
uint64_t mn_parameters_count(const mn_parameters *set);

/* To and from a safetensors file, F32, by name. Loading: every parameter must be there in its shape, and finite;
 * ERR_MODEL names it. prefix: of the names in the file; others in the file are ignored. path: as mn_weights_open
 * takes it, so that a model's weights may be in several files. */
mneme_status mn_parameters_save(const mn_parameters *set, const char *path, mneme_error *error);
mneme_status mn_parameters_load(mn_parameters *set, const char *path, const char *prefix, mneme_error *error);

#endif
