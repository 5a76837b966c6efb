/* cmd_embed.c -- mneme embed: texts in, vectors out, in the input's order.
 *
 *     lines or JSONL --batch of texts--> mneme_encode --> rows of a .npy file, or JSON lines
 *
 * Needs no store. A file is written beside its place and moved there at the end, so that it is whole or not there. */
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/npy.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_TEXTS 256
#define BATCH_BYTES ((size_t)1 << 20)
#define LINE_BYTES ((size_t)64 << 20)

enum { INPUT_AUTO, INPUT_LINES, INPUT_JSONL };

typedef struct embedding_run {
    const mneme_encoder *encoder;
    mneme_text_kind kind;
    uint32_t dimension;
    int format; /* INPUT_... of the options */
    bool npy;
    FILE *out;                /* NULL: JSON lines on stdout */
    char *path, *part;        /* of the file to write; owned */
    char *texts[BATCH_TEXTS]; /* owned; the batch in hand */
    size_t sizes[BATCH_TEXTS];
    char *ids[BATCH_TEXTS]; /* owned; NULL = none */
    size_t n, batch_bytes;
    float *vectors; /* BATCH_TEXTS x dimension */
    uint64_t rows, refused, replaced;
    cli_progress progress;
    int failure; /* exit code, said on stderr */
} embedding_run;

/* ---- output ---- */

static bool fail_write(embedding_run *run)
{
    cli_complain("cannot write %s: %s", run->path, strerror(errno));
    run->failure = CLI_EXIT_FAILURE;
    return false;
}

static bool open_output(embedding_run *run, const char *path)
{
    if (!path) return true;
    run->path = cli_strdup(path);
    run->part = cli_format("%s.part", path);
    run->out = fopen(run->part, "wbe");
    if (!run->out) return fail_write(run);
    char header[CLI_NPY_HEADER];
    cli_npy_header(0, run->dimension, header);
    if (run->npy && fwrite(header, sizeof header, 1, run->out) != 1) return fail_write(run);
    return true;
}

/* Fill in the number of rows, and move the file to its place. */
static bool close_output(embedding_run *run)
{
    if (!run->out) return true;
    char header[CLI_NPY_HEADER];
    cli_npy_header(run->rows, run->dimension, header);
    bool fine = true;
    if (run->npy) fine = fseek(run->out, 0, SEEK_SET) == 0 && fwrite(header, sizeof header, 1, run->out) == 1;
    fine = fine && fflush(run->out) == 0 && fsync(fileno(run->out)) == 0;
    fine = fclose(run->out) == 0 && fine;
    run->out = NULL;
    fine = fine && rename(run->part, run->path) == 0;
    return fine || fail_write(run);
}

/* {"id":...,"vector":[...]}; nine digits bring every float back exactly. */
static bool write_json(embedding_run *run, const char *id, const float *vector)
{
    cli_text line = {0};
    cli_text_byte(&line, '{');
    if (id) {
        json_t *name = cli_json_string(id);
        char *quoted = json_dumps(name, JSON_ENCODE_ANY);
        cli_text_format(&line, "\"id\":%s,", quoted);
        free(quoted);
        json_decref(name);
    }
    cli_text_string(&line, "\"vector\":[");
    for (uint32_t i = 0; i < run->dimension; i++) cli_text_format(&line, "%s%.9g", i ? "," : "", (double)vector[i]);
    cli_text_string(&line, "]}\n");
    bool fine = run->out ? fwrite(line.data, 1, line.size, run->out) == line.size || fail_write(run)
                         : cli_print_bytes(line.data, line.size);
    cli_text_free(&line);
    return fine;
}

static bool write_rows(embedding_run *run)
{
    bool fine = true;
    if (run->npy)
        fine = fwrite(run->vectors, run->dimension * sizeof(float), run->n, run->out) == run->n || fail_write(run);
    for (size_t i = 0; !run->npy && i < run->n && fine; i++)
        fine = write_json(run, run->ids[i], run->vectors + i * run->dimension);
    run->rows += run->n;
    return fine;
}

/* ---- batches ---- */

static void clear_batch(embedding_run *run)
{
    for (size_t i = 0; i < run->n; i++) {
        free(run->texts[i]);
        free(run->ids[i]);
    }
    run->n = run->batch_bytes = 0;
}

static bool flush(embedding_run *run)
{
    mneme_error error = {MNEME_OK, ""};
    bool fine = true;
    if (run->n == 0) return true;
    if (mneme_encode(run->encoder, (const char *const *)run->texts, run->sizes, run->n, &(mneme_encode_options){sizeof(mneme_encode_options), run->kind, 0, NULL, NULL}, run->vectors,
                     &error) != MNEME_OK) {
        run->failure = cli_failed(&error);
        fine = false;
    }
    fine = fine && write_rows(run);
    clear_batch(run);
    return fine && !cli_stop_asked();
}

static bool add_text(embedding_run *run, const char *text, size_t size, const char *id)
{
    cli_text repaired = {0};
    run->replaced += cli_text_repaired(&repaired, text, size);
    run->sizes[run->n] = repaired.size;
    run->texts[run->n] = cli_text_take(&repaired);
    run->ids[run->n++] = cli_strdup(id);
    run->batch_bytes += size;
    return run->n == BATCH_TEXTS || run->batch_bytes >= BATCH_BYTES ? flush(run) : true;
}

/* ---- input ---- */

static void refuse(embedding_run *run, const char *name, uint64_t line, const char *reason)
{
    run->refused++;
    cli_complain("%s:%llu: %s", name, (unsigned long long)line, reason);
}

static bool add_record(embedding_run *run, const cli_lines *lines, const char *name)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_record *record = NULL;
    bool going = true;
    if (lines->line.size == 0) return true;
    if (mneme_record_parse(lines->line.data, lines->line.size, &record, &error) != MNEME_OK)
        refuse(run, name, lines->number, error.message);
    else if (!record->text) refuse(run, name, lines->number, "a record without text");
    else going = add_text(run, record->text, record->text_size ? record->text_size : strlen(record->text), record->id);
    mneme_record_free(record);
    return going;
}

/* JSONL by the name, else when the first line is a JSON object with a text. */
static bool is_jsonl(const embedding_run *run, cli_lines *lines, const char *name)
{
    if (run->format != INPUT_AUTO) return run->format == INPUT_JSONL;
    size_t length = strlen(name);
    if (length > 6 && (strcmp(name + length - 6, ".jsonl") == 0 || strcmp(name + length - 7, ".ndjson") == 0))
        return true;
    const char *data;
    size_t size = cli_lines_peek(lines, &data);
    const char *end = size ? memchr(data, '\n', size) : NULL;
    json_t *first = size ? json_loadb(data, end ? (size_t)(end - data) : size, JSON_ALLOW_NUL, NULL) : NULL;
    bool found = json_is_string(json_object_get(first, "text"));
    json_decref(first);
    return found;
}

static bool read_lines(embedding_run *run, int fd, const char *name)
{
    cli_lines lines;
    cli_lines_begin(&lines, fd, LINE_BYTES);
    bool jsonl = is_jsonl(run, &lines, name), going = true;
    uint64_t before = run->progress.done;
    while (going) {
        cli_lines_result result = cli_lines_next(&lines);
        if (result == CLI_LINES_END) break;
        if (result == CLI_LINES_FAILED) {
            cli_complain("cannot read %s: %s", name, strerror(lines.error));
            run->failure = CLI_EXIT_FAILURE;
            going = false;
        } else if (result == CLI_LINES_TOO_LONG) {
            refuse(run, name, lines.number, "the line is over the size limit of 64 MB");
        } else {
            going = jsonl ? add_record(run, &lines, name)
                          : add_text(run, lines.line.data ? lines.line.data : "", lines.line.size, NULL);
        }
        cli_progress_update(&run->progress, before + lines.bytes);
    }
    cli_lines_end(&lines);
    return going;
}

static bool read_input(embedding_run *run, const char *name)
{
    if (strcmp(name, "-") == 0) return read_lines(run, STDIN_FILENO, "-");
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cli_complain("%s: %s", name, strerror(errno));
        run->refused++;
        return true;
    }
    bool going = read_lines(run, fd, name);
    close(fd);
    return going;
}

static uint64_t bytes_of(const cli_words *files)
{
    uint64_t total = 0;
    struct stat info;
    for (size_t i = 0; i < files->n; i++)
        if (stat(files->items[i], &info) == 0 && S_ISREG(info.st_mode)) total += (uint64_t)info.st_size;
    return total;
}

/* ---- the command ---- */

static int finish(embedding_run *run, bool going)
{
    cli_progress_end(&run->progress);
    if (run->replaced)
        cli_say("replaced %llu invalid UTF-8 sequence%s by U+FFFD", (unsigned long long)run->replaced,
                run->replaced == 1 ? "" : "s");
    bool whole = going && close_output(run);
    if (run->out) fclose(run->out);
    if (!whole && run->part) unlink(run->part);
    if (run->failure) return run->failure;
    if (cli_stop_asked()) {
        cli_say("stopped%s%s", run->path ? "; nothing was written to " : "", run->path ? run->path : "");
        return cli_stop_code();
    }
    if (run->path && whole)
        cli_say("%llu vectors of %u floats in %s", (unsigned long long)run->rows, run->dimension, run->path);
    return run->refused ? CLI_EXIT_REFUSED : CLI_EXIT_DONE;
}

static int embed(embedding_run *run, const cli_words *files, const char *output)
{
    run->dimension = mneme_encoder_get_info(run->encoder).dimension;
    run->vectors = cli_alloc((size_t)BATCH_TEXTS * run->dimension, sizeof *run->vectors);
    cli_stop_prepare();
    cli_progress_begin(&run->progress, "encoding", "bytes", bytes_of(files));
    bool going = open_output(run, output);
    if (files->n == 0) going = going && read_input(run, "-");
    for (size_t i = 0; i < files->n && going; i++) going = read_input(run, files->items[i]);
    going = going && flush(run);
    int code = finish(run, going);
    clear_batch(run);
    free(run->vectors);
    free(run->path);
    free(run->part);
    return code;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size > end_size && strcmp(text + size - end_size, end) == 0;
}

static int run_command(cli_global *global, int argc, char **argv)
{
    embedding_run run = {0};
    const char *output = NULL;
    bool query = false;
    const cli_option options[] = {
        {'o', "output", CLI_TEXT, &output, "FILE",
         "a .npy file, or .jsonl for JSON lines (default: JSON lines on stdout)"},
        {0, "query", CLI_FLAG, &query, NULL, "the texts are questions (some models encode them differently)"},
        {0, "format", CLI_CHOICE, &run.format, "auto|lines|jsonl", "what the input is"},
        CLI_OPTIONS_END,
    };
    cli_words files = {0};
    mneme_encoder *encoder = NULL;
    int code = cli_parse(global, &cli_command_embed, options, argc, argv, &files);
    if (code == CLI_GO_ON && output && !ends_with(output, ".npy") && !ends_with(output, ".jsonl"))
        code =
            cli_usage_error(&cli_command_embed, "--output '%s': expected a name that ends in .npy or .jsonl", output);
    if (code == CLI_GO_ON) code = cli_open_encoder(global, &encoder);
    if (code == CLI_GO_ON) {
        run.encoder = encoder;
        run.kind = query ? MNEME_TEXT_QUERY : MNEME_TEXT_PASSAGE;
        run.npy = output && ends_with(output, ".npy");
        code = embed(&run, &files, output);
    }
    mneme_encoder_close(encoder);
    cli_list_free(&files);
    return code;
}

const cli_command cli_command_embed = {
    .name = "embed",
    .usage = "[FILE...] [OPTIONS]   (without a file, or with \"-\": standard input)",
    .summary = "turn lines or JSONL into vectors: .npy or JSON lines",
    .details =
        "One vector a line of the input, in its order, each of unit length. JSONL: the field \"text\" is encoded, the id\n"
        "goes along. JSON lines: {\"id\",\"vector\":[...]}, which 'index' reads when a text is added. Needs no store.\n"
        "Exit code 3: lines were refused (each named on stderr); they have no row.",
    .example = "mneme embed sentences.txt --output sentences.npy\necho \"a question\" | mneme embed --query",
    .run = run_command,
};
