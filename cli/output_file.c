/* output_file.c -- a file that a command writes beside what it prints. */
#include "cli/output_file.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <errno.h>
#include <string.h>

int cli_output_open(const char *path, FILE **out)
{
    *out = NULL;
    if (!path) return CLI_GO_ON;
    *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    if (*out) return CLI_GO_ON;
    cli_complain("cannot write %s: %s", path, strerror(errno));
    return CLI_EXIT_FAILURE;
}

int cli_output_close(const char *path, FILE *out, int code)
{
    if (!out) return code;
    bool failed = ferror(out) != 0;
    if ((out == stdout ? fflush(out) : fclose(out)) == 0 && !failed) return code;
    cli_complain("cannot write %s: %s", out == stdout ? "to standard output" : path, strerror(errno));
    return CLI_EXIT_FAILURE;
}
