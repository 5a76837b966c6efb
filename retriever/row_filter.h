/* row_filter.h -- which rows of a namespace a question may see. */
#ifndef MN_RETRIEVER_ROW_FILTER_H
#define MN_RETRIEVER_ROW_FILTER_H

#include "memstore/store.h"

/* Asked row by row, and only about rows that are good enough to be a candidate: a filter that accepts much costs a few
 * hundred records, whatever the size of the store. Each record is read and judged at most once; one byte a row keeps
 * the answers, in blocks that are made when one of their rows is asked about. One thread. */
typedef struct mn_row_filter {
    mn_read *read;
    uint32_t ns;
    const char *name;
    bool has_sessions; /* the namespace */
    const mn_rows *rows;
    bool (*accept)(void *context, const char *name_space, const mn_record *record); /* NULL: every live row */
    void *context;
    mn_arena *arena;
    unsigned char **answers; /* per row block NULL, or MN_BLOCK_ROWS times: 0 not asked, 1 no, 2 yes */
    mneme_status status;     /* of the first record that could not be read; its row counts as refused */
    mneme_error *error;
} mn_row_filter;

/* rows: borrowed. read may be NULL when accept is. error: kept for the filter's life. False: out of memory. */
bool mn_row_filter_init(mn_row_filter *filter, mn_read *read, const mn_namespace *space, const mn_rows *rows,
                        mn_arena *arena, mneme_error *error);
void mn_row_filter_accept(mn_row_filter *filter,
                          bool (*accept)(void *context, const char *name_space, const mn_record *record),
                          void *context);
/* False for dead and refused rows. row < rows->n_rows. */
bool mn_row_filter_passes(mn_row_filter *filter, uint32_t row);
/* The answer about a row is known: it need not be asked. False: out of memory, it is not noted. */
bool mn_row_filter_note(mn_row_filter *filter, uint32_t row, bool passes);

#endif
