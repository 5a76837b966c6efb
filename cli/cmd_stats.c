/* cmd_stats.c -- mneme stats: what the store holds. */
#include "cli/commands.h"
#include "cli/index_view.h"
#include "cli/output.h"
#include "cli/store_option.h"

static json_t *json_namespace(const mneme_namespace_stats *space, const mneme_index_info *index)
{
    json_t *object = json_object();
    cli_json_put(object, "name", space->name);
    cli_json_count(object, "records", space->records);
    cli_json_count(object, "chunks", space->chunks);
    cli_json_count(object, "sessions", space->sessions);
    cli_json_count(object, "terms", space->terms);
    cli_json_count(object, "dimension", space->dimension);
    cli_json_put(object, "vectors", space->vectors);
    json_object_set_new(object, "index", cli_index_json(index));
    return object;
}

static void print_json(const mneme_stats *stats)
{
    json_t *object = json_object(), *list = json_array();
    char fingerprint[20];
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)stats->fingerprint);
    for (size_t i = 0; i < stats->n_namespaces; i++)
        json_array_append_new(list, json_namespace(&stats->namespaces[i], &stats->indexes[i]));
    cli_json_put(object, "path", stats->path);
    cli_json_count(object, "format", stats->format);
    cli_json_count(object, "generation", stats->generation);
    cli_json_count(object, "records", stats->records);
    cli_json_count(object, "chunks", stats->chunks);
    cli_json_count(object, "bytes_on_disk", stats->bytes_on_disk);
    cli_json_put(object, "encoder", stats->encoder ? stats->encoder : "");
    cli_json_put(object, "fingerprint", fingerprint);
    cli_json_put(object, "language", stats->language ? stats->language : "");
    json_object_set_new(object, "namespaces", list);
    cli_print_json(object);
}

static void print_namespaces(const mneme_stats *stats)
{
    cli_print("\n%s%-24s %12s %12s %10s %10s  %s%s\n", cli_style_on(CLI_BOLD), "namespace", "records", "chunks",
              "sessions", "dimension", "vectors", cli_style_off());
    for (size_t i = 0; i < stats->n_namespaces; i++) {
        const mneme_namespace_stats *space = &stats->namespaces[i];
        cli_print("%-24s %12llu %12llu %10llu %10u  %s\n", space->name[0] ? space->name : "(unnamed)",
                  (unsigned long long)space->records, (unsigned long long)space->chunks,
                  (unsigned long long)space->sessions, space->dimension, space->vectors);
    }
}

/* Of the namespaces whose vectors are searched through one, or would be. */
static void print_indexes(const mneme_stats *stats)
{
    cli_print("\n%sindexes%s\n", cli_style_on(CLI_BOLD), cli_style_off());
    for (size_t i = 0; i < stats->n_namespaces; i++)
        cli_print("%-24s %s\n", stats->namespaces[i].name[0] ? stats->namespaces[i].name : "(unnamed)",
                  cli_index_line(&stats->indexes[i]));
}

static void print_table(const mneme_stats *stats)
{
    cli_print("store       %s\nformat      %u\ngeneration  %llu\nrecords     %llu\nchunks      %llu\non disk     %s\n",
              stats->path, stats->format, (unsigned long long)stats->generation, (unsigned long long)stats->records,
              (unsigned long long)stats->chunks, cli_bytes(stats->bytes_on_disk));
    cli_print("encoder     %s\nlanguage    %s\n", stats->encoder && *stats->encoder ? stats->encoder : "none yet",
              stats->language ? stats->language : "");
    if (stats->n_namespaces) print_namespaces(stats);
    if (stats->n_namespaces) print_indexes(stats);
}

static int run(cli_global *global, int argc, char **argv)
{
    const cli_option options[] = {CLI_OPTIONS_END};
    mneme *memory = NULL;
    mneme_stats *stats = NULL;
    mneme_error error = {MNEME_OK, ""};
    int code = cli_parse(global, &cli_command_stats, options, argc, argv, NULL);
    if (code == CLI_GO_ON) code = cli_open_store(global, MNEME_OPEN_READ_ONLY, &memory, NULL);
    if (code == CLI_GO_ON && mneme_get_stats(memory, &stats, &error) != MNEME_OK) code = cli_failed(&error);
    if (code == CLI_GO_ON) {
        if (global->json)
            print_json(stats);
        else
            print_table(stats);
        code = CLI_EXIT_DONE;
    }
    mneme_stats_free(stats);
    mneme_close(memory);
    return code;
}

const cli_command cli_command_stats = {
    .name = "stats",
    .usage = "[OPTIONS]",
    .summary = "what the store holds, and how large it is",
    .details =
        "With --json: "
        "{\"path\",\"format\",\"generation\",\"records\",\"chunks\",\"bytes_on_disk\",\"encoder\","
        "\"fingerprint\",\"language\",\n"
        "\"namespaces\":[{\"name\",\"records\",\"chunks\",\"sessions\",\"terms\",\"dimension\",\"vectors\",\"index\":{"
        "\"kind\",\"covered\",\"newer\",\n"
        "\"dead\",\"bytes\",\"recall\",\"recall_asked\",\"effort\",\"build_ms\",\"generation\"}}]}; without an index: "
        "{\"kind\":\"none\",\"newer\",\"reason\"}.",
    .example = "mneme stats\nmneme stats --json --store ~/memories/work",
    .run = run,
};
