/* test_many_processes.c -- eight readers and two writers, each a process, while some are killed; and a reader that
 * sleeps in the middle of a read while others write.
 *
 * The writers replace the same 20 records, all of one version at a time: an answer that holds two versions, or not all
 * 20 records, is of two generations. 4 seconds; MNEME_TEST_LONG: 3 minutes. */
#include "reliability_support.h"

#include "memory/handle.h"

#include <sys/mman.h>

enum { N_READERS = 8, N_WRITERS = 2, N_ALL = N_READERS + N_WRITERS, N_RECORDS = 20, BLOCKED_SECONDS = 60 };

static char *g_dir;

/* In memory that all processes share. */
typedef struct shared {
    bool stop;
    uint32_t version;     /* the next one to write */
    uint64_t done[N_ALL]; /* answers, or commits, of each place */
    int64_t last[N_ALL];  /* when it last got on, in microseconds */
    char problem[300];    /* the first */
    bool failed;
} shared;

static shared *g_shared;

static void fail_shared(const char *what, const char *detail)
{
    bool expected = false;
    if (__atomic_compare_exchange_n(&g_shared->failed, &expected, true, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        snprintf(g_shared->problem, sizeof g_shared->problem, "%s: %.200s", what, detail);
    _exit(1);
}

static bool stopping(void)
{
    return __atomic_load_n(&g_shared->stop, __ATOMIC_ACQUIRE) || __atomic_load_n(&g_shared->failed, __ATOMIC_ACQUIRE);
}

static void got_on(int place)
{
    __atomic_add_fetch(&g_shared->done[place], 1, __ATOMIC_RELAXED);
    __atomic_store_n(&g_shared->last[place], rel_now_us(), __ATOMIC_RELAXED);
}

/* ---- writers ---- */

static void write_on(int place, const char *path)
{
    mneme *memory = NULL;
    mneme_error error;
    if (rel_open(path, 0, &memory, &error) != MNEME_OK) fail_shared("a writer cannot open", error.message);
    while (!stopping()) {
        uint32_t version = __atomic_fetch_add(&g_shared->version, 1, __ATOMIC_SEQ_CST);
        if (rel_add(memory, 0, N_RECORDS, version, &error) != MNEME_OK) fail_shared("a writer", error.message);
        got_on(place);
    }
    mneme_close(memory);
    _exit(0);
}

/* ---- readers ---- */

static uint32_t version_in(const char *metadata)
{
    unsigned number = 0, version = 0;
    if (!metadata || sscanf(metadata, "{\"number\":%u,\"version\":%u}", &number, &version) != 2) return 0;
    return version;
}

static void check_hits(const mneme_hits *hits, uint64_t *generation)
{
    char line[120];
    if (hits->generation < *generation) fail_shared("a reader", "a later answer is of an earlier generation");
    *generation = hits->generation;
    if (hits->n != N_RECORDS) {
        snprintf(line, sizeof line, "%zu hits of %d", hits->n, N_RECORDS);
        fail_shared("a reader", line);
    }
    for (size_t i = 1; i < hits->n; i++)
        if (version_in(hits->items[i].metadata) != version_in(hits->items[0].metadata))
            fail_shared("an answer of two generations", hits->items[i].metadata);
}

static void ask(mneme *memory, mneme_mode mode, uint64_t *generation)
{
    const float vector[REL_DIM] = {1, -1, 0.5f};
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    mneme_hits *hits = NULL;
    mneme_error error;
    options.mode = mode;
    options.k = 2 * N_RECORDS;
    options.vector = mode == MNEME_MODE_LEXICAL ? NULL : vector;
    options.dimension = mode == MNEME_MODE_LEXICAL ? 0 : REL_DIM;
    if (mneme_query(memory, "record", &options, &hits, &error) != MNEME_OK) fail_shared("a query", error.message);
    check_hits(hits, generation);
    mneme_hits_free(hits);
}

static void list_all(mneme *memory)
{
    mneme_record_list *list = NULL;
    mneme_error error;
    if (mneme_list(memory, NULL, &list, &error) != MNEME_OK) fail_shared("a list", error.message);
    if (list->n != N_RECORDS) fail_shared("a list", "not all records");
    for (size_t i = 0; i < list->n; i++) {
        uint32_t number = 0, version = 0;
        if (!rel_record_is_whole(&list->items[i], &number, &version)) fail_shared("a list", "a record is not whole");
        if (version != version_in(list->items[0].metadata))
            fail_shared("a list of two generations", list->items[i].metadata);
    }
    mneme_record_list_free(list);
}

static void read_on(int place, const char *path)
{
    mneme *memory = NULL;
    mneme_error error;
    uint64_t generation = 0;
    if (rel_open(path, place % 2 ? MNEME_OPEN_READ_ONLY : 0, &memory, &error) != MNEME_OK)
        fail_shared("a reader cannot open", error.message);
    for (unsigned i = 0; !stopping(); i++) {
        ask(memory, i % 3 == 0 ? MNEME_MODE_HYBRID : i % 3 == 1 ? MNEME_MODE_DENSE : MNEME_MODE_LEXICAL, &generation);
        if (i % 8 == 0) list_all(memory);
        got_on(place);
    }
    mneme_close(memory);
    _exit(0);
}

/* ---- all at once ---- */

static pid_t start(int place, const char *path)
{
    __atomic_store_n(&g_shared->last[place], rel_now_us(), __ATOMIC_RELAXED);
    pid_t child = rel_fork();
    if (child != 0) return child;
    if (place < N_READERS) read_on(place, path);
    write_on(place, path);
    return 0;
}

static void assert_nobody_is_blocked(void)
{
    for (int i = 0; i < N_ALL; i++) {
        int64_t since = rel_now_us() - __atomic_load_n(&g_shared->last[i], __ATOMIC_RELAXED);
        if (since > (int64_t)BLOCKED_SECONDS * 1000000)
            fail_msg("%s %d has been blocked for %d s", i < N_READERS ? "reader" : "writer", i, BLOCKED_SECONDS);
    }
}

static void make_store(const char *path)
{
    mneme *memory = NULL;
    assert_ok(rel_open(path, 0, &memory, test_error()));
    assert_ok(rel_add(memory, 0, N_RECORDS, 1, test_error()));
    mneme_close(memory);
}

static void readers_and_writers_of_many_processes_see_whole_generations(void **state)
{
    (void)state;
    char path[1200];
    pid_t children[N_ALL];
    unsigned killed_readers = 0, killed_writers = 0;
    uint64_t random = rel_seed(), sums[2] = {0};
    int64_t until = rel_now_us() + (rel_long() ? 180 : 4) * (int64_t)1000000;
    snprintf(path, sizeof path, "%s/store", g_dir);
    make_store(path);
    memset(g_shared, 0, sizeof *g_shared);
    g_shared->version = 2;
    for (int i = 0; i < N_ALL; i++) children[i] = start(i, path);
    while (rel_now_us() < until && !g_shared->failed) {
        rel_sleep_us(20000 + (int64_t)rel_below(&random, 250000));
        int victim = (int)rel_below(&random, N_ALL);
        kill(children[victim], SIGKILL);
        waitpid(children[victim], NULL, 0);
        if (victim < N_READERS)
            killed_readers++;
        else
            killed_writers++;
        children[victim] = start(victim, path);
        assert_nobody_is_blocked();
    }
    /* Those who were started last get their turn too. */
    for (int i = 0; i < N_ALL && !g_shared->failed; i++)
        for (uint64_t before = g_shared->done[i];
             __atomic_load_n(&g_shared->done[i], __ATOMIC_RELAXED) == before && !g_shared->failed;) {
            rel_sleep_us(2000);
            assert_nobody_is_blocked();
        }
    __atomic_store_n(&g_shared->stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < N_ALL; i++) waitpid(children[i], NULL, 0);
    for (int i = 0; i < N_ALL; i++) sums[i >= N_READERS] += g_shared->done[i];
    if (g_shared->failed) fail_msg("%s", g_shared->problem);
    mneme *memory = NULL;
    assert_ok(rel_open(path, 0, &memory, test_error()));
    assert_int_equal(rel_assert_sound(memory, "afterwards").records, N_RECORDS);
    mneme_close(memory);
    printf(
        "%d readers: %llu answers, each of one generation; %d writers: %llu commits; killed: %u readers, %u writers\n",
        N_READERS, (unsigned long long)sums[0], N_WRITERS, (unsigned long long)sums[1], killed_readers, killed_writers);
}

/* ---- a reader that sleeps ---- */

static void sleep_in_a_read(const char *path, int ready, int go)
{
    mneme *memory = NULL;
    mn_read *read_view = NULL;
    char byte = 0;
    if (rel_open(path, 0, &memory, NULL) != MNEME_OK || mn_read_begin(memory->store, &read_view, NULL) != MNEME_OK)
        _exit(1);
    uint64_t generation = mn_read_generation(read_view);
    mn_namespace space;
    mn_record record;
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1) _exit(2);
    /* It still sees what it saw. */
    if (mn_read_generation(read_view) != generation || mn_read_namespace(read_view, "", &space, NULL) != MNEME_OK)
        _exit(3);
    if (mn_read_next_record(read_view, space.ns, 0, &record, NULL) != MNEME_OK || version_in(record.metadata) != 1)
        _exit(4);
    mn_read_end(read_view);
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1) _exit(5);
    mneme_close(memory);
    _exit(0);
}

/* How many bytes the file grows by in so many commits. */
static int64_t growth(mneme *memory, uint32_t *version, unsigned commits)
{
    mneme_stats *stats = NULL;
    int64_t size[2];
    for (int i = 0; i < 2; i++) {
        for (unsigned j = 0; i == 1 && j < commits; j++)
            assert_ok(rel_add(memory, 0, N_RECORDS, ++*version, test_error()));
        assert_ok(mneme_get_stats(memory, &stats, test_error()));
        size[i] = (int64_t)stats->bytes_on_disk;
        mneme_stats_free(stats);
    }
    return size[1] - size[0];
}

static void reader_asleep_costs_space_until_it_goes_on(void **state)
{
    (void)state;
    char path[1200], byte = 0;
    int ready[2], go[2], status = 0;
    unsigned commits = rel_long() ? 1000 : 60;
    uint32_t version = 1;
    mneme *memory = NULL;
    snprintf(path, sizeof path, "%s/asleep", g_dir);
    make_store(path);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t child = rel_fork();
    if (child == 0) sleep_in_a_read(path, ready[1], go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kill(child, SIGSTOP), 0);
    assert_ok(rel_open(path, 0, &memory, test_error()));
    int64_t asleep = growth(memory, &version, commits);
    assert_int_equal(kill(child, SIGCONT), 0);
    assert_int_equal(write(go[1], &byte, 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    int64_t awake = growth(memory, &version, commits);
    assert_int_equal(write(go[1], &byte, 1), 1);
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    rel_assert_sound(memory, "afterwards");
    mneme_close(memory);
    printf("%u commits of %d records: the file grew by %.2f MB with a reader asleep, by %.2f MB after it went on\n",
           commits, N_RECORDS, (double)asleep / 1e6, (double)awake / 1e6);
    assert_true(asleep > 0);
    assert_true(awake <= asleep / 4);
    for (int i = 0; i < 2; i++) close(ready[i]), close(go[i]);
}

static int make_dir(void **state)
{
    (void)state;
    g_shared = mmap(NULL, sizeof *g_shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if ((const void *)g_shared == MAP_FAILED) return -1;
    g_dir = test_make_dir();
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    munmap(g_shared, sizeof *g_shared);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_and_writers_of_many_processes_see_whole_generations),
        cmocka_unit_test(reader_asleep_costs_space_until_it_goes_on),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
