/* index_kind.h -- the kinds of index, and what a vector becomes in each.
 *
 *     kind        FAISS's name for it    a row's codes                                        graph or lists
 *     hnsw        HNSW32,SQ8_direct      1 byte a number: round(x * scale) + 128, clipped     about 270 bytes a row
 *     hnsw-bf16   HNSW32,SQbf16          2 bytes                                              the same
 *     hnsw-f32    HNSW32,Flat            4 bytes, exact                                       the same
 *     ivfpq       IVF<n>,PQ<m>x8         1 byte for 8 numbers (for 4 below dimension 256)     8 bytes a row
 *
 * HNSW: Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search using Hierarchical
 * Navigable Small World graphs". By Euclidean distance, which orders vectors of one length as their inner product does;
 * the 128 of the bytes cancels.
 * IVFPQ: Jegou, Douze and Schmid 2011, "Product Quantization for Nearest Neighbor Search": lists of the vectors that
 * are nearest to one of n centres, with codes of the difference from it. By inner product.
 * Dimensions are filled up with zeros to a multiple of 32, which FAISS's kernels want. */
#ifndef MN_RETRIEVER_INDEX_KIND_H
#define MN_RETRIEVER_INDEX_KIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values are on disk: append only. */
typedef enum mn_index_kind {
    MN_INDEX_NONE = 0,
    MN_INDEX_HNSW = 1,
    MN_INDEX_HNSW_BF16 = 2,
    MN_INDEX_HNSW_F32 = 3,
    MN_INDEX_IVFPQ = 4,
} mn_index_kind;
enum { MN_INDEX_KINDS = 5 };

/* "none", "hnsw", ...; static. NULL for a number that is none. */
const char *mn_index_kind_name(uint32_t kind);
/* False: there is no such name. */
bool mn_index_kind_parse(const char *name, mn_index_kind *out);

/* Lists of codes, else a graph. */
bool mn_index_has_lists(uint32_t kind);
/* Lists are learned from a sample of this size at most; with fewer rows than MN_INDEX_FEWEST_LISTED there is too little
 * to learn from, beside what is kept out for tuning. */
enum { MN_INDEX_LISTS_SAMPLE = 131072, MN_INDEX_FEWEST_LISTED = 10500 };
/* How many lists for so many rows, of which n_sample are learned from. */
uint32_t mn_index_lists_for(size_t n_rows, size_t n_sample);

/* Links of a node (twice as many on level 0), and among how many they are chosen, when a graph is made (graph_build.h).
 * docs/index-files.md has the figures. */
enum { MN_INDEX_LINKS = 32, MN_INDEX_EFFORT = 100 };

uint32_t mn_index_padded(uint32_t dimension);
/* Bytes of a row's codes; of these with the position that lists keep beside them; and about what a row takes in all. */
size_t mn_index_code_bytes(mn_index_kind kind, uint32_t padded);
size_t mn_index_place_bytes(mn_index_kind kind, uint32_t padded);
size_t mn_index_row_bytes(mn_index_kind kind, uint32_t padded);

/* The scale for vectors whose numbers are at most `largest`. 1 where the kind needs none. */
float mn_index_scale(mn_index_kind kind, float largest);
/* A vector as FAISS is to get it: out has room for mn_index_padded(dimension) floats. */
void mn_index_prepare(mn_index_kind kind, float scale, const float *vector, uint32_t dimension, float *out);
/* What was prepared as a row's codes, as FAISS encodes them: mn_index_code_bytes of them. Not of lists. */
void mn_index_encode(mn_index_kind kind, const float *prepared, uint32_t padded, unsigned char *codes);
/* A row's codes as FAISS is to get them again, `padded` floats. Not of lists: index_lists.h. */
void mn_index_decode(mn_index_kind kind, const unsigned char *codes, uint32_t padded, float *out);
/* From what mn_index_decode gives to what it stands for, up to the scale. */
void mn_index_center(mn_index_kind kind, uint32_t padded, float *codes);

#endif
