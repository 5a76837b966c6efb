/* export_line.h -- records as the lines of JSON that `export` writes and `import` and `index` read.
 *
 *     {"mneme_export":1,"encoder":"all-MiniLM-L6-v2","fingerprint":"0123456789abcdef","dimension":384,"vectors":"int12"}
 *     {"id":"1","namespace":"","text":"...","chunks":[{"start":0,"end":40,"vector":[0.0123456789,...]}]}
 *
 * The first line is there only when the vectors are. */
#ifndef MN_CLI_EXPORT_LINE_H
#define MN_CLI_EXPORT_LINE_H

#include "cli/text.h"
#include "mneme.h"

#define CLI_EXPORT_VERSION 1

/* What the first line says. */
typedef struct cli_export_header {
    char *encoder; /* owned (free); NULL = none, vectors of the records' own at most */
    uint64_t fingerprint;
    uint32_t dimension;
    const char *vectors; /* how the store kept them; static; NULL = not said, as in one that was salvaged */
} cli_export_header;

/* Append a line, with its line break. */
void cli_export_header_line(cli_text *out, const mneme_stats *stats);
void cli_export_record_line(cli_text *out, const mneme_record *record);

/* Is it a first line? Then *out is filled, or *reason (NULL at first) says why it cannot be used. */
bool cli_export_header_read(const char *line, size_t size, cli_export_header *out, const char **reason);

/* Append a number that reads back as the same float: at most nine significant digits, the same in every locale. */
void cli_text_float(cli_text *out, float value);

#endif
