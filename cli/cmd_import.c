/* cmd_import.c -- mneme import: what `mneme export` wrote, into a store.
 *
 * The lines go the way of `index` (index_input.h), but keep their own ids and sources. --strict makes two passes: the
 * first stores nothing and looks for refusals. */
#include "cli/commands.h"
#include "cli/index_input.h"
#include "cli/index_view.h"
#include "cli/output.h"
#include "cli/spool.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line is longer than its record: 4 bytes of a vector become up to 13, and a chunk may be short. */
#define LINE_FACTOR 32u

typedef struct import_run {
    const cli_global *global;
    bool strict;
    const char *path; /* "-" = standard input */
    int fd;
    FILE *spool; /* standard input, when it is read twice */
    uint64_t bytes;
    cli_input_options input;
    cli_indexer indexer;
} import_run;

static int open_input(import_run *run)
{
    struct stat info;
    run->fd = STDIN_FILENO;
    if (strcmp(run->path, "-") == 0) {
        if (!run->strict) return CLI_GO_ON;
        run->spool = cli_spool_stdin();
        if (!run->spool) return CLI_EXIT_FAILURE;
        run->fd = fileno(run->spool);
    } else {
        run->fd = open(run->path, O_RDONLY | O_CLOEXEC);
    }
    if (run->fd >= 0 && fstat(run->fd, &info) == 0 && !S_ISDIR(info.st_mode)) {
        if (S_ISREG(info.st_mode)) run->bytes = (uint64_t)info.st_size;
        return CLI_GO_ON;
    }
    cli_complain("cannot read %s: %s", run->path, run->fd >= 0 ? strerror(EISDIR) : strerror(errno));
    return CLI_EXIT_USAGE;
}

static void prepare(import_run *run, const mneme_settings *settings)
{
    cli_indexer *indexer = &run->indexer;
    mneme_setting setting;
    uint64_t number;
    indexer->batch_records = 256;
    run->input = (cli_input_options){.format = CLI_FORMAT_JSONL, .max_size = 64, .is_export = true};
    if (mneme_settings_find(settings, "index.batch_records", &setting) && cli_read_count(setting.value, &number))
        indexer->batch_records = number ? (size_t)number : 1;
    if (mneme_settings_find(settings, "index.max_record_mib", &setting) && cli_read_count(setting.value, &number))
        run->input.max_size = number;
    run->input.max_size = (run->input.max_size << 20) * LINE_FACTOR;
    if (run->global->json) indexer->refusals = json_array();
}

/* All lines once. False: it ended before the end. */
static bool pass(import_run *run, const char *label)
{
    cli_indexer *indexer = &run->indexer;
    indexer->bytes_done = 0;
    cli_progress_begin(&indexer->progress, label, "bytes", run->bytes);
    bool going = cli_index_stream(indexer, &run->input, run->fd, run->path);
    going = cli_indexer_flush(indexer) && going;
    cli_progress_end(&indexer->progress);
    return going;
}

/* Would anything be refused? Then nothing is stored. */
static bool strict_pass(import_run *run)
{
    cli_indexer *indexer = &run->indexer;
    if (lseek(run->fd, 0, SEEK_SET) < 0) {
        cli_complain("--strict reads %s twice, which it cannot be; give it as a file", run->path);
        indexer->failure = CLI_EXIT_USAGE;
        return false;
    }
    indexer->dry_run = true;
    bool going = pass(run, "checking");
    uint64_t refused = indexer->totals.refused;
    indexer->totals = (cli_totals){.refused = refused};
    indexer->dry_run = false;
    if (refused) cli_complain("nothing was stored (--strict): %llu refused", (unsigned long long)refused);
    return going && refused == 0 && lseek(run->fd, 0, SEEK_SET) == 0;
}

static void print_result(const import_run *run, double took_ms)
{
    const cli_totals *totals = &run->indexer.totals;
    if (!run->global->json) {
        if (run->global->quiet) return;
        cli_print("added %llu, updated %llu, unchanged %llu, refused %llu\n", (unsigned long long)totals->added,
                  (unsigned long long)totals->updated, (unsigned long long)totals->unchanged,
                  (unsigned long long)totals->refused);
        return;
    }
    json_t *object = json_object();
    cli_json_count(object, "added", totals->added);
    cli_json_count(object, "updated", totals->updated);
    cli_json_count(object, "unchanged", totals->unchanged);
    cli_json_count(object, "refused", totals->refused);
    cli_json_count(object, "chunks", totals->chunks);
    cli_json_count(object, "generation", totals->generation);
    json_object_set_new(object, "took_ms", cli_json_float((float)took_ms));
    json_object_set(object, "refusals", run->indexer.refusals);
    cli_print_json(object);
}

static int finish(const import_run *run, double started)
{
    print_result(run, 1e3 * cli_seconds() - started);
    if (run->indexer.failure) return run->indexer.failure;
    if (cli_stop_asked()) {
        cli_say("stopped; the same command goes on where this one ended (what is stored is skipped)");
        return cli_stop_code();
    }
    return run->indexer.totals.refused ? CLI_EXIT_REFUSED : CLI_EXIT_DONE;
}

static int import(import_run *run)
{
    mneme_settings *settings = NULL;
    double started = 1e3 * cli_seconds();
    int code = cli_open_settings(run->global, &settings);
    if (code != CLI_GO_ON) return code;
    prepare(run, settings);
    mneme_settings_free(settings);
    cli_stop_prepare();
    code = open_input(run);
    if (code == CLI_GO_ON) code = cli_open_store(run->global, 0, &run->indexer.memory, NULL);
    if (code == CLI_GO_ON) {
        if (!run->strict || strict_pass(run)) pass(run, "importing");
        code = finish(run, started);
    }
    if (code == CLI_EXIT_DONE || code == CLI_EXIT_REFUSED) code = cli_finish_index(run->indexer.memory, code);
    mneme_close(run->indexer.memory);
    if (run->spool)
        fclose(run->spool);
    else if (run->fd > STDIN_FILENO)
        close(run->fd);
    return code;
}

static int run_command(cli_global *global, int argc, char **argv)
{
    import_run run = {.global = global};
    const cli_option options[] = {
        {'n', "namespace", CLI_TEXT, &run.indexer.name_space, "NAME", "the namespace of records that name none"},
        {0, "strict", CLI_FLAG, &run.strict, NULL, "store nothing if anything is refused"},
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    int code = cli_parse(global, &cli_command_import, options, argc, argv, &words);
    if (code == CLI_GO_ON && words.n != 1)
        code = cli_usage_error(&cli_command_import,
                               words.n ? "more than one file given" : "no file given ('-' reads standard input)");
    if (code == CLI_GO_ON) {
        run.path = words.items[0];
        code = import(&run);
    }
    cli_indexer_free(&run.indexer);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_import = {
    .name = "import",
    .usage = "FILE [OPTIONS]   (\"-\" is standard input)",
    .summary = "put what 'export' wrote into the memory",
    .details = "Records with their vectors are stored as they are and need no encoder: the store takes over the one "
               "that the first\n"
               "line names, or refuses the file when it has another (exit code 2). Records without vectors are "
               "encoded. Records with\n"
               "an id that is there are replaced, unchanged ones skipped. With --json: "
               "{\"added\",\"updated\",\"unchanged\",\"refused\",\n"
               "\"chunks\",\"generation\",\"took_ms\",\"refusals\":[{\"source\",\"line\",\"reason\"}]}. Exit code 3: "
               "some lines were refused.",
    .example = "mneme --store copy import notes.jsonl\ngzip -dc ann.jsonl.gz | mneme import - --strict",
    .run = run_command,
};
