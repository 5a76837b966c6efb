/* commands.h -- the list of commands: a new one is a file cli/cmd_<name>.c that defines cli_command_<name>, and a line
 * here, in the order in which help shows them. */
#ifndef MN_CLI_COMMANDS_H
#define MN_CLI_COMMANDS_H

#include "cli/arguments.h"

#define CLI_COMMANDS(X)                                                                                                \
    X(init)                                                                                                            \
    X(index)                                                                                                           \
    X(add)                                                                                                             \
    X(get)                                                                                                             \
    X(list) X(forget) X(reinforce) X(pin) X(unpin) X(prune) X(consolidate) X(query) X(context) X(embed) X(tokenize)    \
        X(stats) X(check) X(optimize) X(compact) X(reindex) X(backup) X(export) X(import) X(eval) X(config) X(bench)   \
            X(model) X(train)

#define CLI_DECLARE_COMMAND(name) extern const cli_command cli_command_##name;
CLI_COMMANDS(CLI_DECLARE_COMMAND)
#undef CLI_DECLARE_COMMAND

#endif
