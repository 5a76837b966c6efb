/* lm_train.c -- see lm_train.h.
 *
 * Part s of a batch has the sequences [first(s), first(s + 1)), with the rows and the carried state of each part end to
 * end, so that a part is laid out as a model wants it:
 *
 *     ids, targets   | part 0: sequences * steps | part 1 | ...
 *     state          | part 0: mn_lm_state_size  | part 1 | ... */
#include "encoder/train/lm_train.h"

#include "encoder/train/lm_folder.h"
#include "encoder/train/train_loop.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    HELD_OUT = 10,        /* one part in so many */
    LEAST_ROWS = 8,       /* sequences of a shard, where it is not said */
    BATCH_MOST = 1 << 24, /* characters */
};
#define PLACES_STREAM (UINT64_C(1) << 32) /* of random numbers: apart from those of shards */

typedef struct lm_run {
    mneme_train_options train;
    mn_lm_config config;
    mn_lm_vocabulary vocabulary;
    mn_language_model *model;
    uint32_t *ids; /* of the whole text */
    size_t n_ids, n_train;
    uint64_t batches_per_epoch;
    uint32_t *inputs, *targets; /* (batch, steps_back) */
    float *state;
    size_t state_size;
} lm_run;

static uint32_t first_of(const lm_run *r, uint32_t part)
{
    return (uint32_t)((uint64_t)part * r->train.batch / r->train.shards);
}

/* ---- the text -------------------------------------------------------------------------------------------------- */

static mneme_status encode_all(lm_run *r, const mneme_lm_options *options, mneme_error *error)
{
    size_t n = 0;
    for (size_t i = 0; i < options->n_texts; i++) n += options->texts[i].size;
    r->ids = mn_alloc_array(n, sizeof *r->ids);
    if (!r->ids) return mn_fail_memory(error, "text");
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < options->n_texts && status == MNEME_OK; i++) {
        uint32_t *ids = NULL;
        size_t n_ids = 0;
        status = mn_lm_encode(&r->vocabulary, &options->texts[i], &ids, &n_ids, error);
        if (n_ids) memcpy(r->ids + r->n_ids, ids, n_ids * sizeof *ids);
        r->n_ids += n_ids;
        mn_free(ids);
    }
    return status;
}

/* A part needs a sequence; a stream needs a whole batch's step. */
static mneme_status check_sizes(lm_run *r, mneme_error *error)
{
    size_t held_out = r->n_ids / HELD_OUT, steps = r->config.steps_back;
    r->n_train = r->n_ids - held_out;
    size_t needed = mn_lm_carries_state(&r->config) ? (size_t)r->train.batch * steps : steps + 2;
    if (held_out < 1 || r->n_train < needed)
        return mn_fail(
            error, MNEME_ERR_USAGE,
            "the texts have %zu characters, of which %zu are to learn from: too few for %u sequences of %zu; "
            "give more text, or ask for fewer or shorter sequences (--batch, --steps-back)",
            r->n_ids, r->n_train, r->train.batch, steps);
    if ((uint64_t)r->train.batch * steps > BATCH_MOST)
        return mn_fail(error, MNEME_ERR_USAGE, "%u sequences of %zu characters: a batch has at most %d", r->train.batch,
                       steps, BATCH_MOST);
    if (r->train.shards == 0) {
        unsigned most = r->train.batch / LEAST_ROWS, cores = mn_cpu_count();
        r->train.shards = most < 1 ? 1 : most < cores ? most : cores;
    }
    if (r->train.shards > r->train.batch)
        return mn_fail(error, MNEME_ERR_USAGE, "%u sequences cannot be cut into %u shards", r->train.batch,
                       r->train.shards);
    return MNEME_OK;
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

/* n sequences of n_steps that begin at `starts`, as the model wants them; places behind the text's end are at its
 * beginning. */
typedef struct row_block {
    const lm_run *run;
    const size_t *starts;
    uint32_t n, n_steps;
    size_t end; /* of the text */
    uint32_t *inputs, *targets;
} row_block;

static void fill(const row_block *rows)
{
    bool by_step = mn_lm_carries_state(&rows->run->config);
    const uint32_t *ids = rows->run->ids;
    for (uint32_t b = 0; b < rows->n; b++)
        for (uint32_t t = 0; t < rows->n_steps; t++) {
            size_t row = by_step ? (size_t)t * rows->n + b : (size_t)b * rows->n_steps + t;
            size_t at = rows->starts[b] + t;
            rows->inputs[row] = ids[at % rows->end];
            rows->targets[row] = ids[(at + 1) % rows->end];
        }
}

/* Where the sequences of a batch begin. */
static void choose_starts(const lm_run *r, uint64_t batch, size_t *starts)
{
    uint32_t steps = r->config.steps_back;
    if (!mn_lm_carries_state(&r->config)) {
        mn_random random = mn_random_of(r->train.seed, batch, PLACES_STREAM);
        for (uint32_t b = 0; b < r->train.batch; b++)
            starts[b] = (size_t)(mn_random_next(&random) % (r->n_train - steps));
        return;
    }
    uint64_t epoch = batch / r->batches_per_epoch, window = batch % r->batches_per_epoch;
    mn_random random = mn_random_of(r->train.seed, epoch, PLACES_STREAM);
    size_t turn = epoch ? (size_t)(mn_random_next(&random) % r->n_train) : 0, apart = r->n_train / r->train.batch;
    for (uint32_t b = 0; b < r->train.batch; b++) starts[b] = (turn + b * apart + (size_t)window * steps) % r->n_train;
}

static mneme_status begin(void *context, uint64_t batch, uint64_t *n_tokens, mneme_error *error)
{
    lm_run *r = context;
    size_t *starts = mn_alloc_array(r->train.batch, sizeof *starts);
    if (!starts) return mn_fail_memory(error, "batch");
    choose_starts(r, batch, starts);
    for (uint32_t s = 0; s < r->train.shards; s++) {
        uint32_t from = first_of(r, s), to = first_of(r, s + 1);
        size_t offset = (size_t)from * r->config.steps_back;
        fill(&(row_block){.run = r,
                          .starts = starts + from,
                          .n = to - from,
                          .n_steps = r->config.steps_back,
                          .end = r->n_train,
                          .inputs = r->inputs + offset,
                          .targets = r->targets + offset});
    }
    mn_free(starts);
    if (batch % r->batches_per_epoch == 0) memset(r->state, 0, r->state_size * sizeof(float));
    *n_tokens = (uint64_t)r->train.batch * r->config.steps_back;
    return MNEME_OK;
}

static mneme_status phase(void *context, uint32_t number, uint32_t index, mn_shard *shard, double *loss,
                          mneme_error *error)
{
    (void)number;
    lm_run *r = context;
    uint32_t from = first_of(r, index), steps = r->config.steps_back;
    float scale = 1.0f / ((float)r->train.batch * (float)steps);
    const mn_lm_input input = {.n_sequences = first_of(r, index + 1) - from,
                               .n_steps = steps,
                               .ids = r->inputs + (size_t)from * steps,
                               .state = r->state_size ? r->state + mn_lm_state_size(&r->config, from) : NULL};
    double sum = 0;
    mneme_status status = mn_lm_loss(r->model, shard, &input, r->targets + (size_t)from * steps, scale, &sum, error);
    *loss = sum / ((double)r->train.batch * (double)steps);
    return status;
}

/* ---- what is held out ------------------------------------------------------------------------------------------ */

/* n_sequences of `length` characters, one behind the other. */
typedef struct evaluation {
    const lm_run *run;
    const mn_train_workers *workers;
    uint32_t n_sequences;
    size_t length;
    double *sums; /* of each shard */
} evaluation;

/* The characters [from, to) of each sequence of a part, by its state. */
static mneme_status evaluate_rows(const evaluation *e, const row_block *rows, mn_shard *shard, float *state,
                                  double *sum, mneme_error *error)
{
    double loss = 0;
    fill(rows);
    mn_room_clear(&shard->room);
    const mn_lm_input input = {rows->n, rows->n_steps, rows->inputs, state};
    mneme_status status = mn_lm_loss(e->run->model, shard, &input, rows->targets, 1, &loss, error);
    *sum += loss;
    return status;
}

/* All of a part's sequences: at most a batch's share of them at once, each to its end. */
static mneme_status evaluate_part(const evaluation *e, uint32_t from, uint32_t to, mn_shard *shard, double *sum,
                                  mneme_error *error)
{
    const lm_run *r = e->run;
    uint32_t most = r->train.batch / r->train.shards, steps = r->config.steps_back;
    if (most < 1) most = 1;
    size_t state_size = mn_lm_state_size(&r->config, most);
    size_t *starts = mn_alloc_array(most, sizeof *starts);
    uint32_t *ids = mn_alloc_array(2 * (size_t)most * steps, sizeof *ids);
    float *state = mn_alloc_zeroed(state_size + 1, sizeof *state);
    mneme_status status = starts && ids && state ? MNEME_OK : mn_fail_memory(error, "evaluation");
    for (uint32_t b = from; b < to && status == MNEME_OK; b += most) {
        uint32_t n = to - b < most ? to - b : most;
        if (state) memset(state, 0, state_size * sizeof(float));
        for (size_t at = 0; at < e->length && status == MNEME_OK; at += steps) {
            for (uint32_t i = 0; i < n; i++) starts[i] = r->n_train - 1 + (b + i) * e->length + at;
            const row_block rows = {.run = r,
                                    .starts = starts,
                                    .n = n,
                                    .n_steps = (uint32_t)(e->length - at < steps ? e->length - at : steps),
                                    .end = r->n_ids,
                                    .inputs = ids,
                                    .targets = ids + (size_t)most * steps};
            status = evaluate_rows(e, &rows, shard, state_size ? state : NULL, sum, error);
        }
    }
    mn_free(starts);
    mn_free(ids);
    mn_free(state);
    return status;
}

static mneme_status evaluate_share(void *context, uint32_t index, mn_shard *shard, mneme_error *error)
{
    const evaluation *e = context;
    uint64_t all = e->n_sequences, n = e->workers->n_shards;
    shard->training = false;
    return evaluate_part(e, (uint32_t)(index * all / n), (uint32_t)((index + 1) * all / n), shard, &e->sums[index],
                         error);
}

static mneme_status evaluate(void *context, const mn_train_workers *workers, double *loss, mneme_error *error)
{
    lm_run *r = context;
    size_t held_out = r->n_ids - r->n_train, steps = r->config.steps_back;
    size_t windows = held_out / steps ? held_out / steps : 1;
    evaluation e = {.run = r, .workers = workers};
    if (mn_lm_carries_state(&r->config)) { /* as many streams as in training, unless they would be very short */
        e.n_sequences = windows < r->train.batch ? (uint32_t)windows : r->train.batch;
        e.length = held_out / e.n_sequences;
    } else {
        e.n_sequences = (uint32_t)windows;
        e.length = held_out < steps ? held_out : steps;
    }
    e.sums = mn_alloc_zeroed(workers->n_shards, sizeof *e.sums);
    if (!e.sums) return mn_fail_memory(error, "evaluation");
    mneme_status status = mn_train_each_shard(workers, evaluate_share, &e, error);
    double sum = 0;
    for (uint32_t s = 0; s < workers->n_shards; s++) sum += e.sums[s];
    *loss = sum / ((double)e.n_sequences * (double)e.length);
    mn_free(e.sums);
    return status;
}

/* ---- the run --------------------------------------------------------------------------------------------------- */

static mneme_status save(void *context, const char *folder, mneme_error *error)
{
    const lm_run *r = context;
    return mn_lm_folder_save(folder, r->model, &r->vocabulary, error);
}

static char *describe(const lm_run *r)
{
    char texts[64];
    const mn_lm_config *c = &r->config;
    uint64_t hash = r->vocabulary.n;
    if (r->vocabulary.codepoints)
        hash = XXH3_64bits(r->vocabulary.codepoints, r->vocabulary.n * sizeof *r->vocabulary.codepoints);
    hash = XXH3_64bits_withSeed(r->ids, r->n_ids * sizeof *r->ids, hash);
    snprintf(texts, sizeof texts, "of %zu characters (%016" PRIx64 ")", r->n_ids, hash);
    json_t *all = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:b, s:s}", "cell", mn_lm_cell_name(c->cell), "layers",
                            (json_int_t)c->layers, "hidden", (json_int_t)c->hidden, "heads", (json_int_t)c->heads,
                            "steps back", (json_int_t)c->steps_back, "dropout", (double)c->dropout, "tied embedding",
                            (int)c->tied, "texts", texts);
    char *text = all ? json_dumps(all, JSON_PRESERVE_ORDER) : NULL;
    json_decref(all);
    return text;
}

static mneme_status make(lm_run *r, const mneme_lm_options *options, mneme_error *error)
{
    mneme_status status = mn_lm_vocabulary_of(options->texts, options->n_texts, options->bytes, &r->vocabulary, error);
    if (status == MNEME_OK) status = encode_all(r, options, error);
    if (status == MNEME_OK) status = check_sizes(r, error);
    if (status != MNEME_OK) return status;
    uint32_t steps = r->config.steps_back;
    uint64_t in_a_batch = (uint64_t)r->train.batch * steps;
    r->config.vocabulary = r->vocabulary.n;
    r->batches_per_epoch = mn_lm_carries_state(&r->config) ? r->n_train / r->train.batch / steps
                           : r->n_train > in_a_batch       ? r->n_train / in_a_batch
                                                           : 1;
    r->state_size = mn_lm_state_size(&r->config, r->train.batch);
    r->inputs = mn_alloc_array(in_a_batch, sizeof *r->inputs);
    r->targets = mn_alloc_array(in_a_batch, sizeof *r->targets);
    r->state = mn_alloc_zeroed(r->state_size + 1, sizeof *r->state);
    if (!r->inputs || !r->targets || !r->state) return mn_fail_memory(error, "batch");
    return mn_language_model_new(&r->config, r->train.bf16, r->train.seed, &r->model, error);
}

static mneme_status run_task(lm_run *r, const char *folder, mneme_train_result *result, mneme_error *error)
{
    char *description = describe(r);
    if (!description) return mn_fail_memory(error, "training");
    const mn_train_region state = {"carried", r->state, r->state_size * sizeof *r->state};
    const mn_train_task task = {.context = r,
                                .parameters = &r->model->parameters,
                                .n_phases = 1,
                                .batches_per_epoch = r->batches_per_epoch,
                                .description = description,
                                .regions = &state,
                                .n_regions = r->state_size ? 1 : 0,
                                .begin = begin,
                                .phase = phase,
                                .evaluate = evaluate,
                                .save = save};
    mneme_status status = mn_train_run(&task, &r->train, folder, result, error);
    free(description);
    return status;
}

mneme_status mn_lm_train(const mneme_lm_options *options, const char *folder, mneme_train_result *result,
                         mneme_error *error)
{
    lm_run r = {.train = *options->train,
                .config = {.cell = options->cell,
                           .layers = options->layers,
                           .hidden = options->hidden,
                           .heads = options->heads,
                           .steps_back = options->steps_back,
                           .dropout = (float)options->dropout,
                           .tied = options->tied}};
    mneme_status status = mn_lm_config_check(&r.config, error);
    if (status == MNEME_OK) status = mn_train_options_check(&r.train, error);
    if (status == MNEME_OK) status = make(&r, options, error);
    if (status == MNEME_OK) status = run_task(&r, folder, result, error);
    mn_language_model_free(r.model);
    mn_lm_vocabulary_free(&r.vocabulary);
    mn_free(r.ids);
    mn_free(r.inputs);
    mn_free(r.targets);
    mn_free(r.state);
    return status;
}
