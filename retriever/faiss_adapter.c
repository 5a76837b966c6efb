/* faiss_adapter.c -- FAISS through its C API (faiss/c_api; FAISS 1.11 or newer). */
#include "retriever/faiss_adapter.h"

#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/index_io_c.h>
#include <faiss/c_api/utils/distances_c.h>
#include <string.h>

/* Of OpenMP's runtime, which FAISS brings along; its header belongs to the compiler, and not every one has it. */
extern void omp_set_num_threads(int n) __attribute__((weak));

void mn_faiss_inner_products(const float *query, const float *rows, size_t dimension, size_t n_rows, float *products)
{
    faiss_fvec_inner_products_ny(products, query, rows, dimension, n_rows);
}

/* mn_faiss is FAISS's index itself. */
static FaissIndex *of(const mn_faiss *index)
{
    return (FaissIndex *)(uintptr_t)index;
}

/* FAISS's words are gone with its next error: copied here. */
static mneme_status failed(mneme_error *error, const char *what)
{
    const char *text = faiss_get_last_error();
    if (!text) text = "unknown error";
    if (strstr(text, "bad_alloc")) return mn_fail_memory(error, "index");
    if (strstr(text, "No space left"))
        return mn_fail(error, MNEME_ERR_DISK_FULL, "%s: no space left on the device", what);
    const char *last = strrchr(text, '\n');
    return mn_fail(error, MNEME_ERR_INTERNAL, "%s: %s", what, last && last[1] ? last + 1 : text);
}

static mneme_status set_parameters(mn_faiss *index, const char *parameters, mneme_error *error)
{
    FaissParameterSpace *space = NULL;
    int code = faiss_ParameterSpace_new(&space);
    if (code == 0) code = faiss_ParameterSpace_set_index_parameters(space, of(index), parameters);
    mneme_status status = code == 0 ? MNEME_OK : failed(error, "cannot set the index's parameters");
    if (space) faiss_ParameterSpace_free(space);
    return status;
}

mneme_status mn_faiss_new(const char *recipe, uint32_t dimension, const char *parameters, mn_faiss **out,
                          mneme_error *error)
{
    FaissIndex *index = NULL;
    *out = NULL;
    if (faiss_index_factory(&index, (int)dimension, recipe, METRIC_L2) != 0)
        return failed(error, "cannot make an index");
    mneme_status status = parameters ? set_parameters((mn_faiss *)index, parameters, error) : MNEME_OK;
    if (status == MNEME_OK)
        *out = (mn_faiss *)index;
    else
        faiss_Index_free(index);
    return status;
}

mneme_status mn_faiss_train(mn_faiss *index, const float *vectors, size_t n, mneme_error *error)
{
    if (faiss_Index_is_trained(of(index)) || faiss_Index_train(of(index), (idx_t)n, vectors) == 0) return MNEME_OK;
    return failed(error, "cannot train the index");
}

mneme_status mn_faiss_add(mn_faiss *index, const float *vectors, size_t n, mneme_error *error)
{
    return faiss_Index_add(of(index), (idx_t)n, vectors) == 0 ? MNEME_OK : failed(error, "cannot add to the index");
}

mneme_status mn_faiss_write(const mn_faiss *index, const char *path, mneme_error *error)
{
    return faiss_write_index_fname(of(index), path) == 0 ? MNEME_OK : failed(error, "cannot write the index");
}

mneme_status mn_faiss_open(const char *path, mn_faiss **out, mneme_error *error)
{
    FaissIndex *index = NULL;
    *out = NULL;
    if (faiss_read_index_fname(path, 0, &index) != 0) return failed(error, "cannot open the index");
    *out = (mn_faiss *)index;
    return MNEME_OK;
}

void mn_faiss_free(mn_faiss *index)
{
    if (index) faiss_Index_free(of(index));
}

uint64_t mn_faiss_count(const mn_faiss *index)
{
    return (uint64_t)faiss_Index_ntotal(of(index));
}

void mn_faiss_set_threads(unsigned n)
{
    if (omp_set_num_threads) omp_set_num_threads((int)n);
}
