/* table_fit.c -- preconditioned conjugate gradients on (A^T A + ridge I) D = A^T (Y - A E0), E = E0 + D, where row i of
 * A holds 1 / n_i for each of the n_i tokens of text i. A is never built: both of its products are passes over
 * the ids.
 */
#include "encoder/train/table_fit.h"

#include "common/memory.h"

#include <stdatomic.h>
#include <string.h>

enum { COLUMNS = 16 };

typedef struct fit {
    const mn_fit_texts *texts;
    const mn_fit_options *options;
    float *table;
    uint32_t n_rows, width;
    float *diagonal; /* n_rows: of A^T A + ridge I */
    atomic_bool out_of_memory;
} fit;

/* Of one block of columns; all (n_rows, COLUMNS). */
typedef struct block {
    float *step, *residual, *direction, *product;
    double residual_norm[COLUMNS], first_norm[COLUMNS]; /* r^T M^-1 r */
    size_t first, n;                                    /* columns of the table */
} block;

static void text_mean(const fit *f, const float *rows, size_t text, float mean[COLUMNS])
{
    const uint32_t *ids = f->texts->ids;
    size_t from = f->texts->offsets[text], to = f->texts->offsets[text + 1];
    memset(mean, 0, COLUMNS * sizeof *mean);
    for (size_t i = from; i < to; i++)
        for (size_t c = 0; c < COLUMNS; c++) mean[c] += rows[(size_t)ids[i] * COLUMNS + c];
    float share = to > from ? 1.0f / (float)(to - from) : 0;
    for (size_t c = 0; c < COLUMNS; c++) mean[c] *= share;
}

/* rows[t] += value / n for every token of the text. */
static void spread_over_text(const fit *f, const float value[COLUMNS], size_t text, float *rows)
{
    size_t from = f->texts->offsets[text], to = f->texts->offsets[text + 1];
    float share[COLUMNS];
    for (size_t c = 0; c < COLUMNS && to > from; c++) share[c] = value[c] / (float)(to - from);
    for (size_t i = from; i < to; i++)
        for (size_t c = 0; c < COLUMNS; c++) rows[(size_t)f->texts->ids[i] * COLUMNS + c] += share[c];
}

/* out = (A^T A + ridge I) in */
static void apply(const fit *f, const float *in, float *out)
{
    float ridge = (float)f->options->ridge, mean[COLUMNS];
    for (size_t i = 0; i < (size_t)f->n_rows * COLUMNS; i++) out[i] = ridge * in[i];
    for (size_t text = 0; text < f->texts->n; text++) {
        text_mean(f, in, text, mean);
        spread_over_text(f, mean, text, out);
    }
}

/* sums[c] = sum over rows of a b, or of a a / diagonal when b is NULL. */
static void column_products(const fit *f, const float *a, const float *b, double sums[COLUMNS])
{
    memset(sums, 0, COLUMNS * sizeof *sums);
    for (size_t row = 0; row < f->n_rows; row++)
        for (size_t c = 0; c < COLUMNS; c++) {
            size_t at = row * COLUMNS + c;
            float right = b ? b[at] : a[at] / f->diagonal[row];
            sums[c] += (double)a[at] * (double)right;
        }
}

/* residual = A^T (Y - A E0); the step starts at zero. `product` lends its room to E0's columns. */
static void begin(const fit *f, block *b)
{
    size_t bytes = (size_t)f->n_rows * COLUMNS * sizeof(float);
    memset(b->step, 0, bytes);
    memset(b->residual, 0, bytes);
    memset(b->product, 0, bytes);
    for (size_t row = 0; row < f->n_rows; row++)
        memcpy(b->product + row * COLUMNS, f->table + row * f->width + b->first, b->n * sizeof(float));
    for (size_t text = 0; text < f->texts->n; text++) {
        float gap[COLUMNS];
        text_mean(f, b->product, text, gap);
        const float *target = f->texts->targets + text * f->width + b->first;
        for (size_t c = 0; c < COLUMNS; c++) gap[c] = c < b->n ? target[c] - gap[c] : 0;
        spread_over_text(f, gap, text, b->residual);
    }
    for (size_t row = 0; row < f->n_rows; row++)
        for (size_t c = 0; c < COLUMNS; c++)
            b->direction[row * COLUMNS + c] = b->residual[row * COLUMNS + c] / f->diagonal[row];
    column_products(f, b->residual, NULL, b->residual_norm);
    memcpy(b->first_norm, b->residual_norm, sizeof b->first_norm);
}

/* One round for every column that is not there yet; false when all are. */
static bool advance(const fit *f, block *b)
{
    double curvature[COLUMNS], norm[COLUMNS];
    float along[COLUMNS], keep[COLUMNS];
    bool any = false;
    apply(f, b->direction, b->product);
    column_products(f, b->direction, b->product, curvature);
    for (size_t c = 0; c < COLUMNS; c++) {
        bool open = b->residual_norm[c] > 1e-8 * b->first_norm[c] && curvature[c] > 0;
        along[c] = open ? (float)(b->residual_norm[c] / curvature[c]) : 0;
        any |= open;
    }
    for (size_t i = 0; i < (size_t)f->n_rows * COLUMNS; i++) {
        b->step[i] += along[i % COLUMNS] * b->direction[i];
        b->residual[i] -= along[i % COLUMNS] * b->product[i];
    }
    column_products(f, b->residual, NULL, norm);
    for (size_t c = 0; c < COLUMNS; c++) {
        keep[c] = b->residual_norm[c] > 0 ? (float)(norm[c] / b->residual_norm[c]) : 0;
        b->residual_norm[c] = norm[c];
    }
    for (size_t row = 0; row < f->n_rows; row++)
        for (size_t c = 0; c < COLUMNS; c++) {
            size_t at = row * COLUMNS + c;
            b->direction[at] = b->residual[at] / f->diagonal[row] + keep[c] * b->direction[at];
        }
    return any;
}

static void fit_block(void *context, size_t item, unsigned worker)
{
    (void)worker;
    fit *f = context;
    block b = {.first = item * COLUMNS};
    b.n = f->width - b.first < COLUMNS ? f->width - b.first : COLUMNS;
    size_t room = (size_t)f->n_rows * COLUMNS;
    float *memory = mn_alloc_array(4 * room, sizeof *memory);
    if (!memory) {
        atomic_store(&f->out_of_memory, true);
        return;
    }
    b.step = memory, b.residual = memory + room, b.direction = memory + 2 * room, b.product = memory + 3 * room;
    begin(f, &b);
    for (uint32_t i = 0; i < f->options->iterations && advance(f, &b); i++) continue;
    for (size_t row = 0; row < f->n_rows; row++)
        for (size_t c = 0; c < b.n; c++) f->table[row * f->width + b.first + c] += b.step[row * COLUMNS + c];
    mn_free(memory);
}

/* The square of a token's share, summed over texts; a token that comes twice in a text counts as two, which is near
 * enough for a preconditioner. */
static void fill_diagonal(const fit *f)
{
    const mn_fit_texts *texts = f->texts;
    for (size_t row = 0; row < f->n_rows; row++) f->diagonal[row] = (float)f->options->ridge;
    for (size_t text = 0; text < texts->n; text++) {
        size_t from = texts->offsets[text], to = texts->offsets[text + 1];
        for (size_t i = from; i < to; i++)
            f->diagonal[texts->ids[i]] += 1 / ((float)(to - from) * (float)(to - from));
    }
}

mneme_status mn_table_fit(const mn_fit_texts *texts, const mn_fit_options *options, float *table, uint32_t n_rows,
                          uint32_t width, mneme_error *error)
{
    fit f = {.texts = texts, .options = options, .table = table, .n_rows = n_rows, .width = width};
    f.diagonal = mn_alloc_array(n_rows, sizeof *f.diagonal);
    if (!f.diagonal) return mn_fail_memory(error, "fitting the table");
    fill_diagonal(&f);
    mn_threads_run(options->threads, (width + COLUMNS - 1) / COLUMNS, fit_block, &f);
    mn_free(f.diagonal);
    return atomic_load(&f.out_of_memory) ? mn_fail_memory(error, "fitting the table") : MNEME_OK;
}
