/* test_full_disk.c -- a disk of 4 MiB runs full: the message says so, what was acknowledged is there, reading goes on,
 * and so does writing when there is room again.
 *
 * The disk is a tmpfs in a mount namespace of a child, so that nothing is left behind. Where mounting is not permitted,
 * a limit on the size of files takes its place (and the status is an I/O error, for the disk is not full). */
#include "reliability_support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

enum { DISK_BYTES = 4 << 20, FILLER_BYTES = 1 << 20, BATCH = 10, MOST = 40000 };

static char *g_dir;

/* ---- the disk ---- */

typedef struct disk {
    bool mounted;
    char path[1100], filler[1200];
} disk;

static bool mount_disk(const char *path)
{
    bool alone = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (!alone || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return false;
    return mount("tmpfs", path, "tmpfs", 0, "size=4m,mode=0700") == 0;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static bool make_filler(const disk *d)
{
    char *bytes = calloc(1, FILLER_BYTES);
    int fd = open(d->filler, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    bool made = fd >= 0 && write(fd, bytes, FILLER_BYTES) == FILLER_BYTES;
    if (fd >= 0) close(fd);
    free(bytes);
    return made;
}

static bool make_disk(disk *d)
{
    snprintf(d->path, sizeof d->path, "%s/disk", g_dir);
    snprintf(d->filler, sizeof d->filler, "%s/filler", d->path);
    if (mkdir(d->path, 0700) != 0) return false;
    d->mounted = mount_disk(d->path);
    if (d->mounted) return make_filler(d);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(DISK_BYTES - FILLER_BYTES);
    return true;
}

static void make_room(const disk *d)
{
    if (d->mounted)
        unlink(d->filler);
    else
        limit_files(DISK_BYTES);
}

/* ---- in the child: 0, or the line that went wrong ---- */

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) return __LINE__;                                                                             \
    } while (0)

static bool is_sound(mneme *memory, uint64_t records)
{
    mneme_check_report report;
    rel_lines lines = {""};
    mneme_status status = mneme_check(memory, rel_note_line, NULL, &lines, &report, NULL);
    if (status == MNEME_OK && report.problems == 0 && report.records == records) return true;
    fprintf(stderr, "%llu records for %llu; %s\n", (unsigned long long)report.records, (unsigned long long)records,
            lines.text);
    return false;
}

/* Add batches of new records until one is refused; gives how many records went in. */
static uint32_t add_until_full(mneme *memory, uint32_t from, mneme_status *status, mneme_error *error)
{
    uint32_t n = from;
    for (*status = MNEME_OK; n < MOST; n += BATCH) {
        *status = rel_add(memory, n, BATCH, 1, error);
        if (*status != MNEME_OK) break;
    }
    return n;
}

static bool says_full(const disk *d, mneme_status status, const mneme_error *error)
{
    fprintf(stderr, "  %s\n", error->message);
    if (!strstr(error->message, d->path)) return false;
    return d->mounted ? status == MNEME_ERR_DISK_FULL && strstr(error->message, "No space left")
                      : status == MNEME_ERR_IO;
}

static int fill_and_go_on(const disk *d)
{
    char store[1200];
    mneme *memory = NULL;
    mneme_error error;
    mneme_status status;
    snprintf(store, sizeof store, "%s/store", d->path);
    EXPECT(rel_open(store, 0, &memory, &error) == MNEME_OK);
    uint32_t n = add_until_full(memory, 0, &status, &error);
    EXPECT(status != MNEME_OK && n > 100 && says_full(d, status, &error));
    EXPECT(is_sound(memory, n));
    for (int i = 0; i < 5; i++) EXPECT(rel_add(memory, n, BATCH, 1, &error) == status); /* again and again */
    EXPECT(is_sound(memory, n));
    rel_assert_found_by_vector(memory, n - 1, 1, "on the full disk");
    /* Another process finds the same. */
    mneme_close(memory);
    EXPECT(rel_open(store, 0, &memory, &error) == MNEME_OK);
    EXPECT(is_sound(memory, n));
    make_room(d);
    uint32_t more = add_until_full(memory, n, &status, &error);
    EXPECT(more > n && says_full(d, status, &error));
    EXPECT(is_sound(memory, more));
    mneme_close(memory);
    EXPECT(rel_open(store, MNEME_OPEN_READ_ONLY, &memory, &error) == MNEME_OK);
    EXPECT(is_sound(memory, more));
    mneme_close(memory);
    printf("%s: full after %u records, after making room %u\n",
           d->mounted ? "tmpfs of 4 MiB" : "files of at most 4 MiB", n, more);
    return 0;
}

/* No room for a store at all, then some. */
static int create_without_room(const disk *d)
{
    char store[1200], name[1300], block[4096] = {0};
    mneme *memory = NULL;
    mneme_error error;
    snprintf(store, sizeof store, "%s/late", d->path);
    snprintf(name, sizeof name, "%s/rest", d->path);
    int fd = d->mounted ? open(name, O_WRONLY | O_CREAT, 0600) : -1;
    while (fd >= 0 && write(fd, block, sizeof block) > 0) continue;
    if (fd >= 0) close(fd);
    if (!d->mounted) limit_files(4096);
    mneme_status status = rel_open(store, 0, &memory, &error);
    EXPECT(status != MNEME_OK && says_full(d, status, &error));
    if (d->mounted)
        unlink(name);
    else
        limit_files(DISK_BYTES);
    EXPECT(rel_open(store, 0, &memory, &error) == MNEME_OK);
    EXPECT(rel_add(memory, 0, BATCH, 1, &error) == MNEME_OK);
    EXPECT(is_sound(memory, BATCH));
    mneme_close(memory);
    return 0;
}

static void on_a_disk(int (*run)(const disk *d))
{
    int status = 0, ends[2], line = -1;
    assert_int_equal(pipe(ends), 0);
    pid_t child = rel_fork();
    if (child == 0) {
        disk d = {0};
        line = make_disk(&d) ? run(&d) : -2;
        (void)!write(ends[1], &line, sizeof line);
        fflush(stdout);
        _exit(0);
    }
    close(ends[1]);
    (void)!read(ends[0], &line, sizeof line);
    close(ends[0]);
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) fail_msg("signal %d", WTERMSIG(status));
    if (line == -2) fail_msg("the disk could not be made");
    if (line != 0) fail_msg("line %d is not as expected", line);
}

static void full_disk_is_named_and_loses_nothing(void **state)
{
    (void)state;
    on_a_disk(fill_and_go_on);
}

static void store_that_found_no_room_is_made_later(void **state)
{
    (void)state;
    on_a_disk(create_without_room);
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
        cmocka_unit_test_setup_teardown(full_disk_is_named_and_loses_nothing, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(store_that_found_no_room_is_made_later, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
