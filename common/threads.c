/* threads.c -- a fixed set of worker threads that share out the items of one job at a time.
 *
 * The next item is an atomic counter. A job is announced by a new `job` number under the mutex; workers count
 * themselves out of it, and the last one wakes the caller. */
#include "common/threads.h"

#include "common/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

typedef struct worker {
    struct mn_threads *pool;
    pthread_t thread;
    unsigned number;
} worker;

struct mn_threads {
    pthread_mutex_t run_lock; /* held by the caller for a whole run */
    pthread_mutex_t lock;     /* guards what follows up to next_item */
    pthread_cond_t job_posted, job_done;
    uint64_t job;
    unsigned busy;
    bool stopping;
    void (*work)(void *context, size_t item, unsigned worker);
    void *context;
    size_t n_items;
    atomic_size_t next_item;
    unsigned count, started; /* started: workers[0..started-1] run */
    worker *workers;
};

unsigned mn_cpu_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

mneme_status mn_threads_new(unsigned n, mn_threads **out, mneme_error *error)
{
    *out = NULL;
    if (n == 0) n = mn_cpu_count();
    mn_threads *threads = mn_alloc_zeroed(1, sizeof *threads);
    if (!threads) return mn_fail_memory(error, "thread pool");
    threads->workers = mn_alloc_zeroed(n, sizeof *threads->workers);
    if (!threads->workers) {
        mn_free(threads);
        return mn_fail_memory(error, "thread pool");
    }
    threads->count = n;
    pthread_mutex_init(&threads->run_lock, NULL);
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->job_posted, NULL);
    pthread_cond_init(&threads->job_done, NULL);
    *out = threads;
    return MNEME_OK;
}

static void do_items(mn_threads *threads, unsigned number)
{
    for (;;) {
        size_t item = atomic_fetch_add(&threads->next_item, 1);
        if (item >= threads->n_items) return;
        threads->work(threads->context, item, number);
    }
}

static void *worker_main(void *argument)
{
    worker *self = argument;
    mn_threads *threads = self->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&threads->lock);
    for (;;) {
        while (threads->job == seen && !threads->stopping) pthread_cond_wait(&threads->job_posted, &threads->lock);
        if (threads->stopping) break;
        seen = threads->job;
        pthread_mutex_unlock(&threads->lock);
        do_items(threads, self->number);
        pthread_mutex_lock(&threads->lock);
        if (--threads->busy == 0) pthread_cond_signal(&threads->job_done);
    }
    pthread_mutex_unlock(&threads->lock);
    return NULL;
}

/* Workers start before the first job is posted, so `seen = 0` above is right. Where the system refuses a thread, the
 * job is done by those that there are. */
static void start_workers(mn_threads *threads)
{
    while (threads->started + 1 < threads->count) {
        worker *next = &threads->workers[threads->started];
        *next = (worker){.pool = threads, .number = threads->started + 1};
        if (pthread_create(&next->thread, NULL, worker_main, next) != 0) {
            threads->count = threads->started + 1;
            return;
        }
        threads->started++;
    }
}

void mn_threads_run(mn_threads *threads, size_t n_items, void (*work)(void *context, size_t item, unsigned worker),
                    void *context)
{
    pthread_mutex_lock(&threads->run_lock);
    if (n_items == 1 || threads->count == 1) {
        for (size_t item = 0; item < n_items; item++) work(context, item, 0);
        pthread_mutex_unlock(&threads->run_lock);
        return;
    }
    start_workers(threads);
    pthread_mutex_lock(&threads->lock);
    threads->work = work;
    threads->context = context;
    threads->n_items = n_items;
    atomic_store(&threads->next_item, 0);
    threads->busy = threads->started;
    threads->job++;
    pthread_cond_broadcast(&threads->job_posted);
    pthread_mutex_unlock(&threads->lock);
    do_items(threads, 0);
    pthread_mutex_lock(&threads->lock);
    while (threads->busy > 0) pthread_cond_wait(&threads->job_done, &threads->lock);
    pthread_mutex_unlock(&threads->lock);
    pthread_mutex_unlock(&threads->run_lock);
}

unsigned mn_threads_count(const mn_threads *threads)
{
    return threads->count;
}

void mn_threads_free(mn_threads *threads)
{
    if (!threads) return;
    pthread_mutex_lock(&threads->lock);
    threads->stopping = true;
    pthread_cond_broadcast(&threads->job_posted);
    pthread_mutex_unlock(&threads->lock);
    for (unsigned i = 0; i < threads->started; i++) pthread_join(threads->workers[i].thread, NULL);
    pthread_cond_destroy(&threads->job_done);
    pthread_cond_destroy(&threads->job_posted);
    pthread_mutex_destroy(&threads->lock);
    pthread_mutex_destroy(&threads->run_lock);
    mn_free(threads->workers);
    mn_free(threads);
}
