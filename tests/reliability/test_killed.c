/* test_killed.c -- kill -9 at random moments of every operation that writes: what was acknowledged is there, whole,
 * what was under way is there wholly or not at all, `check` is clean, and the next run goes on.
 *
 *     parent                                  child
 *       fork  ------------------------------->  open the store
 *                          <-- BEGIN change --  say what it will do
 *                          <-- DONE  change --  say when the call has returned, and so on
 *       kill -9 after a random time
 *       read the pipe to its end: the model of what must be there
 *       open, check, compare every record
 *
 * 32 trials; MNEME_TEST_LONG: 1,000. MNEME_TEST_SEED repeats a run's choices, though not its timing. */
#include "reliability_support.h"

#include "memory/handle.h"
#include "retriever/analyzer.h"

#include <fcntl.h>

enum { N_RECORDS = 400, INDEX_BATCH = 16 };

static char *g_dir;

/* What a child does in one call, as it goes through the pipe. */
typedef struct change {
    uint32_t done; /* 0: begins; 1: has returned */
    uint32_t first, n, version;
} change;

typedef struct operation {
    const char *name;
    bool fresh;        /* each trial with a new store */
    int64_t window_us; /* killed within this time */
    mneme_status (*open)(const char *path, mneme **out, mneme_error *error);
    /* Choose: the first record, how many, and the version that they will have (0: none). */
    change (*choose)(uint64_t *random, uint32_t version);
    mneme_status (*run)(mneme *memory, const change *what, mneme_error *error);
} operation;

static mneme_status open_usual(const char *path, mneme **out, mneme_error *error)
{
    return rel_open(path, 0, out, error);
}

/* A map of 1 MiB: it must grow with nearly every change. */
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

static change choose_some(uint64_t *random, uint32_t most, uint32_t version)
{
    uint32_t n = 1 + (uint32_t)rel_below(random, most);
    return (change){.first = (uint32_t)rel_below(random, N_RECORDS - n + 1), .n = n, .version = version};
}

static change choose_add(uint64_t *random, uint32_t version)
{
    return choose_some(random, 40, version);
}

static change choose_forget(uint64_t *random, uint32_t version)
{
    (void)version;
    return choose_some(random, 3, 0);
}

static change choose_grow(uint64_t *random, uint32_t version)
{
    return choose_some(random, 200, version);
}

static mneme_status run_add(mneme *memory, const change *what, mneme_error *error)
{
    return rel_add(memory, what->first, what->n, what->version, error);
}

/* Beside the records, in another namespace, vectors that nothing can pack: about 1 MB, so that the map must grow. */
static mneme_status run_grow(mneme *memory, const change *what, mneme_error *error)
{
    enum { N = 10, DIM = 65536 };
    uint64_t random = what->version;
    float *vectors = malloc(sizeof *vectors * N * DIM);
    mneme_record records[N];
    char ids[N][24];
    for (size_t i = 0; i < (size_t)N * DIM; i++) vectors[i] = (float)rel_below(&random, 65536) - 32768;
    for (int i = 0; i < N; i++) {
        snprintf(ids[i], sizeof ids[i], "big-%u-%d", what->version, i);
        records[i] =
            (mneme_record){.id = ids[i], .name_space = "big", .vector = vectors + (size_t)i * DIM, .dimension = DIM};
    }
    mneme_status status = mneme_add(memory, records, N, NULL, NULL, error);
    free(vectors);
    return status == MNEME_OK ? run_add(memory, what, error) : status;
}

static mneme_status run_forget(mneme *memory, const change *what, mneme_error *error)
{
    return rel_forget(memory, what->first, what->n, error);
}

/* Adding and compacting in turn, as chance has it; n = 0 compacts. */
static change choose_compact(uint64_t *random, uint32_t version)
{
    return rel_below(random, 2) ? (change){.version = version} : choose_some(random, 40, version);
}

static mneme_status run_compact(mneme *memory, const change *what, mneme_error *error)
{
    return what->n ? run_add(memory, what, error) : mneme_compact(memory, NULL, NULL, error);
}

static const operation operations[] = {
    {"add", false, 150000, open_usual, choose_add, run_add},
    {"forget", false, 150000, open_usual, choose_forget, run_forget},
    {"growing map", true, 400000, open_small_map, choose_grow, run_grow},
    {"compact, add", false, 250000, open_usual, choose_compact, run_compact},
};
enum { N_OPERATIONS = sizeof operations / sizeof operations[0] };

/* ---- the child ---- */

static void tell(int fd, change what, uint32_t done)
{
    what.done = done;
    if (write(fd, &what, sizeof what) != sizeof what) _exit(9);
}

static void work_until_killed(const operation *op, const char *path, uint64_t random, uint32_t version, int fd)
{
    mneme *memory = NULL;
    mneme_error error;
    if (op->open(path, &memory, &error) != MNEME_OK) {
        fprintf(stderr, "child: %s\n", error.message);
        _exit(1);
    }
    for (;; version++) {
        change what = op->choose(&random, version);
        tell(fd, what, 0);
        if (op->run(memory, &what, &error) != MNEME_OK) {
            fprintf(stderr, "child: %s: %s\n", op->name, error.message);
            _exit(2);
        }
        tell(fd, what, 1);
    }
}

/* ---- the parent ---- */

typedef struct totals {
    unsigned trials, acknowledged, under_way, kept; /* kept: of those under way when the child was killed */
} totals;

static void apply(rel_model *model, const change *what)
{
    for (uint32_t i = 0; i < what->n; i++) model->versions[what->first + i] = what->version;
}

/* Everything acknowledged goes into the model; the change under way into *open (n = 0: none). */
static void read_acknowledged(int fd, rel_model *model, change *open, totals *sums, uint32_t *version)
{
    change what;
    bool pending = false;
    *open = (change){0};
    while (read(fd, &what, sizeof what) == sizeof what) {
        *open = what.done ? (change){0} : what;
        pending = !what.done;
        if (what.version >= *version) *version = what.version + 1;
        if (!what.done) continue;
        apply(model, &what);
        sums->acknowledged++;
    }
    sums->under_way += pending;
}

static void kill_child(pid_t child, const char *name)
{
    int status = 0;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s: the child ended on its own: status %d", name, status);
}

static bool same_model(const rel_model *a, const rel_model *b)
{
    return memcmp(a->versions, b->versions, a->n * sizeof *a->versions) == 0;
}

static rel_model new_model(void)
{
    return (rel_model){.versions = calloc(N_RECORDS, sizeof(uint32_t)), .n = N_RECORDS};
}

static void assert_some_vectors(mneme *memory, const rel_model *model, uint64_t *random, const char *when)
{
    for (int i = 0; i < 4; i++) {
        uint32_t number = (uint32_t)rel_below(random, model->n);
        if (model->versions[number]) rel_assert_found_by_vector(memory, number, model->versions[number], when);
    }
}

/* The store holds the model, or the model with the change under way; the model becomes what it holds. */
static void compare_with_model(const char *path, rel_model *model, const change *open, uint64_t *random, totals *sums,
                               const char *when)
{
    mneme *memory = NULL;
    rel_model found = new_model();
    if (rel_open(path, 0, &memory, test_error()) != MNEME_OK) fail_msg("%s: %s", when, test_error()->message);
    rel_assert_sound(memory, when);
    rel_read_all(memory, &found, when);
    if (!same_model(&found, model) && open->n) {
        apply(model, open);
        sums->kept++;
    }
    for (uint32_t i = 0; i < model->n; i++)
        if (found.versions[i] != model->versions[i])
            fail_msg("%s: record %u is in version %u, should be in %u", when, i, found.versions[i], model->versions[i]);
    assert_some_vectors(memory, model, random, when);
    mneme_close(memory);
    free(found.versions);
}

static void remove_store(const char *path, rel_model *model)
{
    char command[1300];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
    memset(model->versions, 0, model->n * sizeof *model->versions);
}

/* Something to forget, replace or compact. */
static void refill(const char *path, rel_model *model, uint32_t version)
{
    mneme *memory = NULL;
    change all = {.n = N_RECORDS, .version = version};
    assert_ok(rel_open(path, 0, &memory, test_error()));
    assert_ok(run_add(memory, &all, test_error()));
    mneme_close(memory);
    apply(model, &all);
}

static void run_trial(const operation *op, const char *path, rel_model *model, uint64_t *random, uint32_t *version,
                      totals *sums)
{
    int ends[2];
    change open;
    char when[80];
    uint64_t child_random = rel_random(random);
    /* A busy machine may need longer to get anything done. */
    uint64_t window = (uint64_t)op->window_us << (sums->acknowledged ? 0 : sums->trials < 6 ? sums->trials : 6);
    int64_t delay = (int64_t)rel_below(random, window);
    snprintf(when, sizeof when, "%s, trial %u, killed after %lld us", op->name, sums->trials, (long long)delay);
    if (op->fresh) remove_store(path, model);
    assert_int_equal(pipe(ends), 0);
    pid_t child = rel_fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
        work_until_killed(op, path, child_random, *version, ends[1]);
    }
    close(ends[1]);
    rel_sleep_us(delay);
    kill_child(child, when);
    read_acknowledged(ends[0], model, &open, sums, version);
    close(ends[0]);
    sums->trials++;
    compare_with_model(path, model, &open, random, sums, when);
}

static void print_totals(const char *name, const totals *sums)
{
    printf("%-12s %5u killed, %6u changes acknowledged and there; %4u under way: %4u there, %4u not, none in part\n",
           name, sums->trials, sums->acknowledged, sums->under_way, sums->kept, sums->under_way - sums->kept);
    fflush(stdout);
}

static void change_killed_at_any_moment_is_whole_or_not_there(void **state)
{
    (void)state;
    char path[1200];
    uint64_t random = rel_seed();
    uint32_t version = 1;
    unsigned trials = rel_long() ? 800 : 24;
    rel_model model = new_model();
    for (int i = 0; i < N_OPERATIONS; i++) {
        totals sums = {0};
        snprintf(path, sizeof path, "%s/store-%d", g_dir, i);
        remove_store(path, &model);
        for (unsigned trial = 0; trial < trials / N_OPERATIONS; trial++) {
            if (!operations[i].fresh && trial % 2 == 0) refill(path, &model, version++);
            run_trial(&operations[i], path, &model, &random, &version, &sums);
        }
        print_totals(operations[i].name, &sums);
        assert_true(sums.acknowledged > 0);
    }
    free(model.versions);
}

/* ---- the command ---- */

static void write_corpus(const char *path, uint32_t version)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (uint32_t number = 0; number < N_RECORDS; number++) {
        rel_record made;
        rel_record_make(&made, number, version);
        const mneme_record *r = &made.record;
        fprintf(file,
                "{\"id\":\"%s\",\"text\":\"%s\",\"metadata\":%s,\"time\":\"1970-01-01T00:%02lld:%02lld.%03lldZ\",",
                r->id, r->text, r->metadata, (long long)(r->time_ms / 60000), (long long)(r->time_ms / 1000 % 60),
                (long long)(r->time_ms % 1000));
        if (r->session) fprintf(file, "\"session\":\"%s\",", r->session);
        fprintf(file, "\"vector\":[");
        for (int i = 0; i < REL_DIM; i++) fprintf(file, "%s%.9g", i ? "," : "", (double)r->vector[i]);
        fprintf(file, "]}\n");
        rel_record_free(&made);
    }
    assert_int_equal(fclose(file), 0);
}

static pid_t start_index(const char *store, const char *corpus)
{
    char batch[40];
    snprintf(batch, sizeof batch, "index.batch_records=%d", INDEX_BATCH);
    pid_t child = rel_fork();
    if (child == 0) {
        execlp("mneme", "mneme", "--store", store, "--quiet", "--set", batch, "index", corpus, (char *)NULL);
        _exit(127);
    }
    return child;
}

static void run_index(const char *store, const char *corpus)
{
    int status = 1;
    waitpid(start_index(store, corpus), &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The batches go in one after the other: so many records are new, from the first on, and the rest is as before. */
static uint32_t count_new(const rel_model *found, const rel_model *before, uint32_t version, const char *when)
{
    uint32_t n = 0;
    while (n < found->n && found->versions[n] == version) n++;
    for (uint32_t i = n; i < found->n; i++)
        if (found->versions[i] != before->versions[i])
            fail_msg("%s: %u records are new, yet record %u is in version %u", when, n, i, found->versions[i]);
    if (n % INDEX_BATCH != 0 && n != found->n) fail_msg("%s: %u records are new: half a batch", when, n);
    return n;
}

static void index_killed_at_any_moment_goes_on_where_it_was(void **state)
{
    (void)state;
    char store[1200], corpus[1200], when[80];
    uint64_t random = rel_seed(), n_new = 0;
    unsigned trials = rel_long() ? 200 : 8;
    rel_model before = new_model(), found = new_model();
    snprintf(store, sizeof store, "%s/indexed", g_dir);
    snprintf(corpus, sizeof corpus, "%s/corpus.jsonl", g_dir);
    write_corpus(corpus, 1);
    int64_t started = rel_now_us();
    run_index(store, corpus);
    int64_t took = rel_now_us() - started;
    for (unsigned trial = 0; trial < trials; trial++) {
        mneme *memory = NULL;
        if (trial % 4 == 0) remove_store(store, &before);
        write_corpus(corpus, trial + 2);
        pid_t child = start_index(store, corpus);
        int64_t delay = (int64_t)rel_below(&random, (uint64_t)took * 3);
        snprintf(when, sizeof when, "index, trial %u, killed after %lld us", trial, (long long)delay);
        rel_sleep_us(delay);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        assert_ok(rel_open(store, 0, &memory, test_error()));
        rel_assert_sound(memory, when);
        rel_read_all(memory, &found, when);
        n_new += count_new(&found, &before, trial + 2, when);
        mneme_close(memory);
        run_index(store, corpus);
        assert_ok(rel_open(store, 0, &memory, test_error()));
        rel_assert_sound(memory, when);
        rel_read_all(memory, &before, when);
        assert_int_equal(count_new(&before, &found, trial + 2, when), N_RECORDS);
        assert_some_vectors(memory, &before, &random, when);
        mneme_close(memory);
    }
    printf("%-12s %5u killed, after %.0f of %d records on average; the next run added the rest\n", "mneme index",
           trials, (double)n_new / trials, N_RECORDS);
    free(before.versions);
    free(found.versions);
}

static int make_dir(void **state)
{
    (void)state;
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
        cmocka_unit_test(change_killed_at_any_moment_is_whole_or_not_there),
        cmocka_unit_test(index_killed_at_any_moment_goes_on_where_it_was),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
