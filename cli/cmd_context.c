/* cmd_context.c -- mneme context: the window of text that a language model reads. */
#include "cli/commands.h"
#include "cli/empty_answer.h"
#include "cli/output.h"
#include "cli/question_options.h"
#include "cli/record_view.h"
#include "cli/store_option.h"

#include <string.h>

static void print_json(const char *question, const mneme_window *window)
{
    json_t *object = json_object(), *list = json_array();
    for (size_t i = 0; i < window->n; i++) json_array_append_new(list, cli_passage_json(&window->items[i]));
    cli_json_put(object, "query", question);
    json_object_set_new(object, "took_ms", cli_json_float((float)window->took_ms));
    cli_json_count(object, "generation", window->generation);
    cli_json_count(object, "tokens", window->tokens);
    json_object_set_new(object, "text", cli_json_text(window->text ? window->text : "", window->text_size));
    json_object_set_new(object, "passages", list);
    cli_print_json(object);
}

/* A line for each passage on stderr: weight, id with byte range, labels. */
static void say_sources(const mneme_window *window)
{
    for (size_t i = 0; i < window->n; i++) {
        const mneme_passage *passage = &window->items[i];
        char time[40] = "";
        if (passage->has_time) mneme_time_format(passage->time_ms, time, sizeof time);
        cli_say("%5.1f %%  %s %llu-%llu%s%s%s%s%s%s", (double)passage->weight * 100, passage->id,
                (unsigned long long)passage->start, (unsigned long long)passage->end, passage->title ? "  " : "",
                passage->title ? passage->title : "", passage->speaker ? "  " : "",
                passage->speaker ? passage->speaker : "", *time ? "  " : "", time);
    }
}

static int answer(const cli_global *global, mneme *memory, const char *question, const mneme_context_options *options,
                  bool sources)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_window *window = NULL;
    if (mneme_context(memory, question, options, &window, &error) != MNEME_OK) return cli_failed(&error);
    if (global->json) print_json(question, window);
    else if (window->text_size) {
        cli_print_text(window->text, window->text_size);
        if (window->text[window->text_size - 1] != '\n') cli_print("\n");
    }
    if (sources) say_sources(window);
    if (window->n)
        cli_say("%u tokens from %zu passage%s in %.1f ms", window->tokens, window->n, window->n == 1 ? "" : "s",
                window->took_ms);
    else cli_explain_empty(memory, &options->query.select);
    int code = window->n ? CLI_EXIT_DONE : CLI_EXIT_NO;
    mneme_window_free(window);
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    cli_asking asking = CLI_ASKING_INIT;
    uint64_t budget = CLI_K_UNSET;
    bool sources = false;
    const cli_option options[] = {
        {'b', "budget", CLI_COUNT, &budget, "TOKENS", "size of the window (default: the setting context.budget)"},
        {0, "sources", CLI_FLAG, &sources, NULL, "the passages' sources and weights on stderr"},
        CLI_ASKING_OPTIONS(asking),
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    cli_text question = {0};
    mneme *memory = NULL;
    mneme_settings *settings = NULL;
    mneme_context_options context = MNEME_CONTEXT_OPTIONS_INIT;
    int code = cli_parse(global, &cli_command_context, options, argc, argv, &words);
    if (code == CLI_GO_ON && (budget == 0 || (budget != CLI_K_UNSET && budget > UINT32_MAX)))
        code = cli_usage_error(&cli_command_context, "--budget: expected 1 to %u tokens", UINT32_MAX);
    if (code == CLI_GO_ON) code = cli_asking_read(&cli_command_context, &asking, &words, &question, &context.query);
    if (code == CLI_GO_ON) code = cli_asking_open(global, &asking, &memory, &settings);
    if (code == CLI_GO_ON) {
        context.budget = budget == CLI_K_UNSET ? 0 : (uint32_t)budget;
        code = answer(global, memory, question.data, &context, sources);
    }
    mneme_close(memory);
    mneme_settings_free(settings);
    cli_text_free(&question);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_context = {
    .name = "context",
    .usage = "TEXT... [OPTIONS]   (\"-\" reads the question from standard input)",
    .summary = "splice what matters for a question into one window of text",
    .details =
        "Prints the window alone, ready to go before a question to a language model. With --json:\n"
        "{\"tokens\",\"text\",\"passages\":[{\"id\",\"start\",\"end\",\"weight\",\"text\",...}]}. Exit code 1: nothing was found.",
    .example = "mneme context \"what did we decide about the garden?\" --budget 800 --sources",
    .run = run,
};
