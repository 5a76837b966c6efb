/* row_ranges.h -- the best rows among a few: what a filter leaves, when the store's index of fields knows it
 * beforehand.
 *
 * The same rows with the same scores as a scan of everything under the same filter, in time that grows with the rows
 * given instead of with the namespace. */
#ifndef MN_RETRIEVER_ROW_RANGES_H
#define MN_RETRIEVER_ROW_RANGES_H

#include "retriever/bm25.h"
#include "retriever/scan.h"

/* As mn_scan_top and mn_bm25_top, of the rows in the ranges (from mn_read_row_ranges) only. */
void mn_scan_ranges(const mn_scan *scan, const mn_row_range *ranges, size_t n,
                    mn_row_filter *filter, mn_top *top);
void mn_bm25_ranges(const mn_bm25 *bm25, const mn_row_range *ranges, size_t n, mn_row_filter *filter, mn_top *top);

#endif
