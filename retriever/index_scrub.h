/* index_scrub.h -- taking the vectors of dead rows out of an index file. */
#ifndef MN_RETRIEVER_INDEX_SCRUB_H
#define MN_RETRIEVER_INDEX_SCRUB_H

#include "retriever/index_file.h"

#define MN_INDEX_MOST_DEAD 0.2 /* share of an index's positions from which on it is to be built anew */

/* Overwrite the codes of the rows that died since the index's mark (facts->scrubbed) with those of a living row nearby,
 * so that the graph can still be walked, and move the mark to the read's generation; lists are written again without
 * them. The bytes are on the disk before the mark says so. Several processes may call it on one file; searches go on.
 *
 * ERR_TOO_LARGE: so many are dead (or all of a list) that the index is to be built anew; nothing was changed. After any
 * other failure, and when it is killed, the mark has not moved: the next call does it again, but of lists, where it is
 * ERR_DAMAGED: to be built anew. ERR_IO, ERR_DISK_FULL, ERR_DAMAGED, ERR_MEMORY. */
mneme_status mn_index_scrub(mn_index *index, mn_read *read, uint32_t ns, mneme_error *error);

/* Positions by whose codes they have: of their own living row; of a dead row, with the codes of a living one (in lists
 * none), as a scrub leaves them; anything else, which should not be. */
typedef struct mn_index_census {
    uint64_t live, dead, wrong;
} mn_index_census;
mneme_status mn_index_count(mn_index *index, const mn_rows *rows, const mn_vector_blocks *vectors, mn_index_census *out,
                            mneme_error *error);

#endif
