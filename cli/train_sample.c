/* train_sample.c -- mneme train sample: text from a trained language model. */
#include "cli/output.h"
#include "cli/train_verbs.h"

#include <stdlib.h>

enum { PROMPT_MAX_BYTES = 16 << 20 };

static const cli_command command;

static int sample(const cli_global *global, const char *folder, const cli_text *prompt,
                  const mneme_lm_generate_options *options)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_lm *lm = NULL;
    mneme_lm_output *out = NULL;
    mneme_status status = mneme_lm_open(folder, &lm, &error);
    if (status == MNEME_OK) status = mneme_lm_generate(lm, prompt->data, prompt->size, options, &out, &error);
    if (status == MNEME_OK && global->json) {
        json_t *object = json_object();
        json_object_set_new(object, "prompt", cli_json_text(prompt->data ? prompt->data : "", prompt->size));
        json_object_set_new(object, "text", cli_json_text(out->text, out->size));
        cli_print_json(object);
    } else if (status == MNEME_OK) {
        if (prompt->size) cli_print_text(prompt->data, prompt->size);
        cli_print_text(out->text, out->size);
        cli_print("\n");
    }
    mneme_lm_output_free(out);
    mneme_lm_close(lm);
    return status == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
}

int cli_train_sample(cli_global *global, int argc, char **argv)
{
    mneme_lm_generate_options chosen = MNEME_LM_GENERATE_OPTIONS_INIT;
    uint64_t top_k = chosen.top_k;
    const cli_option options[] = {
        {0, "length", CLI_COUNT, &chosen.length, "N", "characters to write (500)"},
        {0, "temperature", CLI_NUMBER, &chosen.temperature, "T", "0: always the likeliest; higher: more varied (0.8)"},
        {0, "top-k", CLI_COUNT, &top_k, "N", "only of the N likeliest characters (0: of all)"},
        {0, "seed", CLI_COUNT, &chosen.seed, "N", "equal seeds write equal texts (1)"},
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    cli_text prompt = {0};
    int code = cli_parse(global, &command, options, argc, argv, &words);
    if (code == CLI_GO_ON && words.n == 0) code = cli_usage_error(&command, "expected the folder of a model");
    if (code == CLI_GO_ON && words.n > 1) {
        const cli_words rest = {words.items + 1, words.n - 1, 0};
        code = cli_words_text(&command, &rest, PROMPT_MAX_BYTES, &prompt);
    }
    chosen.top_k = top_k < UINT32_MAX ? (uint32_t)top_k : 0;
    if (code == CLI_GO_ON) code = sample(global, words.items[0], &prompt, &chosen);
    cli_text_free(&prompt);
    cli_list_free(&words);
    return code;
}

static const cli_command command = {
    .name = "train sample",
    .usage = "DIR [PROMPT...] [OPTIONS]",
    .summary = "text from a trained language model",
    .details = "Writes on from the prompt (- reads it from standard input), or from a line break.",
    .example = "mneme train sample book-model 'Once upon a time' --length 300\n"
               "mneme train sample book-model --temperature 0.5 --top-k 10 --seed 7",
};
