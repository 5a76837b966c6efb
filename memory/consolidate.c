/* consolidate.c -- near-duplicates become one stronger memory.
 *
 *     find (one read)  ->  per group of a survivor and what merges into it: copy the survivor (one read), then in one
 *     transaction: forget the others, put the survivor with their sources, and what they say that it does not, in its
 *     metadata, and the joint strength
 *
 * Several groups share a transaction, up to BATCH_RECORDS records. A group of which a record has gone meanwhile is left
 * for the next run. */
#include "memory/duplicates.h"
#include "memory/handle.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_RECORDS = 256 };

typedef struct merge_group {
    const mn_duplicate *pairs; /* all of one survivor */
    size_t n;
    mn_record_copy *survivor;
    const char **merged_ids;
    bool done;
} merge_group;

typedef struct consolidate_run {
    mneme *memory;
    const mneme_consolidate_options *options;
    mneme_consolidate_result *result;
    mn_namespace space;
    mn_duplicate_limits limits;
} consolidate_run;

typedef struct merge_batch {
    consolidate_run *run;
    merge_group *groups;
    size_t n;
    mn_arena arena;
} merge_batch;

/* ---- sources ----------------------------------------------------------------------------------------------------- */

static void put_text(json_t *object, const char *key, const char *text)
{
    if (text) json_object_set_new(object, key, json_string(text));
}

/* The list that an earlier consolidation left in some metadata; NULL = there is none. */
static json_t *list_in(const json_t *metadata)
{
    json_t *list = json_object_get(metadata, "consolidated"), *entry;
    size_t i;
    if (!json_is_array(list)) return NULL;
    json_array_foreach(list, i, entry) if (!json_is_string(json_object_get(entry, "id"))) return NULL;
    return list;
}

/* {"id","title","source","session","speaker","time"} of a record that goes. */
static json_t *source_of(const mn_record *record)
{
    json_t *object = json_object();
    char time[32];
    put_text(object, "id", record->id);
    put_text(object, "title", record->title);
    put_text(object, "source", record->source);
    put_text(object, "session", record->session);
    put_text(object, "speaker", record->speaker);
    mneme_time_format(record->time_ms, time, sizeof time);
    if (record->has_time) put_text(object, "time", time);
    return object;
}

/* Note the text of a record that goes, which is also that of those in its list (NULL = none) that have no other. */
static void set_text(json_t *object, json_t *before, json_t *text)
{
    json_t *entry;
    size_t i;
    json_object_set(object, "text", text);
    json_array_foreach(before, i, entry) if (!json_object_get(entry, "text")) json_object_set(entry, "text", text);
}

/* Append the record, with its text where that differs from the survivor's and what else its metadata says, and what had
 * been merged into it before. */
static mneme_status add_sources(json_t *list, const mn_copy_source *from, const mn_record *record,
                                const mneme_record *survivor, mneme_error *error)
{
    mn_buffer text = {0};
    mneme_status status = mn_read_text(from->read, from->space->ns, record->rec, 0, record->text_size, &text, error);
    if (status != MNEME_OK) return status;
    json_t *metadata = record->metadata ? json_loads(record->metadata, JSON_ALLOW_NUL, NULL) : NULL;
    json_t *said = json_stringn(text.size ? text.data : "", text.size);
    json_t *object = source_of(record), *before = json_incref(list_in(metadata));
    if (text.size != survivor->text_size || (text.size && memcmp(text.data, survivor->text, text.size) != 0))
        set_text(object, before, said);
    if (record->metadata && !metadata)
        status = mn_fail(error, MNEME_ERR_DAMAGED, "the metadata of record \"%s\" is no JSON", record->id);
    else if (!said || !object)
        status = mn_fail_memory(error, "consolidation");
    if (before) json_object_del(metadata, "consolidated");
    if (json_object_size(metadata)) json_object_set(object, "metadata", metadata);
    json_array_append_new(list, object);
    if (before) json_array_extend(list, before);
    json_decref(before);
    json_decref(said);
    json_decref(metadata);
    mn_buffer_free(&text);
    return status;
}

static mneme_status set_sources(merge_batch *batch, merge_group *group, const mn_copy_source *from, mneme_error *error)
{
    mneme_record *record = &group->survivor->record;
    json_t *metadata = record->metadata ? json_loads(record->metadata, JSON_ALLOW_NUL, NULL) : json_object();
    json_t *list = list_in(metadata);
    mneme_status status = json_is_object(metadata) ? MNEME_OK
                                                   : mn_fail(error, MNEME_ERR_DAMAGED,
                                                             "the metadata of record \"%s\" is no JSON", record->id);
    if (status == MNEME_OK && !list && json_object_get(metadata, "consolidated")) {
        json_decref(metadata); /* a key of the user's own */
        return mn_fail(error, MNEME_ERR_NOT_FOUND, "record \"%s\" has no room for others", record->id);
    }
    if (status == MNEME_OK && !list) {
        json_object_set_new(metadata, "consolidated", json_array());
        list = json_object_get(metadata, "consolidated");
    }
    for (size_t i = 0; i < group->n && status == MNEME_OK; i++) {
        mn_record merged;
        status = mn_read_record(from->read, from->space->ns, group->pairs[i].merged, &merged, error);
        if (status != MNEME_OK) break;
        status = add_sources(list, from, &merged, record, error);
        if (status != MNEME_OK) break;
        group->merged_ids[i] = mn_arena_strdup(&batch->arena, merged.id);
        if (!group->merged_ids[i]) status = mn_fail_memory(error, "consolidation");
    }
    char *text = status == MNEME_OK ? json_dumps(metadata, JSON_COMPACT) : NULL;
    record->metadata = text ? mn_arena_strdup(&batch->arena, text) : NULL;
    if (status == MNEME_OK && !record->metadata) status = mn_fail_memory(error, "consolidation");
    free(text);
    json_decref(metadata);
    return status;
}

/* ---- the joint strength -------------------------------------------------------------------------------------------
 */

/* The strongest one's strength and the longest half-life, used once more for each of the others: what is met again is
 * rehearsed. It ends when the last of them does. */
static mneme_status join(const merge_batch *batch, mn_read *read, uint32_t rec, mn_strength *joint, mneme_error *error)
{
    const mneme *memory = batch->run->memory;
    int64_t now = batch->run->limits.now_ms;
    uint32_t ns = batch->run->space.ns;
    mn_record record;
    mn_strength kept;
    mneme_status status = mn_read_record(read, ns, rec, &record, error);
    if (status == MNEME_OK) status = mn_read_strength(read, ns, rec, &kept, error);
    if (status != MNEME_OK) return status;
    bool first = !joint->used;
    mn_strength_state state = mn_strength_state_of(&memory->model, &record, &kept);
    double strength = mn_strength_at(&state, now);
    if (first || strength > (double)joint->level) joint->level = (float)strength;
    if (first || state.half_life_days > (double)joint->half_life_days)
        joint->half_life_days = (float)state.half_life_days;
    joint->uses += kept.uses;
    joint->pinned = joint->pinned || kept.pinned;
    joint->has_expires = kept.has_expires && (first || joint->has_expires);
    if (kept.expires_ms > joint->expires_ms) joint->expires_ms = kept.expires_ms;
    int64_t last = kept.used ? kept.last_ms : record.written_ms;
    if (first || last > joint->last_ms) joint->last_ms = last;
    joint->used = true;
    return MNEME_OK;
}

static mneme_status join_all(const merge_batch *batch, mn_read *read, const merge_group *group, mn_strength *joint,
                             mneme_error *error)
{
    *joint = (mn_strength){0};
    const mn_strength_model *model = &batch->run->memory->model;
    mneme_status status = join(batch, read, group->pairs[0].survivor, joint, error);
    for (size_t i = 0; i < group->n && status == MNEME_OK; i++)
        status = join(batch, read, group->pairs[i].merged, joint, error);
    if (status != MNEME_OK) return status;
    /* Its strength is as of now, the gap before the first of these uses as of the last one: put it back to then. */
    mn_strength_state state = {.level = 1, .half_life_days = (double)joint->half_life_days, .last_ms = joint->last_ms};
    double left = mn_strength_at(&state, batch->run->limits.now_ms);
    state.level = left > 0 ? (double)joint->level / left : 0;
    for (size_t i = 0; i < group->n; i++) state = mn_strength_used(model, &state, 1, batch->run->limits.now_ms);
    joint->level = (float)state.level;
    joint->half_life_days = (float)state.half_life_days;
    joint->last_ms = state.last_ms;
    joint->uses += (uint32_t)group->n;
    return MNEME_OK;
}

/* ---- batches --------------------------------------------------------------------------------------------------------
 */

static mneme_status read_group(merge_batch *batch, const mn_copy_source *source, merge_group *group, mneme_error *error)
{
    mneme_status status = mn_copy_record(source, group->pairs[0].survivor, &batch->arena, &group->survivor, error);
    group->merged_ids = mn_arena_array(&batch->arena, group->n, sizeof *group->merged_ids);
    if (status == MNEME_OK && !group->merged_ids) status = mn_fail_memory(error, "consolidation");
    if (status == MNEME_OK) status = set_sources(batch, group, source, error);
    if (status == MNEME_ERR_NOT_FOUND) { /* gone meanwhile, or it cannot take others in */
        group->survivor = NULL;
        status = MNEME_OK;
    }
    return status;
}

static mneme_status read_batch(merge_batch *batch, mneme_error *error)
{
    mn_read *read = NULL;
    mn_copy_source source;
    mneme_status status = mn_read_begin(batch->run->memory->store, &read, error);
    if (status == MNEME_OK) status = mn_copy_open(read, &batch->run->space, &batch->arena, &source, error);
    for (size_t i = 0; i < batch->n && status == MNEME_OK; i++) {
        batch->groups[i].survivor = NULL;
        status = read_group(batch, &source, &batch->groups[i], error);
    }
    mn_read_end(read);
    return status;
}

static mneme_status write_group(merge_batch *batch, mn_write *write, merge_group *group, mneme_error *error)
{
    uint32_t ns = batch->run->space.ns;
    mn_strength joint;
    mneme_status status = join_all(batch, mn_write_read(write), group, &joint, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK; /* nothing has been written of this group yet */
    for (size_t i = 0; i < group->n && status == MNEME_OK; i++)
        status = mn_write_forget(write, ns, group->pairs[i].merged, error);
    mn_new_record put = group->survivor->put;
    put.strength = &joint;
    if (status == MNEME_OK) status = mn_write_put(write, &put, error);
    group->done = status == MNEME_OK;
    return status;
}

static mneme_status write_batch(void *context, mn_write *write, mneme_error *error)
{
    merge_batch *batch = context;
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < batch->n && status == MNEME_OK; i++) {
        batch->groups[i].done = false;
        if (batch->groups[i].survivor) status = write_group(batch, write, &batch->groups[i], error);
    }
    return status;
}

static void report_batch(const merge_batch *batch)
{
    const mneme_consolidate_options *options = batch->run->options;
    for (size_t i = 0; i < batch->n; i++) {
        const merge_group *group = &batch->groups[i];
        if (!group->done) continue;
        batch->run->result->groups++;
        batch->run->result->merged += group->n;
        for (size_t j = 0; j < group->n && options->merged; j++) {
            const mneme_merge merge = {.name_space = batch->run->space.name,
                                       .id = group->survivor->record.id,
                                       .merged_id = group->merged_ids[j],
                                       .cosine = group->pairs[j].cosine,
                                       .terms = group->pairs[j].terms};
            options->merged(options->context, &merge);
        }
    }
}

static mneme_status merge_groups(consolidate_run *run, merge_group *groups, size_t n, mneme_error *error)
{
    merge_batch batch = {.run = run, .groups = groups, .n = n};
    mneme_status status = read_batch(&batch, error);
    if (status == MNEME_OK && run->options->dry_run)
        for (size_t i = 0; i < n; i++) groups[i].done = groups[i].survivor != NULL;
    else if (status == MNEME_OK)
        status = mn_store_update(run->memory->store, write_batch, &batch, NULL, error);
    if (status == MNEME_OK) report_batch(&batch);
    mn_arena_free(&batch.arena);
    return status;
}

/* ---- all ------------------------------------------------------------------------------------------------------------
 */

static mneme_status find(consolidate_run *run, mn_duplicate **pairs, size_t *n, mneme_error *error)
{
    mn_read *read = NULL;
    mn_arena arena = {0};
    mn_copy_source source;
    *pairs = NULL;
    *n = 0;
    mneme_status status = mn_read_begin(run->memory->store, &read, error);
    if (status == MNEME_OK) status = mn_copy_open(read, &run->space, &arena, &source, error);
    if (status == MNEME_OK) status = mn_duplicates_find(&source, run->memory->analyzer, &run->limits, pairs, n, error);
    mn_read_end(read);
    mn_arena_free(&arena);
    return status;
}

static mneme_status tell(const consolidate_run *run, size_t done, size_t total, mneme_error *error)
{
    const mneme_consolidate_options *options = run->options;
    if (!options->progress || options->progress(options->context, done, total, "records")) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_CANCELLED, "consolidating was cancelled; what was merged before stays so");
}

static mneme_status consolidate_space(consolidate_run *run, mneme_error *error)
{
    mn_duplicate *pairs = NULL;
    size_t n = 0, n_groups = 0, records = 0, first = 0;
    mneme_status status = find(run, &pairs, &n, error);
    merge_group *groups = status == MNEME_OK ? mn_alloc_zeroed(n ? n : 1, sizeof *groups) : NULL;
    if (status == MNEME_OK && !groups) status = mn_fail_memory(error, "consolidation");
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        if (i == 0 || pairs[i].survivor != pairs[i - 1].survivor)
            groups[n_groups++] = (merge_group){.pairs = &pairs[i]};
        groups[n_groups - 1].n++;
    }
    for (size_t i = 0; i < n_groups && status == MNEME_OK; i++) {
        records += groups[i].n + 1;
        if (records < BATCH_RECORDS && i + 1 < n_groups) continue;
        status = tell(run, (size_t)(groups[first].pairs - pairs), n, error);
        if (status == MNEME_OK) status = merge_groups(run, groups + first, i + 1 - first, error);
        first = i + 1;
        records = 0;
    }
    if (groups) run->result->records += run->space.n_records;
    mn_free(groups);
    mn_free(pairs);
    return status;
}

static mneme_status check_options(const consolidate_run *run, mneme_error *error)
{
    if (!(run->limits.cosine > 0 && run->limits.cosine <= 1) || !(run->limits.terms > 0 && run->limits.terms <= 1))
        return mn_fail(error, MNEME_ERR_USAGE, "consolidate: cosine %g and terms %g must be above 0 and at most 1",
                       run->limits.cosine, run->limits.terms);
    return MNEME_OK;
}

mneme_status mneme_consolidate(mneme *memory, const mneme_consolidate_options *options,
                               mneme_consolidate_result *result, mneme_error *error)
{
    static const mneme_consolidate_options defaults = MNEME_CONSOLIDATE_OPTIONS_INIT;
    mneme_consolidate_result own;
    consolidate_run run = {
        .memory = memory, .options = options ? options : &defaults, .result = result ? result : &own};
    *run.result = (mneme_consolidate_result){0};
    run.limits = (mn_duplicate_limits){
        .cosine = run.options->cosine != 0 ? run.options->cosine : memory->values.memory_duplicate_cosine,
        .terms = run.options->terms != 0 ? run.options->terms : memory->values.memory_duplicate_terms,
        .now_ms = mn_memory_now(memory),
        .progress = run.options->progress,
        .context = run.options->context};
    const mneme_selection select = {.name_space = run.options->name_space};
    mn_arena arena = {0};
    mn_read *read = NULL;
    mn_namespace *spaces = NULL;
    size_t n = 0;
    mneme_status status = check_options(&run, error);
    if (status == MNEME_OK) status = mneme_flush(memory, error);
    if (status == MNEME_OK) status = mn_read_begin(memory->store, &read, error);
    if (status == MNEME_OK) status = mn_selected_namespaces(read, &select, &arena, &spaces, &n, error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++)
        if (!(spaces[i].name = mn_arena_strdup(&arena, spaces[i].name))) status = mn_fail_memory(error, "namespaces");
    mn_read_end(read);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        run.space = spaces[i];
        status = consolidate_space(&run, error);
    }
    mn_arena_free(&arena);
    return status;
}
