/* faiss_adapter.h -- what mneme uses of FAISS. Only faiss_adapter.c includes FAISS's headers, whose C names are not
 * prefixed. */
#ifndef MN_RETRIEVER_FAISS_ADAPTER_H
#define MN_RETRIEVER_FAISS_ADAPTER_H

#include "common/error.h"

/* products[i] = query . rows[i] for n_rows rows of `dimension` floats, row-major, wherever they lie (4-byte aligned).
 * On the calling thread, in an order that depends on the dimension and the processor alone. */
void mn_faiss_inner_products(const float *query, const float *rows, size_t dimension, size_t n_rows, float *products);

/* An index of FAISS, by Euclidean distance. Its vectors have the positions 0, 1, ... in the order of adding. */
typedef struct mn_faiss mn_faiss;

/* recipe: for FAISS's index factory; parameters: "efConstruction=64", NULL = none. *out: owned, mn_faiss_free. */
mneme_status mn_faiss_new(const char *recipe, uint32_t dimension, const char *parameters, mn_faiss **out,
                          mneme_error *error);
/* Learn from n x dimension floats, where the recipe needs it. */
mneme_status mn_faiss_train(mn_faiss *index, const float *vectors, size_t n, mneme_error *error);
/* Add n x dimension floats. ERR_MEMORY or ERR_INTERNAL: the index is of no use any more. */
mneme_status mn_faiss_add(mn_faiss *index, const float *vectors, size_t n, mneme_error *error);

mneme_status mn_faiss_write(const mn_faiss *index, const char *path, mneme_error *error);
/* Read it whole, to be added to. FAISS does not check what it reads: compare the checksums first. */
mneme_status mn_faiss_open(const char *path, mn_faiss **out, mneme_error *error);
void mn_faiss_free(mn_faiss *index);

uint64_t mn_faiss_count(const mn_faiss *index);

/* How many threads train and add calls of this thread use from now on. */
void mn_faiss_set_threads(unsigned n);

#endif
