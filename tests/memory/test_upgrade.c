/* test_upgrade.c -- a store of format 1 (tests/reliability/stores/make_store.sh says what is in it) is brought to the
 * present format by whoever may write to it: whole, alone, and as it was when it does not come to an end. */
#include "test_support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *g_dir;

static void run(const char *format, const char *a, const char *b)
{
    char command[4000];
    snprintf(command, sizeof command, format, a, b);
    assert_int_equal(system(command), 0);
}

/* A fresh copy of the store; its path in a static buffer. */
static const char *old_store(const char *name)
{
    static char path[1200];
    char archive[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    snprintf(archive, sizeof archive, "%s/tests/reliability/stores/format-1.tar.gz", test_source_dir());
    assert_int_equal(mkdir(path, 0700), 0);
    run("tar -xzf '%s' --strip-components=1 -C '%s' store", archive, path);
    return path;
}

static bool exists(const char *store, const char *file)
{
    char path[1300];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", store, file);
    return lstat(path, &info) == 0;
}

/* All 55 records, sound, with what three of them say. */
static void assert_upgraded(mneme *memory)
{
    mneme_check_report report;
    mneme_stats *stats = NULL;
    mneme_record_list *list = NULL;
    assert_ok(mneme_check(memory, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
    assert_int_equal(report.records, 55);
    assert_int_equal(report.vectors, 55);
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    assert_int_equal(stats->format, 2);
    mneme_stats_free(stats);
    assert_ok(mneme_get(memory, "", "turn 7", &list, test_error()));
    const mneme_record *r = &list->items[0];
    assert_string_equal(r->title, "Talk 3");
    assert_string_equal(r->session, "talk-3");
    assert_string_equal(r->speaker, "Ana");
    assert_string_equal(r->metadata, "{\"place\":\"pier 1\",\"n\":7,\"calm\":true}");
    assert_true(r->has_time && r->time_ms == 1488967620000); /* 2017-03-08T10:07:00Z */
    mneme_record_list_free(list);
    assert_ok(mneme_get(memory, "", "replaced", &list, test_error()));
    assert_string_equal(list->items[0].text, "Version 2 of a text that was replaced.");
    mneme_record_list_free(list);
    assert_ok(mneme_get(memory, "", "long", &list, test_error()));
    assert_true(list->items[0].text_size > 65536);
    assert_non_null(strstr(list->items[0].text, "Line 1499 holds a word or two"));
    mneme_record_list_free(list);
    assert_int_equal(mneme_get(memory, "", "forgotten", &list, NULL), MNEME_ERR_NOT_FOUND);
}

static void store_of_format_1_is_upgraded_when_opened_for_writing(void **state)
{
    (void)state;
    const char *path = old_store("writing");
    mneme *memory = NULL;
    mneme_error error;
    run("cp '%s/data.mdb' '%s/first'", path, g_dir);
    assert_int_equal(mneme_open(path, NULL, MNEME_OPEN_READ_ONLY, &memory, &error), MNEME_ERR_FORMAT);
    assert_non_null(strstr(error.message, "mneme compact"));
    run("cmp '%s/data.mdb' '%s/first'", path, g_dir);
    assert_ok(mneme_open(path, NULL, MNEME_OPEN_EXISTING, &memory, test_error()));
    assert_upgraded(memory);
    run("cmp '%s/data.mdb.format-1' '%s/first'", path, g_dir);
    assert_false(exists(path, "data.mdb.compact") || exists(path, "data.mdb.new"));
    const mneme_record added = {
        .id = "new", .text = "written to the upgraded store", .vector = (const float[8]){1}, .dimension = 8};
    assert_ok(mneme_add(memory, &added, 1, NULL, NULL, test_error()));
    mneme_close(memory);
    assert_ok(mneme_open(path, NULL, MNEME_OPEN_READ_ONLY, &memory, test_error()));
    mneme_close(memory);
}

static void upgrade_waits_until_no_other_program_has_the_store_open(void **state)
{
    (void)state;
    const char *path = old_store("shared");
    char lock[1300];
    mneme *memory = NULL;
    snprintf(lock, sizeof lock, "%s/lock.mdb", path);
    assert_int_equal(mneme_open(path, NULL, MNEME_OPEN_READ_ONLY, &memory, NULL),
                     MNEME_ERR_FORMAT); /* makes lock.mdb */
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t other = fork();
    if (other == 0) { /* what LMDB of the other program holds */
        struct flock shared = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
        int fd = open(lock, O_RDWR);
        if (fcntl(fd, F_SETLK, &shared) != 0 || write(ready[1], "", 1) != 1) _exit(1);
        pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(mneme_open(path, NULL, MNEME_OPEN_EXISTING, &memory, test_error()), MNEME_ERR_BUSY);
    assert_non_null(strstr(test_error()->message, "another program has it open"));
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    assert_ok(mneme_open(path, NULL, MNEME_OPEN_EXISTING, &memory, test_error()));
    assert_upgraded(memory);
    mneme_close(memory);
    close(ready[0]);
    close(ready[1]);
}

static void upgrade_killed_at_random_begins_again(void **state)
{
    (void)state;
    int n = getenv("MNEME_TEST_LONG") ? 300 : 12;
    uint32_t seed = 5;
    for (int i = 0; i < n; i++) {
        char name[32];
        mneme *memory = NULL;
        snprintf(name, sizeof name, "killed%d", i);
        const char *path = old_store(name);
        pid_t child = fork();
        if (child == 0) {
            if (mneme_open(path, NULL, MNEME_OPEN_EXISTING, &memory, NULL) != MNEME_OK) _exit(1);
            pause();
        }
        seed = seed * 1664525u + 1013904223u;
        usleep((seed >> 8) % 60000);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        assert_ok(mneme_open(path, NULL, MNEME_OPEN_EXISTING, &memory, test_error()));
        assert_upgraded(memory);
        assert_true(exists(path, "data.mdb.format-1"));
        assert_false(exists(path, "data.mdb.compact") || exists(path, "data.mdb.new"));
        mneme_close(memory);
    }
}

static void upgrade_that_cannot_keep_the_old_file_changes_nothing(void **state)
{
    (void)state;
    const char *path = old_store("taken");
    mneme *memory = NULL;
    run("cp '%s/data.mdb' '%s/data.mdb.format-1'", path, path);
    run("cp '%s/data.mdb' '%s/before'", path, g_dir);
    assert_int_not_equal(mneme_open(path, NULL, MNEME_OPEN_EXISTING, &memory, test_error()), MNEME_OK);
    assert_non_null(strstr(test_error()->message, "data.mdb.format-1"));
    run("cmp '%s/data.mdb' '%s/before'", path, g_dir);
    assert_false(exists(path, "data.mdb.compact") || exists(path, "data.mdb.new"));
    run("rm '%s/%s'", path, "data.mdb.format-1");
    assert_ok(mneme_open(path, NULL, MNEME_OPEN_EXISTING, &memory, test_error()));
    assert_upgraded(memory);
    mneme_close(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_of_format_1_is_upgraded_when_opened_for_writing),
        cmocka_unit_test(upgrade_waits_until_no_other_program_has_the_store_open),
        cmocka_unit_test(upgrade_killed_at_random_begins_again),
        cmocka_unit_test(upgrade_that_cannot_keep_the_old_file_changes_nothing),
    };
    g_dir = test_make_dir();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_remove_dir(g_dir);
    return failed;
}
