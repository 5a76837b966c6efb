/* lines.c -- reading a file line by line. */
#include "cli/lines.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cli_lines_begin(cli_lines *lines, int fd, size_t limit)
{
    *lines = (cli_lines){.fd = fd, .limit = limit, .piece = cli_alloc(CLI_LINES_PIECE, 1), .hash = CLI_LINES_HASH};
}

void cli_lines_end(cli_lines *lines)
{
    cli_text_free(&lines->line);
    free(lines->piece);
    *lines = (cli_lines){.fd = -1};
}

uint64_t cli_lines_hash(uint64_t hash, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Read more behind what is there; false at the end and after a failure. There must be room. */
static bool read_more(cli_lines *lines)
{
    ssize_t size;
    do size = read(lines->fd, lines->piece + lines->size, CLI_LINES_PIECE - lines->size);
    while (size < 0 && errno == EINTR);
    if (size < 0) lines->error = errno;
    if (size <= 0) return false;
    lines->size += (size_t)size;
    lines->bytes += (uint64_t)size;
    return true;
}

/* Read ahead when nothing is left; false at the end and after a failure. */
static bool fill(cli_lines *lines)
{
    if (lines->at < lines->size) return true;
    lines->at = lines->size = 0;
    return read_more(lines);
}

/* The next `size` bytes of the piece are done with. */
static void take(cli_lines *lines, size_t size)
{
    if (lines->hashing) lines->hash = cli_lines_hash(lines->hash, lines->piece + lines->at, size);
    lines->at += size;
}

uint64_t cli_lines_taken(const cli_lines *lines)
{
    return lines->bytes - (lines->size - lines->at);
}

void cli_lines_skip(cli_lines *lines, uint64_t size)
{
    while (size > 0 && fill(lines)) {
        size_t here = lines->size - lines->at;
        if (here > size) here = (size_t)size;
        take(lines, here);
        size -= here;
    }
}

/* What follows lies at lines->piece: up to a line break at least, or the whole piece, or the end. */
static void read_ahead(cli_lines *lines)
{
    if (lines->at) memmove(lines->piece, lines->piece + lines->at, lines->size - lines->at);
    lines->size -= lines->at;
    lines->at = 0;
    for (size_t seen = 0; lines->size < CLI_LINES_PIECE;) {
        if (memchr(lines->piece + seen, '\n', lines->size - seen)) break;
        seen = lines->size;
        if (!read_more(lines)) break;
    }
}

/* The byte-order mark that is next: at the beginning of a file, where it is no part of the first line. */
static size_t next_mark(cli_lines *lines)
{
    if (cli_lines_taken(lines) > 0) return 0;
    read_ahead(lines);
    return cli_mark_size(lines->piece, lines->size);
}

size_t cli_lines_peek(cli_lines *lines, const char **data)
{
    read_ahead(lines);
    size_t mark = next_mark(lines);
    *data = lines->piece + mark;
    return lines->size - mark;
}

/* A part of the line into lines->line; false: over the limit. */
static bool add_part(cli_lines *lines, const char *data, size_t size)
{
    if (lines->longer == CLI_LINES_REFUSE && size > lines->limit - lines->line.size) return false;
    if (lines->longer == CLI_LINES_REFUSE)
        cli_text_append(&lines->line, data, size);
    else
        cli_long_line_feed(&lines->shortener, data, size, &lines->line);
    return lines->longer != CLI_LINES_CUT_STRINGS || lines->line.size <= 2 * lines->limit;
}

cli_lines_result cli_lines_next(cli_lines *lines)
{
    bool any = false, too_long = false, ended = false;
    take(lines, next_mark(lines));
    cli_text_clear(&lines->line);
    cli_long_line_begin(&lines->shortener, lines->longer == CLI_LINES_CUT_STRINGS, lines->limit);
    while (!ended && fill(lines)) {
        const char *start = lines->piece + lines->at;
        const char *end = memchr(start, '\n', lines->size - lines->at);
        size_t length = end ? (size_t)(end - start) : lines->size - lines->at;
        any = true;
        ended = end != NULL;
        too_long = too_long || !add_part(lines, start, length);
        take(lines, length + ended);
    }
    if (lines->error) return CLI_LINES_FAILED;
    if (!any) return CLI_LINES_END;
    lines->number++;
    lines->unended = !ended;
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
        take(lines, size);
    }
    return lines->error == 0;
}

int cli_lines_each(const char *path, size_t limit,
                   int (*see)(void *context, const char *path, const cli_lines *lines), void *context)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), code = CLI_GO_ON;
    if (fd < 0) {
        cli_complain("cannot read %s: %s", path, strerror(errno));
        return CLI_EXIT_USAGE;
    }
    cli_lines lines;
    cli_lines_result got;
    cli_lines_begin(&lines, fd, limit);
    while (code == CLI_GO_ON && (got = cli_lines_next(&lines)) != CLI_LINES_END) {
        if (got == CLI_LINES_LINE) {
            bool blank = !lines.line.data || lines.line.data[strspn(lines.line.data, " \t\r")] == '\0';
            if (!blank) code = see(context, path, &lines);
            continue;
        }
        if (got == CLI_LINES_FAILED)
            cli_complain("cannot read %s: %s", path, strerror(lines.error));
        else
            cli_complain("%s:%llu: the line is too long", path, (unsigned long long)lines.number);
        code = CLI_EXIT_USAGE;
    }
    cli_lines_end(&lines);
    close(fd);
    return code;
}
