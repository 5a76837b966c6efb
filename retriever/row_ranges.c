/* row_ranges.c -- from records to their rows, and exact scores of those rows, the best kept in a heap.
 *
 * Records get their numbers and their rows in the same order, so the numbers in the row blocks ascend, and a record's
 * rows are found by a search that gallops from the record before: a tenth of the time of reading its entry. What is not
 * found so (a record without rows, a search led astray by dead rows) is looked up in its entry, so that nothing depends
 * on the order. */
#include "retriever/row_ranges.h"

/* ---- finding ---------------------------------------------------------------------------------------------------- */

/* The number of the record that a row belongs to, or, when the row is dead, that of a live one soon after; 0: there is
 * none near. */
static uint32_t rec_near(const mn_rows *rows, uint32_t row)
{
    enum { NEAR = 16 };
    for (uint32_t i = 0; i < NEAR && row + i < rows->n_rows; i++) {
        uint32_t rec = mn_row_at(rows, row + i)->rec;
        if (rec != 0) return rec;
    }
    return 0;
}

/* The first row at or behind `from` whose record is `rec` or a later one, as far as the dead rows let it be seen. */
static uint32_t gallop(const mn_rows *rows, uint32_t from, uint32_t rec)
{
    uint32_t low = from, step = 1; /* all below low belong to earlier records */
    while (step < rows->n_rows - low) {
        uint32_t there = rec_near(rows, low + step);
        if (there == 0 || there >= rec) break;
        low += step;
        if (step <= UINT32_MAX / 2) step *= 2;
    }
    uint32_t high = step < rows->n_rows - low ? low + step : rows->n_rows;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2, there = rec_near(rows, middle);
        if (there != 0 && there < rec)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < rows->n_rows && mn_row_at(rows, low)->rec == 0) low++;
    return low;
}

/* Is the record's first row `distance` rows behind `from`, as it is where every record has one row? */
static bool guess(const mn_rows *rows, uint32_t from, uint32_t distance, uint32_t rec, uint32_t *row)
{
    if (distance >= rows->n_rows - from || mn_row_at(rows, from + distance)->rec != rec) return false;
    *row = from + distance;
    return distance == 0 || mn_row_at(rows, *row - 1)->rec != rec;
}

/* The rows as the record's entry says; n = 0: there are none. */
static mneme_status look_up(mn_read *read, uint32_t ns, const mn_rows *rows, uint32_t rec, mn_row_range *out,
                            mneme_error *error)
{
    mn_record record;
    *out = (mn_row_range){0};
    mneme_status status = mn_read_record(read, ns, rec, &record, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK || record.first_row >= rows->n_rows) return status;
    uint32_t left = rows->n_rows - record.first_row; /* a damaged record may say more */
    *out = (mn_row_range){.first = record.first_row, .n = record.n_chunks < left ? record.n_chunks : left};
    return MNEME_OK;
}

mneme_status mn_row_ranges_find(mn_read *read, uint32_t ns, const mn_rows *rows, const mn_recs *recs,
                                mn_row_ranges *out, mneme_error *error)
{
    uint32_t from = 0, next = 1; /* where the next record can begin, and the one that begins there if none is missing */
    out->n = 0;
    for (size_t i = 0; i < recs->n; i++) {
        uint32_t rec = recs->items[i], row;
        if (!guess(rows, from, rec - next, rec, &row)) row = gallop(rows, from, rec);
        mn_row_range range = {.first = row};
        while (row + range.n < rows->n_rows && mn_row_at(rows, row + range.n)->rec == rec) range.n++;
        mneme_status status = range.n ? MNEME_OK : look_up(read, ns, rows, rec, &range, error);
        if (status != MNEME_OK) return status;
        if (range.n == 0) continue;
        out->items[out->n++] = range;
        from = range.first + range.n;
        next = rec + 1;
    }
    return MNEME_OK;
}

/* ---- the best of them ------------------------------------------------------------------------------------------- */

void mn_scan_ranges(const mn_scan *scan, const mn_row_ranges *ranges, mn_row_filter *filter, mn_top *top)
{
    for (size_t i = 0; i < ranges->n; i++) {
        for (uint32_t j = 0; j < ranges->items[i].n; j++) {
            uint32_t row = ranges->items[i].first + j;
            bool has_vector = false;
            float product = mn_scan_one(scan, row, &has_vector);
            if (has_vector && mn_top_wants(top, product, row) && mn_row_filter_passes(filter, row))
                mn_top_put(top, product, row);
        }
    }
}

void mn_bm25_ranges(const mn_bm25 *bm25, const mn_row_ranges *ranges, mn_row_filter *filter, mn_top *top)
{
    for (size_t i = 0; i < ranges->n; i++) {
        for (uint32_t j = 0; j < ranges->items[i].n; j++) {
            uint32_t row = ranges->items[i].first + j;
            float score = mn_bm25_share(bm25, row);
            if (score > 0 && mn_top_wants(top, score, row) && mn_row_filter_passes(filter, row))
                mn_top_put(top, score, row);
        }
    }
}
