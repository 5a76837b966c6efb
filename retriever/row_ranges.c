/* row_ranges.c -- exact scores of given rows, the best kept in a heap. */
#include "retriever/row_ranges.h"

/* One past the last row of a range that the namespace has; a damaged record may say more. */
static uint32_t end_of(const mn_row_range *range, const mn_rows *rows)
{
    if (range->first >= rows->n_rows) return range->first;
    return range->n < rows->n_rows - range->first ? range->first + range->n : rows->n_rows;
}

void mn_scan_ranges(const mn_scan *scan, const mn_row_range *ranges, size_t n,
                    mn_row_filter *filter, mn_top *top)
{
    for (size_t i = 0; i < n; i++) {
        for (uint32_t row = ranges[i].first, end = end_of(&ranges[i], filter->rows); row < end; row++) {
            bool has_vector = false;
            float product = mn_scan_one(scan, row, &has_vector);
            if (has_vector && mn_top_wants(top, product, row) && mn_row_filter_passes(filter, row))
                mn_top_put(top, product, row);
        }
    }
}

void mn_bm25_ranges(const mn_bm25 *bm25, const mn_row_range *ranges, size_t n, mn_row_filter *filter, mn_top *top)
{
    for (size_t i = 0; i < n; i++) {
        for (uint32_t row = ranges[i].first, end = end_of(&ranges[i], filter->rows); row < end; row++) {
            float score = bm25->scores[row];
            if (score > 0 && mn_top_wants(top, score, row) && mn_row_filter_passes(filter, row))
                mn_top_put(top, score, row);
        }
    }
}
