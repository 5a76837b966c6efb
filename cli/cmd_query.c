/* cmd_query.c -- mneme query: what does the memory hold about this? */
#include "cli/commands.h"
#include "cli/empty_answer.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "cli/question_options.h"
#include "cli/record_view.h"
#include "cli/snippet.h"
#include "cli/store_option.h"
#include "cli/vector_file.h"

#include <stdlib.h>
#include <string.h>

#define SNIPPET_LINES 4

/* Does the ranking use what changes with time? */
static bool weighs_strength(const mneme_settings *settings)
{
    mneme_setting strength = {.value = "0"}, recency = {.value = "0"};
    mneme_settings_find(settings, "retrieval.strength_weight", &strength);
    mneme_settings_find(settings, "retrieval.recency_weight", &recency);
    return strtod(strength.value, NULL) > 0 || strtod(recency.value, NULL) > 0;
}

static void print_json(const char *question, const mneme_hits *hits, bool with_strength, bool explain)
{
    json_t *object = json_object(), *list = json_array();
    for (size_t i = 0; i < hits->n; i++)
        json_array_append_new(list, cli_hit_json(&hits->items[i], with_strength, explain));
    cli_json_put(object, "query", question);
    json_object_set_new(object, "took_ms", cli_json_float((float)hits->took_ms));
    cli_json_count(object, "generation", hits->generation);
    if (hits->is_unknown) json_object_set_new(object, "unknown", json_true());
    json_object_set_new(object, "hits", list);
    cli_print_json(object);
}

/* "1. 0.83  notes.md 120-480  Title | Speaker | time", then the snippet. */
static void print_hit(const cli_question *words, size_t rank, const mneme_hit *hit)
{
    cli_print("%s%zu.%s %s%.3f%s  ", cli_style_on(CLI_BOLD), rank, cli_style_off(), cli_style_on(CLI_GREEN),
              (double)hit->score, cli_style_off());
    cli_print("%s", cli_style_on(CLI_CYAN));
    cli_print_text(hit->id, strlen(hit->id));
    cli_print("%s %s%llu-%llu%s  ", cli_style_off(), cli_style_on(CLI_DIM), (unsigned long long)hit->start,
              (unsigned long long)hit->end, cli_style_off());
    cli_print_labels(hit->name_space, hit->title, hit->speaker, hit->has_time, hit->time_ms);
    cli_text snippet = {0};
    cli_snippet(words, hit->text, hit->text_size, 4, cli_width(), SNIPPET_LINES, &snippet);
    cli_print("\n%s", snippet.data ? snippet.data : "");
    cli_text_free(&snippet);
}

static void print_hits(const char *question, const mneme_hits *hits)
{
    cli_question words = {0};
    cli_question_read(&words, question);
    for (size_t i = 0; i < hits->n; i++) {
        if (i) cli_print("\n");
        print_hit(&words, i + 1, &hits->items[i]);
    }
    cli_question_free(&words);
    cli_say("%zu hit%s in %.1f ms", hits->n, hits->n == 1 ? "" : "s", hits->took_ms);
}

static void print_explained(const char *question, const mneme_hits *hits, cli_explain_form form)
{
    cli_explained *items = cli_alloc(hits->n, sizeof *items);
    cli_text shown = {0};
    for (size_t i = 0; i < hits->n; i++) items[i] = cli_explain_hit(&hits->items[i]);
    if (form == CLI_EXPLAIN_HTML) {
        char *summary = cli_format("%zu hit%s in %.1f ms", hits->n, hits->n == 1 ? "" : "s", hits->took_ms);
        cli_explain_page(question, summary, items, hits->n, &shown);
        free(summary);
    } else {
        cli_text_byte(&shown, '\n');
        cli_explain_table(items, hits->n, &shown);
    }
    cli_print_bytes(shown.data, shown.size);
    cli_text_free(&shown);
    free(items);
}

static int answer(const cli_global *global, mneme *memory, const char *question, const mneme_query_options *options,
                  int explain, bool with_strength)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_hits *hits = NULL;
    if (mneme_query(memory, question, options, &hits, &error) != MNEME_OK) return cli_failed(&error);
    if (global->json)
        print_json(question, hits, with_strength, explain >= 0);
    else if (hits->n && explain != CLI_EXPLAIN_HTML)
        print_hits(question, hits);
    if (!global->json && hits->n && explain >= 0) print_explained(question, hits, (cli_explain_form)explain);
    if (hits->is_unknown) cli_explain_unknown();
    int code = hits->n ? CLI_EXIT_DONE : CLI_EXIT_NO;
    if (!hits->n) cli_explain_empty(memory, &options->select);
    mneme_hits_free(hits);
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    cli_asking asking = CLI_ASKING_INIT;
    bool one_per_record = false;
    const char *vector_file = NULL;
    const cli_option options[] = {
        CLI_ASKING_OPTIONS(asking),
        {0, "one-per-record", CLI_FLAG, &one_per_record, NULL, "each record once, as its best chunk"},
        {0, "vector", CLI_TEXT, &vector_file, "FILE", "the question's vector: .npy, a JSON array or float32 numbers"},
        CLI_OPTIONS_END,
    };
    float *vector = NULL;
    uint32_t dimension = 0;
    cli_words words = {0};
    cli_text question = {0};
    mneme *memory = NULL;
    mneme_settings *settings = NULL;
    mneme_query_options query = MNEME_QUERY_OPTIONS_INIT;
    int code = cli_parse(global, &cli_command_query, options, argc, argv, &words);
    if (code == CLI_GO_ON) code = cli_asking_check(global, &cli_command_query, &asking);
    asking.may_be_empty = vector_file != NULL;
    if (code == CLI_GO_ON && vector_file) code = cli_vector_read(vector_file, &vector, &dimension);
    if (code == CLI_GO_ON) code = cli_asking_read(&cli_command_query, &asking, &words, &question, &query);
    query.one_per_record = one_per_record;
    query.vector = vector;
    query.dimension = dimension;
    if (code == CLI_GO_ON) code = cli_asking_open(global, &asking, &memory, &settings);
    if (code == CLI_GO_ON)
        code = answer(global, memory, question.data ? question.data : "", &query, asking.explain,
                      weighs_strength(settings));
    mneme_close(memory);
    mneme_settings_free(settings);
    free(vector);
    cli_text_free(&question);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_query = {
    .name = "query",
    .usage = "TEXT... [OPTIONS]   (\"-\" reads the question from standard input)",
    .summary = "find the passages that answer a question",
    .details =
        "Scores lie in 0..1, higher is better. With --json: "
        "{\"query\",\"took_ms\",\"hits\":[{\"id\",\"chunk\",\"score\",\"dense\",\n"
        "\"lexical\",\"attention\",\"start\",\"end\",\"text\",...}]}; start and end are byte offsets in the record's "
        "text.\n"
        "Exit code 1: nothing was found. --explain adds what each score is made of (with --json: \"explain\" in each "
        "hit),\n"
        "--explain=html writes a page instead. --strengthen opens the store for writing and counts the answer as use.\n"
        "With --vector the text, which may be left out then, serves the words' side alone.",
    .example = "mneme query \"where is the spare key?\" -k 3\nmneme query \"painting\" --since 2023-05-01 --where "
               "'kind = \"note\"' --json",
    .run = run,
};
