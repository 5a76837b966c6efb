/* export.c -- every record of a selection, in pages, as of one generation.
 *
 *     one read: which records (16 bytes each) --order--> [page in a read of its own --> take, take, take] ...
 *
 * Records are never changed in place and their numbers never used twice, so a record that is still there at its turn is
 * the one that was listed. */
#include "memory/record_copy.h"
#include "memory/where_plan.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_RECORDS = 1024 };
#define PAGE_BYTES ((size_t)4 << 20)

/* A record that will be handed out. */
typedef struct entry {
    uint32_t space; /* index in the job's namespaces */
    uint32_t rec, session, place;
} entry;

typedef struct export_job {
    mneme *memory;
    const mneme_export_options *options;
    mneme_export_result *result;
    mn_read *read;  /* open while a page is filled */
    mn_arena arena; /* namespaces, filter */
    mn_namespace *spaces;
    size_t n_spaces;
    entry *entries; /* heap */
    size_t n_entries, capacity;
    /* the page in hand */
    mn_arena page;
    mneme_record *records;
    size_t n_records, page_bytes;
} export_job;

/* ---- which, and in which order ---- */

static mneme_status append_entry(export_job *job, uint32_t space, const mn_record *record, mneme_error *error)
{
    if (job->n_entries == job->capacity) {
        size_t larger = job->capacity ? job->capacity * 2 : 1024;
        entry *grown = mn_realloc_array(job->entries, larger, sizeof *grown);
        if (!grown) return mn_fail_memory(error, "export");
        job->entries = grown;
        job->capacity = larger;
    }
    bool ordered = record->session != NULL;
    job->entries[job->n_entries++] = (entry){.space = space,
                                             .rec = record->rec,
                                             .session = ordered ? record->session_number : 0,
                                             .place = ordered ? record->session_place : 0};
    return MNEME_OK;
}

static int by_session_and_record(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    if (a->session != b->session) return a->session < b->session ? -1 : 1;
    return a->rec < b->rec ? -1 : a->rec > b->rec;
}

static int by_session_and_place(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    if (a->session != b->session) return a->session < b->session ? -1 : 1;
    if (a->place != b->place) return a->place < b->place ? -1 : 1;
    return a->rec < b->rec ? -1 : a->rec > b->rec;
}

/* `entries`, n of one namespace in the order of adding: let the records of each session trade turns, so that they come
 * in the session's order. (A record that was replaced was added late, and kept its early place.) */
static mneme_status order_sessions(entry *entries, size_t n, mneme_error *error)
{
    bool ordered = true;
    for (size_t i = 1; i < n && ordered; i++)
        ordered = entries[i].session == entries[i - 1].session ? entries[i].place >= entries[i - 1].place
                                                               : entries[i].session > entries[i - 1].session;
    if (ordered) return MNEME_OK;
    entry *turns = mn_alloc_array(n, sizeof *turns), *records = mn_alloc_array(n, sizeof *records);
    if (turns && records) {
        memcpy(records, entries, n * sizeof *records);
        for (size_t i = 0; i < n; i++) /* place: where it stands now */
            turns[i] = (entry){.session = entries[i].session, .rec = entries[i].rec, .place = (uint32_t)i};
        qsort(turns, n, sizeof *turns, by_session_and_record);
        qsort(records, n, sizeof *records, by_session_and_place);
        for (size_t i = 0; i < n; i++) entries[turns[i].place] = records[i];
    }
    bool memory = turns && records;
    mn_free(turns);
    mn_free(records);
    return memory ? MNEME_OK : mn_fail_memory(error, "export");
}

static mneme_status list_namespace(export_job *job, uint32_t space, mn_filter *filter, mneme_error *error)
{
    size_t first = job->n_entries;
    mn_record record;
    mn_selected selected;
    mneme_status status = mn_selected_begin(&selected, filter, job->read, &job->spaces[space], 0, 0, error);
    while (status == MNEME_OK && (status = mn_selected_next(&selected, &record, error)) == MNEME_OK)
        status = append_entry(job, space, &record, error);
    mn_selected_end(&selected);
    if (status != MNEME_ERR_NOT_FOUND) return status;
    return order_sessions(job->entries + first, job->n_entries - first, error);
}

static mneme_status list_all(export_job *job, mneme_error *error)
{
    mn_filter filter;
    mneme_status status = mn_filter_compile(&job->options->select, &job->arena, &filter, error);
    if (status == MNEME_OK) status = mn_read_begin(job->memory->store, &job->read, error);
    if (status != MNEME_OK) return status;
    job->result->generation = mn_read_generation(job->read);
    mn_namespace *spaces = NULL;
    status = mn_selected_namespaces(job->read, &job->options->select, &job->arena, &spaces, &job->n_spaces, error);
    job->spaces = spaces;
    if (status == MNEME_OK)
        status = mn_filter_hide_ended(&filter, job->read, spaces, job->n_spaces, mn_memory_now(job->memory),
                                      &job->arena, error);
    for (size_t i = 0; i < job->n_spaces && status == MNEME_OK; i++) {
        spaces[i].name = mn_arena_strdup(&job->arena, spaces[i].name); /* the read ends before the last page */
        status = spaces[i].name ? list_namespace(job, (uint32_t)i, &filter, error) : mn_fail_memory(error, "export");
    }
    return status;
}

/* ---- one record ---- */

static mneme_status copy_chunks(export_job *job, const mn_namespace *space, const mn_record *from, mneme_record *to,
                                mneme_error *error)
{
    uint32_t n = space->dimension ? from->n_chunks : 0;
    mneme_chunk *chunks = mn_arena_array(&job->page, n ? n : 1, sizeof *chunks);
    if (!chunks) return mn_fail_memory(error, "export");
    for (uint32_t i = 0; i < n; i++) {
        mn_row row;
        float *vector = mn_arena_array(&job->page, space->dimension, sizeof *vector);
        mneme_status status =
            vector ? mn_read_row(job->read, space, from->first_row + i, &row, error) : mn_fail_memory(error, "export");
        if (status == MNEME_OK && (row.rec != from->rec || row.start > row.end || row.end > from->text_size))
            status = mn_fail(error, MNEME_ERR_DAMAGED,
                             "chunk %u of record \"%s\" is damaged; `mneme check` lists all damage", i, from->id);
        if (status == MNEME_OK) status = mn_read_row_vector(job->read, space, from->first_row + i, vector, error);
        if (status != MNEME_OK) return status;
        chunks[i] = (mneme_chunk){.start = row.start, .end = row.end, .vector = vector};
        job->page_bytes += space->dimension * sizeof *vector;
    }
    to->dimension = n ? space->dimension : 0;
    if (from->own_vector) {
        to->vector = n ? chunks[0].vector : NULL;
    } else {
        to->chunks = chunks;
        to->n_chunks = n;
    }
    return MNEME_OK;
}

static mneme_status copy_record(export_job *job, const mn_namespace *space, const mn_record *from, mneme_error *error)
{
    mn_arena *arena = &job->page;
    mn_buffer text = {0};
    mneme_record *to = &job->records[job->n_records];
    mn_strength kept;
    mneme_status status = mn_read_text(job->read, space->ns, from->rec, 0, from->text_size, &text, error);
    *to = (mneme_record){.id = mn_arena_strdup(arena, from->id),
                         .name_space = space->name,
                         .text = mn_arena_copy(arena, text.data, text.size),
                         .text_size = text.size,
                         .title = mn_arena_strdup(arena, from->title),
                         .session = mn_arena_strdup(arena, from->session),
                         .speaker = mn_arena_strdup(arena, from->speaker),
                         .metadata = mn_arena_strdup(arena, from->metadata),
                         .source = mn_arena_strdup(arena, from->source),
                         .has_time = from->has_time,
                         .time_ms = from->time_ms};
    bool whole = to->id && to->text && !from->title == !to->title && !from->session == !to->session &&
                 !from->speaker == !to->speaker && !from->metadata == !to->metadata && !from->source == !to->source;
    if (status == MNEME_OK && !whole) status = mn_fail_memory(error, "export");
    job->page_bytes += text.size + sizeof *to;
    mn_buffer_free(&text);
    if (status == MNEME_OK) status = mn_read_strength(job->read, space->ns, from->rec, &kept, error);
    if (status == MNEME_OK) mn_copy_life(from, &kept, to);
    if (status == MNEME_OK && (job->options->vectors || from->own_vector))
        status = copy_chunks(job, space, from, to, error);
    if (status == MNEME_OK) job->n_records++;
    return status;
}

/* ---- pages ---- */

/* Entries from *next on, until the page is full. */
static mneme_status fill_page(export_job *job, size_t *next, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    job->n_records = job->page_bytes = 0;
    job->records = mn_arena_array(&job->page, PAGE_RECORDS, sizeof *job->records);
    if (!job->records) return mn_fail_memory(error, "export");
    if (!job->read) status = mn_read_begin(job->memory->store, &job->read, error);
    while (status == MNEME_OK && *next < job->n_entries && job->n_records < PAGE_RECORDS &&
           job->page_bytes < PAGE_BYTES) {
        const entry *e = &job->entries[(*next)++];
        const mn_namespace *space = &job->spaces[e->space];
        mn_record record;
        status = mn_read_record(job->read, space->ns, e->rec, &record, error);
        if (status == MNEME_OK) {
            status = copy_record(job, space, &record, error);
        } else if (status == MNEME_ERR_NOT_FOUND) {
            job->result->vanished++;
            status = MNEME_OK;
        }
    }
    mn_read_end(job->read);
    job->read = NULL;
    return status;
}

static mneme_status hand_out(export_job *job, mneme_take_record take, void *context, mneme_error *error)
{
    const mneme_export_options *options = job->options;
    for (size_t i = 0; i < job->n_records; i++) {
        if (!take(context, &job->records[i])) return mn_fail(error, MNEME_ERR_CANCELLED, "the export was cancelled");
        job->result->records++;
    }
    uint64_t done = job->result->records + job->result->vanished;
    if (options->progress && !options->progress(options->context, done, job->n_entries, "records"))
        return mn_fail(error, MNEME_ERR_CANCELLED, "the export was cancelled");
    return MNEME_OK;
}

mneme_status mneme_export(mneme *memory, const mneme_export_options *options, mneme_take_record take, void *context,
                          mneme_export_result *result, mneme_error *error)
{
    static const mneme_export_options defaults = MNEME_EXPORT_OPTIONS_INIT;
    mneme_export_result own;
    if (!result) result = &own;
    *result = (mneme_export_result){0};
    export_job job = {.memory = memory, .options = options ? options : &defaults, .result = result};
    mneme_status status = list_all(&job, error);
    for (size_t next = 0; status == MNEME_OK && next < job.n_entries;) {
        status = fill_page(&job, &next, error);
        /* What was read before a damaged record is handed out all the same. */
        mneme_error cancelled;
        mneme_status handed = hand_out(&job, take, context, &cancelled);
        if (status == MNEME_OK && handed != MNEME_OK) status = mn_fail(error, handed, "%s", cancelled.message);
        mn_arena_free(&job.page);
    }
    mn_read_end(job.read);
    mn_free(job.entries);
    mn_arena_free(&job.page);
    mn_arena_free(&job.arena);
    return status;
}
