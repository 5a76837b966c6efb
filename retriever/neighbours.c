/* neighbours.c -- steps through records and sessions, and the spread along them. */
#include "retriever/neighbours.h"

#include <stdlib.h>

mneme_status mn_place_of(mn_read *read, uint32_t ns, const mn_rows *rows, uint32_t row, mn_place *out,
                         mneme_error *error)
{
    out->row = row;
    return mn_read_record(read, ns, mn_row_at(rows, row)->rec, &out->record, error);
}

/* The nearest record in the session on that side that has a chunk. */
static mneme_status step_record(mn_read *read, uint32_t ns, mn_record *record, int direction, bool *moved,
                                mneme_error *error)
{
    mn_record at = *record;
    *moved = false;
    while (at.session) {
        mn_record next;
        mneme_error reason;
        mneme_status status = mn_read_session_step(read, ns, &at, direction, &next, &reason);
        if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
        if (status != MNEME_OK) {
            if (error) *error = reason;
            return status;
        }
        at = next;
        if (at.n_chunks == 0) continue;
        *record = at;
        *moved = true;
        return MNEME_OK;
    }
    return MNEME_OK;
}

mneme_status mn_place_step(mn_read *read, uint32_t ns, mn_place *place, int direction, bool *moved, mneme_error *error)
{
    const mn_record *record = &place->record;
    if (direction > 0 && place->row + 1 < record->first_row + record->n_chunks) {
        place->row++;
        *moved = true;
        return MNEME_OK;
    }
    if (direction < 0 && place->row > record->first_row) {
        place->row--;
        *moved = true;
        return MNEME_OK;
    }
    mneme_status status = step_record(read, ns, &place->record, direction, moved, error);
    if (status != MNEME_OK || !*moved) return status;
    place->row = place->record.first_row + (direction > 0 ? 0 : place->record.n_chunks - 1);
    return MNEME_OK;
}

/* A record of one chunk where there are no sessions: it need not be read to know that nothing is beside it. */
static bool stands_alone(const mn_row_filter *filter, uint32_t row)
{
    const mn_rows *rows = filter->rows;
    uint32_t rec = mn_row_at(rows, row)->rec;
    if (filter->has_sessions || (row > 0 && mn_row_at(rows, row - 1)->rec == rec)) return false;
    return row + 1 >= rows->n_rows || mn_row_at(rows, row + 1)->rec != rec;
}

mneme_status mn_near_rows(mn_row_filter *filter, uint32_t row, uint32_t reach, mn_near *out, size_t *n,
                          mneme_error *error)
{
    *n = 0;
    if (stands_alone(filter, row)) return filter->status;
    mn_place start;
    mneme_status status = mn_place_of(filter->read, filter->ns, filter->rows, row, &start, error);
    for (int direction = -1; direction <= 1 && status == MNEME_OK; direction += 2) {
        mn_place place = start;
        for (uint32_t distance = 1; distance <= reach; distance++) {
            bool moved = false;
            status = mn_place_step(filter->read, filter->ns, &place, direction, &moved, error);
            if (status != MNEME_OK || !moved) break;
            if (place.row < filter->rows->n_rows && mn_row_filter_passes(filter, place.row))
                out[(*n)++] = (mn_near){place.row, distance};
        }
    }
    return status == MNEME_OK ? filter->status : status;
}

static int by_row(const void *left, const void *right)
{
    const mn_lift *a = left, *b = right;
    if (a->ns_index != b->ns_index) return a->ns_index < b->ns_index ? -1 : 1;
    if (a->row != b->row) return a->row < b->row ? -1 : 1;
    return (a->towards < b->towards) - (a->towards > b->towards);
}

size_t mn_lifts_merge(mn_lift *lifts, size_t n)
{
    if (n < 2) return n;
    qsort(lifts, n, sizeof *lifts, by_row);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (lifts[i].row != lifts[kept - 1].row || lifts[i].ns_index != lifts[kept - 1].ns_index)
            lifts[kept++] = lifts[i];
    return kept;
}

float mn_lift_gain(float own, float towards, float share)
{
    return towards > own ? share * (towards - own) : 0;
}
