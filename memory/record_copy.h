/* record_copy.h -- a stored record, taken out whole: text, labels, chunks, vectors, and what is kept of its life. What
 * moves or rewrites records goes through here, so that only one place knows how they are put together again. */
#ifndef MN_MEMORY_RECORD_COPY_H
#define MN_MEMORY_RECORD_COPY_H

#include "memstore/store.h"

/* Where records are copied from: one namespace inside one read. */
typedef struct mn_copy_source {
    mn_read *read;
    const mn_namespace *space;
    mn_rows rows;
    mn_vector_blocks vectors;
} mn_copy_source;

mneme_status mn_copy_open(mn_read *read, const mn_namespace *space, mn_arena *arena, mn_copy_source *out,
                          mneme_error *error);

typedef struct mn_record_copy {
    mn_new_record put;   /* as mn_write_put takes it; its strength is the one below */
    mneme_record record; /* put.record */
    mn_strength strength;
} mn_record_copy;

/* *out: itself and all that it names in the arena. ERR_NOT_FOUND, ERR_DAMAGED. */
mneme_status mn_copy_record(const mn_copy_source *source, uint32_t rec, mn_arena *arena, mn_record_copy **out,
                            mneme_error *error);
/* The vector of one row as the namespace's dimension of floats; false when it has none. */
bool mn_copy_vector(const mn_copy_source *source, uint32_t row, float *out);

/* What the life of a record adds to it, as it is given when adding: importance if it was given, pin and end. */
void mn_copy_life(const mn_record *from, const mn_strength *kept, mneme_record *to);

#endif
