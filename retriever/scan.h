/* scan.h -- exact nearest neighbours over vector blocks, read where they lie in the map.
 *
 * Not an index: nothing is built and nothing is kept. Cost grows with rows * dimension. */
#ifndef MN_RETRIEVER_SCAN_H
#define MN_RETRIEVER_SCAN_H

#include "retriever/row_filter.h"
#include "retriever/top.h"

/* Put the rows with the highest inner product with `query` into `top` (from mn_top_init; left unsorted).
 *
 * query   blocks->dimension floats, finite.
 * n_threads  share a large scan out over so many; 0 = one per core. The answer does not depend on it.
 * filter  rows that it does not pass are left out; check its status afterwards.
 *
 * A row whose product is not a number is left out. The blocks must stay mapped. Any thread. */
void mn_scan_top(const mn_vector_blocks *blocks, const float *query, unsigned n_threads, mn_row_filter *filter,
                 mn_top *top);

/* The same product for one row; 0 when it has no vector (*has_vector false) or it is not a number. */
float mn_scan_one(const mn_vector_blocks *blocks, const float *query, uint32_t row, bool *has_vector);

#endif
