/* row_file.h -- reading small tables of text: one row a line, its columns parted by tabs or by white space.
 *
 *     cli_row_file rows;
 *     int code = cli_row_file_open(&rows, path);
 *     while (code == CLI_GO_ON && cli_row_file_next(&rows, 3, 4)) ... rows.items[0 .. rows.n - 1] ...
 *     cli_row_file_close(&rows);
 *
 * The whole file is in memory until the end, and the columns point into it. One thread. */
#ifndef MN_CLI_ROW_FILE_H
#define MN_CLI_ROW_FILE_H

#include "cli/text.h"

#define CLI_ROW_COLUMNS_MAX 8

typedef struct cli_row_file {
    const char *path; /* borrowed */
    cli_text file;
    size_t at;     /* where the next line begins */
    uint64_t line; /* number of the line in hand: 1, 2, ... */
    const char *items[CLI_ROW_COLUMNS_MAX];
    size_t n; /* columns of the line in hand, counted up to CLI_ROW_COLUMNS_MAX; 0: it holds a NUL byte */
} cli_row_file;

/* Read a file whole. Returns CLI_GO_ON, or CLI_EXIT_USAGE after saying why not. */
int cli_row_file_open(cli_row_file *rows, const char *path);
/* The next line that is not blank; false at the end. It is split at tabs where that gives least..most columns, so that
 * columns may hold spaces; else at any white space. Columns are NUL-terminated and live until the close. */
bool cli_row_file_next(cli_row_file *rows, size_t least, size_t most);
/* The next line as it is, without its line break (a NUL in its place); *size: its bytes. NULL at the end. */
const char *cli_row_file_line(cli_row_file *rows, size_t *size);
void cli_row_file_close(cli_row_file *rows);

#endif
