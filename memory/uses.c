/* uses.c -- the batch of uses and the thread that writes it.
 *
 *     note --lock--> pending --(the thread, flush or close)--> taken --one transaction--> strengths
 *
 * `lock` guards pending and is never held while the store is written; `writing` lets one batch be written at a time, so
 * that uses reach the store in their order. */
#include "memory/uses.h"

#include "common/clock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct mn_uses {
    mn_store *store;
    mn_strength_model model;
    double seconds;
    pthread_mutex_t lock, writing;
    pthread_cond_t wake;
    pthread_t thread;
    bool started, failed_to_start, stop;
    mn_use *pending; /* in their order */
    size_t n, capacity;
};

mneme_status mn_uses_open(mn_store *store, const mn_strength_model *model, double seconds, mn_uses **out,
                          mneme_error *error)
{
    *out = NULL;
    mn_uses *uses = mn_alloc_zeroed(1, sizeof *uses);
    if (!uses) return mn_fail_memory(error, "memory");
    uses->store = store;
    uses->model = *model;
    uses->seconds = seconds;
    pthread_mutex_init(&uses->lock, NULL);
    pthread_mutex_init(&uses->writing, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&uses->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out = uses;
    return MNEME_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

typedef struct batch {
    const mn_strength_model *model;
    mn_use *items;
    size_t n;
} batch;

/* By record, those of one in the order in which they were noted. */
static int by_record(const void *left, const void *right)
{
    const mn_use *a = left, *b = right;
    if (a->ns != b->ns) return a->ns < b->ns ? -1 : 1;
    if (a->rec != b->rec) return a->rec < b->rec ? -1 : 1;
    if (a->time_ms != b->time_ms) return a->time_ms < b->time_ms ? -1 : 1;
    return (a->attention > b->attention) - (a->attention < b->attention);
}

static mneme_status write_batch(void *context, mn_write *write, mneme_error *error)
{
    batch *job = context;
    mn_read *read = mn_write_read(write);
    for (size_t i = 0; i < job->n;) {
        uint32_t ns = job->items[i].ns, rec = job->items[i].rec;
        size_t end = i;
        mn_record record;
        mn_strength kept = {0};
        mneme_status status = mn_read_record(read, ns, rec, &record, error);
        if (status == MNEME_OK) status = mn_read_strength(read, ns, rec, &kept, error);
        for (; end < job->n && job->items[end].ns == ns && job->items[end].rec == rec; end++)
            if (status == MNEME_OK)
                mn_strength_keep_use(job->model, &record, (double)job->items[end].attention, job->items[end].time_ms,
                                     &kept);
        if (status == MNEME_OK) status = mn_write_strength(write, ns, rec, &kept, error);
        if (status != MNEME_OK && status != MNEME_ERR_NOT_FOUND) return status; /* forgotten since: nothing to do */
        i = end;
    }
    return MNEME_OK;
}

mneme_status mn_uses_flush(mn_uses *uses, mneme_error *error)
{
    pthread_mutex_lock(&uses->writing);
    pthread_mutex_lock(&uses->lock);
    batch job = {.model = &uses->model, .items = uses->pending, .n = uses->n};
    uses->pending = NULL;
    uses->n = uses->capacity = 0;
    pthread_mutex_unlock(&uses->lock);
    mneme_status status = MNEME_OK;
    if (job.n) {
        qsort(job.items, job.n, sizeof *job.items, by_record);
        status = mn_store_update(uses->store, write_batch, &job, NULL, error);
    }
    mn_free(job.items);
    pthread_mutex_unlock(&uses->writing);
    return status;
}

/* ---- the thread ------------------------------------------------------------------------------------------------ */

static struct timespec deadline(double seconds)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    double whole = (double)(int64_t)seconds;
    at.tv_sec += (time_t)whole;
    at.tv_nsec += (long)((seconds - whole) * 1e9);
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* Sleep until there are uses, then let more gather for the interval. What a full disk or the like refuses is lost: it
 * is bookkeeping, and there is nobody to tell. */
static void *run(void *context)
{
    mn_uses *uses = context;
    pthread_mutex_lock(&uses->lock);
    while (!uses->stop) {
        if (uses->n == 0) {
            pthread_cond_wait(&uses->wake, &uses->lock);
            continue;
        }
        struct timespec until = deadline(uses->seconds);
        while (!uses->stop && pthread_cond_timedwait(&uses->wake, &uses->lock, &until) != ETIMEDOUT) continue;
        if (uses->stop) break; /* mn_uses_close writes the rest */
        pthread_mutex_unlock(&uses->lock);
        mn_uses_flush(uses, NULL);
        pthread_mutex_lock(&uses->lock);
    }
    pthread_mutex_unlock(&uses->lock);
    return NULL;
}

/* With all signals blocked: they belong to the program's own threads. Called with the lock held. */
static void start(mn_uses *uses)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    uses->started = pthread_create(&uses->thread, NULL, run, uses) == 0;
    uses->failed_to_start = !uses->started;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static bool make_room(mn_uses *uses, size_t n)
{
    if (n > MN_USES_MAX - uses->n) return false;
    if (uses->n + n <= uses->capacity) return true;
    size_t capacity = uses->capacity ? uses->capacity * 2 : 64;
    while (capacity < uses->n + n) capacity *= 2;
    mn_use *larger = mn_realloc_array(uses->pending, capacity, sizeof *larger);
    if (!larger) return false;
    uses->pending = larger;
    uses->capacity = capacity;
    return true;
}

void mn_uses_note(mn_uses *uses, const mn_use *items, size_t n)
{
    if (n == 0) return;
    pthread_mutex_lock(&uses->lock);
    if (make_room(uses, n)) {
        memcpy(uses->pending + uses->n, items, n * sizeof *items);
        uses->n += n;
        /* Without a thread they wait for mneme_flush or mneme_close. */
        if (!uses->started && !uses->failed_to_start)
            start(uses);
        else if (uses->n == n)
            pthread_cond_signal(&uses->wake);
    }
    pthread_mutex_unlock(&uses->lock);
}

void mn_uses_close(mn_uses *uses)
{
    if (!uses) return;
    pthread_mutex_lock(&uses->lock);
    uses->stop = true;
    pthread_cond_signal(&uses->wake);
    pthread_mutex_unlock(&uses->lock);
    if (uses->started) pthread_join(uses->thread, NULL);
    mn_uses_flush(uses, NULL);
    mn_free(uses->pending);
    pthread_cond_destroy(&uses->wake);
    pthread_mutex_destroy(&uses->writing);
    pthread_mutex_destroy(&uses->lock);
    mn_free(uses);
}
