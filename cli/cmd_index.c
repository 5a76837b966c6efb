/* cmd_index.c -- mneme index: files and folders into the store.
 *
 * First the paths are walked, so that the whole is known (progress, ids, what has vanished); then each file goes
 * through index_input.c into the indexer. --strict makes two passes: the first stores nothing and looks for
 * refusals. */
#include "cli/commands.h"
#include "cli/index_input.h"
#include "cli/index_view.h"
#include "cli/output.h"
#include "cli/path.h"
#include "cli/prune.h"
#include "cli/source_id.h"
#include "cli/spool.h"
#include "cli/stop.h"
#include "cli/store_option.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One PATH of the command line. */
typedef struct index_root {
    const char *path; /* as given */
    char *id;         /* its name in the store; owned */
    bool is_missing;
} index_root;

typedef struct index_run {
    const cli_global *global;
    bool prune, strict, dry_run;
    const char *name_space;
    cli_list include, exclude;
    cli_input_options input;
    char *store; /* path; owned */
    index_root *roots;
    size_t n_roots;
    cli_files files;
    char **ids; /* of files; NULL = it came twice */
    bool has_stdin;
    FILE *spool; /* standard input, when it is read twice */
    cli_indexer indexer;
} index_run;

/* ---- what there is to index ---- */

static void refused_by_walk(void *context, const char *path, const char *reason)
{
    cli_indexer_refuse(context, path, 0, reason);
}

/* The name of a file found under a root: the root's own and what follows. */
static char *id_under(const index_root *root, const char *path, bool named)
{
    if (named) return cli_strdup(root->id);
    size_t size = strcmp(root->path, ".") == 0 ? 0 : strlen(root->path);
    while (path[size] == '/') size++;
    return cli_path_join(root->id, path + size);
}

static void walk_root(index_run *run, index_root *root)
{
    const cli_walk_options options = {&run->include, &run->exclude, run->store, refused_by_walk, &run->indexer};
    size_t first = run->files.n;
    root->id = cli_source_id(root->path, run->store);
    root->is_missing = !cli_walk(root->path, &options, &run->files);
    if (root->is_missing && !run->prune) cli_indexer_refuse(&run->indexer, root->path, 0, "no such file or folder");
    run->ids = cli_realloc(run->ids, run->files.n, sizeof *run->ids);
    for (size_t i = first; i < run->files.n; i++)
        run->ids[i] = id_under(root, run->files.items[i].path, run->files.items[i].named);
}

static void find_input(index_run *run, const cli_words *paths)
{
    cli_seen ids = {0};
    run->roots = cli_alloc(paths->n, sizeof *run->roots);
    for (size_t i = 0; i < paths->n; i++) {
        index_root *root = &run->roots[run->n_roots];
        *root = (index_root){.path = paths->items[i]};
        if (strcmp(root->path, "-") == 0) {
            run->has_stdin = true;
            continue;
        }
        walk_root(run, root);
        run->n_roots++;
    }
    for (size_t i = 0; i < run->files.n; i++) {
        if (cli_seen_add(&ids, run->ids[i], "")) continue;
        run->files.bytes -= run->files.items[i].size;
        free(run->ids[i]);
        run->ids[i] = NULL;
    }
    cli_seen_free(&ids);
}

static void free_input(index_run *run)
{
    for (size_t i = 0; i < run->n_roots; i++) free(run->roots[i].id);
    for (size_t i = 0; i < run->files.n; i++) free(run->ids[i]);
    free(run->roots);
    free(run->ids);
    free(run->store);
    cli_files_free(&run->files);
    cli_list_free(&run->include);
    cli_list_free(&run->exclude);
    if (run->spool) fclose(run->spool);
}

/* ---- passes ---- */

static bool index_stdin(index_run *run)
{
    int fd = STDIN_FILENO;
    if (run->spool) {
        fd = fileno(run->spool);
        if (lseek(fd, 0, SEEK_SET) < 0) return false;
    }
    return cli_index_stream(&run->indexer, &run->input, fd, "-");
}

/* Everything once through the indexer. False: it ended before the end. */
static bool pass(index_run *run, const char *label)
{
    cli_indexer *indexer = &run->indexer;
    bool going = true;
    indexer->bytes_done = 0;
    cli_progress_begin(&indexer->progress, label, "bytes", run->files.bytes);
    for (size_t i = 0; i < run->files.n && going; i++)
        if (run->ids[i]) going = cli_index_file(indexer, &run->input, &run->files.items[i], run->ids[i]);
    if (going && run->has_stdin) going = index_stdin(run);
    going = cli_indexer_flush(indexer) && going;
    cli_progress_end(&indexer->progress);
    return going;
}

/* --strict: is there anything that would be refused? Then nothing is stored. */
static bool strict_pass(index_run *run)
{
    cli_indexer *indexer = &run->indexer;
    bool show = indexer->show;
    if (run->has_stdin && !(run->spool = cli_spool_stdin())) {
        indexer->failure = CLI_EXIT_FAILURE;
        return false;
    }
    indexer->dry_run = true;
    indexer->show = false;
    bool going = indexer->totals.refused == 0 && pass(run, "checking");
    uint64_t refused = indexer->totals.refused;
    indexer->totals = (cli_totals){.refused = refused};
    indexer->dry_run = run->dry_run;
    indexer->show = show;
    if (refused) cli_complain("nothing was stored (--strict): %llu refused", (unsigned long long)refused);
    return going && refused == 0;
}

static bool prune_roots(index_run *run)
{
    for (size_t i = 0; i < run->n_roots; i++) {
        uint64_t removed = 0;
        if (run->indexer.memory && !cli_prune(&run->indexer, run->roots[i].id, run->name_space, &removed)) return false;
        if (run->roots[i].is_missing && removed == 0)
            cli_indexer_refuse(&run->indexer, run->roots[i].path, 0,
                               "no such file or folder, and nothing stored from there");
    }
    return true;
}

/* ---- results ---- */

static void print_json(index_run *run, double took_ms)
{
    const cli_totals *totals = &run->indexer.totals;
    json_t *object = json_object();
    cli_json_count(object, "added", totals->added);
    cli_json_count(object, "updated", totals->updated);
    cli_json_count(object, "unchanged", totals->unchanged);
    cli_json_count(object, "removed", totals->removed);
    cli_json_count(object, "refused", totals->refused);
    cli_json_count(object, "skipped", totals->skipped);
    cli_json_count(object, "chunks", totals->chunks);
    cli_json_count(object, "replaced_characters", totals->replaced_characters);
    cli_json_count(object, "generation", totals->generation);
    json_object_set_new(object, "dry_run", json_boolean(run->dry_run));
    json_object_set_new(object, "took_ms", cli_json_float((float)took_ms));
    json_object_set(object, "refusals", run->indexer.refusals);
    if (run->indexer.changes) json_object_set(object, "changes", run->indexer.changes);
    cli_print_json(object);
}

static void print_summary(const index_run *run, double took_ms)
{
    const cli_totals *totals = &run->indexer.totals;
    if (!run->global->quiet) {
        cli_print("%sadded %llu, updated %llu, unchanged %llu, removed %llu, refused %llu",
                  run->dry_run ? "would be: " : "", (unsigned long long)totals->added,
                  (unsigned long long)totals->updated, (unsigned long long)totals->unchanged,
                  (unsigned long long)totals->removed, (unsigned long long)totals->refused);
        if (totals->skipped) cli_print(", skipped %llu", (unsigned long long)totals->skipped);
        cli_print("\n");
    }
    if (totals->replaced_characters)
        cli_say("replaced %llu invalid UTF-8 sequence%s by U+FFFD", (unsigned long long)totals->replaced_characters,
                totals->replaced_characters == 1 ? "" : "s");
    if (totals->chunks && !run->dry_run)
        cli_say("%llu chunks in %s", (unsigned long long)totals->chunks, cli_duration(took_ms / 1000));
}

static int finish(index_run *run, double started)
{
    double took_ms = 1e3 * cli_seconds() - started;
    if (run->global->json) print_json(run, took_ms);
    else print_summary(run, took_ms);
    if (run->indexer.failure) return run->indexer.failure;
    if (cli_stop_asked()) {
        cli_say("stopped; the same command goes on where this one ended (what is stored is not encoded again)");
        return cli_stop_code();
    }
    return run->indexer.totals.refused ? CLI_EXIT_REFUSED : CLI_EXIT_DONE;
}

/* ---- the command ---- */

static uint64_t setting_number(const mneme_settings *settings, const char *name, uint64_t otherwise)
{
    mneme_setting setting;
    uint64_t value;
    if (!mneme_settings_find(settings, name, &setting) || !cli_read_count(setting.value, &value)) return otherwise;
    return value;
}

static void prepare(index_run *run, const mneme_settings *settings)
{
    cli_indexer *indexer = &run->indexer;
    indexer->dry_run = indexer->show = run->dry_run;
    indexer->strict = run->strict;
    indexer->remember = run->prune;
    indexer->name_space = run->name_space;
    indexer->batch_records = (size_t)setting_number(settings, "index.batch_records", 256);
    if (indexer->batch_records == 0) indexer->batch_records = 1;
    if (run->input.max_size == 0) run->input.max_size = setting_number(settings, "index.max_record_mib", 64) << 20;
    if (run->global->json) indexer->refusals = json_array();
    if (run->global->json && run->dry_run) indexer->changes = json_array();
}

/* Open the store, unless there is nothing for it, or no store on a dry run: then the indexer's memory stays NULL. */
static int open_store(index_run *run)
{
    bool some = run->files.n > 0 || run->has_stdin || run->prune;
    if (!some || (run->dry_run && access(run->store, F_OK) != 0)) return CLI_GO_ON;
    return cli_open_store(run->global, run->dry_run ? MNEME_OPEN_EXISTING : 0, &run->indexer.memory, NULL);
}

static int index_paths(index_run *run, const cli_words *paths)
{
    mneme_settings *settings = NULL;
    double started = 1e3 * cli_seconds();
    int code = cli_open_settings(run->global, &settings);
    if (code != CLI_GO_ON) return code;
    prepare(run, settings);
    mneme_settings_free(settings);
    run->store = cli_store_path(run->global, NULL);
    cli_stop_prepare();
    find_input(run, paths);
    code = open_store(run);
    if (code == CLI_GO_ON) {
        bool going = !run->strict || strict_pass(run);
        going = going && pass(run, run->dry_run ? "checking" : "indexing");
        if (going && run->prune) prune_roots(run);
        code = finish(run, started);
    }
    if (code == CLI_EXIT_DONE || code == CLI_EXIT_REFUSED) code = cli_finish_index(run->indexer.memory, code);
    mneme_close(run->indexer.memory);
    return code;
}

static int run_command(cli_global *global, int argc, char **argv)
{
    index_run run = {.global = global};
    int format = CLI_FORMAT_AUTO;
    const cli_option options[] = {
        {'n', "namespace", CLI_TEXT, &run.name_space, "NAME", "the namespace of records that name none"},
        {0, "include", CLI_LIST, &run.include, "GLOB", "only files that match (as in .gitignore); any number of times"},
        {0, "exclude", CLI_LIST, &run.exclude, "GLOB", "not what matches; any number of times"},
        {0, "max-size", CLI_SIZE, &run.input.max_size, "SIZE",
         "refuse larger files and JSONL lines (the setting index.max_record_mib)"},
        {0, "format", CLI_CHOICE, &format, CLI_FORMAT_CHOICES, "what the files are (default: by their names)"},
        {0, "prune", CLI_FLAG, &run.prune, NULL, "remove records from below the PATHs that have vanished"},
        {0, "dry-run", CLI_FLAG, &run.dry_run, NULL, "store nothing, show what would be done"},
        {0, "strict", CLI_FLAG, &run.strict, NULL, "store nothing if anything is refused"},
        CLI_OPTIONS_END,
    };
    cli_words paths = {0};
    int code = cli_parse(global, &cli_command_index, options, argc, argv, &paths);
    if (code == CLI_GO_ON && paths.n == 0)
        code = cli_usage_error(&cli_command_index, "no path given ('-' reads standard input)");
    if (code == CLI_GO_ON) {
        run.input.format = (cli_format_kind)format;
        code = index_paths(&run, &paths);
    }
    cli_indexer_free(&run.indexer);
    free_input(&run);
    cli_list_free(&paths);
    return code;
}

const cli_command cli_command_index = {
    .name = "index",
    .usage = "PATH... [OPTIONS]   (\"-\" is standard input)",
    .summary = "put files and folders into the memory",
    .details =
        "Reads text, Markdown, HTML, PDF (through pdftotext) and JSONL. In folders, .gitignore and .mnemeignore count, and\n"
        "hidden and binary files and symbolic links are left out. What is unchanged is skipped and costs no encoding; what\n"
        "has changed is replaced. A file's record has its path as id: from the folder that holds .mneme, where that is the\n"
        "store, else as given. A line of JSONL: {\"id\" or \"_id\",\"text\",\"title\",\"namespace\",\"session\",\"time\",\"speaker\",\n"
        "\"metadata\",\"vector\"}; without an id it gets \"<file>:<line>\".\n"
        "With --json: {\"added\",\"updated\",\"unchanged\",\"removed\",\"refused\",\"skipped\",\"chunks\",\"replaced_characters\",\n"
        "\"generation\",\"dry_run\",\"took_ms\",\"refusals\":[{\"source\",\"line\",\"reason\"}]}. Exit code 3: some input was refused,\n"
        "each named on stderr, the rest stored.",
    .example =
        "mneme index notes/ --prune\nmneme index talks.jsonl --namespace talks --json\nsome-program | mneme index -",
    .run = run_command,
};
