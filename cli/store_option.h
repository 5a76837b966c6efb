/* store_option.h -- which store and which settings a command works with.
 *
 * The store is --store, else $MNEME_STORE, else the nearest .mneme folder upwards, else $XDG_DATA_HOME/mneme
 * (~/.local/share/mneme). Settings come from the command line (--set) over the environment over one file over the
 * defaults; the file is --config, else mneme.yaml in the store's folder, else $XDG_CONFIG_HOME/mneme/config.yaml
 * (~/.config/mneme/config.yaml). */
#ifndef MN_CLI_STORE_OPTION_H
#define MN_CLI_STORE_OPTION_H

#include "cli/arguments.h"

/* The path of the store in use; owned (free). *origin (NULL allowed): "--store", "$MNEME_STORE", ".mneme" or
 * "default", static. Never fails: the folder need not exist. */
char *cli_store_path(const cli_global *global, const char **origin);

/* The settings file in use, owned (free); NULL = none. */
char *cli_config_path(const cli_global *global);

/* The settings in force; also sets colour from output.color. *out is owned (mneme_settings_free). Returns CLI_GO_ON, or
 * the exit code after saying why on stderr. */
int cli_open_settings(const cli_global *global, mneme_settings **out);

/* The store in use, opened with the settings in force. flags: MNEME_OPEN_...; without any, a missing store is made.
 * *out is owned (mneme_close). settings: NULL, or receives the settings (owned). As above for the result; a store that
 * is not there is named together with where the name came from. */
int cli_open_store(const cli_global *global, unsigned flags, mneme **out, mneme_settings **settings);

/* The same with these settings (borrowed). */
int cli_open_store_with(const cli_global *global, const mneme_settings *settings, unsigned flags, mneme **out);

/* Says why the store in use did not open; returns the exit code. For callers of mneme_open. */
int cli_store_failed(const cli_global *global, unsigned flags, const mneme_error *error);

/* The encoder that the settings name, without a store; *out is owned (mneme_encoder_close). */
int cli_open_encoder(const cli_global *global, mneme_encoder **out);

#endif
