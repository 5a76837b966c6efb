/* scan.c -- block by block through FAISS's inner products, the best kept in a heap.
 *
 * A large scan is two passes: all products into one array, the blocks shared out over threads, then the heap and the
 * filter over the array in the order of the rows. Nearly all of the time goes into the first: reading the vectors, and
 * on a fresh map the page faults. A product is the same whichever thread computes it, so the answer does not depend on
 * their number. */
#include "retriever/scan.h"

#include "common/threads.h"
#include "retriever/faiss_adapter.h"

/* STRIP: rows at once, whose products stay in the first-level cache. SHARED: from this many bytes of vectors on,
 * starting threads (0.1 ms) is worth it. */
enum { STRIP = 256, SHARED = 8 << 20 };

/* Offer the rows from `from` of a block to the heap. */
static void keep_best(const mn_vector_block *block, uint32_t from, uint32_t n, const float *products,
                      mn_row_filter *filter, mn_top *top)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = block->first_row + from + i;
        if (row < filter->rows->n_rows && mn_top_wants(top, products[i], row) && mn_row_filter_passes(filter, row))
            mn_top_put(top, products[i], row);
    }
}

static void scan_block(const mn_vector_block *block, const float *query, uint32_t dimension, mn_row_filter *filter,
                       mn_top *top)
{
    float products[STRIP];
    for (uint32_t from = 0; from < block->n_rows; from += STRIP) {
        uint32_t n = block->n_rows - from < STRIP ? block->n_rows - from : STRIP;
        mn_faiss_inner_products(query, block->vectors + (size_t)from * dimension, dimension, n, products);
        keep_best(block, from, n, products, filter, top);
    }
}

typedef struct product_job {
    const mn_vector_blocks *blocks;
    const float *query;
    float *products; /* of all rows of all blocks */
    size_t *starts;  /* of each block in products */
} product_job;

static void multiply_block(void *context, size_t item, unsigned worker)
{
    (void)worker;
    const product_job *job = context;
    const mn_vector_block *block = &job->blocks->items[item];
    mn_faiss_inner_products(job->query, block->vectors, job->blocks->dimension, block->n_rows,
                            job->products + job->starts[item]);
}

/* False: no memory or no threads; nothing has been done. */
static bool scan_shared(const mn_vector_blocks *blocks, size_t n_rows, const float *query, unsigned n_threads,
                        mn_row_filter *filter, mn_top *top)
{
    mn_threads *threads = NULL;
    product_job job = {.blocks = blocks,
                       .query = query,
                       .products = mn_alloc_array(n_rows, sizeof(float)),
                       .starts = mn_alloc_array(blocks->n, sizeof(size_t))};
    bool ready = job.products && job.starts && mn_threads_new(n_threads, &threads, NULL) == MNEME_OK;
    if (ready) {
        size_t start = 0;
        for (size_t b = 0; b < blocks->n; start += blocks->items[b++].n_rows) job.starts[b] = start;
        mn_threads_run(threads, blocks->n, multiply_block, &job);
        for (size_t b = 0; b < blocks->n; b++)
            keep_best(&blocks->items[b], 0, blocks->items[b].n_rows, job.products + job.starts[b], filter, top);
    }
    mn_threads_free(threads);
    mn_free(job.starts);
    mn_free(job.products);
    return ready;
}

void mn_scan_top(const mn_vector_blocks *blocks, const float *query, unsigned n_threads, mn_row_filter *filter,
                 mn_top *top)
{
    size_t n_rows = 0;
    for (size_t b = 0; b < blocks->n; b++) n_rows += blocks->items[b].n_rows;
    bool large = n_rows >= SHARED / sizeof(float) / (blocks->dimension ? blocks->dimension : 1);
    if (large && n_threads != 1 && scan_shared(blocks, n_rows, query, n_threads, filter, top)) return;
    for (size_t b = 0; b < blocks->n; b++) scan_block(&blocks->items[b], query, blocks->dimension, filter, top);
}

float mn_scan_one(const mn_vector_blocks *blocks, const float *query, uint32_t row, bool *has_vector)
{
    const float *vector = mn_vector_of(blocks, row);
    float product = 0;
    if (vector) mn_faiss_inner_products(query, vector, blocks->dimension, 1, &product);
    *has_vector = vector && product == product;
    return *has_vector ? product : 0;
}
