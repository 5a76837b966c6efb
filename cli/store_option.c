/* store_option.c -- which store and which settings a command works with. */
#include "cli/store_option.h"

#include "cli/output.h"
#include "cli/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *set_variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* "$XDG_DATA_HOME/mneme", or the same below the home folder; owned. */
static char *user_folder(const char *variable, const char *below_home)
{
    const char *base = set_variable(variable), *home = set_variable("HOME");
    if (base && base[0] == '/') return cli_path_join(base, "mneme");
    char *folder = cli_path_join(home ? home : "/", below_home);
    char *path = cli_path_join(folder, "mneme");
    free(folder);
    return path;
}

/* The nearest .mneme folder, from the current folder upwards; owned, NULL = none. */
static char *nearest_store(void)
{
    char *folder = getcwd(NULL, 0);
    while (folder) {
        char *candidate = cli_path_join(folder, ".mneme");
        if (cli_is_folder(candidate)) {
            free(folder);
            return candidate;
        }
        free(candidate);
        char *slash = strrchr(folder, '/');
        if (!slash || !slash[1]) break; /* "/" itself was the last */
        slash[slash == folder] = '\0';
    }
    free(folder);
    return NULL;
}

char *cli_store_path(const cli_global *global, const char **origin)
{
    const char *ignored, *variable = set_variable("MNEME_STORE");
    if (!origin) origin = &ignored;
    if (global->store) {
        *origin = "--store";
        return cli_strdup(global->store);
    }
    if (variable) {
        *origin = "$MNEME_STORE";
        return cli_strdup(variable);
    }
    char *nearest = nearest_store();
    *origin = nearest ? ".mneme" : "default";
    return nearest ? nearest : user_folder("XDG_DATA_HOME", ".local/share");
}

/* `folder`/`name` when there is such a file; `folder` is released. */
static char *file_in(char *folder, const char *name)
{
    char *path = cli_path_join(folder, name);
    free(folder);
    if (access(path, F_OK) == 0) return path;
    free(path);
    return NULL;
}

char *cli_config_path(const cli_global *global)
{
    if (global->config) return cli_strdup(global->config);
    char *path = file_in(cli_store_path(global, NULL), "mneme.yaml");
    return path ? path : file_in(user_folder("XDG_CONFIG_HOME", ".config"), "config.yaml");
}

/* Whatever is wrong with the settings is bad configuration; only a lack of memory is not. */
static int settings_failed(const mneme_error *error)
{
    int code = cli_failed(error);
    return error->code == MNEME_ERR_MEMORY ? code : CLI_EXIT_USAGE;
}

static mneme_status apply_set(const cli_global *global, mneme_settings *settings, mneme_error *error)
{
    for (size_t i = 0; i < global->set.n; i++) {
        const char *item = global->set.items[i], *equals = strchr(item, '=');
        if (!equals || equals == item) {
            *error = (mneme_error){.code = MNEME_ERR_SETTING};
            snprintf(error->message, sizeof error->message,
                     "--set '%.200s': expected NAME=VALUE, as in --set retrieval.k=20", item);
            return error->code;
        }
        char *name = cli_strndup(item, (size_t)(equals - item));
        mneme_status status = mneme_settings_set(settings, name, equals + 1, "command line", error);
        free(name);
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

static mneme_status load_file(const cli_global *global, mneme_settings *settings, mneme_error *error)
{
    char *path = cli_config_path(global);
    mneme_status status = path ? mneme_settings_load_file(settings, path, error) : MNEME_OK;
    free(path);
    return status;
}

/* output.color, where it is set to anything but auto. */
static void apply_color(const cli_global *global, const mneme_settings *settings)
{
    mneme_setting color;
    cli_color choice = CLI_COLOR_AUTO;
    if (mneme_settings_find(settings, "output.color", &color)) {
        if (strcmp(color.value, "always") == 0) choice = CLI_COLOR_ALWAYS;
        if (strcmp(color.value, "never") == 0) choice = CLI_COLOR_NEVER;
    }
    cli_output_set(global->quiet, choice);
}

int cli_open_settings(const cli_global *global, mneme_settings **out)
{
    mneme_error error = {MNEME_OK, ""};
    *out = NULL;
    mneme_status status = mneme_settings_new(out, &error);
    if (status == MNEME_OK) status = load_file(global, *out, &error);
    if (status == MNEME_OK) status = mneme_settings_load_environment(*out, &error);
    if (status == MNEME_OK) status = apply_set(global, *out, &error);
    if (status != MNEME_OK) {
        mneme_settings_free(*out);
        *out = NULL;
        return settings_failed(&error);
    }
    apply_color(global, *out);
    return CLI_GO_ON;
}

int cli_store_failed(const cli_global *global, unsigned flags, const mneme_error *error)
{
    const char *origin;
    char *path = cli_store_path(global, &origin);
    int code = CLI_EXIT_FAILURE;
    if (flags && access(path, F_OK) != 0) {
        if (strcmp(origin, "default") == 0) origin = "the default place";
        cli_complain("there is no store at %s (%s); 'mneme index' or 'mneme add' makes one, --store names another",
                     path, origin);
    } else {
        code = cli_failed(error);
    }
    free(path);
    return code == CLI_EXIT_NO ? CLI_EXIT_FAILURE : code;
}

int cli_open_store_with(const cli_global *global, const mneme_settings *settings, unsigned flags, mneme **out)
{
    char *path = cli_store_path(global, NULL);
    mneme_error error = {MNEME_OK, ""};
    int code = CLI_GO_ON;
    if (mneme_open(path, settings, flags, out, &error) != MNEME_OK) code = cli_store_failed(global, flags, &error);
    free(path);
    return code;
}

int cli_open_store(const cli_global *global, unsigned flags, mneme **out, mneme_settings **settings)
{
    mneme_settings *loaded = NULL;
    *out = NULL;
    if (settings) *settings = NULL;
    int code = cli_open_settings(global, &loaded);
    if (code != CLI_GO_ON) return code;
    code = cli_open_store_with(global, loaded, flags, out);
    if (code == CLI_GO_ON && settings) *settings = loaded;
    else mneme_settings_free(loaded);
    return code;
}

int cli_open_encoder(const cli_global *global, mneme_encoder **out)
{
    mneme_settings *settings = NULL;
    mneme_error error = {MNEME_OK, ""};
    *out = NULL;
    int code = cli_open_settings(global, &settings);
    if (code != CLI_GO_ON) return code;
    if (mneme_encoder_open(settings, out, &error) != MNEME_OK) {
        code = cli_failed(&error);
        if (code == CLI_EXIT_NO) code = CLI_EXIT_USAGE; /* a model that is not there: the setting is wrong */
    }
    mneme_settings_free(settings);
    return code;
}
