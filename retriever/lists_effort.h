/* lists_effort.h -- how many candidates to ask an index with lists for, in how many lists to look, and what that costs.
 *
 * Its codes are far coarser than a graph's: how many candidates each wanted row takes is tuned together with the number
 * of lists (facts->oversampling, facts->effort), for ten rows. */
#ifndef MN_RETRIEVER_LISTS_EFFORT_H
#define MN_RETRIEVER_LISTS_EFFORT_H

#include "retriever/index_file.h"

enum { MN_LISTS_TUNED_FOR = 10 };

/* What looking through n lists for k candidates costs, in rows of the exact scan. */
size_t mn_lists_cost(const mn_index_facts *facts, size_t n, size_t k);

/* Candidates to ask for where so many rows are wanted, and for how many at most before the exact scan is cheaper. */
size_t mn_lists_candidates(const mn_index_facts *facts, size_t wanted);
size_t mn_lists_most_candidates(const mn_index_facts *facts);

/* The lists to look through for k candidates: of more, some lie farther out. */
uint32_t mn_lists_effort(const mn_index_facts *facts, size_t k);

/* The same where only n_allowed rows may come: as many of these are to be met. 0: to scan those rows costs less. */
uint32_t mn_lists_effort_among(const mn_index_facts *facts, size_t k, size_t n_allowed);

/* Do `passed` candidates do, of n that there were to be (those that were asked for, or all that the lists have)? */
bool mn_lists_will_do(size_t wanted, size_t n, size_t passed);

#endif
