/* staging.c -- the folder in which a model is put together. */
#include "cli/staging.h"

#include "cli/arguments.h"
#include "cli/copy_folder.h"
#include "cli/hub_file.h"
#include "cli/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int failed(const char *what, const char *path)
{
    cli_complain("cannot %s %s: %s", what, path, strerror(errno));
    return CLI_EXIT_FAILURE;
}

/* The lock ends with the process, however it ends. */
static int lock_folder(cli_staging *staging, const char *model)
{
    staging->lock = open(staging->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (staging->lock < 0) return failed("open", staging->folder);
    if (flock(staging->lock, LOCK_EX | LOCK_NB) == 0) return CLI_GO_ON;
    if (errno != EWOULDBLOCK) return failed("lock", staging->folder);
    cli_complain("another mneme is pulling %s at this moment (it works in %s)", model, staging->folder);
    return CLI_EXIT_FAILURE;
}

int cli_staging_open(cli_staging *staging, const char *home, const char *model)
{
    char reason[600];
    const char *slash = strchr(model, '/');
    *staging = (cli_staging){.lock = -1};
    staging->folder = slash ? cli_format("%s/.pull/%.*s--%s", home, (int)(slash - model), model, slash + 1)
                            : cli_format("%s/.pull/%s", home, model);
    staging->files = cli_format("%s/" CLI_STAGING_FILES, staging->folder);
    if (!cli_make_parents(staging->files, reason, sizeof reason)) {
        cli_complain("%s", reason);
        return CLI_EXIT_FAILURE;
    }
    int code = lock_folder(staging, model);
    if (code == CLI_GO_ON && mkdir(staging->files, 0777) != 0 && errno != EEXIST) code = failed("make", staging->files);
    return code;
}

static bool listed(const cli_hub *hub, const char *name)
{
    for (size_t i = 0; i < hub->n_files; i++)
        if (strcmp(hub->files[i].name, name) == 0) return true;
    return false;
}

/* below: the folder in files/ that is gone through, with a '/' at its end; "" = files/ itself. */
static void tidy_folder(const cli_staging *staging, const cli_hub *hub, const char *below)
{
    char *folder = cli_format("%s/%s", staging->files, below);
    DIR *entries = opendir(folder);
    for (const struct dirent *entry = entries ? readdir(entries) : NULL; entry; entry = readdir(entries)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *name = cli_format("%s%s", below, entry->d_name), *path = cli_format("%s/%s", staging->files, name);
        struct stat info;
        bool there = lstat(path, &info) == 0;
        if (there && S_ISDIR(info.st_mode) && !*below) {
            char *inner = cli_format("%s/", name);
            tidy_folder(staging, hub, inner);
            free(inner);
            rmdir(path); /* where nothing is left in it */
        } else if (there && !listed(hub, name)) {
            cli_remove_tree(path);
        }
        free(path);
        free(name);
    }
    if (entries) closedir(entries);
    free(folder);
}

void cli_staging_tidy(const cli_staging *staging, const cli_hub *hub)
{
    tidy_folder(staging, hub, "");
}

int cli_staging_room(const cli_staging *staging, uint64_t bytes)
{
    struct statvfs info;
    if (statvfs(staging->folder, &info) != 0) return CLI_GO_ON; /* writing will say what is wrong */
    uint64_t room = (uint64_t)info.f_bavail * info.f_frsize;
    if (room >= bytes) return CLI_GO_ON;
    cli_complain("%s: %s are to come, and there is room for %s", staging->folder, cli_bytes(bytes), cli_bytes(room));
    return CLI_EXIT_FAILURE;
}

void cli_staging_remove(const cli_staging *staging)
{
    cli_remove_tree(staging->folder);
    char *above = cli_strdup(staging->folder), *slash = strrchr(above, '/');
    *slash = '\0';
    rmdir(above); /* where no other pull has left anything */
    free(above);
}

void cli_staging_close(cli_staging *staging)
{
    if (staging->lock >= 0) close(staging->lock);
    free(staging->folder);
    free(staging->files);
    *staging = (cli_staging){.lock = -1};
}
