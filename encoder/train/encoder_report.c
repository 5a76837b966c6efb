/* encoder_report.c -- see encoder_report.h. */
#include "encoder/train/encoder_report.h"

#include "encoder/train/vector_losses.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 64 /* texts that are encoded at once, units whose loss is taken at once */ };

/* ---- vectors --------------------------------------------------------------------------------------------------- */

typedef struct encoding {
    mn_encoder_run *run;
    const mn_train_workers *workers;
    const size_t *texts;
    size_t n;
    float *vectors;
} encoding;

static mneme_status encode_group(const encoding *e, mn_shard *shard, size_t first, size_t n, mneme_error *error)
{
    mn_trainable *model = e->run->model;
    mn_token_batch batch;
    float *vectors = NULL;
    void *saved = NULL;
    mn_shard_begin(shard, 0, 0, 0);
    shard->training = false;
    mneme_status status = mn_training_sequences(&e->run->texts, e->run->tokenizer, model->n_special, model->max_tokens,
                                                e->texts + first, n, &shard->room, &batch, error);
    if (status == MNEME_OK) status = model->operations->forward(model, shard, &batch, &vectors, &saved, error);
    if (status == MNEME_OK)
        memcpy(e->vectors + first * model->dimension, vectors, n * model->dimension * sizeof(float));
    return status;
}

static mneme_status encode_share(void *context, uint32_t index, mn_shard *shard, mneme_error *error)
{
    const encoding *e = context;
    mneme_status status = MNEME_OK;
    for (size_t first = (size_t)index * GROUP; first < e->n && status == MNEME_OK;
         first += (size_t)e->workers->n_shards * GROUP)
        status = encode_group(e, shard, first, e->n - first < GROUP ? e->n - first : GROUP, error);
    return status;
}

mneme_status mn_encoder_report_encode(mn_encoder_run *run, const mn_train_workers *workers, const size_t *texts,
                                      size_t n, float *vectors, mneme_error *error)
{
    encoding e = {.run = run, .workers = workers, .texts = texts, .n = n, .vectors = vectors};
    return mn_train_each_shard(workers, encode_share, &e, error);
}

/* ---- figures --------------------------------------------------------------------------------------------------- */

/* questions (n_questions, d), passages (n_passages, d). A passage of the same text as the right one is right. */
static void count_found(const mn_encoder_run *run, const float *questions, const float *passages,
                        mn_encoder_measure *out)
{
    size_t width = run->model->dimension, found_1 = 0, found_10 = 0;
    for (size_t q = 0; q < run->n_questions; q++) {
        size_t right = 0, better = 0;
        while (run->passages[right] != run->questions[q].passage) right++;
        float own = mn_dot(questions + q * width, passages + right * width, width);
        for (size_t p = 0; p < run->n_passages; p++)
            better += p != right && run->text_hashes[run->passages[p]] != run->text_hashes[run->passages[right]] &&
                      mn_dot(questions + q * width, passages + p * width, width) >= own;
        found_1 += better < 1;
        found_10 += better < 10;
    }
    if (run->n_questions == 0) return;
    out->found_1 = (double)found_1 / (double)run->n_questions;
    out->found_10 = (double)found_10 / (double)run->n_questions;
}

/* Questions, passages, and the texts of held-out units, in this order. Owned (mn_free). */
static size_t *texts_to_measure(const mn_encoder_run *run, size_t *n)
{
    size_t first = run->units[run->n_trained], last = run->units[run->n_trained + run->n_held_out];
    size_t *texts = mn_alloc_array(run->n_questions + run->n_passages + last - first + 1, sizeof *texts);
    *n = 0;
    for (size_t i = 0; i < run->n_questions && texts; i++) texts[(*n)++] = run->questions[i].question;
    for (size_t i = 0; i < run->n_passages && texts; i++) texts[(*n)++] = run->passages[i];
    for (size_t i = first; i < last && texts; i++) texts[(*n)++] = run->texts_of[i];
    return texts;
}

/* The mean over groups of units in their order. vectors: of the held-out units' texts, in their order. */
static mneme_status held_out_loss(mn_encoder_run *run, const float *vectors, double *loss, mneme_error *error)
{
    size_t width = run->model->dimension, first_text = run->units[run->n_trained],
           end = run->n_trained + run->n_held_out;
    mneme_status status = MNEME_OK;
    double sum = 0;
    mn_encoder_run_choose_anchors(run, UINT64_MAX); /* the same ones each time */
    for (size_t unit = run->n_trained; unit < end && status == MNEME_OK; unit += GROUP) {
        size_t n = end - unit < GROUP ? end - unit : GROUP, n_texts = run->units[unit + n] - run->units[unit];
        size_t units[GROUP];
        for (size_t i = 0; i < n; i++) units[i] = unit + i;
        float *ordered = NULL, *gradients = NULL;
        mn_room_clear(&run->loss_shard->room);
        size_t *texts = mn_room_take(&run->loss_shard->room, n_texts, sizeof *texts);
        status = texts ? mn_shard_floats(run->loss_shard, n_texts * width, &ordered, error)
                       : mn_fail_memory(error, "an evaluation");
        if (status == MNEME_OK) status = mn_shard_floats(run->loss_shard, n_texts * width, &gradients, error);
        if (status == MNEME_OK) mn_encoder_run_order(run, units, n, texts);
        for (size_t i = 0; i < n_texts && status == MNEME_OK; i++) {
            memcpy(ordered + i * width, vectors + (texts[i] - first_text) * width, width * sizeof(float));
            texts[i] = run->texts_of[texts[i]];
        }
        double value = 0;
        if (status == MNEME_OK)
            status = mn_encoder_run_loss(run, texts, n_texts, n, ordered, run->loss_shard, gradients, &value, error);
        sum += value * (double)n;
    }
    *loss = sum / (double)run->n_held_out;
    return status;
}

static double agreement_of(const mn_encoder_run *run, const size_t *texts, const float *vectors, size_t n)
{
    size_t width = run->model->dimension;
    double sum = 0;
    if (!run->teacher_vectors || n == 0) return NAN;
    for (size_t i = 0; i < n; i++)
        sum += (double)mn_dot(vectors + i * width, run->teacher_vectors + texts[i] * width, width);
    return sum / (double)n;
}

mneme_status mn_encoder_report_measure(mn_encoder_run *run, const mn_train_workers *workers, double *loss,
                                       mneme_error *error)
{
    size_t n = 0, width = run->model->dimension, *texts = texts_to_measure(run, &n);
    size_t asked = run->n_questions + run->n_passages;
    float *vectors = mn_alloc_array(n * width + 1, sizeof *vectors);
    mneme_status status = texts && vectors ? MNEME_OK : mn_fail_memory(error, "an evaluation");
    if (status == MNEME_OK) status = mn_encoder_report_encode(run, workers, texts, n, vectors, error);
    if (status == MNEME_OK && run->n_held_out > 0) status = held_out_loss(run, vectors + asked * width, loss, error);
    mn_encoder_measure measured = MN_ENCODER_UNMEASURED;
    if (status == MNEME_OK && run->n_held_out > 0) measured.loss = *loss;
    if (status == MNEME_OK) {
        measured.agreement = agreement_of(run, texts + asked, vectors + asked * width, n - asked);
        count_found(run, vectors, vectors + run->n_questions * width, &measured);
        if (!(measured.loss >= run->best.loss)) run->best = measured;
    }
    mn_free(texts);
    mn_free(vectors);
    return status;
}

/* ---- before training ------------------------------------------------------------------------------------------- */

static mneme_status measure_teacher(mn_encoder_run *run, mneme_error *error)
{
    size_t n = 0, width = run->model->dimension, *texts = texts_to_measure(run, &n);
    float *vectors = mn_alloc_array(n * width + 1, sizeof *vectors);
    mneme_status status = texts && vectors ? MNEME_OK : mn_fail_memory(error, "an evaluation");
    for (size_t i = 0; i < n && status == MNEME_OK; i++)
        memcpy(vectors + i * width, run->teacher_vectors + texts[i] * width, width * sizeof(float));
    if (status == MNEME_OK) count_found(run, vectors, vectors + run->n_questions * width, &run->before);
    mn_free(texts);
    mn_free(vectors);
    return status;
}

static mneme_status measure_model(mn_encoder_run *run, mneme_error *error)
{
    mn_train_workers workers;
    double loss = 0;
    mneme_status status = mn_train_workers_open(&workers, &run->model->parameters, run->train.threads, 1, error);
    if (status == MNEME_OK) {
        mn_parameters_pack(&run->model->parameters, workers.threads);
        status = mn_encoder_report_measure(run, &workers, &loss, error);
        run->before = run->best;
        run->best = MN_ENCODER_UNMEASURED;
    }
    mn_train_workers_close(&workers);
    return status;
}

mneme_status mn_encoder_report_before(mn_encoder_run *run, mneme_error *error)
{
    if (run->n_held_out == 0) return MNEME_OK;
    return run->teacher_vectors ? measure_teacher(run, error) : measure_model(run, error);
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

static void put_figure(json_t *object, const char *key, double value)
{
    if (!isnan(value)) json_object_set_new(object, key, json_real(round(value * 1e4) / 1e4));
}

static void put_vocabulary(json_t *about, const mn_own_vocabulary *vocabulary)
{
    char line[120];
    if (vocabulary->n < vocabulary->n_wanted)
        snprintf(line, sizeof line, "%u tokens learned from these texts, which have no more (%u were asked for)",
                 vocabulary->n, vocabulary->n_wanted);
    else
        snprintf(line, sizeof line, "%u tokens learned from these texts", vocabulary->n);
    json_object_set_new(about, "vocabulary", json_string(line));
}

char *mn_encoder_report_json(const mn_encoder_run *run)
{
    static const char *const methods[] = {"distilled", "pairs", "neighbours"};
    char trained_on[160], teacher[256] = "";
    snprintf(trained_on, sizeof trained_on, "%zu %s of %zu %s", run->n_trained,
             run->options->method == MNEME_TRAIN_DISTILL ? "texts" : "pairs", run->n_documents,
             run->options->method == MNEME_TRAIN_PAIRS ? "pairs" : "documents");
    if (run->teacher)
        snprintf(teacher, sizeof teacher, "%s (%016llx)", mn_encoder_info(run->teacher)->name,
                 (unsigned long long)mn_encoder_info(run->teacher)->fingerprint);
    json_t *measured = json_object();
    json_object_set_new(measured, "held_out", json_integer((json_int_t)run->n_held_out));
    put_figure(measured, "loss", run->best.loss);
    put_figure(measured, "agreement", run->best.agreement);
    put_figure(measured, "found_1", run->best.found_1);
    put_figure(measured, "found_10", run->best.found_10);
    put_figure(measured, run->teacher_vectors ? "teacher_found_1" : "before_found_1", run->before.found_1);
    put_figure(measured, run->teacher_vectors ? "teacher_found_10" : "before_found_10", run->before.found_10);
    json_t *about = json_pack("{s:s, s:s, s:s, s:o}", "method", methods[run->options->method], "trained_on", trained_on,
                              "version", MNEME_VERSION, "measured", measured);
    if (about && *teacher) json_object_set_new(about, "teacher", json_string(teacher));
    if (about && run->options->from) json_object_set_new(about, "trained_from", json_string(run->options->from));
    if (about && run->vocabulary.n) put_vocabulary(about, &run->vocabulary);
    char *text = about ? json_dumps(about, JSON_COMPACT) : NULL;
    json_decref(about);
    return text;
}

void mn_encoder_report_result(const mn_encoder_run *run, mneme_train_encoder_result *result)
{
    result->n_trained = run->n_trained;
    result->n_held_out = run->n_held_out;
    result->n_questions = run->n_questions;
    result->n_passages = run->n_passages;
    result->agreement = run->best.agreement;
    result->found_1 = run->best.found_1;
    result->found_10 = run->best.found_10;
    result->teacher_found_1 = run->before.found_1;
    result->teacher_found_10 = run->before.found_10;
    result->teacher_seconds = run->teacher_seconds;
    result->vocabulary = run->model ? run->model->vocabulary : 0;
}
