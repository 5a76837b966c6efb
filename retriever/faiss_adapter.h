/* faiss_adapter.h -- what mneme uses of FAISS. Only faiss_adapter.c includes FAISS's headers, whose C names are not
 * prefixed. */
#ifndef MN_RETRIEVER_FAISS_ADAPTER_H
#define MN_RETRIEVER_FAISS_ADAPTER_H

#include "common/error.h"

/* products[i] = query . rows[i] for n_rows rows of `dimension` floats, row-major, wherever they lie (4-byte aligned).
 * On the calling thread, in an order that depends on the dimension and the processor alone. */
void mn_faiss_inner_products(const float *query, const float *rows, size_t dimension, size_t n_rows, float *products);

/* An index of FAISS. Its vectors have the positions 0, 1, ... in the order of adding. */
typedef struct mn_faiss mn_faiss;

/* Add n x dimension floats. ERR_MEMORY or ERR_INTERNAL: the index is of no use any more. */
mneme_status mn_faiss_add(mn_faiss *index, const float *vectors, size_t n, mneme_error *error);

mneme_status mn_faiss_write(const mn_faiss *index, const char *path, mneme_error *error);
/* whole: read, to be added to; mapped: searched where it lies in the page cache. FAISS does not check what it reads:
 * compare the checksums first. */
typedef enum mn_faiss_open_how { MN_FAISS_WHOLE, MN_FAISS_MAPPED } mn_faiss_open_how;
mneme_status mn_faiss_open(const char *path, mn_faiss_open_how how, mn_faiss **out, mneme_error *error);
void mn_faiss_free(mn_faiss *index);

uint64_t mn_faiss_count(const mn_faiss *index);
uint32_t mn_faiss_dimension(const mn_faiss *index);

/* ---- lists of product-quantized vectors ---- */

/* Centres of lists that are being learned: k-means on the sphere, by inner product. */
typedef struct mn_faiss_centres mn_faiss_centres;
/* *out: owned, mn_faiss_centres_free. */
mneme_status mn_faiss_centres_new(uint32_t dimension, size_t n_centres, mn_faiss_centres **out, mneme_error *error);
/* One more pass over the sample, n x dimension floats, n > n_centres: each pass betters the centres. */
mneme_status mn_faiss_centres_pass(mn_faiss_centres *centres, const float *sample, size_t n, mneme_error *error);
void mn_faiss_centres_free(mn_faiss_centres *centres);

enum {
    MN_FAISS_LEAST_OF_LIST = 16,     /* vectors of the sample that a centre is the mean of, at least */
    MN_FAISS_LEAST_FOR_CODES = 9984, /* vectors that 256 codewords are learned from, at least: 39 for each */
};

/* An empty index, by inner product, with lists around these centres but those that fewer than MN_FAISS_LEAST_OF_LIST
 * vectors of the sample are nearest to, and with codes of code_bytes for the difference from the centre, learned from
 * the sample. n >= MN_FAISS_LEAST_FOR_CODES. *out: owned, mn_faiss_free. */
mneme_status mn_faiss_new_lists(const mn_faiss_centres *centres, const float *sample, size_t n, size_t code_bytes,
                                mn_faiss **out, mneme_error *error);

/* How many lists it has, 0: it is a graph; how many places there are in one. */
size_t mn_faiss_n_lists(const mn_faiss *index);
size_t mn_faiss_list_size(const mn_faiss *index, size_t list);

typedef struct mn_faiss_probe {
    const float *query;
    size_t k;
    uint32_t n_lists;             /* nprobe: look through so many, those with the nearest centres */
    const unsigned char *allowed; /* one bit a position, lowest first; NULL = all */
} mn_faiss_probe;

/* The k nearest of one question in an index with lists, nearest first: positions[k], -1 where there are no more.
 * distances: room for k. On the calling thread. Any number of threads at once. */
mneme_status mn_faiss_search_lists(const mn_faiss *index, const mn_faiss_probe *probe, float *distances,
                                   int64_t *positions, mneme_error *error);

/* What an index with lists makes of a vector, mn_faiss_encoded_bytes of them: the number of its list, little-endian in
 * as few bytes as hold it, and the codes; and the vector that these stand for. */
size_t mn_faiss_encoded_bytes(const mn_faiss *index);
mneme_status mn_faiss_encode(const mn_faiss *index, const float *vector, unsigned char *encoded, mneme_error *error);
mneme_status mn_faiss_decode(const mn_faiss *index, const unsigned char *encoded, float *vector, mneme_error *error);

/* How many threads train and add calls of this thread use from now on. */
void mn_faiss_set_threads(unsigned n);

#endif
