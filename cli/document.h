/* document.h -- a file's bytes as text to remember.
 *
 *   text      as it is (a byte order mark is taken off)
 *   Markdown  as it is; the title is its first heading
 *   HTML      its readable text (html.h); the title is its <title>
 *   PDF       what pdftotext makes of it, where that is installed
 *   JSONL     is not read here but line by line: see json_lines.h */
#ifndef MN_CLI_DOCUMENT_H
#define MN_CLI_DOCUMENT_H

#include "cli/text.h"

typedef enum cli_format_kind {
    CLI_FORMAT_AUTO, /* by the name, and for standard input by the content */
    CLI_FORMAT_TEXT,
    CLI_FORMAT_MARKDOWN,
    CLI_FORMAT_HTML,
    CLI_FORMAT_PDF,
    CLI_FORMAT_JSONL
} cli_format_kind;
#define CLI_FORMAT_CHOICES "auto|text|markdown|html|pdf|jsonl"

/* What the end of the name says; text where it says nothing. */
cli_format_kind cli_format_of(const char *path);

typedef enum cli_reading {
    CLI_READING_FINE,
    CLI_READING_BINARY, /* not text */
    CLI_READING_EMPTY,  /* nothing but white space */
    CLI_READING_REFUSED /* see reason */
} cli_reading;

typedef struct cli_document {
    char *text; /* owned, NUL-terminated; may hold NUL bytes and invalid UTF-8 */
    size_t size;
    char *title;      /* owned; NULL = none found inside */
    char reason[256]; /* why it was refused, one line */
} cli_document;       /* start from {0} */
void cli_document_free(cli_document *document);

/* Read a file of at most max_size bytes. */
cli_reading cli_document_read(const char *path, cli_format_kind format, uint64_t max_size, cli_document *out);
/* The same for bytes that are there already (not PDF). */
cli_reading cli_document_from(const char *data, size_t size, cli_format_kind format, cli_document *out);

/* Does it look like something other than text? Looks at the first 8 kB, as git does. */
bool cli_is_binary(const char *data, size_t size);

#endif
