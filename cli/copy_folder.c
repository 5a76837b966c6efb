/* copy_folder.c -- copying, linking and moving a folder into place, whole or not at all. */
#include "cli/copy_folder.h"

#include "cli/path.h"
#include "cli/stop.h"
#include "cli/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 16

typedef struct copy_run {
    char *reason;
    size_t reason_size;
} copy_run;

static bool fail(const copy_run *run, const char *what, const char *path)
{
    snprintf(run->reason, run->reason_size, "cannot %s %s: %s", what, path, strerror(errno));
    return false;
}

static bool copy_bytes(const copy_run *run, int in, int out, const char *from, const char *to)
{
    char piece[1 << 16];
    ssize_t size;
    while ((size = read(in, piece, sizeof piece)) > 0) {
        if (cli_stop_asked()) return errno = EINTR, fail(run, "copy", from);
        for (ssize_t at = 0, wrote; at < size; at += wrote)
            if ((wrote = write(out, piece + at, (size_t)(size - at))) < 0) return fail(run, "write", to);
    }
    return size == 0 || fail(run, "read", from);
}

static bool copy_file(const copy_run *run, const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return fail(run, "read", from);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool fine = out >= 0 ? copy_bytes(run, in, out, from, to) : fail(run, "write", to);
    if (out >= 0 && close(out) != 0 && fine) fine = fail(run, "write", to);
    close(in);
    return fine;
}

static bool copy_into(const copy_run *run, const char *from, const char *to, unsigned depth);

static bool copy_entry(const copy_run *run, const char *from, const char *to, unsigned depth)
{
    struct stat info;
    if (stat(from, &info) != 0) return fail(run, "read", from);
    if (S_ISREG(info.st_mode)) return copy_file(run, from, to);
    return !S_ISDIR(info.st_mode) || copy_into(run, from, to, depth + 1);
}

static bool copy_into(const copy_run *run, const char *from, const char *to, unsigned depth)
{
    errno = ELOOP;
    if (depth > DEPTH_MAX) return fail(run, "copy", from);
    DIR *folder = opendir(from);
    if (!folder) return fail(run, "read", from);
    bool fine = mkdir(to, 0755) == 0 || fail(run, "make", to);
    for (const struct dirent *entry = readdir(folder); fine && entry; entry = readdir(folder)) {
        if (entry->d_name[0] == '.') continue;
        char *inner_from = cli_path_join(from, entry->d_name), *inner_to = cli_path_join(to, entry->d_name);
        fine = copy_entry(run, inner_from, inner_to, depth);
        free(inner_to);
        free(inner_from);
    }
    closedir(folder);
    return fine;
}

bool cli_make_parents(const char *path, char *reason, size_t reason_size)
{
    const copy_run run = {reason, reason_size};
    char *folder = cli_strdup(path);
    bool fine = true;
    for (char *slash = strchr(folder + 1, '/'); slash && fine; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        fine = mkdir(folder, 0777) == 0 || errno == EEXIST || fail(&run, "make", folder);
        *slash = '/';
    }
    free(folder);
    return fine;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    return remove(path);
}

void cli_remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- putting in place ---- */

/* For file systems without an exchange: the old one steps aside first. */
static bool replace_in_two_steps(const char *from, const char *to)
{
    char *aside = cli_format("%s.old-%ld", to, (long)getpid());
    bool fine = rename(to, aside) == 0;
    if (fine && rename(from, to) != 0) {
        int why = errno;
        if (rename(aside, to) != 0) why = errno;
        errno = why;
        fine = false;
    }
    if (fine) cli_remove_tree(aside);
    free(aside);
    return fine;
}

bool cli_place_folder(const char *from, const char *to, bool replace, char *reason, size_t reason_size)
{
    const copy_run run = {reason, reason_size};
    struct stat info;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return true;
    bool there = lstat(to, &info) == 0;
    if (there && !replace) return errno = EEXIST, fail(&run, "make", to);
    if (!there) return rename(from, to) == 0 || fail(&run, "make", to);
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0) {
        cli_remove_tree(from);
        return true;
    }
    return replace_in_two_steps(from, to) || fail(&run, "replace", to);
}

bool cli_copy_folder(const char *from, const char *to, bool replace, char *reason, size_t reason_size)
{
    const copy_run run = {reason, reason_size};
    char *part = cli_format("%s.part-%ld", to, (long)getpid());
    bool fine = cli_make_parents(part, reason, reason_size) && copy_into(&run, from, part, 0) &&
                cli_place_folder(part, to, replace, reason, reason_size);
    if (!fine) cli_remove_tree(part);
    free(part);
    return fine;
}

bool cli_link_folder(const char *from, const char *to, bool replace, char *reason, size_t reason_size)
{
    const copy_run run = {reason, reason_size};
    char *part = cli_format("%s.part-%ld", to, (long)getpid());
    bool fine = cli_make_parents(part, reason, reason_size) && (symlink(from, part) == 0 || fail(&run, "make", part)) &&
                cli_place_folder(part, to, replace, reason, reason_size);
    if (!fine) cli_remove_tree(part);
    free(part);
    return fine;
}
