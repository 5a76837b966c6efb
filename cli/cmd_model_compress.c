/* cmd_model_compress.c -- mneme model quantize and prune: a smaller copy of a model, and what it is worth beside the
 * original: size, speed, and how near its vectors are. */
#include "cli/model_compress.h"
#include "cli/model_folders.h"
#include "cli/model_verbs.h"
#include "cli/output.h"
#include "cli/path.h"
#include "cli/shard_names.h"
#include "cli/source_texts.h"
#include "cli/store_option.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct compress_options {
    const char *to, *name;
    double keep;
    bool force;
    cli_list text;
} compress_options;

/* One column of the table. */
typedef struct measured {
    uint64_t bytes;      /* of its weights */
    double tokens_per_s; /* 0: there were no texts */
    float *vectors;      /* of the texts; owned */
    uint32_t dimension;
} measured;

/* The texts once to warm up, and once by the clock. */
static mneme_status measure(const mneme_encoder *encoder, const cli_source_texts *texts, measured *out,
                            mneme_error *error)
{
    mneme_encoder_info info = mneme_encoder_get_info(encoder);
    uint64_t tokens = 0;
    mneme_status status = MNEME_OK;
    *out = (measured){.bytes = cli_weights_bytes(info.path), .dimension = info.dimension};
    if (texts->n == 0) return MNEME_OK;
    out->vectors = cli_alloc(texts->n * info.dimension, sizeof *out->vectors);
    for (size_t i = 0; i < texts->n && status == MNEME_OK; i++) {
        uint64_t n = 0;
        status = mneme_count_tokens(encoder, texts->items[i], texts->sizes[i], &n, error);
        tokens += n < info.max_tokens ? n : info.max_tokens;
    }
    for (unsigned round = 0; round < 2 && status == MNEME_OK; round++) {
        double started = cli_seconds();
        status =
            mneme_encode(encoder, (const char *const *)texts->items, texts->sizes, texts->n, NULL, out->vectors, error);
        out->tokens_per_s = (double)tokens / (cli_seconds() - started);
    }
    return status;
}

typedef struct nearness {
    double mean, least; /* cosine of a text's two vectors */
} nearness;

static nearness compare(const measured *before, const measured *after, size_t n)
{
    nearness near = {0, 1};
    for (size_t i = 0; i < n; i++) {
        double dot = 0;
        for (size_t d = 0; d < before->dimension; d++)
            dot +=
                (double)before->vectors[i * before->dimension + d] * (double)after->vectors[i * after->dimension + d];
        near.mean += dot / (double)n;
        near.least = fmin(near.least, dot);
    }
    return near;
}

static json_t *column(const measured *m)
{
    json_t *object = json_object();
    cli_json_count(object, "bytes", m->bytes);
    json_object_set_new(object, "tokens_per_s", m->vectors ? json_real(m->tokens_per_s) : json_null());
    return object;
}

static void print_table(const cli_global *global, const char *folder, const measured columns[2], size_t n_texts)
{
    const measured *before = &columns[0], *after = &columns[1];
    nearness near = n_texts ? compare(before, after, n_texts) : (nearness){0, 0};
    if (global->json) {
        json_t *object = json_object();
        cli_json_put(object, "name", cli_path_base(folder));
        cli_json_put(object, "path", folder);
        json_object_set_new(object, "before", column(before));
        json_object_set_new(object, "after", column(after));
        cli_json_count(object, "texts", n_texts);
        json_object_set_new(object, "cosine_mean", n_texts ? json_real(near.mean) : json_null());
        json_object_set_new(object, "cosine_least", n_texts ? json_real(near.least) : json_null());
        cli_print_json(object);
        return;
    }
    cli_print("%-22s %14s %14s\n", "", "before", "after");
    cli_print("%-22s %14.1f %14.1f\n", "weights, MB", (double)before->bytes / 1e6, (double)after->bytes / 1e6);
    if (n_texts) {
        cli_print("%-22s %14.0f %14.0f\n", "tokens/s", before->tokens_per_s, after->tokens_per_s);
        cli_print("%-22s %14s %14.6f\n", "cosine, mean", "1", near.mean);
        cli_print("%-22s %14s %14.6f\n", "cosine, least", "1", near.least);
    }
    cli_say("%s", folder);
}

/* Compress what `encoder` was opened from, try the copy, and compare. */
static int compress(const cli_global *global, const mneme_settings *settings, const mneme_encoder *encoder,
                    const mneme_compress_options *options, const compress_options *chosen)
{
    mneme_error error = {MNEME_OK, ""};
    cli_model_place place = {0};
    cli_source_texts texts = {0};
    measured columns[2] = {0};
    mneme_encoder *copy = NULL;
    int code = cli_model_place_find(settings, chosen->name, chosen->force, &place);
    if (code == CLI_GO_ON) code = cli_source_texts_read(&texts, &chosen->text);
    if (code == CLI_GO_ON) {
        char *folder = cli_format("%s/", place.folder);
        mneme_status status = mneme_compress_model(mneme_encoder_get_info(encoder).path, options, place.folder, &error);
        if (status == MNEME_OK) status = cli_model_try(settings, folder, &copy, &error);
        if (status == MNEME_OK) status = measure(encoder, &texts, &columns[0], &error);
        if (status == MNEME_OK) status = measure(copy, &texts, &columns[1], &error);
        if (status == MNEME_OK) print_table(global, place.folder, columns, texts.n);
        code = status == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
        free(folder);
    }
    mneme_encoder_close(copy);
    free(columns[0].vectors);
    free(columns[1].vectors);
    cli_source_texts_free(&texts);
    cli_model_place_free(&place);
    return code;
}

static int check(const cli_command *command, const cli_words *words, const compress_options *chosen)
{
    if (words->n != 1) return cli_usage_error(command, "expected one model");
    if (!chosen->name) return cli_usage_error(command, "say what to call the new model: --name NAME");
    return CLI_GO_ON;
}

/* What the verbs differ in. own: the option that says how; set: what it asks for, or CLI_EXIT_USAGE. */
typedef struct compress_verb {
    const cli_command *command;
    cli_option own;
    int (*set)(const compress_options *chosen, mneme_compress_options *out);
} compress_verb;

static int run(cli_global *global, int argc, char **argv, const compress_verb *verb, compress_options *chosen)
{
    const cli_option options[] = {
        verb->own,
        {0, "name", CLI_TEXT, &chosen->name, "NAME", "what to call the new model"},
        {0, "text", CLI_LIST, &chosen->text, "FILE", "compare on what this file says (text, JSONL; may be repeated)"},
        {0, "force", CLI_FLAG, &chosen->force, NULL, "replace the model of that name"},
        CLI_OPTIONS_END,
    };
    mneme_compress_options compression = MNEME_COMPRESS_OPTIONS_INIT;
    mneme_settings *settings = NULL;
    mneme_encoder *encoder = NULL;
    cli_words words = {0};
    int code = cli_parse(global, verb->command, options, argc, argv, &words);
    if (code == CLI_GO_ON) code = check(verb->command, &words, chosen);
    if (code == CLI_GO_ON) code = verb->set(chosen, &compression);
    compression.replace = chosen->force;
    if (code == CLI_GO_ON) code = cli_open_settings(global, &settings);
    if (code == CLI_GO_ON) code = cli_model_open(settings, words.items[0], &encoder);
    if (code == CLI_GO_ON) code = compress(global, settings, encoder, &compression, chosen);
    mneme_encoder_close(encoder);
    mneme_settings_free(settings);
    cli_list_free(&chosen->text);
    cli_list_free(&words);
    return code;
}

static const cli_command quantize_command, prune_command;

static int set_quantize(const compress_options *chosen, mneme_compress_options *out)
{
    if (!chosen->to || strcmp(chosen->to, "int8") != 0)
        return cli_usage_error(&quantize_command, "say which format: --to int8");
    out->int8 = true;
    return CLI_GO_ON;
}

static int set_prune(const compress_options *chosen, mneme_compress_options *out)
{
    if (!(chosen->keep > 0 && chosen->keep < 1))
        return cli_usage_error(&prune_command, "say how much to keep: --keep 0.5, over 0 and below 1");
    out->keep = chosen->keep;
    return CLI_GO_ON;
}

int cli_model_quantize(cli_global *global, int argc, char **argv)
{
    compress_options chosen = {0};
    const compress_verb quantize = {&quantize_command,
                                    {0, "to", CLI_TEXT, &chosen.to, "FORMAT", "int8: bytes, with a scale for each row"},
                                    set_quantize};
    return run(global, argc, argv, &quantize, &chosen);
}

int cli_model_prune(cli_global *global, int argc, char **argv)
{
    compress_options chosen = {0};
    const compress_verb prune = {
        &prune_command,
        {0, "keep", CLI_NUMBER, &chosen.keep, "SHARE", "of each product's weights, over 0 and below 1"},
        set_prune};
    return run(global, argc, argv, &prune, &chosen);
}

static const cli_command quantize_command = {
    .name = "model quantize",
    .usage = "MODEL --to int8 --name NAME [--text FILE]...",
    .summary = "a copy of a model with weights of one byte each",
    .details =
        "A quarter of the size on disk of f32 weights. Vectors change a little; with --text, the table says how much\n"
        "and how fast both are. What the products run on is decided by encoder.precision as before.\n"
        "docs/compression.md has figures.",
    .example = "mneme model quantize all-MiniLM-L6-v2 --to int8 --name minilm-int8 --text notes.jsonl",
};

static const cli_command prune_command = {
    .name = "model prune",
    .usage = "MODEL --keep SHARE --name NAME [--text FILE]...",
    .summary = "a copy of a model whose small weights are zero",
    .details =
        "Of each product's weights the largest stay, the others become zero. The folder stays as large (it compresses\n"
        "better in an archive or a backup), and speed stays as it is: zeros are multiplied like other numbers. It\n"
        "shows what a model can do without, and is a start for training. docs/compression.md has figures.",
    .example = "mneme model prune all-MiniLM-L6-v2 --keep 0.7 --name minilm-70 --text notes.jsonl",
};
