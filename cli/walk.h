/* walk.h -- the files that a path stands for.
 *
 * A file stands for itself. A folder stands for every regular file below it, in the order of their names, except
 *   - hidden files and folders (names that begin with "."), and the store itself,
 *   - what .gitignore and .mnemeignore leave out: those in the folder and below, and those above it up to the root of
 *     the git repository that the folder lies in; the nearer file decides, .mnemeignore before .gitignore,
 *   - what `exclude` names, and what `include` (where given) does not name,
 *   - symbolic links: none is followed below the path itself, so the walk never leaves the folder and never loops. */
#ifndef MN_CLI_WALK_H
#define MN_CLI_WALK_H

#include "cli/text.h"

typedef struct cli_file {
    char *path;    /* the path walked, with the names below it */
    uint64_t size; /* bytes */
    bool named;    /* it was the path itself, not found in a folder */
} cli_file;

typedef struct cli_files {
    cli_file *items;
    size_t n, capacity;
    uint64_t bytes; /* of all */
} cli_files;        /* start from {0} */
void cli_files_free(cli_files *files);

typedef struct cli_walk_options {
    const cli_list *include, *exclude; /* patterns in the form of .gitignore; NULL = none */
    const char *store;                 /* folder of the store: never walked; NULL = none */
    /* Called for each path that cannot be read, with one line that says why. */
    void (*refused)(void *context, const char *path, const char *reason);
    void *context;
} cli_walk_options;

/* Append the files that `path` stands for. False when the path itself is not there (nothing was reported then). */
bool cli_walk(const char *path, const cli_walk_options *options, cli_files *files);

#endif
