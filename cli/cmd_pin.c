/* cmd_pin.c -- mneme pin and its undoing, mneme unpin. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/store_option.h"

static int pin_all(const cli_global *global, mneme *memory, const cli_words *ids, const char *name_space, bool pinned)
{
    mneme_error error = {MNEME_OK, ""};
    const char *what = pinned ? "pinned" : "unpinned";
    if (mneme_pin(memory, name_space, (const char *const *)ids->items, ids->n, pinned, &error) != MNEME_OK)
        return cli_failed(&error);
    if (global->json) {
        json_t *object = json_object();
        cli_json_count(object, what, ids->n);
        cli_print_json(object);
    } else if (!global->quiet) {
        cli_print("%s %zu record%s\n", what, ids->n, ids->n == 1 ? "" : "s");
    }
    return CLI_EXIT_DONE;
}

static int run(cli_global *global, const cli_command *command, bool pinned, int argc, char **argv)
{
    const char *name_space = "";
    const cli_option options[] = {
        {'n', "namespace", CLI_TEXT, &name_space, "NAME", "the namespace of the records (default: the unnamed one)"},
        CLI_OPTIONS_END,
    };
    cli_words ids = {0};
    mneme *memory = NULL;
    int code = cli_parse(global, command, options, argc, argv, &ids);
    if (code == CLI_GO_ON && ids.n == 0) code = cli_usage_error(command, "no id given");
    if (code == CLI_GO_ON) code = cli_open_store(global, MNEME_OPEN_EXISTING, &memory, NULL);
    if (code == CLI_GO_ON) code = pin_all(global, memory, &ids, name_space, pinned);
    mneme_close(memory);
    cli_list_free(&ids);
    return code;
}

static int run_pin(cli_global *global, int argc, char **argv)
{
    return run(global, &cli_command_pin, true, argc, argv);
}

static int run_unpin(cli_global *global, int argc, char **argv)
{
    return run(global, &cli_command_unpin, false, argc, argv);
}

const cli_command cli_command_pin = {
    .name = "pin",
    .usage = "ID... [OPTIONS]",
    .summary = "keep records: they never fade, end or are pruned",
    .details = "All or none. 'mneme forget' removes a pinned record all the same. With --json: {\"pinned\"}. Exit code "
               "1: an id\n"
               "is not there.",
    .example = "mneme pin notes/garden.md\nmneme pin D1:3 --namespace conv-26",
    .run = run_pin,
};

const cli_command cli_command_unpin = {
    .name = "unpin",
    .usage = "ID... [OPTIONS]",
    .summary = "let pinned records fade again",
    .details = "All or none. With --json: {\"unpinned\"}. Exit code 1: an id is not there.",
    .example = "mneme unpin notes/garden.md",
    .run = run_unpin,
};
