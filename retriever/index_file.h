/* index_file.h -- an index of one namespace as a file beside the store: derived, never trusted, never the only copy of
 * anything.
 *
 *     | FAISS's format                             | rows         | sums         | trailer   |
 *     | graph, levels, ... (head) | codes (tail)   | u32 n_codes  | u64 n_blocks | 256 bytes |
 *                                 | block | block  |
 *
 * rows: which row each position of FAISS's stands for. The tail is where the vectors are; it is changed in place when a
 * row dies (mn_index_scrub), and has a checksum for each block of it, so that little is computed anew. The trailer says
 * what the index covers, and has the checksums of all else and of itself. docs/index-files.md tells the life of a file.
 *
 * Rows are numbered as in memstore/store.h. An index covers the rows 0 .. n_rows - 1 as of a generation: those of them
 * that lived then have a position. */
#ifndef MN_RETRIEVER_INDEX_FILE_H
#define MN_RETRIEVER_INDEX_FILE_H

#include "memstore/store.h"
#include "retriever/index_kind.h"

#define MN_INDEX_VERSION 1u
enum { MN_INDEX_BLOCK_BYTES = 1 << 18 };

/* The trailer, as it lies on disk (little-endian). Checksums are XXH3-64. */
typedef struct mn_index_facts {
    char magic[8];
    uint32_t version, kind;
    unsigned char identity[16];
    uint64_t epoch;
    uint32_t ns, dimension, padded, n_rows;
    uint64_t n_codes;
    uint64_t generation;              /* of the store that the first of its rows was read in */
    uint64_t scrubbed;                /* rows that were dead by this generation have no codes here */
    uint64_t graph_bytes, tail_start; /* of FAISS's part */
    uint64_t build_ms;
    double recall_asked, recall; /* of the best ten; measured on vectors that it was not tuned with */
    uint32_t effort;             /* efSearch, of lists nprobe, that reaches recall_asked */
    float scale;
    uint32_t is_being_scrubbed; /* 1: the sums of the tail may be behind it */
    uint32_t oversampling;      /* of lists: candidates for each row that is wanted */
    uint64_t head_sum, rows_sum, sums_sum;
    uint64_t n_lists; /* 0: it is a graph */
    uint64_t reserved[10];
    uint64_t sum; /* of all before it */
} mn_index_facts;

/* What an index must be of. */
typedef struct mn_index_owner {
    mn_identity identity;
    uint32_t ns, dimension;
} mn_index_owner;

/* An open file. Threads: searches from any number at once; the rest is said below. */
typedef struct mn_index mn_index;

/* Where the index of a namespace lies; owned (mn_free), NULL: out of memory. */
char *mn_index_path(const char *store_folder, uint32_t ns);
char *mn_index_folder(const char *store_folder);

/* Open a file. known: the stamp of a file that was found whole: when it is this one's, its large parts are not read.
 * *out: owned by one reference. ERR_NOT_FOUND: there is none; ERR_DAMAGED: it is cut short or does not fit its
 * checksums; ERR_FORMAT: of another version or another store, namespace, dimension or numbering of rows. The error says
 * which in a few words, without a name. */
mneme_status mn_index_open(const char *path, const mn_index_owner *owner, const mn_file_stamp *known, mn_index **out,
                           mneme_error *error);
mn_index *mn_index_keep(mn_index *index); /* one more reference */
void mn_index_release(mn_index *index);   /* one less; NULL is fine */

/* Of the present file under this path; all zero when there is none. */
mn_file_stamp mn_index_stamp_of(const char *path);
const mn_file_stamp *mn_index_stamp(const mn_index *index); /* when it was opened */
bool mn_index_was_compared(const mn_index *index);          /* were all checksums compared at opening? */
/* Equal, and not all zero. */
bool mn_file_stamps_equal(const mn_file_stamp *a, const mn_file_stamp *b);

/* As they were when it was opened. */
const mn_index_facts *mn_index_get_facts(const mn_index *index);
const uint32_t *mn_index_rows(const mn_index *index);                          /* n_codes of them */
const unsigned char *mn_index_codes(const mn_index *index, uint64_t position); /* of a graph */
const unsigned char *mn_index_tail(const mn_index *index);
uint64_t mn_index_bytes(const mn_index *index); /* of the file */

/* The checksums of the tail's blocks, as they lie in the file, and what one of them should be now. */
const uint64_t *mn_index_sums(const mn_index *index, size_t *n);
uint64_t mn_index_block_sum(const mn_index *index, uint64_t block);

/* Are a position's codes those of its row's vector in the store? False when that has none. scratch: room for 2 *
 * facts->padded floats. Of a graph; index_lists.h has the same for lists. */
bool mn_index_has_vector(const mn_index *index, uint64_t position, const mn_vector_blocks *vectors, float *scratch);
/* Do 64 of its codes fit the vectors of the store? Dead rows are not asked about. */
bool mn_index_fits(mn_index *index, const mn_rows *rows, const mn_vector_blocks *vectors, mn_arena *arena);

/* FAISS's index, for index_lists.c; it lives as long as this one. */
struct mn_faiss;
mneme_status mn_index_faiss(mn_index *index, const struct mn_faiss **out, mneme_error *error);

typedef struct mn_index_question {
    const float *vector;          /* facts->dimension floats */
    size_t k;                     /* positions wanted */
    size_t effort;                /* ef: how many of the nearest are gone on from (graph.h); of lists: nprobe */
    const unsigned char *allowed; /* one bit a position, lowest first; NULL = all */
} mn_index_question;

/* The k positions nearest to a question, nearest first, -1 where there are no more. ERR_MEMORY;
 * of lists: ERR_INTERNAL. */
mneme_status mn_index_search(mn_index *index, const mn_index_question *question, mn_arena *arena, int64_t **positions,
                             mneme_error *error);

/* The same of a graph, nearest to what a position's codes stand for; question->vector is not looked at. */
mneme_status mn_index_search_near(mn_index *index, uint64_t position, const mn_index_question *question,
                                  mn_arena *arena, int64_t **positions, mneme_error *error);

/* A descriptor of the file that can be written, for index_scrub.c; -1: errno tells. To be closed. */
int mn_index_open_writable(const mn_index *index);
/* Complete what FAISS or mn_graph_builder_write has written to `path`: facts with all but the sums, sizes and magic.
 * Durable afterwards, under that name. */
mneme_status mn_index_complete(const char *path, mn_index_facts *facts, const uint32_t *rows, mneme_error *error);

/* XXH3-64 of the trailer without its sum. */
uint64_t mn_index_facts_sum(const mn_index_facts *facts);

#endif
