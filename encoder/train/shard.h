/* shard.h -- one thread's part of a training step: its share of the batch, the activations that its backward pass
 * needs, and its gradients.
 *
 * A batch is cut into a fixed number of shards. Each goes forward and backward by itself; then the gradients are summed
 * in the order of the shards. So a step gives the same bits on any number of threads, and another number of shards is
 * another, equally good, order of sums.
 *
 * A layer is a struct that borrows its parameters, with two functions:
 *
 *     forward (layer, shard, input, output, *saved)    keeps what backward needs in the shard's room
 *     backward(layer, shard, saved, d_output, d_input) adds to the shard's gradients; d_input NULL: not wanted
 *
 * Room taken lasts until the next step. All status: ERR_MEMORY alone. */
#ifndef MN_ENCODER_TRAIN_SHARD_H
#define MN_ENCODER_TRAIN_SHARD_H

#include "common/random.h"
#include "encoder/train/parameters.h"

/* Memory that is given out piece by piece and taken back at once; it is kept for the next step. */
typedef struct mn_room_block mn_room_block;
typedef struct mn_room {
    mn_room_block *blocks;                                /* newest first */
    size_t used;                                          /* of the newest */
} mn_room;                                                /* start from {0} */
void *mn_room_take(mn_room *room, size_t n, size_t size); /* 64-byte aligned, uninitialised, 64 bytes to spare */
void mn_room_clear(mn_room *room);
void mn_room_free(mn_room *room);

/* Gradients of some rows of a sparse parameter: row ids[i] gets rows[i]. Equal ids are summed in order. */
typedef struct mn_sparse_gradient {
    const mn_parameter *parameter;
    const uint32_t *ids; /* n, borrowed until the step ends, as are the rows */
    const float *rows;   /* (n, columns) */
    size_t n;
    struct mn_sparse_gradient *next;
} mn_sparse_gradient;

typedef struct mn_shard {
    const mn_train_arithmetic *arithmetic;    /* borrowed */
    const mn_parameters *parameters;          /* borrowed */
    float *gradients;                         /* parameters->dense_size floats */
    mn_sparse_gradient *sparse, **sparse_end; /* in the order in which they were added; in the room */
    mn_room room;
    mn_product_scratch scratch;
    mn_random random; /* of this step and shard: dropout */
    bool training;    /* else no dropout */
} mn_shard;

mneme_status mn_shard_new(const mn_parameters *parameters, mn_shard **out, mneme_error *error);
void mn_shard_free(mn_shard *shard);
/* Zero gradients, empty room, random numbers of this step. index: of the shard. */
void mn_shard_begin(mn_shard *shard, uint64_t seed, uint64_t step, uint64_t index);

static inline float *mn_gradient_of(const mn_shard *shard, const mn_parameter *parameter)
{
    return shard->gradients + parameter->offset;
}
/* The gradient of a sparse parameter; ids and rows stay as they are until the step ends. */
mneme_status mn_shard_add_rows(mn_shard *shard, const mn_parameter *parameter, const uint32_t *ids, const float *rows,
                               size_t n, mneme_error *error);

/* Room for n floats: *out. */
mneme_status mn_shard_floats(mn_shard *shard, size_t n, float **out, mneme_error *error);

#endif
