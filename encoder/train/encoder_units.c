/* encoder_units.c -- the texts of a training: cut, put together to units, and asked about. See encoder_run.h. */
#include "encoder/train/encoder_run.h"

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

bool mn_encoder_run_holds_out(const mn_encoder_run *run, uint64_t number)
{
    return (double)(XXH3_64bits(&number, sizeof number) >> 11) * 0x1p-53 < run->options->held_out;
}

bool mn_encoder_begins_document(const mneme_train_encoder_options *o, size_t i)
{
    return i == 0 || o->texts[i].document != o->texts[i - 1].document;
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

static mneme_status copy_unit(const unit_list *from, size_t i, unit_list *to, mneme_error *error)
{
    return add_unit(to, from->texts + from->units[i], from->units[i + 1] - from->units[i], error);
}

/* Trained units, then held-out ones: of those every second, third, ... when there are many. */
static mneme_status join_units(mn_encoder_run *run, const unit_list *trained, const unit_list *held_out,
                               mneme_error *error)
{
    size_t step = (held_out->n + HELD_OUT_MOST - 1) / HELD_OUT_MOST;
    unit_list all = {0};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < trained->n && status == MNEME_OK; i++) status = copy_unit(trained, i, &all, error);
    run->n_trained = all.n;
    for (size_t i = 0; i < held_out->n && status == MNEME_OK; i += step) status = copy_unit(held_out, i, &all, error);
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
        run->n_documents += mn_encoder_begins_document(o, i);
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
        status =
            add_unit(mn_encoder_run_holds_out(run, run->texts.items[i].document) ? held_out : trained, &i, 1, error);
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
            status = add_unit(mn_encoder_run_holds_out(run, text->document) ? held_out : trained, (size_t[]){before, i},
                              2, error);
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
        status = add_pair(run, &cutting, &run->options->pairs[i], i,
                          mn_encoder_run_holds_out(run, i) ? held_out : trained, error);
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
            if (text->part == MN_PART_SPAN && mn_encoder_run_holds_out(run, text->document))
                run->questions[n++] = (mn_encoder_question){i, passage};
        }
    }
    size_t step = (n + QUESTIONS_MOST - 1) / QUESTIONS_MOST;
    for (size_t i = 0; i < n; i += step) run->questions[run->n_questions++] = run->questions[i];
}

/* Is a passage among the first n that are asked of? */
static bool is_asked_of(const mn_encoder_run *run, size_t n, size_t passage)
{
    size_t i = 0;
    while (i < n && run->passages[i] != passage) i++;
    return i < n;
}

static void find_passages(mn_encoder_run *run)
{
    for (size_t i = 0; i < run->n_questions; i++)
        if (!is_asked_of(run, run->n_passages, run->questions[i].passage))
            run->passages[run->n_passages++] = run->questions[i].passage;
    size_t n_right = run->n_passages;
    for (size_t i = 0; i < run->texts.n && run->n_passages < PASSAGES_MOST && run->n_questions > 0; i++)
        if (run->texts.items[i].part == MN_PART_PASSAGE && !is_asked_of(run, n_right, i))
            run->passages[run->n_passages++] = i;
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
        if (run->texts.items[i].part == MN_PART_PASSAGE && !mn_encoder_run_holds_out(run, run->texts.items[i].document))
            run->anchor_passages[run->n_anchor_passages++] = i;
    run->n_anchors = run->n_anchor_passages < ANCHORS_MOST ? run->n_anchor_passages : ANCHORS_MOST;
    find_questions(run);
    find_passages(run);
    run->before = run->best = MN_ENCODER_UNMEASURED;
    return MNEME_OK;
}
