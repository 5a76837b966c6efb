/* cmd_tokenize.c -- mneme tokenize: what the encoder's tokenizer makes of lines of text, or how many tokens files have.
 *
 * Line by line: a line break ends a word, so that a file has as many tokens as its lines have together. */
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES ((size_t)64 << 20)

typedef struct tokenize_run {
    const mneme_encoder *encoder;
    bool json, ids, count;
    uint64_t n_tokens; /* of the file in hand */
    int code;          /* exit code so far */
} tokenize_run;

static json_t *token_json(const tokenize_run *run, uint32_t id)
{
    size_t size;
    const char *text = mneme_token_text(run->encoder, id, &size);
    return cli_json_text(text, size);
}

static bool print_json_line(const tokenize_run *run, const mneme_tokens *tokens)
{
    json_t *ids = json_array(), *pieces = json_array(), *offsets = json_array();
    for (size_t i = 0; i < tokens->n; i++) {
        json_array_append_new(ids, json_integer((json_int_t)tokens->ids[i]));
        json_array_append_new(pieces, token_json(run, tokens->ids[i]));
        json_t *range = json_array();
        json_array_append_new(range, json_integer((json_int_t)tokens->starts[i]));
        json_array_append_new(range, json_integer((json_int_t)tokens->ends[i]));
        json_array_append_new(offsets, range);
    }
    json_t *line = json_object();
    json_object_set_new(line, "ids", ids);
    json_object_set_new(line, "pieces", pieces);
    json_object_set_new(line, "offsets", offsets);
    return cli_print_json(line);
}

static bool print_line(const tokenize_run *run, const mneme_tokens *tokens)
{
    cli_text line = {0};
    for (size_t i = 0; i < tokens->n; i++) {
        if (i) cli_text_byte(&line, ' ');
        size_t size;
        const char *text = mneme_token_text(run->encoder, tokens->ids[i], &size);
        if (run->ids)
            cli_text_format(&line, "%u", tokens->ids[i]);
        else
            cli_text_append(&line, text, size);
    }
    cli_text_byte(&line, '\n');
    bool fine = cli_print_text(line.data, line.size);
    cli_text_free(&line);
    return fine;
}

/* False: stop. */
static bool take_line(tokenize_run *run, const cli_text *line)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_tokens *tokens = NULL;
    const char *text = line->data ? line->data : "";
    uint64_t n = 0;
    bool fine;
    if (run->count) {
        fine = mneme_count_tokens(run->encoder, text, line->size, &n, &error) == MNEME_OK;
        run->n_tokens += n;
    } else {
        fine = mneme_tokenize(run->encoder, text, line->size, run->json, &tokens, &error) == MNEME_OK;
    }
    if (!fine)
        run->code = cli_failed(&error);
    else if (tokens)
        fine = run->json ? print_json_line(run, tokens) : print_line(run, tokens);
    mneme_tokens_free(tokens);
    return fine && !cli_stop_asked();
}

static bool print_count(const tokenize_run *run, const char *name)
{
    if (!run->json) return cli_print("%llu %s\n", (unsigned long long)run->n_tokens, name);
    json_t *object = json_object();
    cli_json_put(object, "file", name);
    cli_json_count(object, "tokens", run->n_tokens);
    return cli_print_json(object);
}

static bool take_lines(tokenize_run *run, int fd, const char *name)
{
    cli_lines lines;
    cli_lines_begin(&lines, fd, LINE_BYTES);
    bool going = true;
    run->n_tokens = 0;
    while (going) {
        cli_lines_result result = cli_lines_next(&lines);
        if (result == CLI_LINES_END) break;
        if (result == CLI_LINES_FAILED) {
            cli_complain("cannot read %s: %s", name, strerror(lines.error));
            run->code = CLI_EXIT_FAILURE;
            going = false;
        } else if (result == CLI_LINES_TOO_LONG) {
            cli_complain("%s:%llu: the line is over the size limit of 64 MB", name, (unsigned long long)lines.number);
            run->code = CLI_EXIT_REFUSED;
        } else {
            going = take_line(run, &lines.line);
        }
    }
    cli_lines_end(&lines);
    return going && (!run->count || print_count(run, name));
}

static bool take_file(tokenize_run *run, const char *name)
{
    if (strcmp(name, "-") == 0) return take_lines(run, STDIN_FILENO, "-");
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cli_complain("%s: %s", name, strerror(errno));
        run->code = CLI_EXIT_REFUSED;
        return true;
    }
    bool going = take_lines(run, fd, name);
    close(fd);
    return going;
}

static int run_command(cli_global *global, int argc, char **argv)
{
    tokenize_run run = {0};
    const cli_option options[] = {
        {0, "ids", CLI_FLAG, &run.ids, NULL, "print ids instead of pieces"},
        {0, "count", CLI_FLAG, &run.count, NULL, "print how many tokens each file has"},
        CLI_OPTIONS_END,
    };
    cli_words files = {0};
    mneme_encoder *encoder = NULL;
    int code = cli_parse(global, &cli_command_tokenize, options, argc, argv, &files);
    if (code == CLI_GO_ON && run.ids && run.count)
        code = cli_usage_error(&cli_command_tokenize, "--ids and --count do not go together");
    if (code == CLI_GO_ON) code = cli_open_encoder(global, &encoder);
    if (code == CLI_GO_ON) {
        run.encoder = encoder;
        run.json = global->json;
        cli_stop_prepare();
        bool going = files.n > 0 || take_file(&run, "-");
        for (size_t i = 0; i < files.n && going; i++) going = take_file(&run, files.items[i]);
        code = run.code == CLI_EXIT_DONE && cli_stop_asked() ? cli_stop_code() : run.code;
    }
    mneme_encoder_close(encoder);
    cli_list_free(&files);
    return code;
}

const cli_command cli_command_tokenize = {
    .name = "tokenize",
    .usage = "[FILE...] [OPTIONS]   (without a file, or with \"-\": standard input)",
    .summary = "show the tokens of lines of text, or count those of files",
    .details = "One line of pieces for each line of text, as the encoder's tokenizer cuts it (\"##\": goes on a word). "
               "Special\n"
               "tokens that an encoder adds are not shown. JSON lines: "
               "{\"ids\":[...],\"pieces\":[...],\"offsets\":[[start,end],...]},\n"
               "offsets in bytes of the line; with --count: {\"file\",\"tokens\"}. Needs no store.\n"
               "Exit code 3: files or lines were refused (each named on stderr).",
    .example = "echo \"rumpelstiltskin spins\" | mneme tokenize\nmneme tokenize --count notes.txt",
    .run = run_command,
};
