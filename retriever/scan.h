/* scan.h -- exact nearest neighbours over vector blocks, read where they lie in the map.
 *
 * Not an index: nothing is built and nothing is kept. Cost grows with rows * dimension. "Exact" is: by the vectors as
 * they are kept (memstore/vector_codes.h), whatever their type. */
#ifndef MN_RETRIEVER_SCAN_H
#define MN_RETRIEVER_SCAN_H

#include "retriever/integer_products.h"
#include "retriever/row_filter.h"
#include "retriever/top.h"

/* A question made ready for the blocks of one namespace. */
typedef struct mn_scan {
    const mn_vector_blocks *blocks;
    const float *query;           /* blocks->dimension floats */
    const int16_t *codes;         /* the question in whole numbers, for int12 and int8; in the arena */
    double unit;                  /* what 1 in the codes stands for */
    double rest;                  /* int12: the most that the low parts of a row can add, as a multiple of its scale */
    mn_integer_products products; /* for int12 and int8 */
    const int16_t *even, *odd;    /* int12: codes at even and odd places, (dimension + 1) / 2 of each */
    int32_t excess;               /* int12: what the low parts' product is too much (integer_products.h) */
    mn_low_products low_products;
    unsigned n_threads;
} mn_scan;

/* query: borrowed while the scan is used, finite. level: the instructions to use at most. n_threads: share a large scan
 * out over so many; 0 = one per core. No answer depends on either. False: out of memory. */
bool mn_scan_init(mn_scan *scan, const mn_vector_blocks *blocks, const float *query, mn_cpu_level level,
                  unsigned n_threads, mn_arena *arena);

/* Put the rows with the highest inner product with the question into `top` (from mn_top_init; left unsorted).
 *
 * filter  rows that it does not pass are left out; check its status afterwards.
 *
 * A row whose product is not a number is left out. The blocks must stay mapped. False: out of memory. Any thread. */
bool mn_scan_top(const mn_scan *scan, mn_row_filter *filter, mn_arena *arena, mn_top *top);

/* The same for n questions to the same blocks, each with its filter and its top: vectors are read once for all. Takes 4
 * bytes a row and question. */
bool mn_scan_top_of_each(const mn_scan *scans, size_t n, mn_row_filter *filters, mn_arena *arena, mn_top *tops);

/* The same product for one row; 0 when it has no vector (*has_vector false) or it is not a number. */
float mn_scan_one(const mn_scan *scan, uint32_t row, bool *has_vector);
/* Ask for a row's vector before it is needed: rows that an index found lie all over the map. */
void mn_scan_fetch(const mn_scan *scan, uint32_t row);

#endif
