/* test_backup.c -- mneme_backup: hot, whole, resumed, refused where it must be, and on a disk without room. */
#include "test_support.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DIM = 64 };

static mneme_settings *g_settings;
static char *g_dir;

static const char *path_of(const char *name)
{
    return test_inside(g_dir, name);
}

static mneme *open_flags(const char *name, unsigned flags)
{
    mneme *memory = NULL;
    assert_ok(mneme_open(path_of(name), g_settings, flags, &memory, test_error()));
    return memory;
}

typedef struct filling {
    char text[1001], id[20];
    float vector[DIM];
} filling;

/* Records first .. first + n - 1 in one generation, 1000 bytes of text and a vector each. */
static void fill(mneme *memory, int first, int n)
{
    filling *fillings = calloc((size_t)n, sizeof *fillings);
    mneme_record *records = calloc((size_t)n, sizeof *records);
    for (int i = 0; i < n; i++) {
        filling *f = &fillings[i];
        int number = first + i;
        for (int j = 0; j < 1000; j++) f->text[j] = (char)('a' + (number * 31 + j * j) % 26);
        for (int j = 0; j < DIM; j++) f->vector[j] = (float)((number * 7 + j * 13) % 17 - 8) + 0.5f;
        snprintf(f->id, sizeof f->id, "r%d", number);
        records[i] = (mneme_record){.id = f->id, .text = f->text, .vector = f->vector, .dimension = DIM};
    }
    assert_ok(mneme_add(memory, records, (size_t)n, NULL, NULL, test_error()));
    free(records);
    free(fillings);
}

static uint64_t records_in(const char *name, uint64_t *generation)
{
    mneme *memory = open_flags(name, MNEME_OPEN_READ_ONLY);
    mneme_check_report report;
    mneme_stats *stats = NULL;
    assert_ok(mneme_check(memory, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    uint64_t n = stats->records;
    if (generation) *generation = stats->generation;
    mneme_stats_free(stats);
    mneme_close(memory);
    return n;
}

static off_t size_of(const char *name)
{
    struct stat info;
    return stat(path_of(name), &info) == 0 ? info.st_size : -1;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static mneme_status backup(mneme *memory, const char *name, mneme_backup_result *result)
{
    return mneme_backup(memory, path_of(name), NULL, result, test_error());
}

static void assert_refused(mneme *memory, const char *name, mneme_status status, const char *says)
{
    mneme_backup_result result;
    assert_int_equal(backup(memory, name, &result), status);
    if (!strstr(test_error()->message, says)) fail_msg("not said: %s: %s", says, test_error()->message);
}

/* ---- whole ---- */

static void backup_is_the_store_and_private(void **state)
{
    (void)state;
    mneme *memory = open_flags("plain", 0);
    fill(memory, 0, 50);
    write_file("plain/mneme.yaml", "retrieval:\n  k: 7\n");
    mneme_backup_result result;
    assert_ok(backup(memory, "copies/of/plain", &result));
    struct stat info;
    assert_int_equal(stat(path_of("copies/of/plain"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(stat(path_of("copies/of/plain/data.mdb"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(info.st_size, result.bytes);
    assert_int_equal(result.bytes_written, result.bytes);
    assert_int_equal(size_of("copies/of/plain/data.mdb.partial"), -1);
    assert_int_equal(size_of("copies/of/plain/lock.mdb"), -1);
    assert_int_equal(size_of("copies/of/plain/mneme.yaml"), size_of("plain/mneme.yaml"));
    uint64_t generation = 0;
    assert_int_equal(records_in("copies/of/plain", &generation), 50);
    assert_int_equal(generation, result.generation);
    assert_int_equal(generation, 1);
    mneme_close(memory);
}

typedef struct writer {
    mneme *memory;
    atomic_bool stop;
    int n;
} writer;

static void *write_on(void *context)
{
    writer *w = context;
    while (!atomic_load(&w->stop)) fill(w->memory, 1000 + w->n++, 1);
    return NULL;
}

/* 300 records in the first generation, then one in each: a copy's count must fit its generation. */
static void backup_while_others_write_is_of_one_generation(void **state)
{
    (void)state;
    mneme *memory = open_flags("busy", 0);
    fill(memory, 0, 300);
    writer w = {.memory = memory};
    pthread_t thread;
    pthread_create(&thread, NULL, write_on, &w);
    mneme_backup_result results[4];
    for (int i = 0; i < 4; i++) {
        char name[20];
        snprintf(name, sizeof name, "busy copy %d", i);
        assert_ok(backup(memory, name, &results[i]));
    }
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    mneme_close(memory);
    for (int i = 0; i < 4; i++) {
        char name[20];
        uint64_t generation = 0;
        snprintf(name, sizeof name, "busy copy %d", i);
        uint64_t records = records_in(name, &generation);
        assert_int_equal(generation, results[i].generation);
        assert_int_equal(records, 299 + generation);
        if (i > 0) assert_true(generation >= results[i - 1].generation);
    }
}

static void *compact_on(void *context)
{
    writer *w = context;
    while (!atomic_load(&w->stop)) {
        fill(w->memory, 1000 + w->n++, 1);
        assert_ok(mneme_compact(w->memory, NULL, NULL, test_error()));
    }
    return NULL;
}

/* Compaction puts another file in the place of the one that is being copied. */
static void backup_while_the_store_is_compacted_is_whole(void **state)
{
    (void)state;
    mneme *memory = open_flags("compacted", 0);
    fill(memory, 0, 300);
    writer w = {.memory = memory};
    pthread_t thread;
    pthread_create(&thread, NULL, compact_on, &w);
    for (int i = 0; i < 6; i++) {
        char name[30];
        mneme_backup_result result;
        snprintf(name, sizeof name, "compacted copy %d", i % 2); /* an older one is replaced */
        assert_ok(backup(memory, name, &result));
        uint64_t generation = 0;
        assert_true(records_in(name, &generation) >= 300);
        assert_int_equal(generation, result.generation);
    }
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    assert_true(w.n > 0);
    mneme_close(memory);
    assert_int_equal(records_in("compacted", NULL), 300 + w.n);
}

/* ---- again ---- */

static bool cancel_half_way(void *context, uint64_t done, uint64_t total, const char *unit)
{
    (void)context;
    assert_string_equal(unit, "bytes");
    return done < total / 2;
}

static void backup_that_was_cancelled_is_gone_on_with(void **state)
{
    (void)state;
    mneme *memory = open_flags("resumed", 0);
    fill(memory, 0, 2500);
    mneme_backup_options options = MNEME_BACKUP_OPTIONS_INIT;
    options.progress = cancel_half_way;
    mneme_backup_result part, rest;
    mneme_status status = mneme_backup(memory, path_of("resumed copy"), &options, &part, test_error());
    assert_int_equal(status, MNEME_ERR_CANCELLED);
    assert_true(part.bytes_written > 0);
    assert_int_equal(size_of("resumed copy/data.mdb"), -1);
    assert_true(size_of("resumed copy/data.mdb.partial") > 0);
    assert_ok(backup(memory, "resumed copy", &rest));
    /* The store has not changed: what is written in all is the whole, once. */
    assert_int_equal(part.bytes_written + rest.bytes_written, rest.bytes);
    assert_int_equal(records_in("resumed copy", NULL), 2500);
    mneme_close(memory);
}

static void older_backup_is_replaced_and_its_settings_with_it(void **state)
{
    (void)state;
    mneme *memory = open_flags("older", 0);
    fill(memory, 0, 20);
    write_file("older/mneme.yaml", "retrieval:\n  k: 7\n");
    mneme_backup_result result;
    assert_ok(backup(memory, "older copy", &result));
    assert_int_equal(records_in("older copy", NULL), 20);
    fill(memory, 20, 20);
    assert_int_equal(unlink(path_of("older/mneme.yaml")), 0);
    assert_ok(backup(memory, "older copy", &result));
    assert_int_equal(records_in("older copy", NULL), 40);
    assert_int_equal(size_of("older copy/mneme.yaml"), -1);
    mneme_close(memory);
    /* A partial file that is rubbish is written over. */
    write_file("older copy/data.mdb.partial", "rubbish");
    memory = open_flags("older", MNEME_OPEN_READ_ONLY);
    assert_ok(backup(memory, "older copy", &result));
    assert_int_equal(records_in("older copy", NULL), 40);
    mneme_close(memory);
}

/* ---- refused ---- */

static void target_that_would_lose_something_is_refused(void **state)
{
    (void)state;
    mneme *memory = open_flags("source", 0), *other = open_flags("other", 0);
    fill(memory, 0, 5);
    fill(other, 0, 5);
    mneme_backup_result result;
    assert_refused(memory, "source", MNEME_ERR_USAGE, "is in store");
    assert_refused(memory, "source/backup/deep", MNEME_ERR_USAGE, "is in store");
    assert_int_equal(symlink(path_of("source"), path_of("link")), 0);
    assert_refused(memory, "link/backup", MNEME_ERR_USAGE, "is in store");
    assert_refused(memory, "other/../source/x", MNEME_ERR_USAGE, "is in store");
    assert_int_equal(size_of("source/backup"), -1);
    assert_refused(memory, "other", MNEME_ERR_BUSY, "open as a store");
    mneme_close(other);
    assert_refused(memory, "other", MNEME_ERR_USAGE, "another store");
    assert_int_equal(records_in("other", NULL), 5);
    assert_int_equal(mkdir(path_of("full"), 0755), 0);
    write_file("full/thesis.txt", "x");
    assert_refused(memory, "full", MNEME_ERR_USAGE, "thesis.txt");
    write_file("a file", "x");
    assert_true(backup(memory, "a file", &result) != MNEME_OK);
    assert_int_equal(mneme_backup(memory, "", NULL, NULL, test_error()), MNEME_ERR_USAGE);
    /* A copy that somebody went on with is newer than the store. */
    assert_ok(backup(memory, "ahead", &result));
    mneme *ahead = open_flags("ahead", 0);
    fill(ahead, 100, 1);
    mneme_close(ahead);
    assert_refused(memory, "ahead", MNEME_ERR_USAGE, "newer");
    assert_int_equal(records_in("ahead", NULL), 6);
    /* Something that is no store. */
    assert_int_equal(mkdir(path_of("rubbish"), 0755), 0);
    write_file("rubbish/data.mdb", "this is not an LMDB file");
    assert_true(backup(memory, "rubbish", &result) != MNEME_OK);
    assert_non_null(strstr(test_error()->message, "rubbish"));
    mneme_close(memory);
}

/* ---- a damaged store ---- */

/* Noise over `size` bytes of the file, where `needle` lies. */
static void damage_at(const char *name, const char *needle, size_t needle_size, size_t size)
{
    FILE *file = fopen(path_of(name), "r+");
    assert_non_null(file);
    size_t bytes = (size_t)size_of(name);
    char *all = malloc(bytes);
    assert_int_equal(fread(all, 1, bytes, file), bytes);
    const char *at = memmem(all, bytes, needle, needle_size);
    assert_non_null(at);
    size_t from = (size_t)(at - all);
    if (size == 4096) from = from / 4096 * 4096;
    for (size_t i = 0; i < size; i++) all[from + i] ^= (char)(i * 37 + 11);
    assert_int_equal(fseek(file, (long)from, SEEK_SET), 0);
    assert_int_equal(fwrite(all + from, 1, size, file), size);
    fclose(file);
    free(all);
}

/* One byte of a record's id: only its checksum tells. A whole page: its form does. */
static void damaged_copy_takes_the_place_of_no_sound_one(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
        const char *says;
    } cases[] = {{"hurt byte", 1, "record 21 of namespace number"}, {"hurt page", 4096, "page "}};
    for (size_t i = 0; i < 2; i++) {
        char copy[40], file[60], partial[60];
        snprintf(copy, sizeof copy, "%s copy", cases[i].name);
        snprintf(file, sizeof file, "%s/data.mdb", cases[i].name);
        snprintf(partial, sizeof partial, "%s/data.mdb.partial", copy);
        mneme *memory = open_flags(cases[i].name, 0);
        fill(memory, 0, 20);
        const float vector[DIM] = {1};
        const mneme_record record = {.id = "needle-in-the-file", .text = "x", .vector = vector, .dimension = DIM};
        mneme_backup_result result;
        assert_ok(backup(memory, copy, &result));
        assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
        mneme_close(memory);
        damage_at(file, "needle-in-the-file", 18, cases[i].size);
        memory = open_flags(cases[i].name, MNEME_OPEN_READ_ONLY);
        assert_refused(memory, copy, MNEME_ERR_DAMAGED, cases[i].says);
        assert_non_null(strstr(test_error()->message, "mneme check"));
        assert_non_null(strstr(test_error()->message, "export --salvage"));
        assert_int_equal(size_of(partial), -1);
        assert_int_equal(mneme_backup(memory, path_of(copy), NULL, NULL, NULL), MNEME_ERR_DAMAGED);
        mneme_close(memory);
        assert_int_equal(records_in(copy, NULL), 20);
    }
}

/* ---- copies that were gone on with ---- */

static void copy_store(const char *from, const char *to)
{
    char file[60], target[60];
    snprintf(file, sizeof file, "%s/data.mdb", from);
    snprintf(target, sizeof target, "%s/data.mdb", to);
    size_t bytes = (size_t)size_of(file);
    char *all = malloc(bytes);
    FILE *in = fopen(path_of(file), "r");
    assert_int_equal(mkdir(path_of(to), 0700), 0);
    FILE *out = fopen(path_of(target), "w");
    assert_non_null(in);
    assert_non_null(out);
    assert_int_equal(fread(all, 1, bytes, in), bytes);
    assert_int_equal(fwrite(all, 1, bytes, out), bytes);
    fclose(in);
    fclose(out);
    free(all);
}

static void fill_closed(const char *name, int first, int n)
{
    mneme *memory = open_flags(name, 0);
    for (int i = 0; i < n; i++) fill(memory, first + i, 1);
    mneme_close(memory);
}

static void copy_with_changes_of_its_own_is_not_replaced(void **state)
{
    (void)state;
    fill_closed("first", 0, 5);
    copy_store("first", "second");
    copy_store("first", "untouched");
    mneme_backup_result result;
    mneme *memory = open_flags("second", 0);
    fill(memory, 200, 1);
    assert_ok(backup(memory, "untouched", &result)); /* a state that the store was in */
    fill_closed("first", 100, 1);
    assert_refused(memory, "first", MNEME_ERR_USAGE, "never had"); /* of the same generation */
    fill(memory, 201, 3);
    assert_refused(memory, "first", MNEME_ERR_USAGE, "never had"); /* of an older one */
    mneme_close(memory);
    assert_int_equal(records_in("first", NULL), 6);
    assert_int_equal(records_in("untouched", NULL), 6);
}

/* A compaction begins the log anew; then it is the mark that tells. */
static void backup_that_is_older_than_the_log_is_replaced_while_its_mark_fits(void **state)
{
    (void)state;
    mneme *memory = open_flags("log", 0);
    fill(memory, 0, 5);
    mneme_backup_result result;
    assert_ok(backup(memory, "log copy", &result));
    assert_ok(backup(memory, "log used", &result));
    mneme_close(memory);
    copy_store("log", "log bare");
    fill_closed("log used", 100, 1);
    memory = open_flags("log", 0);
    fill(memory, 5, 5);
    assert_ok(mneme_compact(memory, NULL, NULL, test_error()));
    assert_refused(memory, "log used", MNEME_ERR_USAGE, "cannot be told");
    assert_refused(memory, "log bare", MNEME_ERR_USAGE, "cannot be told");
    assert_ok(backup(memory, "log copy", &result));
    mneme_close(memory);
    assert_int_equal(records_in("log copy", NULL), 10);
    assert_int_equal(records_in("log used", NULL), 6);
    assert_int_equal(records_in("log bare", NULL), 5);
}

static void older_backup_that_is_open_elsewhere_is_left_alone(void **state)
{
    (void)state;
    int ready[2], done[2];
    mneme *memory = open_flags("watched", 0);
    fill(memory, 0, 5);
    mneme_backup_result result;
    assert_ok(backup(memory, "watched copy", &result));
    mneme_close(memory); /* an open store is not carried over fork */
    assert_int_equal(pipe(ready) | pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte = 0;
        mneme *copy = NULL;
        if (mneme_open(path_of("watched copy"), g_settings, 0, &copy, NULL) != MNEME_OK) _exit(1);
        if (write(ready[1], "x", 1) != 1 || read(done[0], &byte, 1) != 1) _exit(2);
        mneme_close(copy);
        _exit(0);
    }
    char byte = 0;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    memory = open_flags("watched", 0);
    fill(memory, 5, 5);
    assert_refused(memory, "watched copy", MNEME_ERR_BUSY, "open in another process");
    assert_int_equal(write(done[1], "x", 1), 1);
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_ok(backup(memory, "watched copy", &result));
    assert_int_equal(result.bytes_written, 0); /* the partial file was whole by then */
    mneme_close(memory);
    assert_int_equal(records_in("watched copy", NULL), 10);
}

/* ---- no room ---- */

/* A limit on the size of files is met as a full disk is: by a short write, then an error. */
static void backup_without_room_says_so_and_goes_on_later(void **state)
{
    (void)state;
    mneme *memory = open_flags("tight", 0);
    fill(memory, 0, 500);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    rlim_t room = (rlim_t)size_of("tight/data.mdb") / 2 + 123;
    tight.rlim_cur = room;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    mneme_backup_result part, rest;
    setrlimit(RLIMIT_FSIZE, &tight);
    mneme_status status = backup(memory, "tight copy", &part);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_true(status != MNEME_OK);
    assert_non_null(strstr(test_error()->message, "data.mdb.partial"));
    assert_int_equal(part.bytes_written, room);
    assert_int_equal(size_of("tight copy/data.mdb"), -1);
    assert_ok(backup(memory, "tight copy", &rest));
    assert_true(rest.bytes_written <= rest.bytes - room + 4096); /* the page that was cut is written again */
    mneme_close(memory);
    assert_int_equal(records_in("tight", NULL), 500);
    assert_int_equal(records_in("tight copy", NULL), 500);
}

static void backup_out_of_memory_leaves_all_as_before(void **state)
{
    (void)state;
    mneme *memory = open_flags("memory", 0);
    fill(memory, 0, 5);
    bool done = false;
    for (size_t n = 1; !done && n < 200; n++) {
        mneme_backup_result result;
        mn_alloc_fail_after(n);
        mneme_status status = backup(memory, "memory copy", &result);
        mn_alloc_fail_after(0);
        if (status != MNEME_OK) assert_int_equal(status, MNEME_ERR_MEMORY);
        done = status == MNEME_OK;
    }
    assert_true(done);
    mneme_close(memory);
    assert_int_equal(records_in("memory copy", NULL), 5);
}

static int set_up(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    return mneme_settings_new(&g_settings, NULL) == MNEME_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    mneme_settings_free(g_settings);
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backup_is_the_store_and_private),
        cmocka_unit_test(backup_while_others_write_is_of_one_generation),
        cmocka_unit_test(backup_while_the_store_is_compacted_is_whole),
        cmocka_unit_test(backup_that_was_cancelled_is_gone_on_with),
        cmocka_unit_test(older_backup_is_replaced_and_its_settings_with_it),
        cmocka_unit_test(target_that_would_lose_something_is_refused),
        cmocka_unit_test(damaged_copy_takes_the_place_of_no_sound_one),
        cmocka_unit_test(copy_with_changes_of_its_own_is_not_replaced),
        cmocka_unit_test(backup_that_is_older_than_the_log_is_replaced_while_its_mark_fits),
        cmocka_unit_test(older_backup_that_is_open_elsewhere_is_left_alone),
        cmocka_unit_test(backup_without_room_says_so_and_goes_on_later),
        cmocka_unit_test(backup_out_of_memory_leaves_all_as_before),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
