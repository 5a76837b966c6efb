/* field_keys.c -- what the index keeps of a record, as keys:
 *
 *     key    ns | field | 00 | type | value        (dup) value: rec
 *
 *     field  "time", "speaker", "source"; "." and the path of a metadata value ("." and key "." key ...);
 *            "*" alone: the record's metadata is not in the index (too many values, names too long, too deep)
 *     type   mn_field_type, + 16 for an element of an array
 *     value  boolean   1 byte
 *            number    8 bytes whose order is that of the doubles: big-endian, all bits turned when negative, else the
 *                      sign bit
 *            time      8 bytes: steps of 2^22 ms (70 minutes) since 1970, so that neighbours share a key
 *            text      up to 64 bytes; what is longer is cut there and its XXH3-64 follows
 *            null, other (an array or object)    none
 *
 * So keys of one type sort as their values do, but for texts that agree in their first 64 bytes. A text that is a date
 * has a second key as a time, because expressions compare it so. */
#include "memstore/field_index.h"

#include <jansson.h>
#include <string.h>
#include <xxhash.h>

enum {
    TEXT_MAX = 64,
    TIME_SHIFT = 22,
    DEPTH_MAX = 8, /* objects within objects whose values are indexed */
    ELEMENT = 16,
};

/* ---- keys -------------------------------------------------------------------------------------------------------- */

void mn_field_key_begin(key_bytes *key, uint32_t ns, const char *field)
{
    key->size = 0;
    key_u32(key, ns);
    key_text(key, field, strlen(field) + 1);
}

static void key_u64(key_bytes *key, uint64_t value)
{
    key_u32(key, (uint32_t)(value >> 32));
    key_u32(key, (uint32_t)value);
}

static uint64_t ordered_number(double number)
{
    uint64_t bits = 0;
    if (number == 0) number = 0; /* -0 equals 0 */
    memcpy(&bits, &number, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

static uint64_t ordered_time(int64_t time_ms)
{
    const int64_t step = (int64_t)1 << TIME_SHIFT;
    int64_t steps = time_ms / step - (time_ms % step < 0);
    return (uint64_t)steps ^ (uint64_t)1 << 63;
}

void mn_field_key_value(key_bytes *key, const mn_field_value *value, bool whole)
{
    char type = (char)(value->type | (value->element ? ELEMENT : 0));
    key_text(key, &type, 1);
    if (value->type == MN_FIELD_BOOLEAN) key_text(key, value->boolean ? "\1" : "\0", 1);
    if (value->type == MN_FIELD_NUMBER) key_u64(key, ordered_number(value->number));
    if (value->type == MN_FIELD_TIME) key_u64(key, ordered_time(value->time_ms));
    if (value->type != MN_FIELD_TEXT) return;
    size_t size = strlen(value->text);
    key_text(key, value->text, size < TEXT_MAX ? size : TEXT_MAX);
    if (size > TEXT_MAX && whole) key_u64(key, XXH3_64bits(value->text, size));
}

bool mn_field_text_of(const MDB_val *key, size_t header, const char **text, size_t *size)
{
    if (key->mv_size < header) return false;
    *text = (const char *)key->mv_data + header;
    *size = key->mv_size - header;
    if (*size <= TEXT_MAX) return true;
    *size = TEXT_MAX;
    return false;
}

/* ---- collecting -------------------------------------------------------------------------------------------------- */

typedef struct collector {
    const field_source *source;
    mn_arena *arena;
    field_keys *keys;
    char path[MN_FIELD_NAME_MAX + 1]; /* "." and the names on the way down */
    bool too_much;                    /* more than the index takes of one record */
    mneme_status status;
    mneme_error *error;
} collector;

static void add_key(collector *c, const key_bytes *key)
{
    for (size_t i = 0; i < c->keys->n; i++)
        if (c->keys->items[i].size == key->size && memcmp(c->keys->items[i].bytes, key->bytes, key->size) == 0) return;
    if (c->keys->n == sizeof c->keys->items / sizeof c->keys->items[0]) {
        c->too_much = true;
        return;
    }
    const unsigned char *bytes = mn_arena_copy(c->arena, key->bytes, key->size);
    if (!bytes)
        c->status = mn_fail_memory(c->error, "fields");
    else
        c->keys->items[c->keys->n++] = (struct field_key){.bytes = bytes, .size = key->size};
}

static void add_value(collector *c, const char *field, mn_field_value value)
{
    key_bytes key;
    mn_field_key_begin(&key, c->source->ns, field);
    mn_field_key_value(&key, &value, true);
    add_key(c, &key);
}

static void add_scalar(collector *c, const json_t *json, bool element)
{
    mn_field_value value = {.element = element};
    if (json_is_null(json)) value.type = MN_FIELD_NULL;
    if (json_is_boolean(json)) value.type = MN_FIELD_BOOLEAN, value.boolean = json_is_true(json);
    if (json_is_number(json)) value.type = MN_FIELD_NUMBER, value.number = json_number_value(json);
    if (json_is_string(json)) value.type = MN_FIELD_TEXT, value.text = json_string_value(json);
    if (json_is_array(json) || json_is_object(json)) value.type = MN_FIELD_OTHER;
    add_value(c, c->path, value);
    if (value.type != MN_FIELD_TEXT || mneme_time_parse(value.text, &value.time_ms, NULL) != MNEME_OK) return;
    value.type = MN_FIELD_TIME;
    add_value(c, c->path, value);
}

/* The values below an object; size: of the path that leads to it. */
static void add_object(collector *c, json_t *object, size_t size, unsigned depth)
{
    const char *name;
    json_t *json;
    if (depth > DEPTH_MAX) c->too_much = true;
    json_object_foreach(object, name, json)
    {
        size_t length = strlen(name), end = size + 1 + length;
        if (end > MN_FIELD_NAME_MAX) c->too_much = true;
        if (c->too_much || c->status != MNEME_OK) return;
        c->path[size] = '.';
        memcpy(c->path + size + 1, name, length + 1);
        add_scalar(c, json, false);
        if (json_is_object(json)) add_object(c, json, end, depth + 1);
        for (size_t i = 0; json_is_array(json) && i < json_array_size(json) && !c->too_much; i++)
            add_scalar(c, json_array_get(json, i), true);
        if (c->keys->n > MN_FIELD_VALUES_MAX) c->too_much = true;
    }
}

static void add_metadata(collector *c)
{
    json_error_t problem;
    json_t *metadata = json_loads(c->source->metadata, JSON_ALLOW_NUL, &problem);
    if (!metadata && json_error_code(&problem) == json_error_out_of_memory)
        c->status = mn_fail_memory(c->error, "metadata");
    if (json_is_object(metadata)) add_object(c, metadata, 0, 0);
    json_decref(metadata);
    if (c->status != MNEME_OK || !c->too_much) return;
    key_bytes key;
    c->keys->n = 0;
    mn_field_key_begin(&key, c->source->ns, MN_FIELD_UNLISTED);
    add_key(c, &key);
}

mneme_status mn_field_keys(const field_source *source, mn_arena *arena, field_keys *out, mneme_error *error)
{
    out->n = 0;
    collector c = {.source = source, .arena = arena, .keys = out, .error = error};
    if (source->metadata) add_metadata(&c);
    if (source->has_time) add_value(&c, "time", (mn_field_value){.type = MN_FIELD_TIME, .time_ms = source->time_ms});
    if (source->speaker) add_value(&c, "speaker", (mn_field_value){.type = MN_FIELD_TEXT, .text = source->speaker});
    if (source->source) add_value(&c, "source", (mn_field_value){.type = MN_FIELD_TEXT, .text = source->source});
    return c.status;
}
