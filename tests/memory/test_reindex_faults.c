/* test_reindex_faults.c -- reindex cancelled, killed, out of disk, out of memory, with damaged vectors, and with
 * records forgotten in between: the store is as it was, the next call goes on, and nothing of what is forgotten stays.
 *
 * What fails on demand: the calls below, once, the n-th of them while armed. */
#include "memory/reindex_support.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

static atomic_int g_fail_in; /* 0: none fails */
static atomic_bool g_disk_full;

static bool fails(int code)
{
    if (atomic_load(&g_fail_in) == 0 || atomic_fetch_sub(&g_fail_in, 1) != 1) return false;
    errno = code;
    return true;
}

int fsync(int fd)
{
    return fails(EIO) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return fails(EIO) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return fails(ENOSPC) ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return fails(EACCES) ? -1 : (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
}

int ftruncate(int fd, off_t size)
{
    return fails(ENOSPC) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int fstatvfs(int fd, struct statvfs *info)
{
    (void)fd;
    int code = statvfs(g_dir, info);
    if (atomic_load(&g_disk_full)) info->f_bavail = 4;
    return code;
}

/* ---- cancelling ---- */

typedef struct limit {
    uint64_t chunks, calls; /* stop at so many */
    bool by_kill;
    uint64_t seen;
} limit;

static bool stop_at(void *context, uint64_t done, uint64_t total, const char *unit)
{
    limit *l = context;
    (void)total;
    l->seen++;
    bool stop = (l->chunks && strcmp(unit, "chunks") == 0 && done >= l->chunks) || (l->calls && l->seen >= l->calls);
    if (stop && l->by_kill) kill(getpid(), SIGKILL);
    return !stop;
}

static mneme_status reindex_until(mneme *memory, const char *encoder, limit *l, mneme_reindex_result *result)
{
    mneme_reindex_options options = MNEME_REINDEX_OPTIONS_INIT;
    options.encoder = encoder;
    options.progress = stop_at;
    options.context = l;
    return mneme_reindex(memory, &options, result, test_error());
}

/* The store is "wide", and untouched; an unfinished reindex to "narrow" lies beside it. */
static void make_unfinished(const char *name, uint64_t chunks)
{
    limit l = {.chunks = chunks};
    rx_make(name, "wide", NULL);
    mneme *memory = rx_open(name, NULL);
    assert_int_equal(reindex_until(memory, "narrow", &l, NULL), MNEME_ERR_CANCELLED);
    mneme_close(memory);
}

static void *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void finish(const char *name, const char *fresh, uint64_t least_ready, mneme_reindex_result *result)
{
    mneme_reindex_result own;
    if (!result) result = &own;
    mneme *memory = rx_open(name, NULL);
    assert_ok(rx_reindex(memory, "narrow", result));
    assert_true(result->ready >= least_ready);
    assert_int_equal(result->encoded + result->ready, result->chunks);
    mneme_close(memory);
    rx_assert_equal(name, NULL, fresh, "narrow");
}

static void cancelled_reindex_leaves_the_store_and_goes_on_later(void **state)
{
    (void)state;
    rx_make("cancel", "wide", NULL);
    char *before = rx_dump("cancel");
    make_unfinished("cancelled", 700);
    assert_non_null(strstr(test_error()->message, "goes on from there"));
    char *after = rx_dump("cancelled");
    rx_assert_same(before, after);
    free(before);
    free(after);
    rx_make("cancel-fresh", "narrow", NULL);
    finish("cancelled", "cancel-fresh", 500, NULL);
}

static void change(mneme *memory)
{
    rx_add(memory, 0, 3);
    rx_forget(memory, 1);
    rx_add(memory, 300, 0);
}

static void changes_between_two_calls_come_out_right(void **state)
{
    (void)state;
    make_unfinished("between", 700);
    mneme *memory = rx_open("between", NULL);
    change(memory);
    mneme_close(memory);
    rx_make("between-fresh", "narrow", change);
    finish("between", "between-fresh", 300, NULL);
}

static void reindex_with_another_encoder_begins_anew(void **state)
{
    (void)state;
    make_unfinished("third", 700);
    mneme *memory = rx_open("third", NULL);
    mneme_reindex_result result;
    assert_ok(rx_reindex(memory, "table", &result));
    mneme_close(memory);
    rx_make("third-fresh", "table", NULL);
    rx_assert_equal("third", NULL, "third-fresh", "table");
    make_unfinished("given-up", 700);
    memory = rx_open("given-up", NULL);
    assert_ok(rx_reindex(memory, "wide", &result));
    assert_false(result.changed);
    assert_int_not_equal(access(path_of("given-up/reindex.vectors"), F_OK), 0);
    mneme_close(memory);
}

/* ---- killing ---- */

static int run_child(const char *name, limit l)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        mneme *memory = rx_open(name, NULL);
        mneme_status code = reindex_until(memory, "narrow", &l, NULL);
        mneme_close(memory);
        _exit(code == MNEME_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void reindex_killed_again_and_again_ends_in_the_same_store(void **state)
{
    (void)state;
    int trials = getenv("MNEME_TEST_LONG") ? 60 : 6, kills = 0;
    rx_make("kill-fresh", "narrow", NULL);
    uint32_t seed = (uint32_t)getpid();
    printf("seed %u\n", seed);
    for (int i = 0; i < trials; i++) {
        char name[32];
        snprintf(name, sizeof name, "killed-%d", i);
        rx_make(name, "wide", NULL);
        for (int run = 0; run < 3; run++) {
            seed = seed * 1664525u + 1013904223u;
            int status = run_child(name, (limit){.calls = 1 + (seed >> 8) % 120, .by_kill = true});
            if (status == 0) break; /* it was done before */
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            kills++;
            mneme *memory = rx_open(name, NULL);
            rx_assert_sound(memory);
            mneme_close(memory);
        }
        mneme *memory = rx_open(name, NULL);
        assert_ok(rx_reindex(memory, "narrow", NULL));
        mneme_close(memory);
        rx_assert_equal(name, NULL, "kill-fresh", "narrow");
    }
    assert_true(kills > 0);
}

/* ---- damaged files ---- */

static void damaged_vectors_are_encoded_again(void **state)
{
    (void)state;
    size_t size = 0;
    uint32_t seed = 5;
    rx_make("damage-fresh", "narrow", NULL);
    make_unfinished("damage", 1000);
    unsigned char *whole = read_file(path_of("damage/reindex.vectors"), &size);
    for (int trial = 0; trial < 6; trial++) {
        char name[32], file[64];
        unsigned char *bytes = malloc(size);
        size_t kept = size;
        memcpy(bytes, whole, size);
        for (int i = 0; trial < 3 && i < 40; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[64 + (seed >> 4) % (size - 64)] ^= 0x10;
        }
        if (trial == 3) kept = size - 1000; /* cut short within an entry */
        if (trial == 4) bytes[20] ^= 1;     /* in the head */
        if (trial == 5) kept = 17;
        snprintf(name, sizeof name, "damaged-%d", trial);
        snprintf(file, sizeof file, "%s/reindex.vectors", name);
        rx_make(name, "wide", NULL);
        write_file(path_of(file), bytes, kept);
        finish(name, "damage-fresh", trial < 4 ? 400 : 0, NULL);
        free(bytes);
    }
    free(whole);
}

typedef struct spoiler {
    const char *path;
    bool done;
} spoiler;

/* When all vectors are ready: the file is damaged behind reindex's back. */
static bool spoil(void *context, uint64_t done, uint64_t total, const char *unit)
{
    spoiler *s = context;
    (void)unit;
    if (s->done || done < total) return true;
    FILE *file = fopen(s->path, "r+b");
    assert_non_null(file);
    for (long at = 5000; at < 60000; at += 7001) {
        fseek(file, at, SEEK_SET);
        fputs("damage", file);
    }
    fclose(file);
    s->done = true;
    return true;
}

static void vectors_damaged_before_they_are_written_are_encoded_again(void **state)
{
    (void)state;
    rx_make("spoilt", "wide", NULL);
    rx_make("spoilt-fresh", "narrow", NULL);
    mneme *memory = rx_open("spoilt", NULL);
    spoiler s = {.path = path_of("spoilt/reindex.vectors")};
    char path[1200];
    snprintf(path, sizeof path, "%s", s.path);
    s.path = path;
    mneme_reindex_options options = MNEME_REINDEX_OPTIONS_INIT;
    options.encoder = "narrow";
    options.progress = spoil;
    options.context = &s;
    assert_ok(mneme_reindex(memory, &options, NULL, test_error()));
    assert_true(s.done);
    mneme_close(memory);
    rx_assert_equal("spoilt", NULL, "spoilt-fresh", "narrow");
}

/* ---- what is forgotten ---- */

static const char secret[] = "The King can spin straw into gold";

/* Its vector, as `narrow` makes it. */
static void secret_vector(float *vector)
{
    mneme_settings *settings = rx_settings("narrow");
    mneme_encoder *encoder = NULL;
    const char *texts[] = {secret};
    assert_ok(mneme_encoder_open(settings, &encoder, test_error()));
    assert_ok(mneme_encode(encoder, texts, NULL, 1, NULL, vector, test_error()));
    mneme_encoder_close(encoder);
    mneme_settings_free(settings);
}

static bool holds(const char *path, const void *what, size_t size)
{
    size_t n = 0;
    char *bytes = read_file(path, &n);
    bool found = memmem(bytes, n, what, size) != NULL;
    free(bytes);
    return found;
}

static void add_secret(mneme *memory)
{
    const mneme_record record = {.id = "secret", .name_space = "a", .text = secret};
    assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
}

static uint64_t problems(const char *name)
{
    mneme_check_report report;
    mneme *memory = NULL;
    mneme_settings *settings = rx_settings(NULL);
    assert_ok(mneme_open(path_of(name), settings, MNEME_OPEN_READ_ONLY, &memory, test_error()));
    assert_ok(mneme_check(memory, NULL, NULL, NULL, &report, test_error()));
    mneme_close(memory);
    mneme_settings_free(settings);
    return report.problems;
}

static void nothing_of_what_is_forgotten_stays_in_the_unfinished_file(void **state)
{
    (void)state;
    float vector[64];
    char file[1200];
    limit l = {.chunks = 700};
    secret_vector(vector);
    snprintf(file, sizeof file, "%s", path_of("forget/reindex.vectors"));
    rx_make("forget", "wide", add_secret);
    mneme *memory = rx_open("forget", NULL);
    assert_int_equal(reindex_until(memory, "narrow", &l, NULL), MNEME_ERR_CANCELLED);
    /* Namespaces go by name: "" before "a", so the secret need not be there yet; go on until it is. */
    while (!holds(file, vector, sizeof vector)) {
        l.chunks += 700;
        assert_int_equal(reindex_until(memory, "narrow", &l, NULL), MNEME_ERR_CANCELLED);
    }
    size_t size = 0;
    char *with = read_file(file, &size);
    rx_forget_id(memory, "a", "secret");
    assert_false(holds(file, vector, sizeof vector));
    mneme_close(memory);
    assert_int_equal(problems("forget"), 0);

    write_file(file, with, size); /* as if the one who had it open was killed before it could see to it */
    assert_int_equal(problems("forget"), 1);
    memory = rx_open("forget", NULL); /* for writing */
    assert_false(holds(file, vector, sizeof vector));
    rx_assert_sound(memory);
    mneme_close(memory);
    free(with);
    rx_make("forget-fresh", "narrow", add_secret);
    memory = rx_open("forget-fresh", "narrow");
    rx_forget_id(memory, "a", "secret");
    mneme_close(memory);
    finish("forget", "forget-fresh", 500, NULL);
}

/* ---- calls that fail ---- */

static void full_disk_is_told_before_it_begins(void **state)
{
    (void)state;
    rx_make("full", "wide", NULL);
    char *before = rx_dump("full");
    mneme *memory = rx_open("full", NULL);
    atomic_store(&g_disk_full, true);
    assert_int_equal(rx_reindex(memory, "narrow", NULL), MNEME_ERR_DISK_FULL);
    atomic_store(&g_disk_full, false);
    assert_non_null(strstr(test_error()->message, "free disk space"));
    mneme_close(memory);
    char *after = rx_dump("full");
    rx_assert_same(before, after);
    free(before);
    free(after);
}

/* Each call fails in turn: the store is the old one, or, once it was renamed, the new one. */
static void failing_calls_leave_the_old_store_or_the_new_one(void **state)
{
    (void)state;
    mneme_reindex_result result;
    rx_make("calls", "wide", NULL);
    rx_make("calls-fresh", "narrow", NULL);
    char *old = rx_dump("calls"), *fresh = rx_dump("calls-fresh");
    mneme *memory = rx_open("calls", NULL);
    int failures = 0;
    bool done = false;
    for (int n = 1; !done; n += n < 30 ? 1 : 7) {
        atomic_store(&g_fail_in, n);
        mneme_status status = rx_reindex(memory, "narrow", &result);
        done = atomic_exchange(&g_fail_in, 0) > 0;
        if (status != MNEME_OK) {
            failures++;
            assert_true(status == MNEME_ERR_IO || status == MNEME_ERR_DISK_FULL || status == MNEME_ERR_PERMISSION);
        }
        mneme_close(memory);
        char *now = rx_dump("calls");
        rx_assert_same(now, result.changed ? fresh : old);
        free(now);
        if (result.changed && !done) {
            char command[1300];
            snprintf(command, sizeof command, "rm -rf %s", path_of("calls"));
            assert_int_equal(system(command), 0);
            rx_make("calls", "wide", NULL);
        }
        memory = rx_open("calls", NULL);
    }
    printf("%d failures\n", failures);
    assert_true(failures > 10);
    mneme_close(memory);
    rx_assert_equal("calls", NULL, "calls-fresh", "narrow");
    free(old);
    free(fresh);
}

static void failing_allocations_leave_the_old_store(void **state)
{
    (void)state;
    mneme *memory = rx_open("alloc", "table");
    assert_ok(rx_note(memory, "one", "Once upon a time there was a miller."));
    assert_ok(rx_note(memory, "two", "The King came, and he had a daughter who can spin."));
    mneme_close(memory);
    char *old = rx_dump("alloc");
    size_t n = 1, failures = 0;
    mneme_status status = MNEME_ERR_MEMORY;
    memory = rx_open("alloc", NULL);
    for (; status != MNEME_OK; n++) {
        mneme_reindex_result result;
        mn_alloc_fail_after(n);
        status = rx_reindex(memory, "narrow", &result);
        mn_alloc_fail_after(0);
        failures += status != MNEME_OK;
        if (status != MNEME_OK && status != MNEME_ERR_MEMORY) fail_msg("allocation %zu: %s", n, test_error()->message);
        if (status != MNEME_OK && result.changed) break; /* what came after the rename */
        if (status != MNEME_OK && n % 50 == 0) {
            mneme_close(memory);
            char *now = rx_dump("alloc");
            rx_assert_same(now, old);
            free(now);
            memory = rx_open("alloc", NULL);
        }
    }
    printf("%zu allocations\n", failures);
    mneme_close(memory);
    memory = rx_open("alloc-fresh", "narrow");
    assert_ok(rx_note(memory, "one", "Once upon a time there was a miller."));
    assert_ok(rx_note(memory, "two", "The King came, and he had a daughter who can spin."));
    mneme_close(memory);
    rx_assert_equal("alloc", NULL, "alloc-fresh", "narrow");
    free(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelled_reindex_leaves_the_store_and_goes_on_later),
        cmocka_unit_test(changes_between_two_calls_come_out_right),
        cmocka_unit_test(reindex_with_another_encoder_begins_anew),
        cmocka_unit_test(reindex_killed_again_and_again_ends_in_the_same_store),
        cmocka_unit_test(damaged_vectors_are_encoded_again),
        cmocka_unit_test(vectors_damaged_before_they_are_written_are_encoded_again),
        cmocka_unit_test(nothing_of_what_is_forgotten_stays_in_the_unfinished_file),
        cmocka_unit_test(full_disk_is_told_before_it_begins),
        cmocka_unit_test(failing_calls_leave_the_old_store_or_the_new_one),
        cmocka_unit_test(failing_allocations_leave_the_old_store),
    };
    return cmocka_run_group_tests(tests, rx_set_up, rx_tear_down);
}
