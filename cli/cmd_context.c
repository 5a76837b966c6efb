/* cmd_context.c -- mneme context: the window of text that a language model reads. */
#include "cli/commands.h"
#include "cli/empty_answer.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "cli/question_options.h"
#include "cli/record_view.h"
#include "cli/store_option.h"

#include <stdlib.h>
#include <string.h>

static void print_json(const char *question, const mneme_window *window, bool explain)
{
    json_t *object = json_object(), *list = json_array();
    for (size_t i = 0; i < window->n; i++) json_array_append_new(list, cli_passage_json(&window->items[i], explain));
    cli_json_put(object, "query", question);
    json_object_set_new(object, "took_ms", cli_json_float((float)window->took_ms));
    cli_json_count(object, "generation", window->generation);
    if (window->is_unknown) json_object_set_new(object, "unknown", json_true());
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

/* What context was told to show beside the window. */
typedef struct shown {
    bool sources;
    int explain; /* a cli_explain_form; -1: none */
} shown;

/* The table goes to stderr: stdout is the window's. The page stands in its place. */
static void show_explained(const char *question, const mneme_window *window, cli_explain_form form)
{
    cli_explained *items = cli_alloc(window->n, sizeof *items);
    cli_text out = {0};
    for (size_t i = 0; i < window->n; i++) items[i] = cli_explain_passage(&window->items[i]);
    if (form == CLI_EXPLAIN_HTML) {
        char *summary = cli_format("a window of %u tokens from %zu passage%s in %.1f ms", window->tokens, window->n,
                                   window->n == 1 ? "" : "s", window->took_ms);
        cli_explain_page(question, summary, items, window->n, &out);
        cli_print_bytes(out.data, out.size);
        free(summary);
    } else {
        cli_explain_table(items, window->n, &out);
        out.data[out.size - 1] = '\0'; /* cli_say ends the line */
        cli_say("%s", out.data);
    }
    cli_text_free(&out);
    free(items);
}

static void say_empty(mneme *memory, const mneme_window *window, const mneme_selection *select)
{
    if (window->n_found)
        cli_say("nothing fits: the budget is too small for any of the %zu memories found; give more with --budget",
                window->n_found);
    else
        cli_explain_empty(memory, select);
}

static int answer(const cli_global *global, mneme *memory, const char *question, const mneme_context_options *options,
                  const shown *show)
{
    bool page = show->explain == CLI_EXPLAIN_HTML;
    mneme_error error = {MNEME_OK, ""};
    mneme_window *window = NULL;
    if (mneme_context(memory, question, options, &window, &error) != MNEME_OK) return cli_failed(&error);
    if (global->json)
        print_json(question, window, show->explain >= 0);
    else if (window->text_size && !page) {
        cli_print_text(window->text, window->text_size);
        if (window->text[window->text_size - 1] != '\n') cli_print("\n");
    }
    if (window->is_unknown) cli_explain_unknown();
    if (show->sources) say_sources(window);
    if (!global->json && window->n && show->explain >= 0)
        show_explained(question, window, (cli_explain_form)show->explain);
    if (window->n)
        cli_say("%u tokens from %zu passage%s in %.1f ms", window->tokens, window->n, window->n == 1 ? "" : "s",
                window->took_ms);
    else
        say_empty(memory, window, &options->query.select);
    int code = window->n ? CLI_EXIT_DONE : CLI_EXIT_NO;
    mneme_window_free(window);
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    cli_asking asking = CLI_ASKING_INIT;
    uint64_t budget = CLI_K_UNSET;
    int form = -1, counting = -1;
    shown show = {false, -1};
    const cli_option options[] = {
        {'b', "budget", CLI_COUNT, &budget, "TOKENS", "size of the window (default: the setting context.budget)"},
        {0, "template", CLI_CHOICE, &form, "plain|markdown|xml|chat",
         "form of the window (default: the setting context.template)"},
        {0, "tokens", CLI_CHOICE, &counting, "encoder|bytes/4",
         "what counts them (default: the setting context.tokens)"},
        {0, "sources", CLI_FLAG, &show.sources, NULL, "the passages' sources and weights on stderr"},
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
    if (code == CLI_GO_ON) code = cli_asking_check(global, &cli_command_context, &asking);
    if (code == CLI_GO_ON) code = cli_asking_read(&cli_command_context, &asking, &words, &question, &context.query);
    if (code == CLI_GO_ON) code = cli_asking_open(global, &asking, &memory, &settings);
    if (code == CLI_GO_ON) {
        context.budget = budget == CLI_K_UNSET ? 0 : (uint32_t)budget;
        context.form = (mneme_template)(form + 1);
        context.counting = (mneme_counting)(counting + 1);
        show.explain = asking.explain;
        code = answer(global, memory, question.data, &context, &show);
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
    .details = "Prints the window alone, ready to go before a question to a language model. With --json:\n"
               "{\"tokens\",\"text\",\"passages\":[{\"id\",\"start\",\"end\",\"weight\",\"text\",...}]}. Exit code 1: "
               "nothing was found, or\n"
               "the budget has no room for it. --explain says on stderr what each passage's score is made of (with "
               "--json: in each\n"
               "passage), --explain=html writes a page instead. --tokens bytes/4 with --mode lexical needs no model.",
    .example = "mneme context \"what did we decide about the garden?\" --budget 800 --sources\n"
               "mneme context \"the garden\" --template chat --explain",
    .run = run,
};
