/* source_texts.c -- see source_texts.h. */
#include "cli/source_texts.h"

#include "cli/arguments.h"
#include "cli/document.h"
#include "cli/lines.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES ((uint64_t)1 << 30)
#define LINE_MAX_BYTES ((size_t)64 << 20)

void cli_source_texts_free(cli_source_texts *texts)
{
    for (size_t i = 0; i < texts->n; i++) free(texts->items[i]);
    free(texts->items);
    free(texts->sizes);
    free(texts->documents);
    free(texts->title_sizes);
    *texts = (cli_source_texts){0};
}

/* text: taken over. */
static void add(cli_source_texts *texts, char *text, size_t size, size_t title_size, uint64_t document)
{
    if (texts->n == texts->capacity) {
        texts->capacity = texts->capacity ? texts->capacity * 2 : 64;
        texts->items = cli_realloc(texts->items, texts->capacity, sizeof *texts->items);
        texts->sizes = cli_realloc(texts->sizes, texts->capacity, sizeof *texts->sizes);
        texts->documents = cli_realloc(texts->documents, texts->capacity, sizeof *texts->documents);
        texts->title_sizes = cli_realloc(texts->title_sizes, texts->capacity, sizeof *texts->title_sizes);
    }
    texts->documents[texts->n] = document;
    texts->title_sizes[texts->n] = title_size;
    texts->items[texts->n] = text;
    texts->sizes[texts->n++] = size;
}

/* FNV-1a, of a session and its namespace. */
static uint64_t hash_name(uint64_t hash, const char *name)
{
    for (; name && *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001B3u;
    return (hash ^ 0xFF) * 0x100000001B3u;
}

static void add_record(cli_source_texts *texts, const mneme_record *record)
{
    cli_text text = {0};
    if (record->title) cli_text_format(&text, "%s. ", record->title);
    if (record->speaker) cli_text_format(&text, "%s: ", record->speaker);
    if (record->text) cli_text_append(&text, record->text, record->text_size);
    size_t size = text.size;
    uint64_t document = record->session ? hash_name(hash_name(0xCBF29CE484222325u, record->name_space), record->session)
                                        : (uint64_t)texts->n;
    add(texts, cli_text_take(&text), size, record->title ? strlen(record->title) + 1 : 0, document);
}

static int add_line(void *context, const char *path, const cli_lines *lines)
{
    mneme_record *record = NULL;
    mneme_error error = {MNEME_OK, ""};
    if (mneme_record_parse(lines->line.data, lines->line.size, &record, &error) != MNEME_OK) {
        cli_complain("%s:%llu: %s", path, (unsigned long long)lines->number, error.message);
        return CLI_EXIT_USAGE;
    }
    add_record(context, record);
    mneme_record_free(record);
    return CLI_GO_ON;
}

static int read_document(cli_source_texts *texts, const char *path, cli_format_kind format)
{
    cli_document document = {0};
    cli_reading reading = cli_document_read(path, format, FILE_MAX_BYTES, &document);
    if (reading == CLI_READING_FINE) {
        add(texts, document.text, document.size, 0, (uint64_t)texts->n);
        document.text = NULL;
    } else {
        cli_complain("%s: %s", path,
                     reading == CLI_READING_BINARY  ? "is not text"
                     : reading == CLI_READING_EMPTY ? "is empty"
                                                    : document.reason);
    }
    cli_document_free(&document);
    return reading == CLI_READING_FINE ? CLI_GO_ON : CLI_EXIT_USAGE;
}

int cli_source_texts_read(cli_source_texts *texts, const cli_list *files)
{
    int code = CLI_GO_ON;
    for (size_t i = 0; i < files->n && code == CLI_GO_ON; i++) {
        cli_format_kind format = cli_format_of(files->items[i]);
        code = format == CLI_FORMAT_JSONL ? cli_lines_each(files->items[i], LINE_MAX_BYTES, add_line, texts)
                                          : read_document(texts, files->items[i], format);
    }
    return code;
}

static bool take_record(void *context, const mneme_record *record)
{
    add_record(context, record);
    return true;
}

int cli_source_texts_of_store(cli_source_texts *texts, mneme *memory)
{
    mneme_error error = {MNEME_OK, ""};
    const mneme_export_options options = MNEME_EXPORT_OPTIONS_INIT;
    return mneme_export(memory, &options, take_record, texts, NULL, &error) == MNEME_OK ? CLI_GO_ON
                                                                                        : cli_failed(&error);
}
