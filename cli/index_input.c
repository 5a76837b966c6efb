/* index_input.c -- from one file, or standard input, to records in an indexer. */
#include "cli/index_input.h"

#include "cli/lines.h"
#include "cli/path.h"
#include "cli/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- documents ---- */

static bool add_document(cli_indexer *indexer, cli_document *document, const char *source, uint64_t input_bytes)
{
    cli_item item = {.id = cli_strdup(source), .text = document->text, .source = source, .input_bytes = input_bytes};
    item.title = document->title ? document->title : cli_strdup(cli_path_base(source));
    item.record = (mneme_record){
        .id = item.id, .text = item.text, .text_size = document->size, .title = item.title, .source = source};
    *document = (cli_document){0}; /* the item owns what it held */
    return cli_indexer_add(indexer, &item);
}

/* What becomes of a document that was read, or could not be. named: the user asked for this very file. */
static bool take_document(cli_indexer *indexer, cli_document *document, cli_reading reading, const char *source,
                          uint64_t input_bytes, bool named)
{
    if (reading == CLI_READING_FINE) return add_document(indexer, document, source, input_bytes);
    if (reading == CLI_READING_REFUSED) {
        cli_indexer_refuse(indexer, source, 0, document->reason);
    } else if (reading == CLI_READING_BINARY && named) {
        cli_indexer_refuse(indexer, source, 0, "a binary file, not text");
    } else {
        indexer->totals.skipped++;
        cli_say("skipped %s: %s", source, reading == CLI_READING_BINARY ? "a binary file" : "nothing in it");
    }
    cli_document_free(document);
    cli_indexer_pass(indexer, input_bytes);
    return !cli_stop_asked();
}

/* ---- JSONL ---- */

static bool is_blank(const cli_text *line)
{
    for (size_t i = 0; i < line->size; i++)
        if (line->data[i] != ' ' && line->data[i] != '\t') return false;
    return true;
}

/* The line with invalid UTF-8 replaced and counted. */
static void repair(cli_indexer *indexer, cli_text *line)
{
    if (cli_utf8_valid(line->data, line->size)) return;
    cli_text repaired = {0};
    indexer->totals.replaced_characters += cli_text_repaired(&repaired, line->data, line->size);
    cli_text_free(line);
    *line = repaired;
}

/* The first line of an export. */
static bool take_header(cli_indexer *indexer, const cli_export_header *header, const char *reason, cli_lines *lines,
                        const char *source)
{
    if (!reason) return cli_indexer_from(indexer, header);
    cli_indexer_refuse(indexer, source, lines->number, reason);
    return true;
}

/* Chunks are worth something only with the encoder that made their vectors. */
static void drop_chunks(cli_item *item)
{
    item->record.chunks = NULL;
    item->record.n_chunks = 0;
    if (!item->record.vector) item->record.dimension = 0;
}

static bool add_line(cli_indexer *indexer, const cli_input_options *options, cli_lines *lines, const char *source,
                     uint64_t input_bytes)
{
    mneme_error error = {MNEME_OK, ""};
    cli_export_header header;
    const char *reason;
    cli_item item = {.source = source, .line = lines->number, .input_bytes = input_bytes};
    repair(indexer, &lines->line);
    if (cli_export_header_read(lines->line.data, lines->line.size, &header, &reason))
        return take_header(indexer, &header, reason, lines, source);
    if (mneme_record_parse(lines->line.data, lines->line.size, &item.parsed, &error) != MNEME_OK) {
        cli_indexer_refuse(indexer, source, lines->number, error.message);
        cli_indexer_pass(indexer, input_bytes);
        return !cli_stop_asked();
    }
    item.record = *item.parsed;
    if (!options->is_export) item.record.source = source;
    if (!indexer->from.encoder) drop_chunks(&item);
    if (!item.record.id && !options->is_export) {
        item.id = cli_format("%s:%llu", source, (unsigned long long)lines->number);
        item.record.id = item.id;
    }
    return cli_indexer_add(indexer, &item);
}

static bool add_lines(cli_indexer *indexer, const cli_input_options *options, cli_lines *lines, const char *source)
{
    for (bool going = true; going;) {
        uint64_t before = lines->bytes - (lines->size - lines->at);
        cli_lines_result result = cli_lines_next(lines);
        uint64_t bytes = lines->bytes - (lines->size - lines->at) - before;
        char reason[128];
        switch (result) {
        case CLI_LINES_END: return true;
        case CLI_LINES_FAILED: cli_indexer_refuse(indexer, source, 0, strerror(lines->error)); return true;
        case CLI_LINES_TOO_LONG:
            snprintf(reason, sizeof reason, "the line is over the size limit of %s (--max-size)",
                     cli_bytes(options->max_size));
            cli_indexer_refuse(indexer, source, lines->number, reason);
            cli_indexer_pass(indexer, bytes);
            break;
        case CLI_LINES_LINE:
            if (is_blank(&lines->line))
                cli_indexer_pass(indexer, bytes);
            else
                going = add_line(indexer, options, lines, source, bytes);
            break;
        }
    }
    return false;
}

static bool index_lines(cli_indexer *indexer, const cli_input_options *options, int fd, const char *source)
{
    cli_lines lines;
    cli_lines_begin(&lines, fd, (size_t)options->max_size);
    bool going = cli_indexer_from(indexer, NULL) && add_lines(indexer, options, &lines, source);
    cli_lines_end(&lines);
    return going && cli_indexer_from(indexer, NULL);
}

/* ---- files and streams ---- */

bool cli_index_file(cli_indexer *indexer, const cli_input_options *options, const cli_file *file, const char *source)
{
    cli_format_kind format = options->format == CLI_FORMAT_AUTO ? cli_format_of(file->path) : options->format;
    if (format != CLI_FORMAT_JSONL) {
        cli_document document = {0};
        cli_reading reading = cli_document_read(file->path, format, options->max_size, &document);
        return take_document(indexer, &document, reading, source, file->size, file->named);
    }
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cli_indexer_refuse(indexer, source, 0, strerror(errno));
        cli_indexer_pass(indexer, file->size);
        return !cli_stop_asked();
    }
    bool going = index_lines(indexer, options, fd, source);
    close(fd);
    return going;
}

/* Is the first line of what was read ahead a JSON object? One that is longer than that counts as one. */
static bool begins_with_object(const char *data, size_t size)
{
    size_t at = 0;
    while (at < size && strchr(" \t\r\n", data[at]) && data[at]) at++;
    if (at == size || data[at] != '{') return false;
    const char *end = memchr(data + at, '\n', size - at);
    if (!end) end = data + size;
    json_t *object = json_loadb(data + at, (size_t)(end - data) - at, JSON_ALLOW_NUL, NULL);
    bool is_object = json_is_object(object) || (!object && size == CLI_LINES_PIECE);
    json_decref(object);
    return is_object;
}

static bool add_rest(cli_indexer *indexer, const cli_input_options *options, cli_lines *lines, const char *source)
{
    cli_text text = {0};
    cli_document document = {0};
    char reason[128];
    bool whole = cli_lines_rest(lines, options->max_size, &text), going = true;
    if (whole) {
        cli_reading reading = cli_document_from(text.data ? text.data : "", text.size, options->format, &document);
        going = take_document(indexer, &document, reading, source, text.size, true);
    } else {
        if (lines->error)
            snprintf(reason, sizeof reason, "%s", strerror(lines->error));
        else
            snprintf(reason, sizeof reason, "over the size limit of %s (--max-size)", cli_bytes(options->max_size));
        cli_indexer_refuse(indexer, source, 0, reason);
    }
    cli_text_free(&text);
    return going;
}

bool cli_index_stream(cli_indexer *indexer, const cli_input_options *options, int fd, const char *source)
{
    cli_lines lines;
    const char *data;
    if (options->format == CLI_FORMAT_PDF) {
        cli_indexer_refuse(indexer, source, 0, "PDF is read from files only");
        return true;
    }
    cli_lines_begin(&lines, fd, (size_t)options->max_size);
    size_t size = cli_lines_peek(&lines, &data);
    bool jsonl =
        options->format == CLI_FORMAT_JSONL || (options->format == CLI_FORMAT_AUTO && begins_with_object(data, size));
    bool going = jsonl ? add_lines(indexer, options, &lines, source) : add_rest(indexer, options, &lines, source);
    cli_lines_end(&lines);
    return going && cli_indexer_from(indexer, NULL);
}
