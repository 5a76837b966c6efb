/* cmd_prune.c -- mneme prune: forget what has ended, and the weakest beyond a budget. (`index --prune`, for what has
 * vanished from a folder, is cli/prune.c.) */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/record_view.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <string.h>

typedef struct prune_view {
    bool json, list; /* list: a line for each */
    json_t *victims;
} prune_view;

static const char *reason_name(mneme_prune_reason reason)
{
    return reason == MNEME_PRUNE_EXPIRED ? "expired" : reason == MNEME_PRUNE_WEAK ? "weak" : "over budget";
}

static void print_victim(const mneme_victim *victim)
{
    char used[48] = "never used";
    if (victim->strength.has_last_use) {
        char time[32];
        mneme_time_format(victim->strength.last_use_ms, time, sizeof time);
        snprintf(used, sizeof used, "used %s", time);
    }
    cli_print("%-11s  %.3f  %s  ", reason_name(victim->reason), (double)victim->strength.strength, used);
    if (*victim->name_space) cli_print("[%s] ", victim->name_space);
    cli_print_text(victim->id, strlen(victim->id));
    cli_print("\n");
}

static void on_victim(void *context, const mneme_victim *victim)
{
    prune_view *view = context;
    if (!view->json) {
        if (victim->archived_id && strcmp(victim->archived_id, victim->id) != 0)
            cli_say("the archive has another record \"%s\"; this one is in it as \"%s\"", victim->id,
                    victim->archived_id);
        if (view->list) print_victim(victim);
        return;
    }
    json_t *object = json_object();
    cli_json_put(object, "id", victim->id);
    if (victim->archived_id) cli_json_put(object, "archived_id", victim->archived_id);
    cli_json_put(object, "namespace", victim->name_space);
    cli_json_put(object, "reason", reason_name(victim->reason));
    cli_json_count(object, "chunks", victim->chunks);
    cli_json_count(object, "bytes", victim->bytes);
    cli_put_strength(object, &victim->strength);
    json_array_append_new(view->victims, object);
}

static void print_result(const cli_global *global, const mneme_prune_options *options, const prune_view *view,
                         const mneme_prune_result *result)
{
    uint64_t n = result->expired + result->weak + result->over_budget;
    if (!global->json) {
        cli_say("%s %llu record%s (%llu expired, %llu weak, %llu over budget), %s; %llu record%s, %s are left",
                options->dry_run   ? "would prune"
                : result->archived ? "pruned and archived"
                                   : "pruned",
                (unsigned long long)n, n == 1 ? "" : "s", (unsigned long long)result->expired,
                (unsigned long long)result->weak, (unsigned long long)result->over_budget, cli_bytes(result->bytes),
                (unsigned long long)result->kept_records, result->kept_records == 1 ? "" : "s",
                cli_bytes(result->kept_bytes));
        return;
    }
    json_t *object = json_object();
    cli_json_count(object, "pruned", n);
    cli_json_count(object, "expired", result->expired);
    cli_json_count(object, "weak", result->weak);
    cli_json_count(object, "over_budget", result->over_budget);
    cli_json_count(object, "archived", result->archived);
    cli_json_count(object, "chunks", result->chunks);
    cli_json_count(object, "bytes", result->bytes);
    cli_json_count(object, "kept_records", result->kept_records);
    cli_json_count(object, "kept_chunks", result->kept_chunks);
    cli_json_count(object, "kept_bytes", result->kept_bytes);
    json_object_set_new(object, "dry_run", json_boolean(options->dry_run));
    json_object_set(object, "records", view->victims);
    cli_print_json(object);
}

static bool go_on(void *context, uint64_t done, uint64_t total, const char *unit)
{
    (void)context, (void)done, (void)total, (void)unit;
    return !cli_stop_asked();
}

static int prune(const cli_global *global, mneme *memory, mneme_prune_options *options)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_prune_result result;
    prune_view view = {.json = global->json, .list = options->dry_run, .victims = json_array()};
    options->victim = on_victim;
    options->context = &view;
    options->progress = go_on;
    cli_stop_prepare();
    mneme_status status = mneme_prune(memory, options, &result, &error);
    bool stopped = status == MNEME_ERR_CANCELLED && cli_stop_asked();
    if (status == MNEME_OK || stopped) print_result(global, options, &view, &result);
    if (stopped) cli_say("stopped; the same command goes on where this one ended");
    int code = stopped ? cli_stop_code() : status == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
    json_decref(view.victims);
    return code;
}

static int check(const mneme_prune_options *options, const uint64_t *seed)
{
    if (options->max_records == 0 || options->max_chunks == 0 || options->max_bytes == 0)
        return cli_usage_error(&cli_command_prune, "a budget of 0 leaves nothing: 'mneme forget' does that");
    if (!(options->min_strength >= 0 && options->min_strength <= 1))
        return cli_usage_error(&cli_command_prune, "--min-strength %g: expected 0 to 1", options->min_strength);
    if (options->min_strength > 0 && options->strategy != MNEME_PRUNE_STRENGTH)
        return cli_usage_error(&cli_command_prune, "--min-strength goes with --strategy strength");
    if (*seed != CLI_NO_COUNT && options->strategy != MNEME_PRUNE_RANDOM)
        return cli_usage_error(&cli_command_prune, "--seed goes with --strategy random");
    return CLI_GO_ON;
}

static uint64_t limit_of(uint64_t given)
{
    return given == CLI_NO_COUNT ? 0 : given;
}

static int run(cli_global *global, int argc, char **argv)
{
    mneme_prune_options pruning = MNEME_PRUNE_OPTIONS_INIT;
    uint64_t seed = CLI_NO_COUNT;
    int strategy = MNEME_PRUNE_STRENGTH;
    pruning.max_records = pruning.max_chunks = pruning.max_bytes = CLI_NO_COUNT;
    const cli_option options[] = {
        {'n', "namespace", CLI_TEXT, &pruning.name_space, "NAME",
         "only this one (default: each, with the whole budget)"},
        {0, "max-records", CLI_COUNT, &pruning.max_records, "N", "leave at most N records"},
        {0, "max-chunks", CLI_COUNT, &pruning.max_chunks, "N", "leave at most N chunks"},
        {0, "max-size", CLI_SIZE, &pruning.max_bytes, "SIZE",
         "leave at most so much (500k, 10M, 2G): texts, vectors, postings"},
        {0, "min-strength", CLI_NUMBER, &pruning.min_strength, "X", "what is weaker goes in any case (0 to 1)"},
        {0, "strategy", CLI_CHOICE, &strategy, "strength|newest|random", "what stays (default: the strongest)"},
        {0, "seed", CLI_COUNT, &seed, "N", "of --strategy random"},
        {0, "archive", CLI_TEXT, &pruning.archive, "DIR", "move what goes to the store in this folder"},
        {0, "dry-run", CLI_FLAG, &pruning.dry_run, NULL, "only list what would go, and why"},
        CLI_OPTIONS_END,
    };
    mneme *memory = NULL;
    int code = cli_parse(global, &cli_command_prune, options, argc, argv, NULL);
    pruning.strategy = (mneme_prune_strategy)strategy;
    if (code == CLI_GO_ON) code = check(&pruning, &seed);
    pruning.seed = limit_of(seed);
    pruning.max_records = limit_of(pruning.max_records);
    pruning.max_chunks = limit_of(pruning.max_chunks);
    pruning.max_bytes = limit_of(pruning.max_bytes);
    unsigned flags = pruning.dry_run ? MNEME_OPEN_READ_ONLY : MNEME_OPEN_EXISTING;
    if (code == CLI_GO_ON) code = cli_open_store(global, flags, &memory, NULL);
    if (code == CLI_GO_ON) code = prune(global, memory, &pruning);
    mneme_close(memory);
    return code;
}

const cli_command cli_command_prune = {
    .name = "prune",
    .usage = "[OPTIONS]",
    .summary = "forget what has ended, and the weakest beyond a budget",
    .details =
        "Without a budget only records whose end has come go. Pinned records never do. --archive moves what is weak "
        "or\n"
        "over budget to another store, with its vectors, to be asked there; what has ended is not kept. A record whose "
        "id\n"
        "the archive has for another one goes in as \"ID (2)\" or the next free number. With --json:\n"
        "{\"pruned\",\"expired\",\"weak\",\"over_budget\",\"archived\",\"chunks\",\"bytes\",\"kept_records\",\"kept_"
        "chunks\",\n"
        "\"kept_bytes\",\"dry_run\",\"records\":[{\"id\",\"archived_id\",\"namespace\",\"reason\",\"strength\",...}]}. "
        "docs/dynamics.md explains strength.",
    .example = "mneme prune --max-chunks 50000 --dry-run\nmneme prune --max-size 100M --archive old-memories",
    .run = run,
};
