/* model_folders.c -- where models are kept. */
#include "cli/model_folders.h"

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/path.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { JSON_MAX_BYTES = 1 << 20 };

const char *cli_setting_text(const mneme_settings *settings, const char *name, const char **origin)
{
    mneme_setting setting;
    bool found = mneme_settings_find(settings, name, &setting);
    if (origin) *origin = found ? setting.origin : "default";
    return found ? setting.value : "";
}

char *cli_next_folder(const char **at)
{
    while (**at == ':') ++*at;
    size_t size = strcspn(*at, ":");
    char *folder = size ? cli_strndup(*at, size) : NULL;
    *at += size;
    return folder;
}

static int check_name(const char *name)
{
    if (strchr(name, '/') || !*name || name[0] == '.' || strlen(name) > 200)
        return cli_usage_error(&cli_command_model, "--name '%.40s': expected a plain name", name);
    for (const char *at = name; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127)
            return cli_usage_error(&cli_command_model,
                                   "--name: expected a plain name, not one with control characters");
    return CLI_GO_ON;
}

int cli_model_place_find(const mneme_settings *settings, const char *name, bool replace, cli_model_place *place)
{
    struct stat info;
    *place = (cli_model_place){.replace = replace};
    int code = check_name(name);
    if (code != CLI_GO_ON) return code;
    const char *at = cli_setting_text(settings, "encoder.path", NULL);
    place->home = cli_next_folder(&at);
    if (!place->home)
        return cli_usage_error(&cli_command_model, "encoder.path is empty: there is no place to keep models");
    char *home = cli_path_absolute(place->home);
    free(place->home);
    place->home = home;
    place->folder = cli_path_join(home, name);
    if (!replace && lstat(place->folder, &info) == 0) {
        cli_complain("there is a model called %s already: %s; --force replaces it, --name gives this one another name",
                     name, place->folder);
        return CLI_EXIT_USAGE;
    }
    return CLI_GO_ON;
}

void cli_model_place_free(cli_model_place *place)
{
    free(place->home);
    free(place->folder);
    *place = (cli_model_place){0};
}

mneme_status cli_model_try(const mneme_settings *settings, const char *folder, mneme_encoder **out, mneme_error *error)
{
    mneme_settings *own = NULL;
    mneme_encoder *encoder = NULL;
    const char *path = cli_setting_text(settings, "encoder.path", NULL);
    mneme_status status = mneme_settings_new(&own, error);
    if (status == MNEME_OK) status = mneme_settings_set(own, "encoder.path", path, "command line", error);
    if (status == MNEME_OK) status = mneme_settings_set(own, "encoder.model", folder, "command line", error);
    if (status == MNEME_OK) status = mneme_encoder_open(own, &encoder, error);
    if (out)
        *out = encoder;
    else
        mneme_encoder_close(encoder);
    mneme_settings_free(own);
    return status;
}

json_t *cli_model_json(const char *folder, const char *name)
{
    struct stat info;
    char *path = cli_path_join(folder, name);
    json_t *json = NULL;
    if (stat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size <= JSON_MAX_BYTES)
        json = json_load_file(path, 0, NULL);
    free(path);
    return json;
}
