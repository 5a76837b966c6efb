/* scan.c -- block by block through FAISS's inner products, the best kept in a heap. */
#include "retriever/scan.h"

#include "retriever/faiss_adapter.h"

enum { STRIP = 256 }; /* rows at once: their products stay in the first-level cache */

static void scan_strip(const mn_vector_block *block, uint32_t from, uint32_t n, const float *query, uint32_t dimension,
                       mn_row_filter *filter, mn_top *top)
{
    float products[STRIP];
    mn_faiss_inner_products(query, block->vectors + (size_t)from * dimension, dimension, n, products);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = block->first_row + from + i;
        if (row < filter->rows->n_rows && mn_top_wants(top, products[i], row) && mn_row_filter_passes(filter, row))
            mn_top_put(top, products[i], row);
    }
}

void mn_scan_top(const mn_vector_blocks *blocks, const float *query, mn_row_filter *filter, mn_top *top)
{
    for (size_t b = 0; b < blocks->n; b++) {
        const mn_vector_block *block = &blocks->items[b];
        for (uint32_t from = 0; from < block->n_rows; from += STRIP) {
            uint32_t n = block->n_rows - from < STRIP ? block->n_rows - from : STRIP;
            scan_strip(block, from, n, query, blocks->dimension, filter, top);
        }
    }
}

float mn_scan_one(const mn_vector_blocks *blocks, const float *query, uint32_t row, bool *has_vector)
{
    const float *vector = mn_vector_of(blocks, row);
    float product = 0;
    if (vector) mn_faiss_inner_products(query, vector, blocks->dimension, 1, &product);
    *has_vector = vector && product == product;
    return *has_vector ? product : 0;
}
