/* document.c -- a file's bytes as text to remember. */
#include "cli/document.h"

#include "cli/html.h"
#include "cli/output.h"
#include "cli/path.h"
#include "cli/pdf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BINARY_LOOK 8000

void cli_document_free(cli_document *document)
{
    free(document->text);
    free(document->title);
    *document = (cli_document){0};
}

cli_format_kind cli_format_of(const char *path)
{
    static const struct {
        const char *end;
        cli_format_kind format;
    } formats[] = {
        {".md", CLI_FORMAT_MARKDOWN}, {".markdown", CLI_FORMAT_MARKDOWN}, {".html", CLI_FORMAT_HTML},
        {".htm", CLI_FORMAT_HTML},    {".xhtml", CLI_FORMAT_HTML},        {".pdf", CLI_FORMAT_PDF},
        {".jsonl", CLI_FORMAT_JSONL}, {".ndjson", CLI_FORMAT_JSONL},
    };
    const char *dot = strrchr(cli_path_base(path), '.');
    for (size_t i = 0; dot && i < sizeof formats / sizeof *formats; i++)
        if (strcasecmp(dot, formats[i].end) == 0) return formats[i].format;
    return CLI_FORMAT_TEXT;
}

bool cli_is_binary(const char *data, size_t size)
{
    return size > 0 && memchr(data, '\0', size < BINARY_LOOK ? size : BINARY_LOOK) != NULL;
}

static bool is_blank(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r\n\f\v", data[i]) || data[i] == '\0') return false;
    return true;
}

/* ---- Markdown's title ---- */

static size_t indent_of(const char *line, size_t size)
{
    size_t indent = 0;
    while (indent < size && line[indent] == ' ') indent++;
    return indent;
}

/* "## Title ##" -> "Title"; NULL when the line is no heading. Owned. */
static char *heading(const char *line, size_t size)
{
    size_t at = indent_of(line, size), marks = 0;
    if (at > 3) return NULL;
    while (at < size && line[at] == '#') at++, marks++;
    if (marks < 1 || marks > 6 || at >= size || (line[at] != ' ' && line[at] != '\t')) return NULL;
    while (size > at && strchr(" \t\r", line[size - 1])) size--;
    size_t end = size;
    while (end > at && line[end - 1] == '#') end--;
    if (end > at && (line[end - 1] == ' ' || line[end - 1] == '\t')) size = end; /* a closing run of # */
    while (size > at && strchr(" \t", line[size - 1])) size--;
    while (at < size && strchr(" \t", line[at])) at++;
    return at < size ? cli_strndup(line + at, size - at) : NULL;
}

/* A line of = or - under a line of text makes that a heading. */
static bool is_underline(const char *line, size_t size)
{
    size_t n = 0;
    while (size > 0 && strchr(" \t\r", line[size - 1])) size--;
    while (n < size && line[n] == line[0]) n++;
    return size > 0 && n == size && (line[0] == '=' || (line[0] == '-' && n >= 2));
}

static bool is_fence(const char *line, size_t size)
{
    size_t at = indent_of(line, size);
    return at <= 3 && size - at >= 3 && (memcmp(line + at, "```", 3) == 0 || memcmp(line + at, "~~~", 3) == 0);
}

/* The first heading outside of code; owned, NULL = none. */
static char *markdown_title(const char *data, size_t size)
{
    const char *before = NULL; /* the line of text above, which an underline would make a heading */
    size_t before_size = 0;
    bool fenced = false, front_matter = false;
    for (size_t at = 0, number = 0; at < size; number++) {
        const char *line = data + at, *end = memchr(line, '\n', size - at);
        size_t length = end ? (size_t)(end - line) : size - at;
        at += length + 1;
        bool rule = length >= 3 && memcmp(line, "---", 3) == 0 && is_underline(line, length);
        if (number == 0 && rule) {
            front_matter = true;
        } else if (front_matter) {
            front_matter = !rule;
        } else if (is_fence(line, length)) {
            fenced = !fenced;
            before = NULL;
        } else if (!fenced) {
            char *title = heading(line, length);
            if (!title && before && is_underline(line, length)) title = cli_strndup(before, before_size);
            if (title) return title;
            before = is_blank(line, length) || indent_of(line, length) > 3 ? NULL : line;
            before_size = length;
            while (before && before_size > 0 && strchr(" \t\r", before[before_size - 1])) before_size--;
        }
    }
    return NULL;
}

/* ---- formats ---- */

static cli_reading refuse(cli_document *out, const char *reason)
{
    snprintf(out->reason, sizeof out->reason, "%s", reason);
    return CLI_READING_REFUSED;
}

static cli_reading take_text(cli_text *text, cli_document *out)
{
    if (is_blank(text->data, text->size)) {
        cli_text_free(text);
        return CLI_READING_EMPTY;
    }
    out->size = text->size;
    out->text = cli_text_take(text);
    return CLI_READING_FINE;
}

cli_reading cli_document_from(const char *data, size_t size, cli_format_kind format, cli_document *out)
{
    cli_text text = {0};
    size_t mark = cli_mark_size(data, size);
    data += mark, size -= mark;
    if (cli_is_binary(data, size)) return CLI_READING_BINARY;
    if (format == CLI_FORMAT_HTML) {
        if (!cli_html_text(data, size, &text, &out->title, out->reason, sizeof out->reason)) {
            cli_text_free(&text);
            return CLI_READING_REFUSED;
        }
    } else {
        cli_text_append(&text, data, size);
        if (format == CLI_FORMAT_MARKDOWN) out->title = markdown_title(data, size);
    }
    return take_text(&text, out);
}

static cli_reading read_pdf(const char *path, uint64_t max_size, cli_document *out)
{
    cli_text text = {0};
    if (!cli_pdf_text(path, max_size, &text, out->reason, sizeof out->reason)) {
        cli_text_free(&text);
        return CLI_READING_REFUSED;
    }
    return take_text(&text, out);
}

/* The whole of a file; false with the reason when it cannot be read or is too large. */
static bool read_file(const char *path, uint64_t max_size, cli_text *text, cli_document *out)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        refuse(out, strerror(errno));
        return false;
    }
    char piece[65536];
    size_t size;
    while (text->size <= max_size && (size = fread(piece, 1, sizeof piece, file)) > 0)
        cli_text_append(text, piece, size);
    bool failed = ferror(file) != 0;
    if (failed) refuse(out, strerror(errno));
    fclose(file);
    if (!failed && text->size > max_size)
        snprintf(out->reason, sizeof out->reason, "over the size limit of %s (--max-size)", cli_bytes(max_size));
    return !failed && text->size <= max_size;
}

cli_reading cli_document_read(const char *path, cli_format_kind format, uint64_t max_size, cli_document *out)
{
    if (format == CLI_FORMAT_AUTO) format = cli_format_of(path);
    if (format == CLI_FORMAT_PDF) return read_pdf(path, max_size, out);
    cli_text bytes = {0};
    cli_reading reading = CLI_READING_REFUSED;
    if (read_file(path, max_size, &bytes, out)) reading = cli_document_from(bytes.data, bytes.size, format, out);
    cli_text_free(&bytes);
    return reading;
}
