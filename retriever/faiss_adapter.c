/* faiss_adapter.c -- FAISS through its C API (faiss/c_api; FAISS 1.11 or newer). */
#include "retriever/faiss_adapter.h"

#include <faiss/c_api/utils/distances_c.h>

void mn_faiss_inner_products(const float *query, const float *rows, size_t dimension, size_t n_rows, float *products)
{
    faiss_fvec_inner_products_ny(products, query, rows, dimension, n_rows);
}
