/* care.c -- statistics, the check, compaction and the backup. */
#include "memory/index_check.h"
#include "memory/reindex_file.h"

#include <string.h>

typedef struct stats_block {
    mneme_stats stats; /* first: what the caller sees */
    mn_arena arena;
} stats_block;

void mneme_stats_free(mneme_stats *stats)
{
    if (!stats) return;
    stats_block *block = (stats_block *)stats;
    mn_arena_free(&block->arena);
    mn_free(block);
}

static mneme_status fill_stats(mneme *memory, mn_read *read, stats_block *block, mneme_error *error)
{
    mn_arena *arena = &block->arena;
    mn_encoder_stamp stamp;
    mn_namespace *spaces = NULL;
    size_t n = 0;
    mneme_status status = mn_read_encoder(read, &stamp, error);
    if (status == MNEME_OK) status = mn_read_namespaces(read, arena, &spaces, &n, error);
    if (status != MNEME_OK) return status;
    mneme_namespace_stats *items = mn_arena_array(arena, n, sizeof *items);
    mneme_index_info *indexes = mn_arena_array(arena, n, sizeof *indexes);
    block->stats = (mneme_stats){.generation = mn_read_generation(read),
                                 .bytes_on_disk = mn_store_bytes_on_disk(memory->store),
                                 .format = MN_STORE_FORMAT,
                                 .path = mn_arena_strdup(arena, mn_store_path(memory->store)),
                                 .encoder = mn_arena_strdup(arena, stamp.name),
                                 .fingerprint = stamp.fingerprint,
                                 .dimension = stamp.dimension,
                                 .language = mn_arena_strdup(arena, mn_store_language(memory->store)),
                                 .n_namespaces = n,
                                 .namespaces = items,
                                 .indexes = indexes};
    if (!items || !indexes || !block->stats.path || !block->stats.encoder || !block->stats.language)
        return mn_fail_memory(error, "statistics");
    for (size_t i = 0; i < n; i++) {
        items[i] =
            (mneme_namespace_stats){.name = mn_arena_strdup(arena, spaces[i].name),
                                    .dimension = spaces[i].dimension,
                                    .records = spaces[i].n_records,
                                    .chunks = spaces[i].n_chunks,
                                    .terms = spaces[i].n_terms,
                                    .sessions = spaces[i].n_sessions,
                                    .vectors = spaces[i].dimension ? mn_vector_type_name(spaces[i].vector_type) : ""};
        if (!items[i].name) return mn_fail_memory(error, "statistics");
        status = mn_index_describe(memory, read, &spaces[i], arena, &indexes[i], error);
        if (status != MNEME_OK) return status;
        block->stats.records += items[i].records;
        block->stats.chunks += items[i].chunks;
    }
    return MNEME_OK;
}

mneme_status mneme_get_stats(mneme *memory, mneme_stats **out, mneme_error *error)
{
    *out = NULL;
    mn_read *read = NULL;
    mneme_status status = mn_read_begin(memory->store, &read, error);
    if (status != MNEME_OK) return status;
    stats_block *block = mn_alloc_zeroed(1, sizeof *block);
    status = block ? fill_stats(memory, read, block, error) : mn_fail_memory(error, "statistics");
    mn_read_end(read);
    if (status == MNEME_OK)
        *out = &block->stats;
    else if (block)
        mneme_stats_free(&block->stats);
    return status;
}

/* An unfinished reindex keeps vectors beside the store: none of what is forgotten. */
static mneme_status check_ready_file(mneme *memory, void (*problem)(void *context, const char *line), void *context,
                                     mneme_check_report *report, mneme_error *error)
{
    mn_read *read = NULL;
    uint64_t n = 0;
    mneme_status status = mn_read_begin(memory->store, &read, error);
    if (status == MNEME_OK) status = mn_ready_count_dead(memory->store, read, &n, error);
    mn_read_end(read);
    if (status != MNEME_OK || n == 0) return status;
    mneme_error line;
    report->problems++;
    mn_fail(
        &line, MNEME_ERR_DAMAGED,
        "reindex.vectors holds %llu vectors that are damaged or of records that are gone; the next writer removes them",
        (unsigned long long)n);
    if (problem) problem(context, line.message);
    return MNEME_OK;
}

mneme_status mneme_check(mneme *memory, void (*problem)(void *context, const char *line), mneme_progress progress,
                         void *context, mneme_check_report *report, mneme_error *error)
{
    mneme_check_report own;
    if (!report) report = &own;
    mneme_status status = mn_store_check(memory->store, problem, progress, context, report, error);
    /* What is damaged in the store itself would be found in its indexes once more. */
    if (status != MNEME_OK || report->problems) return status;
    status = mn_check_indexes(memory, problem, context, report, error);
    return status == MNEME_OK ? check_ready_file(memory, problem, context, report, error) : status;
}

mneme_status mneme_compact(mneme *memory, const mneme_compact_options *options, mneme_compact_result *result,
                           mneme_error *error)
{
    static const mneme_compact_options defaults = MNEME_COMPACT_OPTIONS_INIT;
    mneme_compact_result own;
    mn_vector_type type;
    if (!options) options = &defaults;
    if (options->vectors && !mn_vector_type_parse(options->vectors, &type))
        return mn_fail(error, MNEME_ERR_USAGE, "vectors are kept as f32, bf16, int12 or int8, not as \"%s\"",
                       options->vectors);
    return mn_store_compact(memory->store, options->vectors ? &type : NULL, options->progress, options->context,
                            result ? result : &own, error);
}

mneme_status mneme_backup(mneme *memory, const char *target, const mneme_backup_options *options,
                          mneme_backup_result *result, mneme_error *error)
{
    mneme_backup_result own;
    return mn_store_backup(memory->store, target, options, result ? result : &own, error);
}
