/* model_folders.c -- where models are kept. */
#include "cli/model_folders.h"

#include "cli/commands.h"
#include "cli/copy_folder.h"
#include "cli/output.h"
#include "cli/path.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

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

/* The first model of that name in `home` and the folders of encoder.path behind it (at); owned, NULL: there is none. */
static char *find_name(const char *home, const char *at, const char *name)
{
    struct stat info;
    char *folder = cli_strdup(home), *found = NULL;
    for (; folder && !found; folder = cli_next_folder(&at)) {
        found = cli_path_join(folder, name);
        if (lstat(found, &info) != 0) {
            free(found);
            found = NULL;
        }
        free(folder);
    }
    free(folder);
    return found;
}

/* Is this what a command that puts a model together (NAME.part-PID) has left when it was killed? Another machine's may
 * be at work in a shared folder: what has changed within the hour is let be. */
static bool is_left_over(const char *path, const char *name)
{
    struct stat info;
    const char *dot = strstr(name, ".part-");
    char *end = NULL;
    long pid = dot ? strtol(dot + strlen(".part-"), &end, 10) : 0;
    return pid > 0 && *end == '\0' && lstat(path, &info) == 0 && time(NULL) - info.st_mtime > 3600 &&
           kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static void sweep(const char *home)
{
    DIR *folder = opendir(home);
    for (const struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        char *path = cli_path_join(home, entry->d_name);
        if (is_left_over(path, entry->d_name)) cli_remove_tree(path);
        free(path);
    }
    if (folder) closedir(folder);
}

int cli_model_place_find(const mneme_settings *settings, const char *name, bool replace, cli_model_place *place)
{
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
    sweep(home);
    char *taken = replace ? NULL : find_name(home, at, name);
    bool here = taken && strcmp(taken, place->folder) == 0;
    if (taken)
        cli_complain("there is a model called %s already: %s; --force %s it, --name gives this one another name", name,
                     taken, here ? "replaces" : "hides");
    free(taken);
    return taken ? CLI_EXIT_USAGE : CLI_GO_ON;
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
