/* add_chunks.h -- the chunks of the records of one mneme_add, and their vectors.
 *
 * Chunks are kept as byte ranges; their texts, with the header before each, are put together a slice at a time when
 * they are encoded, so that no second copy of a long record is ever held. One thread. */
#ifndef MN_MEMORY_ADD_CHUNKS_H
#define MN_MEMORY_ADD_CHUNKS_H

#include "memory/handle.h"

typedef struct mn_add_chunks {
    const mn_settings_values *values;
    mneme_encoder *encoder;       /* NULL: every record brings its vectors */
    mn_new_chunk *items;          /* of all records, in their order */
    const mneme_record **records; /* per chunk: the record that it is of, borrowed */
    size_t n, capacity;
    size_t n_to_encode; /* chunks of records that bring no vectors */
    float *vectors;     /* n_to_encode x dimension, once encoded */
} mn_add_chunks;        /* values and encoder set, the rest {0} */

/* Cut one record into chunks, appended to the rest. The record (valid text of known size) must stay until the end. */
mneme_status mn_add_chunks_cut(mn_add_chunks *chunks, const mneme_record *record, mneme_error *error);

/* Encode all that have no vector yet. progress: NULL = none; counts chunks; may cancel. */
mneme_status mn_add_chunks_encode(mn_add_chunks *chunks, mneme_progress progress, void *context, mneme_error *error);

void mn_add_chunks_free(mn_add_chunks *chunks);

#endif
