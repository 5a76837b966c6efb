/* cmd_export.c -- mneme export: the records as lines of JSON, with or without their vectors. */
#include "cli/commands.h"
#include "cli/export_file.h"
#include "cli/export_line.h"
#include "cli/output.h"
#include "cli/salvage.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <stdlib.h>

typedef struct export_run {
    const cli_global *global;
    cli_selection selection;
    bool vectors, salvage;
    cli_export_file file;
    cli_progress progress;
    mneme_export_result result;
    uint64_t problems; /* of a salvage */
} export_run;

static bool take_record(void *context, const mneme_record *record)
{
    export_run *run = context;
    cli_export_record_line(&run->file.ahead, record);
    return cli_export_file_write(&run->file, false) && !cli_stop_asked();
}

static bool show_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    export_run *run = context;
    return cli_progress_callback(&run->progress, done, total, unit);
}

static int put_header(export_run *run, mneme *memory)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_stats *stats = NULL;
    if (!run->vectors) return CLI_GO_ON;
    if (mneme_get_stats(memory, &stats, &error) != MNEME_OK) return cli_failed(&error);
    cli_export_header_line(&run->file.ahead, stats);
    mneme_stats_free(stats);
    return CLI_GO_ON;
}

static void print_result(const export_run *run)
{
    const mneme_export_result *result = &run->result;
    if (result->vanished)
        cli_say("%llu records were replaced or forgotten while this ran, and are not in it",
                (unsigned long long)result->vanished);
    if (!run->file.path || !run->global->json) {
        cli_say("exported %llu record%s, %s", (unsigned long long)result->records, result->records == 1 ? "" : "s",
                cli_bytes(run->file.bytes));
        return;
    }
    json_t *object = json_object();
    cli_json_count(object, "records", result->records);
    if (run->salvage) {
        cli_json_count(object, "problems", run->problems);
    } else {
        cli_json_count(object, "vanished", result->vanished);
        cli_json_count(object, "generation", result->generation);
    }
    cli_json_count(object, "bytes", run->file.bytes);
    cli_print_json(object);
}

/* The export ended early. A write that failed was said already; a reader that went away is no failure. */
static int stopped(const export_run *run, const mneme_error *error)
{
    if (error->code == MNEME_ERR_CANCELLED && !cli_stop_asked())
        return run->file.path ? CLI_EXIT_FAILURE : CLI_EXIT_DONE;
    int code = cli_failed(error);
    if (error->code == MNEME_ERR_DAMAGED) cli_say("`mneme export --salvage` writes what can be read");
    return code;
}

static int export_all(export_run *run, mneme *memory)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_export_options options = MNEME_EXPORT_OPTIONS_INIT;
    options.select = cli_selection_get(&run->selection);
    options.vectors = run->vectors;
    options.progress = show_progress;
    options.context = run;
    cli_stop_prepare();
    int code = put_header(run, memory);
    if (code != CLI_GO_ON) return code;
    cli_progress_begin(&run->progress, "exporting", "records", 0);
    mneme_status status = mneme_export(memory, &options, take_record, run, &run->result, &error);
    cli_progress_end(&run->progress);
    if (status != MNEME_OK) return stopped(run, &error);
    if (!cli_export_file_commit(&run->file)) return CLI_EXIT_FAILURE;
    print_result(run);
    return CLI_EXIT_DONE;
}

/* ---- of a damaged store ---- */

static bool put_line(void *context, const char *data, size_t size)
{
    export_run *run = context;
    cli_text_append(&run->file.ahead, data, size);
    cli_progress_update(&run->progress, run->progress.done + 1);
    return cli_export_file_write(&run->file, false);
}

static int salvage_all(export_run *run, const char *store, const mneme_settings *settings)
{
    cli_salvage salvage = {.store = store,
                           .settings = settings,
                           .select = cli_selection_get(&run->selection),
                           .vectors = run->vectors,
                           .put = put_line,
                           .put_failed = run->file.path ? CLI_EXIT_FAILURE : CLI_EXIT_DONE,
                           .context = run};
    cli_stop_prepare();
    cli_progress_begin(&run->progress, "salvaging", "records", 0);
    int code = cli_salvage_run(&salvage);
    cli_progress_end(&run->progress);
    if (code != CLI_GO_ON) return code;
    if (!cli_export_file_commit(&run->file)) return CLI_EXIT_FAILURE;
    run->result.records = salvage.records;
    run->problems = salvage.problems;
    print_result(run);
    return salvage.problems ? CLI_EXIT_NO : CLI_EXIT_DONE;
}

static int open_and_salvage(export_run *run, const char *path)
{
    mneme_settings *settings = NULL;
    char *store = cli_store_path(run->global, NULL);
    int code = cli_open_settings(run->global, &settings);
    if (code == CLI_GO_ON) code = cli_export_file_open(&run->file, path, store);
    if (code == CLI_GO_ON) code = salvage_all(run, store, settings);
    cli_export_file_close(&run->file);
    mneme_settings_free(settings);
    free(store);
    return code;
}

/* ---- the command ---- */

static int open_and_export(export_run *run, const char *path)
{
    mneme *memory = NULL;
    char *store = cli_store_path(run->global, NULL);
    int code = cli_open_store(run->global, MNEME_OPEN_READ_ONLY, &memory, NULL);
    if (code == CLI_GO_ON) code = cli_export_file_open(&run->file, path, store);
    if (code == CLI_GO_ON) code = export_all(run, memory);
    cli_export_file_close(&run->file);
    mneme_close(memory);
    free(store);
    return code;
}

static int run_command(cli_global *global, int argc, char **argv)
{
    export_run run = {.global = global, .file = {.fd = -1}};
    const cli_option options[] = {
        {0, "vectors", CLI_FLAG, &run.vectors, NULL, "with their chunks and vectors: the import encodes nothing"},
        {0, "salvage", CLI_FLAG, &run.salvage, NULL, "of a damaged store: what can be read, and what was lost"},
        CLI_SELECTION_OPTIONS(run.selection),
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    int code = cli_parse(global, &cli_command_export, options, argc, argv, &words);
    if (code == CLI_GO_ON && words.n > 1) code = cli_usage_error(&cli_command_export, "more than one file given");
    const char *path = words.n ? words.items[0] : NULL;
    if (code == CLI_GO_ON) code = run.salvage ? open_and_salvage(&run, path) : open_and_export(&run, path);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_export = {
    .name = "export",
    .usage = "[FILE] [OPTIONS]   (without FILE, or with \"-\": to standard output)",
    .summary = "write records as lines of JSON, which 'import' reads",
    .details = "One record a line, with the fields that 'index' reads, each session in its order. With --vectors a "
               "first line names\n"
               "the encoder, and each record has \"chunks\":[{\"start\",\"end\",\"vector\"}], or its own \"vector\". "
               "All records are of one\n"
               "generation. FILE appears once it is whole. With --json and a FILE: "
               "{\"records\",\"vanished\",\"generation\",\"bytes\"}.\n"
               "--salvage reads a damaged store record by record, in the order of adding, goes past pages at which "
               "LMDB dies, and\n"
               "names on stderr what was lost: exit code 1 (0: nothing was). With --json: "
               "{\"records\",\"problems\",\"bytes\"}.",
    .example = "mneme export notes.jsonl --vectors\nmneme export --where 'speaker = \"Ann\"' | gzip > "
               "ann.jsonl.gz\nmneme --store broken export --salvage rest.jsonl",
    .run = run_command,
};
