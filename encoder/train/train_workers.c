/* train_workers.c -- see train_workers.h. */
#include "encoder/train/train_workers.h"

typedef struct mn_shard_result {
    mneme_status status;
    mneme_error error;
} mn_shard_result;

mneme_status mn_train_workers_open(mn_train_workers *out, const mn_parameters *parameters, unsigned threads,
                                   uint32_t n_shards, mneme_error *error)
{
    *out = (mn_train_workers){0};
    mneme_status status = mn_threads_new(threads, &out->threads, error);
    out->shards = mn_alloc_zeroed(n_shards, sizeof(mn_shard *));
    out->results = mn_alloc_zeroed(n_shards, sizeof *out->results);
    if (status == MNEME_OK && (!out->shards || !out->results)) status = mn_fail_memory(error, "shards");
    for (uint32_t i = 0; i < n_shards && status == MNEME_OK; i++) {
        status = mn_shard_new(parameters, &out->shards[i], error);
        out->n_shards = i + 1;
    }
    return status;
}

void mn_train_workers_close(mn_train_workers *workers)
{
    for (uint32_t i = 0; i < workers->n_shards; i++) mn_shard_free(workers->shards[i]);
    mn_free(workers->shards);
    mn_free(workers->results);
    mn_threads_free(workers->threads);
    *workers = (mn_train_workers){0};
}

typedef struct job {
    const mn_train_workers *workers;
    mneme_status (*work)(void *context, uint32_t index, mn_shard *shard, mneme_error *error);
    void *context;
} job;

static void do_item(void *context, size_t item, unsigned worker)
{
    (void)worker;
    const job *j = context;
    mn_shard_result *result = &j->workers->results[item];
    result->status = j->work(j->context, (uint32_t)item, j->workers->shards[item], &result->error);
}

mneme_status mn_train_each_shard(const mn_train_workers *workers,
                                 mneme_status (*work)(void *context, uint32_t index, mn_shard *shard,
                                                      mneme_error *error),
                                 void *context, mneme_error *error)
{
    job j = {.workers = workers, .work = work, .context = context};
    mn_threads_run(workers->threads, workers->n_shards, do_item, &j);
    for (uint32_t i = 0; i < workers->n_shards; i++) {
        const mn_shard_result *result = &workers->results[i];
        if (result->status == MNEME_OK) continue;
        if (error) *error = result->error;
        return result->status;
    }
    return MNEME_OK;
}
