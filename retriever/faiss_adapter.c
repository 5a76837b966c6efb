/* faiss_adapter.c -- FAISS through its C API (faiss/c_api; FAISS 1.11 or newer). */
#include "retriever/faiss_adapter.h"

#include "common/memory.h"

#include <faiss/c_api/Clustering_c.h>
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/IndexIVF_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/impl/AuxIndexStructures_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/index_io_c.h>
#include <faiss/c_api/utils/distances_c.h>
#include <string.h>

/* Not in the C API: faiss/index_io.h. */
#define MAPPED_FLAGS (1 << 9)

/* Of OpenMP's runtime, which FAISS brings along; its header belongs to the compiler, and not every one has it. */
extern void omp_set_num_threads(int n) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));

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

mneme_status mn_faiss_add(mn_faiss *index, const float *vectors, size_t n, mneme_error *error)
{
    return faiss_Index_add(of(index), (idx_t)n, vectors) == 0 ? MNEME_OK : failed(error, "cannot add to the index");
}

mneme_status mn_faiss_write(const mn_faiss *index, const char *path, mneme_error *error)
{
    return faiss_write_index_fname(of(index), path) == 0 ? MNEME_OK : failed(error, "cannot write the index");
}

mneme_status mn_faiss_open(const char *path, mn_faiss_open_how how, mn_faiss **out, mneme_error *error)
{
    FaissIndex *index = NULL;
    *out = NULL;
    if (faiss_read_index_fname(path, how == MN_FAISS_MAPPED ? MAPPED_FLAGS : 0, &index) != 0)
        return failed(error, "cannot open the index");
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

uint32_t mn_faiss_dimension(const mn_faiss *index)
{
    return (uint32_t)faiss_Index_d(of(index));
}

void mn_faiss_set_threads(unsigned n)
{
    if (omp_set_num_threads) omp_set_num_threads((int)n);
}

/* ---- lists ---- */

/* MOST_FOR_CODES: 128 for each of 256 codewords; twice as many took twice the time and found no more. */
enum { MOST_FOR_CODES = 32768, RECIPE_BYTES = 40 };

struct mn_faiss_centres {
    FaissClustering *clustering;
    FaissIndexFlatIP *index; /* has the centres of the last pass */
};

void mn_faiss_centres_free(mn_faiss_centres *centres)
{
    if (!centres) return;
    if (centres->clustering) faiss_Clustering_free(centres->clustering);
    if (centres->index) faiss_IndexFlatIP_free(centres->index);
    mn_free(centres);
}

mneme_status mn_faiss_centres_new(uint32_t dimension, size_t n_centres, mn_faiss_centres **out, mneme_error *error)
{
    FaissClusteringParameters parameters;
    mn_faiss_centres *centres = *out = mn_alloc_zeroed(1, sizeof *centres);
    if (!centres) return mn_fail_memory(error, "index");
    faiss_ClusteringParameters_init(&parameters);
    parameters.niter = 1;
    parameters.spherical = 1;
    parameters.min_points_per_centroid = 1; /* FAISS complains of fewer on stderr */
    parameters.max_points_per_centroid = 1 << 20;
    int code =
        faiss_Clustering_new_with_params(&centres->clustering, (int)dimension, (int)n_centres, &parameters) != 0 ||
        faiss_IndexFlatIP_new_with(&centres->index, dimension) != 0;
    if (code == 0) return MNEME_OK;
    mn_faiss_centres_free(centres);
    *out = NULL;
    return failed(error, "cannot make an index");
}

/* FAISS begins with the centres that its object has. */
mneme_status mn_faiss_centres_pass(mn_faiss_centres *centres, const float *sample, size_t n, mneme_error *error)
{
    if (faiss_Clustering_train(centres->clustering, (idx_t)n, sample, centres->index) == 0) return MNEME_OK;
    return failed(error, "cannot train the index");
}

/* Put the centres that enough of the sample is nearest to one after the other into `kept`; how many in *n_kept. */
static mneme_status keep_large(const mn_faiss_centres *centres, const float *sample, size_t n, float *kept,
                               size_t *n_kept, mneme_error *error)
{
    float *all = NULL;
    size_t n_floats = 0, n_centres = faiss_Clustering_k(centres->clustering);
    size_t d = faiss_Clustering_d(centres->clustering);
    idx_t *nearest = mn_alloc_array(n, sizeof *nearest);
    size_t *counts = mn_alloc_zeroed(n_centres, sizeof *counts);
    mneme_status status = nearest && counts ? MNEME_OK : mn_fail_memory(error, "index");
    if (status == MNEME_OK && faiss_Index_assign(centres->index, (idx_t)n, sample, nearest, 1) != 0)
        status = failed(error, "cannot train the index");
    faiss_Clustering_centroids(centres->clustering, &all, &n_floats);
    if (status == MNEME_OK && n_floats != n_centres * d)
        status = mn_fail(error, MNEME_ERR_INTERNAL, "the index has learned no centres");
    for (size_t i = 0; i < n && status == MNEME_OK; i++)
        if (nearest[i] >= 0) counts[nearest[i]]++;
    *n_kept = 0;
    for (size_t i = 0; i < n_centres && status == MNEME_OK; i++)
        if (counts[i] >= MN_FAISS_LEAST_OF_LIST) memcpy(kept + d * (*n_kept)++, all + d * i, d * sizeof *kept);
    if (status == MNEME_OK && *n_kept == 0)
        status = mn_fail(error, MNEME_ERR_INTERNAL, "the vectors lie too far apart for lists");
    mn_free(counts);
    mn_free(nearest);
    return status;
}

mneme_status mn_faiss_new_lists(const mn_faiss_centres *centres, const float *sample, size_t n, size_t code_bytes,
                                mn_faiss **out, mneme_error *error)
{
    FaissIndex *index = NULL;
    char recipe[RECIPE_BYTES];
    size_t n_kept = 0, d = faiss_Clustering_d(centres->clustering);
    float *kept = mn_alloc_array(faiss_Clustering_k(centres->clustering), d * sizeof *kept);
    *out = NULL;
    mneme_status status = kept ? keep_large(centres, sample, n, kept, &n_kept, error) : mn_fail_memory(error, "index");
    snprintf(recipe, sizeof recipe, "IVF%zu,PQ%zunp", n_kept, code_bytes); /* np: no polysemous codes, minutes of it */
    if (status == MNEME_OK && faiss_index_factory(&index, (int)d, recipe, METRIC_INNER_PRODUCT) != 0)
        status = failed(error, "cannot make an index");
    /* one that has its centres learns the codes alone */
    if (status == MNEME_OK &&
        (faiss_Index_add(faiss_IndexIVF_quantizer((FaissIndexIVF *)index), (idx_t)n_kept, kept) != 0 ||
         faiss_Index_train(index, (idx_t)(n < MOST_FOR_CODES ? n : MOST_FOR_CODES), sample) != 0))
        status = failed(error, "cannot train the index");
    if (status == MNEME_OK)
        *out = (mn_faiss *)index;
    else if (index)
        faiss_Index_free(index);
    mn_free(kept);
    return status;
}

size_t mn_faiss_n_lists(const mn_faiss *index)
{
    const FaissIndexIVF *lists = faiss_IndexIVF_cast(of(index));
    return lists ? faiss_IndexIVF_nlist(lists) : 0;
}

size_t mn_faiss_list_size(const mn_faiss *index, size_t list)
{
    return faiss_IndexIVF_get_list_size((const FaissIndexIVF *)of(index), list);
}

mneme_status mn_faiss_search_lists(const mn_faiss *index, const mn_faiss_probe *probe, float *distances,
                                   int64_t *positions, mneme_error *error)
{
    FaissIDSelectorBitmap *bitmap = NULL;
    FaissSearchParametersIVF *parameters = NULL;
    size_t bytes = (size_t)(mn_faiss_count(index) + 7) / 8;
    int code = probe->allowed ? faiss_IDSelectorBitmap_new(&bitmap, bytes, probe->allowed) : 0;
    if (code == 0) code = faiss_SearchParametersIVF_new_with(&parameters, (FaissIDSelector *)bitmap, probe->n_lists, 0);
    if (code == 0)
        code = faiss_Index_search_with_params(of(index), 1, probe->query, (idx_t)probe->k,
                                              (FaissSearchParameters *)parameters, distances, positions);
    mneme_status status = code == 0 ? MNEME_OK : failed(error, "cannot search the index");
    if (parameters) faiss_SearchParameters_free((FaissSearchParameters *)parameters);
    if (bitmap) faiss_IDSelectorBitmap_free(bitmap);
    return status;
}

size_t mn_faiss_encoded_bytes(const mn_faiss *index)
{
    size_t bytes = 0;
    return faiss_Index_sa_code_size(of(index), &bytes) == 0 ? bytes : 0;
}

mneme_status mn_faiss_encode(const mn_faiss *index, const float *vector, unsigned char *encoded, mneme_error *error)
{
    unsigned before = omp_get_max_threads ? (unsigned)omp_get_max_threads() : 1;
    mn_faiss_set_threads(1); /* FAISS would wake others for this one vector */
    int code = faiss_Index_sa_encode(of(index), 1, vector, encoded);
    mn_faiss_set_threads(before);
    return code == 0 ? MNEME_OK : failed(error, "cannot encode");
}

mneme_status mn_faiss_decode(const mn_faiss *index, const unsigned char *encoded, float *vector, mneme_error *error)
{
    return faiss_Index_sa_decode(of(index), 1, encoded, vector) == 0 ? MNEME_OK : failed(error, "cannot decode");
}
