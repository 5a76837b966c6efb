/* cmd_backup.c -- mneme backup: the store into another directory, while it is in use. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/store_option.h"


static void print_result(const cli_global *global, const char *path, const mneme_backup_result *result, double took)
{
    if (!global->json) {
        cli_say("backup in %s: generation %llu, %s (%s written) in %s", path, (unsigned long long)result->generation,
                cli_bytes(result->bytes), cli_bytes(result->bytes_written), cli_duration(took));
        return;
    }
    json_t *object = json_object();
    cli_json_put(object, "path", path);
    cli_json_count(object, "bytes", result->bytes);
    cli_json_count(object, "bytes_written", result->bytes_written);
    cli_json_count(object, "generation", result->generation);
    json_object_set_new(object, "took_ms", cli_json_float((float)(took * 1000)));
    cli_print_json(object);
}

static int backup(const cli_global *global, mneme *memory, const char *path)
{
    cli_progress progress = {0};
    mneme_backup_result result;
    mneme_error error = {MNEME_OK, ""};
    mneme_backup_options options = MNEME_BACKUP_OPTIONS_INIT;
    options.progress = cli_progress_callback;
    options.context = &progress;
    double started = cli_seconds();
    cli_stop_prepare();
    cli_progress_begin(&progress, "copying", "bytes", 0);
    mneme_status status = mneme_backup(memory, path, &options, &result, &error);
    cli_progress_end(&progress);
    if (status == MNEME_OK) {
        print_result(global, path, &result, cli_seconds() - started);
        return CLI_EXIT_DONE;
    }
    return cli_failed(&error);
}

static int run(cli_global *global, int argc, char **argv)
{
    const cli_option options[] = {CLI_OPTIONS_END};
    cli_words words = {0};
    mneme *memory = NULL;
    int code = cli_parse(global, &cli_command_backup, options, argc, argv, &words);
    if (code == CLI_GO_ON && words.n != 1)
        code = cli_usage_error(&cli_command_backup, words.n ? "more than one directory given" : "no directory given");
    if (code == CLI_GO_ON) code = cli_open_store(global, MNEME_OPEN_READ_ONLY, &memory, NULL);
    if (code == CLI_GO_ON) code = backup(global, memory, words.items[0]);
    mneme_close(memory);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_backup = {
    .name = "backup",
    .usage = "DIR [OPTIONS]",
    .summary = "copy the store into a directory while it is in use",
    .details = "The copy is the store as of one generation, and a store itself: --store DIR reads it, copying DIR "
               "restores it. DIR\n"
               "may be new or empty, hold an interrupted backup, which is gone on with, or an older backup of this "
               "store, which is\n"
               "replaced once the new one is whole. With --json: "
               "{\"path\",\"bytes\",\"bytes_written\",\"generation\",\"took_ms\"}.",
    .example = "mneme backup /mnt/backup/notes",
    .run = run,
};
