/* cmd_config.c -- mneme config: the settings in force and where each value came from. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/store_option.h"

#include <stdlib.h>
#include <string.h>

/* A value in its own JSON type. */
static json_t *json_value(const mneme_setting *setting)
{
    char *end;
    if (strcmp(setting->type, "boolean") == 0) return json_boolean(strcmp(setting->value, "true") == 0);
    if (strcmp(setting->type, "integer") == 0) {
        long long value = strtoll(setting->value, &end, 10);
        if (end != setting->value && !*end) return json_integer(value);
    }
    if (strcmp(setting->type, "number") == 0) {
        double value = strtod(setting->value, &end);
        if (end != setting->value && !*end) return json_real(value);
    }
    return cli_json_string(setting->value);
}

static json_t *json_setting(const mneme_setting *setting)
{
    json_t *object = json_object();
    cli_json_put(object, "name", setting->name);
    json_object_set_new(object, "value", json_value(setting));
    cli_json_put(object, "origin", setting->origin);
    cli_json_put(object, "type", setting->type);
    cli_json_put(object, "summary", setting->summary);
    return object;
}

static bool wanted(const mneme_setting *setting, const cli_words *names)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->items[i], setting->name) == 0) return true;
    return names->n == 0;
}

static void print_json(const cli_global *global, const mneme_settings *settings, const cli_words *names)
{
    mneme_setting setting;
    json_t *object = json_object(), *list = json_array();
    for (size_t i = 0; mneme_settings_get(settings, i, &setting); i++)
        if (wanted(&setting, names)) json_array_append_new(list, json_setting(&setting));
    const char *origin;
    char *store = cli_store_path(global, &origin), *file = cli_config_path(global);
    cli_json_put(object, "store", store);
    cli_json_put(object, "store_origin", origin);
    json_object_set_new(object, "file", cli_json_string(file));
    json_object_set_new(object, "settings", list);
    cli_print_json(object);
    free(file);
    free(store);
}

static void print_table(const cli_global *global, const mneme_settings *settings, const cli_words *names,
                        bool summaries)
{
    const char *origin;
    char *store = cli_store_path(global, &origin), *file = cli_config_path(global);
    cli_say("store: %s (%s)\nfile: %s", store, origin, file ? file : "none");
    mneme_setting setting;
    for (size_t i = 0; mneme_settings_get(settings, i, &setting); i++) {
        if (!wanted(&setting, names)) continue;
        bool changed = strcmp(setting.origin, "default") != 0;
        cli_print("%s%-26s%s %-28s %s%s%s\n", cli_style_on(changed ? CLI_BOLD : CLI_PLAIN), setting.name,
                  cli_style_off(), setting.value[0] ? setting.value : "\"\"", cli_style_on(CLI_DIM), setting.origin,
                  cli_style_off());
        if (summaries) cli_print("    %s (%s)\n", setting.summary, setting.type);
    }
    free(file);
    free(store);
}

/* Names that are no settings: named, with the nearest. */
static int check_names(const mneme_settings *settings, const cli_words *names)
{
    mneme_setting setting;
    cli_list known = {0};
    int code = CLI_GO_ON;
    for (size_t i = 0; mneme_settings_get(settings, i, &setting); i++) cli_list_add(&known, setting.name);
    for (size_t i = 0; i < names->n && code == CLI_GO_ON; i++) {
        if (mneme_settings_find(settings, names->items[i], &setting)) continue;
        const char *nearest = cli_nearest(names->items[i], known.items, known.n);
        code = nearest ? cli_usage_error(&cli_command_config, "there is no setting '%s' (did you mean %s?)",
                                         names->items[i], nearest)
                       : cli_usage_error(&cli_command_config, "there is no setting '%s'", names->items[i]);
    }
    cli_list_free(&known);
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    bool summaries = false;
    const cli_option options[] = {
        {'l', "long", CLI_FLAG, &summaries, NULL, "with what each setting means"},
        CLI_OPTIONS_END,
    };
    cli_words names = {0};
    mneme_settings *settings = NULL;
    int code = cli_parse(global, &cli_command_config, options, argc, argv, &names);
    if (code == CLI_GO_ON) code = cli_open_settings(global, &settings);
    if (code == CLI_GO_ON) code = check_names(settings, &names);
    if (code == CLI_GO_ON) {
        if (global->json) print_json(global, settings, &names);
        else print_table(global, settings, &names, summaries);
        code = CLI_EXIT_DONE;
    }
    mneme_settings_free(settings);
    cli_list_free(&names);
    return code;
}

const cli_command cli_command_config = {
    .name = "config",
    .usage = "[NAME...] [OPTIONS]",
    .summary = "the settings in force and where each value came from",
    .details =
        "Values come from the command line (--set) over the environment ($MNEME_<NAME>, dots as underscores) over one\n"
        "file over the defaults. The file is --config, else mneme.yaml in the store's folder, else\n"
        "$XDG_CONFIG_HOME/mneme/config.yaml.",
    .example = "mneme config\nmneme config retrieval.k --set retrieval.k=20 --json",
    .run = run,
};
