/* model_verbs.h -- what `mneme model` can do, a file each. All return the exit code and say on stderr what goes wrong.
 */
#ifndef MN_CLI_MODEL_VERBS_H
#define MN_CLI_MODEL_VERBS_H

#include "cli/arguments.h"

typedef struct cli_model_options {
    const char *name;     /* add, pull: what to call the model; NULL: as its folder, or as on the hub */
    const char *revision; /* pull */
    bool force;           /* add, pull: replace a model of that name */
    bool link;            /* add: a symbolic link instead of a copy */
} cli_model_options;

/* The encoder of a model, NULL = the one in use; CLI_GO_ON, or the exit code. *out: owned. */
int cli_model_open(mneme_settings *settings, const char *model, mneme_encoder **out);

int cli_model_list(const cli_global *global, const mneme_settings *settings);
/* model: NULL = the one in use. */
int cli_model_info(const cli_global *global, mneme_settings *settings, const char *model);
/* model: NULL = the one in use. */
int cli_model_pack(const cli_global *global, mneme_settings *settings, const char *model);
int cli_model_add(const cli_global *global, const mneme_settings *settings, const char *folder,
                  const cli_model_options *options);
int cli_model_pull(const cli_global *global, const mneme_settings *settings, const char *model,
                   const cli_model_options *options);

#endif
