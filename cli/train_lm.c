/* train_lm.c -- mneme train lm: a language model of characters from text files. */
#include "cli/stop.h"
#include "cli/train_options.h"
#include "cli/train_verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cli_command command;

typedef struct lm_chosen {
    cli_train_options train;
    int cell;
    uint64_t layers, hidden, heads, steps_back, length;
    double dropout;
    bool tied, bytes;
} lm_chosen;

/* Text files, whole. */
typedef struct texts {
    mneme_lm_text *items;
    size_t n;
} texts;

static void texts_free(texts *all)
{
    for (size_t i = 0; i < all->n; i++) free((char *)(uintptr_t)all->items[i].data);
    free(all->items);
}

static int read_one(const char *path, mneme_lm_text *out)
{
    cli_text text = {0};
    char piece[65536];
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    if (file)
        for (size_t size; (size = fread(piece, 1, sizeof piece, file)) > 0;) cli_text_append(&text, piece, size);
    int problem = !file || ferror(file) ? errno : 0;
    if (file && !is_stdin) fclose(file);
    if (problem) cli_complain("cannot read %s: %s", path, strerror(problem));
    size_t size = text.size;
    *out = (mneme_lm_text){is_stdin ? "standard input" : path, cli_text_take(&text), size};
    return problem ? CLI_EXIT_FAILURE : CLI_GO_ON;
}

static int read_texts(const cli_words *words, texts *all)
{
    int code = CLI_GO_ON;
    all->items = cli_alloc(words->n, sizeof *all->items);
    for (size_t i = 0; i < words->n && code == CLI_GO_ON; i++, all->n++)
        code = read_one(words->items[i], &all->items[i]);
    return code;
}

/* Text from the model as it is now; NULL after a failure. */
static int generate(const char *folder, uint64_t length, uint64_t seed, mneme_lm_output **out)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_lm *lm = NULL;
    mneme_lm_generate_options options = MNEME_LM_GENERATE_OPTIONS_INIT;
    options.length = length;
    options.seed = seed;
    mneme_status status = mneme_lm_open(folder, &lm, &error);
    if (status == MNEME_OK) status = mneme_lm_generate(lm, NULL, 0, &options, out, &error);
    mneme_lm_close(lm);
    return status == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
}

static int finish(const cli_global *global, const lm_chosen *chosen, const mneme_train_result *result, int code)
{
    mneme_lm_output *text = NULL;
    if (code == CLI_EXIT_DONE && chosen->length > 0)
        code = generate(chosen->train.out, chosen->length, chosen->train.seed, &text);
    if (global->json) {
        json_t *object = json_object();
        cli_json_put(object, "folder", chosen->train.out);
        cli_train_json(object, result);
        if (text) json_object_set_new(object, "text", cli_json_text(text->text, text->size));
        cli_print_json(object);
    } else if (text) {
        cli_print_text(text->text, text->size);
        cli_print("\n");
    }
    mneme_lm_output_free(text);
    return code;
}

static int train(const cli_global *global, const lm_chosen *chosen, const texts *all, int argc, char **argv)
{
    cli_train_view view = {.unit = "characters"};
    const mneme_train_options shared = cli_train_get(&chosen->train, &view);
    mneme_lm_options options = MNEME_LM_OPTIONS_INIT;
    options.cell = (mneme_cell)chosen->cell;
    options.layers = (uint32_t)chosen->layers;
    options.hidden = (uint32_t)chosen->hidden;
    options.heads = (uint32_t)chosen->heads;
    options.steps_back = (uint32_t)chosen->steps_back;
    options.dropout = chosen->dropout;
    options.tied = chosen->tied;
    options.bytes = chosen->bytes;
    options.texts = all->items;
    options.n_texts = all->n;
    options.train = &shared;
    mneme_error error = {MNEME_OK, ""};
    mneme_train_result result;
    cli_stop_prepare();
    if (mneme_train_lm(&options, chosen->train.out, &result, &error) != MNEME_OK) return cli_failed(&error);
    return finish(global, chosen, &result, cli_train_report(&chosen->train, &result, "train lm", argc, argv));
}

/* And fill in what was not said. */
static int check(const cli_words *words, lm_chosen *chosen)
{
    if (words->n == 0) return cli_usage_error(&command, "expected text files to learn from");
    uint64_t counts[] = {chosen->layers, chosen->hidden, chosen->heads, chosen->steps_back};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i] > INT32_MAX) return cli_usage_error(&command, "%llu is too large", (unsigned long long)counts[i]);
    const mneme_train_options defaults = MNEME_TRAIN_OPTIONS_INIT;
    cli_train_fill_in(&chosen->train, &defaults);
    return cli_train_check(&command, &chosen->train);
}

int cli_train_lm(cli_global *global, int argc, char **argv)
{
    mneme_lm_options d = MNEME_LM_OPTIONS_INIT;
    lm_chosen chosen = {.train = cli_train_unset(),
                        .layers = d.layers,
                        .hidden = d.hidden,
                        .heads = d.heads,
                        .steps_back = d.steps_back,
                        .length = 500};
    const cli_option options[] = {
        {0, "cell", CLI_CHOICE, &chosen.cell, "lstm|gru|transformer", "what reads the text (lstm)"},
        {0, "layers", CLI_COUNT, &chosen.layers, "N", "one upon another (2)"},
        {0, "hidden", CLI_COUNT, &chosen.hidden, "N", "units of a layer (256)"},
        {0, "heads", CLI_COUNT, &chosen.heads, "N", "of a Transformer's attention (4)"},
        {0, "steps-back", CLI_COUNT, &chosen.steps_back, "N", "characters that a gradient goes back (64)"},
        {0, "dropout", CLI_NUMBER, &chosen.dropout, "P", "share of the units that are left out at random (0)"},
        {0, "tied", CLI_FLAG, &chosen.tied, NULL, "one table for what is read and what is written"},
        {0, "bytes", CLI_FLAG, &chosen.bytes, NULL, "learn bytes, not characters"},
        {0, "length", CLI_COUNT, &chosen.length, "N", "characters to write at the end (500)"},
        CLI_TRAIN_OPTIONS(chosen.train),
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    texts all = {0};
    int code = cli_parse(global, &command, options, argc, argv, &words);
    if (code == CLI_GO_ON) code = check(&words, &chosen);
    if (code == CLI_GO_ON) code = read_texts(&words, &all);
    if (code == CLI_GO_ON) code = train(global, &chosen, &all, argc, argv);
    texts_free(&all);
    cli_list_free(&words);
    return code;
}

static const cli_command command = {
    .name = "train lm",
    .usage = "FILE... --out DIR [OPTIONS]",
    .summary = "train a language model of characters",
    .details =
        "The last tenth of the texts is held out, to tell how the model does on what it has not seen; losses are in\n"
        "nats per character. The folder keeps the best model, a checkpoint to go on from after Ctrl-C or a crash,\n"
        "log.jsonl with a line for each step, and loss.svg. docs/training.md has recipes and figures.",
    .example = "mneme train lm book.txt --out book-model\n"
               "mneme train lm book.txt --out book-model --resume\n"
               "mneme train lm *.txt --out small --cell gru --hidden 128 --epochs 5",
};
