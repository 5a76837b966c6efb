/* add_vectors.c -- vectors that records bring along. */
#include "memory/add_vectors.h"

#include "common/utf8.h"

#include <math.h>
#include <string.h>

enum { DIMENSION_MAX = 65536 };

/* How far the sum of squares may be from 1. A vector of floats that was scaled once is within 1e-7 (each number is off
 * by 2^-25 of itself at most); the smaller types that a store may keep vectors in are within 1e-3, which `check`
 * allows. */
static const double scaled_once = 1e-6, stored = 1e-2;

static double squares_of(const float *vector, uint32_t dimension)
{
    double squares = 0;
    for (uint32_t i = 0; i < dimension; i++) squares += (double)vector[i] * (double)vector[i];
    return squares;
}

/* ---- check ---- */

static mneme_status check_dimension(const mneme_record *record, mneme_error *error)
{
    if (record->dimension >= 1 && record->dimension <= DIMENSION_MAX) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_DIMENSION, "record \"%s\": a vector of dimension %u; it must be 1 to %d",
                   record->id, record->dimension, DIMENSION_MAX);
}

static mneme_status check_numbers(const mneme_record *record, const float *vector, mneme_error *error)
{
    for (uint32_t i = 0; i < record->dimension; i++)
        if (!isfinite(vector[i]))
            return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": element %u of the vector is not a number",
                           record->id, i);
    if (!(squares_of(vector, record->dimension) > 0))
        return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": a vector of length 0", record->id);
    return MNEME_OK;
}

static bool is_border(const mneme_record *record, uint64_t offset)
{
    return offset <= record->text_size && mn_utf8_floor(record->text, record->text_size, (size_t)offset) == offset;
}

static mneme_status check_chunk(const mneme_record *record, size_t i, mneme_error *error)
{
    const mneme_chunk *chunk = &record->chunks[i];
    if (chunk->start > chunk->end || chunk->end > record->text_size)
        return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": chunk %zu is bytes %llu to %llu of a text of %zu",
                       record->id, i, (unsigned long long)chunk->start, (unsigned long long)chunk->end,
                       record->text_size);
    if (!is_border(record, chunk->start) || !is_border(record, chunk->end))
        return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": chunk %zu splits a character of the text", record->id,
                       i);
    if (i > 0 && chunk->start < record->chunks[i - 1].start)
        return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": chunk %zu begins before chunk %zu", record->id, i,
                       i - 1);
    if (!chunk->vector)
        return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": chunk %zu has no vector", record->id, i);
    return check_numbers(record, chunk->vector, error);
}

mneme_status mn_add_vectors_check(const mneme_record *record, mneme_error *error)
{
    if (record->vector && record->chunks)
        return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": both a vector of its own and chunks", record->id);
    mneme_status status = MNEME_OK;
    if (record->vector || record->n_chunks) status = check_dimension(record, error);
    if (status == MNEME_OK && record->vector) status = check_numbers(record, record->vector, error);
    for (size_t i = 0; record->chunks && i < record->n_chunks && status == MNEME_OK; i++)
        status = check_chunk(record, i, error);
    return status;
}

/* ---- scale ---- */

static const float *scaled(const float *vector, uint32_t dimension, bool from_store, mn_arena *arena)
{
    double squares = squares_of(vector, dimension);
    if (fabs(squares - 1.0) <= (from_store ? stored : scaled_once)) return vector;
    float *unit = mn_arena_array(arena, dimension, sizeof *unit);
    if (!unit) return NULL;
    double scale = 1.0 / sqrt(squares);
    for (uint32_t i = 0; i < dimension; i++) unit[i] = (float)((double)vector[i] * scale);
    return unit;
}

mneme_status mn_add_vectors_scale(mneme_record *record, bool from_store, mn_arena *arena, mneme_error *error)
{
    if (record->vector) {
        record->vector = scaled(record->vector, record->dimension, from_store, arena);
        return record->vector ? MNEME_OK : mn_fail_memory(error, "vector");
    }
    if (!record->chunks || record->n_chunks == 0) return MNEME_OK;
    mneme_chunk *chunks = mn_arena_array(arena, record->n_chunks, sizeof *chunks);
    if (!chunks) return mn_fail_memory(error, "chunks");
    for (size_t i = 0; i < record->n_chunks; i++) {
        chunks[i] = record->chunks[i];
        chunks[i].vector = scaled(chunks[i].vector, record->dimension, from_store, arena);
        if (!chunks[i].vector) return mn_fail_memory(error, "vector");
    }
    record->chunks = chunks;
    return MNEME_OK;
}

/* ---- whose vectors ---- */

bool mn_add_needs_encoder(const mneme_record *record)
{
    return !record->vector && !record->chunks;
}

static mneme_status other_encoder(const mneme_add_options *options, const char *where, const char *name,
                                  uint64_t fingerprint, mneme_error *error)
{
    return mn_fail(
        error, MNEME_ERR_ENCODER,
        "the records' vectors were made by encoder %s (%016llx), those of %s by %s (%016llx); add them to a new "
        "store, or without vectors",
        options->encoder, (unsigned long long)options->fingerprint, where, name, (unsigned long long)fingerprint);
}

mneme_status mn_add_vectors_check_encoder(mneme *memory, const mneme_add_options *options, const mneme_encoder *encoder,
                                          mneme_error *error)
{
    if (!options->encoder || !*options->encoder)
        return mn_fail(error, MNEME_ERR_USAGE,
                       "records bring chunks with vectors, but not by which encoder: they need "
                       "mneme_add_options.encoder, the first line of an export");
    if (encoder) {
        mn_encoder_stamp now = mn_memory_stamp(encoder);
        if (now.fingerprint != options->fingerprint)
            return other_encoder(options, "the other records", now.name, now.fingerprint, error);
    }
    mn_read *read = NULL;
    mn_encoder_stamp stored_stamp;
    mneme_status status = mn_read_begin(memory->store, &read, error);
    if (status != MNEME_OK) return status;
    status = mn_read_encoder(read, &stored_stamp, error);
    if (status == MNEME_OK && *stored_stamp.name && stored_stamp.fingerprint != options->fingerprint)
        status =
            other_encoder(options, mn_store_path(memory->store), stored_stamp.name, stored_stamp.fingerprint, error);
    mn_read_end(read);
    return status;
}

mneme_status mn_add_vectors_type(const mneme *memory, const mneme_add_options *options, mn_vector_type *out,
                                 bool *takes, mneme_error *error)
{
    mneme_setting setting;
    *takes = false;
    *out = MN_VECTORS_F32;
    if (!options->vectors) return MNEME_OK;
    if (!mn_vector_type_parse(options->vectors, out))
        return mn_fail(error, MNEME_ERR_USAGE, "vectors are kept as f32, bf16, int12 or int8, not as \"%s\"",
                       options->vectors);
    *takes = mneme_settings_find(memory->settings, "store.vectors", &setting) && strcmp(setting.origin, "default") == 0;
    return MNEME_OK;
}
