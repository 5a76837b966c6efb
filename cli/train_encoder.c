/* train_encoder.c -- mneme train encoder: an encoder of one's own texts. */
#include "cli/source_texts.h"
#include "cli/stop.h"
#include "cli/store_option.h"
#include "cli/train_options.h"
#include "cli/train_pairs.h"
#include "cli/train_verbs.h"

#include <math.h>
#include <stdlib.h>

static const cli_command command;

typedef struct encoder_chosen {
    cli_train_options train;
    int cell;
    uint64_t layers, hidden, dimension, vocabulary;
    double dropout, held_out;
    const char *teacher, *from, *pairs;
    bool neighbours, one_way, mean, from_store;
} encoder_chosen;

static void put_figure(json_t *object, const char *key, double value)
{
    if (!isnan(value)) json_object_set_new(object, key, json_real(value));
}

static void report(const cli_global *global, const encoder_chosen *chosen, const mneme_train_encoder_result *result)
{
    bool by_teacher = !chosen->pairs && !chosen->neighbours;
    if (global->json) {
        json_t *object = json_object();
        cli_json_put(object, "folder", chosen->train.out);
        cli_train_json(object, &result->train);
        cli_json_count(object, "trained_on", result->n_trained);
        cli_json_count(object, "held_out", result->n_held_out);
        cli_json_count(object, "vocabulary", result->vocabulary);
        put_figure(object, "agreement", result->agreement);
        put_figure(object, "found_1", result->found_1);
        put_figure(object, "found_10", result->found_10);
        put_figure(object, by_teacher ? "teacher_found_1" : "before_found_1", result->teacher_found_1);
        put_figure(object, by_teacher ? "teacher_found_10" : "before_found_10", result->teacher_found_10);
        put_figure(object, "teacher_seconds", result->teacher_seconds);
        cli_print_json(object);
        return;
    }
    if (result->vocabulary < chosen->vocabulary)
        cli_say("the texts have no more than %u tokens to learn; %llu were asked for", result->vocabulary,
                (unsigned long long)chosen->vocabulary);
    if (result->n_questions == 0 || isnan(result->found_1)) return;
    cli_say(
        "on texts that it has not seen: %zu questions, %zu passages; the right one first %.1f %%, among ten %.1f %% "
        "(%s: %.1f %%, %.1f %%)",
        result->n_questions, result->n_passages, 100 * result->found_1, 100 * result->found_10,
        by_teacher ? "its teacher" : "before training", 100 * result->teacher_found_1, 100 * result->teacher_found_10);
    cli_say("use it with --set encoder.model=%s/", chosen->train.out);
}

/* What there is to train on. */
typedef struct material {
    cli_source_texts texts;
    cli_train_pairs pairs;
    mneme_train_text *items;
} material;

static void free_material(material *all)
{
    cli_source_texts_free(&all->texts);
    cli_train_pairs_free(&all->pairs);
    free(all->items);
}

static int read_store(const cli_global *global, const mneme_settings *settings, cli_source_texts *texts)
{
    mneme *memory = NULL;
    int code = cli_open_store_with(global, settings, MNEME_OPEN_READ_ONLY, &memory);
    if (code == CLI_GO_ON) code = cli_source_texts_of_store(texts, memory);
    mneme_close(memory);
    return code;
}

static int read_material(const cli_global *global, const mneme_settings *settings, const encoder_chosen *chosen,
                         const cli_words *words, material *all)
{
    int code = chosen->pairs ? cli_train_pairs_read(&all->pairs, chosen->pairs) : CLI_GO_ON;
    if (code == CLI_GO_ON) code = cli_source_texts_read(&all->texts, words);
    if (code == CLI_GO_ON && chosen->from_store) code = read_store(global, settings, &all->texts);
    all->items = cli_alloc(all->texts.n, sizeof *all->items);
    for (size_t i = 0; i < all->texts.n; i++)
        all->items[i] = (mneme_train_text){all->texts.items[i], all->texts.sizes[i], all->texts.documents[i],
                                           all->texts.title_sizes[i]};
    return code;
}

static mneme_train_encoder_options options_of(const encoder_chosen *chosen)
{
    mneme_train_encoder_options options = MNEME_TRAIN_ENCODER_OPTIONS_INIT;
    options.method = chosen->pairs        ? MNEME_TRAIN_PAIRS
                     : chosen->neighbours ? MNEME_TRAIN_NEIGHBOURS
                                          : MNEME_TRAIN_DISTILL;
    options.from = chosen->from;
    options.cell = (mneme_cell)chosen->cell;
    options.layers = (uint32_t)chosen->layers;
    options.hidden = (uint32_t)chosen->hidden;
    options.dimension = (uint32_t)chosen->dimension;
    options.vocabulary = (uint32_t)chosen->vocabulary;
    options.one_way = chosen->one_way;
    options.mean_pooling = chosen->mean;
    options.dropout = chosen->dropout;
    options.held_out = chosen->held_out;
    return options;
}

static int train(const cli_global *global, const encoder_chosen *chosen, const mneme_encoder *teacher,
                 const material *all, int argc, char **argv)
{
    cli_train_view view = {.unit = "tokens"};
    cli_progress progress;
    const mneme_train_options shared = cli_train_get(&chosen->train, &view);
    mneme_train_encoder_options options = options_of(chosen);
    options.texts = all->items;
    options.n_texts = all->texts.n;
    options.pairs = all->pairs.items;
    options.n_pairs = all->pairs.n;
    options.train = &shared;
    options.progress = cli_progress_callback;
    options.context = &progress;
    mneme_error error = {MNEME_OK, ""};
    mneme_train_encoder_result result;
    cli_stop_prepare();
    cli_progress_begin(&progress, "asking the teacher", "texts", 0);
    mneme_status status = mneme_train_encoder(teacher, &options, chosen->train.out, &result, &error);
    cli_progress_end(&progress);
    if (status != MNEME_OK)
        return status == MNEME_ERR_CANCELLED && cli_stop_code() ? cli_stop_code() : cli_failed(&error);
    int code = cli_train_report(&chosen->train, &result.train, "train encoder", argc, argv);
    if (code == CLI_EXIT_DONE) report(global, chosen, &result);
    return code;
}

static int run_with(cli_global *global, mneme_settings *settings, const encoder_chosen *chosen, const cli_words *words,
                    int argc, char **argv)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_encoder *teacher = NULL;
    material all = {0};
    int code = read_material(global, settings, chosen, words, &all);
    mneme_status status = MNEME_OK;
    bool needs_teacher = !chosen->from || (!chosen->pairs && !chosen->neighbours);
    if (code == CLI_GO_ON && needs_teacher && chosen->teacher)
        status = mneme_settings_set(settings, "encoder.model", chosen->teacher, "command line", &error);
    if (code == CLI_GO_ON && needs_teacher && status == MNEME_OK)
        status = mneme_encoder_open(settings, &teacher, &error);
    if (status != MNEME_OK) code = cli_failed(&error);
    if (code == CLI_GO_ON) code = train(global, chosen, teacher, &all, argc, argv);
    mneme_encoder_close(teacher);
    free_material(&all);
    return code;
}

/* And fill in what was not said. */
static int check(const cli_words *words, encoder_chosen *chosen)
{
    if (chosen->pairs && chosen->neighbours)
        return cli_usage_error(&command, "--pairs and --neighbours exclude each other");
    if (words->n == 0 && !chosen->pairs && !chosen->from_store)
        return cli_usage_error(&command, "expected files to learn from, --from-store or --pairs FILE");
    uint64_t counts[] = {chosen->layers, chosen->hidden, chosen->dimension, chosen->vocabulary};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i] > INT32_MAX) return cli_usage_error(&command, "%llu is too large", (unsigned long long)counts[i]);
    const mneme_train_encoder_options options = options_of(chosen);
    const mneme_train_options defaults = mneme_train_encoder_defaults(&options);
    cli_train_fill_in(&chosen->train, &defaults);
    return cli_train_check(&command, &chosen->train);
}

int cli_train_encoder(cli_global *global, int argc, char **argv)
{
    mneme_train_encoder_options d = MNEME_TRAIN_ENCODER_OPTIONS_INIT;
    encoder_chosen chosen = {
        .train = cli_train_unset(), .layers = d.layers, .hidden = d.hidden, .held_out = d.held_out};
    const cli_option options[] = {
        {0, "from-store", CLI_FLAG, &chosen.from_store, NULL, "learn from the records of the store in use"},
        {0, "teacher", CLI_TEXT, &chosen.teacher, "MODEL", "whose vectors it learns (default: encoder.model)"},
        {0, "pairs", CLI_TEXT, &chosen.pairs, "FILE",
         "learn from JSONL: {\"query\", \"positive\", \"negatives\": [...]}"},
        {0, "neighbours", CLI_FLAG, &chosen.neighbours, NULL, "learn from what stands side by side in the texts alone"},
        {0, "from", CLI_TEXT, &chosen.from, "DIR", "train this model on, instead of a new one"},
        {0, "cell", CLI_CHOICE, &chosen.cell, "lstm|gru|transformer|static",
         "of a new one (lstm); a Transformer begins with some of its teacher's layers, static is a token table"},
        {0, "layers", CLI_COUNT, &chosen.layers, "N", "one upon another (1)"},
        {0, "hidden", CLI_COUNT, &chosen.hidden, "N", "units of a layer and direction (256)"},
        {0, "one-way", CLI_FLAG, &chosen.one_way, NULL, "read from left to right alone"},
        {0, "mean", CLI_FLAG, &chosen.mean, NULL, "pool by the mean, not by attention"},
        {0, "dim", CLI_COUNT, &chosen.dimension, "N", "floats in a vector (the teacher's; static: 256)"},
        {0, "vocabulary", CLI_COUNT, &chosen.vocabulary, "N",
         "learn N tokens from these texts, for a smaller model (the teacher's vocabulary)"},
        {0, "dropout", CLI_NUMBER, &chosen.dropout, "P", "between layers; static: of tokens (0)"},
        {0, "held-out", CLI_NUMBER, &chosen.held_out, "SHARE", "of the documents, to measure with (0.05)"},
        CLI_TRAIN_OPTIONS(chosen.train),
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    mneme_settings *settings = NULL;
    int code = cli_parse(global, &command, options, argc, argv, &words);
    if (code == CLI_GO_ON) code = check(&words, &chosen);
    if (code == CLI_GO_ON) code = cli_open_settings(global, &settings);
    if (code == CLI_GO_ON) code = run_with(global, settings, &chosen, &words, argc, argv);
    mneme_settings_free(settings);
    cli_list_free(&words);
    return code;
}

static const cli_command command = {
    .name = "train encoder",
    .usage = "FILE... --out DIR [OPTIONS]",
    .summary = "train an encoder of your own texts",
    .details =
        "A small LSTM or GRU, or a table of token vectors, learns to say what the teacher says of these texts, in\n"
        "minutes, and is many times as fast then. Or a model learns from pairs of questions and passages, or from "
        "what\n"
        "stands side by side. Some documents are held out, to tell how it does on what it has not seen. The folder is "
        "a\n"
        "model like any other, and keeps a checkpoint to go on from. docs/training.md has the method and figures.",
    .example = "mneme train encoder notes.jsonl --out my-encoder\n"
               "mneme train encoder notes.jsonl --cell gru --vocabulary 8000 --out small-encoder\n"
               "mneme train encoder notes.jsonl --cell static --out fast-encoder\n"
               "mneme --store memory train encoder --from-store --out my-encoder\n"
               "mneme train encoder --pairs pairs.jsonl --from my-encoder --out better --rate 1e-4",
};
