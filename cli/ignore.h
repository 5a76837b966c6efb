/* ignore.h -- one ignore file (.gitignore, .mnemeignore): which paths below its folder are left out.
 *
 * Reads and decides as git does; tests/cli/test_ignore.c holds it against `git check-ignore`. That a file in a folder
 * that is left out cannot come back is the walk's part: it never goes into such a folder. */
#ifndef MN_CLI_IGNORE_H
#define MN_CLI_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_ignore cli_ignore;

typedef enum cli_verdict {
    CLI_VERDICT_NONE, /* no pattern speaks of it */
    CLI_VERDICT_OUT,  /* left out */
    CLI_VERDICT_IN    /* taken back by a "!" pattern */
} cli_verdict;

/* Patterns from text, one a line. Never NULL; free with cli_ignore_free. */
cli_ignore *cli_ignore_parse(const char *text, size_t size);
/* From a file; NULL when there is none, or it is empty or cannot be read. At most 1 MiB is read. */
cli_ignore *cli_ignore_load(const char *path);
void cli_ignore_free(cli_ignore *ignore);
/* The last pattern that matches decides. path: below the ignore file's folder, without a leading "/". */
cli_verdict cli_ignore_judge(const cli_ignore *ignore, const char *path, bool is_folder);

#endif
