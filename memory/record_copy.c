/* record_copy.c -- taking a record out of the store. */
#include "memory/record_copy.h"

mneme_status mn_copy_open(mn_read *read, const mn_namespace *space, mn_arena *arena, mn_copy_source *out,
                          mneme_error *error)
{
    *out = (mn_copy_source){.read = read, .space = space};
    mneme_status status = mn_read_rows(read, space->ns, arena, &out->rows, error);
    if (status == MNEME_OK && space->dimension) status = mn_read_vectors(read, space->ns, arena, &out->vectors, error);
    return status;
}

bool mn_copy_vector(const mn_copy_source *source, uint32_t row, float *out)
{
    return source->space->dimension && mn_vector_of(&source->vectors, row, out);
}

static mneme_status copy_labels(const mn_record *from, const char *name_space, mn_arena *arena, mneme_record *to,
                                mneme_error *error)
{
    const char *const strings[] = {from->id,       from->title,  from->session, from->speaker,
                                   from->metadata, from->source, name_space};
    const char **copies[] = {&to->id,       &to->title,  &to->session,   &to->speaker,
                             &to->metadata, &to->source, &to->name_space};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        *copies[i] = mn_arena_strdup(arena, strings[i]);
        if (strings[i] && !*copies[i]) return mn_fail_memory(error, "record");
    }
    to->has_time = from->has_time;
    to->time_ms = from->time_ms;
    to->has_importance = from->importance_given;
    to->importance = from->importance;
    return MNEME_OK;
}

static mneme_status copy_text(const mn_copy_source *source, const mn_record *from, mn_arena *arena, mneme_record *to,
                              mneme_error *error)
{
    mn_buffer text = {0};
    mneme_status status = mn_read_text(source->read, source->space->ns, from->rec, 0, from->text_size, &text, error);
    if (status == MNEME_OK) {
        to->text = mn_arena_copy(arena, text.data ? text.data : "", text.size);
        to->text_size = text.size;
        if (!to->text) status = mn_fail_memory(error, "record");
    }
    mn_buffer_free(&text);
    return status;
}

static mneme_status copy_chunks(const mn_copy_source *source, const mn_record *from, mn_arena *arena,
                                mn_record_copy *to, mneme_error *error)
{
    uint32_t dimension = source->space->dimension;
    if (from->first_row > source->rows.n_rows || from->n_chunks > source->rows.n_rows - from->first_row)
        return mn_fail(error, MNEME_ERR_DAMAGED, "record \"%s\": its rows are past the last row", from->id);
    mn_new_chunk *chunks = mn_arena_array(arena, from->n_chunks, sizeof *chunks);
    if (!chunks) return mn_fail_memory(error, "record");
    for (uint32_t i = 0; i < from->n_chunks; i++) {
        const mn_row *row = mn_row_at(&source->rows, from->first_row + i);
        float *vector = mn_arena_array(arena, dimension, sizeof *vector);
        if (!vector) return mn_fail_memory(error, "record");
        bool there = mn_copy_vector(source, from->first_row + i, vector);
        chunks[i] = (mn_new_chunk){.start = row->start, .end = row->end, .vector = there ? vector : NULL};
    }
    if (from->own_vector && from->n_chunks) to->record.vector = chunks[0].vector;
    to->record.dimension = to->record.vector ? dimension : 0;
    to->put.chunks = chunks;
    to->put.n_chunks = from->n_chunks;
    to->put.dimension = from->n_chunks ? dimension : 0;
    return MNEME_OK;
}

mneme_status mn_copy_record(const mn_copy_source *source, uint32_t rec, mn_arena *arena, mn_record_copy **out,
                            mneme_error *error)
{
    *out = NULL;
    mn_record from;
    mn_record_copy *to = mn_arena_alloc(arena, sizeof *to);
    if (!to) return mn_fail_memory(error, "record");
    *to = (mn_record_copy){0};
    mneme_status status = mn_read_record(source->read, source->space->ns, rec, &from, error);
    if (status == MNEME_OK) status = mn_read_strength(source->read, source->space->ns, rec, &to->strength, error);
    if (status == MNEME_OK) status = copy_labels(&from, source->space->name, arena, &to->record, error);
    if (status == MNEME_OK) status = copy_text(source, &from, arena, &to->record, error);
    if (status == MNEME_OK) status = copy_chunks(source, &from, arena, to, error);
    if (status != MNEME_OK) return status;
    to->put.record = &to->record;
    to->put.strength = &to->strength;
    to->put.hash[0] = from.hash[0];
    to->put.hash[1] = from.hash[1];
    to->put.written_ms = from.written_ms;
    to->put.has_estimate = from.has_importance;
    to->put.estimate = from.importance;
    *out = to;
    return MNEME_OK;
}

void mn_copy_life(const mn_record *from, const mn_strength *kept, mneme_record *to)
{
    to->has_importance = from->importance_given;
    to->importance = from->importance_given ? from->importance : 0;
    to->pinned = kept->pinned;
    to->has_expires = kept->has_expires;
    to->expires_ms = kept->expires_ms;
}
