/* model_compress.h -- mneme model quantize, mneme model prune. */
#ifndef MN_CLI_MODEL_COMPRESS_H
#define MN_CLI_MODEL_COMPRESS_H

#include "cli/arguments.h"

/* argv: what follows the verb. Return the program's exit code. */
int cli_model_quantize(cli_global *global, int argc, char **argv);
int cli_model_prune(cli_global *global, int argc, char **argv);

#endif
