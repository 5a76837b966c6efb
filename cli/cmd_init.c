/* cmd_init.c -- mneme init: make an empty store. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/path.h"
#include "cli/store_option.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --store as it is, else .mneme in the folder named (the current one). $MNEME_STORE does not count here: who types
 * `mneme init` means this folder. Owned. */
static char *place(const cli_global *global, const cli_words *words)
{
    return global->store ? cli_strdup(global->store) : cli_path_join(words->n ? words->items[0] : ".", ".mneme");
}

static int make(const cli_global *global, const char *path)
{
    mneme *memory = NULL;
    mneme_stats *stats = NULL;
    mneme_error error = {MNEME_OK, ""};
    cli_global chosen = *global;
    chosen.store = path;
    bool existed = access(path, F_OK) == 0;
    int code = cli_open_store(&chosen, 0, &memory, NULL);
    if (code != CLI_GO_ON) return code;
    code = mneme_get_stats(memory, &stats, &error) == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
    if (code == CLI_EXIT_DONE && global->json) {
        json_t *object = json_object();
        cli_json_put(object, "path", stats->path);
        json_object_set_new(object, "created", json_boolean(!existed));
        cli_json_count(object, "records", stats->records);
        cli_print_json(object);
    } else if (code == CLI_EXIT_DONE && !global->quiet) {
        cli_print("%s %s\n", existed ? "the store is there already:" : "made an empty store:", path);
    }
    mneme_stats_free(stats);
    mneme_close(memory);
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    const cli_option options[] = {CLI_OPTIONS_END};
    cli_words words = {0};
    int code = cli_parse(global, &cli_command_init, options, argc, argv, &words);
    if (code == CLI_GO_ON && (words.n > 1 || (words.n && global->store)))
        code = cli_usage_error(&cli_command_init, "expected one folder, or --store");
    if (code == CLI_GO_ON && words.n && !cli_is_folder(words.items[0])) {
        cli_complain("%s is not a folder", words.items[0]);
        code = CLI_EXIT_USAGE;
    }
    if (code == CLI_GO_ON) {
        char *path = place(global, &words);
        code = make(global, path);
        free(path);
    }
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_init = {
    .name = "init",
    .usage = "[FOLDER] [OPTIONS]",
    .summary = "make an empty store: the folder .mneme here",
    .details =
        "Every command below this folder then works with that store, as git finds its own. A store that is there already\n"
        "stays as it is. (index and add make the store that they need by themselves.)",
    .example = "mneme init\nmneme init ~/projects/book",
    .run = run,
};
