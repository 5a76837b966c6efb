/* index_keeper.c -- it sleeps until enough was stored, waits for DELAY_SECONDS of more, and does then what
 * mneme_optimize with only_wanted does. What fails there is tried again after the next chunks: there is nobody to tell.
 */
#include "memory/index_keeper.h"

#include "memory/index_build.h"
#include "memory/optimize.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { LOOK_AFTER_CHUNKS = 1000, DELAY_SECONDS = 2 };

struct mn_index_keeper {
    mneme *memory;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t moved;
    pthread_t thread;
    bool started, woken, building, stop, cancel;
    uint64_t n_chunks; /* since it was woken last */
    bool looked;       /* it was woken before */
    uint64_t done, total;
};

mneme_status mn_index_keeper_open(mneme *memory, mn_index_keeper **out, mneme_error *error)
{
    mn_index_keeper *keeper = mn_alloc_zeroed(1, sizeof *keeper);
    *out = keeper;
    if (!keeper) return mn_fail_memory(error, "memory");
    keeper->memory = memory;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->moved, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return MNEME_OK;
}

static struct timespec after(double seconds)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)seconds;
    at.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* As mneme_progress: how far it is, and whether to go on. */
static bool note_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    mn_index_keeper *keeper = context;
    (void)unit;
    pthread_mutex_lock(&keeper->lock);
    keeper->done = done;
    keeper->total = total;
    bool go_on = !keeper->stop && !keeper->cancel;
    pthread_mutex_unlock(&keeper->lock);
    return go_on;
}

static void build_wanted(mn_index_keeper *keeper)
{
    mneme_optimize_options options = MNEME_OPTIMIZE_OPTIONS_INIT;
    int lock = -1;
    options.only_wanted = true;
    options.progress = note_progress;
    options.context = keeper;
    if (!mn_index_is_wanted(keeper->memory)) return;
    if (mn_index_build_lock(keeper->memory->store, &lock, NULL) == MNEME_OK)
        mn_optimize_all(keeper->memory, &options, true, NULL);
    mn_index_build_unlock(lock);
}

static void *run(void *context)
{
    mn_index_keeper *keeper = context;
    pthread_mutex_lock(&keeper->lock);
    while (!keeper->stop) {
        if (!keeper->woken) {
            pthread_cond_wait(&keeper->moved, &keeper->lock);
            continue;
        }
        struct timespec until = after(DELAY_SECONDS);
        while (!keeper->stop && pthread_cond_timedwait(&keeper->moved, &keeper->lock, &until) != ETIMEDOUT) continue;
        if (keeper->stop) break;
        keeper->woken = keeper->cancel = false;
        keeper->building = true;
        pthread_mutex_unlock(&keeper->lock);
        build_wanted(keeper);
        pthread_mutex_lock(&keeper->lock);
        keeper->building = false;
        pthread_cond_broadcast(&keeper->moved);
    }
    pthread_mutex_unlock(&keeper->lock);
    return NULL;
}

/* With all signals blocked: they belong to the program's own threads. */
static void start(mn_index_keeper *keeper)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    keeper->started = pthread_create(&keeper->thread, NULL, run, keeper) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void mn_index_keeper_note(mn_index_keeper *keeper, uint64_t n_chunks)
{
    if (!keeper) return;
    pthread_mutex_lock(&keeper->lock);
    keeper->n_chunks += n_chunks;
    if (!keeper->looked || keeper->n_chunks >= LOOK_AFTER_CHUNKS) {
        keeper->n_chunks = 0;
        keeper->looked = keeper->woken = true;
        if (!keeper->started)
            start(keeper);
        else
            pthread_cond_broadcast(&keeper->moved);
    }
    pthread_mutex_unlock(&keeper->lock);
}

mneme_status mn_index_keeper_wait(mn_index_keeper *keeper, mneme_progress progress, void *context, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    if (!keeper) return MNEME_OK;
    pthread_mutex_lock(&keeper->lock);
    while (keeper->building) {
        uint64_t done = keeper->done, total = keeper->total;
        pthread_mutex_unlock(&keeper->lock);
        bool go_on = !progress || progress(context, done, total, "vectors");
        pthread_mutex_lock(&keeper->lock);
        if (!go_on) {
            keeper->cancel = true;
            status = mn_fail(error, MNEME_ERR_CANCELLED, "building the index was cancelled; the store is as it was");
            progress = NULL;
        }
        struct timespec until = after(0.05);
        if (keeper->building) pthread_cond_timedwait(&keeper->moved, &keeper->lock, &until);
    }
    pthread_mutex_unlock(&keeper->lock);
    return status;
}

void mn_index_keeper_close(mn_index_keeper *keeper)
{
    if (!keeper) return;
    pthread_mutex_lock(&keeper->lock);
    keeper->stop = true;
    pthread_cond_broadcast(&keeper->moved);
    pthread_mutex_unlock(&keeper->lock);
    if (keeper->started) pthread_join(keeper->thread, NULL);
    pthread_cond_destroy(&keeper->moved);
    pthread_mutex_destroy(&keeper->lock);
    mn_free(keeper);
}
