/* test_group_commit.c -- threads that write at once share commits: nothing is lost, an error goes to its owner alone,
 * and the disk is asked far less often than there are writes. */
#include "test_support.h"

#include "memstore/store_internal.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 16 };

static char *g_dir;
static atomic_int g_syncs;

/* LMDB's, once in each commit. */
int fdatasync(int fd)
{
    atomic_fetch_add(&g_syncs, 1);
    return (int)syscall(SYS_fdatasync, fd);
}

static mneme_status no_words(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                             mneme_error *error)
{
    (void)context;
    (void)text;
    (void)size;
    (void)arena;
    (void)error;
    *out = (mn_term_list){0};
    return MNEME_OK;
}

static mn_store *open_store(const char *name, uint64_t map_bytes)
{
    char path[1200];
    mn_store *store = NULL;
    const mn_store_options options = {.map_bytes = map_bytes};
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    assert_ok(mn_store_open(path, &options, &store, test_error()));
    mn_store_set_analyzer(store, no_words, NULL);
    return store;
}

static uint64_t generation_of(mn_store *store, uint64_t *n_records)
{
    mn_read *read = NULL;
    mn_namespace space = {.ns = 0};
    assert_ok(mn_read_begin(store, &read, test_error()));
    (void)mn_read_namespace(read, "", &space, NULL);
    uint64_t generation = mn_read_generation(read);
    *n_records = space.n_records;
    mn_read_end(read);
    return generation;
}

static bool holds(mn_store *store, const char *id)
{
    mn_read *read = NULL;
    mn_namespace space;
    uint32_t rec = 0;
    assert_ok(mn_read_begin(store, &read, test_error()));
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    mneme_status status = mn_read_find(read, space.ns, id, &rec, NULL);
    mn_read_end(read);
    return status == MNEME_OK;
}

typedef struct put {
    char id[32];
    bool refused;            /* its chunk lies behind the text */
    const atomic_bool *gate; /* NULL, or: goes on when it is open */
    atomic_bool *inside;
} put;

static mneme_status put_one(void *context, mn_write *write, mneme_error *error)
{
    const put *p = context;
    const mneme_record record = {.id = p->id, .text = "text", .text_size = 4, .session = "all"};
    const mn_new_chunk chunk = {.start = 0, .end = p->refused ? 5 : 4};
    const mn_new_record new_record = {.record = &record, .chunks = &chunk, .n_chunks = 1};
    if (p->inside) atomic_store(p->inside, true);
    while (p->gate && !atomic_load(p->gate)) usleep(100);
    return mn_write_put(write, &new_record, error);
}

typedef struct worker {
    mn_store *store;
    int name, n;
    bool refuses; /* every fifth of its puts */
    atomic_bool *gate, *inside;
    int wrong;
    uint64_t generation;
} worker;

static void *put_many(void *context)
{
    worker *w = context;
    uint64_t before = 0;
    for (int i = 0; i < w->n; i++) {
        put p = {.refused = w->refuses && i % 5 == 0, .gate = w->gate, .inside = w->inside};
        mneme_error error = {MNEME_OK, ""};
        snprintf(p.id, sizeof p.id, "%d-%d", w->name, i);
        mneme_status status = mn_store_update(w->store, put_one, &p, &w->generation, &error);
        if (status != (p.refused ? MNEME_ERR_RECORD : MNEME_OK)) w->wrong++;
        if (p.refused && !strstr(error.message, p.id)) w->wrong++; /* its own error */
        if (!p.refused && w->generation <= before) w->wrong++;
        before = w->generation;
        if (!p.refused && !holds(w->store, p.id)) w->wrong++;
    }
    return NULL;
}

static void run(worker *workers, pthread_t *threads, int n)
{
    for (int i = 0; i < n; i++) assert_int_equal(pthread_create(&threads[i], NULL, put_many, &workers[i]), 0);
}

static void threads_that_write_at_once_lose_nothing_and_share_commits(void **state)
{
    (void)state;
    enum { EACH = 50 };
    mn_store *store = open_store("many", 1 << 20);
    worker workers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        workers[i] = (worker){.store = store, .name = i, .n = EACH, .refuses = i % 4 == 0};
    atomic_store(&g_syncs, 0);
    run(workers, threads, THREADS);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    uint64_t n_records = 0, generation = generation_of(store, &n_records);
    assert_int_equal(n_records, THREADS * EACH - THREADS / 4 * EACH / 5);
    assert_true(generation <= n_records);
    assert_true(atomic_load(&g_syncs) <= (int)generation + 5);
    printf("%d puts in %d commits\n", (int)n_records, (int)generation);
    mneme_check_report report;
    assert_ok(mn_store_check(store, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
    mn_store_close(store);
}

static size_t queue_length(mn_store *store)
{
    pthread_mutex_lock(&store->queue_lock);
    size_t n = store->n_queued;
    pthread_mutex_unlock(&store->queue_lock);
    return n;
}

/* One is held inside its change until all others wait; *n_commits: those of the others. */
static void write_behind_one(const char *name, int refused, worker workers[THREADS], int *n_commits)
{
    mn_store *store = open_store(name, 0);
    atomic_bool gate = false, inside = false;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) workers[i] = (worker){.store = store, .name = i, .n = 1};
    workers[0].gate = &gate;
    workers[0].inside = &inside;
    run(workers, threads, 1);
    while (!atomic_load(&inside)) usleep(100);
    for (int i = 1; i < THREADS; i++) {
        if (i == refused) workers[i].n = 2, workers[i].refuses = true; /* the first of its two */
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &workers[i]), 0);
    }
    while (queue_length(store) < THREADS - 1) usleep(100);
    atomic_store(&g_syncs, 0);
    atomic_store(&gate, true);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    *n_commits = atomic_load(&g_syncs);
    uint64_t n_records = 0;
    generation_of(store, &n_records);
    assert_int_equal(n_records, THREADS);
    mn_store_close(store);
}

static void those_that_wait_are_committed_together(void **state)
{
    (void)state;
    worker workers[THREADS];
    int n_commits = 0;
    write_behind_one("together", -1, workers, &n_commits);
    assert_int_equal(n_commits, 1);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].wrong, 0);
        assert_int_equal(workers[i].generation, 1);
    }
}

static void refused_change_takes_nobody_with_it(void **state)
{
    (void)state;
    worker workers[THREADS];
    int n_commits = 0;
    write_behind_one("refused", 7, workers, &n_commits);
    for (int i = 0; i < THREADS; i++) assert_int_equal(workers[i].wrong, 0);
    assert_in_range(n_commits, 1, THREADS + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_write_at_once_lose_nothing_and_share_commits),
        cmocka_unit_test(those_that_wait_are_committed_together),
        cmocka_unit_test(refused_change_takes_nobody_with_it),
    };
    g_dir = test_make_dir();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_remove_dir(g_dir);
    return failed;
}
