/* cmd_add.c -- mneme add: one text into the memory. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/store_option.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_BYTES ((size_t)1 << 32)

typedef struct new_record {
    const char *id, *title, *session, *speaker, *name_space, *metadata;
    cli_time time, expires;
    const char *ttl;
    int64_t ttl_ms;
    double importance; /* NO_IMPORTANCE: not given */
    bool pinned;
} new_record;
#define NO_IMPORTANCE (-1.0)

/* "20230508T135600.123-1f2e3d4c5b6a7988": the time and the text's hash (FNV-1a), so that ids sort by time and the same
 * text at the same time is the same record. Owned. */
static char *make_id(const cli_text *text, int64_t ms)
{
    struct tm parts;
    int64_t within = (ms % 1000 + 1000) % 1000;
    time_t seconds = (time_t)((ms - within) / 1000);
    char day[32] = "";
    if (gmtime_r(&seconds, &parts)) strftime(day, sizeof day, "%Y%m%dT%H%M%S", &parts);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < text->size; i++) hash = (hash ^ (unsigned char)text->data[i]) * UINT64_C(0x100000001b3);
    return cli_format("%s.%03d-%016llx", day, (int)within, (unsigned long long)hash);
}

static void print_result(const cli_global *global, const char *id, const mneme_add_result *result)
{
    if (!global->json) {
        cli_print("%s\n", id);
        return;
    }
    json_t *object = json_object();
    cli_json_put(object, "id", id);
    cli_json_put(object, "result", result->added ? "added" : result->updated ? "updated" : "unchanged");
    cli_json_count(object, "chunks", result->chunks);
    cli_json_count(object, "replaced_characters", result->replaced_characters);
    cli_json_count(object, "generation", result->generation);
    cli_print_json(object);
}

static int add(const cli_global *global, mneme *memory, const new_record *addition, const cli_text *text)
{
    int64_t now = mneme_now(memory), time = addition->time.now ? now : addition->time.ms;
    char *made = addition->id ? NULL : make_id(text, addition->time.set ? time : now);
    const mneme_record record = {.id = addition->id ? addition->id : made,
                                 .name_space = addition->name_space,
                                 .text = text->data,
                                 .text_size = text->size,
                                 .title = addition->title,
                                 .session = addition->session,
                                 .speaker = addition->speaker,
                                 .metadata = addition->metadata,
                                 .has_time = addition->time.set,
                                 .time_ms = time,
                                 .has_importance = addition->importance != NO_IMPORTANCE,
                                 .importance = (float)addition->importance,
                                 .pinned = addition->pinned,
                                 .has_expires = addition->expires.set,
                                 .expires_ms = addition->expires.ms,
                                 .ttl_ms = addition->ttl_ms};
    mneme_add_options options = MNEME_ADD_OPTIONS_INIT;
    mneme_add_result result = {0};
    mneme_error error = {MNEME_OK, ""};
    options.strict = true; /* a refusal comes back as the call's own error */
    mneme_status status = mneme_add(memory, &record, 1, &options, &result, &error);
    int code = status == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
    if (status == MNEME_OK) print_result(global, record.id, &result);
    if (result.replaced_characters && code == CLI_EXIT_DONE)
        cli_say("replaced %llu invalid UTF-8 sequence%s by U+FFFD", (unsigned long long)result.replaced_characters,
                result.replaced_characters == 1 ? "" : "s");
    free(made);
    return code;
}

static int check_metadata(const char *metadata)
{
    json_error_t problem;
    if (!metadata) return CLI_GO_ON;
    json_t *value = json_loads(metadata, JSON_ALLOW_NUL, &problem);
    bool is_object = json_is_object(value);
    json_decref(value);
    if (is_object) return CLI_GO_ON;
    return cli_usage_error(&cli_command_add, "--metadata '%.200s': %s", metadata,
                           value ? "expected a JSON object" : problem.text);
}

/* "90s", "30m", "12h", "7d", "2w". */
static int read_ttl(new_record *addition)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}, {'w', 604800000}};
    const char *text = addition->ttl;
    if (!text) return CLI_GO_ON;
    char *end = NULL;
    double number = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (end != text && *end == units[i].unit && end[1] == '\0' && number > 0 && number < 1e9)
            addition->ttl_ms = (int64_t)(number * (double)units[i].ms);
    if (addition->ttl_ms > 0) return CLI_GO_ON;
    return cli_usage_error(&cli_command_add, "--ttl '%.40s': expected a time such as 90s, 30m, 12h, 7d or 2w", text);
}

static int check_life(new_record *addition)
{
    if (addition->importance != NO_IMPORTANCE && !(addition->importance >= 0 && addition->importance <= 1))
        return cli_usage_error(&cli_command_add, "--importance %g: expected 0 to 1", addition->importance);
    if (addition->ttl && addition->expires.set)
        return cli_usage_error(&cli_command_add, "give either --ttl or --expires");
    return read_ttl(addition);
}

static int read_text(const cli_words *words, cli_text *text)
{
    if (words->n == 0) return cli_usage_error(&cli_command_add, "no text given ('-' reads standard input)");
    int code = cli_words_text(&cli_command_add, words, TEXT_BYTES, text);
    if (code == CLI_GO_ON && text->size == 0) code = cli_usage_error(&cli_command_add, "the text is empty");
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    new_record new_one = {.importance = NO_IMPORTANCE};
    const cli_option options[] = {
        {'i', "id", CLI_TEXT, &new_one.id, "ID", "an id that exists is replaced (default: one made of time and text)"},
        {'n', "namespace", CLI_TEXT, &new_one.name_space, "NAME", "the namespace (default: the unnamed one)"},
        {0, "title", CLI_TEXT, &new_one.title, "TEXT", "what the text is called"},
        {0, "session", CLI_TEXT, &new_one.session, "NAME",
         "the conversation it belongs to: records of one are neighbours"},
        {0, "speaker", CLI_TEXT, &new_one.speaker, "NAME", "who said it"},
        {0, "time", CLI_TIME, &new_one.time, "TIME", "when it was (ISO 8601, or now)"},
        {0, "metadata", CLI_TEXT, &new_one.metadata, "JSON", "a JSON object for --where"},
        {0, "importance", CLI_NUMBER, &new_one.importance, "X", "how much it matters, 0 to 1 (default: by its text)"},
        {0, "pin", CLI_FLAG, &new_one.pinned, NULL, "it never fades, ends or is pruned"},
        {0, "ttl", CLI_TEXT, &new_one.ttl, "TIME", "it ends so long from now: 90s, 30m, 12h, 7d, 2w"},
        {0, "expires", CLI_TIME, &new_one.expires, "TIME", "it ends then (ISO 8601)"},
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    cli_text text = {0};
    mneme *memory = NULL;
    int code = cli_parse(global, &cli_command_add, options, argc, argv, &words);
    if (code == CLI_GO_ON) code = check_metadata(new_one.metadata);
    if (code == CLI_GO_ON) code = check_life(&new_one);
    if (code == CLI_GO_ON) code = read_text(&words, &text);
    if (code == CLI_GO_ON) code = cli_open_store(global, 0, &memory, NULL);
    if (code == CLI_GO_ON) code = add(global, memory, &new_one, &text);
    mneme_close(memory);
    cli_text_free(&text);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_add = {
    .name = "add",
    .usage = "TEXT... [OPTIONS]   (\"-\" reads the text from standard input)",
    .summary = "put one text into the memory and print its id",
    .details =
        "With --json: {\"id\",\"result\":\"added\"|\"updated\"|\"unchanged\",\"chunks\",\"replaced_characters\",\"generation\"}.\n"
        "Text that begins with '-' goes after '--'.",
    .example = "mneme add \"The spare key is under the third flower pot.\"\n"
               "mneme add \"I moved to Lisbon.\" --speaker Ana --session chat-7 --time 2024-03-02T10:15:00Z",
    .run = run,
};
