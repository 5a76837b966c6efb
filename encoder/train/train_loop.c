/* train_loop.c -- see train_loop.h.
 *
 * What a run knows beside the model is in `where`, which checkpoints keep. Nothing in there is a time: a run that is
 * stopped and goes on writes the same bytes as one that is not. */
#include "encoder/train/train_loop.h"

#include "common/clock.h"
#include "common/file.h"
#include "encoder/train/new_folder.h"
#include "encoder/train/train_log.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHARDS_MOST = 64, REGIONS_MOST = 15 };

/* The state of a run, as checkpoints keep it. */
typedef struct position {
    uint64_t step;           /* done */
    uint64_t without_better; /* evaluations since the best one */
    double loss, validation_loss, best_loss;
} position;

typedef struct run {
    const mn_train_task *task;
    const mneme_train_options *options;
    const char *folder;
    uint64_t n_steps, evaluate_every, checkpoint_every;
    position where;
    mn_train_workers workers;
    mn_adam *adam;
    mn_train_log log;
    char *description;
    mn_train_region regions[REGIONS_MOST + 1];
    double losses[SHARDS_MOST]; /* of the parts of a batch */
    uint32_t phase;
    uint64_t saved_step, first_step; /* of the newest checkpoint; where this run began */
    uint64_t tokens;                 /* of this run */
    double started, busy, speed;     /* busy: seconds in steps alone */
    double gradient_norm, learning_rate;
    bool evaluated, cancelled, stopped_early;
} run;

/* ---- options --------------------------------------------------------------------------------------------------- */

mneme_status mn_train_options_check(const mneme_train_options *o, mneme_error *error)
{
    if (o->steps == 0 && !(o->epochs >= 0 && o->epochs <= 1e9))
        return mn_fail(error, MNEME_ERR_USAGE, "%g epochs: expected a number of 0 or more", o->epochs);
    if (!(o->learning_rate > 0 && o->learning_rate <= 1e3))
        return mn_fail(error, MNEME_ERR_USAGE, "a learning rate of %g: expected more than 0, 0.002 for example",
                       o->learning_rate);
    if (!(o->final_rate >= 0 && o->final_rate <= 1))
        return mn_fail(error, MNEME_ERR_USAGE, "a final rate of %g: expected a share of the highest, 0 to 1",
                       o->final_rate);
    if (!(o->weight_decay >= 0 && o->weight_decay <= 1e3) || !(o->clip >= 0 && o->clip <= 1e30))
        return mn_fail(error, MNEME_ERR_USAGE, "weight decay %g, clipping %g: expected 0 (none) or more",
                       o->weight_decay, o->clip);
    if (o->batch < 1 || o->batch > 1 << 20 || o->accumulate < 1 || o->accumulate > 1 << 20)
        return mn_fail(error, MNEME_ERR_USAGE, "a batch of %u, accumulated %u times: expected 1 or more", o->batch,
                       o->accumulate);
    if (o->shards > SHARDS_MOST)
        return mn_fail(error, MNEME_ERR_USAGE, "%u shards: expected at most %d", o->shards, SHARDS_MOST);
    return MNEME_OK;
}

uint64_t mn_train_steps(const mneme_train_options *options, uint64_t batches_per_epoch)
{
    if (options->steps) return options->steps;
    double steps = options->epochs * (double)batches_per_epoch / (double)options->accumulate;
    return steps <= 0 ? 0 : steps < 1 ? 1 : (uint64_t)(steps + 0.5);
}

/* The common options that a resumed run must share, and the task's own. */
static char *describe(const run *r)
{
    const mneme_train_options *o = r->options;
    json_t *all = json_loads(r->task->description, 0, NULL);
    json_t *common =
        json_pack("{s:I, s:f, s:f, s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "steps", (json_int_t)r->n_steps,
                  "learning rate", o->learning_rate, "final rate", o->final_rate, "warm-up", (json_int_t)o->warm_up,
                  "weight decay", o->weight_decay, "clipping", o->clip, "batch", (json_int_t)o->batch, "accumulate",
                  (json_int_t)o->accumulate, "evaluate every", (json_int_t)r->evaluate_every, "patience",
                  (json_int_t)o->patience, "seed", (json_int_t)o->seed, "shards", (json_int_t)o->shards, "precision",
                  r->task->parameters->arithmetic->name);
    char *text = all && common && json_object_update(all, common) == 0 ? json_dumps(all, JSON_PRESERVE_ORDER) : NULL;
    json_decref(common);
    json_decref(all);
    return text;
}

/* ---- making and releasing -------------------------------------------------------------------------------------- */

static mneme_status make(run *r, mneme_error *error)
{
    const mneme_train_options *o = r->options;
    const mn_train_task *task = r->task;
    mn_adam_options adam = MN_ADAM_OPTIONS;
    adam.weight_decay = (float)o->weight_decay;
    adam.largest_norm = (float)o->clip;
    r->n_steps = mn_train_steps(o, task->batches_per_epoch);
    uint64_t epoch = task->batches_per_epoch / o->accumulate;
    r->evaluate_every = o->evaluate_every ? o->evaluate_every : epoch ? epoch : 1;
    r->checkpoint_every = o->checkpoint_every ? o->checkpoint_every : r->evaluate_every;
    r->where = (position){.loss = NAN, .validation_loss = NAN, .best_loss = NAN};
    assert(task->n_regions <= REGIONS_MOST);
    for (size_t i = 0; i < task->n_regions; i++) r->regions[i] = task->regions[i];
    r->regions[task->n_regions] = (mn_train_region){"position", &r->where, sizeof r->where};
    mneme_status status = mn_train_workers_open(&r->workers, task->parameters, o->threads, o->shards, error);
    if (status == MNEME_OK) status = mn_adam_new(task->parameters, &adam, &r->adam, error);
    r->description = describe(r);
    return status == MNEME_OK && !r->description ? mn_fail_memory(error, "training") : status;
}

static void release(run *r)
{
    mn_train_workers_close(&r->workers);
    mn_adam_free(r->adam);
    mn_train_log_close(&r->log);
    free(r->description);
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

static mn_checkpoint checkpoint_of(run *r)
{
    return (mn_checkpoint){.folder = r->folder,
                           .description = r->description,
                           .adam = r->adam,
                           .regions = r->regions,
                           .n_regions = r->task->n_regions + 1};
}

static mneme_status save_checkpoint(run *r, mneme_error *error)
{
    mn_checkpoint checkpoint = checkpoint_of(r);
    mneme_status status = MNEME_OK;
    /* Until something was evaluated, the model is what it is now. */
    if (isnan(r->where.best_loss)) status = r->task->save(r->task->context, r->folder, error);
    if (status == MNEME_OK) status = mn_checkpoint_save(&checkpoint, error);
    if (status == MNEME_OK) r->saved_step = r->where.step;
    return status;
}

/* The old run's model is about to be replaced: its checkpoint must not seem to be of the new one. */
static mneme_status remove_checkpoint(const char *folder, mneme_error *error)
{
    char *path = mn_path_join(folder, MN_CHECKPOINT_FILE);
    mneme_status status = !path               ? mn_fail_memory(error, "path")
                          : unlink(path) != 0 ? mn_fail_errno(error, errno, "cannot replace %s", path)
                                              : MNEME_OK;
    mn_free(path);
    return status;
}

/* A model that was not trained there, or whose checkpoint was taken away, is not written over. */
static mneme_status check_no_model(const char *folder, mneme_error *error)
{
    bool holds = false;
    mneme_status status = mn_folder_holds_model(folder, &holds, error);
    if (status == MNEME_OK && holds)
        status = mn_fail(error, MNEME_ERR_USAGE,
                         "%s holds a model already: replace it (--force), or give another folder", folder);
    return status;
}

mneme_status mn_train_folder_check(const mneme_train_options *options, const char *folder, mneme_error *error)
{
    if (options->resume) return mn_checkpoint_require(folder, error);
    if (options->replace) return MNEME_OK;
    if (mn_checkpoint_require(folder, NULL) != MNEME_OK) return check_no_model(folder, error);
    return mn_fail(error, MNEME_ERR_USAGE,
                   "%s holds a training run already: go on with it (--resume), replace "
                   "it (--force), or give another folder",
                   folder);
}

static mneme_status start(run *r, mneme_error *error)
{
    mneme_status status = mn_train_folder_check(r->options, r->folder, error);
    if (status != MNEME_OK) return status;
    if (r->options->resume) {
        mn_checkpoint checkpoint = checkpoint_of(r);
        status = mn_checkpoint_load(&checkpoint, error);
        r->saved_step = r->where.step;
    } else {
        status = mn_make_directories(r->folder, 0755, error);
        if (status == MNEME_OK && mn_checkpoint_require(r->folder, NULL) == MNEME_OK)
            status = remove_checkpoint(r->folder, error);
    }
    mn_parameters_pack(r->task->parameters, r->workers.threads);
    r->first_step = r->where.step;
    if (status == MNEME_OK) status = mn_train_log_open(&r->log, r->folder, r->where.step, error);
    if (status == MNEME_OK && !r->options->resume) status = save_checkpoint(r, error);
    return status;
}

/* ---- a step ---------------------------------------------------------------------------------------------------- */

static mneme_status do_part(void *context, uint32_t index, mn_shard *shard, mneme_error *error)
{
    run *r = context;
    r->losses[index] = 0;
    return r->task->phase(r->task->context, r->phase, index, shard, &r->losses[index], error);
}

static mneme_status do_batch(run *r, uint64_t batch, double *loss, mneme_error *error)
{
    uint64_t n_tokens = 0;
    const mn_train_task *task = r->task;
    mneme_status status = task->begin(task->context, batch, &n_tokens, error);
    for (uint32_t s = 0; s < r->workers.n_shards; s++) {
        mn_shard_begin(r->workers.shards[s], r->options->seed, batch + 1, s);
        r->workers.shards[s]->training = true;
    }
    for (r->phase = 0; r->phase < task->n_phases && status == MNEME_OK; r->phase++) {
        status = mn_train_each_shard(&r->workers, do_part, r, error);
        for (uint32_t s = 0; s < r->workers.n_shards && r->phase + 1 == task->n_phases; s++)
            *loss += r->losses[s] / (double)r->options->accumulate;
        if (status == MNEME_OK && task->between) status = task->between(task->context, r->phase, error);
    }
    if (status == MNEME_OK) mn_adam_add(r->adam, r->workers.shards, r->workers.n_shards, r->workers.threads);
    r->tokens += n_tokens;
    return status;
}

static mneme_status diverged(const run *r, const char *what, double value, mneme_error *error)
{
    return mn_fail(error, MNEME_ERR_DIVERGED,
                   "step %llu: the %s is %g; %s keeps the checkpoint of step %llu (train anew with a lower learning "
                   "rate, more warm-up or stronger clipping)",
                   (unsigned long long)(r->where.step + 1), what, value, r->folder, (unsigned long long)r->saved_step);
}

static mneme_status do_step(run *r, mneme_error *error)
{
    const mneme_train_options *o = r->options;
    double began = mn_clock_monotonic(), loss = 0;
    uint64_t tokens = r->tokens;
    mneme_status status = MNEME_OK;
    for (uint32_t a = 0; a < o->accumulate && status == MNEME_OK; a++)
        status = do_batch(r, r->where.step * o->accumulate + a, &loss, error);
    if (status != MNEME_OK) return status;
    if (!isfinite(loss)) return diverged(r, "loss", loss, error);
    float rate = mn_learning_rate((float)o->learning_rate, (float)o->final_rate, r->where.step, o->warm_up, r->n_steps);
    r->learning_rate = (double)rate;
    if (!mn_adam_step(r->adam, rate, 1.0f / (float)o->accumulate, r->workers.threads, &r->gradient_norm))
        return diverged(r, "norm of the gradient", r->gradient_norm, error);
    mn_parameters_pack(r->task->parameters, r->workers.threads);
    r->where.step++;
    r->where.loss = loss;
    double took = mn_clock_monotonic() - began, now = took > 0 ? (double)(r->tokens - tokens) / took : 0;
    r->busy += took;
    r->speed = r->speed > 0 ? 0.95 * r->speed + 0.05 * now : now;
    return MNEME_OK;
}

/* ---- between steps --------------------------------------------------------------------------------------------- */

static mneme_status evaluate(run *r, mneme_error *error)
{
    double loss = NAN;
    mneme_status status = r->task->evaluate(r->task->context, &r->workers, &loss, error);
    if (status != MNEME_OK) return status;
    if (!isfinite(loss)) return diverged(r, "validation loss", loss, error);
    r->evaluated = true;
    r->where.validation_loss = loss;
    if (isnan(r->where.best_loss) || loss < r->where.best_loss) {
        r->where.best_loss = loss;
        r->where.without_better = 0;
        return r->task->save(r->task->context, r->folder, error);
    }
    r->where.without_better++;
    r->stopped_early = r->options->patience > 0 && r->where.without_better >= r->options->patience;
    return MNEME_OK;
}

static mneme_train_progress progress_of(const run *r)
{
    const position *at = &r->where;
    uint64_t batch = (at->step ? at->step - 1 : 0) * r->options->accumulate;
    uint64_t epoch = r->task->batches_per_epoch ? r->task->batches_per_epoch : 1;
    double seconds = mn_clock_monotonic() - r->started;
    uint64_t done = at->step - r->first_step;
    return (mneme_train_progress){.step = at->step,
                                  .n_steps = r->n_steps,
                                  .epoch = batch / epoch + 1,
                                  .loss = at->loss,
                                  .validation_loss = at->validation_loss,
                                  .best_loss = at->best_loss,
                                  .evaluated = r->evaluated,
                                  .learning_rate = r->learning_rate,
                                  .gradient_norm = r->gradient_norm,
                                  .tokens_per_second = r->speed,
                                  .seconds = seconds,
                                  .seconds_left = done ? seconds / (double)done * (double)(r->n_steps - at->step) : 0};
}

/* What is due after a step. */
static mneme_status look_around(run *r, mneme_error *error)
{
    uint64_t step = r->where.step;
    bool last = step == r->n_steps;
    r->evaluated = false;
    mneme_status status = MNEME_OK;
    if (r->task->evaluate && (step % r->evaluate_every == 0 || last)) status = evaluate(r, error);
    mneme_train_progress progress = progress_of(r);
    if (status == MNEME_OK) status = mn_train_log_write(&r->log, &progress, error);
    if (status != MNEME_OK) return status;
    if (r->options->watch && !r->options->watch(r->options->context, &progress)) r->cancelled = true;
    if (step % r->checkpoint_every == 0 || last || r->cancelled || r->stopped_early) return save_checkpoint(r, error);
    return MNEME_OK;
}

static mneme_status go(run *r, mneme_error *error)
{
    mneme_status status = start(r, error);
    /* A run that had stopped early has nothing more to do. */
    if (status == MNEME_OK && r->options->patience > 0 && r->where.without_better >= r->options->patience)
        r->stopped_early = true;
    while (status == MNEME_OK && r->where.step < r->n_steps && !r->cancelled && !r->stopped_early) {
        status = do_step(r, error);
        if (status == MNEME_OK) status = look_around(r, error);
    }
    return status;
}

mneme_status mn_train_run(const mn_train_task *task, const mneme_train_options *options, const char *folder,
                          mneme_train_result *result, mneme_error *error)
{
    mneme_status status = mn_train_options_check(options, error);
    if (status != MNEME_OK) return status;
    run *r = mn_alloc_zeroed(1, sizeof *r);
    if (!r) return mn_fail_memory(error, "training");
    *r = (run){.task = task, .options = options, .folder = folder, .started = mn_clock_monotonic()};
    status = make(r, error);
    if (status == MNEME_OK) status = go(r, error);
    if (result)
        *result = (mneme_train_result){.steps = r->where.step,
                                       .n_parameters = mn_parameters_count(task->parameters),
                                       .loss = r->where.loss,
                                       .validation_loss = r->where.validation_loss,
                                       .best_loss = r->where.best_loss,
                                       .tokens_per_second = r->busy > 0 ? (double)r->tokens / r->busy : 0,
                                       .seconds = mn_clock_monotonic() - r->started,
                                       .cancelled = r->cancelled,
                                       .stopped_early = r->stopped_early};
    release(r);
    mn_free(r);
    return status;
}
