/* train_verbs.h -- what `mneme train` can do, a file each. argv: what follows the verb. All return the exit code and
 * say on stderr what goes wrong. */
#ifndef MN_CLI_TRAIN_VERBS_H
#define MN_CLI_TRAIN_VERBS_H

#include "cli/arguments.h"

int cli_train_encoder(cli_global *global, int argc, char **argv);
int cli_train_lm(cli_global *global, int argc, char **argv);
int cli_train_sample(cli_global *global, int argc, char **argv);

#endif
