/* record_hash.h -- is this content what is stored already? */
#ifndef MN_MEMORY_RECORD_HASH_H
#define MN_MEMORY_RECORD_HASH_H

#include "memory/settings.h"

/* Hash everything that decides what is stored: equal hashes mean that there is nothing to do. The chunks that a record
 * brings are not in it: they follow from its text and the encoder, which is the same or refused, so that indexing after
 * an import costs nothing. record: text of known size, vector scaled. */
mneme_status mn_record_hash(const mneme_record *record, const mn_settings_values *values, uint64_t hash[2],
                            mneme_error *error);

#endif
