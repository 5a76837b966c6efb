/* long_line.h -- what is kept of a line that is longer than any encoder takes in.
 *
 * An encoder reads a text up to its window: some hundred tokens. A token may take long to come, though, behind white
 * space or a word without end. So of a text over 64 KB, runs of white space are kept as one, and of a run of ASCII
 * letters and digits as many as make the word too long for any vocabulary (a tokenizer's limit is at most 1,000); what
 * is left is kept up to a limit. Neither changes a token before the limit. */
#ifndef MN_CLI_LONG_LINE_H
#define MN_CLI_LONG_LINE_H

#include "cli/text.h"

typedef struct cli_long_line {
    bool json;    /* shorten each string of a JSON value, not the line */
    size_t limit; /* bytes kept of a text: of the line, or of each string */
    size_t kept;  /* of the text in hand */
    size_t word;  /* ASCII letters and digits in a row, up to here */
    bool after_space;
    bool full; /* the rest of the text is dropped */
    bool in_string;
    char escape[6]; /* JSON: an escape that is being read */
    size_t escape_size;
} cli_long_line;

void cli_long_line_begin(cli_long_line *line, bool json, size_t limit);

/* Append to `out` what is kept of the next `size` bytes of the line. Characters are kept or dropped whole. In JSON, all
 * that is wrong stays wrong, so that the parser finds it. */
void cli_long_line_feed(cli_long_line *line, const char *data, size_t size, cli_text *out);

#endif
