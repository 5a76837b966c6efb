/* embed_input.c -- the texts that embed encodes. */
#include "cli/embed_input.h"

#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes kept of a text for each token of the window: far more than the longest words take (100 characters, unless a
 * model says otherwise), and within bounds that keep memory small. */
#define BYTES_PER_TOKEN ((size_t)2048)
#define KEPT_LEAST      ((size_t)1 << 20)
#define KEPT_MOST       ((size_t)16 << 20)

void cli_embed_input_begin(cli_embed_input *input, const cli_words *files, int format, uint32_t max_tokens)
{
    size_t limit = max_tokens * BYTES_PER_TOKEN;
    limit = limit < KEPT_LEAST ? KEPT_LEAST : limit > KEPT_MOST ? KEPT_MOST : limit;
    *input = (cli_embed_input){.files = files, .format = format, .limit = limit, .now = {.hash = CLI_LINES_HASH}};
}

static void close_file(cli_embed_input *input)
{
    if (!input->is_open) return;
    if (input->lines.fd != STDIN_FILENO) close(input->lines.fd);
    cli_lines_end(&input->lines);
    input->is_open = false;
}

void cli_embed_input_end(cli_embed_input *input)
{
    close_file(input);
    cli_text_free(&input->text);
    free(input->id);
    input->id = NULL;
}

bool cli_embed_is_stream(const char *name)
{
    struct stat info;
    return strcmp(name, "-") == 0 || (stat(name, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode));
}

/* ---- files ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size > end_size && strcmp(text + size - end_size, end) == 0;
}

/* JSONL by the name, else when the first line is a JSON object with a text; one too long to see to its end, or that
 * cannot be read, counts when it begins like an object: better refused by its line than encoded as it stands. */
static bool is_jsonl(cli_embed_input *input, const char *name)
{
    if (input->format != CLI_EMBED_AUTO) return input->format == CLI_EMBED_JSONL;
    if (ends_with(name, ".jsonl") || ends_with(name, ".ndjson")) return true;
    const char *data;
    size_t size = cli_lines_peek(&input->lines, &data), at = 0;
    const char *end = size ? memchr(data, '\n', size) : NULL;
    while (at < size && data[at] == ' ') at++;
    if (at == size || data[at] != '{') return false;
    json_t *first = json_loadb(data, end ? (size_t)(end - data) : size, JSON_ALLOW_NUL, NULL);
    bool found = first ? json_is_string(json_object_get(first, "text")) : at + 1 < size && data[at + 1] == '"';
    json_decref(first);
    return found;
}

/* Open input now.file; false with errno when that is not possible. */
static bool open_file(cli_embed_input *input)
{
    const char *name = input->files->items[input->now.file];
    int fd = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0) return false;
    if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
        if (fd != STDIN_FILENO) close(fd);
        errno = EISDIR;
        return false;
    }
    input->n_opened++;
    cli_lines_begin(&input->lines, fd, input->limit);
    input->lines.hashing = true;
    input->lines.hash = input->now.hash;
    input->is_open = true;
    input->jsonl = is_jsonl(input, name);
    input->lines.longer = input->jsonl ? CLI_LINES_CUT_STRINGS : CLI_LINES_CUT;
    return true;
}

/* The input in hand is at its end: its size goes into the hash, so that text cannot move to the next one unseen. */
static void next_file(cli_embed_input *input)
{
    char size[32];
    snprintf(size, sizeof size, "|%llu|", (unsigned long long)cli_lines_taken(&input->lines));
    input->now.hash = cli_lines_hash(input->lines.hash, size, strlen(size));
    input->now.file++;
    input->now.offset = input->now.line = 0;
    close_file(input);
}

/* Open input to->file and pass over what is done of it. */
static bool resume_inside(cli_embed_input *input, const cli_embed_position *to)
{
    if (!open_file(input)) return false;
    cli_lines_skip(&input->lines, to->offset);
    input->lines.number = to->line;
    input->read += to->offset;
    return cli_lines_taken(&input->lines) == to->offset && input->lines.hash == to->hash;
}

bool cli_embed_input_resume(cli_embed_input *input, const cli_embed_position *to)
{
    while (input->now.file < to->file && input->now.file < input->files->n) {
        if (!open_file(input)) {
            input->now.file++; /* it was not there before either, or the hash will tell */
            continue;
        }
        cli_lines_skip(&input->lines, UINT64_MAX);
        input->read += cli_lines_taken(&input->lines);
        next_file(input);
    }
    bool same = input->now.file == to->file;
    if (same && to->file == input->files->n)
        same = input->now.hash == to->hash;
    else
        same = same && resume_inside(input, to);
    if (same) {
        input->now = *to;
    } else {
        close_file(input);
        input->now = (cli_embed_position){.hash = CLI_LINES_HASH};
        input->read = 0;
    }
    return same;
}

/* ---- texts ---- */

static void refuse(cli_embed_input *input, const char *reason)
{
    input->now.refused++;
    cli_complain("%s:%llu: %s", input->files->items[input->now.file], (unsigned long long)input->lines.number, reason);
}

static void take_text(cli_embed_input *input, const char *text, size_t size)
{
    cli_text_clear(&input->text);
    cli_text_reserve(&input->text, size);
    input->now.replaced += cli_text_repaired(&input->text, text ? text : "", size);
}

static bool is_blank(const cli_text *line)
{
    for (size_t i = 0; i < line->size; i++)
        if (line->data[i] != ' ' && line->data[i] != '\t') return false;
    return true;
}

/* The record of the line in hand; false: there is none, or it is refused. */
static bool take_record(cli_embed_input *input)
{
    const cli_text *line = &input->lines.line;
    mneme_error error = {MNEME_OK, ""};
    mneme_record *record = NULL;
    if (is_blank(line)) return false;
    bool fine = mneme_record_parse(line->data, line->size, &record, &error) == MNEME_OK;
    if (!fine)
        refuse(input, error.message);
    else if (!record->text)
        refuse(input, "a record without text");
    fine = fine && record->text;
    if (fine) {
        take_text(input, record->text, record->text_size ? record->text_size : strlen(record->text));
        input->id = cli_strdup(record->id);
    }
    mneme_record_free(record);
    return fine;
}

/* One more line of the open file; false: it gave no text. */
static bool take_line(cli_embed_input *input, cli_lines_result result)
{
    uint64_t before = input->now.offset;
    input->now.offset = cli_lines_taken(&input->lines);
    input->now.line = input->lines.number;
    input->now.hash = input->lines.hash;
    input->read += input->now.offset - before;
    if (result == CLI_LINES_TOO_LONG) {
        refuse(input, "the line is over the size limit, its texts not counted");
        return false;
    }
    if (input->jsonl) return take_record(input);
    take_text(input, input->lines.line.data, input->lines.line.size);
    return true;
}

bool cli_embed_input_next(cli_embed_input *input)
{
    free(input->id);
    input->id = NULL;
    while (input->now.file < input->files->n) {
        const char *name = input->files->items[input->now.file];
        if (!input->is_open && !open_file(input)) {
            cli_complain("%s: %s", name, strerror(errno));
            input->now.refused++;
            input->now.file++;
            continue;
        }
        cli_lines_result result = cli_lines_next(&input->lines);
        if (result == CLI_LINES_FAILED) {
            cli_complain("cannot read %s: %s", name, strerror(input->lines.error));
            input->failed = true;
            return false;
        }
        bool some = result != CLI_LINES_END && take_line(input, result);
        /* After a line without a break the position is at the next input: were more appended to this one, the line
         * would be another. */
        if (result == CLI_LINES_END || input->lines.unended) next_file(input);
        if (some) return true;
    }
    return false;
}
