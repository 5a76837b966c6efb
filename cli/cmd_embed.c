/* cmd_embed.c -- mneme embed: texts in, vectors out, in the input's order.
 *
 *     embed_input.c --texts--> mneme_encode_each --vectors--> embed_output.c
 *
 * Needs no store. The library gathers texts into batches, so reading runs ahead of writing: for each text that was read
 * but not yet written, its id and where the input stood after it wait in a queue. */
#include "cli/commands.h"
#include "cli/embed_input.h"
#include "cli/embed_output.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A text that was read and whose vector is not yet written. */
typedef struct waiting_text {
    char *id; /* owned; NULL = none */
    cli_embed_position position;
} waiting_text;

typedef struct embed_options {
    const char *output;
    int type;   /* cli_vector_type; CLI_VECTOR_TYPES: not given */
    int format; /* CLI_EMBED_... */
    uint64_t dimension;
    const char *prompt_name, *prompt; /* --prompt, --prompt-text or what the name stands for; NULL: not given */
    bool query, strict, restart;
} embed_options;

typedef struct embed_run {
    const embed_options *options;
    bool json;
    const mneme_encoder *encoder;
    cli_words files;
    cli_embed_input input;
    cli_embed_output output;
    waiting_text *waiting; /* a ring of `capacity` places, of which n from `first` on are taken */
    size_t first, n, capacity;
    cli_embed_position written; /* after the last text whose vector is written */
    cli_progress progress;
    int code; /* CLI_GO_ON, or why it ends; said on stderr */
} embed_run;

/* ---- texts in, vectors out ---- */

static void wait_for_vector(embed_run *run)
{
    if (run->n == run->capacity) {
        size_t capacity = run->capacity ? run->capacity * 2 : 1024;
        waiting_text *larger = cli_alloc(capacity, sizeof *larger);
        for (size_t i = 0; i < run->n; i++) larger[i] = run->waiting[(run->first + i) % run->capacity];
        free(run->waiting);
        run->waiting = larger;
        run->first = 0;
        run->capacity = capacity;
    }
    run->waiting[(run->first + run->n++) % run->capacity] = (waiting_text){run->input.id, run->input.now};
    run->input.id = NULL;
}

/* A mneme_next_text. */
static bool next_text(void *context, const char **text, size_t *size)
{
    embed_run *run = context;
    bool some = !cli_stop_asked() && cli_embed_input_next(&run->input);
    if (cli_stop_asked() || run->input.failed) return false;
    if (run->options->strict && run->input.now.refused) {
        run->code = CLI_EXIT_REFUSED;
        return false;
    }
    if (!some) return true;
    wait_for_vector(run);
    *text = run->input.text.data ? run->input.text.data : "";
    *size = run->input.text.size;
    return true;
}

/* A mneme_take_vector. */
static bool take_vector(void *context, uint64_t index, const float *vector)
{
    embed_run *run = context;
    waiting_text *text = &run->waiting[run->first];
    (void)index;
    bool fine = cli_embed_output_put(&run->output, text->id, vector);
    if (fine) run->written = text->position;
    free(text->id);
    run->first = (run->first + 1) % run->capacity;
    run->n--;
    if (run->n == 0) fine = fine && cli_embed_output_save(&run->output, &run->written); /* the end of a batch */
    cli_progress_update(&run->progress, run->input.read);
    return fine;
}

/* A mneme_progress: only there so that Ctrl-C need not wait for a batch. */
static bool go_on(void *context, uint64_t done, uint64_t total, const char *unit)
{
    (void)context, (void)done, (void)total, (void)unit;
    return !cli_stop_asked();
}

static void encode(embed_run *run)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_encode_options options = MNEME_ENCODE_OPTIONS_INIT;
    options.kind = run->options->query ? MNEME_TEXT_QUERY : MNEME_TEXT_PASSAGE;
    options.dimension = run->output.dimension;
    options.prompt = run->options->prompt;
    options.progress = go_on;
    mneme_status status = mneme_encode_each(run->encoder, next_text, take_vector, run, &options, &error);
    if (status == MNEME_OK || run->code != CLI_GO_ON) return;
    if (cli_stop_asked())
        run->code = cli_stop_code();
    else if (status == MNEME_ERR_CANCELLED)
        run->code = CLI_EXIT_FAILURE; /* reading or writing failed, as was said */
    else
        run->code = cli_failed(&error);
}

/* ---- beginning ---- */

/* All that decides the bytes of the output, but the texts: a run goes on only where these are what they were. The keys
 * are what the user reads when one differs. */
static json_t *make_stamp(const embed_run *run)
{
    mneme_encoder_info info = mneme_encoder_get_info(run->encoder);
    const embed_options *options = run->options;
    char fingerprint[24];
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)info.fingerprint);
    json_t *stamp = json_object(), *inputs = json_array();
    cli_json_put(stamp, "model", fingerprint);
    cli_json_put(stamp, "precision", info.precision);
    cli_json_put(stamp, "kernels", info.kernels);
    const char *prompt = options->prompt ? options->prompt : options->query ? info.query_prompt : info.passage_prompt;
    json_object_set_new(stamp, "prompt", cli_json_string(prompt ? prompt : ""));
    cli_json_count(stamp, "--dim", run->output.dimension);
    cli_json_put(stamp, "--type", cli_vector_name(run->output.type));
    cli_json_count(stamp, "--format", (uint64_t)options->format);
    for (size_t i = 0; i < run->files.n; i++) json_array_append_new(inputs, cli_json_string(run->files.items[i]));
    json_object_set_new(stamp, "list of inputs", inputs);
    return stamp;
}

static bool has_stream(const cli_words *files)
{
    for (size_t i = 0; i < files->n; i++)
        if (cli_embed_is_stream(files->items[i])) return true;
    return false;
}

static uint64_t bytes_of(const cli_words *files)
{
    uint64_t total = 0;
    struct stat info;
    for (size_t i = 0; i < files->n; i++)
        if (stat(files->items[i], &info) == 0 && S_ISREG(info.st_mode)) total += (uint64_t)info.st_size;
    return total;
}

/* --strict: read the files once before anything is encoded. Streams cannot be: they are looked at on the way. */
static bool check_files(embed_run *run, uint32_t max_tokens)
{
    cli_words files = {0};
    cli_embed_input input;
    for (size_t i = 0; i < run->files.n; i++)
        if (!cli_embed_is_stream(run->files.items[i])) cli_list_add(&files, run->files.items[i]);
    cli_embed_input_begin(&input, &files, run->options->format, max_tokens);
    while (!cli_stop_asked() && cli_embed_input_next(&input)) {
    }
    if (cli_stop_asked())
        run->code = cli_stop_code();
    else if (input.failed)
        run->code = CLI_EXIT_FAILURE;
    else if (input.now.refused)
        run->code = CLI_EXIT_REFUSED;
    cli_embed_input_end(&input);
    cli_list_free(&files);
    return run->code == CLI_GO_ON;
}

/* Go on where an earlier run of the same command was stopped; false: nothing was, or it does not fit. */
static bool go_on_from(embed_run *run, const cli_embed_position *position)
{
    if (cli_embed_input_resume(&run->input, position)) {
        run->written = *position;
        cli_say("going on after %llu vectors in %s", (unsigned long long)run->output.rows, run->output.part);
        if (!cli_embed_output_resume(&run->output)) run->code = CLI_EXIT_FAILURE;
        return true;
    }
    if (has_stream(&run->files)) {
        cli_complain(
            "the input does not begin with what %s was made from, and it cannot be read again; --restart begins anew",
            run->output.part);
        run->code = CLI_EXIT_USAGE;
        return true;
    }
    cli_say("starting anew: the input of %s has changed", run->output.part);
    return false;
}

static void begin(embed_run *run)
{
    cli_embed_position position = {0};
    bool found = false;
    if (!cli_embed_output_open(&run->output, run->options->output, run->options->restart, &position, &found)) {
        run->code = CLI_EXIT_FAILURE;
        return;
    }
    if (found && go_on_from(run, &position)) return;
    if (!cli_embed_output_begin(&run->output)) run->code = CLI_EXIT_FAILURE;
}

/* ---- the end ---- */

static void say_result(const embed_run *run)
{
    const cli_embed_output *out = &run->output;
    static const char *const numbers[] = {"floats", "half floats", "int8 numbers", "signed bytes of bits",
                                          "bytes of bits"};
    cli_say("%llu vectors of %u %s in %s", (unsigned long long)out->rows, cli_vector_columns(out->type, out->dimension),
            numbers[out->type], out->path);
}

/* --json, where the vectors are in a file. */
static void print_result(const embed_run *run)
{
    const cli_embed_output *out = &run->output;
    json_t *object = json_object();
    cli_json_put(object, "output", out->path);
    cli_json_count(object, "rows", out->rows);
    cli_json_count(object, "columns", cli_vector_columns(out->type, out->dimension));
    cli_json_put(object, "type", cli_vector_name(out->type));
    cli_json_count(object, "refused", run->input.now.refused);
    cli_json_count(object, "replaced", run->input.now.replaced);
    cli_print_json(object);
}

static int finish(embed_run *run)
{
    cli_embed_output *out = &run->output;
    bool none = run->code == CLI_GO_ON && run->input.n_opened == 0;
    cli_progress_end(&run->progress);
    if (none) { /* what has the output's name is not to become an empty file */
        cli_embed_output_discard(out);
        if (out->path) cli_say("nothing was written: no input can be read");
        return CLI_EXIT_REFUSED;
    }
    if (run->code == CLI_GO_ON && !cli_embed_output_finish(out)) run->code = CLI_EXIT_FAILURE;
    if (run->input.now.replaced)
        cli_say("replaced %llu invalid UTF-8 sequence%s by U+FFFD", (unsigned long long)run->input.now.replaced,
                run->input.now.replaced == 1 ? "" : "s");
    if (run->code == CLI_GO_ON) {
        if (out->path) say_result(run);
        if (out->path && run->json) print_result(run);
        return run->input.now.refused ? CLI_EXIT_REFUSED : CLI_EXIT_DONE;
    }
    if (cli_stop_asked()) cli_say("stopped");
    if (run->code == CLI_EXIT_REFUSED) {
        cli_embed_output_discard(out);
        cli_say("nothing was written: --strict");
    } else if (run->code != CLI_EXIT_USAGE) {
        cli_embed_output_stop(out, &run->written);
    }
    return run->code;
}

static int embed(embed_run *run)
{
    uint32_t max_tokens = mneme_encoder_get_info(run->encoder).max_tokens;
    run->code = CLI_GO_ON;
    run->output.stamp = make_stamp(run);
    run->written.hash = CLI_LINES_HASH;
    cli_stop_prepare();
    cli_progress_begin(&run->progress, "encoding", "bytes", bytes_of(&run->files));
    cli_embed_input_begin(&run->input, &run->files, run->options->format, max_tokens);
    if (!run->options->strict || check_files(run, max_tokens)) begin(run);
    if (run->code == CLI_GO_ON) encode(run);
    int code = finish(run);
    for (size_t i = 0; i < run->n; i++) free(run->waiting[(run->first + i) % run->capacity].id);
    free(run->waiting);
    cli_embed_input_end(&run->input);
    cli_embed_output_close(&run->output);
    return code;
}

/* Is the output also an input? */
static bool overwrites_input(const char *output, const cli_words *files)
{
    struct stat to, from;
    if (!output || stat(output, &to) != 0) return false;
    for (size_t i = 0; i < files->n; i++)
        if (stat(files->items[i], &from) == 0 && from.st_dev == to.st_dev && from.st_ino == to.st_ino) return true;
    return false;
}

/* What does not depend on the model. */
static int check_usage(embed_run *run, const embed_options *options)
{
    cli_vector_type type = (cli_vector_type)options->type;
    const char *wrong = cli_embed_output_kind(options->output, &run->output.container, &type);
    run->output.type = type;
    if (wrong) return cli_usage_error(&cli_command_embed, "--output '%s': %s", options->output, wrong);
    if (options->strict && !options->output && has_stream(&run->files))
        return cli_usage_error(&cli_command_embed,
                               "--strict with standard input needs --output: what is printed cannot be taken back");
    if (options->query + !!options->prompt_name + !!options->prompt > 1)
        return cli_usage_error(&cli_command_embed, "one of --query, --prompt and --prompt-text at most");
    if (overwrites_input(options->output, &run->files))
        return cli_usage_error(&cli_command_embed, "--output '%s' is one of the inputs", options->output);
    return CLI_GO_ON;
}

/* Look up --prompt in the model; when there is none of that name, say which there are. */
static int find_prompt(const embed_run *run, embed_options *options)
{
    if (!options->prompt_name) return CLI_GO_ON;
    cli_text names = {0};
    const char *name, *text;
    for (size_t i = 0; (name = mneme_encoder_prompt(run->encoder, i, &text)); i++) {
        if (strcmp(name, options->prompt_name) == 0) {
            options->prompt = text;
            break;
        }
        if (names.size) cli_text_string(&names, ", ");
        cli_text_string(&names, name);
    }
    const char *model = mneme_encoder_get_info(run->encoder).name;
    int code = CLI_GO_ON;
    if (!options->prompt && names.size)
        code = cli_usage_error(&cli_command_embed, "--prompt '%s': %s has %.400s; --prompt-text takes any text",
                               options->prompt_name, model, names.data);
    else if (!options->prompt)
        code = cli_usage_error(&cli_command_embed, "--prompt '%s': %s has no prompts; --prompt-text takes any text",
                               options->prompt_name, model);
    cli_text_free(&names);
    return code;
}

static int check_dimension(embed_run *run, const embed_options *options, bool given)
{
    uint32_t dimension = mneme_encoder_get_info(run->encoder).dimension;
    if (given && (options->dimension < 1 || options->dimension > dimension))
        return cli_usage_error(&cli_command_embed, "--dim %llu: this model's vectors allow 1 to %u",
                               (unsigned long long)options->dimension, dimension);
    run->output.dimension = given ? (uint32_t)options->dimension : dimension;
    return CLI_GO_ON;
}

static int run_command(cli_global *global, int argc, char **argv)
{
    embed_options given = {.type = CLI_VECTOR_TYPES, .dimension = UINT64_MAX};
    const cli_option options[] = {
        {'o', "output", CLI_TEXT, &given.output, "FILE",
         ".npy, .jsonl, or raw rows: .f32, .f16, .int8, ... (default: JSON lines on stdout)"},
        {0, "query", CLI_FLAG, &given.query, NULL, "the texts are questions (some models encode them differently)"},
        {0, "prompt", CLI_TEXT, &given.prompt_name, "NAME", "put the model's prompt of this name before every text"},
        {0, "prompt-text", CLI_TEXT, &given.prompt, "TEXT", "put this before every text (\"\": no prompt)"},
        {0, "dim", CLI_COUNT, &given.dimension, "N", "only the first N numbers of each vector, at unit length again"},
        {0, "type", CLI_CHOICE, &given.type, CLI_VECTOR_CHOICES, "what a number is written as (default f32)"},
        {0, "format", CLI_CHOICE, &given.format, CLI_EMBED_FORMATS, "what the input is"},
        {0, "strict", CLI_FLAG, &given.strict, NULL, "one refused line, and nothing is written"},
        {0, "restart", CLI_FLAG, &given.restart, NULL, "do not go on from FILE.part, begin anew"},
        CLI_OPTIONS_END,
    };
    embed_run run = {.options = &given, .json = global->json};
    mneme_encoder *encoder = NULL;
    int code = cli_parse(global, &cli_command_embed, options, argc, argv, &run.files);
    if (code == CLI_GO_ON && run.files.n == 0) cli_list_add(&run.files, "-");
    if (code == CLI_GO_ON) code = check_usage(&run, &given);
    if (code == CLI_GO_ON) code = cli_open_encoder(global, &encoder);
    run.encoder = encoder;
    if (code == CLI_GO_ON) code = find_prompt(&run, &given);
    if (code == CLI_GO_ON) code = check_dimension(&run, &given, given.dimension != UINT64_MAX);
    if (code == CLI_GO_ON) code = embed(&run);
    mneme_encoder_close(encoder);
    cli_list_free(&run.files);
    return code;
}

const cli_command cli_command_embed = {
    .name = "embed",
    .usage = "[FILE...] [OPTIONS]   (without a file, or with \"-\": standard input)",
    .summary = "turn lines or JSONL into vectors: .npy, raw or JSON lines",
    .details = "One vector a line of the input, in its order, each of unit length. A text is cut at the model's "
               "window. JSONL:\n"
               "the field \"text\" is encoded, the id goes along. JSON lines: {\"id\",\"vector\":[...]}, which 'index' "
               "reads when a\n"
               "text is added. Needs no store; memory does not grow with the input.\n"
               "Stopped in any way, the same command goes on from FILE.part, and the result is the same, byte for "
               "byte; an input\n"
               "that has changed is noticed and begun anew. Standard input must be given again from its beginning.\n"
               "--type: int8 is round(127 * x / c), c = min(1, 5 / sqrt(N)); ubinary is numpy.packbits(x > 0, axis=1), "
               "binary the\n"
               "same less 128. Of the 10 nearest by f32, int8 finds 99%, bits alone about 60%, 93% when 40 are looked "
               "at again\n"
               "with f32 (all-MiniLM-L6-v2 on Cranfield; docs/embed.md).\n"
               "Exit code 3: lines were refused (each named on stderr); they have no row.",
    .example = "mneme embed sentences.txt --output sentences.npy\necho \"a question\" | mneme embed --query\n"
               "mneme embed titles.txt --prompt-text \"clustering: \" --output titles.npy",
    .run = run_command,
};
