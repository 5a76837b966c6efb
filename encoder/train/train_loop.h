/* train_loop.h -- training, whatever is trained: steps over shards on threads, Adam, the schedule, evaluation, early
 * stop, log and checkpoints.
 *
 *     batch 0, 1, ...          begin(batch); for each phase: phase(shard 0), phase(shard 1), ... at once, then between
 *     step = `accumulate` batches, then Adam
 *
 * A task says what is trained by callbacks. One with a loss over the whole batch (contrastive, say) takes two phases:
 * forward in the first, the loss in `between`, backward in the second. A batch must depend on its number alone, and on
 * the regions that the task carries along: then a resumed run has the same bits as one that was never stopped. */
#ifndef MN_ENCODER_TRAIN_TRAIN_LOOP_H
#define MN_ENCODER_TRAIN_TRAIN_LOOP_H

#include "encoder/train/checkpoint.h"
#include "encoder/train/train_workers.h"

/* All callbacks get `context`. Those that may be NULL say so. */
typedef struct mn_train_task {
    void *context;
    mn_parameters *parameters; /* ready; packed before the first batch */
    uint32_t n_phases;         /* >= 1 */
    uint64_t batches_per_epoch;
    const char *description; /* a flat JSON object of what makes this run what it is, without the common options */
    const mn_train_region *regions; /* carried from batch to batch */
    size_t n_regions;
    /* Make batch number `batch`. *n_tokens: what it counts. From the thread that trains. */
    mneme_status (*begin)(void *context, uint64_t batch, uint64_t *n_tokens, mneme_error *error);
    /* Forward, backward, or both, over part `index` of the batch: adds to the shard's gradients. *loss: its part of the
     * batch's mean loss (only the last phase's counts). Any thread; parts at once. */
    mneme_status (*phase)(void *context, uint32_t phase, uint32_t index, mn_shard *shard, double *loss,
                          mneme_error *error);
    /* After all parts of a phase. NULL: nothing to do. */
    mneme_status (*between)(void *context, uint32_t phase, mneme_error *error);
    /* The loss on what is held out: smaller is better. NULL: nothing is. */
    mneme_status (*evaluate)(void *context, const mn_train_workers *workers, double *loss, mneme_error *error);
    /* Write the model as it is now into the folder, for whoever uses it; before the first step too. */
    mneme_status (*save)(void *context, const char *folder, mneme_error *error);
} mn_train_task;

/* Run it into `folder`, made when it is not there. options as the public header has them; options->shards is at least
 * 1. What the folder keeps as the model: the best by evaluate; without evaluate, the last.
 * ERR_USAGE: options that make no sense, the folder holds a run and neither resume nor replace is set;
 * ERR_DIVERGED: says at which step, and of which step the checkpoint is. Others: from the callbacks, and from files. */
mneme_status mn_train_run(const mn_train_task *task, const mneme_train_options *options, const char *folder,
                          mneme_train_result *result, mneme_error *error);

/* May a run of these options begin in this folder? ERR_USAGE: it holds one already, or a model, and neither resume nor replace is
 * set; ERR_NOT_FOUND: resume, and there is none. For asking before minutes of work; mn_train_run asks, too. */
mneme_status mn_train_folder_check(const mneme_train_options *options, const char *folder, mneme_error *error);

/* Are the common options in their ranges? ERR_USAGE. For asking before anything is made. */
mneme_status mn_train_options_check(const mneme_train_options *options, mneme_error *error);

/* Steps that a run of these options has. */
uint64_t mn_train_steps(const mneme_train_options *options, uint64_t batches_per_epoch);

#endif
