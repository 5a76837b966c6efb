/* records.c -- get, list and forget. */
#include "memory/where_plan.h"

#include <stdlib.h>
#include <string.h>

typedef struct list_block {
    mneme_record_list list; /* first: what the caller sees */
    mn_arena arena;
    mneme_record *items; /* those of list, while they are written */
    uint32_t *n_chunks;
    mneme_strength *strengths;
} list_block;

void mneme_record_list_free(mneme_record_list *list)
{
    if (!list) return;
    list_block *block = (list_block *)list;
    mn_arena_free(&block->arena);
    mn_free(block);
}

static list_block *list_new(size_t capacity)
{
    list_block *block = mn_alloc_zeroed(1, sizeof *block);
    if (!block) return NULL;
    block->items = mn_arena_array(&block->arena, capacity, sizeof *block->items);
    block->n_chunks = mn_arena_array(&block->arena, capacity, sizeof *block->n_chunks);
    block->strengths = mn_arena_array(&block->arena, capacity, sizeof *block->strengths);
    block->list.items = block->items;
    block->list.n_chunks = block->n_chunks;
    block->list.strengths = block->strengths;
    if (block->items && block->n_chunks && block->strengths) return block;
    mneme_record_list_free(&block->list);
    return NULL;
}

/* Where list_append reads. */
typedef struct list_from {
    const mneme *memory;
    mn_read *read;
    bool omit_text;
} list_from;

static mneme_status list_append(list_block *block, const list_from *from, const mn_namespace *space,
                                const mn_record *record, mneme_error *error)
{
    mn_arena *arena = &block->arena;
    mn_buffer text = {0};
    mn_read *read = from->read;
    mneme_strength *strength = &block->strengths[block->list.n];
    mneme_status status = mn_strength_view(from->memory, read, space->ns, record, strength, error);
    if (status == MNEME_OK && !from->omit_text)
        status = mn_read_text(read, space->ns, record->rec, 0, record->text_size, &text, error);
    mneme_record *item = &block->items[block->list.n];
    *item = (mneme_record){.id = mn_arena_strdup(arena, record->id),
                           .name_space = mn_arena_strdup(arena, space->name),
                           .text = mn_arena_copy(arena, text.data, text.size),
                           .text_size = text.size,
                           .title = mn_arena_strdup(arena, record->title),
                           .session = mn_arena_strdup(arena, record->session),
                           .speaker = mn_arena_strdup(arena, record->speaker),
                           .metadata = mn_arena_strdup(arena, record->metadata),
                           .source = mn_arena_strdup(arena, record->source),
                           .has_time = record->has_time,
                           .time_ms = record->time_ms,
                           .has_importance = record->importance_given,
                           .importance = record->importance_given ? record->importance : 0,
                           .pinned = strength->pinned,
                           .has_expires = strength->has_expires,
                           .expires_ms = strength->expires_ms};
    block->n_chunks[block->list.n] = record->n_chunks;
    if (status == MNEME_OK && (text.failed || !item->id || !item->name_space || !item->text))
        status = mn_fail_memory(error, "records");
    mn_buffer_free(&text);
    if (status == MNEME_OK) block->list.n++;
    return status;
}

mneme_status mneme_get(mneme *memory, const char *name_space, const char *id, mneme_record_list **out,
                       mneme_error *error)
{
    *out = NULL;
    if (!id || !*id) return mn_fail(error, MNEME_ERR_USAGE, "no id given");
    mn_read *read = NULL;
    mn_namespace space;
    mn_record record;
    uint32_t rec = 0;
    mneme_status status = mn_read_begin(memory->store, &read, error);
    if (status != MNEME_OK) return status;
    status = mn_read_namespace(read, name_space, &space, error);
    if (status == MNEME_OK) status = mn_read_find(read, space.ns, id, &rec, error);
    if (status == MNEME_OK) status = mn_read_record(read, space.ns, rec, &record, error);
    const list_from from = {.memory = memory, .read = read};
    list_block *block = status == MNEME_OK ? list_new(1) : NULL;
    if (status == MNEME_OK && !block) status = mn_fail_memory(error, "records");
    if (status == MNEME_OK) status = list_append(block, &from, &space, &record, error);
    if (status == MNEME_OK && block->strengths[0].expired) status = MNEME_ERR_NOT_FOUND;
    if (status == MNEME_ERR_NOT_FOUND)
        status = mn_fail(error, MNEME_ERR_NOT_FOUND, "no record \"%s\" in %s%s%s", id,
                         name_space && *name_space ? "namespace \"" : "the unnamed namespace",
                         name_space ? name_space : "", name_space && *name_space ? "\"" : "");
    if (status == MNEME_OK) *out = &block->list;
    else if (block) mneme_record_list_free(&block->list);
    mn_read_end(read);
    return status;
}

/* ---- list ------------------------------------------------------------------------------------------------------ */

/* Where a page begins: "<record>:<namespace>", the first record that may be on it. */
typedef struct list_place {
    uint32_t rec;
    const char *name_space;
} list_place;

static mneme_status parse_place(const char *after, list_place *out, mneme_error *error)
{
    *out = (list_place){.rec = 0, .name_space = ""};
    if (!after) return MNEME_OK;
    char *end = NULL;
    unsigned long rec = strtoul(after, &end, 10);
    if (end == after || *end != ':' || rec > UINT32_MAX)
        return mn_fail(error, MNEME_ERR_USAGE, "\"%s\" is not the `next` of a page", after);
    *out = (list_place){.rec = (uint32_t)rec, .name_space = end + 1};
    return MNEME_OK;
}

static mneme_status set_next(list_block *block, const mn_namespace *space, uint32_t rec, mneme_error *error)
{
    mn_buffer next = {0};
    mn_buffer_format(&next, "%u:%s", rec, space->name);
    block->list.next = next.failed ? NULL : mn_arena_copy(&block->arena, next.data, next.size);
    mn_buffer_free(&next);
    return block->list.next ? MNEME_OK : mn_fail_memory(error, "records");
}

/* Add a namespace's records from `rec` on until the page is full; then block->list.next is set. */
static mneme_status list_namespace(list_block *block, const list_from *from, const mn_namespace *space, uint32_t rec,
                                   size_t limit, mn_filter *filter, mneme_error *error)
{
    mn_record record;
    mn_selected selected;
    mneme_status status = mn_selected_begin(&selected, filter, from->read, space, rec, limit - block->list.n + 1, error);
    while (status == MNEME_OK && (status = mn_selected_next(&selected, &record, error)) == MNEME_OK) {
        if (block->list.n == limit) {
            status = set_next(block, space, record.rec, error);
            break;
        }
        status = list_append(block, from, space, &record, error);
    }
    mn_selected_end(&selected);
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

mneme_status mneme_list(mneme *memory, const mneme_list_options *options, mneme_record_list **out, mneme_error *error)
{
    static const mneme_list_options defaults = MNEME_LIST_OPTIONS_INIT;
    *out = NULL;
    if (!options) options = &defaults;
    size_t limit = options->limit ? options->limit : 100, n = 0;
    mn_arena arena = {0};
    mn_read *read = NULL;
    mn_filter filter;
    list_place place;
    mn_namespace *spaces = NULL;
    list_block *block = NULL;
    mneme_status status = parse_place(options->after, &place, error);
    if (status == MNEME_OK) status = mn_filter_compile(&options->select, &arena, &filter, error);
    if (status == MNEME_OK && !(block = list_new(limit))) status = mn_fail_memory(error, "records");
    if (status == MNEME_OK) status = mn_read_begin(memory->store, &read, error);
    if (status == MNEME_OK) status = mn_selected_namespaces(read, &options->select, &arena, &spaces, &n, error);
    if (status == MNEME_OK)
        status = mn_filter_hide_ended(&filter, read, spaces, n, mn_memory_now(memory), &arena, error);
    const list_from from = {.memory = memory, .read = read, .omit_text = options->omit_text};
    for (size_t i = 0; i < n && status == MNEME_OK && !block->list.next; i++) {
        int order = strcmp(spaces[i].name, place.name_space);
        if (order < 0) continue;
        status = list_namespace(block, &from, &spaces[i], order == 0 ? place.rec : 0, limit, &filter, error);
    }
    mn_read_end(read);
    mn_arena_free(&arena);
    if (status == MNEME_OK) *out = &block->list;
    else if (block) mneme_record_list_free(&block->list);
    return status;
}

/* ---- forget ---------------------------------------------------------------------------------------------------- */

typedef struct forget_job {
    const mneme_forget_options *options;
    mn_filter filter;
    mn_arena arena;
    uint64_t n_forgotten;
} forget_job;

static mneme_status forget_ids(forget_job *job, mn_write *write, mneme_error *error)
{
    mn_read *read = mn_write_read(write);
    mn_namespace space;
    mneme_status status = mn_read_namespace(read, job->options->select.name_space, &space, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    for (size_t i = 0; i < job->options->n_ids && status == MNEME_OK; i++) {
        uint32_t rec = 0;
        status = mn_read_find(read, space.ns, job->options->ids[i], &rec, error);
        if (status == MNEME_OK) {
            job->n_forgotten++;
            if (!job->options->dry_run) status = mn_write_forget(write, space.ns, rec, error);
        } else if (status == MNEME_ERR_NOT_FOUND) {
            status = MNEME_OK;
        }
    }
    return status;
}

static mneme_status forget_in(forget_job *job, mn_write *write, const mn_namespace *space, mneme_error *error)
{
    mn_record record;
    mn_selected selected;
    mneme_status status = mn_selected_begin(&selected, &job->filter, mn_write_read(write), space, 0, 0, error);
    while (status == MNEME_OK && (status = mn_selected_next(&selected, &record, error)) == MNEME_OK) {
        job->n_forgotten++;
        if (!job->options->dry_run) status = mn_write_forget(write, space->ns, record.rec, error);
    }
    mn_selected_end(&selected);
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

static mneme_status forget_selected(forget_job *job, mn_write *write, mneme_error *error)
{
    mn_read *read = mn_write_read(write);
    mn_namespace *spaces = NULL;
    size_t n = 0;
    mneme_status status = mn_selected_namespaces(read, &job->options->select, &job->arena, &spaces, &n, error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) status = forget_in(job, write, &spaces[i], error);
    return status;
}

static mneme_status forget_all(void *context, mn_write *write, mneme_error *error)
{
    forget_job *job = context;
    job->n_forgotten = 0; /* the store may run this again from the start */
    return job->options->ids ? forget_ids(job, write, error) : forget_selected(job, write, error);
}

mneme_status mneme_forget(mneme *memory, const mneme_forget_options *options, uint64_t *n_forgotten, mneme_error *error)
{
    if (n_forgotten) *n_forgotten = 0;
    if (!options) return mn_fail(error, MNEME_ERR_USAGE, "forget needs ids or a condition");
    forget_job job = {.options = options};
    mneme_status status = mn_filter_compile(&options->select, &job.arena, &job.filter, error);
    if (status == MNEME_OK && !options->ids && mn_filter_is_open(&job.filter) && !options->select.name_space)
        status = mn_fail(error, MNEME_ERR_USAGE, "forget needs ids or a condition");
    if (status == MNEME_OK) status = mn_store_update(memory->store, forget_all, &job, NULL, error);
    if (status == MNEME_OK && n_forgotten) *n_forgotten = job.n_forgotten;
    mn_arena_free(&job.arena);
    return status;
}
