/* cmd_reinforce.c -- mneme reinforce: these memories were of use. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/store_option.h"

static int reinforce(const cli_global *global, mneme *memory, const cli_words *ids, const char *name_space,
                     double amount)
{
    mneme_error error = {MNEME_OK, ""};
    if (mneme_reinforce(memory, name_space, (const char *const *)ids->items, ids->n, amount, &error) != MNEME_OK)
        return cli_failed(&error);
    if (global->json) {
        json_t *object = json_object();
        cli_json_count(object, "reinforced", ids->n);
        cli_print_json(object);
    } else if (!global->quiet) {
        cli_print("reinforced %zu record%s\n", ids->n, ids->n == 1 ? "" : "s");
    }
    return CLI_EXIT_DONE;
}

static int run(cli_global *global, int argc, char **argv)
{
    const char *name_space = "";
    double amount = 1;
    const cli_option options[] = {
        {'n', "namespace", CLI_TEXT, &name_space, "NAME", "the namespace of the records (default: the unnamed one)"},
        {0, "amount", CLI_NUMBER, &amount, "X", "how much it counts: 1 is all the attention of one question (default)"},
        CLI_OPTIONS_END,
    };
    cli_words ids = {0};
    mneme *memory = NULL;
    int code = cli_parse(global, &cli_command_reinforce, options, argc, argv, &ids);
    if (code == CLI_GO_ON && ids.n == 0) code = cli_usage_error(&cli_command_reinforce, "no id given");
    if (code == CLI_GO_ON && !(amount > 0 && amount <= 100))
        code = cli_usage_error(&cli_command_reinforce, "--amount %g: expected a number above 0, at most 100", amount);
    if (code == CLI_GO_ON) code = cli_open_store(global, MNEME_OPEN_EXISTING, &memory, NULL);
    if (code == CLI_GO_ON) code = reinforce(global, memory, &ids, name_space, amount);
    mneme_close(memory);
    cli_list_free(&ids);
    return code;
}

const cli_command cli_command_reinforce = {
    .name = "reinforce",
    .usage = "ID... [OPTIONS]",
    .summary = "strengthen records: they were of use",
    .details =
        "Counts as one use of each (docs/dynamics.md); 'mneme get ID --json' shows the strength. All or none. With\n"
        "--json: {\"reinforced\"}. Exit code 1: an id is not there.",
    .example = "mneme reinforce notes/garden.md\nmneme reinforce D1:3 D1:4 --namespace conv-26 --amount 0.5",
    .run = run,
};
