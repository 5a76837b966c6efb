/* model_distill.h -- mneme model distill. */
#ifndef MN_CLI_MODEL_DISTILL_H
#define MN_CLI_MODEL_DISTILL_H

#include "cli/arguments.h"

/* argv: what follows "distill". Returns the program's exit code. */
int cli_model_distill(cli_global *global, int argc, char **argv);

#endif
