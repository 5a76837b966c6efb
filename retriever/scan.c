/* scan.c -- all products into one array, the blocks shared out over threads; then the heap and the filter over the
 * array in the order of the rows.
 *
 * Nearly all of the time goes into reading the vectors, and on a fresh map into the page faults. So int12 is scanned in
 * two steps: the high parts of all rows give each product up to what the low parts can add, |low| <= 8 in each place:
 *
 *     |sum low_i * q_i| <= |low| |q| <= 8 sqrt(d) |q|                (Cauchy-Schwarz)
 *
 * and only rows that may be among the best by this bound have their low parts read. What comes out is exactly what all
 * products in full would give. A product is the same whichever thread or kernel computes it (whole numbers; the floats
 * by one kernel of FAISS), so the answer depends on neither. */
#include "retriever/scan.h"

#include "common/threads.h"
#include "retriever/faiss_adapter.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* STRIP: rows at once, that stay in the first-level cache. SHARED: from this many bytes of vectors on, starting threads
 * (0.1 ms) is worth it. */
enum { STRIP = 32, SHARED = 8 << 20 };

/* ---- the question ---- */

static bool is_integer(const mn_vector_blocks *blocks)
{
    return blocks->type == MN_VECTORS_INT12 || blocks->type == MN_VECTORS_INT8;
}

/* The question as whole numbers of at most 15 bits whose sum stays where the kernels need it. */
static bool quantize(mn_scan *scan, mn_arena *arena)
{
    uint32_t d = scan->blocks->dimension;
    double largest = 0, sum = 0, squares = 0;
    int16_t *codes = mn_arena_array(arena, d, sizeof *codes);
    if (!codes) return false;
    for (uint32_t i = 0; i < d; i++) {
        double number = fabs((double)scan->query[i]);
        largest = number > largest ? number : largest;
        sum += number;
        squares += number * number;
    }
    double to_code = largest > 0 ? 32767 / largest : 0; /* rounding adds at most 1/2 to each: leave room for d */
    if (sum * to_code > MN_QUERY_SUM_MOST - (double)d) to_code = (MN_QUERY_SUM_MOST - (double)d) / sum;
    for (uint32_t i = 0; i < d; i++) codes[i] = (int16_t)lrint((double)scan->query[i] * to_code);
    scan->codes = codes;
    scan->unit = to_code > 0 ? 1 / to_code : 0;
    /* The norm is the codes': at most sqrt(d) / 2 units from the question's. */
    if (scan->blocks->type == MN_VECTORS_INT12) scan->rest = 8 * sqrt(d) * (sqrt(squares) + sqrt(d) * scan->unit);
    return true;
}

/* The codes once more, in the order in which the low parts of a row lie. */
static bool split_codes(mn_scan *scan, mn_arena *arena)
{
    uint32_t d = scan->blocks->dimension, half = (d + 1) / 2;
    int16_t *split = mn_arena_array(arena, 2 * (size_t)half, sizeof *split);
    if (!split) return false;
    split[2 * half - 1] = 0; /* of an odd dimension */
    for (uint32_t i = 0; i < d; i++) {
        split[i % 2 * half + i / 2] = scan->codes[i];
        scan->excess += 8 * scan->codes[i];
    }
    scan->even = split;
    scan->odd = split + half;
    return true;
}

bool mn_scan_init(mn_scan *scan, const mn_vector_blocks *blocks, const float *query, mn_cpu_level level,
                  unsigned n_threads, mn_arena *arena)
{
    *scan = (mn_scan){.blocks = blocks, .query = query, .n_threads = n_threads};
    if (!is_integer(blocks)) return true;
    scan->products = mn_integer_products_for(level);
    scan->low_products = mn_low_products_for(level);
    return quantize(scan, arena) && (blocks->type != MN_VECTORS_INT12 || split_codes(scan, arena));
}

/* ---- products of one block ---- */

static void multiply_halves(const mn_scan *scan, const mn_vector_block *block, float *out)
{
    size_t d = scan->blocks->dimension;
    float strip[2048]; /* a row, or a piece of one */
    for (uint32_t r = 0; r < block->n_rows; r++) {
        out[r] = 0;
        for (size_t from = 0; from < d; from += 2048) {
            size_t n = d - from < 2048 ? d - from : 2048;
            float product;
            for (size_t i = 0; i < n; i++) strip[i] = mn_vector_half(block->halves[r * d + from + i]);
            mn_faiss_inner_products(scan->query + from, strip, n, 1, &product);
            out[r] += product;
        }
    }
}

/* The value of a whole sum: the same expression wherever a product is made. */
static float product_of(const mn_scan *scan, float scale, int64_t sum)
{
    return (float)((double)sum * scan->unit * (double)scale);
}

/* int8: the products. int12: the high parts' share of them. Of the block's rows first .. first + n - 1, n <= STRIP. */
static void multiply_strip(const mn_scan *scan, const mn_vector_block *block, uint32_t first, uint32_t n, float *out)
{
    size_t d = scan->blocks->dimension;
    int32_t sums[STRIP], weight = scan->blocks->type == MN_VECTORS_INT12 ? 16 : 1;
    scan->products(block->high + first * d, n, d, scan->codes, sums);
    for (uint32_t i = 0; i < n; i++) out[i] = product_of(scan, block->scales[first + i], (int64_t)weight * sums[i]);
}

static uint32_t strip_of(const mn_vector_block *block, uint32_t first)
{
    return block->n_rows - first < STRIP ? block->n_rows - first : STRIP;
}

static void multiply_integers(const mn_scan *scan, const mn_vector_block *block, float *out)
{
    for (uint32_t first = 0; first < block->n_rows; first += STRIP)
        multiply_strip(scan, block, first, strip_of(block, first), out + first);
}

static void multiply_block(const mn_scan *scan, const mn_vector_block *block, float *out)
{
    if (is_integer(scan->blocks))
        multiply_integers(scan, block, out);
    else if (scan->blocks->type == MN_VECTORS_BF16)
        multiply_halves(scan, block, out);
    else
        mn_faiss_inner_products(scan->query, block->vectors, scan->blocks->dimension, block->n_rows, out);
}

/* ---- one row in full ---- */

static float multiply_int12(const mn_scan *scan, const mn_vector_block *block, uint32_t place)
{
    size_t d = scan->blocks->dimension, half = (d + 1) / 2;
    int32_t high_sum,
        low_sum = scan->low_products(block->low + place * half, half, scan->even, scan->odd) - scan->excess;
    scan->products(block->high + place * d, 1, d, scan->codes, &high_sum);
    return product_of(scan, block->scales[place], (int64_t)16 * high_sum + low_sum);
}

static float multiply_row(const mn_scan *scan, const mn_vector_block *block, uint32_t place)
{
    size_t d = scan->blocks->dimension, at = place * d;
    float product;
    mn_vector_block row = {.n_rows = 1};
    if (scan->blocks->type == MN_VECTORS_INT12) return multiply_int12(scan, block, place);
    if (block->vectors) row.vectors = block->vectors + at;
    if (block->halves) row.halves = block->halves + at;
    if (block->scales) row.scales = block->scales + place;
    if (block->high) row.high = block->high + at;
    multiply_block(scan, &row, &product);
    return product;
}

float mn_scan_one(const mn_scan *scan, uint32_t row, bool *has_vector)
{
    uint32_t place;
    const mn_vector_block *block = mn_vector_find(scan->blocks, row, &place);
    float product = block ? multiply_row(scan, block, place) : 0;
    *has_vector = block && product == product;
    return *has_vector ? product : 0;
}

static void fetch(const void *data, size_t size)
{
    const char *first = data;
    for (size_t at = 0; at < size; at += 64) __builtin_prefetch(first + at);
}

void mn_scan_fetch(const mn_scan *scan, uint32_t row)
{
    uint32_t place;
    size_t d = scan->blocks->dimension, half = (d + 1) / 2;
    const mn_vector_block *block = mn_vector_find(scan->blocks, row, &place);
    if (!block) return;
    if (block->vectors) fetch(block->vectors + place * d, d * sizeof *block->vectors);
    if (block->halves) fetch(block->halves + place * d, d * sizeof *block->halves);
    if (block->scales) fetch(block->scales + place, 1);
    if (block->high) fetch(block->high + place * d, d);
    if (block->low) fetch(block->low + place * half, half);
}

/* ---- all rows ---- */

typedef struct product_job {
    const mn_scan *scans; /* of the same blocks */
    size_t n;
    float *products; /* of all rows of all blocks; scan after scan */
    size_t *starts;  /* of each block in a scan's products */
    size_t n_rows;
} product_job;

static void multiply_item(void *context, size_t item, unsigned worker)
{
    (void)worker;
    const product_job *job = context;
    const mn_vector_block *block = &job->scans->blocks->items[item];
    float *out = job->products + job->starts[item];
    if (!is_integer(job->scans->blocks)) {
        for (size_t s = 0; s < job->n; s++) multiply_block(&job->scans[s], block, out + s * job->n_rows);
        return;
    }
    for (uint32_t first = 0; first < block->n_rows; first += STRIP)
        for (size_t s = 0; s < job->n; s++)
            multiply_strip(&job->scans[s], block, first, strip_of(block, first), out + s * job->n_rows + first);
}

static void multiply_all(const product_job *job)
{
    const mn_vector_blocks *blocks = job->scans->blocks;
    unsigned n_threads = job->scans->n_threads;
    mn_threads *threads = NULL;
    bool large = job->n_rows >= SHARED / job->n / mn_vector_row_bytes(blocks->type, blocks->dimension);
    if (large && n_threads != 1 && mn_threads_new(n_threads, &threads, NULL) == MNEME_OK)
        mn_threads_run(threads, blocks->n, multiply_item, (void *)(uintptr_t)job);
    else
        for (size_t b = 0; b < blocks->n; b++) multiply_item((void *)(uintptr_t)job, b, 0);
    mn_threads_free(threads);
}

static bool job_init(product_job *job, const mn_scan *scans, size_t n)
{
    const mn_vector_blocks *blocks = scans->blocks;
    *job = (product_job){.scans = scans, .n = n, .starts = mn_alloc_array(blocks->n, sizeof(size_t))};
    for (size_t b = 0; job->starts && b < blocks->n; job->n_rows += blocks->items[b++].n_rows)
        job->starts[b] = job->n_rows;
    if (job->starts) job->products = mn_alloc_array(n, job->n_rows * sizeof(float));
    return job->products != NULL;
}

static void job_free(product_job *job)
{
    mn_free(job->starts);
    mn_free(job->products);
}

/* One of a job's scans, with its products. */
typedef struct scanned {
    const mn_scan *scan;
    const float *products;
    const size_t *starts;
} scanned;

/* Offer a row, if it would be kept and the filter passes it. */
static void offer(mn_top *top, mn_row_filter *filter, uint32_t row, float score)
{
    if (row < filter->rows->n_rows && mn_top_wants(top, score, row) && mn_row_filter_passes(filter, row))
        mn_top_put(top, score, row);
}

static void keep_best(const scanned *job, mn_row_filter *filter, mn_top *top)
{
    const mn_vector_blocks *blocks = job->scan->blocks;
    for (size_t b = 0; b < blocks->n; b++)
        for (uint32_t i = 0; i < blocks->items[b].n_rows; i++)
            offer(top, filter, blocks->items[b].first_row + i, job->products[job->starts[b] + i]);
}

/* How far a row's product may lie from its high part's, rounding to float included. */
static float rest_of(const mn_scan *scan, float scale)
{
    return (float)(scan->rest * (double)scale) + 4 * FLT_EPSILON;
}

/* The score that the best `top->capacity` rows reach at least. */
static float sure_score(const scanned *job, mn_row_filter *filter, mn_top *sure)
{
    const mn_vector_blocks *blocks = job->scan->blocks;
    for (size_t b = 0; b < blocks->n; b++) {
        const mn_vector_block *block = &blocks->items[b];
        const float *products = job->products + job->starts[b];
        for (uint32_t i = 0; i < block->n_rows; i++)
            offer(sure, filter, block->first_row + i, products[i] - rest_of(job->scan, block->scales[i]));
    }
    return sure->n == sure->capacity && sure->n ? sure->items[0].score : -INFINITY;
}

static void keep_best_in_full(const scanned *job, mn_row_filter *filter, float least, mn_top *top)
{
    const mn_vector_blocks *blocks = job->scan->blocks;
    for (size_t b = 0; b < blocks->n; b++) {
        const mn_vector_block *block = &blocks->items[b];
        const float *products = job->products + job->starts[b];
        for (uint32_t i = 0; i < block->n_rows; i++)
            if (products[i] + rest_of(job->scan, block->scales[i]) >= least &&
                block->first_row + i < filter->rows->n_rows)
                offer(top, filter, block->first_row + i, multiply_row(job->scan, block, i));
    }
}

bool mn_scan_top_of_each(const mn_scan *scans, size_t n, mn_row_filter *filters, mn_arena *arena, mn_top *tops)
{
    if (n == 0 || scans->blocks->n == 0) return true;
    product_job job;
    bool two_steps = scans->blocks->type == MN_VECTORS_INT12, ready = job_init(&job, scans, n);
    if (ready) multiply_all(&job);
    for (size_t i = 0; i < n && ready; i++) {
        const scanned one = {&scans[i], job.products + i * job.n_rows, job.starts};
        mn_top sure;
        if (tops[i].capacity == 0) continue;
        if (!two_steps)
            keep_best(&one, &filters[i], &tops[i]);
        else if (mn_top_init(&sure, tops[i].capacity, arena))
            keep_best_in_full(&one, &filters[i], sure_score(&one, &filters[i], &sure), &tops[i]);
        else
            ready = false;
    }
    job_free(&job);
    return ready;
}

bool mn_scan_top(const mn_scan *scan, mn_row_filter *filter, mn_arena *arena, mn_top *top)
{
    return top->capacity == 0 || mn_scan_top_of_each(scan, 1, filter, arena, top);
}
