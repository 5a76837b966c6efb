/* cmd_list.c -- mneme list: which records there are, page by page. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/record_view.h"
#include "cli/store_option.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_RECORDS 500

typedef struct list_run {
    bool json, text;
    uint64_t printed, limit; /* limit 0 = all */
} list_run;

/* id, size and labels on one line. */
static bool print_line(const mneme_record *record, uint32_t n_chunks)
{
    cli_print("%s", cli_style_on(CLI_CYAN));
    cli_print_text(record->id, strlen(record->id));
    cli_print("%s  %s%u chunk%s%s  ", cli_style_off(), cli_style_on(CLI_DIM), n_chunks, n_chunks == 1 ? "" : "s",
              cli_style_off());
    cli_print_labels(record->name_space, record->title, record->speaker, record->has_time, record->time_ms);
    return cli_print("\n");
}

static bool print_record(list_run *listing, const mneme_record_list *page, size_t i)
{
    const mneme_record *record = &page->items[i];
    uint32_t n_chunks = page->n_chunks[i];
    bool first = listing->printed++ == 0;
    if (!listing->json) return print_line(record, n_chunks);
    json_t *object = cli_record_json(record, n_chunks, &page->strengths[i], listing->text);
    return cli_print("%s", first ? "" : ",\n") && cli_print_json_part(object);
}

/* One page; *next becomes the place to go on, NULL at the end (owned). False: stop, *code says why. */
static bool print_page(list_run *listing, mneme *memory, mneme_list_options *options, char **next, int *code)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_record_list *page = NULL;
    uint64_t left = listing->limit ? listing->limit - listing->printed : PAGE_RECORDS;
    options->limit = left < PAGE_RECORDS ? (size_t)left : PAGE_RECORDS;
    options->after = *next;
    mneme_status status = mneme_list(memory, options, &page, &error);
    free(*next);
    *next = NULL;
    if (status != MNEME_OK) {
        *code = cli_failed(&error);
        return false;
    }
    bool going = true;
    for (size_t i = 0; i < page->n && going; i++) going = print_record(listing, page, i);
    *next = cli_strdup(page->next);
    mneme_record_list_free(page);
    return going && *next && (!listing->limit || listing->printed < listing->limit);
}

static int list(list_run *listing, mneme *memory, const cli_selection *selection, const char *after)
{
    mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
    options.select = cli_selection_get(selection);
    options.omit_text = !listing->text;
    char *next = cli_strdup(after);
    int code = CLI_EXIT_DONE;
    if (listing->json) cli_print("{\"records\":[");
    while (print_page(listing, memory, &options, &next, &code)) continue;
    if (listing->json && code == CLI_EXIT_DONE) {
        cli_print("],\"next\":");
        cli_print_json_part(cli_json_string(next));
        cli_print("}\n");
    } else if (next && code == CLI_EXIT_DONE && listing->printed == listing->limit) {
        cli_say("more: go on with --after '%s'", next);
    }
    free(next);
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    cli_selection selection = {0};
    list_run listing = {0};
    const char *after = NULL;
    const cli_option options[] = {
        {'l', "limit", CLI_COUNT, &listing.limit, "N", "at most N records (default: all)"},
        {0, "after", CLI_TEXT, &after, "CURSOR", "go on after the page that gave this cursor"},
        {'t', "text", CLI_FLAG, &listing.text, NULL, "with --json: the records' texts too"},
        CLI_SELECTION_OPTIONS(selection),
        CLI_OPTIONS_END,
    };
    mneme *memory = NULL;
    int code = cli_parse(global, &cli_command_list, options, argc, argv, NULL);
    listing.json = global->json;
    if (code == CLI_GO_ON) code = cli_open_store(global, MNEME_OPEN_READ_ONLY, &memory, NULL);
    if (code == CLI_GO_ON) code = list(&listing, memory, &selection, after);
    mneme_close(memory);
    return code;
}

const cli_command cli_command_list = {
    .name = "list",
    .usage = "[OPTIONS]",
    .summary = "list records, by namespace and in the order of adding",
    .details =
        "With --json: {\"records\":[{\"id\",\"namespace\",\"chunks\",...}],\"next\"}; next is null at the end, else what --after\n"
        "takes for the following page.",
    .example = "mneme list --limit 20\nmneme list --source notes/ --since 2023-05-01 --json",
    .run = run,
};
