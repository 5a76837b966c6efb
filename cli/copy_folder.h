/* copy_folder.h -- putting a folder in place whole or not at all. */
#ifndef MN_CLI_COPY_FOLDER_H
#define MN_CLI_COPY_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

/* For all: false = `reason` is one line, and nothing has changed. */

/* Copy the regular files and folders below `from` (hidden ones left out, symbolic links to files as files) to the
 * folder `to`, whose parents are made. The copy is made beside `to` and put in place at the end. */
bool cli_copy_folder(const char *from, const char *to, bool replace, char *reason, size_t reason_size);
/* The same, but `to` becomes a symbolic link to `from` (absolute). */
bool cli_link_folder(const char *from, const char *to, bool replace, char *reason, size_t reason_size);
/* Rename `from` to `to` on the same file system. replace: what is there (a folder or a link) is exchanged in one step
 * and then removed; without, it is an error. */
bool cli_place_folder(const char *from, const char *to, bool replace, char *reason, size_t reason_size);

/* mkdir -p for the folders above `path`. */
bool cli_make_parents(const char *path, char *reason, size_t reason_size);
/* Remove a file, a link (not what it points to) or a folder with all that is in it; what cannot be removed stays. */
void cli_remove_tree(const char *path);

#endif
