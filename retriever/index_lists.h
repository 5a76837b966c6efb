/* index_lists.h -- the codes of an index with lists in its file: whose they are, whether they are those of the store's
 * vectors, and how those of dead rows leave.
 *
 *     tail:  list 0                                        | list 1 ...
 *            codes of each place | u64 position of each    |
 *            living ...  0  0    | living ... hole hole    |
 *
 * A place that is not a living row's any more is a hole: all of them at the end of their list, equal, and without a
 * position, so that the file does not tell which row was in which list. The lengths of the lists are in FAISS's head.
 */
#ifndef MN_RETRIEVER_INDEX_LISTS_H
#define MN_RETRIEVER_INDEX_LISTS_H

#include "retriever/faiss_adapter.h"
#include "retriever/index_file.h"
#include "retriever/index_scrub.h"

/* A search may find one: larger than any position. */
#define MN_INDEX_HOLE INT64_MAX

typedef struct mn_index_lists {
    const mn_index *index;
    const mn_faiss *faiss;
    size_t n_lists, code_bytes;
    uint64_t *starts; /* where each list begins in the tail, and where the last one ends: n_lists + 1 of them */
} mn_index_lists;

/* Everything in the arena, 8 bytes a list. ERR_MEMORY, ERR_INTERNAL; ERR_DAMAGED: the lists do not fill the tail. */
mneme_status mn_index_lists_of(mn_index *index, mn_arena *arena, mn_index_lists *out, mneme_error *error);

size_t mn_index_list_size(const mn_index_lists *lists, size_t list);
int64_t mn_index_list_position(const mn_index_lists *lists, size_t list, size_t place);

/* Does a row live in this place? */
bool mn_index_list_lives(const mn_index_lists *lists, const mn_rows *rows, size_t list, size_t place);

/* A list as it is to be without its dead, into `out` (starts[list + 1] - starts[list] bytes). */
void mn_index_list_without_dead(const mn_index_lists *lists, const mn_rows *rows, size_t list, unsigned char *out);

/* mn_index_fits for lists: every step-th place. */
bool mn_index_lists_fit(mn_index *index, const mn_rows *rows, const mn_vector_blocks *vectors, uint64_t step,
                        mn_arena *arena);

/* mn_index_count for lists. An encoding takes as long as a search, so that of 20,000 living rows, spread evenly, the
 * codes are compared; that all others are in one list each, and the dead in none. */
mneme_status mn_index_lists_count(mn_index *index, const mn_rows *rows, const mn_vector_blocks *vectors,
                                  mn_index_census *out, mneme_error *error);

#endif
