/* model_folders.h -- where models are kept: the folders of encoder.path, of which the first takes new ones. One thread.
 */
#ifndef MN_CLI_MODEL_FOLDERS_H
#define MN_CLI_MODEL_FOLDERS_H

#include "cli/arguments.h"

#include <jansson.h>

/* A setting's value, "" when there is none; *origin (NULL allowed): what set it. Borrowed from settings. */
const char *cli_setting_text(const mneme_settings *settings, const char *name, const char **origin);

/* The next folder of a list separated by ':', and *at behind it; owned (free), NULL at the end. */
char *cli_next_folder(const char **at);

/* Where a new model goes. */
typedef struct cli_model_place {
    char *home;   /* the first folder of encoder.path; owned */
    char *folder; /* home/name; owned */
    bool replace; /* what is there may be replaced */
} cli_model_place;

/* The place for a model called `name`. Refused (an exit code, said on stderr): a name that is none, no encoder.path, a
 * name that is taken without `replace`. */
int cli_model_place_find(const mneme_settings *settings, const char *name, bool replace, cli_model_place *place);
void cli_model_place_free(cli_model_place *place);

/* Open the folder's model as it would be used, with default settings but for encoder.path. *out (NULL allowed): owned.
 */
mneme_status cli_model_try(const mneme_settings *settings, const char *folder, mneme_encoder **out, mneme_error *error);

/* FOLDER/NAME as a JSON object or array, owned; NULL when it is missing, over 1 MB or not JSON. */
json_t *cli_model_json(const char *folder, const char *name);

#endif
