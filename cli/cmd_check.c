/* cmd_check.c -- mneme check: read everything and name any damage. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <stdlib.h>

typedef struct check_run {
    cli_progress progress; /* first: the callbacks share one context */
    json_t *problems;      /* NULL: print each as it comes */
} check_run;

static void take_problem(void *context, const char *line)
{
    check_run *checking = context;
    if (checking->problems) json_array_append_new(checking->problems, cli_json_string(line));
    else cli_print("%s\n", line);
}

static bool show_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    check_run *checking = context;
    return cli_progress_callback(&checking->progress, done, total, unit);
}

static void print_json(check_run *checking, const mneme_check_report *report)
{
    json_t *object = json_object();
    bool sound = report->problems == 0 && json_array_size(checking->problems) == 0;
    json_object_set_new(object, "sound", json_boolean(sound));
    json_object_set_new(object, "problems", checking->problems);
    cli_json_count(object, "records", report->records);
    cli_json_count(object, "chunks", report->chunks);
    cli_json_count(object, "vectors", report->vectors);
    cli_json_count(object, "postings", report->postings);
    cli_print_json(object);
    checking->problems = NULL;
}

/* Damage so bad that reading could not even begin or go on. */
static void take_damage(check_run *checking, mneme_check_report *report, const mneme_error *error)
{
    take_problem(checking, error->message);
    report->problems++;
}

static int finish(const cli_global *global, check_run *checking, const mneme_check_report *report)
{
    if (global->json) print_json(checking, report);
    else
        cli_say("%llu records, %llu chunks, %llu vectors, %llu postings: %llu problem%s",
                (unsigned long long)report->records, (unsigned long long)report->chunks,
                (unsigned long long)report->vectors, (unsigned long long)report->postings,
                (unsigned long long)report->problems, report->problems == 1 ? "" : "s");
    return report->problems ? CLI_EXIT_NO : CLI_EXIT_DONE;
}

static int check(const cli_global *global, const char *path, const mneme_settings *settings)
{
    check_run checking = {.problems = global->json ? json_array() : NULL};
    mneme_check_report report = {0};
    mneme_error error = {MNEME_OK, ""};
    mneme *memory = NULL;
    cli_stop_prepare();
    mneme_status status = mneme_open(path, settings, MNEME_OPEN_READ_ONLY, &memory, &error);
    bool opened = status == MNEME_OK;
    cli_progress_begin(&checking.progress, "checking", "records", 0);
    if (opened) status = mneme_check(memory, take_problem, show_progress, &checking, &report, &error);
    cli_progress_end(&checking.progress);
    if (status == MNEME_ERR_DAMAGED) take_damage(&checking, &report, &error);
    int code = status == MNEME_OK || status == MNEME_ERR_DAMAGED ? finish(global, &checking, &report)
               : opened                                          ? cli_failed(&error)
                        : cli_store_failed(global, MNEME_OPEN_READ_ONLY, &error);
    json_decref(checking.problems);
    mneme_close(memory);
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    const cli_option options[] = {CLI_OPTIONS_END};
    mneme_settings *settings = NULL;
    int code = cli_parse(global, &cli_command_check, options, argc, argv, NULL);
    if (code == CLI_GO_ON) code = cli_open_settings(global, &settings);
    if (code == CLI_GO_ON) {
        char *path = cli_store_path(global, NULL);
        code = check(global, path, settings);
        free(path);
    }
    mneme_settings_free(settings);
    return code;
}

const cli_command cli_command_check = {
    .name = "check",
    .usage = "[OPTIONS]",
    .summary = "read the whole store and name any damage",
    .details =
        "Prints one line for each problem: what, where, how much. With --json: {\"sound\",\"problems\":[...],\"records\",\n"
        "\"chunks\",\"vectors\",\"postings\"}. Exit code 1: damage was found.",
    .example = "mneme check && echo sound",
    .run = run,
};
