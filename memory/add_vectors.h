/* add_vectors.h -- vectors that records bring along: a vector of their own, or the chunks that another store made. */
#ifndef MN_MEMORY_ADD_VECTORS_H
#define MN_MEMORY_ADD_VECTORS_H

#include "memory/handle.h"

/* May the record's vectors be stored? Its text is valid UTF-8 of known size. ERR_RECORD and ERR_DIMENSION name it. */
mneme_status mn_add_vectors_check(const mneme_record *record, mneme_error *error);

/* Bring them to unit length, in the arena where they are not yet; record points to the result. from_store: they were
 * rounded when they were stored, and are taken as they are when their squares add up to 1 within 1e-2, so that what
 * comes out of a store goes into another one bit for bit. */
mneme_status mn_add_vectors_scale(mneme_record *record, bool from_store, mn_arena *arena, mneme_error *error);

/* Does the text have to be encoded? */
bool mn_add_needs_encoder(const mneme_record *record);

/* Can the chunks that records bring be stored beside what the store has, and what `encoder` (NULL = none) encodes now?
 * ERR_ENCODER. */
mneme_status mn_add_vectors_check_encoder(mneme *memory, const mneme_add_options *options, const mneme_encoder *encoder,
                                          mneme_error *error);

/* How a namespace without vectors will keep them by mneme_add_options.vectors. *takes: not as the store does otherwise;
 * false where none is named, or store.vectors is set. ERR_USAGE: there is no such type. */
mneme_status mn_add_vectors_type(const mneme *memory, const mneme_add_options *options, mn_vector_type *out,
                                 bool *takes, mneme_error *error);

#endif
