/* faiss_adapter.h -- what mneme uses of FAISS. Only faiss_adapter.c includes FAISS's headers, whose C names are not
 * prefixed. */
#ifndef MN_RETRIEVER_FAISS_ADAPTER_H
#define MN_RETRIEVER_FAISS_ADAPTER_H

#include <stddef.h>

/* products[i] = query . rows[i] for n_rows rows of `dimension` floats, row-major, wherever they lie (4-byte aligned).
 * On the calling thread, in an order that depends on the dimension and the processor alone. */
void mn_faiss_inner_products(const float *query, const float *rows, size_t dimension, size_t n_rows, float *products);

#endif
