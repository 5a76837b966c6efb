/* encoder_begin.c -- before the first step: the teacher's vectors in the model's dimension, and what a new static table
 * begins with. See encoder_run.h.
 *
 *     a new model, narrower than its teacher     the teacher's principal directions, over the texts
 *     a table or a narrower model to train on    the directions that bring the teacher nearest to what the model says
 *                                                already: its own may lie turned in any way
 *     a new static table                         each token as a text to the teacher (token_vectors.h), by that map
 */
#include "encoder/static_table.h"
#include "encoder/train/encoder_report.h"
#include "encoder/train/principal.h"
#include "encoder/train/teacher_space.h"
#include "encoder/train/token_vectors.h"
#include "encoder/train/trainable_static.h"

/* The model's vectors of every text, as it is before training: owned (mn_free). */
static mneme_status own_vectors(mn_encoder_run *run, float **out, mneme_error *error)
{
    mn_train_workers workers;
    size_t n = run->texts.n, *all = mn_alloc_array(n, sizeof *all);
    *out = mn_alloc_array(n * run->model->dimension, sizeof **out);
    mneme_status status = all && *out ? MNEME_OK : mn_fail_memory(error, "the teacher's vectors");
    if (status == MNEME_OK) {
        for (size_t i = 0; i < n; i++) all[i] = i;
        status = mn_train_workers_open(&workers, &run->model->parameters, run->train.threads, 1, error);
        if (status == MNEME_OK) {
            mn_parameters_pack(&run->model->parameters, workers.threads);
            status = mn_encoder_report_encode(run, &workers, all, n, *out, error);
        }
        mn_train_workers_close(&workers);
    }
    mn_free(all);
    return status;
}

static mneme_status find_map(mn_encoder_run *run, double *map, mneme_error *error)
{
    uint32_t from = mn_encoder_info(run->teacher)->dimension, to = run->model->dimension;
    if (!run->options->from) return mn_space_principal(run->teacher_vectors, run->texts.n, from, to, map, error);
    float *own = NULL;
    mneme_status status = own_vectors(run, &own, error);
    if (status == MNEME_OK) status = mn_space_align(own, run->teacher_vectors, run->texts.n, from, to, map, error);
    mn_free(own);
    return status;
}

/* map: NULL, or (dimension, the teacher's). */
static mneme_status fill_table(mn_encoder_run *run, double *map, mneme_error *error)
{
    uint32_t from = mn_encoder_info(run->teacher)->dimension, to = run->model->dimension, n = run->model->vocabulary;
    const mn_token_vectors tokens = {.teacher = run->teacher,
                                     .own = run->options->vocabulary ? &run->vocabulary : NULL,
                                     .sif = MN_SIF,
                                     .progress = run->options->progress,
                                     .context = run->options->context};
    float *table = mn_alloc_zeroed((size_t)n * from, sizeof *table);
    mneme_status status = table ? mn_token_vectors_fill(&tokens, table, error) : mn_fail_memory(error, "a token table");
    if (status == MNEME_OK && to < from) {
        if (!run->teacher_vectors) status = mn_space_principal(table, n, from, to, map, error);
        if (status == MNEME_OK) status = mn_principal_project(table, n, from, map, to, table, error);
    }
    if (status == MNEME_OK) mn_trainable_static_fill(run->model, table);
    mn_free(table);
    return status;
}

mneme_status mn_encoder_run_meet_teacher(mn_encoder_run *run, mneme_error *error)
{
    const mneme_train_encoder_options *o = run->options;
    if (!run->teacher) return MNEME_OK;
    uint32_t from = mn_encoder_info(run->teacher)->dimension, to = run->model->dimension;
    bool turned = to < from || (o->from && mn_static_is(o->from));
    bool is_new_table = !o->from && o->cell == MNEME_CELL_STATIC;
    if (to > from || !(turned || is_new_table)) return MNEME_OK;
    double *map = mn_alloc_array((size_t)from * to, sizeof *map);
    mneme_status status = map ? MNEME_OK : mn_fail_memory(error, "the teacher's vectors");
    if (status == MNEME_OK && run->teacher_vectors && turned) {
        status = find_map(run, map, error);
        if (status == MNEME_OK) status = mn_space_apply(map, run->teacher_vectors, run->texts.n, from, to, error);
    }
    /* A run that goes on has its table from the checkpoint. */
    if (status == MNEME_OK && is_new_table && !run->train.resume) status = fill_table(run, map, error);
    mn_free(map);
    return status;
}
