/* output_file.h -- a file that a command writes beside what it prints; "-" is standard output. */
#ifndef MN_CLI_OUTPUT_FILE_H
#define MN_CLI_OUTPUT_FILE_H

#include <stdio.h>

/* Returns CLI_GO_ON, or CLI_EXIT_FAILURE after saying why the file cannot be written. path NULL: *out = NULL. */
int cli_output_open(const char *path, FILE **out);
/* Close it (NULL: nothing). Returns `code`, or CLI_EXIT_FAILURE after saying that not all could be written. */
int cli_output_close(const char *path, FILE *out, int code);

#endif
