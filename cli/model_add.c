/* model_add.c -- mneme model add: a model's folder of the user's own, copied or linked to where models are kept. */
#include "cli/commands.h"
#include "cli/copy_folder.h"
#include "cli/model_folders.h"
#include "cli/model_verbs.h"
#include "cli/output.h"
#include "cli/path.h"
#include "cli/stop.h"

#include <stdlib.h>
#include <string.h>

/* Would `to` be the folder that it is made from? Then replacing it would lose it, or link it to itself. */
static bool same_folder(const char *from, const char *to)
{
    char *real_from = realpath(from, NULL), *real_to = realpath(to, NULL);
    bool same = real_from && real_to && strcmp(real_from, real_to) == 0;
    free(real_from);
    free(real_to);
    return same;
}

static void report(const cli_global *global, const char *name, const char *folder, bool link)
{
    if (global->json) {
        json_t *object = json_object();
        cli_json_put(object, "name", name);
        cli_json_put(object, "path", folder);
        json_object_set_new(object, "link", json_boolean(link));
        cli_print_json(object);
    } else {
        cli_print("%s\n", folder);
    }
    cli_say("use it with --set encoder.model=%s, or write that into the settings file", name);
}

static int put(const cli_global *global, const char *from, const cli_model_place *place, const char *name, bool link)
{
    char reason[600];
    cli_stop_prepare();
    bool fine = link ? cli_link_folder(from, place->folder, place->replace, reason, sizeof reason)
                     : cli_copy_folder(from, place->folder, place->replace, reason, sizeof reason);
    if (!fine && cli_stop_asked()) {
        cli_say("stopped");
        return cli_stop_code();
    }
    if (!fine) {
        cli_complain("%s", reason);
        return CLI_EXIT_FAILURE;
    }
    report(global, name, place->folder, link);
    return CLI_EXIT_DONE;
}

int cli_model_add(const cli_global *global, const mneme_settings *settings, const char *folder,
                  const cli_model_options *options)
{
    mneme_error error = {MNEME_OK, ""};
    cli_model_place place = {0};
    char *from = cli_path_absolute(folder);
    const char *name = options->name ? options->name : cli_path_base(from);
    int code = cli_model_place_find(settings, name, options->force, &place);
    if (code == CLI_GO_ON && same_folder(from, place.folder))
        code = cli_usage_error(&cli_command_model, "add: %s is the model %s already", folder, name);
    if (code == CLI_GO_ON && cli_model_try(settings, from, NULL, &error) != MNEME_OK) code = cli_failed(&error);
    if (code == CLI_GO_ON) code = put(global, from, &place, name, options->link);
    cli_model_place_free(&place);
    free(from);
    return code;
}
