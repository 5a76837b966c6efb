/* index_view.c -- what is said about an index. */
#include "cli/index_view.h"

#include "cli/stop.h"

#include <string.h>

json_t *cli_index_json(const mneme_index_info *index)
{
    json_t *object = json_object();
    cli_json_put(object, "kind", index->kind);
    cli_json_count(object, "newer", index->newer);
    if (strcmp(index->kind, "none") == 0) {
        cli_json_put(object, "reason", index->reason);
        return object;
    }
    cli_json_count(object, "covered", index->covered);
    cli_json_count(object, "dead", index->dead);
    cli_json_count(object, "bytes", index->bytes);
    json_object_set_new(object, "recall", cli_json_float((float)index->recall));
    json_object_set_new(object, "recall_asked", cli_json_float((float)index->recall_asked));
    cli_json_count(object, "effort", index->effort);
    cli_json_count(object, "build_ms", index->build_ms);
    cli_json_count(object, "generation", index->generation);
    return object;
}

const char *cli_index_line(const mneme_index_info *index)
{
    static char line[320];
    if (strcmp(index->kind, "none") == 0) {
        snprintf(line, sizeof line, "none (%s)", index->reason);
        return line;
    }
    int n = snprintf(line, sizeof line, "%s, %llu chunks", index->kind, (unsigned long long)index->covered);
    if (index->newer)
        n += snprintf(line + n, sizeof line - (size_t)n, " and %llu newer", (unsigned long long)index->newer);
    if (index->dead) n += snprintf(line + n, sizeof line - (size_t)n, ", %llu dead", (unsigned long long)index->dead);
    n += snprintf(line + n, sizeof line - (size_t)n, ", %s", cli_bytes(index->bytes));
    if (index->recall > 0) n += snprintf(line + n, sizeof line - (size_t)n, ", recall %.4f", index->recall);
    snprintf(line + n, sizeof line - (size_t)n, ", %s %u, built in %s",
             strcmp(index->kind, "ivfpq") == 0 ? "nprobe" : "efSearch", index->effort,
             cli_duration((double)index->build_ms / 1000.0));
    return line;
}

int cli_finish_index(mneme *memory, int code)
{
    if (!memory) return code;
    mneme_error error = {MNEME_OK, ""};
    cli_progress progress;
    mneme_optimize_options options = MNEME_OPTIMIZE_OPTIONS_INIT;
    options.only_wanted = true;
    options.progress = cli_progress_callback;
    options.context = &progress;
    cli_progress_begin(&progress, "building the index", "vectors", 0);
    mneme_status status = mneme_optimize(memory, &options, &error);
    cli_progress_end(&progress);
    if (cli_stop_asked()) return cli_stop_code();
    if (status != MNEME_OK) cli_say("the index was not built: %s", error.message);
    return code;
}
