/* path.h -- paths as text, for the command. */
#ifndef MN_CLI_PATH_H
#define MN_CLI_PATH_H

#include <stdbool.h>

/* "a" + "b" -> "a/b"; an absolute b stays b; a of "" or "." gives b. Owned (free). */
char *cli_path_join(const char *folder, const char *name);
/* Without empty and "." parts, ".." resolved by letters alone; "" and "." give ".". Owned (free). */
char *cli_path_normalize(const char *path);
/* The path from "/" on, normalized; symbolic links stay. Owned (free). */
char *cli_path_absolute(const char *path);
/* The part after the last '/'; borrowed. */
const char *cli_path_base(const char *path);
/* Where `path` stands below `folder` (both normalized): "b" for "a/b" in "a", "." for the same; NULL when it does not.
 * Borrowed from path, or static. In ".", every relative path that does not begin with ".." is. */
const char *cli_path_below(const char *path, const char *folder);
bool cli_is_folder(const char *path); /* symbolic links followed */

#endif
