/* cmd_model.c -- mneme model: finds the verb; each is in a file of its own (model_verbs.h). */
#include "cli/commands.h"
#include "cli/model_compress.h"
#include "cli/model_distill.h"
#include "cli/model_verbs.h"
#include "cli/output.h"
#include "cli/store_option.h"

#include <string.h>

enum { LIST, INFO, ADD, PULL, PACK, N_VERBS };

static const struct {
    const char *name;
    size_t words_min, words_max; /* behind the verb */
    const char *expected;
} verbs[N_VERBS] = {
    [LIST] = {"list", 0, 0, "no more words"},     [INFO] = {"info", 0, 1, "one model at most"},
    [ADD] = {"add", 1, 1, "one folder"},          [PULL] = {"pull", 1, 1, "one model, as in org/name"},
    [PACK] = {"pack", 0, 1, "one model at most"},
};

static int find_verb(const char *name)
{
    for (int i = 0; i < N_VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0) return i;
    return N_VERBS;
}

/* An option that the verb has no use for is a mistake that should not pass unseen. */
static int check_options(int verb, const cli_model_options *options)
{
    const char *wrong = NULL, *where = "add or pull";
    if (options->name && verb != ADD && verb != PULL) wrong = "--name";
    if (options->force && verb != ADD && verb != PULL) wrong = "--force";
    if (options->link && verb != ADD) wrong = "--link", where = "add";
    if (options->revision && verb != PULL) wrong = "--revision", where = "pull";
    return wrong ? cli_usage_error(&cli_command_model, "%s: %s goes with %s", verbs[verb].name, wrong, where)
                 : CLI_GO_ON;
}

static int check_words(const cli_words *words, int *verb)
{
    if (words->n == 0)
        return cli_usage_error(&cli_command_model, "expected list, info, add, pull, pack, distill, quantize or prune");
    *verb = find_verb(words->items[0]);
    if (*verb == N_VERBS)
        return cli_usage_error(&cli_command_model,
                               "unknown '%s': expected list, info, add, pull, pack, distill, quantize or prune",
                               words->items[0]);
    size_t n = words->n - 1;
    return n >= verbs[*verb].words_min && n <= verbs[*verb].words_max
               ? CLI_GO_ON
               : cli_usage_error(&cli_command_model, "%s: expected %s", verbs[*verb].name, verbs[*verb].expected);
}

static int run_verb(const cli_global *global, mneme_settings *settings, int verb, const char *word,
                    const cli_model_options *options)
{
    switch (verb) {
    case LIST: return cli_model_list(global, settings);
    case INFO: return cli_model_info(global, settings, word);
    case PACK: return cli_model_pack(global, settings, word);
    case ADD: return cli_model_add(global, settings, word, options);
    default: return cli_model_pull(global, settings, word, options);
    }
}

static int run(cli_global *global, int argc, char **argv)
{
    static const struct { /* with options of their own */
        const char *name;
        int (*run)(cli_global *global, int argc, char **argv);
    } others[] = {{"distill", cli_model_distill}, {"quantize", cli_model_quantize}, {"prune", cli_model_prune}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (argc > 0 && strcmp(argv[0], others[i].name) == 0) return others[i].run(global, argc - 1, argv + 1);
    cli_model_options chosen = {0};
    const cli_option options[] = {
        {0, "name", CLI_TEXT, &chosen.name, "NAME",
         "add, pull: what to call the model (default: as its folder or on the hub)"},
        {0, "force", CLI_FLAG, &chosen.force, NULL, "add, pull: replace the model of that name"},
        {0, "link", CLI_FLAG, &chosen.link, NULL, "add: link to the folder instead of copying it"},
        {0, "revision", CLI_TEXT, &chosen.revision, "REV", "pull: a branch, a tag or a commit (default: main)"},
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    mneme_settings *settings = NULL;
    int verb = N_VERBS;
    int code = cli_parse(global, &cli_command_model, options, argc, argv, &words);
    if (code == CLI_GO_ON) code = check_words(&words, &verb);
    if (code == CLI_GO_ON) code = check_options(verb, &chosen);
    if (code == CLI_GO_ON) code = cli_open_settings(global, &settings);
    if (code == CLI_GO_ON) code = run_verb(global, settings, verb, words.n > 1 ? words.items[1] : NULL, &chosen);
    mneme_settings_free(settings);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_model = {
    .name = "model",
    .usage = "list | info [NAME|DIR] | add DIR | pull ORG/NAME | pack [NAME] | distill --static NAME [OPTIONS] | "
             "quantize NAME --to int8 --name NEW | prune NAME --keep SHARE --name NEW",
    .summary = "the encoders: which there are, what the one in use is, getting others",
    .details =
        "list   models in the folders of encoder.path; * marks the one in use\n"
        "info   what a model is, what computes it, and which settings say so\n"
        "add    copy a model's folder (Hugging Face layout: config.json, vocab.txt, model.safetensors or its shards) "
        "to the\n"
        "       first folder of encoder.path, after trying it\n"
        "pull   fetch a model from a hub, check it, try it, and put it there; broken off, it goes on where it was.\n"
        "       $HF_ENDPOINT names another hub, $HF_TOKEN lets private and gated models in. No other command opens a\n"
        "       connection.\n"
        "pack   keep a model's weights as this processor wants them in encoder.cache now, as its first use would\n"
        "distill  make a fast static encoder out of a Transformer: see mneme model distill --help\n"
        "quantize, prune  make a smaller copy of a model: see mneme model quantize --help",
    .example =
        "mneme model info\nmneme model add ~/downloads/bge-small-en-v1.5\nmneme model pull BAAI/bge-small-en-v1.5",
    .run = run,
};
