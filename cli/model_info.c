/* model_info.c -- mneme model info: what a model is, what computes it, and why just that. */
#include "cli/model_folders.h"
#include "cli/model_verbs.h"
#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is used, and why ---- */

/* A property that a setting decides. */
typedef struct decided {
    const char *label, *value, *setting;
} decided;

enum { N_DECIDED = 3 };

static void list_decided(const mneme_encoder_info *info, decided out[N_DECIDED])
{
    out[0] = (decided){"model", info->name, "encoder.model"};
    out[1] = (decided){"precision", info->precision, "encoder.precision"};
    out[2] = (decided){"kernels", info->kernels, "encoder.kernels"};
}

/* "encoder.precision = auto (default)"; owned. */
static char *why(const mneme_settings *settings, const char *setting)
{
    const char *origin, *wanted = cli_setting_text(settings, setting, &origin);
    return cli_format("%s = %s (%s)", setting, wanted, origin);
}

/* ---- as JSON ---- */

static void put_prompts(json_t *object, const mneme_encoder_info *info)
{
    json_t *texts = json_object();
    json_object_set_new(texts, "query", cli_json_string(info->query_prompt));
    json_object_set_new(texts, "passage", cli_json_string(info->passage_prompt));
    json_object_set_new(object, "prompts", texts);
}

static void put_reasons(json_t *object, const mneme_encoder_info *info, const mneme_settings *settings)
{
    decided properties[N_DECIDED];
    json_t *reasons = json_object();
    list_decided(info, properties);
    for (size_t i = 0; i < N_DECIDED; i++) {
        const char *origin, *value = cli_setting_text(settings, properties[i].setting, &origin);
        char *reason = cli_format("%s (%s)", value, origin);
        cli_json_put(reasons, properties[i].setting, reason);
        free(reason);
    }
    json_object_set_new(object, "why", reasons);
}

static void print_json(const mneme_encoder_info *info, const mneme_settings *settings)
{
    char fingerprint[20];
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)info->fingerprint);
    json_t *object = json_object();
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
    cli_json_put(object, "reason", info->reason);
    cli_json_put(object, "packed_file", info->packed_file);
    cli_json_put(object, "distilled_from", info->distilled_from);
    cli_json_put(object, "trained_from", info->trained_from);
    cli_json_put(object, "trained_on", info->trained_on);
    cli_json_put(object, "measured", info->measured);
    cli_json_put(object, "compressed", info->compressed);
    cli_json_put(object, "vocabulary_from", info->vocabulary_from);
    cli_json_put(object, "fingerprint", fingerprint);
    put_prompts(object, info);
    put_reasons(object, info, settings);
    cli_print_json(object);
}

/* ---- as lines ---- */

static void print_line(const char *label, const char *value, const char *reason)
{
    if (reason)
        cli_print("%-13s %-24s %s%s%s\n", label, value, cli_style_on(CLI_DIM), reason, cli_style_off());
    else
        cli_print("%-13s %s\n", label, value);
}

/* Prompts end in blanks as often as not: quoted. */
static void print_prompt(const char *label, const char *prompt)
{
    if (!prompt || !*prompt) {
        print_line(label, "none", NULL);
        return;
    }
    cli_print("%-13s \"", label);
    cli_print_text(prompt, strlen(prompt));
    cli_print("\"\n");
}

static char *parameters_text(uint64_t n)
{
    return n < 100000 ? cli_format("%llu", (unsigned long long)n) : cli_format("%.1f million", (double)n / 1e6);
}

static void print_lines(const mneme_encoder_info *info, const mneme_settings *settings)
{
    decided properties[N_DECIDED];
    list_decided(info, properties);
    char *reasons[N_DECIDED], *parameters = parameters_text(info->n_parameters);
    for (size_t i = 0; i < N_DECIDED; i++) reasons[i] = why(settings, properties[i].setting);
    print_line(properties[0].label, properties[0].value, reasons[0]);
    print_line("folder", info->path, NULL);
    if (info->n_heads)
        cli_print("%-13s %s, %u layers, %u heads, %s pooling\n", "kind", info->kind, info->n_layers, info->n_heads,
                  info->pooling);
    else if (info->n_layers)
        cli_print("%-13s %s, %u layer%s, %s pooling\n", "kind", info->kind, info->n_layers,
                  info->n_layers == 1 ? "" : "s", info->pooling);
    else
        cli_print("%-13s %s, %s pooling\n", "kind", info->kind, info->pooling);
    if (info->distilled_from) print_line("made from", info->distilled_from, NULL);
    if (info->trained_from) print_line("trained from", info->trained_from, NULL);
    if (info->trained_on) print_line("trained on", info->trained_on, NULL);
    if (info->measured) print_line("measured", info->measured, NULL);
    if (info->compressed) print_line("compressed", info->compressed, NULL);
    if (info->vocabulary_from) print_line("own tokens", info->vocabulary_from, NULL);
    cli_print("%-13s %s, vocabulary of %u\n", "parameters", parameters, info->vocabulary);
    cli_print("%-13s %u floats, texts of up to %u tokens\n", "vectors", info->dimension, info->max_tokens);
    print_prompt("query prompt", info->query_prompt);
    print_prompt("text prompt", info->passage_prompt);
    for (size_t i = 1; i < N_DECIDED; i++) print_line(properties[i].label, properties[i].value, reasons[i]);
    print_line("because", info->reason, NULL);
    print_line("packed file",
               info->packed_file ? info->packed_file : "none (encoder.cache names no folder that can be written)",
               NULL);
    cli_print("%-13s %016llx\n", "fingerprint", (unsigned long long)info->fingerprint);
    for (size_t i = 0; i < N_DECIDED; i++) free(reasons[i]);
    free(parameters);
}

int cli_model_open(mneme_settings *settings, const char *model, mneme_encoder **out)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_status status =
        model ? mneme_settings_set(settings, "encoder.model", model, "command line", &error) : MNEME_OK;
    if (status == MNEME_OK) status = mneme_encoder_open(settings, out, &error);
    return status == MNEME_OK ? CLI_GO_ON : cli_failed(&error);
}

int cli_model_info(const cli_global *global, mneme_settings *settings, const char *model)
{
    mneme_encoder *encoder = NULL;
    int code = cli_model_open(settings, model, &encoder);
    if (code != CLI_GO_ON) return code;
    mneme_encoder_info info = mneme_encoder_get_info(encoder);
    if (global->json)
        print_json(&info, settings);
    else
        print_lines(&info, settings);
    mneme_encoder_close(encoder);
    return CLI_EXIT_DONE;
}
