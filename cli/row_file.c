/* row_file.c -- reading small tables of text. */
#include "cli/row_file.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define READ_BYTES ((size_t)1 << 16)

int cli_row_file_open(cli_row_file *rows, const char *path)
{
    *rows = (cli_row_file){.path = path};
    FILE *file = fopen(path, "r");
    bool fine = file != NULL;
    while (fine) {
        cli_text_reserve(&rows->file, READ_BYTES);
        size_t size = fread(rows->file.data + rows->file.size, 1, READ_BYTES, file);
        rows->file.size += size;
        if (size < READ_BYTES) break;
    }
    fine = fine && !ferror(file);
    if (!fine)
        cli_complain("cannot %s %s: %s", file ? "read" : "open", path, strerror(errno));
    else
        rows->file.data[rows->file.size] = '\0';
    if (file) fclose(file);
    return fine ? CLI_GO_ON : CLI_EXIT_USAGE;
}

void cli_row_file_close(cli_row_file *rows)
{
    cli_text_free(&rows->file);
    rows->n = 0;
}

const char *cli_row_file_line(cli_row_file *rows, size_t *size)
{
    if (rows->at >= rows->file.size) return NULL;
    char *line = rows->file.data + rows->at;
    size_t left = rows->file.size - rows->at;
    char *end = memchr(line, '\n', left);
    *size = end ? (size_t)(end - line) : left;
    rows->at += *size + 1;
    rows->line++;
    if (*size > 0 && line[*size - 1] == '\r') (*size)--;
    line[*size] = '\0';
    return line;
}

/* Up to CLI_ROW_COLUMNS_MAX columns of a line, without changing it. */
static size_t count(const char *line, const char *separators)
{
    size_t n = 0;
    for (line += strspn(line, separators); *line && n < CLI_ROW_COLUMNS_MAX; line += strspn(line, separators), n++)
        line += strcspn(line, separators);
    return n;
}

bool cli_row_file_next(cli_row_file *rows, size_t least, size_t most)
{
    size_t size, by_tabs;
    const char *line;
    do line = cli_row_file_line(rows, &size);
    while (line && size == strspn(line, " \t\v\f"));
    rows->n = 0;
    if (!line) return false;
    if (memchr(line, '\0', size)) return true;
    by_tabs = count(line, "\t");
    const char *separators = by_tabs >= least && by_tabs <= most ? "\t" : " \t\v\f";
    char *part = rows->file.data + (line - rows->file.data);
    for (part += strspn(part, separators); *part && rows->n < CLI_ROW_COLUMNS_MAX; part += strspn(part, separators)) {
        rows->items[rows->n++] = part;
        part += strcspn(part, separators);
        if (*part) *part++ = '\0';
    }
    return true;
}
