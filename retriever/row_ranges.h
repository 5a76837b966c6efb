/* row_ranges.h -- the best rows among a few: what a filter leaves, when the store's index of fields knows it
 * beforehand.
 *
 * The same rows with the same scores as a scan of everything under the same filter, in time that grows with the rows
 * given instead of with the namespace. */
#ifndef MN_RETRIEVER_ROW_RANGES_H
#define MN_RETRIEVER_ROW_RANGES_H

#include "retriever/bm25.h"
#include "retriever/scan.h"

typedef struct mn_row_range {
    uint32_t first, n;
} mn_row_range;

typedef struct mn_row_ranges {
    mn_row_range *items; /* ascending, at least 1 row each, within the namespace's rows */
    size_t n;
} mn_row_ranges;

/* The rows of records (ascending); out->items: room for recs->n. Records that are not there, or have no rows, are left
 * out. ERR_DAMAGED. */
mneme_status mn_row_ranges_find(mn_read *read, uint32_t ns, const mn_rows *rows, const mn_recs *recs,
                                mn_row_ranges *out, mneme_error *error);

/* As mn_scan_top and mn_bm25_top, of these rows only. */
void mn_scan_ranges(const mn_scan *scan, const mn_row_ranges *ranges, mn_row_filter *filter, mn_top *top);
void mn_bm25_ranges(const mn_bm25 *bm25, const mn_row_ranges *ranges, mn_row_filter *filter, mn_top *top);

#endif
