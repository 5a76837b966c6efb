/* walk.c -- the files that a path stands for. */
#include "cli/walk.h"

#include "cli/ignore.h"
#include "cli/path.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 256

/* The ignore files of one folder; the frames of the folders above are linked. */
typedef struct ignore_frame {
    const struct ignore_frame *above;
    char *folder; /* absolute */
    cli_ignore *git, *mneme;
} ignore_frame;

typedef struct walk_run {
    const cli_walk_options *options;
    cli_files *files;
    cli_ignore *include, *exclude; /* NULL = none */
    size_t root_size;              /* bytes of the absolute root's path and its "/" */
    bool has_store;
    struct stat store;
} walk_run;

void cli_files_free(cli_files *files)
{
    for (size_t i = 0; i < files->n; i++) free(files->items[i].path);
    free(files->items);
    *files = (cli_files){0};
}

static void add_file(cli_files *files, char *path, uint64_t size, bool named)
{
    if (files->n == files->capacity) {
        files->capacity = files->capacity ? files->capacity * 2 : 64;
        files->items = cli_realloc(files->items, files->capacity, sizeof *files->items);
    }
    files->items[files->n++] = (cli_file){path, size, named};
    files->bytes += size;
}

static void refuse(const walk_run *walker, const char *path, const char *reason)
{
    if (walker->options->refused) walker->options->refused(walker->options->context, path, reason);
}

/* ---- ignore files ---- */

static cli_ignore *load_ignore(const char *folder, const char *name)
{
    char *path = cli_path_join(folder, name);
    cli_ignore *ignore = cli_ignore_load(path);
    free(path);
    return ignore;
}

static void frame_open(ignore_frame *frame, const struct ignore_frame *above, const char *folder)
{
    frame->above = above;
    frame->folder = cli_strdup(folder);
    frame->git = load_ignore(folder, ".gitignore");
    frame->mneme = load_ignore(folder, ".mnemeignore");
}

static void frame_close(ignore_frame *frame)
{
    free(frame->folder);
    cli_ignore_free(frame->git);
    cli_ignore_free(frame->mneme);
}

static bool has_git(const char *folder)
{
    char *path = cli_path_join(folder, ".git");
    bool exists = access(path, F_OK) == 0;
    free(path);
    return exists;
}

/* Frames of the folders above `root` (absolute), down from the root of its git repository; NULL when it is in none. */
static ignore_frame *frames_above(const char *root)
{
    char *folder = cli_strdup(root);
    size_t top = 0; /* bytes of the repository's root */
    for (size_t size = strlen(folder); size > 1 && !top;) {
        folder[size] = '\0';
        if (has_git(folder)) top = size;
        while (size > 1 && folder[size - 1] != '/') size--;
        if (size > 1) size--;
    }
    strcpy(folder, root);
    ignore_frame *above = NULL;
    for (size_t at = top; top && folder[at]; at++) {
        if (folder[at] != '/') continue;
        folder[at] = '\0';
        ignore_frame *now = cli_alloc(1, sizeof *now);
        frame_open(now, above, folder);
        above = now;
        folder[at] = '/';
    }
    free(folder);
    return above;
}

static void frames_free(const ignore_frame *frame_of_above)
{
    while (frame_of_above) {
        ignore_frame *now = (ignore_frame *)(uintptr_t)frame_of_above;
        frame_of_above = now->above;
        frame_close(now);
        free(now);
    }
}

/* The nearest ignore file that speaks of `path` (absolute) decides. */
static bool is_ignored(const ignore_frame *frame, const char *path, bool is_folder)
{
    for (; frame; frame = frame->above) {
        size_t size = strlen(frame->folder);
        const char *below = path + size + (frame->folder[size - 1] != '/');
        cli_verdict verdict = frame->mneme ? cli_ignore_judge(frame->mneme, below, is_folder) : CLI_VERDICT_NONE;
        if (verdict == CLI_VERDICT_NONE && frame->git) verdict = cli_ignore_judge(frame->git, below, is_folder);
        if (verdict != CLI_VERDICT_NONE) return verdict == CLI_VERDICT_OUT;
    }
    return false;
}

/* ---- --include and --exclude ---- */

static cli_ignore *parse_patterns(const cli_list *list)
{
    if (!list || list->n == 0) return NULL;
    cli_text text = {0};
    for (size_t i = 0; i < list->n; i++) cli_text_format(&text, "%s\n", list->items[i]);
    cli_ignore *patterns = cli_ignore_parse(text.data, text.size);
    cli_text_free(&text);
    return patterns;
}

/* below: the path below the folder that is walked. */
static bool is_wanted(const walk_run *walker, const char *below, bool is_folder)
{
    if (walker->exclude && cli_ignore_judge(walker->exclude, below, is_folder) == CLI_VERDICT_OUT) return false;
    if (is_folder || !walker->include) return true;
    return cli_ignore_judge(walker->include, below, false) == CLI_VERDICT_OUT;
}

/* ---- the walk ---- */

static bool is_store(const walk_run *walker, const struct stat *info)
{
    return walker->has_store && info->st_dev == walker->store.st_dev && info->st_ino == walker->store.st_ino;
}

static void walk_folder(const walk_run *walker, const char *path, const char *absolute, const ignore_frame *above,
                        unsigned depth);

static void walk_entry(const walk_run *walker, const char *path, const char *absolute, const ignore_frame *frame,
                       unsigned depth)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        if (errno != ENOENT) refuse(walker, path, strerror(errno)); /* else it went away meanwhile */
        return;
    }
    bool is_folder = S_ISDIR(info.st_mode);
    if ((!is_folder && !S_ISREG(info.st_mode)) || is_store(walker, &info)) return;
    if (is_ignored(frame, absolute, is_folder) || !is_wanted(walker, absolute + walker->root_size, is_folder)) return;
    if (is_folder) walk_folder(walker, path, absolute, frame, depth + 1);
    else add_file(walker->files, cli_strdup(path), (uint64_t)info.st_size, false);
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void walk_folder(const walk_run *walker, const char *path, const char *absolute, const ignore_frame *above,
                        unsigned depth)
{
    if (depth > DEPTH_MAX) {
        refuse(walker, path, "folders nested too deep");
        return;
    }
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, not_hidden, by_name);
    if (n < 0) {
        refuse(walker, path, strerror(errno));
        return;
    }
    ignore_frame here;
    frame_open(&here, above, absolute);
    for (int i = 0; i < n; i++) {
        char *entry = cli_path_join(path, entries[i]->d_name);
        char *entry_absolute = cli_path_join(absolute, entries[i]->d_name);
        walk_entry(walker, entry, entry_absolute, &here, depth);
        free(entry_absolute);
        free(entry);
        free(entries[i]);
    }
    free(entries);
    frame_close(&here);
}

static void walk_root(walk_run *walker, const char *path)
{
    char *absolute = realpath(path, NULL);
    if (!absolute) {
        refuse(walker, path, strerror(errno));
        return;
    }
    ignore_frame *above = frames_above(absolute);
    walker->root_size = strlen(absolute) + (absolute[1] != '\0');
    walk_folder(walker, path, absolute, above, 0);
    frames_free(above);
    free(absolute);
}

bool cli_walk(const char *path, const cli_walk_options *options, cli_files *files)
{
    struct stat info;
    if (stat(path, &info) != 0 && (errno == ENOENT || errno == ENOTDIR)) return false;
    walk_run walker = {.options = options, .files = files};
    walker.include = parse_patterns(options->include);
    walker.exclude = parse_patterns(options->exclude);
    walker.has_store = options->store && stat(options->store, &walker.store) == 0;
    if (stat(path, &info) != 0) refuse(&walker, path, strerror(errno));
    else if (S_ISDIR(info.st_mode)) walk_root(&walker, path);
    else if (!S_ISREG(info.st_mode)) refuse(&walker, path, "not a regular file; '-' reads standard input");
    else if (is_wanted(&walker, cli_path_base(path), false))
        add_file(files, cli_strdup(path), (uint64_t)info.st_size, true);
    cli_ignore_free(walker.include);
    cli_ignore_free(walker.exclude);
    return true;
}
