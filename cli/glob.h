/* glob.h -- patterns of file names, as git's wildmatch reads them.
 *
 *   ?      one byte, not '/'            [a-z] [!a] [[:alpha:]]   one byte of a set, never '/'
 *   *      any run without '/'          \c                       the byte c itself
 *   **     between slashes (or at an end): any number of folders
 *
 * Matching takes time in proportion to pattern x text whatever the pattern is. */
#ifndef MN_CLI_GLOB_H
#define MN_CLI_GLOB_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_glob cli_glob;

/* Never NULL; a pattern that cannot be read (an open "[", a "\" at the end) matches nothing. Owned: cli_glob_free. */
cli_glob *cli_glob_new(const char *pattern, size_t size);
void cli_glob_free(cli_glob *glob);
/* Does the whole of text[0, size) match? */
bool cli_glob_match(const cli_glob *glob, const char *text, size_t size);

#endif
