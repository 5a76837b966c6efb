/* model_story.c -- reading the object "mneme" of a config.json. The folder may come from anywhere: what is no printable
 * text is left out, and what is long is cut. */
#include "encoder/model_story.h"

#include "common/buffer.h"
#include "common/file.h"
#include "common/json.h"
#include "common/memory.h"

#include <jansson.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 1 << 20, DEPTH_MAX = 32, LINE_MAX_BYTES = 400 };

/* The text without control characters, cut between two characters of it. */
static void append_clean(mn_buffer *out, const char *text)
{
    size_t size = strlen(text);
    if (size > LINE_MAX_BYTES) {
        size = LINE_MAX_BYTES;
        while (size > 0 && ((unsigned char)text[size] & 0xC0u) == 0x80u) size--;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool control = byte < 0x20 || byte == 0x7F;
        if (byte == 0xC2 && i + 1 < size && (unsigned char)text[i + 1] < 0xA0) { /* U+0080..U+009F */
            control = true;
            i++;
        }
        mn_buffer_byte(out, control ? ' ' : (char)byte);
    }
}

static char *take(mn_buffer *buffer, bool *failed)
{
    char *text = buffer->data;
    if (buffer->failed) {
        *failed = true;
        mn_buffer_free(buffer);
        return NULL;
    }
    *buffer = (mn_buffer){0};
    return text;
}

static char *line_of(const json_t *object, const char *key, bool *failed)
{
    mn_buffer line = {0};
    const char *text = json_string_value(json_object_get(object, key));
    if (text && *text) append_clean(&line, text);
    return take(&line, failed);
}

/* "name value, outer.name value"; two levels. */
static void list_measured(mn_buffer *out, const char *outer, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (out->size > LINE_MAX_BYTES) return;
        if (json_is_object(value)) {
            if (!outer) list_measured(out, key, value);
            continue;
        }
        if (!json_is_number(value) && !json_is_string(value)) continue;
        if (out->size) mn_buffer_text(out, ", ");
        if (outer) append_clean(out, outer);
        if (outer) mn_buffer_byte(out, '.');
        append_clean(out, key);
        mn_buffer_byte(out, ' ');
        if (json_is_string(value))
            append_clean(out, json_string_value(value));
        else
            mn_buffer_format(out, "%.6g", json_number_value(value));
    }
}

mneme_status mn_model_story_parse(const char *text, size_t size, mn_model_story *out, mneme_error *error)
{
    *out = (mn_model_story){0};
    if (size == 0 || mn_json_deeper_than(text, size, DEPTH_MAX)) return MNEME_OK;
    json_t *config = json_loadb(text, size, JSON_DECODE_INT_AS_REAL, NULL);
    const json_t *ours = json_object_get(config, "mneme");
    mn_buffer measured = {0};
    bool failed = false;
    out->teacher = line_of(ours, json_object_get(ours, "teacher") ? "teacher" : "distilled_from", &failed);
    out->trained_from = line_of(ours, "trained_from", &failed);
    out->trained_on = line_of(ours, "trained_on", &failed);
    out->compressed = line_of(ours, "compressed", &failed);
    out->vocabulary = line_of(ours, "vocabulary", &failed);
    list_measured(&measured, NULL, json_object_get(ours, "measured"));
    out->measured = take(&measured, &failed);
    json_decref(config);
    if (!failed) return MNEME_OK;
    mn_model_story_free(out);
    return mn_fail_memory(error, "config.json");
}

mneme_status mn_model_story_read(const char *folder, mn_model_story *out, mneme_error *error)
{
    *out = (mn_model_story){0};
    mn_buffer text = {0};
    char *path = mn_path_join(folder, "config.json");
    mneme_status status = MNEME_OK;
    if (!path)
        status = mn_fail_memory(error, "config.json");
    else if (mn_file_read(path, CONFIG_MAX_BYTES, &text, NULL) == MNEME_OK)
        status = mn_model_story_parse(text.data, text.size, out, error);
    mn_buffer_free(&text);
    mn_free(path);
    return status;
}

void mn_model_story_free(mn_model_story *story)
{
    mn_free(story->teacher);
    mn_free(story->trained_from);
    mn_free(story->trained_on);
    mn_free(story->compressed);
    mn_free(story->vocabulary);
    mn_free(story->measured);
    *story = (mn_model_story){0};
}
