/* distill_static.c -- the steps of distillation, in order:
 *
 *     kept tokens, made-up texts  --teacher-->  vectors (n, width)
 *     vectors of the kept tokens, centred, SIF-weighted     = table (vocabulary, width); other rows are zero
 *     table fitted to the vectors of the texts              (rounds = 0: left as it is)
 *     table (vocabulary, width)  --principal components-->  (vocabulary, dimension), written as F16 */
#include "encoder/train/distill_static.h"

#include "common/buffer.h"
#include "common/memory.h"
#include "encoder/train/distill_texts.h"
#include "encoder/train/principal.h"
#include "encoder/train/static_folder.h"
#include "encoder/train/table_fit.h"
#include "encoder/train/token_vectors.h"

#include <string.h>

/* Of 0.003, 0.01, 0.03, 0.1, 0.3 and 1 the ridge whose similarities agree best with the teacher's on held-out sentences
 * of Cranfield's abstracts, LoCoMo's turns and Grimm's tales, after fitting to made-up texts (no questions, no
 * judgements). */
static const double RIDGE = 0.1;
enum { ITERATIONS = 30 };

typedef struct distillation {
    mn_encoder *teacher;
    const mneme_distill_options *options;
    uint32_t width, dimension, vocabulary;
    mn_kept_tokens kept;
    mn_distill_texts texts; /* the kept tokens, one each; then made-up texts */
    size_t n_made_up;
    float *vectors; /* (texts.n, width): the teacher's */
    float *table;   /* (vocabulary, width), at last (vocabulary, dimension) */
    double kept_variance;
} distillation;

static mneme_status check_options(const distillation *d, mneme_error *error)
{
    const mneme_encoder_info *info = mn_encoder_info(d->teacher);
    if (strcmp(info->kind, "static") == 0)
        return mn_fail(error, MNEME_ERR_USAGE, "%s is static itself; distil from a Transformer", info->name);
    if (d->dimension < 1 || d->dimension > d->width)
        return mn_fail(error, MNEME_ERR_USAGE, "a dimension of %u: expected 1 to %u, which is what %s has",
                       d->dimension, d->width, info->name);
    if (!(d->options->sif > 0 && d->options->sif < 1))
        return mn_fail(error, MNEME_ERR_USAGE, "a SIF coefficient of %g: expected more than 0 and less than 1",
                       d->options->sif);
    return MNEME_OK;
}

static mneme_status gather_texts(distillation *d, mneme_error *error)
{
    const mn_tokenizer *tokenizer = mn_encoder_tokenizer(d->teacher);
    const mneme_distill_options *options = d->options;
    d->texts.cls = mn_tokenizer_cls(tokenizer);
    d->texts.sep = mn_tokenizer_sep(tokenizer);
    d->texts.unknown = mn_tokenizer_unk(tokenizer);
    d->kept.vocabulary = d->vocabulary;
    mneme_status status = mn_kept_tokens_find(mn_encoder_info(d->teacher)->path, d->texts.unknown, &d->kept, error);
    if (status == MNEME_OK && d->kept.n <= d->width)
        status = mn_fail(error, MNEME_ERR_MODEL, "%s: a vocabulary of %u tokens is too small to distil",
                         mn_encoder_info(d->teacher)->name, d->kept.n);
    for (uint32_t i = 0; i < d->kept.n && status == MNEME_OK; i++)
        status = mn_distill_texts_append(&d->texts, &d->kept.ids[i], 1, error);
    if (status == MNEME_OK) status = mn_distill_make_up(&d->texts, &d->kept, options->rounds, error);
    d->n_made_up = d->texts.teacher.n - d->kept.n;
    return status;
}

static mneme_status ask_teacher(distillation *d, mneme_error *error)
{
    const mn_id_lists *lists = &d->texts.teacher;
    size_t n;
    d->vectors = mn_multiply(lists->n, d->width, &n) ? mn_alloc_array(n, sizeof *d->vectors) : NULL;
    if (!d->vectors) return mn_fail_memory(error, "the teacher's vectors");
    const mn_token_batch batch = {.ids = lists->ids, .offsets = lists->offsets, .n = lists->n};
    return mn_encoder_encode_ids(d->teacher, &batch, d->vectors, d->options->progress, d->options->context, error);
}

static mneme_status fill_table(distillation *d, mneme_error *error)
{
    d->table = mn_alloc_zeroed((size_t)d->vocabulary * d->width, sizeof *d->table);
    if (!d->table) return mn_fail_memory(error, "the table");
    mneme_status status = mn_vectors_centre(d->vectors, d->kept.n, d->width, error);
    if (status == MNEME_OK) mn_vectors_weigh(d->vectors, d->kept.ids, d->kept.n, d->width, d->options->sif, d->table);
    return status;
}

/* The one factor by which the table's means come nearest to the targets. */
static mneme_status scale_table(distillation *d, const mn_fit_texts *texts, mneme_error *error)
{
    double along = 0, squares = 0;
    float *mean = mn_alloc_array(d->width, sizeof *mean);
    if (!mean) return mn_fail_memory(error, "distilling");
    for (size_t i = 0; i < texts->n; i++) {
        size_t from = texts->offsets[i], to = texts->offsets[i + 1];
        memset(mean, 0, d->width * sizeof *mean);
        for (size_t t = from; t < to; t++)
            for (size_t c = 0; c < d->width; c++) mean[c] += d->table[(size_t)texts->ids[t] * d->width + c];
        for (size_t c = 0; c < d->width && to > from; c++) {
            double number = (double)mean[c] / (double)(to - from);
            along += number * (double)texts->targets[i * d->width + c];
            squares += number * number;
        }
    }
    mn_free(mean);
    double factor = along > 0 && squares > 0 ? along / squares : 1;
    for (size_t i = 0; i < (size_t)d->vocabulary * d->width; i++) d->table[i] = (float)(factor * (double)d->table[i]);
    return MNEME_OK;
}

/* Fit to the made-up texts, centred by themselves: what they have in common is that nobody wrote them. */
static mneme_status fit(distillation *d, mneme_error *error)
{
    size_t first = d->kept.n;
    if (d->n_made_up == 0) return MNEME_OK;
    float *targets = d->vectors + first * d->width;
    mneme_status status = mn_vectors_centre(targets, d->n_made_up, d->width, error);
    const mn_fit_texts texts = {.ids = d->texts.table.ids,
                                .offsets = d->texts.table.offsets + first,
                                .n = d->n_made_up,
                                .targets = targets};
    const mn_fit_options options = {
        .ridge = RIDGE, .iterations = ITERATIONS, .threads = mn_encoder_threads(d->teacher)};
    if (status == MNEME_OK) status = scale_table(d, &texts, error);
    if (status == MNEME_OK) status = mn_table_fit(&texts, &options, d->table, d->vocabulary, d->width, error);
    return status;
}

static mneme_status reduce(distillation *d, mneme_error *error)
{
    double *components = mn_alloc_array((size_t)d->dimension * d->width, sizeof *components);
    if (!components) return mn_fail_memory(error, "distilling");
    mneme_status status =
        mn_principal_components(d->table, d->vocabulary, d->width, d->dimension, components, &d->kept_variance, error);
    if (status == MNEME_OK)
        status = mn_principal_project(d->table, d->vocabulary, d->width, components, d->dimension, d->table, error);
    mn_free(components);
    return status;
}

static mneme_status save(const distillation *d, const mn_static_folder *place, mneme_error *error)
{
    const mneme_encoder_info *info = mn_encoder_info(d->teacher);
    mn_buffer origin = {0};
    mn_buffer_format(&origin, "%s (%016llx): %u of %u dimensions (%.1f %% of the variance), SIF %g", info->name,
                     (unsigned long long)info->fingerprint, d->dimension, d->width, 100 * d->kept_variance,
                     d->options->sif);
    if (d->n_made_up) mn_buffer_format(&origin, ", fitted to %zu made-up texts", d->n_made_up);
    mn_static_folder what = *place;
    what.distilled_from = origin.data;
    what.table = d->table;
    mneme_status status = origin.failed ? mn_fail_memory(error, "distilling") : mn_static_folder_write(&what, error);
    mn_buffer_free(&origin);
    return status;
}

mneme_status mn_distill_static(mn_encoder *teacher, const mneme_distill_options *options, const char *folder,
                               mneme_error *error)
{
    const mneme_encoder_info *info = mn_encoder_info(teacher);
    distillation d = {.teacher = teacher,
                      .options = options,
                      .width = info->dimension,
                      .dimension = options->dimension,
                      .vocabulary = mn_tokenizer_vocabulary(mn_encoder_tokenizer(teacher))};
    const mn_static_folder place = {.folder = folder,
                                    .tokenizer_folder = info->path,
                                    .teacher = info->name,
                                    .teacher_fingerprint = info->fingerprint,
                                    .n_rows = d.vocabulary,
                                    .dimension = d.dimension,
                                    .sif = options->sif,
                                    .replace = options->replace};
    mneme_status status = check_options(&d, error);
    if (status == MNEME_OK) status = mn_static_folder_check(&place, error);
    if (status == MNEME_OK) status = gather_texts(&d, error);
    if (status == MNEME_OK) status = ask_teacher(&d, error);
    if (status == MNEME_OK) status = fill_table(&d, error);
    if (status == MNEME_OK) status = fit(&d, error);
    if (status == MNEME_OK) status = reduce(&d, error);
    if (status == MNEME_OK) status = save(&d, &place, error);
    mn_distill_texts_free(&d.texts);
    mn_free(d.kept.ids);
    mn_free(d.vectors);
    mn_free(d.table);
    return status;
}
