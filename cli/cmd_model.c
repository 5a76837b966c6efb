/* cmd_model.c -- mneme model: which encoders there are, what the one in use is, and adding one. */
#include "cli/commands.h"
#include "cli/copy_folder.h"
#include "cli/output.h"
#include "cli/path.h"
#include "cli/store_option.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *setting_text(const mneme_settings *settings, const char *name, const char **origin)
{
    mneme_setting setting;
    bool found = mneme_settings_find(settings, name, &setting);
    if (origin) *origin = found ? setting.origin : "default";
    return found ? setting.value : "";
}

/* The folders of encoder.path one after the other; owned, NULL at the end. *at starts as the setting's value. */
static char *next_folder(const char **at)
{
    while (**at == ':') ++*at;
    size_t size = strcspn(*at, ":");
    char *folder = size ? cli_strndup(*at, size) : NULL;
    *at += size;
    return folder;
}

/* ---- list ---- */

typedef struct model_listing {
    const char *in_use;
    json_t *list; /* NULL: print lines */
    size_t n;
} model_listing;

static void show_model(model_listing *listing, const char *name, const char *path)
{
    bool used = strcmp(name, listing->in_use) == 0 || strcmp(path, listing->in_use) == 0;
    listing->n++;
    if (!listing->list) {
        cli_print("%s %s%s%s  %s\n", used ? "*" : " ", cli_style_on(used ? CLI_BOLD : CLI_PLAIN), name, cli_style_off(),
                  path);
        return;
    }
    json_t *object = json_object();
    cli_json_put(object, "name", name);
    cli_json_put(object, "path", path);
    json_object_set_new(object, "in_use", json_boolean(used));
    json_array_append_new(listing->list, object);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* A model is a folder with a config.json. */
static void list_folder(model_listing *listing, const char *folder)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, visible, by_name);
    for (int i = 0; i < n; i++) {
        char *path = cli_path_join(folder, entries[i]->d_name), *config = cli_path_join(path, "config.json");
        if (access(config, F_OK) == 0) show_model(listing, entries[i]->d_name, path);
        free(config);
        free(path);
        free(entries[i]);
    }
    free(entries);
}

static int list_models(const cli_global *global, const mneme_settings *settings)
{
    const char *path = setting_text(settings, "encoder.path", NULL), *at = path;
    model_listing listing = {.in_use = setting_text(settings, "encoder.model", NULL),
                             .list = global->json ? json_array() : NULL};
    for (char *folder = next_folder(&at); folder; folder = next_folder(&at)) {
        list_folder(&listing, folder);
        free(folder);
    }
    if (listing.list) {
        json_t *object = json_object();
        json_object_set_new(object, "models", listing.list);
        cli_json_put(object, "path", path);
        cli_print_json(object);
    } else if (listing.n == 0) {
        cli_say("no model in %s; scripts/setup fetches the default one, 'mneme model add DIR' takes yours", path);
    }
    return listing.n ? CLI_EXIT_DONE : CLI_EXIT_NO;
}

/* ---- info ---- */

static void print_json_info(const mneme_encoder_info *info, const mneme_settings *settings)
{
    const char *origin;
    char fingerprint[20];
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)info->fingerprint);
    json_t *object = json_object(), *why = json_object();
    cli_json_put(object, "name", info->name);
    cli_json_put(object, "path", info->path);
    cli_json_put(object, "kind", info->kind);
    cli_json_put(object, "precision", info->precision);
    cli_json_put(object, "kernels", info->kernels);
    cli_json_put(object, "pooling", info->pooling);
    cli_json_count(object, "dimension", info->dimension);
    cli_json_count(object, "max_tokens", info->max_tokens);
    cli_json_count(object, "layers", info->n_layers);
    cli_json_count(object, "heads", info->n_heads);
    cli_json_count(object, "vocabulary", info->vocabulary);
    cli_json_count(object, "parameters", info->n_parameters);
    cli_json_put(object, "fingerprint", fingerprint);
    static const char *const names[] = {"encoder.model", "encoder.precision", "encoder.kernels"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = setting_text(settings, names[i], &origin);
        char *reason = cli_format("%s (%s)", value, origin);
        cli_json_put(why, names[i], reason);
        free(reason);
    }
    json_object_set_new(object, "why", why);
    cli_print_json(object);
}

/* "f32             encoder.precision = auto (default)" */
static void print_reason(const char *label, const char *value, const mneme_settings *settings, const char *name)
{
    const char *origin, *wanted = setting_text(settings, name, &origin);
    cli_print("%-13s %-24s %s%s = %s (%s)%s\n", label, value, cli_style_on(CLI_DIM), name, wanted, origin,
              cli_style_off());
}

static void print_info(const mneme_encoder_info *info, const mneme_settings *settings)
{
    print_reason("model", info->name, settings, "encoder.model");
    cli_print("%-13s %s\n", "folder", info->path);
    cli_print("%-13s %s, %u layers, %u heads, %s pooling\n", "kind", info->kind, info->n_layers, info->n_heads,
              info->pooling);
    cli_print("%-13s %.1f million, vocabulary of %u\n", "parameters", (double)info->n_parameters / 1e6,
              info->vocabulary);
    cli_print("%-13s %u floats, texts of up to %u tokens\n", "vectors", info->dimension, info->max_tokens);
    print_reason("precision", info->precision, settings, "encoder.precision");
    print_reason("kernels", info->kernels, settings, "encoder.kernels");
    cli_print("%-13s %016llx\n", "fingerprint", (unsigned long long)info->fingerprint);
}

static int show_info(const cli_global *global, mneme_settings *settings, const char *model)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_encoder *encoder = NULL;
    mneme_status status =
        model ? mneme_settings_set(settings, "encoder.model", model, "command line", &error) : MNEME_OK;
    if (status == MNEME_OK) status = mneme_encoder_open(settings, &encoder, &error);
    if (status != MNEME_OK) return cli_failed(&error);
    mneme_encoder_info info = mneme_encoder_get_info(encoder);
    if (global->json) print_json_info(&info, settings);
    else print_info(&info, settings);
    mneme_encoder_close(encoder);
    return CLI_EXIT_DONE;
}

/* ---- add ---- */

/* Does the folder hold a model that can be used? Said on stderr when not. */
static int try_model(const mneme_settings *settings, const char *folder)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_settings *own = NULL;
    mneme_encoder *encoder = NULL;
    const char *path = setting_text(settings, "encoder.path", NULL);
    mneme_status status = mneme_settings_new(&own, &error);
    if (status == MNEME_OK) status = mneme_settings_set(own, "encoder.path", path, "command line", &error);
    if (status == MNEME_OK) status = mneme_settings_set(own, "encoder.model", folder, "command line", &error);
    if (status == MNEME_OK) status = mneme_encoder_open(own, &encoder, &error);
    mneme_encoder_close(encoder);
    mneme_settings_free(own);
    return status == MNEME_OK ? CLI_GO_ON : cli_failed(&error);
}

static int place_model(const cli_global *global, const char *from, const char *to, const char *name)
{
    char reason[600];
    if (access(to, F_OK) == 0) {
        cli_complain("there is a model called %s already: %s; remove it first, or give another name with --name", name,
                     to);
        return CLI_EXIT_USAGE;
    }
    if (!cli_copy_folder(from, to, reason, sizeof reason)) {
        cli_complain("%s", reason);
        return CLI_EXIT_FAILURE;
    }
    if (global->json) {
        json_t *object = json_object();
        cli_json_put(object, "name", name);
        cli_json_put(object, "path", to);
        cli_print_json(object);
    } else {
        cli_print("%s\n", to);
    }
    cli_say("use it with --set encoder.model=%s, or write that into the settings file", name);
    return CLI_EXIT_DONE;
}

static int add_model(const cli_global *global, const mneme_settings *settings, const char *folder, const char *name)
{
    const char *at = setting_text(settings, "encoder.path", NULL);
    char *home = next_folder(&at), *from = cli_path_absolute(folder);
    if (!name) name = cli_path_base(from);
    int code = home ? CLI_GO_ON
                    : cli_usage_error(&cli_command_model, "encoder.path is empty: there is no place to keep models");
    if (code == CLI_GO_ON && (strchr(name, '/') || !*name || name[0] == '.'))
        code = cli_usage_error(&cli_command_model, "--name '%s': expected a plain name", name);
    if (code == CLI_GO_ON) code = try_model(settings, from);
    if (code == CLI_GO_ON) {
        char *to = cli_path_join(home, name);
        code = place_model(global, from, to, name);
        free(to);
    }
    free(home);
    free(from);
    return code;
}

/* ---- the command ---- */

static int run_verb(const cli_global *global, mneme_settings *settings, const cli_words *words, const char *name)
{
    const char *verb = words->items[0], *word = words->n > 1 ? words->items[1] : NULL;
    if (strcmp(verb, "list") == 0 && !word) return list_models(global, settings);
    if (strcmp(verb, "info") == 0 && words->n <= 2) return show_info(global, settings, word);
    if (strcmp(verb, "add") == 0 && words->n == 2) return add_model(global, settings, word, name);
    if (strcmp(verb, "add") == 0) return cli_usage_error(&cli_command_model, "add: expected one folder");
    if (strcmp(verb, "list") == 0 || strcmp(verb, "info") == 0)
        return cli_usage_error(&cli_command_model, "%s: too many arguments", verb);
    return cli_usage_error(&cli_command_model, "unknown '%s': expected list, info or add", verb);
}

static int run(cli_global *global, int argc, char **argv)
{
    const char *name = NULL;
    const cli_option options[] = {
        {0, "name", CLI_TEXT, &name, "NAME", "add: what to call the model (default: the folder's name)"},
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    mneme_settings *settings = NULL;
    int code = cli_parse(global, &cli_command_model, options, argc, argv, &words);
    if (code == CLI_GO_ON && words.n == 0) code = cli_usage_error(&cli_command_model, "expected list, info or add");
    if (code == CLI_GO_ON) code = cli_open_settings(global, &settings);
    if (code == CLI_GO_ON) code = run_verb(global, settings, &words, name);
    mneme_settings_free(settings);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_model = {
    .name = "model",
    .usage = "list | info [NAME|DIR] | add DIR [OPTIONS]",
    .summary = "which encoders there are, and what the one in use is",
    .details =
        "list   models in the folders of encoder.path; * marks the one in use\n"
        "info   what a model is, what computes it, and which settings say so\n"
        "add    copy a model's folder (Hugging Face layout: config.json, vocab.txt, model.safetensors) to the first folder\n"
        "       of encoder.path, after trying it",
    .example = "mneme model info\nmneme model add ~/downloads/bge-small-en-v1.5",
    .run = run,
};
