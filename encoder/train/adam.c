/* adam.c -- sums, the norm and the step, each a pass over ranges of parameters that threads share. */
#include "encoder/train/adam.h"

#include <math.h>
#include <string.h>

enum {
    RANGE = 1 << 15,   /* floats */
    SPARSE_PARTS = 64, /* of squares: their order must not depend on the number of threads */
};

/* ---- making ---------------------------------------------------------------------------------------------------- */

static size_t sparse_rows(const mn_parameters *parameters)
{
    size_t rows = 0;
    for (size_t i = 0; i < parameters->n; i++)
        if (parameters->items[i]->options.sparse) rows += parameters->items[i]->options.rows;
    return rows;
}

static size_t n_ranges(const mn_parameters *parameters)
{
    return (parameters->dense_size + RANGE - 1) / RANGE;
}

mneme_status mn_adam_new(mn_parameters *parameters, const mn_adam_options *options, mn_adam **out, mneme_error *error)
{
    *out = NULL;
    mn_adam *adam = mn_alloc_zeroed(1, sizeof *adam);
    if (!adam) return mn_fail_memory(error, "Adam");
    *adam = (mn_adam){.options = *options, .parameters = parameters};
    adam->first = mn_alloc_zeroed(parameters->size, sizeof(float));
    adam->second = mn_alloc_zeroed(parameters->size, sizeof(float));
    adam->sums = mn_alloc_zeroed(parameters->size, sizeof(float));
    adam->touched = mn_alloc_zeroed(sparse_rows(parameters) / 64 + 1, sizeof(uint64_t));
    adam->squares = mn_alloc_zeroed(SPARSE_PARTS + n_ranges(parameters), sizeof(double));
    if (!adam->first || !adam->second || !adam->sums || !adam->touched || !adam->squares) {
        mn_adam_free(adam);
        return mn_fail_memory(error, "Adam's moments");
    }
    *out = adam;
    return MNEME_OK;
}

void mn_adam_free(mn_adam *adam)
{
    if (!adam) return;
    mn_free(adam->first);
    mn_free(adam->second);
    mn_free(adam->sums);
    mn_free(adam->touched);
    mn_free(adam->squares);
    mn_free(adam);
}

/* ---- sums ------------------------------------------------------------------------------------------------------ */

typedef struct job {
    mn_adam *adam;
    mn_shard *const *shards;
    size_t n_shards, n_parts;
    mn_adam_numbers numbers;
} job;

/* items 0..n_ranges-1: ranges of the dense gradients. */
static void add_range(const job *j, size_t item)
{
    size_t dense = j->adam->parameters->dense_size, first = item * RANGE;
    size_t n = dense - first < RANGE ? dense - first : RANGE;
    const mn_train_kernels *kernels = j->adam->parameters->arithmetic->train_kernels;
    for (size_t s = 0; s < j->n_shards; s++)
        kernels->add_rows(j->shards[s]->gradients + first, 0, 1, (uint32_t)n, j->adam->sums + first);
}

/* The items behind them: every n_parts-th run of 64 rows, a word of the bits of rows, of all sparse gradients. So two
 * threads never touch the same word, and the rows of an id are added in order. */
static void add_sparse(const job *j, size_t part)
{
    const mn_parameters *parameters = j->adam->parameters;
    const mn_train_kernels *kernels = parameters->arithmetic->train_kernels;
    size_t row = 0;
    for (size_t i = 0; i < parameters->n; i++) {
        const mn_parameter *p = parameters->items[i];
        if (!p->options.sparse) continue;
        uint32_t width = p->options.columns;
        for (size_t s = 0; s < j->n_shards; s++)
            for (const mn_sparse_gradient *g = j->shards[s]->sparse; g; g = g->next)
                for (size_t t = 0; g->parameter == p && t < g->n; t++) {
                    size_t bit = row + g->ids[t];
                    if (bit / 64 % j->n_parts != part) continue;
                    j->adam->touched[bit / 64] |= (uint64_t)1 << bit % 64;
                    kernels->add_rows(g->rows + t * width, 0, 1, width,
                                      j->adam->sums + p->offset + (size_t)g->ids[t] * width);
                }
        row += p->options.rows;
    }
}

static void add_item(void *context, size_t item, unsigned worker)
{
    (void)worker;
    const job *j = context;
    size_t ranges = n_ranges(j->adam->parameters);
    if (item < j->n_parts)
        add_sparse(j, item);
    else if (item - j->n_parts < ranges)
        add_range(j, item - j->n_parts);
}

void mn_adam_add(mn_adam *adam, mn_shard *const *shards, size_t n, mn_threads *threads)
{
    job j = {.adam = adam, .shards = shards, .n_shards = n, .n_parts = 2 * mn_threads_count(threads)};
    mn_threads_run(threads, j.n_parts + n_ranges(adam->parameters), add_item, &j);
}

/* ---- the step -------------------------------------------------------------------------------------------------- */

/* Every touched row of the sparse parameters: work(context, parameter, offset of the row). */
static void each_touched(const mn_adam *adam, size_t part, size_t n_parts,
                         void (*work)(void *context, const mn_parameter *parameter, size_t offset), void *context)
{
    size_t row = 0;
    for (size_t i = 0; i < adam->parameters->n; i++) {
        const mn_parameter *p = adam->parameters->items[i];
        if (!p->options.sparse) continue;
        for (size_t r = 0; r < p->options.rows; r++) {
            size_t bit = row + r;
            if (bit / 64 % n_parts != part || !(adam->touched[bit / 64] >> bit % 64 & 1)) continue;
            work(context, p, p->offset + r * p->options.columns);
        }
        row += p->options.rows;
    }
}

typedef struct row_squares {
    const mn_adam *adam;
    double sum;
} row_squares;

static void square_row(void *context, const mn_parameter *parameter, size_t offset)
{
    row_squares *rows = context;
    rows->sum += rows->adam->parameters->arithmetic->train_kernels->squares(rows->adam->sums + offset,
                                                                            parameter->options.columns);
}

static void square_item(void *context, size_t item, unsigned worker)
{
    (void)worker;
    const job *j = context;
    const mn_parameters *parameters = j->adam->parameters;
    if (item < SPARSE_PARTS) {
        row_squares rows = {.adam = j->adam};
        each_touched(j->adam, item, SPARSE_PARTS, square_row, &rows);
        j->adam->squares[item] = rows.sum;
        return;
    }
    size_t first = (item - SPARSE_PARTS) * RANGE, left = parameters->dense_size - first;
    j->adam->squares[item] =
        parameters->arithmetic->train_kernels->squares(j->adam->sums + first, left < RANGE ? left : RANGE);
}

static void change(const job *j, const mn_parameter *p, size_t offset, size_t n)
{
    mn_adam *adam = j->adam;
    mn_adam_numbers numbers = j->numbers;
    if (!p->options.decays) numbers.weight_decay = 0;
    if (!p->frozen)
        adam->parameters->arithmetic->train_kernels->adam(&numbers, adam->sums + offset,
                                                          adam->parameters->values + offset, adam->first + offset,
                                                          adam->second + offset, n);
    memset(adam->sums + offset, 0, n * sizeof(float));
}

static void change_row(void *context, const mn_parameter *parameter, size_t offset)
{
    change(context, parameter, offset, parameter->options.columns);
}

static void change_item(void *context, size_t item, unsigned worker)
{
    (void)worker;
    job *j = context;
    const mn_parameters *parameters = j->adam->parameters;
    if (item < SPARSE_PARTS) {
        each_touched(j->adam, item, SPARSE_PARTS, change_row, j);
        return;
    }
    size_t first = (item - SPARSE_PARTS) * RANGE, end = first + RANGE;
    for (size_t i = 0; i < parameters->n; i++) { /* the parts of parameters in this range */
        const mn_parameter *p = parameters->items[i];
        size_t from = p->offset, to = from + (size_t)p->options.rows * p->options.columns;
        if (p->options.sparse || to <= first || from >= end) continue;
        if (from < first) from = first;
        if (to > end) to = end;
        change(j, p, from, to - from);
    }
}

static double norm_of(mn_adam *adam, float scale, mn_threads *threads)
{
    size_t n_items = SPARSE_PARTS + n_ranges(adam->parameters);
    job j = {.adam = adam};
    double sum = 0;
    mn_threads_run(threads, n_items, square_item, &j);
    for (size_t i = 0; i < n_items; i++) sum += adam->squares[i];
    return sqrt(sum) * (double)scale;
}

bool mn_adam_step(mn_adam *adam, float learning_rate, float scale, mn_threads *threads, double *norm)
{
    *norm = norm_of(adam, scale, threads);
    bool finite = isfinite(*norm);
    const mn_adam_options *o = &adam->options;
    job j = {.adam = adam};
    size_t n_words = sparse_rows(adam->parameters) / 64 + 1;
    if (finite) {
        adam->step++;
        j.numbers = (mn_adam_numbers){.learning_rate = learning_rate,
                                      .beta1 = o->beta1,
                                      .beta2 = o->beta2,
                                      .epsilon = o->epsilon,
                                      .weight_decay = o->weight_decay,
                                      .correction1 = (float)(1 - pow((double)o->beta1, (double)adam->step)),
                                      .correction2 = (float)(1 - pow((double)o->beta2, (double)adam->step)),
                                      .gradient_scale = scale};
        if (o->largest_norm > 0 && *norm > (double)o->largest_norm)
            j.numbers.gradient_scale = (float)((double)scale * (double)o->largest_norm / *norm);
        mn_threads_run(threads, SPARSE_PARTS + n_ranges(adam->parameters), change_item, &j);
    } else {
        memset(adam->sums, 0, adam->parameters->size * sizeof(float));
    }
    memset(adam->touched, 0, n_words * sizeof(uint64_t));
    return finite;
}

float mn_learning_rate(float peak, float lowest, uint64_t step, uint64_t warm_up, uint64_t n_steps)
{
    if (step < warm_up) return peak * (float)(step + 1) / (float)warm_up;
    if (n_steps <= warm_up) return peak;
    double along = (double)(step - warm_up) / (double)(n_steps - warm_up);
    double cosine = 0.5 * (1 + cos(3.141592653589793 * (along < 1 ? along : 1)));
    return (float)((double)peak * ((double)lowest + (1 - (double)lowest) * cosine));
}
