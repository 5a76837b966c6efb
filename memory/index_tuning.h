/* index_tuning.h -- how far an index must search to find what an exact scan finds. */
#ifndef MN_MEMORY_INDEX_TUNING_H
#define MN_MEMORY_INDEX_TUNING_H

#include "memory/index_build.h"
#include "retriever/faiss_adapter.h"
#include "retriever/graph.h"

typedef struct mn_tuning {
    mn_store *store;
    const mn_namespace *space;
    mn_graph *graph;          /* has positions 0 .. n_added - 1; NULL: faiss has them */
    const mn_faiss *faiss;    /* NULL: graph */
    const char *scratch_path; /* where FAISS's graph is written to, to be walked over, and removed from */
    const uint32_t *rows;     /* of the positions; those of the questions follow */
    size_t n_added, n_questions;
    unsigned n_threads; /* of the exact scans */
    const mn_index_plan *plan;
} mn_tuning;

/* Set facts->effort to the least with which two thirds of the questions reach plan->recall, and facts->recall to what
 * the others reach with it; when that is less, the next effort is taken. Then half as much again, for questions that
 * are not like the vectors. With fewer than 100 questions they stay as they are; of an effort of 0, a middling one.
 * Of lists facts->effort is nprobe, and facts->oversampling is tuned with it; every second question is the middle of
 * two vectors, and the recall is the lesser of both kinds of questions.
 * Questions whose rows have died meanwhile are left out. Reads of the store are held for a few scans. ERR_CANCELLED,
 * ERR_BUSY, ERR_DISK_FULL. */
mneme_status mn_index_tune(const mn_tuning *tuning, mn_index_facts *facts, mneme_error *error);

#endif
