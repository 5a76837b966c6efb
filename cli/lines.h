/* lines.h -- reading a file line by line without ever holding more than one line. */
#ifndef MN_CLI_LINES_H
#define MN_CLI_LINES_H

#include "cli/long_line.h"

#define CLI_LINES_PIECE 65536u

/* What becomes of a line over the limit. */
typedef enum cli_lines_long {
    CLI_LINES_REFUSE,      /* passed over: CLI_LINES_TOO_LONG */
    CLI_LINES_CUT,         /* cut: long_line.h */
    CLI_LINES_CUT_STRINGS, /* JSON: each string is cut; over twice the limit even so: CLI_LINES_TOO_LONG */
} cli_lines_long;

typedef struct cli_lines {
    int fd;
    char *piece; /* CLI_LINES_PIECE bytes read ahead, of which [at, size) are still to come */
    size_t at, size;
    size_t limit; /* bytes */
    cli_lines_long longer;
    cli_long_line shortener;
    cli_text line;   /* the line in hand, without its line break */
    uint64_t number; /* of the line in hand: 1, 2, ... */
    bool unended;    /* the line in hand is the last one and has no line break */
    uint64_t bytes;  /* read so far, all lines */
    bool hashing;
    uint64_t hash; /* FNV-1a of all bytes taken, up to the end of the line in hand; kept if hashing */
    int error;     /* errno of the read that failed */
} cli_lines;

#define CLI_LINES_HASH UINT64_C(0xcbf29ce484222325) /* where a hash begins */
uint64_t cli_lines_hash(uint64_t hash, const char *data, size_t size);

typedef enum cli_lines_result {
    CLI_LINES_END,
    CLI_LINES_LINE,
    CLI_LINES_TOO_LONG, /* the line is passed over; reading can go on */
    CLI_LINES_FAILED    /* see error */
} cli_lines_result;

/* fd: borrowed; limit: bytes of the longest line that is wanted. Longer lines are refused unless `longer` is set. */
void cli_lines_begin(cli_lines *lines, int fd, size_t limit);
void cli_lines_end(cli_lines *lines);
/* The next line into lines->line ("\r\n" counts as one break; a byte-order mark before the first is left out). */
cli_lines_result cli_lines_next(cli_lines *lines);
/* Bytes taken so far, up to the end of the line in hand. */
uint64_t cli_lines_taken(const cli_lines *lines);
/* Take `size` bytes without looking at them; fewer only at the end of the file, or after a failure (see error). */
void cli_lines_skip(cli_lines *lines, uint64_t size);
/* What the next lines begin with, without taking it: up to a line break at least, or CLI_LINES_PIECE bytes, or the end,
 * of which a byte-order mark is left out; borrowed; 0 at the end. */
size_t cli_lines_peek(cli_lines *lines, const char **data);
/* Append all that is left to `out`, at most max_size bytes; false when there is more, or reading failed (see error). */
bool cli_lines_rest(cli_lines *lines, uint64_t max_size, cli_text *out);

/* Every line of a file that is not blank: see(context, path, lines) returns CLI_GO_ON, or the exit code to stop with.
 * CLI_GO_ON at the end; CLI_EXIT_USAGE after saying that the file cannot be read, or which line is too long. */
int cli_lines_each(const char *path, size_t limit, int (*take)(void *context, const char *path, const cli_lines *lines),
                   void *context);

#endif
