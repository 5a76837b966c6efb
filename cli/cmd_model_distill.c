/* cmd_model_distill.c -- mneme model distill: making a static encoder out of a Transformer. */
#include "cli/model_distill.h"
#include "cli/output.h"
#include "cli/path.h"
#include "cli/stop.h"
#include "cli/store_option.h"
#include "cli/train_verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cli_command command;

typedef struct distill_options {
    bool is_static, force, from_store;
    const char *from;
    uint64_t dimension, rounds;
    double sif;
    cli_list text;
} distill_options;

/* NAME goes to the first folder of encoder.path; what has a / is a folder. Owned (free); NULL after saying why. */
static char *place(const mneme_settings *settings, const char *name)
{
    mneme_setting path;
    if (strchr(name, '/')) return cli_path_absolute(name);
    if (!*name || name[0] == '.') {
        cli_usage_error(&command, "'%s': expected a plain name, or a folder with a /", name);
        return NULL;
    }
    size_t at = 0, size = 0;
    if (mneme_settings_find(settings, "encoder.path", &path)) {
        at = strspn(path.value, ":");
        size = strcspn(path.value + at, ":");
    }
    if (size == 0) {
        cli_usage_error(&command, "encoder.path is empty: there is no place to keep models; give a folder with a /");
        return NULL;
    }
    char *home = cli_strndup(path.value + at, size), *folder = cli_path_join(home, name);
    free(home);
    return folder;
}

/* has_said_use: training has said how to use it. placed_by_name: the folder is in encoder.path. */
static int report(const cli_global *global, const mneme_settings *settings, const char *folder, bool has_said_use,
                  bool placed_by_name)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_settings *own = NULL;
    mneme_encoder *encoder = NULL;
    char *named = cli_format("%s/", folder);
    mneme_setting path;
    mneme_status status = mneme_settings_new(&own, &error);
    if (status == MNEME_OK && mneme_settings_find(settings, "encoder.path", &path))
        status = mneme_settings_set(own, "encoder.path", path.value, "command line", &error);
    if (status == MNEME_OK) status = mneme_settings_set(own, "encoder.model", named, "command line", &error);
    if (status == MNEME_OK) status = mneme_encoder_open(own, &encoder, &error);
    if (status == MNEME_OK) {
        mneme_encoder_info info = mneme_encoder_get_info(encoder);
        if (global->json) {
            json_t *object = json_object();
            cli_json_put(object, "name", info.name);
            cli_json_put(object, "path", folder);
            cli_json_count(object, "dimension", info.dimension);
            cli_json_put(object, "distilled_from", info.distilled_from);
            cli_print_json(object);
        } else {
            cli_print("%s\n", folder);
            cli_say("distilled from %s", info.distilled_from);
            if (!has_said_use) {
                cli_say("use it with --set encoder.model=%s, or write that into the settings file",
                        placed_by_name ? info.name : named);
                cli_say("learned from texts (--from-store, --text FILE) a table ranks better: docs/static-encoder.md");
            }
        }
    }
    mneme_encoder_close(encoder);
    mneme_settings_free(own);
    free(named);
    return status == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
}

/* Without texts: whole or not at all. */
static int distill(const mneme_settings *settings, const distill_options *chosen, const char *folder)
{
    cli_progress progress;
    mneme_error error = {MNEME_OK, ""};
    mneme_encoder *teacher = NULL;
    mneme_distill_options options = MNEME_DISTILL_OPTIONS_INIT;
    options.dimension = (uint32_t)chosen->dimension;
    options.sif = chosen->sif;
    options.rounds = (uint32_t)chosen->rounds;
    options.replace = chosen->force;
    options.progress = cli_progress_callback;
    options.context = &progress;
    mneme_status status = mneme_encoder_open(settings, &teacher, &error);
    if (status == MNEME_OK) {
        cli_stop_prepare();
        cli_progress_begin(&progress, "distilling", "tokens", 0);
        status = mneme_distill_static(teacher, &options, folder, &error);
        cli_progress_end(&progress);
    }
    mneme_encoder_close(teacher);
    if (status == MNEME_ERR_CANCELLED && cli_stop_code()) return cli_stop_code();
    return status == MNEME_OK ? CLI_GO_ON : cli_failed(&error);
}

static bool has_texts(const distill_options *chosen)
{
    return chosen->text.n > 0 || chosen->from_store;
}

/* With texts: mneme train encoder --cell static, whose checkpoint and teacher's vectors go once it is done. */
static int train(const cli_global *global, const distill_options *chosen, const char *folder)
{
    char dimension[24];
    cli_list words = {0};
    cli_global inner = *global;
    inner.json = false; /* what it says goes to stderr; the answer is report's */
    snprintf(dimension, sizeof dimension, "%llu", (unsigned long long)chosen->dimension);
    const char *options[] = {"--cell", "static", "--out", folder, "--dim", dimension};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) cli_list_add(&words, options[i]);
    if (chosen->from) cli_list_add(&words, "--teacher"), cli_list_add(&words, chosen->from);
    if (chosen->from_store) cli_list_add(&words, "--from-store");
    if (chosen->force) cli_list_add(&words, "--force");
    cli_list_add(&words, "--");
    for (size_t i = 0; i < chosen->text.n; i++) cli_list_add(&words, chosen->text.items[i]);
    int code = cli_train_encoder(&inner, (int)words.n, (char **)words.items);
    cli_list_free(&words);
    static const char *const unneeded[] = {"training.safetensors", "teacher.safetensors"};
    for (size_t i = 0; i < sizeof unneeded / sizeof unneeded[0] && code == CLI_EXIT_DONE; i++) {
        char *path = cli_path_join(folder, unneeded[i]);
        if (remove(path) != 0) cli_complain("cannot remove %s: %s", path, strerror(errno));
        free(path);
    }
    return code == CLI_EXIT_DONE ? CLI_GO_ON : code;
}

static int run_with(const cli_global *global, mneme_settings *settings, const distill_options *chosen, const char *name)
{
    mneme_error error = {MNEME_OK, ""};
    if (chosen->from && mneme_settings_set(settings, "encoder.model", chosen->from, "command line", &error) != MNEME_OK)
        return cli_failed(&error);
    char *folder = place(settings, name);
    if (!folder) return CLI_EXIT_USAGE;
    int code = has_texts(chosen) ? train(global, chosen, folder) : distill(settings, chosen, folder);
    if (code == CLI_GO_ON) code = report(global, settings, folder, has_texts(chosen), !strchr(name, '/'));
    free(folder);
    return code;
}

static int check(const cli_words *words, const distill_options *chosen)
{
    if (words->n != 1) return cli_usage_error(&command, "expected one name or folder for the new model");
    if (!chosen->is_static) return cli_usage_error(&command, "say what kind of encoder to make: --static");
    if (chosen->dimension > UINT32_MAX || chosen->rounds > 1000)
        return cli_usage_error(&command, "--dim or --rounds is too large");
    const mneme_distill_options defaults = MNEME_DISTILL_OPTIONS_INIT;
    if (has_texts(chosen) && (chosen->rounds != defaults.rounds || chosen->sif != defaults.sif))
        return cli_usage_error(&command, "--rounds and --sif are for distilling without texts");
    return CLI_GO_ON;
}

int cli_model_distill(cli_global *global, int argc, char **argv)
{
    mneme_distill_options defaults = MNEME_DISTILL_OPTIONS_INIT;
    distill_options chosen = {.dimension = defaults.dimension, .rounds = defaults.rounds, .sif = defaults.sif};
    const cli_option options[] = {
        {0, "static", CLI_FLAG, &chosen.is_static, NULL, "make a static encoder (a table of token vectors)"},
        {0, "from", CLI_TEXT, &chosen.from, "MODEL", "the teacher: a name or a folder (default: encoder.model)"},
        {0, "dim", CLI_COUNT, &chosen.dimension, "N", "floats in a vector (256; at most the teacher's)"},
        {0, "text", CLI_LIST, &chosen.text, "FILE",
         "learn the table on what this file says (text, Markdown, HTML, JSONL; may be repeated)"},
        {0, "from-store", CLI_FLAG, &chosen.from_store, NULL, "learn it on the records of the store in use"},
        {0, "rounds", CLI_COUNT, &chosen.rounds, "N", "made-up texts for each token (6); 0 is plain Model2Vec"},
        {0, "sif", CLI_NUMBER, &chosen.sif, "A", "frequency weights a / (a + p) (0.0001)"},
        {0, "force", CLI_FLAG, &chosen.force, NULL, "replace the model of that name"},
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    mneme_settings *settings = NULL;
    int code = cli_parse(global, &command, options, argc, argv, &words);
    if (code == CLI_GO_ON) code = check(&words, &chosen);
    if (code == CLI_GO_ON) code = cli_open_settings(global, &settings);
    if (code == CLI_GO_ON) code = run_with(global, settings, &chosen, words.items[0]);
    mneme_settings_free(settings);
    cli_list_free(&chosen.text);
    cli_list_free(&words);
    return code;
}

static const cli_command command = {
    .name = "model distill",
    .usage = "--static NAME|DIR [OPTIONS]",
    .summary = "make a static encoder out of a Transformer",
    .details =
        "Every token of the vocabulary goes through the teacher once, and a table is fitted to what it says: vectors\n"
        "that cost a thousandth of the teacher's and rank somewhat worse. With texts of your own, the table learns the\n"
        "teacher's ranking of them, in minutes, and comes nearer to it (docs/static-encoder.md has figures; the same as\n"
        "mneme train encoder --cell static, without its checkpoint). A store keeps to the encoder that it was made with:\n"
        "mneme reindex changes it.",
    .example = "mneme model distill --static fast\n"
               "mneme model distill --static fast --text notes.jsonl --force\n"
               "mneme --set encoder.model=fast index notes.jsonl",
};
