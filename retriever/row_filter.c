/* row_filter.c -- judging records when one of their rows comes up. */
#include "retriever/row_filter.h"

#include <string.h>

enum { NOT_ASKED, NO, YES };

bool mn_row_filter_init(mn_row_filter *filter, mn_read *read, const mn_namespace *space, const mn_rows *rows,
                        mn_arena *arena, mneme_error *error)
{
    *filter = (mn_row_filter){.read = read, .ns = space->ns, .name = space->name, .rows = rows, .error = error};
    filter->has_sessions = space->n_sessions > 0;
    filter->arena = arena;
    return true;
}

void mn_row_filter_accept(mn_row_filter *filter,
                          bool (*accept)(void *context, const char *name_space, const mn_record *record), void *context)
{
    filter->accept = accept;
    filter->context = context;
}

/* Where the answer about a row is kept; NULL: out of memory. */
static unsigned char *answer_of(mn_row_filter *filter, uint32_t row)
{
    size_t n_blocks = ((size_t)filter->rows->n_rows + MN_BLOCK_ROWS - 1) / MN_BLOCK_ROWS, block = row / MN_BLOCK_ROWS;
    if (!filter->answers) {
        filter->answers = mn_arena_array(filter->arena, n_blocks, sizeof *filter->answers);
        if (!filter->answers) return NULL;
        for (size_t i = 0; i < n_blocks; i++) filter->answers[i] = NULL;
    }
    if (!filter->answers[block]) {
        filter->answers[block] = mn_arena_alloc(filter->arena, MN_BLOCK_ROWS);
        if (!filter->answers[block]) return NULL;
        memset(filter->answers[block], NOT_ASKED, MN_BLOCK_ROWS);
    }
    return &filter->answers[block][row % MN_BLOCK_ROWS];
}

bool mn_row_filter_note(mn_row_filter *filter, uint32_t row, bool passes)
{
    unsigned char *answer = answer_of(filter, row);
    if (answer) *answer = passes ? YES : NO;
    return answer != NULL;
}

static bool refuse(mn_row_filter *filter, mneme_status status, const mneme_error *reason)
{
    if (filter->status == MNEME_OK) {
        filter->status = status;
        if (filter->error) *filter->error = *reason;
    }
    return false;
}

/* Ask about the record of a live row and note the answer at all its rows. */
static bool ask(mn_row_filter *filter, uint32_t row, unsigned char *answer)
{
    mn_record record;
    mneme_error reason;
    *answer = NO;
    mneme_status status = mn_read_record(filter->read, filter->ns, mn_row_at(filter->rows, row)->rec, &record, &reason);
    if (status != MNEME_OK) return refuse(filter, status, &reason);
    if (filter->accept(filter->context, filter->name, &record)) *answer = YES;
    for (uint32_t i = 0; i < record.n_chunks && record.first_row + i < filter->rows->n_rows; i++)
        (void)mn_row_filter_note(filter, record.first_row + i, *answer == YES); /* else it is asked again */
    return *answer == YES;
}

bool mn_row_filter_passes(mn_row_filter *filter, uint32_t row)
{
    if (mn_row_at(filter->rows, row)->rec == 0) return false;
    if (!filter->accept) return true;
    unsigned char *answer = answer_of(filter, row);
    if (!answer) {
        mneme_error reason;
        return refuse(filter, mn_fail_memory(&reason, "row filter"), &reason);
    }
    return *answer == NOT_ASKED ? ask(filter, row, answer) : *answer == YES;
}
