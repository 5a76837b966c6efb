/* threads.h -- a fixed set of worker threads that share out the items of one job at a time. */
#ifndef MN_COMMON_THREADS_H
#define MN_COMMON_THREADS_H

#include "common/error.h"

typedef struct mn_threads mn_threads;

/* A pool of n threads in all, the caller of mn_threads_run included (so n - 1 are started, at the first run).
 * n = 0: one per usable core. */
mneme_status mn_threads_new(unsigned n, mn_threads **out, mneme_error *error);
void mn_threads_free(mn_threads *threads);
unsigned mn_threads_count(const mn_threads *threads);

/* Call work(context, item, worker) once for each item 0..n_items-1, worker being 0..count-1 (0 = the caller); returns
 * when all are done. Items are handed out in order. One run at a time: other callers wait. */
void mn_threads_run(mn_threads *threads, size_t n_items, void (*work)(void *context, size_t item, unsigned worker),
                    void *context);

/* Cores that this process may use (affinity respected). */
unsigned mn_cpu_count(void);

#endif
