/* record_json.c -- one JSON object into a record: the fields of BEIR's corpora, and ours.
 *
 *     _id or id   text or whole number     title, namespace, session, speaker, source   text
 *     text        text                     time      ISO 8601, or seconds since 1970
 *     metadata    object                   vector    array of numbers
 *     chunks      array of {"start","end","vector"}, as `mneme export --vectors` writes it
 *
 *     importance  number 0..1              expires   ISO 8601, or seconds since 1970
 *     pinned      true or false            ttl       seconds from now
 *
 * Fields of other names are left out, as BEIR's loaders do. Invalid UTF-8 is repaired before parsing. */
#include "common/buffer.h"
#include "common/memory.h"
#include "common/utf8.h"
#include "memory/json_vectors.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

typedef struct record_block {
    mneme_record record; /* first: what the caller sees */
    mn_arena arena;
    mn_json_vectors vectors; /* while it is parsed */
} record_block;

void mneme_record_free(mneme_record *record)
{
    if (!record) return;
    record_block *block = (record_block *)record;
    mn_arena_free(&block->arena);
    mn_free(block);
}

/* jansson's parser recurses: refuse deep nesting before it sees it. */
static bool too_deep(const char *json, size_t size)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        if (in_string) {
            if (json[i] == '\\')
                i++;
            else
                in_string = json[i] != '"';
        } else if (json[i] == '"') {
            in_string = true;
        } else if (json[i] == '{' || json[i] == '[') {
            if (++depth > DEPTH_MAX) return true;
        } else if ((json[i] == '}' || json[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

/* A text field without NUL bytes; missing or null leaves *out NULL. */
static mneme_status take_name(record_block *block, const json_t *object, const char *field, const char **out,
                              mneme_error *error)
{
    const json_t *value = json_object_get(object, field);
    if (!value || json_is_null(value)) return MNEME_OK;
    if (!json_is_string(value)) return mn_fail(error, MNEME_ERR_RECORD, "field \"%s\" must be a text", field);
    size_t size = json_string_length(value);
    if (strlen(json_string_value(value)) != size)
        return mn_fail(error, MNEME_ERR_RECORD, "field \"%s\" holds a NUL character", field);
    *out = mn_arena_copy(&block->arena, json_string_value(value), size);
    return *out ? MNEME_OK : mn_fail_memory(error, "record");
}

static mneme_status take_id(record_block *block, const json_t *object, mneme_error *error)
{
    const char *field = json_object_get(object, "_id") ? "_id" : "id";
    const json_t *value = json_object_get(object, field);
    if (!json_is_integer(value)) return take_name(block, object, field, &block->record.id, error);
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    block->record.id = mn_arena_strdup(&block->arena, number);
    return block->record.id ? MNEME_OK : mn_fail_memory(error, "record");
}

static mneme_status take_text(record_block *block, const json_t *object, mneme_error *error)
{
    const json_t *value = json_object_get(object, "text");
    if (!value || json_is_null(value)) return MNEME_OK;
    if (!json_is_string(value)) return mn_fail(error, MNEME_ERR_RECORD, "field \"text\" must be a text");
    block->record.text_size = json_string_length(value);
    block->record.text = mn_arena_copy(&block->arena, json_string_value(value), block->record.text_size);
    return block->record.text ? MNEME_OK : mn_fail_memory(error, "record");
}

static mneme_status take_time(const json_t *object, const char *field, bool *has, int64_t *time_ms, mneme_error *error)
{
    const json_t *value = json_object_get(object, field);
    if (!value || json_is_null(value)) return MNEME_OK;
    *has = true;
    if (json_is_string(value)) {
        if (mneme_time_parse(json_string_value(value), time_ms, error) == MNEME_OK) return MNEME_OK;
        mn_error_prefix(error, "field \"%s\": ", field);
        return error ? (error->code = MNEME_ERR_RECORD) : MNEME_ERR_RECORD;
    }
    double seconds = json_number_value(value);
    if (!json_is_number(value) || !(fabs(seconds) < 1e12))
        return mn_fail(error, MNEME_ERR_RECORD, "field \"%s\" must be an ISO 8601 text, or seconds since 1970", field);
    *time_ms = (int64_t)llround(seconds * 1000.0);
    return MNEME_OK;
}

/* importance, pinned, expires, ttl */
static mneme_status take_life(mneme_record *record, const json_t *object, mneme_error *error)
{
    const json_t *importance = json_object_get(object, "importance"), *pinned = json_object_get(object, "pinned");
    const json_t *ttl = json_object_get(object, "ttl");
    double number = json_number_value(importance), seconds = json_number_value(ttl);
    if (importance && !json_is_null(importance)) {
        if (!json_is_number(importance) || !(number >= 0 && number <= 1))
            return mn_fail(error, MNEME_ERR_RECORD, "field \"importance\" must be a number from 0 to 1");
        record->has_importance = true;
        record->importance = (float)number;
    }
    if (pinned && !json_is_null(pinned) && !json_is_boolean(pinned))
        return mn_fail(error, MNEME_ERR_RECORD, "field \"pinned\" must be true or false");
    record->pinned = json_is_true(pinned);
    if (ttl && !json_is_null(ttl)) {
        if (!json_is_number(ttl) || !(seconds > 0 && seconds < 1e12))
            return mn_fail(error, MNEME_ERR_RECORD, "field \"ttl\" must be a number of seconds above 0");
        record->ttl_ms = (int64_t)llround(seconds * 1000.0);
        if (record->ttl_ms == 0) record->ttl_ms = 1;
    }
    return take_time(object, "expires", &record->has_expires, &record->expires_ms, error);
}

static mneme_status take_metadata(record_block *block, const json_t *object, mneme_error *error)
{
    const json_t *value = json_object_get(object, "metadata");
    if (!value || json_is_null(value)) return MNEME_OK;
    if (!json_is_object(value)) return mn_fail(error, MNEME_ERR_RECORD, "field \"metadata\" must be an object");
    if (json_object_size(value) == 0) return MNEME_OK;
    char *text = json_dumps(value, JSON_COMPACT);
    block->record.metadata = text ? mn_arena_strdup(&block->arena, text) : NULL;
    free(text);
    return block->record.metadata ? MNEME_OK : mn_fail_memory(error, "record");
}

/* An array of numbers as floats in the arena; `what` names it. */
static mneme_status read_numbers(record_block *block, const json_t *value, const char *what, const float **out,
                                 uint32_t *dimension, mneme_error *error)
{
    const mn_json_vector *taken =
        json_is_integer(value) ? mn_json_vector_of(&block->vectors, json_integer_value(value)) : NULL;
    if (taken) {
        *out = taken->numbers;
        *dimension = taken->n;
        return MNEME_OK;
    }
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n == 0 || n > 65536)
        return mn_fail(error, MNEME_ERR_RECORD, "field \"%s\" must be an array of 1 to 65536 numbers", what);
    float *vector = mn_arena_array(&block->arena, n, sizeof *vector);
    if (!vector) return mn_fail_memory(error, "record");
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i);
        vector[i] = (float)json_number_value(item);
        if (!json_is_number(item) || !isfinite(vector[i]))
            return mn_fail(error, MNEME_ERR_RECORD, "field \"%s\": element %zu is not a number", what, i);
    }
    *out = vector;
    *dimension = (uint32_t)n;
    return MNEME_OK;
}

static mneme_status take_vector(record_block *block, const json_t *object, mneme_error *error)
{
    const json_t *value = json_object_get(object, "vector");
    if (!value || json_is_null(value)) return MNEME_OK;
    return read_numbers(block, value, "vector", &block->record.vector, &block->record.dimension, error);
}

static mneme_status take_offset(const json_t *chunk, const char *field, uint64_t *out, mneme_error *error)
{
    const json_t *value = json_object_get(chunk, field);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return mn_fail(error, MNEME_ERR_RECORD, "field \"chunks\": \"%s\" must be a number of bytes", field);
    *out = (uint64_t)json_integer_value(value);
    return MNEME_OK;
}

/* A number of chunks, which `get --json` shows, is not an array and is left out like a field of another name. */
static mneme_status take_chunks(record_block *block, const json_t *object, mneme_error *error)
{
    const json_t *value = json_object_get(object, "chunks");
    if (!json_is_array(value)) return MNEME_OK;
    mneme_record *r = &block->record;
    size_t n = json_array_size(value);
    mneme_chunk *chunks = mn_arena_array(&block->arena, n ? n : 1, sizeof *chunks);
    if (!chunks) return mn_fail_memory(error, "record");
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i);
        uint32_t dimension = 0;
        mneme_status status = take_offset(item, "start", &chunks[i].start, error);
        if (status == MNEME_OK) status = take_offset(item, "end", &chunks[i].end, error);
        if (status == MNEME_OK)
            status =
                read_numbers(block, json_object_get(item, "vector"), "chunks", &chunks[i].vector, &dimension, error);
        if (status != MNEME_OK) return status;
        if (i > 0 && dimension != r->dimension)
            return mn_fail(error, MNEME_ERR_RECORD, "field \"chunks\": vectors of dimension %u and %u", r->dimension,
                           dimension);
        r->dimension = dimension;
    }
    r->chunks = chunks;
    r->n_chunks = n;
    return MNEME_OK;
}

static mneme_status take_fields(record_block *block, const json_t *object, mneme_error *error)
{
    mneme_record *r = &block->record;
    const struct {
        const char *field;
        const char **out;
    } names[] = {{"title", &r->title},
                 {"namespace", &r->name_space},
                 {"session", &r->session},
                 {"speaker", &r->speaker},
                 {"source", &r->source}};
    mneme_status status = take_id(block, object, error);
    for (size_t i = 0; i < sizeof names / sizeof names[0] && status == MNEME_OK; i++)
        status = take_name(block, object, names[i].field, names[i].out, error);
    if (status == MNEME_OK) status = take_text(block, object, error);
    if (status == MNEME_OK) status = take_time(object, "time", &r->has_time, &r->time_ms, error);
    if (status == MNEME_OK) status = take_life(r, object, error);
    if (status == MNEME_OK) status = take_metadata(block, object, error);
    if (status == MNEME_OK) status = take_vector(block, object, error);
    if (status == MNEME_OK && !r->vector) status = take_chunks(block, object, error);
    if (status == MNEME_OK && !r->text && !r->title && !r->vector)
        status = mn_fail(error, MNEME_ERR_RECORD, "a record without text");
    return status;
}

static mneme_status load_object(const char *json, size_t size, json_t **out, mneme_error *error)
{
    json_error_t problem;
    *out = NULL;
    if (too_deep(json, size)) return mn_fail(error, MNEME_ERR_SYNTAX, "JSON nested deeper than %d", DEPTH_MAX);
    *out = json_loadb(json, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!*out) return mn_fail(error, MNEME_ERR_SYNTAX, "not JSON at byte %d: %s", problem.position, problem.text);
    if (!json_is_object(*out)) return mn_fail(error, MNEME_ERR_SYNTAX, "a JSON object is wanted");
    return MNEME_OK;
}

/* The object, with its vectors in block->vectors where they could be taken out. */
static mneme_status load_line(record_block *block, const char *json, size_t size, json_t **out, mneme_error *error)
{
    mn_buffer rest = {0};
    *out = NULL;
    mneme_status status = mn_json_vectors_take(json, size, &block->arena, &block->vectors, &rest, error);
    if (status == MNEME_OK && block->vectors.n) status = load_object(rest.data, rest.size, out, NULL);
    mn_buffer_free(&rest);
    if (status == MNEME_ERR_MEMORY || *out) return status;
    mn_json_vectors_free(&block->vectors);
    return load_object(json, size, out, error); /* its errors tell the place in the whole line */
}

mneme_status mneme_record_parse(const char *json, size_t size, mneme_record **out, mneme_error *error)
{
    *out = NULL;
    mn_buffer repaired = {0};
    json_t *object = NULL;
    record_block *block = mn_alloc_zeroed(1, sizeof *block);
    mneme_status status = block ? MNEME_OK : mn_fail_memory(error, "record");
    if (status == MNEME_OK && !mn_utf8_valid(json, size)) {
        mn_utf8_repair(json, size, &repaired);
        if (repaired.failed) status = mn_fail_memory(error, "record");
        json = repaired.data;
        size = repaired.size;
    }
    if (status == MNEME_OK) status = load_line(block, json, size, &object, error);
    if (status == MNEME_OK) status = take_fields(block, object, error);
    json_decref(object);
    if (block) mn_json_vectors_free(&block->vectors);
    mn_buffer_free(&repaired);
    if (status == MNEME_OK)
        *out = &block->record;
    else if (block)
        mneme_record_free(&block->record);
    return status;
}
