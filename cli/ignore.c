/* ignore.c -- one ignore file: its patterns, the last that matches decides. */
#include "cli/ignore.h"

#include "cli/glob.h"
#include "cli/path.h"
#include "cli/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IGNORE_FILE_BYTES ((size_t)1 << 20)

typedef struct pattern {
    cli_glob *glob;
    bool negated;     /* "!": takes back */
    bool folder_only; /* "/" at the end */
    bool anchored;    /* a "/" elsewhere: matches the path from the ignore file's folder, else the name alone */
} pattern;

struct cli_ignore {
    pattern *patterns;
    size_t n, capacity;
};

/* Bytes of a line without trailing spaces, unless escaped by a backslash. */
static size_t trimmed(const char *line, size_t size)
{
    size_t end = 0;
    for (size_t at = 0; at < size; at++) {
        if (line[at] == '\\') {
            if (++at >= size) return size;
            end = at + 1;
        } else if (line[at] != ' ') {
            end = at + 1;
        }
    }
    return end;
}

static void add_line(cli_ignore *ignore, const char *line, size_t size)
{
    if (size > 0 && line[size - 1] == '\r') size--;
    if (size == 0 || line[0] == '#') return;
    size = trimmed(line, size);
    pattern added = {0};
    if (size > 0 && line[0] == '!') {
        added.negated = true;
        line++, size--;
    }
    if (size > 0 && line[size - 1] == '/') {
        added.folder_only = true;
        size--;
    }
    if (size == 0) return;
    added.anchored = memchr(line, '/', size) != NULL;
    if (line[0] == '/') line++, size--;
    added.glob = cli_glob_new(line, size);
    if (ignore->n == ignore->capacity) {
        ignore->capacity = ignore->capacity ? ignore->capacity * 2 : 16;
        ignore->patterns = cli_realloc(ignore->patterns, ignore->capacity, sizeof *ignore->patterns);
    }
    ignore->patterns[ignore->n++] = added;
}

cli_ignore *cli_ignore_parse(const char *text, size_t size)
{
    cli_ignore *ignore = cli_alloc(1, sizeof *ignore);
    *ignore = (cli_ignore){0};
    size_t mark = cli_mark_size(text, size);
    text += mark, size -= mark;
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t length = end ? (size_t)(end - text) : size;
        add_line(ignore, text, length);
        length += end != NULL;
        text += length;
        size -= length;
    }
    return ignore;
}

cli_ignore *cli_ignore_load(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file) return NULL;
    char *text = cli_alloc(IGNORE_FILE_BYTES, 1);
    size_t size = fread(text, 1, IGNORE_FILE_BYTES, file);
    fclose(file);
    cli_ignore *ignore = size ? cli_ignore_parse(text, size) : NULL;
    free(text);
    return ignore;
}

void cli_ignore_free(cli_ignore *ignore)
{
    if (!ignore) return;
    for (size_t i = 0; i < ignore->n; i++) cli_glob_free(ignore->patterns[i].glob);
    free(ignore->patterns);
    free(ignore);
}

cli_verdict cli_ignore_judge(const cli_ignore *ignore, const char *path, bool is_folder)
{
    const char *name = cli_path_base(path);
    for (size_t i = ignore->n; i-- > 0;) {
        const pattern *now = &ignore->patterns[i];
        if (now->folder_only && !is_folder) continue;
        const char *text = now->anchored ? path : name;
        if (cli_glob_match(now->glob, text, strlen(text))) return now->negated ? CLI_VERDICT_IN : CLI_VERDICT_OUT;
    }
    return CLI_VERDICT_NONE;
}
