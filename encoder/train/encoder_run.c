/* encoder_run.c -- see encoder_run.h. */
#include "encoder/train/encoder_run.h"

#include "common/clock.h"
#include "common/file.h"
#include "encoder/recurrent_config.h"
#include "encoder/safetensors.h"
#include "encoder/train/safetensors_write.h"
#include "encoder/train/trainable_bert.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    WORDS_PER_SPAN = 8,   /* a span of words for so many words of a passage */
    WORDS_PER_PAIR = 24,  /* the same, of spans with the rest of their passage */
    HELD_OUT_MOST = 2000, /* units that the loss is measured with */
    QUESTIONS_MOST = 500, /* asked of */
    PASSAGES_MOST = 1000, /* so many passages */
    ANCHORS_MOST = 1024,  /* of a batch */
    TEXTS_LEAST = 16,     /* to train on */
};

/* ---- options --------------------------------------------------------------------------------------------------- */

static mneme_status check_vocabulary(const mneme_train_encoder_options *o, mneme_error *error)
{
    if (o->from || o->cell == MNEME_CELL_TRANSFORMER)
        return mn_fail(error, MNEME_ERR_USAGE,
                       "a vocabulary of its own is for a new LSTM or GRU: %s begins with tokens that are there",
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
    if (o->method == MNEME_TRAIN_DISTILL && o->dimension && o->dimension != width)
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

static mneme_status open_model(mn_encoder_run *run, const mn_train_arithmetic *arithmetic, mneme_error *error)
{
    const mneme_train_encoder_options *o = run->options;
    if (o->from && mn_recurrent_is(o->from))
        return mn_trainable_recurrent_open(o->from, arithmetic, &run->model, error);
    if (o->from) return open_transformer(run, o->from, 0, arithmetic, error);
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

/* By its number alone: adding documents leaves what is held out as it was. */
static bool is_held_out(const mn_encoder_run *run, uint64_t number)
{
    return (double)(XXH3_64bits(&number, sizeof number) >> 11) * 0x1p-53 < run->options->held_out;
}

/* Is texts[i] the first of a document? */
static bool begins_document(const mneme_train_encoder_options *o, size_t i)
{
    return i == 0 || o->texts[i].document != o->texts[i - 1].document;
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
        n_documents += begins_document(o, i);
        if (o->method != MNEME_TRAIN_PAIRS && is_held_out(run, n_documents - 1)) continue;
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
        run->model->dimension != mn_encoder_info(run->teacher)->dimension)
        status = mn_fail(error, MNEME_ERR_USAGE, "vectors of %u numbers cannot be held against the teacher's %u",
                         run->model->dimension, mn_encoder_info(run->teacher)->dimension);
    return status;
}

/* ---- texts ----------------------------------------------------------------------------------------------------- */

/* Units as they are found: the list of their first texts, and of all. */
typedef struct unit_list {
    size_t *units, *texts;
    size_t n, n_texts, capacity, texts_capacity;
} unit_list;

static mneme_status add_unit(unit_list *list, const size_t *texts, size_t n, mneme_error *error)
{
    if (list->n + 2 > list->capacity) {
        size_t capacity = 2 * list->n + 256, *units = mn_realloc_array(list->units, capacity, sizeof *units);
        if (!units) return mn_fail_memory(error, "texts to train on");
        list->units = units;
        list->capacity = capacity;
    }
    if (list->n_texts + n > list->texts_capacity) {
        size_t capacity = 2 * (list->n_texts + n) + 256, *all = mn_realloc_array(list->texts, capacity, sizeof *all);
        if (!all) return mn_fail_memory(error, "texts to train on");
        list->texts = all;
        list->texts_capacity = capacity;
    }
    list->units[list->n++] = list->n_texts;
    memcpy(list->texts + list->n_texts, texts, n * sizeof *texts);
    list->n_texts += n;
    list->units[list->n] = list->n_texts;
    return MNEME_OK;
}

static void free_units(unit_list *list)
{
    mn_free(list->units);
    mn_free(list->texts);
}

/* Trained units, then held-out ones: of those every second, third, ... when there are many. */
static mneme_status join_units(mn_encoder_run *run, const unit_list *trained, const unit_list *held_out,
                               mneme_error *error)
{
    size_t step = (held_out->n + HELD_OUT_MOST - 1) / HELD_OUT_MOST;
    unit_list all = {0};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < trained->n && status == MNEME_OK; i++)
        status = add_unit(&all, trained->texts + trained->units[i], trained->units[i + 1] - trained->units[i], error);
    run->n_trained = all.n;
    for (size_t i = 0; i < held_out->n && status == MNEME_OK; i += step ? step : 1)
        status =
            add_unit(&all, held_out->texts + held_out->units[i], held_out->units[i + 1] - held_out->units[i], error);
    run->n_held_out = all.n - run->n_trained;
    run->units = all.units;
    run->texts_of = all.texts;
    if (status == MNEME_OK && run->n_trained < TEXTS_LEAST)
        status = mn_fail(error, MNEME_ERR_USAGE, "%zu texts are too few to train on; expected %d or more",
                         run->n_trained, TEXTS_LEAST);
    return status;
}

/* The teacher's tokenizer cuts, where there are two: its window is the smaller one, as a rule. */
static mneme_status cut_texts(mn_encoder_run *run, mneme_error *error)
{
    const mneme_train_encoder_options *o = run->options;
    mn_training_texts *texts = o->vocabulary ? &run->teacher_texts : &run->texts;
    bool pairs_up = o->method == MNEME_TRAIN_NEIGHBOURS;
    uint32_t window = run->model->max_tokens;
    if (run->teacher && mn_encoder_info(run->teacher)->max_tokens < window)
        window = mn_encoder_info(run->teacher)->max_tokens;
    const mn_cutting cutting = {.tokenizer = o->vocabulary ? mn_encoder_tokenizer(run->teacher) : run->tokenizer,
                                .max_tokens = window - 2,
                                .words_per_span = pairs_up ? WORDS_PER_PAIR : WORDS_PER_SPAN,
                                .sentences = !pairs_up,
                                .rests = pairs_up,
                                .seed = run->train.seed};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < o->n_texts && status == MNEME_OK; i++) {
        run->n_documents += begins_document(o, i);
        const mn_training_source source = {o->texts[i].text, o->texts[i].size, o->texts[i].title_size,
                                           (uint32_t)(run->n_documents - 1)};
        status = mn_training_texts_cut(texts, &cutting, &source, error);
    }
    if (status != MNEME_OK || !o->vocabulary) return status;
    run->asked = &run->teacher_texts;
    return mn_training_texts_retokenize(&run->teacher_texts, run->tokenizer, run->model->max_tokens - 2, &run->texts,
                                        error);
}

/* DISTILL: every text. */
static mneme_status each_text(const mn_encoder_run *run, unit_list *trained, unit_list *held_out, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < run->texts.n && status == MNEME_OK; i++)
        status = add_unit(is_held_out(run, run->texts.items[i].document) ? held_out : trained, &i, 1, error);
    return status;
}

/* NEIGHBOURS: a title and its text; where there is none, some words and what stands around them (the inverse cloze
 * task: Lee, Chang, Toutanova 2019); a passage and the next one of its document. */
static mneme_status each_neighbour(const mn_encoder_run *run, unit_list *trained, unit_list *held_out,
                                   mneme_error *error)
{
    size_t last = SIZE_MAX; /* the passage before */
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < run->texts.n && status == MNEME_OK; i++) {
        const mn_training_text *text = &run->texts.items[i];
        bool is_passage = text->part == MN_PART_PASSAGE;
        size_t before = is_passage ? last : i - 1;
        if (is_passage) last = i;
        if (!(is_passage || text->part == MN_PART_REST) || before == SIZE_MAX) continue;
        if (run->texts.items[before].document == text->document)
            status = add_unit(is_held_out(run, text->document) ? held_out : trained, (size_t[]){before, i}, 2, error);
    }
    return status;
}

static mneme_status add_pair(mn_encoder_run *run, const mn_cutting *cutting, const mneme_train_pair *pair,
                             size_t number, unit_list *list, mneme_error *error)
{
    size_t n = 0, *texts = mn_alloc_array(pair->n_negatives + 2, sizeof *texts);
    mneme_status status = texts ? MNEME_OK : mn_fail_memory(error, "pairs");
    for (size_t i = 0; i < pair->n_negatives + 2 && status == MNEME_OK; i++) {
        const char *text = i == 0 ? pair->query : i == 1 ? pair->positive : pair->negatives[i - 2];
        status = mn_training_texts_append(&run->texts, cutting, text, strlen(text), (uint32_t)number, &texts[n], error);
        if (status != MNEME_OK || texts[n] != SIZE_MAX)
            n++;
        else if (i < 2)
            break; /* a question or an answer without a word teaches nothing */
    }
    if (status == MNEME_OK && n >= 2) status = add_unit(list, texts, n, error);
    mn_free(texts);
    return status;
}

static mneme_status each_pair(mn_encoder_run *run, unit_list *trained, unit_list *held_out, mneme_error *error)
{
    const mn_cutting cutting = {.tokenizer = run->tokenizer, .max_tokens = run->model->max_tokens - 2};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < run->options->n_pairs && status == MNEME_OK; i++)
        status = add_pair(run, &cutting, &run->options->pairs[i], i, is_held_out(run, i) ? held_out : trained, error);
    run->n_documents = run->options->n_pairs;
    return status;
}

/* ---- questions to measure with --------------------------------------------------------------------------------- */

/* PAIRS: the held-out ones. Else: spans of held-out passages, which follow their passage in the list. */
static void find_questions(mn_encoder_run *run)
{
    size_t n = 0, passage = SIZE_MAX;
    if (run->options->method == MNEME_TRAIN_PAIRS) {
        for (size_t i = run->n_trained; i < run->n_trained + run->n_held_out && n < QUESTIONS_MOST; i++)
            run->questions[n++] = (mn_encoder_question){run->texts_of[run->units[i]], run->texts_of[run->units[i] + 1]};
    } else {
        for (size_t i = 0; i < run->texts.n; i++) {
            const mn_training_text *text = &run->texts.items[i];
            if (text->part == MN_PART_PASSAGE) passage = i;
            if (text->part == MN_PART_SPAN && is_held_out(run, text->document))
                run->questions[n++] = (mn_encoder_question){i, passage};
        }
    }
    size_t step = (n + QUESTIONS_MOST - 1) / QUESTIONS_MOST;
    for (size_t i = 0; i < n; i += step) run->questions[run->n_questions++] = run->questions[i];
}

static void find_passages(mn_encoder_run *run)
{
    for (int held_out = 1; held_out >= 0; held_out--)
        for (size_t i = 0; i < run->n_questions && held_out; i++) {
            size_t passage = run->questions[i].passage, known = 0;
            while (known < run->n_passages && run->passages[known] != passage) known++;
            if (known == run->n_passages) run->passages[run->n_passages++] = passage;
        }
    size_t n_asked = run->n_passages;
    for (size_t i = 0; i < run->texts.n && run->n_passages < PASSAGES_MOST && run->n_questions > 0; i++) {
        if (run->texts.items[i].part != MN_PART_PASSAGE) continue;
        size_t known = 0;
        while (known < n_asked && run->passages[known] != i) known++;
        if (known == n_asked) run->passages[run->n_passages++] = i;
    }
}

mneme_status mn_encoder_run_texts(mn_encoder_run *run, mneme_error *error)
{
    unit_list trained = {0}, held_out = {0};
    mneme_train_method method = run->options->method;
    run->asked = &run->texts;
    mneme_status status = method == MNEME_TRAIN_PAIRS ? MNEME_OK : cut_texts(run, error);
    if (status == MNEME_OK)
        status = method == MNEME_TRAIN_DISTILL ? each_text(run, &trained, &held_out, error)
                 : method == MNEME_TRAIN_PAIRS ? each_pair(run, &trained, &held_out, error)
                                               : each_neighbour(run, &trained, &held_out, error);
    if (status == MNEME_OK) status = join_units(run, &trained, &held_out, error);
    free_units(&trained);
    free_units(&held_out);
    if (status != MNEME_OK) return status;
    size_t n = run->texts.n;
    run->text_hashes = mn_alloc_array(n, sizeof *run->text_hashes);
    run->questions = mn_alloc_array(n, sizeof *run->questions);
    run->passages = mn_alloc_array(n, sizeof *run->passages);
    run->anchor_passages = mn_alloc_array(n, sizeof *run->anchor_passages);
    run->anchors = mn_alloc_array(ANCHORS_MOST, sizeof *run->anchors);
    if (!run->text_hashes || !run->questions || !run->passages || !run->anchor_passages || !run->anchors)
        return mn_fail_memory(error, "texts to train on");
    for (size_t i = 0; i < n; i++)
        run->text_hashes[i] =
            XXH3_64bits(run->asked->ids + run->asked->items[i].first, run->asked->items[i].n * sizeof(uint32_t));
    for (size_t i = 0; i < n; i++)
        if (run->texts.items[i].part == MN_PART_PASSAGE && !is_held_out(run, run->texts.items[i].document))
            run->anchor_passages[run->n_anchor_passages++] = i;
    run->n_anchors = run->n_anchor_passages < ANCHORS_MOST ? run->n_anchor_passages : ANCHORS_MOST;
    find_questions(run);
    find_passages(run);
    run->before = run->best = MN_ENCODER_UNMEASURED;
    return MNEME_OK;
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
    uint64_t wanted = (uint64_t)run->texts.n * run->model->dimension;
    bool found = tensor && tensor->type == MN_TENSOR_F32 && tensor->n_elements == wanted;
    if (found) mn_tensor_to_f32(tensor, 0, wanted, run->teacher_vectors);
    for (uint64_t i = 0; i < wanted && found; i++) found = isfinite(run->teacher_vectors[i]);
    mn_safetensors_close(file);
    return found;
}

static mneme_status keep_vectors(const mn_encoder_run *run, const char *folder, const char *path, mneme_error *error)
{
    char name[64];
    name_of_vectors(run, name);
    const mn_tensor tensor = {.name = name,
                              .dtype = "F32",
                              .rank = 2,
                              .shape = {run->texts.n, run->model->dimension},
                              .data = run->teacher_vectors,
                              .size_bytes = run->texts.n * run->model->dimension * sizeof(float)};
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
    run->teacher_vectors = mn_alloc_array(run->texts.n * run->model->dimension, sizeof(float));
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
