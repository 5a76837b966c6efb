/* export_line.c -- records as lines of JSON. */
#include "cli/export_line.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

/* 0.0123456789 from 123456789 and 10 decimals, without the zeros at its end. */
static void append_decimals(cli_text *out, uint64_t digits, int decimals)
{
    char number[40];
    size_t at = sizeof number;
    while (decimals > 0 && digits % 10 == 0) digits /= 10, decimals--;
    for (int i = 0; digits > 0 || i <= decimals; i++) {
        if (i == decimals && decimals > 0) number[--at] = '.';
        number[--at] = (char)('0' + digits % 10);
        digits /= 10;
    }
    cli_text_append(out, number + at, sizeof number - at);
}

/* Numbers out of the range where the way below is exact enough; a locale may have written a comma. */
static void append_printed(cli_text *out, float value)
{
    char number[40];
    snprintf(number, sizeof number, "%.9g", (double)value);
    for (char *at = number; *at; at++)
        if (*at == ',') *at = '.';
    cli_text_string(out, number);
}

void cli_text_float(cli_text *out, float value)
{
    /* powers[i] = 10^(i+8): up to 10^22 a double holds them exactly, so that digits are off by 1e-7 of the ninth at
     * most, where half of the ninth is what keeps floats apart (Matula 1968, "In-and-out conversions"). */
    static const double powers[] = {1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
    double size = fabs((double)value), least = 1;
    int decimals = 8;
    if (value == 0) {
        cli_text_string(out, signbit(value) ? "-0.0" : "0");
        return;
    }
    if (!(size >= 1e-6 && size < 10)) {
        append_printed(out, value);
        return;
    }
    for (; size < least; least /= 10) decimals++;
    if (decimals > 14) decimals = 14;
    if (value < 0) cli_text_byte(out, '-');
    append_decimals(out, (uint64_t)llround(size * powers[decimals - 8]), decimals);
}

/* ---- text ---- */

static void append_escaped(cli_text *out, const char *data, size_t size)
{
    size_t from = 0;
    cli_text_byte(out, '"');
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)data[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        cli_text_append(out, data + from, i - from);
        from = i + 1;
        if (byte == '"' || byte == '\\')
            cli_text_format(out, "\\%c", byte);
        else if (byte == '\n')
            cli_text_string(out, "\\n");
        else if (byte == '\t')
            cli_text_string(out, "\\t");
        else if (byte == '\r')
            cli_text_string(out, "\\r");
        else
            cli_text_format(out, "\\u%04x", byte);
    }
    cli_text_append(out, data + from, size - from);
    cli_text_byte(out, '"');
}

/* What a sound store holds is valid UTF-8. */
static void append_text(cli_text *out, const char *data, size_t size)
{
    if (cli_utf8_valid(data, size)) {
        append_escaped(out, data, size);
        return;
    }
    cli_text repaired = {0};
    cli_text_repaired(&repaired, data, size);
    append_escaped(out, repaired.data, repaired.size);
    cli_text_free(&repaired);
}

static void append_field(cli_text *out, const char *name, const char *value)
{
    if (!value) return;
    cli_text_format(out, ",\"%s\":", name);
    append_text(out, value, strlen(value));
}

/* As `import` will keep it, so that a second export is the same. */
static void append_metadata(cli_text *out, const char *metadata)
{
    if (!metadata) return;
    json_t *value = json_loads(metadata, JSON_ALLOW_NUL, NULL);
    char *compact = json_is_object(value) ? json_dumps(value, JSON_COMPACT) : NULL;
    if (compact && json_object_size(value) > 0) {
        cli_text_string(out, ",\"metadata\":");
        cli_text_string(out, compact);
    }
    free(compact);
    json_decref(value);
}

/* ISO 8601 where that holds the time; seconds, which `import` reads too, before the year 1 and after 9999. */
static void append_time(cli_text *out, const char *name, bool has_time, int64_t time_ms)
{
    char text[40];
    int64_t back = 0;
    if (!has_time) return;
    mneme_time_format(time_ms, text, sizeof text);
    if (mneme_time_parse(text, &back, NULL) == MNEME_OK && back == time_ms) {
        append_field(out, name, text);
    } else {
        uint64_t size = time_ms < 0 ? 0 - (uint64_t)time_ms : (uint64_t)time_ms;
        cli_text_format(out, ",\"%s\":%s%" PRIu64 ".%03" PRIu64, name, time_ms < 0 ? "-" : "", size / 1000,
                        size % 1000);
    }
}

/* Importance is kept in steps of 1/200. */
static void append_life(cli_text *out, const mneme_record *record)
{
    if (record->has_importance) {
        cli_text_string(out, ",\"importance\":");
        append_decimals(out, (uint64_t)lround((double)record->importance * 1000), 3);
    }
    if (record->pinned) cli_text_string(out, ",\"pinned\":true");
    append_time(out, "expires", record->has_expires, record->expires_ms);
}

/* ---- records ---- */

static void append_vector(cli_text *out, const float *vector, uint32_t dimension)
{
    cli_text_string(out, "\"vector\":[");
    cli_text_reserve(out, (size_t)dimension * 14);
    for (uint32_t i = 0; i < dimension; i++) {
        if (i) cli_text_byte(out, ',');
        cli_text_float(out, vector[i]);
    }
    cli_text_byte(out, ']');
}

static void append_chunks(cli_text *out, const mneme_record *record)
{
    cli_text_string(out, ",\"chunks\":[");
    for (size_t i = 0; i < record->n_chunks; i++) {
        const mneme_chunk *chunk = &record->chunks[i];
        cli_text_format(out, "%s{\"start\":%" PRIu64 ",\"end\":%" PRIu64 ",", i ? "," : "", chunk->start, chunk->end);
        append_vector(out, chunk->vector, record->dimension);
        cli_text_byte(out, '}');
    }
    cli_text_byte(out, ']');
}

void cli_export_record_line(cli_text *out, const mneme_record *record)
{
    cli_text_string(out, "{\"id\":");
    append_text(out, record->id, strlen(record->id));
    append_field(out, "namespace", record->name_space ? record->name_space : "");
    append_field(out, "title", record->title);
    append_field(out, "session", record->session);
    append_field(out, "speaker", record->speaker);
    append_time(out, "time", record->has_time, record->time_ms);
    append_field(out, "source", record->source);
    append_metadata(out, record->metadata);
    append_life(out, record);
    cli_text_string(out, ",\"text\":");
    append_text(out, record->text, record->text_size);
    if (record->vector) {
        cli_text_byte(out, ',');
        append_vector(out, record->vector, record->dimension);
    }
    if (record->chunks) append_chunks(out, record);
    cli_text_string(out, "}\n");
}

/* ---- the first line ---- */

static const char *const vector_types[] = {"f32", "bf16", "int12", "int8"};

/* A type in which all vectors can be kept as they are: theirs; where they differ, f32 can hold any. NULL: no vectors.
 */
static const char *common_vectors(const mneme_stats *stats)
{
    const char *type = NULL;
    for (size_t i = 0; i < stats->n_namespaces; i++) {
        const char *here = stats->namespaces[i].vectors;
        if (!*here) continue;
        type = !type || strcmp(type, here) == 0 ? here : "f32";
    }
    return type;
}

void cli_export_header_line(cli_text *out, const mneme_stats *stats)
{
    const char *vectors = common_vectors(stats);
    cli_text_format(out, "{\"mneme_export\":%d,\"encoder\":", CLI_EXPORT_VERSION);
    append_text(out, stats->encoder, strlen(stats->encoder));
    cli_text_format(out, ",\"fingerprint\":\"%016" PRIx64 "\",\"dimension\":%u", stats->fingerprint, stats->dimension);
    if (vectors) cli_text_format(out, ",\"vectors\":\"%s\"", vectors);
    cli_text_string(out, "}\n");
}

/* The name of a type among ours, which stays; NULL: none of them. */
static const char *find_vectors(const char *name)
{
    for (size_t i = 0; i < sizeof vector_types / sizeof vector_types[0]; i++)
        if (name && strcmp(name, vector_types[i]) == 0) return vector_types[i];
    return NULL;
}

static const char *take_header(const json_t *object, cli_export_header *out)
{
    const char *encoder = json_string_value(json_object_get(object, "encoder"));
    const char *fingerprint = json_string_value(json_object_get(object, "fingerprint"));
    char *end = NULL;
    if (json_integer_value(json_object_get(object, "mneme_export")) != CLI_EXPORT_VERSION)
        return "an export of another version of mneme; import it with that one";
    if (!encoder || !fingerprint || strlen(fingerprint) != 16)
        return "the first line of an export must hold \"encoder\" and \"fingerprint\" (16 hexadecimal digits)";
    out->fingerprint = strtoull(fingerprint, &end, 16);
    if (*end) return "the first line of an export: \"fingerprint\" must be 16 hexadecimal digits";
    const json_t *vectors = json_object_get(object, "vectors");
    out->vectors = find_vectors(json_string_value(vectors));
    if (vectors && !out->vectors) return "the first line of an export: \"vectors\" must be f32, bf16, int12 or int8";
    out->encoder = cli_strdup(encoder);
    out->dimension = (uint32_t)json_integer_value(json_object_get(object, "dimension"));
    return NULL;
}

bool cli_export_header_read(const char *line, size_t size, cli_export_header *out, const char **reason)
{
    static const char mark[] = "\"mneme_export\"";
    *out = (cli_export_header){0};
    *reason = NULL;
    if (size > 4096 || !memmem(line, size, mark, sizeof mark - 1)) return false;
    json_t *object = json_loadb(line, size, JSON_ALLOW_NUL, NULL);
    bool is_header = json_is_object(object) && json_object_get(object, "mneme_export") != NULL;
    if (is_header) *reason = take_header(object, out);
    json_decref(object);
    return is_header;
}
