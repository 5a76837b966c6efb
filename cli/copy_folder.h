/* copy_folder.h -- copying a folder whole or not at all. */
#ifndef MN_CLI_COPY_FOLDER_H
#define MN_CLI_COPY_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

/* Copy the regular files and folders below `from` (hidden ones left out, symbolic links to files as files) to the new
 * folder `to`, whose parents are made. The copy is made beside `to` and renamed at the end. False: `reason` is one
 * line, and nothing is left behind. */
bool cli_copy_folder(const char *from, const char *to, char *reason, size_t reason_size);

#endif
