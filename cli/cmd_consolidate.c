/* cmd_consolidate.c -- mneme consolidate: what says the same becomes one memory. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <math.h>
#include <string.h>

typedef struct merge_view {
    bool json, list;
    json_t *merges;
} merge_view;

static void on_merge(void *context, const mneme_merge *merge)
{
    merge_view *view = context;
    if (view->json) {
        json_t *object = json_object();
        cli_json_put(object, "id", merge->id);
        cli_json_put(object, "merged", merge->merged_id);
        cli_json_put(object, "namespace", merge->name_space);
        json_object_set_new(object, "cosine", cli_json_float(merge->cosine));
        json_object_set_new(object, "terms", cli_json_float(merge->terms));
        json_array_append_new(view->merges, object);
    } else if (view->list) {
        if (*merge->name_space) cli_print("[%s] ", merge->name_space);
        cli_print_text(merge->merged_id, strlen(merge->merged_id));
        cli_print(" -> ");
        cli_print_text(merge->id, strlen(merge->id));
        cli_print("  cosine %.3f, terms %.2f\n", (double)merge->cosine, (double)merge->terms);
    }
}

static void print_result(const cli_global *global, const mneme_consolidate_options *options, const merge_view *view,
                         const mneme_consolidate_result *result)
{
    if (!global->json) {
        cli_say("%s %llu record%s into %llu, of %llu", options->dry_run ? "would merge" : "merged",
                (unsigned long long)result->merged, result->merged == 1 ? "" : "s", (unsigned long long)result->groups,
                (unsigned long long)result->records);
        return;
    }
    json_t *object = json_object();
    cli_json_count(object, "records", result->records);
    cli_json_count(object, "groups", result->groups);
    cli_json_count(object, "merged", result->merged);
    json_object_set_new(object, "dry_run", json_boolean(options->dry_run));
    json_object_set(object, "merges", view->merges);
    cli_print_json(object);
}

static bool go_on(void *context, uint64_t done, uint64_t total, const char *unit)
{
    (void)context, (void)done, (void)total, (void)unit;
    return !cli_stop_asked();
}

static int consolidate(const cli_global *global, mneme *memory, mneme_consolidate_options *options)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_consolidate_result result;
    merge_view view = {.json = global->json, .list = options->dry_run || !global->quiet, .merges = json_array()};
    options->merged = on_merge;
    options->context = &view;
    options->progress = go_on;
    cli_stop_prepare();
    mneme_status status = mneme_consolidate(memory, options, &result, &error);
    bool stopped = status == MNEME_ERR_CANCELLED && cli_stop_asked();
    if (status == MNEME_OK || stopped) print_result(global, options, &view, &result);
    if (stopped) cli_say("stopped; the same command goes on where this one ended");
    int code = stopped ? cli_stop_code() : status == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
    json_decref(view.merges);
    return code;
}

/* Put a share that was given into *target; one that was not (NAN) leaves the setting in force. False: out of range. */
static bool take_share(double given, double *target)
{
    if (isnan(given)) return true;
    *target = given;
    return given > 0 && given <= 1;
}

static int run(cli_global *global, int argc, char **argv)
{
    mneme_consolidate_options consolidating = MNEME_CONSOLIDATE_OPTIONS_INIT;
    double cosine = (double)NAN, terms = (double)NAN;
    const cli_option options[] = {
        {'n', "namespace", CLI_TEXT, &consolidating.name_space, "NAME", "only this one (default: each by itself)"},
        {0, "cosine", CLI_NUMBER, &cosine, "X", "least cosine (default: the setting memory.duplicate_cosine)"},
        {0, "terms", CLI_NUMBER, &terms, "X", "least share of common terms (setting memory.duplicate_terms)"},
        {0, "dry-run", CLI_FLAG, &consolidating.dry_run, NULL, "only list what would merge"},
        CLI_OPTIONS_END,
    };
    mneme *memory = NULL;
    int code = cli_parse(global, &cli_command_consolidate, options, argc, argv, NULL);
    if (code == CLI_GO_ON && (!take_share(cosine, &consolidating.cosine) || !take_share(terms, &consolidating.terms)))
        code = cli_usage_error(&cli_command_consolidate, "--cosine and --terms: expected a number above 0, at most 1");
    unsigned flags = consolidating.dry_run ? MNEME_OPEN_READ_ONLY : MNEME_OPEN_EXISTING;
    if (code == CLI_GO_ON) code = cli_open_store(global, flags, &memory, NULL);
    if (code == CLI_GO_ON) code = consolidate(global, memory, &consolidating);
    mneme_close(memory);
    return code;
}

const cli_command cli_command_consolidate = {
    .name = "consolidate",
    .usage = "[OPTIONS]",
    .summary = "merge records that say the same into one stronger one",
    .details =
        "The newest of them stays, stronger; the others' ids, sources, sessions and times go into its metadata under\n"
        "\"consolidated\", with their texts where these differ. One may say more than the other, but records with "
        "other\n"
        "words, in another order, with other numbers or of other speakers are never merged. With --json:\n"
        "{\"records\",\"groups\",\"merged\",\"dry_run\",\"merges\":[{\"id\",\"merged\",\"namespace\",\"cosine\","
        "\"terms\"}]}.",
    .example = "mneme consolidate --dry-run\nmneme consolidate --namespace conv-26 --cosine 0.97",
    .run = run,
};
