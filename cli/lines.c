/* lines.c -- reading a file line by line. */
#include "cli/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cli_lines_begin(cli_lines *lines, int fd, size_t limit)
{
    *lines = (cli_lines){.fd = fd, .limit = limit, .piece = cli_alloc(CLI_LINES_PIECE, 1)};
}

void cli_lines_end(cli_lines *lines)
{
    cli_text_free(&lines->line);
    free(lines->piece);
    *lines = (cli_lines){.fd = -1};
}

/* Read ahead when nothing is left; false at the end and after a failure. */
static bool fill(cli_lines *lines)
{
    if (lines->at < lines->size) return true;
    ssize_t size;
    do size = read(lines->fd, lines->piece, CLI_LINES_PIECE);
    while (size < 0 && errno == EINTR);
    if (size < 0) lines->error = errno;
    lines->at = 0;
    lines->size = size > 0 ? (size_t)size : 0;
    lines->bytes += lines->size;
    return size > 0;
}

size_t cli_lines_peek(cli_lines *lines, const char **data)
{
    bool some = fill(lines);
    *data = lines->piece + lines->at;
    return some ? lines->size - lines->at : 0;
}

cli_lines_result cli_lines_next(cli_lines *lines)
{
    bool any = false, too_long = false, ended = false;
    cli_text_clear(&lines->line);
    while (!ended && fill(lines)) {
        const char *start = lines->piece + lines->at;
        const char *end = memchr(start, '\n', lines->size - lines->at);
        size_t length = end ? (size_t)(end - start) : lines->size - lines->at;
        any = true;
        ended = end != NULL;
        too_long = too_long || length > lines->limit - lines->line.size;
        if (!too_long) cli_text_append(&lines->line, start, length);
        lines->at += length + ended;
    }
    if (lines->error) return CLI_LINES_FAILED;
    if (!any) return CLI_LINES_END;
    lines->number++;
    if (too_long) return CLI_LINES_TOO_LONG;
    cli_text *line = &lines->line;
    if (line->size && line->data[line->size - 1] == '\r') line->data[--line->size] = '\0';
    return CLI_LINES_LINE;
}

bool cli_lines_rest(cli_lines *lines, uint64_t max_size, cli_text *out)
{
    while (fill(lines)) {
        size_t size = lines->size - lines->at;
        if (size > max_size - out->size) return false;
        cli_text_append(out, lines->piece + lines->at, size);
        lines->at = lines->size;
    }
    return lines->error == 0;
}
