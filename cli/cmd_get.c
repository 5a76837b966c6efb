/* cmd_get.c -- mneme get: records by their ids. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/record_view.h"
#include "cli/store_option.h"

#include <string.h>

/* The id is not in the namespace asked for: say so, and where it is if it is elsewhere. */
static void explain_missing(mneme *memory, const char *name_space, const char *id)
{
    mneme_stats *stats = NULL;
    const char *elsewhere = NULL;
    mneme_get_stats(memory, &stats, NULL);
    for (size_t i = 0; stats && i < stats->n_namespaces && !elsewhere; i++) {
        mneme_record_list *found = NULL;
        if (mneme_get(memory, stats->namespaces[i].name, id, &found, NULL) == MNEME_OK)
            elsewhere = stats->namespaces[i].name;
        mneme_record_list_free(found);
    }
    char *place = *name_space ? cli_format("namespace '%s'", name_space) : cli_strdup("the unnamed namespace");
    if (elsewhere)
        cli_complain("there is no record '%s' in %s; there is one with --namespace '%s'", id, place, elsewhere);
    else cli_complain("there is no record '%s' in %s", id, place);
    free(place);
    mneme_stats_free(stats);
}

static void print_record(const mneme_record *record)
{
    if (!record->text_size) return;
    cli_print_text(record->text, record->text_size);
    if (record->text[record->text_size - 1] != '\n') cli_print("\n");
}

static int get_one(const cli_global *global, mneme *memory, const char *name_space, const char *id)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_record_list *found = NULL;
    mneme_status status = mneme_get(memory, name_space, id, &found, &error);
    if (status == MNEME_ERR_NOT_FOUND) {
        explain_missing(memory, name_space, id);
        return CLI_EXIT_NO;
    }
    if (status != MNEME_OK) return cli_failed(&error);
    if (global->json) cli_print_json(cli_record_json(found->items, found->n_chunks[0], found->strengths, true));
    else print_record(found->items);
    mneme_record_list_free(found);
    return CLI_EXIT_DONE;
}

static int run(cli_global *global, int argc, char **argv)
{
    const char *name_space = "";
    const cli_option options[] = {
        {'n', "namespace", CLI_TEXT, &name_space, "NAME", "the namespace of the records (default: the unnamed one)"},
        CLI_OPTIONS_END,
    };
    cli_words ids = {0};
    mneme *memory = NULL;
    int code = cli_parse(global, &cli_command_get, options, argc, argv, &ids);
    if (code == CLI_GO_ON && ids.n == 0) code = cli_usage_error(&cli_command_get, "no id given");
    if (code == CLI_GO_ON) code = cli_open_store(global, MNEME_OPEN_READ_ONLY, &memory, NULL);
    if (code == CLI_GO_ON) {
        code = CLI_EXIT_DONE;
        for (size_t i = 0; i < ids.n && code <= CLI_EXIT_NO; i++) {
            int result = get_one(global, memory, name_space, ids.items[i]);
            if (result > code) code = result;
        }
    }
    mneme_close(memory);
    cli_list_free(&ids);
    return code;
}

const cli_command cli_command_get = {
    .name = "get",
    .usage = "ID... [OPTIONS]",
    .summary = "print records by their ids",
    .details =
        "Prints the text as it was stored; with --json one record a line, as 'index' reads it. Exit code 1: an id is\n"
        "not there (the others are printed).",
    .example = "mneme get notes/garden.md\nmneme get D1:3 --namespace conv-26 --json",
    .run = run,
};
