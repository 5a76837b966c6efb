/* json_vectors.h -- the vectors of a record's line of JSON, read before the JSON parser sees the line.
 *
 * A parser that makes a value on the heap of each number takes most of the time of an import. So the arrays of numbers
 * under "vector", at the top or in an element of "chunks", are read here, and the parser gets the line with a slot
 * number in the place of each. What is not plainly such an array stays, for the parser to complain of. */
#ifndef MN_MEMORY_JSON_VECTORS_H
#define MN_MEMORY_JSON_VECTORS_H

#include "common/buffer.h"
#include "common/memory.h"

typedef struct mn_json_vector {
    const float *numbers; /* finite; in the arena */
    uint32_t n;           /* 1..65536 */
} mn_json_vector;

typedef struct mn_json_vectors {
    mn_json_vector *items;
    size_t n, capacity;
} mn_json_vectors; /* start from {0} */

/* Append to `rest` the line with slots. `rest` stays empty where there is nothing to take out. ERR_MEMORY. Any bytes.
 */
mneme_status mn_json_vectors_take(const char *json, size_t size, mn_arena *arena, mn_json_vectors *out, mn_buffer *rest,
                                  mneme_error *error);

/* The vector that a whole number in the line stands for; NULL: it is none of the slots. */
const mn_json_vector *mn_json_vector_of(const mn_json_vectors *vectors, int64_t number);

void mn_json_vectors_free(mn_json_vectors *vectors);

#endif
