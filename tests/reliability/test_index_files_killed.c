/* test_index_files_killed.c -- kill -9 at random moments while an index is built, extended and scrubbed: the file that
 * is there afterwards is whole, what was forgotten is neither answered nor in it, and the next run goes on.
 *
 *     parent                               child
 *       fork  -------------------------->  open, then in turn: forget some, add some, optimize
 *       kill -9 after a random time
 *       open for writing (takes out what the child could not), check, stats, ask, close
 *
 * 12 trials; MNEME_TEST_LONG: 300. MNEME_TEST_SEED repeats a run's choices, though not its timing. */
#include "test_support.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DIMENSION = 32, ROWS = 2500, ADDED = 120, WINDOW_US = 400000 };

static uint64_t g_random;

static uint64_t draw(uint64_t below)
{
    g_random = g_random * 6364136223846793005u + 1442695040888963407u;
    return (g_random >> 33) % below;
}

static mneme_status open_memory(const char *dir, mneme **out, mneme_error *error)
{
    mneme_settings *settings = NULL;
    mneme_status status = mneme_settings_new(&settings, error);
    if (status == MNEME_OK) status = mneme_settings_set(settings, "index.min_rows", "1000", "test", error);
    if (status == MNEME_OK) status = mneme_settings_set(settings, "index.build", "manual", "test", error);
    if (status == MNEME_OK) status = mneme_open(dir, settings, 0, out, error);
    mneme_settings_free(settings);
    return status;
}

static mneme_status add_some(mneme *memory, uint32_t n, uint64_t version, mneme_error *error)
{
    float *vectors = malloc(sizeof *vectors * n * DIMENSION);
    mneme_record *records = calloc(n, sizeof *records);
    char(*ids)[32] = calloc(n, sizeof *ids);
    for (size_t i = 0; i < (size_t)n * DIMENSION; i++) vectors[i] = (float)draw(2001) - 1000.5f;
    for (uint32_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "%llu-%u", (unsigned long long)version, i);
        records[i] =
            (mneme_record){.id = ids[i], .text = "", .vector = vectors + i * DIMENSION, .dimension = DIMENSION};
    }
    mneme_status status = mneme_add(memory, records, n, NULL, NULL, error);
    free(ids);
    free(records);
    free(vectors);
    return status;
}

/* As many as were added, of any that there are. */
static mneme_status forget_some(mneme *memory, mneme_error *error)
{
    mneme_record_list *page = NULL;
    mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
    options.limit = ROWS;
    options.omit_text = true;
    mneme_status status = mneme_list(memory, &options, &page, error);
    for (uint32_t n = 0; n < 12 && status == MNEME_OK && page->n > 10; n++) {
        const char *ids[10];
        mneme_forget_options which = MNEME_FORGET_OPTIONS_INIT;
        for (size_t i = 0; i < 10; i++) ids[i] = page->items[draw(page->n)].id;
        which.ids = ids;
        which.n_ids = 10;
        status = mneme_forget(memory, &which, NULL, error);
    }
    mneme_record_list_free(page);
    return status;
}

static void work_until_killed(const char *dir, uint64_t trial)
{
    mneme *memory = NULL;
    mneme_error error;
    mneme_status status = open_memory(dir, &memory, &error);
    for (uint64_t round = 0; status == MNEME_OK; round++) {
        mneme_optimize_options options = MNEME_OPTIMIZE_OPTIONS_INIT;
        options.anew = draw(2) == 0;
        status = forget_some(memory, &error);
        if (status == MNEME_OK) status = add_some(memory, ADDED, (trial << 20) + round, &error);
        if (status == MNEME_OK && draw(3) == 0) status = mneme_optimize(memory, &options, &error);
    }
    fprintf(stderr, "child: %s\n", error.message);
    _exit(9);
}

static void print_problem(void *context, const char *line)
{
    (void)context;
    print_message("%s\n", line);
}

/* No answer that is not there any more. */
static void ask(mneme *memory)
{
    float question[DIMENSION];
    mneme_hits *hits = NULL;
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    for (size_t i = 0; i < DIMENSION; i++) question[i] = (float)draw(2001) - 1000.5f;
    options.mode = MNEME_MODE_DENSE;
    options.vector = question;
    options.dimension = DIMENSION;
    assert_ok(mneme_query(memory, "", &options, &hits, test_error()));
    assert_int_equal(hits->n, 10);
    for (size_t i = 0; i < hits->n; i++) {
        mneme_record_list *found = NULL;
        assert_ok(mneme_get(memory, NULL, hits->items[i].id, &found, test_error()));
        mneme_record_list_free(found);
    }
    mneme_hits_free(hits);
}

static void expect_sound(const char *dir)
{
    mneme *memory = NULL;
    mneme_stats *stats = NULL;
    mneme_check_report report;
    assert_ok(open_memory(dir, &memory, test_error()));
    assert_ok(mneme_check(memory, print_problem, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    if (strstr(stats->indexes[0].reason, "not used")) fail_msg("%s", stats->indexes[0].reason);
    mneme_stats_free(stats);
    ask(memory);
    mneme_close(memory);
}

/* In a process of its own: OpenMP's threads, once started, do not come along over fork. */
static void make_store(const char *dir)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        mneme *memory = NULL;
        mneme_status made = open_memory(dir, &memory, NULL);
        if (made == MNEME_OK) made = add_some(memory, ROWS, 0, NULL);
        if (made == MNEME_OK) made = mneme_optimize(memory, NULL, NULL);
        mneme_close(memory);
        _exit(made == MNEME_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void killed_at_any_moment_the_index_is_whole_and_holds_nothing_forgotten(void **state)
{
    (void)state;
    const char *seed = getenv("MNEME_TEST_SEED");
    g_random = seed ? (uint64_t)strtoull(seed, NULL, 10) : (uint64_t)(unsigned)getpid();
    print_message("MNEME_TEST_SEED=%llu\n", (unsigned long long)g_random);
    uint64_t trials = getenv("MNEME_TEST_LONG") ? 300 : 12;
    char *dir = test_make_dir();
    make_store(dir);
    for (uint64_t trial = 1; trial <= trials; trial++) {
        draw(2);
        pid_t child = fork();
        if (child == 0) work_until_killed(dir, trial);
        assert_true(child > 0);
        usleep((useconds_t)draw(WINDOW_US));
        kill(child, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        expect_sound(dir);
    }
    test_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_any_moment_the_index_is_whole_and_holds_nothing_forgotten)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
