/* trainable_static.c -- see trainable_static.h. */
#include "encoder/train/trainable_static.h"

#include "common/file.h"
#include "encoder/static_table.h"
#include "encoder/step_plan.h"
#include "encoder/train/model_files.h"
#include "encoder/train/static_folder.h"
#include "encoder/train/token_vectors.h"
#include "encoder/train/tokenizer_files.h"
#include "encoder/train/vector_losses.h"

#include <math.h>
#include <string.h>

typedef struct trainable_static {
    mn_trainable base;
    uint32_t unknown;
    float dropout;
    char *teacher;         /* owned: name */
    mn_parameter *rows;    /* (V, D): e */
    mn_parameter *weights; /* (V, 1): w */
} trainable_static;

/* What forward leaves for backward; all in the shard's room. U: distinct tokens. */
typedef struct pass {
    mn_step_plan plan;
    float *scales;  /* (U): exp(w) */
    float *vectors; /* (n, D) */
    float *lengths; /* (n): of the sums */
} pass;

/* ---- forward ---------------------------------------------------------------------------------------------------- */

/* The n ids of a text that count, into out; returns how many. */
static uint32_t choose_tokens(const trainable_static *t, mn_shard *shard, const uint32_t *ids, uint32_t n,
                              uint32_t *out)
{
    bool drops = shard->training && t->dropout > 0;
    uint32_t known = 0, kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] == t->unknown) continue;
        known++;
        if (!drops || mn_random_unit(&shard->random) >= t->dropout) out[kept++] = ids[i];
    }
    if (kept > 0) return kept;
    for (uint32_t i = 0; i < n && known > 0; i++) /* all were left out: then none is */
        if (ids[i] != t->unknown) out[kept++] = ids[i];
    if (known == 0) out[kept++] = t->unknown;
    return kept;
}

static mneme_status make_plan(const trainable_static *t, mn_shard *shard, const mn_token_batch *batch,
                              mn_step_plan *plan, mneme_error *error)
{
    uint32_t *ids = mn_room_take(&shard->room, batch->offsets[batch->n] + batch->n, sizeof *ids);
    uint32_t *offsets = mn_room_take(&shard->room, batch->n + 1, sizeof *offsets);
    if (!ids || !offsets) return mn_fail_memory(error, "activations");
    offsets[0] = 0;
    for (size_t i = 0; i < batch->n; i++)
        offsets[i + 1] = offsets[i] + choose_tokens(t, shard, batch->ids + batch->offsets[i],
                                                    batch->offsets[i + 1] - batch->offsets[i], ids + offsets[i]);
    const mn_token_batch chosen = {.ids = ids, .offsets = offsets, .n = batch->n};
    uint32_t *words = mn_room_take(&shard->room, mn_step_plan_words(&chosen, t->base.vocabulary), sizeof *words);
    if (!words) return mn_fail_memory(error, "activations");
    return mn_step_plan_make_in(plan, words, &chosen, t->base.vocabulary, t->unknown, error);
}

static void add_scaled(float *to, const float *from, float by, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] += by * from[i];
}

static mneme_status forward(mn_trainable *trainable, mn_shard *shard, const mn_token_batch *batch, float **vectors,
                            void **saved, mneme_error *error)
{
    const trainable_static *t = (const trainable_static *)trainable;
    uint32_t width = t->base.dimension;
    pass *p = mn_room_take(&shard->room, 1, sizeof *p);
    if (!p) return mn_fail_memory(error, "activations");
    *p = (pass){0};
    mneme_status status = make_plan(t, shard, batch, &p->plan, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, p->plan.n_distinct, &p->scales, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, batch->n * width, &p->vectors, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, batch->n, &p->lengths, error);
    if (status != MNEME_OK) return status;
    const mn_step_plan *plan = &p->plan;
    for (size_t u = 0; u < plan->n_distinct; u++) p->scales[u] = expf(t->weights->value[plan->distinct[u]]);
    memset(p->vectors, 0, batch->n * width * sizeof(float));
    for (uint32_t b = 0; b < plan->n_texts; b++)
        for (uint32_t s = 0; s < plan->lengths[b]; s++) {
            size_t u = plan->token[plan->first_row[s] + b];
            add_scaled(p->vectors + (size_t)plan->order[b] * width, t->rows->value + (size_t)plan->distinct[u] * width,
                       p->scales[u], width);
        }
    mn_unit_forward(p->vectors, plan->n_texts, width, p->vectors, p->lengths);
    *vectors = p->vectors;
    *saved = p;
    return MNEME_OK;
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

/* d_sums (n, D): of the sums. d_rows (U, D) gets what each distinct token's row has in them, by its scale; d_weights
 * (U) the product of that with the row. */
static void share_out(const trainable_static *t, const pass *p, const float *d_sums, float *d_rows, float *d_weights)
{
    const mn_step_plan *plan = &p->plan;
    size_t width = t->base.dimension;
    memset(d_rows, 0, plan->n_distinct * width * sizeof *d_rows);
    for (uint32_t b = 0; b < plan->n_texts; b++)
        for (uint32_t s = 0; s < plan->lengths[b]; s++) {
            size_t u = plan->token[plan->first_row[s] + b];
            add_scaled(d_rows + u * width, d_sums + (size_t)plan->order[b] * width, p->scales[u], width);
        }
    for (size_t u = 0; u < plan->n_distinct; u++)
        d_weights[u] = mn_dot(d_rows + u * width, t->rows->value + (size_t)plan->distinct[u] * width, width);
}

static mneme_status backward(mn_trainable *trainable, mn_shard *shard, void *saved, const float *d_vectors,
                             mneme_error *error)
{
    const trainable_static *t = (const trainable_static *)trainable;
    const pass *p = saved;
    uint32_t width = t->base.dimension, n = p->plan.n_texts, n_distinct = p->plan.n_distinct;
    float *d_sums = NULL, *d_rows = NULL, *d_weights = NULL;
    mneme_status status = mn_shard_floats(shard, (size_t)n * width, &d_sums, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, (size_t)n_distinct * width, &d_rows, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, n_distinct, &d_weights, error);
    if (status != MNEME_OK) return status;
    mn_unit_backward(p->vectors, p->lengths, d_vectors, n, width, d_sums);
    share_out(t, p, d_sums, d_rows, d_weights);
    status = mn_shard_add_rows(shard, t->rows, p->plan.distinct, d_rows, n_distinct, error);
    return status == MNEME_OK ? mn_shard_add_rows(shard, t->weights, p->plan.distinct, d_weights, n_distinct, error)
                              : status;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static mneme_status save(mn_trainable *trainable, const char *folder, const char *about_json, mneme_error *error)
{
    const trainable_static *t = (const trainable_static *)trainable;
    size_t width = t->base.dimension;
    float *table = mn_alloc_array((size_t)t->base.vocabulary * width, sizeof *table);
    if (!table) return mn_fail_memory(error, folder);
    for (size_t i = 0; i < t->base.vocabulary; i++) {
        float scale = expf(t->weights->value[i]);
        for (size_t c = 0; c < width; c++) table[i * width + c] = scale * t->rows->value[i * width + c];
    }
    const mn_static_folder what = {.teacher = t->teacher,
                                   .about_json = about_json ? about_json : "{}",
                                   .table = table,
                                   .n_rows = t->base.vocabulary,
                                   .dimension = t->base.dimension,
                                   .sif = MN_SIF};
    mneme_status status =
        trainable->own ? mn_tokenizer_files_write(&trainable->own->settings, trainable->max_tokens, folder, error)
                       : mn_model_copy_tokenizer(trainable->tokenizer_folder, folder, error);
    if (status == MNEME_OK) status = mn_static_files_write(&what, folder, error);
    mn_free(table);
    return status;
}

static void destroy(mn_trainable *trainable)
{
    trainable_static *t = (trainable_static *)trainable;
    mn_parameters_free(&trainable->parameters);
    mn_free(trainable->tokenizer_folder);
    mn_free(t->teacher);
    mn_free(t);
}

static const mn_trainable_operations operations = {forward, backward, save, destroy};

/* ---- making ----------------------------------------------------------------------------------------------------- */

mneme_status mn_trainable_static_new(const mn_trainable_static_options *options, mn_trainable **out, mneme_error *error)
{
    *out = NULL;
    trainable_static *t = mn_alloc_zeroed(1, sizeof *t);
    if (!t) return mn_fail_memory(error, "an encoder to train");
    t->base = (mn_trainable){.operations = &operations,
                             .arithmetic = *options->arithmetic,
                             .dimension = options->dimension,
                             .max_tokens = MN_STATIC_MAX_TOKENS,
                             .vocabulary = options->vocabulary,
                             .tokenizer_folder = mn_strdup(options->tokenizer_folder),
                             .own = options->own};
    t->unknown = options->unknown;
    t->dropout = options->dropout;
    t->teacher = mn_strdup(options->teacher);
    mn_parameters *set = &t->base.parameters;
    set->arithmetic = &t->base.arithmetic;
    const mn_parameter_options rows = {
        .rows = options->vocabulary, .columns = options->dimension, .initial = MN_INITIAL_ZERO, .sparse = true};
    const mn_parameter_options weights = {
        .rows = options->vocabulary, .columns = 1, .initial = MN_INITIAL_ZERO, .sparse = true};
    t->rows = mn_parameters_add(set, &rows, "rows");
    t->weights = mn_parameters_add(set, &weights, "weights");
    bool whole = t->rows && t->weights && t->base.tokenizer_folder && t->teacher;
    mneme_status status = whole ? mn_parameters_ready(set, 0, error) : mn_fail_memory(error, "an encoder to train");
    if (status == MNEME_OK)
        *out = &t->base;
    else
        destroy(&t->base);
    return status;
}

void mn_trainable_static_fill(mn_trainable *trainable, const float *rows)
{
    trainable_static *t = (trainable_static *)trainable;
    size_t width = t->base.dimension, n = (size_t)t->base.vocabulary * width, n_rows = 0;
    double sum = 0;
    for (size_t i = 0; i < t->base.vocabulary; i++) {
        double squares = 0;
        for (size_t c = 0; c < width; c++) squares += (double)rows[i * width + c] * (double)rows[i * width + c];
        sum += sqrt(squares);
        n_rows += squares > 0;
    }
    double scale = sum > 0 ? (double)n_rows / sum : 1;
    for (size_t i = 0; i < n; i++) t->rows->value[i] = (float)(scale * (double)rows[i]);
    memset(t->weights->value, 0, t->base.vocabulary * sizeof(float));
}

static const char *name_of(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    return slash && slash[1] ? slash + 1 : folder;
}

static mneme_status take_rows(mn_trainable *trainable, const mn_static_table *table, mneme_error *error)
{
    size_t width = trainable->dimension;
    float *rows = mn_alloc_array((size_t)trainable->vocabulary * width, sizeof *rows);
    if (!rows) return mn_fail_memory(error, "a token table");
    for (uint32_t i = 0; i < trainable->vocabulary; i++) mn_static_row(table, i, rows + i * width);
    mn_trainable_static_fill(trainable, rows);
    mn_free(rows);
    return MNEME_OK;
}

mneme_status mn_trainable_static_open(const char *folder, float dropout, const mn_train_arithmetic *arithmetic,
                                      mn_trainable **out, mneme_error *error)
{
    *out = NULL;
    mn_tokenizer *tokenizer = NULL;
    mn_static_table *table = NULL;
    mneme_status status = mn_tokenizer_open(folder, &tokenizer, error);
    if (status != MNEME_OK) return status;
    const mn_static_options opened = {.folder = folder,
                                      .vocabulary = mn_tokenizer_vocabulary(tokenizer),
                                      .unknown = mn_tokenizer_unk(tokenizer),
                                      .level = MN_CPU_GENERIC};
    status = mn_static_table_open(&opened, &table, error);
    if (status == MNEME_OK) {
        const mn_trainable_static_options options = {.vocabulary = opened.vocabulary,
                                                     .dimension = mn_static_dimension(table),
                                                     .unknown = opened.unknown,
                                                     .dropout = dropout,
                                                     .tokenizer_folder = folder,
                                                     .teacher = name_of(folder),
                                                     .arithmetic = arithmetic};
        status = mn_trainable_static_new(&options, out, error);
    }
    if (status == MNEME_OK) status = take_rows(*out, table, error);
    if (status != MNEME_OK && *out) {
        destroy(*out);
        *out = NULL;
    }
    mn_static_table_close(table);
    mn_tokenizer_close(tokenizer);
    return status;
}
