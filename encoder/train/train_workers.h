/* train_workers.h -- the shards of a run, and the threads that go through them. */
#ifndef MN_ENCODER_TRAIN_TRAIN_WORKERS_H
#define MN_ENCODER_TRAIN_TRAIN_WORKERS_H

#include "encoder/train/shard.h"

/* A shard for each part of a batch: an evaluation uses them too (mn_shard_begin each, with `training` false). */
typedef struct mn_train_workers {
    mn_threads *threads;
    mn_shard **shards;
    struct mn_shard_result *results; /* of mn_train_each_shard */
    uint32_t n_shards;
} mn_train_workers; /* start from {0} */

/* threads: 0 = one per core. mn_train_workers_close whatever it returns. */
mneme_status mn_train_workers_open(mn_train_workers *out, const mn_parameters *parameters, unsigned threads,
                                   uint32_t n_shards, mneme_error *error);
void mn_train_workers_close(mn_train_workers *workers);

/* Call work(context, i, shard i) for every shard, several at once; returns when all are done. What the first of them
 * that failed returned, with its error. */
mneme_status mn_train_each_shard(const mn_train_workers *workers,
                                 mneme_status (*work)(void *context, uint32_t index, mn_shard *shard,
                                                      mneme_error *error),
                                 void *context, mneme_error *error);

#endif
