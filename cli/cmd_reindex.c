/* cmd_reindex.c -- mneme reindex: bring a store to another encoder. */
#include "cli/commands.h"
#include "cli/index_view.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <string.h>

typedef struct reindex_view {
    cli_progress progress;
    bool writes;  /* the bar shows the second half: the new file */
    json_t *kept; /* NULL: words */
} reindex_view;

static bool on_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    reindex_view *view = context;
    bool writes = strcmp(unit, "records") == 0;
    if (writes != view->writes) {
        cli_progress_end(&view->progress);
        cli_progress_begin(&view->progress, writes ? "writing" : "encoding", unit, total);
        view->writes = writes;
    }
    return cli_progress_callback(&view->progress, done, total, unit);
}

static void on_kept(void *context, const char *name_space, uint64_t n_records)
{
    reindex_view *view = context;
    if (view->kept) {
        json_t *object = json_object();
        cli_json_put(object, "namespace", name_space);
        cli_json_count(object, "records", n_records);
        json_array_append_new(view->kept, object);
        return;
    }
    cli_progress_end(&view->progress);
    cli_say("%s: %llu records keep vectors of their own", *name_space ? name_space : "(unnamed)",
            (unsigned long long)n_records);
}

static double chunks_a_second(const mneme_reindex_result *result)
{
    return result->seconds > 0 ? (double)result->encoded / result->seconds : 0;
}

static void print_json(const mneme_reindex_result *result, json_t *kept)
{
    char fingerprint[20];
    json_t *object = json_object();
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)result->fingerprint);
    json_object_set_new(object, "changed", json_boolean(result->changed));
    cli_json_put(object, "encoder", result->encoder);
    cli_json_put(object, "fingerprint", fingerprint);
    cli_json_count(object, "dimension", result->dimension);
    cli_json_put(object, "before", result->before);
    cli_json_count(object, "records", result->records);
    cli_json_count(object, "chunks", result->chunks);
    cli_json_count(object, "encoded", result->encoded);
    cli_json_count(object, "ready", result->ready);
    json_object_set(object, "kept", kept);
    json_object_set_new(object, "seconds", cli_json_float((float)result->seconds));
    json_object_set_new(object, "chunks_per_second", cli_json_float((float)chunks_a_second(result)));
    if (result->changed) {
        cli_json_count(object, "bytes_before", result->bytes_before);
        cli_json_count(object, "bytes_after", result->bytes_after);
    }
    cli_print_json(object);
}

static void say_result(const mneme_reindex_result *result, bool dry_run)
{
    if (!*result->before) {
        cli_say("the store has no vectors of an encoder; what is added next is encoded as encoder.model says");
    } else if (dry_run) {
        cli_say("from %s to %s: %llu records, %llu chunks; %llu of them to encode, %llu ready", result->before,
                result->encoder, (unsigned long long)result->records, (unsigned long long)result->chunks,
                (unsigned long long)result->encoded, (unsigned long long)result->ready);
    } else if (!result->changed) {
        cli_say("the store is of encoder %s already", result->encoder);
    } else {
        cli_say("from %s to %s: %llu records, %llu chunks in %s; %llu encoded (%.0f a second), %llu ready before",
                result->before, result->encoder, (unsigned long long)result->records,
                (unsigned long long)result->chunks, cli_duration(result->seconds), (unsigned long long)result->encoded,
                chunks_a_second(result), (unsigned long long)result->ready);
        cli_say("%s, before %s", cli_bytes(result->bytes_after), cli_bytes(result->bytes_before));
    }
}

/* A setting that names another model, or a model that is not found by its name, would keep the store from being asked:
 * say in one line what to set. */
static void advise(const cli_global *global, const mneme_settings *settings, const char *model,
                   const mneme_reindex_result *result)
{
    mneme_setting setting;
    mneme *memory = NULL;
    const mneme_encoder *encoder = NULL;
    mneme_error error = {MNEME_OK, ""};
    if (cli_open_store_with(global, settings, MNEME_OPEN_READ_ONLY, &memory) != CLI_GO_ON) return;
    mneme_status status = mneme_get_encoder(memory, &encoder, &error);
    mneme_close(memory);
    if (status == MNEME_OK || !mneme_settings_find(settings, "encoder.model", &setting)) return;
    if (strcmp(setting.origin, "default") == 0)
        cli_say("to ask it, set encoder.model: %s", model ? model : result->encoder);
    else
        cli_say("to ask it, set encoder.model: %s (it is %s, %s)", model ? model : result->encoder, setting.value,
                setting.origin);
}

static int reindex(const cli_global *global, const mneme_settings *settings, mneme_reindex_options *options)
{
    mneme *memory = NULL;
    mneme_error error = {MNEME_OK, ""};
    mneme_reindex_result result;
    reindex_view view = {.kept = global->json ? json_array() : NULL};
    int code = cli_open_store_with(global, settings, MNEME_OPEN_EXISTING, &memory);
    if (code != CLI_GO_ON) {
        json_decref(view.kept);
        return code;
    }
    options->progress = on_progress;
    options->kept = on_kept;
    options->context = &view;
    cli_stop_prepare();
    cli_progress_begin(&view.progress, "encoding", "chunks", 0);
    mneme_status status = mneme_reindex(memory, options, &result, &error);
    cli_progress_end(&view.progress);
    if (status == MNEME_OK && view.kept) print_json(&result, view.kept);
    if (status == MNEME_OK && !view.kept) say_result(&result, options->dry_run);
    json_decref(view.kept);
    code = status == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
    if (status == MNEME_ERR_CANCELLED && cli_stop_asked()) code = cli_stop_code();
    if (status == MNEME_ERR_MODEL || status == MNEME_ERR_NOT_FOUND) code = CLI_EXIT_USAGE; /* no such model */
    if (result.changed && status == MNEME_OK) code = cli_finish_index(memory, code);
    mneme_close(memory);
    if (result.changed) advise(global, settings, options->encoder, &result);
    return code;
}

static int run(cli_global *global, int argc, char **argv)
{
    mneme_reindex_options how = MNEME_REINDEX_OPTIONS_INIT;
    const cli_option options[] = {
        {0, "encoder", CLI_TEXT, &how.encoder, "NAME",
         "the model: a name or a folder (default: encoder.model, if set)"},
        {0, "dry-run", CLI_FLAG, &how.dry_run, NULL, "say what would be done, change nothing"},
        CLI_OPTIONS_END,
    };
    mneme_settings *settings = NULL;
    int code = cli_parse(global, &cli_command_reindex, options, argc, argv, NULL);
    if (code == CLI_GO_ON) code = cli_open_settings(global, &settings);
    if (code == CLI_GO_ON) code = reindex(global, settings, &how);
    mneme_settings_free(settings);
    return code;
}

const cli_command cli_command_reindex = {
    .name = "reindex",
    .usage = "[OPTIONS]",
    .summary = "bring the store to another encoder",
    .details = "Cuts and encodes every record anew with the model that --encoder names; then a new data file takes the "
               "place of the\n"
               "old one. Until then the store answers with its old encoder and takes writes; while the file is "
               "written (a compact),\n"
               "writers wait. Records with vectors of their own keep them. Interrupted or killed, the store is as it "
               "was, and the\n"
               "same command goes on with what is ready (docs/reindex.md). With --json: {\"changed\",\"encoder\","
               "\"fingerprint\",\n"
               "\"dimension\",\"before\",\"records\",\"chunks\",\"encoded\",\"ready\",\"kept\":[{\"namespace\","
               "\"records\"}],\"seconds\",\n"
               "\"chunks_per_second\",\"bytes_before\",\"bytes_after\"}.",
    .example = "mneme reindex --encoder all-MiniLM-L6-v2\nmneme reindex --encoder ~/models/notes-static --dry-run",
    .run = run,
};
