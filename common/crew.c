/* crew.c -- a few threads for many jobs of microseconds.
 *
 * The ticket says which job there is and which of its items is next; whoever adds 1 to it gets that item:
 *
 *     | job 32 bits | n_items 16 bits | next item 16 bits |
 *
 * It holds n_items itself, so that one who comes late, with an old ticket, sees that nothing is left. Only who holds an
 * item reads `work` and `context`, and they stay until that item is counted in `done`. At most n_items + count - 1 is
 * ever added before the next job; MN_CREW_ITEMS_MOST leaves room for that. */
#include "common/crew.h"

#include "common/clock.h"
#include "common/memory.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* How often to look again before letting others have the processor: some 10 us. */
enum { SPINS = 200, LINE = 64 };

typedef struct member {
    struct mn_crew *crew;
    pthread_t thread;
    unsigned number;
} member;

struct mn_crew {
    pthread_mutex_t lock; /* guards session and stopping */
    pthread_cond_t called;
    uint64_t session; /* counts begins */
    bool stopping;
    unsigned count, started;
    unsigned rests; /* begins that are still to be refused */
    member *members;
    _Alignas(LINE) atomic_bool at_work; /* between begin and end */
    _Alignas(LINE) atomic_uint_fast64_t ticket;
    _Alignas(LINE) atomic_uint done;
    void (*work)(void *context, unsigned item, unsigned worker);
    void *context;
};

static void pause_a_little(unsigned *spins)
{
    if (++*spins < SPINS) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
        return;
    }
    *spins = 0;
    sched_yield();
}

mneme_status mn_crew_new(unsigned n, mn_crew **out, mneme_error *error)
{
    assert(n >= 2);
    *out = NULL;
    mn_crew *crew = mn_alloc_aligned(LINE, sizeof *crew);
    if (!crew) return mn_fail_memory(error, "threads");
    *crew = (mn_crew){.count = n < MN_CREW_ITEMS_MOST / 2 ? n : MN_CREW_ITEMS_MOST / 2};
    crew->members = mn_alloc_zeroed(crew->count, sizeof *crew->members);
    if (!crew->members) {
        mn_free(crew);
        return mn_fail_memory(error, "threads");
    }
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->called, NULL);
    *out = crew;
    return MNEME_OK;
}

/* Take items of the present job until none is left. */
static void take_items(mn_crew *crew, unsigned worker)
{
    for (;;) {
        uint64_t ticket = atomic_load_explicit(&crew->ticket, memory_order_acquire);
        if ((ticket & 0xFFFF) >= (ticket >> 16 & 0xFFFF)) return;
        ticket = atomic_fetch_add_explicit(&crew->ticket, 1, memory_order_acq_rel);
        unsigned item = ticket & 0xFFFF;
        if (item >= (ticket >> 16 & 0xFFFF)) return;
        crew->work(crew->context, item, worker);
        atomic_fetch_add_explicit(&crew->done, 1, memory_order_release);
    }
}

static void *member_main(void *argument)
{
    member *self = argument;
    mn_crew *crew = self->crew;
    uint64_t seen = 0;
    for (;;) {
        pthread_mutex_lock(&crew->lock);
        while (crew->session == seen && !crew->stopping) pthread_cond_wait(&crew->called, &crew->lock);
        seen = crew->session;
        bool stopping = crew->stopping;
        pthread_mutex_unlock(&crew->lock);
        if (stopping) return NULL;
        for (unsigned spins = 0; atomic_load_explicit(&crew->at_work, memory_order_acquire); pause_a_little(&spins))
            take_items(crew, self->number);
    }
}

/* Where the system refuses a thread, the work is done by those that there are. */
static void start_members(mn_crew *crew)
{
    while (crew->started + 1 < crew->count) {
        member *next = &crew->members[crew->started];
        *next = (member){.crew = crew, .number = crew->started + 1};
        if (pthread_create(&next->thread, NULL, member_main, next) != 0) return;
        crew->started++;
    }
}

bool mn_crew_begin(mn_crew *crew)
{
    if (crew->rests > 0) {
        crew->rests--;
        return false;
    }
    start_members(crew);
    atomic_store_explicit(&crew->at_work, true, memory_order_release);
    pthread_mutex_lock(&crew->lock);
    crew->session++;
    pthread_cond_broadcast(&crew->called);
    pthread_mutex_unlock(&crew->lock);
    return true;
}

void mn_crew_end(mn_crew *crew)
{
    atomic_store_explicit(&crew->at_work, false, memory_order_release);
}

static bool is_done(const mn_crew *crew, unsigned n_items)
{
    return atomic_load_explicit(&crew->done, memory_order_acquire) >= n_items;
}

/* For items that others are at. Such a wait is short, unless the system has taken the processor from one of them. */
static void wait_for_others(mn_crew *crew, unsigned n_items)
{
    if (is_done(crew, n_items)) return;
    double since = mn_clock_monotonic();
    for (unsigned spins = 0; !is_done(crew, n_items);) pause_a_little(&spins);
    if ((mn_clock_monotonic() - since) * 1000 >= MN_CREW_HELD_UP_MS) crew->rests = MN_CREW_RESTS;
}

void mn_crew_run(mn_crew *crew, unsigned n_items, void (*work)(void *context, unsigned item, unsigned worker),
                 void *context)
{
    for (unsigned i = 0; !crew && i < n_items; i++) work(context, i, 0);
    if (!crew) return;
    assert(n_items < MN_CREW_ITEMS_MOST - crew->count);
    if (n_items == 0) return;
    crew->work = work;
    crew->context = context;
    atomic_store_explicit(&crew->done, 0, memory_order_relaxed);
    uint64_t job = (atomic_load_explicit(&crew->ticket, memory_order_relaxed) >> 32) + 1;
    atomic_store_explicit(&crew->ticket, job << 32 | (uint64_t)n_items << 16, memory_order_release);
    take_items(crew, 0);
    wait_for_others(crew, n_items);
}

unsigned mn_crew_count(const mn_crew *crew)
{
    return crew->count;
}

void mn_crew_free(mn_crew *crew)
{
    if (!crew) return;
    pthread_mutex_lock(&crew->lock);
    crew->stopping = true;
    pthread_cond_broadcast(&crew->called);
    pthread_mutex_unlock(&crew->lock);
    for (unsigned i = 0; i < crew->started; i++) pthread_join(crew->members[i].thread, NULL);
    pthread_cond_destroy(&crew->called);
    pthread_mutex_destroy(&crew->lock);
    mn_free(crew->members);
    mn_free(crew);
}
