/* test_failing_calls.c -- every file call of every operation fails in turn: once, or from then on; with no space, with
 * an input/output error, with a short write. The operation says what is wrong and names the store; the store is as
 * before, and when the calls work again, so does the same handle.
 *
 * And every allocation of every call of the public interface fails in turn. */
#include "failing_calls.h"
#include "reliability_support.h"

#include "memory/handle.h"
#include "retriever/analyzer.h"

enum { N_RECORDS = 60, DONE = 100, N_BIG = 20, BIG_DIM = 65536 };

static char *g_dir;

static const char *path_of(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    return path;
}

/* ---- operations ---- */

typedef struct operation {
    const char *name;
    bool opens; /* the operation is opening itself: there is no handle before */
    bool small_map, empty;
    mneme_status (*run)(const char *path, mneme **memory, mneme_error *error);
    /* What it makes of the records 0 .. N_RECORDS - 1, which are in version 1 before. */
    uint32_t first, n, version;
} operation;

static mneme_status run_open(const char *path, mneme **memory, mneme_error *error)
{
    return rel_open(path, 0, memory, error);
}

static mneme_status run_add(const char *path, mneme **memory, mneme_error *error)
{
    (void)path;
    return rel_add(*memory, 20, 40, 2, error);
}

/* Vectors that nothing can pack, in 1.5 bytes a number or more: the map of 1 MiB must grow. */
static mneme_status run_add_big(const char *path, mneme **memory, mneme_error *error)
{
    (void)path;
    uint64_t random = 1;
    float *vectors = malloc(sizeof *vectors * N_BIG * BIG_DIM);
    mneme_record records[N_BIG];
    char ids[N_BIG][16];
    for (size_t i = 0; i < (size_t)N_BIG * BIG_DIM; i++) vectors[i] = (float)rel_below(&random, 65536) - 32768;
    for (int i = 0; i < N_BIG; i++) {
        snprintf(ids[i], sizeof ids[i], "big-%d", i);
        records[i] = (mneme_record){
            .id = ids[i], .name_space = "big", .vector = vectors + (size_t)i * BIG_DIM, .dimension = BIG_DIM};
    }
    mneme_status status = mneme_add(*memory, records, N_BIG, NULL, NULL, error);
    free(vectors);
    return status;
}

static bool holds_big(mneme *memory)
{
    mneme_record_list *list = NULL;
    bool there = mneme_get(memory, "big", "big-7", &list, NULL) == MNEME_OK && list->n == 1;
    mneme_record_list_free(list);
    return there;
}

static mneme_status run_forget(const char *path, mneme **memory, mneme_error *error)
{
    (void)path;
    return rel_forget(*memory, 5, 30, error);
}

static const operation operations[] = {
    {"create", true, false, true, run_open, 0, 0, 0},
    {"open", true, false, false, run_open, 0, 0, 0},
    {"add", false, false, false, run_add, 20, 40, 2},
    {"add, growing map", false, true, true, run_add_big, 0, 0, 0},
    {"forget", false, false, false, run_forget, 5, 30, 0},
};
enum { N_OPERATIONS = sizeof operations / sizeof operations[0] };

/* ---- one trial, in a child: it ends with the step that went wrong, or 0, or DONE ---- */

enum step { FINE, OPENED, MESSAGE, NAMES_STORE, AS_BEFORE, GOES_ON, AFTER, REOPENED };
static const char *const step_names[] = {"fine",
                                         "opening before it failed",
                                         "the failure has no message",
                                         "the message does not name the store",
                                         "the store is not as before",
                                         "it does not go on when the calls work again",
                                         "the store is not as after it",
                                         "the store cannot be opened again"};

static bool holds(mneme *memory, const operation *op, bool changed)
{
    mneme_check_report report;
    rel_lines lines = {""};
    if (mneme_check(memory, rel_note_line, NULL, &lines, &report, NULL) != MNEME_OK || report.problems) {
        printf("  check: %s", lines.text);
        return false;
    }
    uint32_t expected = 0;
    for (uint32_t i = 0; i < N_RECORDS; i++) {
        char id[24];
        mneme_record_list *list = NULL;
        uint32_t number = 0, version = 0, wanted = op->empty ? 0 : 1;
        if (changed && i >= op->first && i < op->first + op->n) wanted = op->version;
        snprintf(id, sizeof id, "record-%u", i);
        mneme_status status = mneme_get(memory, NULL, id, &list, NULL);
        bool there = status == MNEME_OK && rel_record_is_whole(&list->items[0], &number, &version);
        mneme_record_list_free(list);
        if (wanted ? !there || version != wanted : status != MNEME_ERR_NOT_FOUND) return false;
        expected += wanted != 0;
    }
    bool big = op->small_map && changed;
    return report.records == expected + (big ? N_BIG : 0) && holds_big(memory) == big;
}

static mneme_status open_small_map(const char *path, mneme **out, mneme_error *error)
{
    mneme_status status = rel_open(path, 0, out, error);
    if (status != MNEME_OK) return status;
    const mn_store_options options = {.map_bytes = 1 << 20};
    mn_store_close((*out)->store);
    (*out)->store = NULL;
    status = mn_store_open(path, &options, &(*out)->store, error);
    if (status == MNEME_OK) mn_store_set_analyzer((*out)->store, mn_analyzer_run, (*out)->analyzer);
    return status;
}

static int run_trial(const operation *op, const char *path, unsigned n, fail_kind kind, bool on)
{
    mneme *memory = NULL;
    mneme_error error = {0};
    if (!op->opens) {
        mneme_status opened =
            op->small_map ? open_small_map(path, &memory, &error) : rel_open(path, 0, &memory, &error);
        if (opened != MNEME_OK) return OPENED;
    }
    fail_calls(n, kind, on);
    mneme_status status = op->run(path, &memory, &error);
    fail_calls(0, kind, on);
    bool failed = *call_failed() != '\0';
    if (status != MNEME_OK) {
        printf("  call %u, %s: %s\n", n, call_failed(), error.message);
        if (error.code != status || !error.message[0]) return MESSAGE;
        if (!strstr(error.message, path)) return NAMES_STORE;
        if (!op->opens && !holds(memory, op, false)) return AS_BEFORE;
        status = op->run(path, &memory, &error);
        if (status != MNEME_OK) {
            printf("  then: %s\n", error.message);
            return GOES_ON;
        }
    }
    if (!holds(memory, op, true)) return AFTER;
    mneme_close(memory);
    if (rel_open(path, 0, &memory, &error) != MNEME_OK) {
        printf("  again: %s\n", error.message);
        return REOPENED;
    }
    if (!holds(memory, op, true)) return AFTER;
    mneme_close(memory);
    return failed ? FINE : DONE;
}

static void prepare_store(const operation *op, const char *path)
{
    char command[2600];
    snprintf(command, sizeof command, "rm -rf '%s' && %s '%s/base' '%s'", path, op->empty ? "true" : "cp -r", g_dir,
             path);
    assert_int_equal(system(command), 0);
}

/* n = 1, 2, ... until the operation meets no failing call any more. Gives how many there were. */
static unsigned sweep(const operation *op, fail_kind kind, bool on)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, "tried");
    for (unsigned n = 1; n < 1000; n++) {
        int status = 0;
        prepare_store(op, path);
        pid_t child = rel_fork();
        if (child == 0) {
            if (!getenv("MNEME_TEST_VERBOSE") && !freopen(path_of("last-trial"), "w", stdout)) _exit(OPENED);
            int step = run_trial(op, path, n, kind, on);
            fflush(stdout);
            _exit(step);
        }
        waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == DONE) return n - 1;
        if (WIFEXITED(status) && WEXITSTATUS(status) == FINE) continue;
        char command[1300];
        snprintf(command, sizeof command, "cat '%s'", path_of("last-trial"));
        (void)!system(command);
        if (WIFSIGNALED(status)) fail_msg("%s, call %u: signal %d", op->name, n, WTERMSIG(status));
        fail_msg("%s, call %u (kind %d, %s): %s", op->name, n, (int)kind, on ? "from then on" : "once",
                 step_names[WEXITSTATUS(status) % 8]);
    }
    fail_msg("%s: it never succeeded", op->name);
    return 0;
}

static void make_base(void)
{
    mneme *memory = NULL;
    assert_ok(rel_open(path_of("base"), 0, &memory, test_error()));
    for (uint32_t i = 0; i < N_RECORDS; i += 20) assert_ok(rel_add(memory, i, 20, 1, test_error()));
    mneme_close(memory);
}

static void operation_with_a_failing_call_says_so_and_leaves_all_as_before(void **state)
{
    (void)state;
    static const char *const kinds[] = {"no space", "input/output error", "short write"};
    make_base();
    for (int i = 0; i < N_OPERATIONS; i++) {
        printf("%-18s", operations[i].name);
        unsigned least = UINT32_MAX;
        for (fail_kind kind = FAIL_NO_SPACE; kind <= FAIL_SHORT_WRITE; kind++)
            for (int on = 0; on < 2; on++) {
                if (!rel_long() && (kind == FAIL_SHORT_WRITE || on != (kind == FAIL_NO_SPACE))) continue;
                unsigned n = sweep(&operations[i], kind, on);
                if (n < least) least = n;
                printf(" %s %s: %u;", kinds[kind], on ? "that stays" : "once", n);
            }
        printf("\n");
        fflush(stdout);
        assert_true(least >= 3); /* the calls are seen at all */
    }
}

/* ---- allocations ---- */

/* One call, with its result released; whether it left results behind after a failure is told by *left. */
typedef mneme_status (*any_call)(mneme *memory, bool *left, mneme_error *error);

static mneme_status call_add(mneme *memory, bool *left, mneme_error *error)
{
    (void)left;
    rel_record made[2];
    mneme_record records[2];
    for (uint32_t i = 0; i < 2; i++) {
        rel_record_make(&made[i], i ? N_RECORDS + 1 : 3, 9);
        records[i] = made[i].record;
    }
    mneme_status status = mneme_add(memory, records, 2, NULL, NULL, error);
    for (uint32_t i = 0; i < 2; i++) rel_record_free(&made[i]);
    return status;
}

static mneme_status call_forget(mneme *memory, bool *left, mneme_error *error)
{
    (void)left;
    mneme_forget_options options = MNEME_FORGET_OPTIONS_INIT;
    options.select.where = "session = \"session-1\" and number < 30";
    return mneme_forget(memory, &options, NULL, error);
}

static mneme_status call_query(mneme *memory, bool *left, mneme_error *error)
{
    const float vector[REL_DIM] = {1, 0.5f};
    mneme_query_options ask = MNEME_QUERY_OPTIONS_INIT;
    mneme_hits *hits = NULL;
    ask.vector = vector;
    ask.dimension = REL_DIM;
    ask.select.where = "number > 3";
    mneme_status status = mneme_query(memory, "the keeper of the lighthouse", &ask, &hits, error);
    *left = status != MNEME_OK && hits;
    mneme_hits_free(hits);
    return status;
}

static mneme_status call_get(mneme *memory, bool *left, mneme_error *error)
{
    mneme_record_list *list = NULL;
    mneme_status status = mneme_get(memory, NULL, "record-7", &list, error);
    *left = status != MNEME_OK && list;
    mneme_record_list_free(list);
    return status;
}

static mneme_status call_list(mneme *memory, bool *left, mneme_error *error)
{
    mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
    mneme_record_list *list = NULL;
    options.limit = 5;
    mneme_status status = mneme_list(memory, &options, &list, error);
    *left = status != MNEME_OK && list;
    mneme_record_list_free(list);
    return status;
}

static mneme_status call_stats(mneme *memory, bool *left, mneme_error *error)
{
    mneme_stats *stats = NULL;
    mneme_status status = mneme_get_stats(memory, &stats, error);
    *left = status != MNEME_OK && stats;
    mneme_stats_free(stats);
    return status;
}

static mneme_status call_check(mneme *memory, bool *left, mneme_error *error)
{
    mneme_check_report report;
    mneme_status status = mneme_check(memory, NULL, NULL, NULL, &report, error);
    *left = report.problems != 0; /* no memory is no damage */
    return status;
}

static uint64_t generation_of(mneme *memory)
{
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    uint64_t generation = stats->generation;
    mneme_stats_free(stats);
    return generation;
}

/* n = 1, 2, ...: the n-th allocation and all after it fail, until none is left to fail. */
static void sweep_allocations(const char *name, any_call call, bool writes)
{
    mneme *memory = NULL;
    const operation base = {.name = name, .version = 1};
    prepare_store(&base, path_of("allocations"));
    assert_ok(rel_open(path_of("allocations"), 0, &memory, test_error()));
    uint64_t before = generation_of(memory);
    size_t n = 1;
    for (mneme_status status = MNEME_ERR_MEMORY; status != MNEME_OK; n++) {
        mneme_error error = {0};
        bool left = false;
        mn_alloc_fail_after(n);
        status = call(memory, &left, &error);
        mn_alloc_fail_after(0);
        if (status != MNEME_OK && (status != MNEME_ERR_MEMORY || error.code != status || !error.message[0]))
            fail_msg("%s, allocation %zu: %s: %s", name, n, mneme_status_name(status), error.message);
        if (left) fail_msg("%s, allocation %zu: it failed, but left a result", name, n);
        assert_true(generation_of(memory) == before + (writes && status == MNEME_OK));
        assert_true(n < 5000);
    }
    rel_assert_sound(memory, name);
    printf("%-18s %zu allocations\n", name, n - 2);
    assert_true(n > 3);
    mneme_close(memory);
}

static void call_out_of_memory_says_so_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        any_call call;
        bool writes;
    } calls[] = {{"mneme_add", call_add, true},      {"mneme_forget", call_forget, true},
                 {"mneme_query", call_query, false}, {"mneme_get", call_get, false},
                 {"mneme_list", call_list, false},   {"mneme_get_stats", call_stats, false},
                 {"mneme_check", call_check, false}};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        sweep_allocations(calls[i].name, calls[i].call, calls[i].writes);
}

static int make_dir(void **state)
{
    (void)state;
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1); /* no waiting for a disk that is not at fault */
    g_dir = test_make_dir();
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operation_with_a_failing_call_says_so_and_leaves_all_as_before),
        cmocka_unit_test(call_out_of_memory_says_so_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
