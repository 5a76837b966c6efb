/* cmd_optimize.c -- mneme optimize: build the indexes that large namespaces are searched through. */
#include "cli/commands.h"
#include "cli/index_view.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/store_option.h"

typedef struct optimize_view {
    bool quiet;
    json_t *list; /* NULL: words */
    cli_progress progress;
} optimize_view;

static bool on_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    optimize_view *view = context;
    return cli_progress_callback(&view->progress, done, total, unit);
}

static void on_done(void *context, const char *name_space, const char *what, const mneme_index_info *index)
{
    optimize_view *view = context;
    cli_progress_end(&view->progress);
    if (view->list) {
        json_t *object = cli_index_json(index);
        cli_json_put(object, "namespace", name_space);
        cli_json_put(object, "done", what);
        json_array_append_new(view->list, object);
    } else {
        cli_say("%s: %s: %s", *name_space ? name_space : "(unnamed)", what, cli_index_line(index));
    }
    cli_progress_begin(&view->progress, "building the index", "vectors", 0);
}

static int optimize(const cli_global *global, mneme *memory, mneme_optimize_options *options)
{
    mneme_error error = {MNEME_OK, ""};
    optimize_view view = {.list = global->json ? json_array() : NULL};
    options->progress = on_progress;
    options->done = on_done;
    options->context = &view;
    cli_stop_prepare();
    cli_progress_begin(&view.progress, "building the index", "vectors", 0);
    mneme_status status = mneme_optimize(memory, options, &error);
    cli_progress_end(&view.progress);
    bool stopped = status == MNEME_ERR_CANCELLED && cli_stop_asked();
    if (view.list && status == MNEME_OK) {
        json_t *object = json_object();
        json_object_set(object, "indexes", view.list);
        cli_print_json(object);
    }
    json_decref(view.list);
    if (stopped) cli_say("stopped; the index is as it was before");
    return stopped ? cli_stop_code() : status == MNEME_OK ? CLI_EXIT_DONE : cli_failed(&error);
}

static int run(cli_global *global, int argc, char **argv)
{
    mneme_optimize_options how = MNEME_OPTIMIZE_OPTIONS_INIT;
    const cli_option options[] = {
        {'n', "namespace", CLI_TEXT, &how.name_space, "NAME", "only this namespace (\"\": the unnamed one)"},
        {0, "kind", CLI_TEXT, &how.kind, "KIND", "auto, none, hnsw, hnsw-bf16, hnsw-f32, ivfpq (default: index.kind)"},
        {0, "recall", CLI_NUMBER, &how.recall, "SHARE", "of the ten best, to be found (default: index.recall)"},
        {0, "anew", CLI_FLAG, &how.anew, NULL, "build again what is there, too"},
        CLI_OPTIONS_END,
    };
    mneme *memory = NULL;
    int code = cli_parse(global, &cli_command_optimize, options, argc, argv, NULL);
    if (code == CLI_GO_ON) code = cli_open_store(global, MNEME_OPEN_EXISTING, &memory, NULL);
    if (code == CLI_GO_ON) code = optimize(global, memory, &how);
    mneme_close(memory);
    return code;
}

const cli_command cli_command_optimize = {
    .name = "optimize",
    .usage = "[OPTIONS]",
    .summary = "build the indexes that large namespaces are searched through",
    .details = "An index is a file beside the store, derived from it: questions are answered without it, too, only "
               "slower. It is\n"
               "tuned to find the share of the best ten that --recall says, and tells what it measured. Other programs "
               "may use\n"
               "the store meanwhile. Interrupted (what adds to an index or makes lists ends after a batch of some "
               "seconds; a\nsecond Ctrl-C ends it at once) or killed, it leaves the index as it was. With --json: "
               "{\"indexes\":[{\"namespace\",\n"
               "\"done\",\"kind\",\"covered\",\"newer\",\"dead\",\"bytes\",\"recall\",\"recall_asked\",\"effort\","
               "\"build_ms\",\"generation\"}]};\n"
               "done: built, extended, kept, removed, none (then with \"reason\").",
    .example = "mneme optimize\nmneme optimize --recall 0.995 --anew",
    .run = run,
};
