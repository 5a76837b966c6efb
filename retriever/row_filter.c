/* row_filter.c -- judging records when one of their rows comes up. */
#include "retriever/row_filter.h"

#include <string.h>

enum { NOT_ASKED, NO, YES };

bool mn_row_filter_init(mn_row_filter *filter, mn_read *read, const mn_namespace *space, const mn_rows *rows,
                        mn_arena *arena, mneme_error *error)
{
    *filter = (mn_row_filter){.read = read, .ns = space->ns, .name = space->name, .rows = rows, .error = error};
    filter->answers = mn_arena_alloc(arena, rows->n_rows);
    if (filter->answers) memset(filter->answers, NOT_ASKED, rows->n_rows);
    return filter->answers != NULL;
}

void mn_row_filter_accept(mn_row_filter *filter,
                          bool (*accept)(void *context, const char *name_space, const mn_record *record), void *context)
{
    filter->accept = accept;
    filter->context = context;
}

/* Ask about the record of a live row and note the answer at all its rows. */
static bool ask(mn_row_filter *filter, uint32_t row)
{
    mn_record record;
    mneme_error reason;
    mneme_status status = mn_read_record(filter->read, filter->ns, mn_row_at(filter->rows, row)->rec, &record, &reason);
    if (status != MNEME_OK) {
        if (filter->status == MNEME_OK) {
            filter->status = status;
            if (filter->error) *filter->error = reason;
        }
        filter->answers[row] = NO;
        return false;
    }
    unsigned char answer = filter->accept(filter->context, filter->name, &record) ? YES : NO;
    filter->answers[row] = answer;
    for (uint32_t i = 0; i < record.n_chunks && record.first_row + i < filter->rows->n_rows; i++)
        filter->answers[record.first_row + i] = answer;
    return answer == YES;
}

bool mn_row_filter_passes(mn_row_filter *filter, uint32_t row)
{
    if (mn_row_at(filter->rows, row)->rec == 0) return false;
    if (!filter->accept) return true;
    return filter->answers[row] == NOT_ASKED ? ask(filter, row) : filter->answers[row] == YES;
}
