/* lines.h -- reading a file line by line without ever holding more than one line. */
#ifndef MN_CLI_LINES_H
#define MN_CLI_LINES_H

#include "cli/text.h"

#define CLI_LINES_PIECE 65536u

typedef struct cli_lines {
    int fd;
    char *piece; /* CLI_LINES_PIECE bytes read ahead, of which [at, size) are still to come */
    size_t at, size;
    size_t limit;    /* bytes of the longest line */
    cli_text line;   /* the line in hand, without its line break */
    uint64_t number; /* of the line in hand: 1, 2, ... */
    uint64_t bytes;  /* read so far, all lines */
    int error;       /* errno of the read that failed */
} cli_lines;

typedef enum cli_lines_result {
    CLI_LINES_END,
    CLI_LINES_LINE,
    CLI_LINES_TOO_LONG, /* the line is passed over; reading can go on */
    CLI_LINES_FAILED    /* see error */
} cli_lines_result;

/* fd: borrowed; limit: bytes of the longest line that is wanted. */
void cli_lines_begin(cli_lines *lines, int fd, size_t limit);
void cli_lines_end(cli_lines *lines);
/* The next line into lines->line ("\r\n" counts as one break). */
cli_lines_result cli_lines_next(cli_lines *lines);
/* What the next lines begin with, without taking it: up to CLI_LINES_PIECE bytes, borrowed; 0 at the end. */
size_t cli_lines_peek(cli_lines *lines, const char **data);
/* Append all that is left to `out`, at most max_size bytes; false when there is more, or reading failed (see error). */
bool cli_lines_rest(cli_lines *lines, uint64_t max_size, cli_text *out);

#endif
