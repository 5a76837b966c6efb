/* budget.c -- mneme_prune: forgetting what a budget leaves no room for, in batches:
 *
 *     choose (one read)  ->  per batch: read what goes, write it to the archive durably, forget it here, report it
 *
 * What is not archived yet is not forgotten: a crash between the two leaves a record in both, never in none. A record
 * that was pinned or replaced in the meantime stays. */
#include "memory/record_copy.h"
#include "memory/victims.h"

#include "common/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BATCH_RECORDS = 256 };

typedef struct prune_run {
    mneme *memory, *archive; /* archive: NULL = none */
    const mneme_prune_options *options;
    mneme_prune_result *result;
    mn_namespace space; /* the name in the caller's arena */
} prune_run;

/* Some victims on their way. */
typedef struct prune_batch {
    prune_run *run;
    const mn_victim *victims;
    size_t n;
    mn_arena arena;
    const char **ids, **archived_ids; /* archived_ids: in the archive; NULL = not there */
    mneme_strength *strengths;
    mn_record_copy **copies; /* for the archive; NULL: this one is not moved there */
    bool *gone;
    mn_encoder_stamp stamp;
} prune_batch;

/* ---- one batch ------------------------------------------------------------------------------------------------- */

/* Records that have come to an end that was set for them are not kept elsewhere. */
static bool goes_to_archive(const prune_batch *batch, size_t i)
{
    return batch->run->archive && batch->victims[i].reason != MNEME_PRUNE_EXPIRED;
}

static mneme_status read_victim(prune_batch *batch, const mn_copy_source *source, size_t i, mneme_error *error)
{
    mn_record record;
    mneme_status status = mn_read_record(source->read, source->space->ns, batch->victims[i].rec, &record, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status == MNEME_OK && !(batch->ids[i] = mn_arena_strdup(&batch->arena, record.id)))
        status = mn_fail_memory(error, "records to prune");
    if (status == MNEME_OK)
        status =
            mn_strength_view(batch->run->memory, source->read, source->space->ns, &record, &batch->strengths[i], error);
    if (status != MNEME_OK || !goes_to_archive(batch, i)) return status;
    return mn_copy_record(source, batch->victims[i].rec, &batch->arena, &batch->copies[i], error);
}

static mneme_status read_batch(prune_batch *batch, mneme_error *error)
{
    mn_read *read = NULL;
    mn_copy_source source;
    mn_encoder_stamp stamp;
    batch->ids = mn_arena_array(&batch->arena, batch->n, sizeof *batch->ids);
    batch->archived_ids = mn_arena_array(&batch->arena, batch->n, sizeof *batch->archived_ids);
    batch->copies = mn_arena_array(&batch->arena, batch->n, sizeof *batch->copies);
    batch->gone = mn_arena_array(&batch->arena, batch->n, sizeof *batch->gone);
    batch->strengths = mn_arena_array(&batch->arena, batch->n, sizeof *batch->strengths);
    if (!batch->strengths || !batch->ids || !batch->archived_ids || !batch->copies || !batch->gone)
        return mn_fail_memory(error, "records to prune");
    memset(batch->ids, 0, batch->n * sizeof *batch->ids);
    memset(batch->archived_ids, 0, batch->n * sizeof *batch->archived_ids);
    memset(batch->copies, 0, batch->n * sizeof *batch->copies);
    mneme_status status = mn_read_begin(batch->run->memory->store, &read, error);
    if (status == MNEME_OK) status = mn_read_encoder(read, &stamp, error);
    if (status == MNEME_OK) {
        batch->stamp = stamp;
        batch->stamp.name = mn_arena_strdup(&batch->arena, stamp.name);
        if (!batch->stamp.name) status = mn_fail_memory(error, "records to prune");
    }
    if (status == MNEME_OK) status = mn_copy_open(read, &batch->run->space, &batch->arena, &source, error);
    for (size_t i = 0; i < batch->n && status == MNEME_OK; i++) status = read_victim(batch, &source, i, error);
    mn_read_end(read);
    return status;
}

/* *taken: the archive has another record under this id. One of the same content is the same record, as after a crash
 * between archiving and forgetting. */
static mneme_status is_taken(mn_read *archive, const mn_namespace *space, const mn_record_copy *copy, bool *taken,
                             mneme_error *error)
{
    mn_record there;
    uint32_t rec = 0;
    *taken = false;
    mneme_status status = mn_read_find(archive, space->ns, copy->record.id, &rec, error);
    if (status == MNEME_OK) status = mn_read_record(archive, space->ns, rec, &there, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK) return status;
    const char *metadata = copy->record.metadata; /* what was merged into a record is there, not in its hash */
    bool same_metadata =
        there.metadata && metadata ? strcmp(there.metadata, metadata) == 0 : there.metadata == metadata;
    *taken = there.hash[0] != copy->put.hash[0] || there.hash[1] != copy->put.hash[1] || !same_metadata;
    return MNEME_OK;
}

/* Give the copy the id that it goes under: its own, or the first of "ID (2)", "ID (3)", ... that is not taken. */
static mneme_status choose_archived_id(prune_batch *batch, mn_read *archive, size_t i, mneme_error *error)
{
    const char *id = batch->ids[i];
    mn_record_copy *copy = batch->copies[i];
    mn_namespace space;
    bool taken = false;
    copy->record.id = batch->archived_ids[i] = id;
    mneme_status status = mn_read_namespace(archive, batch->run->space.name, &space, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK; /* nothing is there yet */
    if (status == MNEME_OK) status = is_taken(archive, &space, copy, &taken, error);
    for (uint64_t number = 2; status == MNEME_OK && taken; number++) {
        char other[MN_ID_MAX + 1], suffix[32];
        size_t n = (size_t)snprintf(suffix, sizeof suffix, " (%" PRIu64 ")", number), size = strlen(id);
        if (size > MN_ID_MAX - n) size = mn_utf8_floor(id, size, MN_ID_MAX - n);
        memcpy(other, id, size);
        memcpy(other + size, suffix, n + 1);
        copy->record.id = other;
        status = is_taken(archive, &space, copy, &taken, error);
        copy->record.id = batch->archived_ids[i] = mn_arena_strdup(&batch->arena, other);
        if (status == MNEME_OK && !copy->record.id) status = mn_fail_memory(error, "records to prune");
    }
    return status;
}

static mneme_status put_batch(void *context, mn_write *write, mneme_error *error)
{
    prune_batch *batch = context;
    mneme_status status = MNEME_OK;
    if (*batch->stamp.name && !batch->run->space.own_vectors) status = mn_write_encoder(write, &batch->stamp, error);
    for (size_t i = 0; i < batch->n && status == MNEME_OK; i++) {
        if (!batch->copies[i]) continue;
        status = choose_archived_id(batch, mn_write_read(write), i, error);
        if (status == MNEME_OK) status = mn_write_put(write, &batch->copies[i]->put, error);
    }
    return status;
}

static mneme_status forget_batch(void *context, mn_write *write, mneme_error *error)
{
    const prune_batch *batch = context;
    uint32_t ns = batch->run->space.ns;
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < batch->n && status == MNEME_OK; i++) {
        mn_strength kept = {0};
        batch->gone[i] = false;
        if (!batch->ids[i]) continue;
        status = mn_read_strength(mn_write_read(write), ns, batch->victims[i].rec, &kept, error);
        if (status != MNEME_OK || kept.pinned) continue;
        status = mn_write_forget(write, ns, batch->victims[i].rec, error);
        batch->gone[i] = status == MNEME_OK;
        if (status == MNEME_ERR_NOT_FOUND) status = MNEME_OK; /* forgotten or replaced by someone else */
    }
    return status;
}

static void report_batch(const prune_batch *batch)
{
    const prune_run *run = batch->run;
    mneme_prune_result *result = run->result;
    for (size_t i = 0; i < batch->n; i++) {
        const mn_victim *victim = &batch->victims[i];
        if (!batch->gone[i]) continue;
        *(victim->reason == MNEME_PRUNE_EXPIRED ? &result->expired
          : victim->reason == MNEME_PRUNE_WEAK  ? &result->weak
                                                : &result->over_budget) += 1;
        result->chunks += victim->n_chunks;
        result->bytes += victim->bytes;
        if (run->options->archive && victim->reason != MNEME_PRUNE_EXPIRED) result->archived++;
        const mneme_victim shown = {.id = batch->ids[i],
                                    .archived_id = batch->archived_ids[i],
                                    .name_space = run->space.name,
                                    .reason = victim->reason,
                                    .strength = batch->strengths[i],
                                    .chunks = victim->n_chunks,
                                    .bytes = victim->bytes};
        if (run->options->victim) run->options->victim(run->options->context, &shown);
    }
}

static mneme_status prune_batch_of(prune_run *run, const mn_victim *victims, size_t n, mneme_error *error)
{
    prune_batch batch = {.run = run, .victims = victims, .n = n};
    mneme_status status = read_batch(&batch, error);
    if (status == MNEME_OK && run->options->dry_run) {
        for (size_t i = 0; i < n; i++) batch.gone[i] = batch.ids[i] != NULL;
    } else {
        if (status == MNEME_OK && run->archive) {
            status = mn_store_update(run->archive->store, put_batch, &batch, NULL, error);
            if (status != MNEME_OK) mn_error_prefix(error, "archive: ");
        }
        if (status == MNEME_OK) status = mn_store_update(run->memory->store, forget_batch, &batch, NULL, error);
    }
    if (status == MNEME_OK) report_batch(&batch);
    mn_arena_free(&batch.arena);
    return status;
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

/* Tell of the progress in this namespace; ERR_CANCELLED when the caller has enough. */
static mneme_status tell(const prune_run *run, size_t done, size_t total, mneme_error *error)
{
    const mneme_prune_options *options = run->options;
    if (!options->progress || options->progress(options->context, done, total, "records")) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_CANCELLED, "pruning was cancelled; what has gone before stays so");
}

/* What was chosen from `first` on and did not go. */
static void count_left(prune_run *run, const mn_victims *victims, size_t first)
{
    for (size_t i = first; i < victims->n; i++) {
        run->result->kept_records++;
        run->result->kept_chunks += victims->items[i].n_chunks;
        run->result->kept_bytes += victims->items[i].bytes;
    }
}

static mneme_status prune_space(prune_run *run, mneme_error *error)
{
    mn_read *read = NULL;
    mn_victims victims = {0};
    mneme_status status = tell(run, 0, 0, error);
    if (status == MNEME_OK) status = mn_read_begin(run->memory->store, &read, error);
    if (status == MNEME_OK) status = mn_victims_choose(run->memory, read, &run->space, run->options, &victims, error);
    mn_read_end(read); /* none is held over the writing */
    size_t done = 0;
    while (done < victims.n && status == MNEME_OK) {
        size_t n = victims.n - done < BATCH_RECORDS ? victims.n - done : BATCH_RECORDS;
        status = tell(run, done, victims.n, error);
        if (status == MNEME_OK) status = prune_batch_of(run, victims.items + done, n, error);
        if (status == MNEME_OK) done += n;
    }
    count_left(run, &victims, done);
    run->result->kept_records += victims.kept_records;
    run->result->kept_chunks += victims.kept_chunks;
    run->result->kept_bytes += victims.kept_bytes;
    mn_victims_free(&victims);
    return status;
}

/* The archive has the language of this store and counts no uses. */
static mneme_status open_archive(prune_run *run, mneme_error *error)
{
    const char *path = run->options->archive;
    if (!path) return MNEME_OK;
    mneme_settings *settings = NULL;
    mneme_status status = mn_store_refuse_inside(run->memory->store, path, error);
    if (status != MNEME_OK) mn_error_prefix(error, "archive: ");
    if (status != MNEME_OK || run->options->dry_run) return status;
    status = mn_settings_copy(run->memory->settings, &settings, error);
    if (status == MNEME_OK)
        status = mneme_settings_set(settings, "lexical.language", mn_store_language(run->memory->store), NULL, error);
    if (status == MNEME_OK) status = mneme_settings_set(settings, "memory.strengthen", "off", NULL, error);
    if (status == MNEME_OK) status = mneme_open(path, settings, 0, &run->archive, error);
    if (status != MNEME_OK) mn_error_prefix(error, "archive: ");
    mneme_settings_free(settings);
    return status;
}

static mneme_status check_options(const mneme_prune_options *options, mneme_error *error)
{
    if (!(options->min_strength >= 0 && options->min_strength <= 1))
        return mn_fail(error, MNEME_ERR_USAGE, "min_strength %g: it must be 0 to 1", options->min_strength);
    if (options->min_strength > 0 && options->strategy != MNEME_PRUNE_STRENGTH)
        return mn_fail(error, MNEME_ERR_USAGE, "min_strength goes with the strategy strength only");
    return MNEME_OK;
}

mneme_status mneme_prune(mneme *memory, const mneme_prune_options *options, mneme_prune_result *result,
                         mneme_error *error)
{
    static const mneme_prune_options defaults = MNEME_PRUNE_OPTIONS_INIT;
    mneme_prune_result own;
    prune_run run = {.memory = memory, .options = options ? options : &defaults, .result = result ? result : &own};
    *run.result = (mneme_prune_result){0};
    const mneme_selection select = {.name_space = run.options->name_space};
    mn_arena arena = {0};
    mn_read *read = NULL;
    mn_namespace *spaces = NULL;
    size_t n = 0;
    mneme_status status = check_options(run.options, error);
    if (status == MNEME_OK) status = mneme_flush(memory, error);
    if (status == MNEME_OK) status = open_archive(&run, error);
    if (status == MNEME_OK) status = mn_read_begin(memory->store, &read, error);
    if (status == MNEME_OK) status = mn_selected_namespaces(read, &select, &arena, &spaces, &n, error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++)
        if (!(spaces[i].name = mn_arena_strdup(&arena, spaces[i].name))) status = mn_fail_memory(error, "namespaces");
    mn_read_end(read);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        run.space = spaces[i];
        status = prune_space(&run, error);
    }
    mneme_close(run.archive);
    mn_arena_free(&arena);
    return status;
}
