/* cmd_compact.c -- mneme compact: give back the space of what was forgotten. */
#include "cli/commands.h"
#include "cli/index_view.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <stdlib.h>

static void print_result(const cli_global *global, const mneme_compact_result *result)
{
    if (global->json) {
        json_t *object = json_object();
        cli_json_count(object, "bytes_before", result->bytes_before);
        cli_json_count(object, "bytes_after", result->bytes_after);
        cli_json_count(object, "records", result->records);
        cli_json_count(object, "chunks", result->chunks);
        cli_print_json(object);
        return;
    }
    cli_say("%llu records, %llu chunks: %.1f MB, before %.1f MB", (unsigned long long)result->records,
            (unsigned long long)result->chunks, (double)result->bytes_after / 1e6, (double)result->bytes_before / 1e6);
}

static int compact(const cli_global *global, const char *path, const mneme_settings *settings, const char *vectors)
{
    mneme_compact_result result = {0};
    mneme_error error = {MNEME_OK, ""};
    mneme *memory = NULL;
    cli_progress progress;
    cli_stop_prepare();
    mneme_status status = mneme_open(path, settings, MNEME_OPEN_EXISTING, &memory, &error);
    if (status != MNEME_OK) return cli_store_failed(global, MNEME_OPEN_EXISTING, &error);
    cli_progress_begin(&progress, "compacting", "records", 0);
    mneme_compact_options options = MNEME_COMPACT_OPTIONS_INIT;
    options.vectors = vectors;
    options.progress = cli_progress_callback;
    options.context = &progress;
    status = mneme_compact(memory, &options, &result, &error);
    cli_progress_end(&progress);
    if (status == MNEME_OK) print_result(global, &result);
    int code =
        status == MNEME_OK ? cli_finish_index(memory, CLI_EXIT_DONE) : cli_failed(&error); /* rows are numbered anew */
    mneme_close(memory);
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    const char *vectors = NULL;
    const cli_option options[] = {
        {0, "vectors", CLI_TEXT, &vectors, "TYPE", "keep all vectors as f32, bf16, int12 or int8"}, CLI_OPTIONS_END};
    mneme_settings *settings = NULL;
    int code = cli_parse(global, &cli_command_compact, options, argc, argv, NULL);
    if (code == CLI_GO_ON) code = cli_open_settings(global, &settings);
    if (code == CLI_GO_ON) {
        char *path = cli_store_path(global, NULL);
        code = compact(global, path, settings, vectors);
        free(path);
    }
    mneme_settings_free(settings);
    return code;
}

const cli_command cli_command_compact = {
    .name = "compact",
    .usage = "[OPTIONS]",
    .summary = "give back the space of what was forgotten",
    .details = "Writes all that lives into a new data file, which takes the place of the old one: what was forgotten "
               "or replaced\n"
               "is gone from the store's files. Other programs may use the store meanwhile; those that write wait. "
               "Needs free\n"
               "disk space for up to two copies of what lives. Interrupted or killed, it leaves the store as it was. "
               "Indexes are built\nanew (see mneme optimize). With --json:\n"
               "{\"bytes_before\",\"bytes_after\",\"records\",\"chunks\"}.",
    .example = "mneme compact --vectors int8",
    .run = run,
};
