/* encoder_training.c -- training an encoder: its texts and batches, and the task that the loop runs (train_loop.h).
 *
 *     begin      a batch's texts, dealt out to the shards
 *     phase 0    every shard: forward
 *     between    the loss over the whole batch, and its gradient with respect to the vectors
 *     phase 1    every shard: backward
 */
#include "encoder/train/encoder_training.h"

#include "encoder/train/encoder_report.h"
#include "encoder/train/encoder_run.h"
#include "encoder/train/vector_losses.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the losses (vector_losses.h): found by trying on Cranfield and LoCoMo, docs/training.md has the figures; InfoNCE
 * at the scale that sentence-transformers' MultipleNegativesRankingLoss has. */
static const float COSINE_WEIGHT = 4, SIMILARITY_WEIGHT = 1, RANKING_WEIGHT = 3, SCALE = 20;

enum { TOKENS_PER_UNIT = 48 }; /* a batch has as many tokens as its number of texts times this, or fewer texts */

/* ---- a batch --------------------------------------------------------------------------------------------------- */

static mneme_status gather_units(mn_encoder_run *run, const size_t *units, size_t n, mneme_error *error)
{
    size_t n_texts = 0;
    for (size_t i = 0; i < n; i++) n_texts += run->units[units[i] + 1] - run->units[units[i]];
    run->batch = mn_room_take(&run->room, n_texts, sizeof *run->batch);
    if (!run->batch) return mn_fail_memory(error, "a batch");
    run->n_batch = n_texts;
    run->n_units = n;
    mn_encoder_run_order(run, units, n, run->batch);
    for (size_t i = 0; i < n_texts; i++) run->batch[i] = run->texts_of[run->batch[i]];
    return MNEME_OK;
}

/* Text i goes to shard i % n_shards: each has as many long ones. */
static mneme_status deal_out(mn_encoder_run *run, uint64_t *n_tokens, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    *n_tokens = 0;
    for (uint32_t s = 0; s < run->n_shards && status == MNEME_OK; s++) {
        mn_encoder_part *part = &run->parts[s];
        part->n = run->n_batch > s ? (run->n_batch - s - 1) / run->n_shards + 1 : 0;
        size_t *indices = mn_room_take(&run->room, part->n, sizeof *indices);
        if (!indices) return mn_fail_memory(error, "a batch");
        for (size_t i = 0; i < part->n; i++) indices[i] = run->batch[s + i * run->n_shards];
        if (part->n == 0) continue;
        status = mn_training_sequences(&run->texts, run->tokenizer, run->model->n_special, run->model->max_tokens,
                                       indices, part->n, &run->room, &part->sequences, error);
        if (status == MNEME_OK) *n_tokens += part->sequences.offsets[part->n];
    }
    return status;
}

static mneme_status begin(void *context, uint64_t number, uint64_t *n_tokens, mneme_error *error)
{
    mn_encoder_run *run = context;
    size_t n = 0;
    const size_t *units = mn_batches_at(&run->batches, number, &n);
    mn_room_clear(&run->room);
    mneme_status status = gather_units(run, units, n, error);
    if (status == MNEME_OK) status = deal_out(run, n_tokens, error);
    mn_encoder_run_choose_anchors(run, number);
    size_t room = run->n_batch * run->model->dimension;
    run->vectors = mn_room_take(&run->room, room, sizeof(float));
    run->gradients = mn_room_take(&run->room, room, sizeof(float));
    if (status == MNEME_OK && (!run->vectors || !run->gradients)) status = mn_fail_memory(error, "a batch");
    return status;
}

static mneme_status phase(void *context, uint32_t number, uint32_t index, mn_shard *shard, double *loss,
                          mneme_error *error)
{
    mn_encoder_run *run = context;
    mn_encoder_part *part = &run->parts[index];
    size_t width = run->model->dimension, step = run->n_shards * width, first = index * width;
    *loss = index == 0 ? run->loss : 0;
    if (part->n == 0) return MNEME_OK;
    if (number == 0) {
        mneme_status status =
            run->model->operations->forward(run->model, shard, &part->sequences, &part->vectors, &part->saved, error);
        for (size_t i = 0; i < part->n && status == MNEME_OK; i++)
            memcpy(run->vectors + first + i * step, part->vectors + i * width, width * sizeof(float));
        return status;
    }
    float *gradients = NULL;
    mneme_status status = mn_shard_floats(shard, part->n * width, &gradients, error);
    for (size_t i = 0; i < part->n && status == MNEME_OK; i++)
        memcpy(gradients + i * width, run->gradients + first + i * step, width * sizeof(float));
    return status == MNEME_OK ? run->model->operations->backward(run->model, shard, part->saved, gradients, error)
                              : status;
}

/* ---- losses ---------------------------------------------------------------------------------------------------- */

/* Vectors of the teacher's, and what they are of. */
static mneme_status gather_teacher(const mn_encoder_run *run, const size_t *texts, size_t n, mn_shard *shard,
                                   float **vectors, uint64_t **ids, mneme_error *error)
{
    size_t width = run->model->dimension;
    mneme_status status = mn_shard_floats(shard, n * width, vectors, error);
    *ids = mn_room_take(&shard->room, n, sizeof **ids);
    if (status == MNEME_OK && !*ids) status = mn_fail_memory(error, "a loss");
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        memcpy(*vectors + i * width, run->teacher_vectors + texts[i] * width, width * sizeof(float));
        (*ids)[i] = run->text_hashes[texts[i]];
    }
    return status;
}

static mneme_status distillation_loss(const mn_encoder_run *run, const size_t *texts, size_t n, const float *vectors,
                                      mn_shard *shard, float *gradients, double *value, mneme_error *error)
{
    uint32_t width = run->model->dimension;
    float *teacher = NULL, *anchors = NULL;
    uint64_t *ids = NULL, *anchor_ids = NULL;
    mneme_status status = gather_teacher(run, texts, n, shard, &teacher, &ids, error);
    if (status == MNEME_OK)
        status = gather_teacher(run, run->anchors, run->n_anchors, shard, &anchors, &anchor_ids, error);
    if (status != MNEME_OK) return status;
    const mn_distillation near = {vectors, teacher, (uint32_t)n, width, COSINE_WEIGHT, SIMILARITY_WEIGHT, SCALE};
    const mn_ranking ranking = {.student = vectors,
                                .teacher = teacher,
                                .anchors = anchors,
                                .n = (uint32_t)n,
                                .m = (uint32_t)run->n_anchors,
                                .d = width,
                                .weight = RANKING_WEIGHT,
                                .scale = SCALE,
                                .text_ids = ids,
                                .anchor_ids = anchor_ids};
    status = mn_distillation_loss(&near, shard, gradients, value, error);
    return status == MNEME_OK ? mn_ranking_loss(&ranking, shard, gradients, value, error) : status;
}

mneme_status mn_encoder_run_loss(const mn_encoder_run *run, const size_t *texts, size_t n_texts, size_t n_units,
                                 const float *vectors, mn_shard *shard, float *gradients, double *value,
                                 mneme_error *error)
{
    uint32_t width = run->model->dimension;
    if (run->options->method == MNEME_TRAIN_DISTILL)
        return distillation_loss(run, texts, n_texts, vectors, shard, gradients, value, error);
    uint64_t *ids = mn_room_take(&shard->room, n_texts, sizeof *ids);
    if (!ids) return mn_fail_memory(error, "a loss");
    for (size_t i = 0; i < n_texts; i++) ids[i] = run->text_hashes[texts[i]];
    const mn_contrast loss = {.queries = vectors,
                              .passages = vectors + n_units * width,
                              .n = (uint32_t)n_units,
                              .m = (uint32_t)(n_texts - n_units),
                              .d = width,
                              .scale = SCALE,
                              .query_ids = ids,
                              .passage_ids = ids + n_units};
    return mn_contrastive_loss(&loss, shard, gradients, gradients + n_units * width, value, error);
}

static mneme_status between(void *context, uint32_t number, mneme_error *error)
{
    mn_encoder_run *run = context;
    if (number != 0) return MNEME_OK;
    mn_room_clear(&run->loss_shard->room);
    return mn_encoder_run_loss(run, run->batch, run->n_batch, run->n_units, run->vectors, run->loss_shard,
                               run->gradients, &run->loss, error);
}

/* ---- the run --------------------------------------------------------------------------------------------------- */

static mneme_status evaluate(void *context, const mn_train_workers *workers, double *loss, mneme_error *error)
{
    mn_encoder_run *run = context;
    return mn_encoder_report_measure(run, workers, loss, error);
}

static mneme_status save(void *context, const char *folder, mneme_error *error)
{
    mn_encoder_run *run = context;
    char *about = mn_encoder_report_json(run);
    mneme_status status =
        about ? run->model->operations->save(run->model, folder, about, error) : mn_fail_memory(error, folder);
    free(about);
    return status;
}

static mneme_status prepare(mn_encoder_run *run, mneme_error *error)
{
    run->n_shards = run->train.shards;
    run->parts = mn_alloc_zeroed(run->n_shards, sizeof *run->parts);
    mneme_status status = run->parts ? MNEME_OK : mn_fail_memory(error, "training");
    if (status == MNEME_OK) status = mn_shard_new(&run->model->parameters, &run->loss_shard, error);
    size_t n = run->n_trained;
    uint32_t *lengths = mn_alloc_array(n, sizeof *lengths);
    if (status == MNEME_OK && !lengths) status = mn_fail_memory(error, "batches");
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        lengths[i] = 0;
        for (size_t t = run->units[i]; t < run->units[i + 1]; t++)
            if (run->texts.items[run->texts_of[t]].n > lengths[i]) lengths[i] = run->texts.items[run->texts_of[t]].n;
    }
    if (status == MNEME_OK)
        status = mn_batches_new(lengths, n, run->train.batch, run->train.batch * TOKENS_PER_UNIT, run->train.seed,
                                &run->batches, error);
    mn_free(lengths);
    return status;
}

static mneme_status run_task(mn_encoder_run *run, const char *folder, mneme_train_encoder_result *result,
                             mneme_error *error)
{
    char *description = mn_encoder_run_describe(run);
    if (!description) return mn_fail_memory(error, "training");
    const mn_train_region best = {"measured", &run->best, sizeof run->best};
    const mn_train_task task = {.context = run,
                                .parameters = &run->model->parameters,
                                .n_phases = 2,
                                .batches_per_epoch = run->batches.n_batches,
                                .description = description,
                                .regions = &best,
                                .n_regions = 1,
                                .begin = begin,
                                .phase = phase,
                                .between = between,
                                .evaluate = run->n_held_out > 0 ? evaluate : NULL,
                                .save = save};
    mneme_status status = mn_train_run(&task, &run->train, folder, &result->train, error);
    free(description);
    return status;
}

mneme_status mn_train_encoder(mn_encoder *teacher, const mneme_train_encoder_options *options, const char *folder,
                              mneme_train_encoder_result *result, mneme_error *error)
{
    mn_encoder_run run = {.teacher = teacher, .options = options, .train = *options->train};
    *result = (mneme_train_encoder_result){.agreement = NAN, .teacher_found_1 = NAN, .teacher_found_10 = NAN};
    if (run.train.shards == 0) run.train.shards = mn_cpu_count();
    mneme_status status = mn_encoder_run_check(&run, error);
    if (status == MNEME_OK) status = mn_train_options_check(&run.train, error);
    if (status == MNEME_OK) status = mn_train_folder_check(&run.train, folder, error);
    if (status == MNEME_OK) status = mn_encoder_run_open(&run, error);
    if (status == MNEME_OK) status = mn_encoder_run_texts(&run, error);
    if (status == MNEME_OK) status = mn_encoder_run_ask_teacher(&run, folder, error);
    if (status == MNEME_OK) status = mn_encoder_run_meet_teacher(&run, error);
    if (status == MNEME_OK) status = prepare(&run, error);
    if (status == MNEME_OK) status = mn_encoder_report_before(&run, error);
    if (status == MNEME_OK) status = run_task(&run, folder, result, error);
    mn_encoder_report_result(&run, result);
    mn_encoder_run_free(&run);
    return status;
}
