/* export_file.c -- where an export goes. */
#include "cli/export_file.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 18)

static bool failed(const char *what, const char *path)
{
    cli_complain("cannot %s %s: %s", what, path, strerror(errno));
    return false;
}

/* "folder" of "folder/name", "." of "name"; owned. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return cli_strdup(".");
    return slash == path ? cli_strdup("/") : cli_strndup(path, (size_t)(slash - path));
}

static bool is_in_store(const char *path, const char *store)
{
    struct stat folder, store_folder;
    char *name = folder_of(path);
    bool same = stat(name, &folder) == 0 && stat(store, &store_folder) == 0 && folder.st_dev == store_folder.st_dev &&
                folder.st_ino == store_folder.st_ino;
    free(name);
    return same;
}

int cli_export_file_open(cli_export_file *file, const char *path, const char *store)
{
    struct stat info;
    *file = (cli_export_file){.fd = -1};
    if (!path || strcmp(path, "-") == 0) return CLI_GO_ON;
    file->path = path;
    char *real = realpath(path, NULL);
    file->target = real ? real : cli_strdup(path);
    if (is_in_store(file->target, store)) {
        cli_complain("%s is in the store's own folder; name another file", path);
        return CLI_EXIT_USAGE;
    }
    if (stat(file->target, &info) == 0 && !S_ISREG(info.st_mode)) {
        file->fd = open(file->target, O_WRONLY | O_CLOEXEC);
    } else {
        file->temporary = cli_format("%s.partial-XXXXXX", file->target);
        file->fd = mkostemp(file->temporary, O_CLOEXEC);
    }
    if (file->fd >= 0) return CLI_GO_ON;
    failed("write", path);
    free(file->temporary);
    file->temporary = NULL;
    return CLI_EXIT_FAILURE;
}

static bool write_ahead(cli_export_file *file)
{
    const char *at = file->ahead.data;
    for (size_t left = file->ahead.size; left > 0;) {
        ssize_t put = write(file->fd, at, left);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return failed("write", file->path);
        at += put;
        left -= (size_t)put;
    }
    return true;
}

bool cli_export_file_write(cli_export_file *file, bool all)
{
    if (file->ahead.size == 0 || (!all && file->ahead.size < PIECE)) return true;
    bool fine = file->path ? write_ahead(file) : cli_print_bytes(file->ahead.data, file->ahead.size);
    file->bytes += file->ahead.size;
    cli_text_clear(&file->ahead);
    return fine;
}

static bool sync_folder(const char *path)
{
    char *folder = folder_of(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool fine = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL); /* some file systems cannot */
    if (!fine) failed("sync", folder);
    if (fd >= 0) close(fd);
    free(folder);
    return fine;
}

bool cli_export_file_commit(cli_export_file *file)
{
    if (!cli_export_file_write(file, true)) return false;
    if (!file->temporary) return true;
    if (fsync(file->fd) != 0) return failed("sync", file->path);
    if (rename(file->temporary, file->target) != 0) return failed("write", file->path);
    free(file->temporary);
    file->temporary = NULL;
    return sync_folder(file->target);
}

void cli_export_file_close(cli_export_file *file)
{
    if (file->temporary) unlink(file->temporary);
    if (file->fd >= 0) close(file->fd);
    free(file->temporary);
    free(file->target);
    cli_text_free(&file->ahead);
    *file = (cli_export_file){.fd = -1};
}
