/* cmd_forget.c -- mneme forget: remove records for good. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/store_option.h"

static void print_result(const cli_global *global, uint64_t forgotten, bool dry_run)
{
    if (global->json) {
        json_t *object = json_object();
        cli_json_count(object, "forgotten", forgotten);
        json_object_set_new(object, "dry_run", json_boolean(dry_run));
        cli_print_json(object);
        return;
    }
    if (forgotten == 0) cli_say("no such record");
    else if (!global->quiet)
        cli_print("%s %llu record%s\n", dry_run ? "would forget" : "forgot", (unsigned long long)forgotten,
                  forgotten == 1 ? "" : "s");
}

static int forget(const cli_global *global, mneme *memory, const mneme_forget_options *options)
{
    mneme_error error = {MNEME_OK, ""};
    uint64_t forgotten = 0;
    if (mneme_forget(memory, options, &forgotten, &error) != MNEME_OK) return cli_failed(&error);
    print_result(global, forgotten, options->dry_run);
    return forgotten ? CLI_EXIT_DONE : CLI_EXIT_NO;
}

/* Ids go with a namespace only; conditions go without ids. */
static int check_usage(const cli_words *ids, const cli_selection *selection)
{
    cli_selection others = *selection;
    others.name_space = NULL;
    if (ids->n && cli_selection_any(&others))
        return cli_usage_error(&cli_command_forget, "give either ids (with --namespace) or conditions");
    if (!ids->n && !cli_selection_any(selection))
        return cli_usage_error(&cli_command_forget, "say what to forget: ids, or a condition such as --source PATH");
    return CLI_GO_ON;
}

static int run(cli_global *global, int argc, char **argv)
{
    cli_selection selection = {0};
    bool dry_run = false;
    const cli_option options[] = {
        {0, "dry-run", CLI_FLAG, &dry_run, NULL, "only count what would go"},
        CLI_SELECTION_OPTIONS(selection),
        CLI_OPTIONS_END,
    };
    cli_words ids = {0};
    mneme *memory = NULL;
    int code = cli_parse(global, &cli_command_forget, options, argc, argv, &ids);
    if (code == CLI_GO_ON) code = check_usage(&ids, &selection);
    if (code == CLI_GO_ON) code = cli_open_store(global, MNEME_OPEN_EXISTING, &memory, NULL);
    if (code == CLI_GO_ON) {
        mneme_forget_options forgetting = MNEME_FORGET_OPTIONS_INIT;
        forgetting.ids = ids.n ? ids.items : NULL;
        forgetting.n_ids = ids.n;
        forgetting.select = cli_selection_get(&selection);
        forgetting.dry_run = dry_run;
        code = forget(global, memory, &forgetting);
    }
    mneme_close(memory);
    cli_list_free(&ids);
    return code;
}

const cli_command cli_command_forget = {
    .name = "forget",
    .usage = "ID... | CONDITIONS [OPTIONS]",
    .summary = "remove records: text, vectors and postings",
    .details = "Asks nothing; --dry-run counts first. All conditions that are given must hold. With --json:\n"
               "{\"forgotten\",\"dry_run\"}. Exit code 1: there was no such record.",
    .example = "mneme forget notes/garden.md\nmneme forget --source old-notes/ --dry-run",
    .run = run,
};
