/* encoder_run.c -- see encoder_run.h. */
#include "encoder/train/encoder_run.h"

#include "common/clock.h"
#include "common/file.h"
#include "encoder/recurrent_config.h"
#include "encoder/safetensors.h"
#include "encoder/static_table.h"
#include "encoder/train/safetensors_write.h"
#include "encoder/train/trainable_bert.h"
#include "encoder/train/trainable_static.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- options --------------------------------------------------------------------------------------------------- */

static mneme_status check_vocabulary(const mneme_train_encoder_options *o, mneme_error *error)
{
    if (o->from || o->cell == MNEME_CELL_TRANSFORMER)
        return mn_fail(
            error, MNEME_ERR_USAGE,
            "a vocabulary of its own is for a new LSTM, GRU or static table: %s begins with tokens that are there",
            o->from ? o->from : "a Transformer");
    if (o->n_texts == 0)
        return mn_fail(error, MNEME_ERR_USAGE, "there are no texts to learn a vocabulary of %u tokens from",
                       o->vocabulary);
    return MNEME_OK;
}

mneme_status mn_encoder_run_check(const mn_encoder_run *run, mneme_error *error)
{
    const mneme_train_encoder_options *o = run->options;
    if (!run->teacher && (!o->from || o->method == MNEME_TRAIN_DISTILL))
        return mn_fail(error, MNEME_ERR_USAGE, "an encoder to learn from is missing");
    if (o->layers < 1 || o->layers > 8 || o->hidden < 1 || o->hidden > 4096 || o->dimension > 4096)
        return mn_fail(error, MNEME_ERR_USAGE,
                       "%u layers of %u units, vectors of %u: expected 1 to 8, 1 to 4096, at most 4096", o->layers,
                       o->hidden, o->dimension);
    if (!(o->dropout >= 0 && o->dropout < 1) || !(o->held_out >= 0 && o->held_out <= 0.5))
        return mn_fail(error, MNEME_ERR_USAGE, "dropout %g, held out %g: expected 0 to below 1, 0 to 0.5", o->dropout,
                       o->held_out);
    uint32_t width = run->teacher ? mn_encoder_info(run->teacher)->dimension : 0;
    if (o->method == MNEME_TRAIN_DISTILL && o->dimension > width)
        return mn_fail(error, MNEME_ERR_USAGE, "vectors of %u numbers cannot be held against the teacher's %u",
                       o->dimension, width);
    return o->vocabulary ? check_vocabulary(o, error) : MNEME_OK;
}

/* A Transformer that is there, whole or some of its layers. */
static mneme_status open_transformer(mn_encoder_run *run, const char *folder, uint32_t n_layers,
                                     const mn_train_arithmetic *arithmetic, mneme_error *error)
{
    const mn_trainable_bert_options options = {
        .folder = folder, .n_layers = n_layers, .dropout = (float)run->options->dropout, .arithmetic = arithmetic};
    return mn_trainable_bert_open(&options, &run->model, error);
}

/* A new one; what is in its table comes with mn_encoder_run_meet_teacher. */
static mneme_status open_static(mn_encoder_run *run, const mn_train_arithmetic *arithmetic, mneme_error *error)
{
    enum { DIMENSION = 256 }; /* as mneme_distill_static */
    const mneme_train_encoder_options *o = run->options;
    const mneme_encoder_info *teacher = mn_encoder_info(run->teacher);
    const mn_tokenizer *tokenizer = o->vocabulary ? run->vocabulary.tokenizer : mn_encoder_tokenizer(run->teacher);
    const mn_trainable_static_options options = {.vocabulary = mn_tokenizer_vocabulary(tokenizer),
                                                 .dimension = o->dimension                     ? o->dimension
                                                              : teacher->dimension < DIMENSION ? teacher->dimension
                                                                                               : DIMENSION,
                                                 .unknown = mn_tokenizer_unk(tokenizer),
                                                 .dropout = (float)o->dropout,
                                                 .tokenizer_folder = teacher->path,
                                                 .own = o->vocabulary ? &run->vocabulary : NULL,
                                                 .teacher = teacher->name,
                                                 .arithmetic = arithmetic};
    if (options.dimension > teacher->dimension)
        return mn_fail(error, MNEME_ERR_USAGE, "a table of %u numbers a token cannot begin with the teacher's %u",
                       options.dimension, teacher->dimension);
    return mn_trainable_static_new(&options, &run->model, error);
}

static mneme_status open_model(mn_encoder_run *run, const mn_train_arithmetic *arithmetic, mneme_error *error)
{
    const mneme_train_encoder_options *o = run->options;
    if (o->from && mn_recurrent_is(o->from))
        return mn_trainable_recurrent_open(o->from, arithmetic, &run->model, error);
    if (o->from && mn_static_is(o->from))
        return mn_trainable_static_open(o->from, (float)o->dropout, arithmetic, &run->model, error);
    if (o->from) return open_transformer(run, o->from, 0, arithmetic, error);
    if (o->cell == MNEME_CELL_STATIC) return open_static(run, arithmetic, error);
    const char *teacher = mn_encoder_info(run->teacher)->path;
    if (o->cell == MNEME_CELL_TRANSFORMER) return open_transformer(run, teacher, o->layers, arithmetic, error);
    const mn_trainable_recurrent_options new_one = {
        .cell = o->cell == MNEME_CELL_GRU ? MN_CELL_GRU : MN_CELL_LSTM,
        .n_hidden = o->hidden,
        .n_layers = o->layers,
        .dimension = o->dimension ? o->dimension : mn_encoder_info(run->teacher)->dimension,
        .bidirectional = !o->one_way,
        .attentive = !o->mean_pooling,
        .join_tokens = true,
        .dropout = (float)o->dropout,
        .teacher_folder = teacher,
        .own = o->vocabulary ? &run->vocabulary : NULL,
        .seed = run->train.seed,
        .arithmetic = arithmetic};
    return mn_trainable_recurrent_new(&new_one, &run->model, error);
}

/* Of the texts that are trained on; all, where those do not say what is held out. */
static mneme_status learn_vocabulary(mn_encoder_run *run, mneme_error *error)
{
    const mneme_train_encoder_options *o = run->options;
    const mn_tokenizer *teacher = mn_encoder_tokenizer(run->teacher);
    mn_word_counts words = {0};
    mneme_status status = MNEME_OK;
    uint64_t n_documents = 0;
    for (size_t i = 0; i < o->n_texts && status == MNEME_OK; i++) {
        n_documents += mn_encoder_begins_document(o, i);
        if (o->method != MNEME_TRAIN_PAIRS && mn_encoder_run_holds_out(run, n_documents - 1)) continue;
        status = mn_word_counts_add_text(&words, teacher, o->texts[i].text, o->texts[i].size, error);
    }
    if (status == MNEME_OK)
        status = mn_own_vocabulary_learn(&words, o->vocabulary, mn_encoder_info(run->teacher)->path, teacher,
                                         &run->vocabulary, error);
    mn_word_counts_free(&words);
    return status;
}

mneme_status mn_encoder_run_open(mn_encoder_run *run, mneme_error *error)
{
    const mn_train_arithmetic arithmetic = mn_train_arithmetic_for(run->train.bf16, MN_CPU_AMX, false);
    mneme_status status = run->options->vocabulary ? learn_vocabulary(run, error) : MNEME_OK;
    if (status == MNEME_OK) status = open_model(run, &arithmetic, error);
    if (status != MNEME_OK) return status;
    if (run->options->vocabulary)
        run->tokenizer = run->vocabulary.tokenizer;
    else if (run->teacher)
        run->tokenizer = mn_encoder_tokenizer(run->teacher);
    else {
        status = mn_tokenizer_open(run->model->tokenizer_folder, &run->own_tokenizer, error);
        run->tokenizer = run->own_tokenizer;
    }
    if (status == MNEME_OK && mn_tokenizer_vocabulary(run->tokenizer) > run->model->vocabulary)
        status = mn_fail(error, MNEME_ERR_MODEL, "the tokenizer has %u tokens, the model's table %u rows",
                         mn_tokenizer_vocabulary(run->tokenizer), run->model->vocabulary);
    if (status == MNEME_OK && run->options->method == MNEME_TRAIN_DISTILL &&
        run->model->dimension > mn_encoder_info(run->teacher)->dimension)
        status = mn_fail(error, MNEME_ERR_USAGE, "vectors of %u numbers cannot be held against the teacher's %u",
                         run->model->dimension, mn_encoder_info(run->teacher)->dimension);
    return status;
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

void mn_encoder_run_order(const mn_encoder_run *run, const size_t *units, size_t n, size_t *out)
{
    for (size_t place = 0; place < 3; place++)
        for (size_t i = 0; i < n; i++) {
            size_t from = run->units[units[i]] + place, to = run->units[units[i] + 1];
            for (size_t t = from; t < to && (place == 2 || t == from); t++) *out++ = t;
        }
}

/* One passage out of each of n_anchors equal runs of all that are trained on: others for each batch. */
void mn_encoder_run_choose_anchors(mn_encoder_run *run, uint64_t number)
{
    mn_random random = mn_random_of(run->train.seed, number, UINT64_MAX);
    uint64_t all = run->n_anchor_passages;
    for (uint64_t i = 0; i < run->n_anchors; i++) {
        uint64_t from = i * all / run->n_anchors, to = (i + 1) * all / run->n_anchors;
        run->anchors[i] = run->anchor_passages[from + mn_random_next(&random) % (to - from)];
    }
}

/* ---- the teacher ----------------------------------------------------------------------------------------------- */

/* Kept in the run's folder, so that a run that goes on need not ask again: one tensor, named by the teacher and the
 * texts. */
static void name_of_vectors(const mn_encoder_run *run, char name[64])
{
    snprintf(name, 64, "vectors-%016llx-%016llx", (unsigned long long)mn_encoder_info(run->teacher)->fingerprint,
             (unsigned long long)XXH3_64bits(run->text_hashes, run->texts.n * sizeof *run->text_hashes));
}

static bool find_vectors(mn_encoder_run *run, const char *path)
{
    char name[64];
    mn_safetensors *file = NULL;
    name_of_vectors(run, name);
    if (!mn_file_exists(path) || mn_safetensors_open(path, &file, NULL) != MNEME_OK) return false;
    const mn_tensor *tensor = mn_safetensors_find(file, name);
    uint64_t wanted = (uint64_t)run->texts.n * mn_encoder_info(run->teacher)->dimension;
    bool found = tensor && tensor->type == MN_TENSOR_F32 && tensor->n_elements == wanted;
    if (found) mn_tensor_to_f32(tensor, 0, wanted, run->teacher_vectors);
    for (uint64_t i = 0; i < wanted && found; i++) found = isfinite(run->teacher_vectors[i]);
    mn_safetensors_close(file);
    return found;
}

static mneme_status keep_vectors(const mn_encoder_run *run, const char *folder, const char *path, mneme_error *error)
{
    char name[64];
    uint32_t width = mn_encoder_info(run->teacher)->dimension;
    name_of_vectors(run, name);
    const mn_tensor tensor = {.name = name,
                              .dtype = "F32",
                              .rank = 2,
                              .shape = {run->texts.n, width},
                              .data = run->teacher_vectors,
                              .size_bytes = run->texts.n * width * sizeof(float)};
    mneme_status status = mn_make_directories(folder, 0755, error);
    return status == MNEME_OK ? mn_safetensors_write(path, &tensor, 1, error) : status;
}

static mneme_status encode_all(mn_encoder_run *run, mneme_error *error)
{
    const mneme_encoder_info *info = mn_encoder_info(run->teacher);
    size_t n = run->texts.n, *all = mn_alloc_array(n, sizeof *all);
    mn_room room = {0};
    mn_token_batch batch = {0};
    for (size_t i = 0; i < n && all; i++) all[i] = i;
    mneme_status status = all ? mn_training_sequences(run->asked, mn_encoder_tokenizer(run->teacher),
                                                      mn_encoder_special_tokens(run->teacher), info->max_tokens, all, n,
                                                      &room, &batch, error)
                              : mn_fail_memory(error, "the teacher's vectors");
    if (status == MNEME_OK)
        status = mn_encoder_encode_ids(run->teacher, &batch, run->teacher_vectors, run->options->progress,
                                       run->options->context, error);
    mn_room_free(&room);
    mn_free(all);
    return status;
}

mneme_status mn_encoder_run_ask_teacher(mn_encoder_run *run, const char *folder, mneme_error *error)
{
    if (run->options->method != MNEME_TRAIN_DISTILL) return MNEME_OK;
    double started = mn_clock_monotonic();
    char *path = mn_path_join(folder, "teacher.safetensors");
    run->teacher_vectors = mn_alloc_array(run->texts.n * mn_encoder_info(run->teacher)->dimension, sizeof(float));
    mneme_status status = path && run->teacher_vectors ? MNEME_OK : mn_fail_memory(error, "the teacher's vectors");
    if (status == MNEME_OK && !find_vectors(run, path)) {
        status = encode_all(run, error);
        if (status == MNEME_OK) status = keep_vectors(run, folder, path, error);
    }
    run->teacher_seconds = mn_clock_monotonic() - started;
    mn_free(path);
    return status;
}

/* ---- the rest -------------------------------------------------------------------------------------------------- */

char *mn_encoder_run_describe(const mn_encoder_run *run)
{
    uint64_t texts = XXH3_64bits(run->texts.ids, run->texts.n_ids * sizeof *run->texts.ids);
    char hash[20];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)texts);
    json_t *json = json_pack(
        "{s:i, s:i, s:i, s:i, s:b, s:b, s:i, s:f, s:f, s:i, s:s, s:s}", "method", (int)run->options->method, "cell",
        (int)run->options->cell, "layers", (int)run->options->layers, "hidden", (int)run->options->hidden, "one_way",
        (int)run->options->one_way, "mean_pooling", (int)run->options->mean_pooling, "dimension",
        (int)run->model->dimension, "dropout", run->options->dropout, "held_out", run->options->held_out, "vocabulary",
        (int)run->options->vocabulary, "texts", hash, "from", run->options->from ? run->options->from : "");
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

void mn_encoder_run_free(mn_encoder_run *run)
{
    mn_trainable_free(run->model);
    mn_tokenizer_close(run->own_tokenizer);
    mn_own_vocabulary_free(&run->vocabulary);
    mn_training_texts_free(&run->texts);
    mn_training_texts_free(&run->teacher_texts);
    mn_batches_free(&run->batches);
    mn_room_free(&run->room);
    mn_shard_free(run->loss_shard);
    mn_free(run->text_hashes);
    mn_free(run->teacher_vectors);
    mn_free(run->units);
    mn_free(run->texts_of);
    mn_free(run->questions);
    mn_free(run->passages);
    mn_free(run->anchor_passages);
    mn_free(run->anchors);
    mn_free(run->parts);
}
