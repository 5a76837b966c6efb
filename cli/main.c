/* main.c -- finds the command and runs it. Everything else is in the commands' own files. */
#include "cli/commands.h"
#include "cli/output.h"

#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_command *const commands[] = {
#define COMMAND_ADDRESS(name) &cli_command_##name,
    CLI_COMMANDS(COMMAND_ADDRESS)
#undef COMMAND_ADDRESS
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

static const cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++) names[i] = commands[i]->name;
    const char *nearest = cli_nearest(name, names, N_COMMANDS);
    if (nearest) return cli_usage_error(NULL, "unknown command '%s' (did you mean '%s'?)", name, nearest);
    return cli_usage_error(NULL, "unknown command '%s'", name);
}

/* What stands before the command's name, then the command. */
static int dispatch(cli_global *global, int argc, char **argv)
{
    int used = 0;
    int code = cli_parse_global(global, argc, argv, &used);
    if (code != CLI_GO_ON) return code;
    if (used == argc) {
        if (global->version) cli_print("mneme %s\n", mneme_version());
        else if (global->help) cli_print_overview(commands, N_COMMANDS);
        else return cli_usage_error(NULL, "no command given");
        return CLI_EXIT_DONE;
    }
    const char *name = argv[used];
    if (strcmp(name, "help") == 0) { /* "help" and "help query" */
        global->help = true;
        return dispatch(global, argc - used - 1, argv + used + 1);
    }
    const cli_command *command = find_command(name);
    return command ? command->run(global, argc - used - 1, argv + used + 1) : unknown_command(name);
}

/* Where $HOME is no folder's name, as in some services: the one that the system has for this user. */
static void find_home(void)
{
    const char *home = getenv("HOME");
    if (home && home[0] == '/') return;
    const struct passwd *user = getpwuid(geteuid());
    if (user && user->pw_dir && user->pw_dir[0] == '/') setenv("HOME", user->pw_dir, 1);
}

int main(int argc, char **argv)
{
    find_home();
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away shows as a failed write: see cli_output_end */
    signal(SIGXFSZ, SIG_IGN); /* a limit on files' sizes, as one, too */
    cli_output_begin();
    cli_global global = {0};
    int code = dispatch(&global, argc > 0 ? argc - 1 : 0, argv + (argc > 0));
    cli_list_free(&global.set);
    return cli_output_end(code);
}
