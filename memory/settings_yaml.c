/* settings_yaml.c -- a settings file: nested maps of scalars, whose path with dots is the setting's name.
 *
 *     retrieval:
 *       k: 20              # retrieval.k
 *
 * Read as libyaml's events, so that each complaint has its line. Aliases, sequences and a second document are refused. */
#include "common/buffer.h"
#include "common/file.h"
#include "common/memory.h"
#include "memory/settings.h"
#include "memory/settings_table.h"

#include <string.h>
#include <yaml.h>

enum { FILE_MAX = 1 << 20, DEPTH_MAX = 8, NAMES_MAX = 256 };

typedef struct yaml_reader {
    yaml_parser_t parser;
    const char *path;
    mneme_settings *settings;
    mn_buffer name;              /* of the map that is being read, without the last dot */
    unsigned depth;
    char *seen[NAMES_MAX];       /* names set by this file, to refuse a second time */
    size_t n_seen;
} yaml_reader;

static mneme_status fail_at(const yaml_reader *reader, const yaml_event_t *event, const char *what, mneme_error *error)
{
    return mn_fail(error, MNEME_ERR_SYNTAX, "%s:%zu: %s", reader->path, event->start_mark.line + 1, what);
}

static mneme_status next_event(yaml_reader *reader, yaml_event_t *event, mneme_error *error)
{
    if (yaml_parser_parse(&reader->parser, event)) return MNEME_OK;
    memset(event, 0, sizeof *event);
    const yaml_parser_t *p = &reader->parser;
    if (p->error == YAML_MEMORY_ERROR) return mn_fail_memory(error, reader->path);
    if (p->error == YAML_READER_ERROR)
        return mn_fail(error, MNEME_ERR_SYNTAX, "%s: byte %zu: %s", reader->path, p->problem_offset, p->problem);
    return mn_fail(error, MNEME_ERR_SYNTAX, "%s:%zu:%zu: %s", reader->path, p->problem_mark.line + 1,
                   p->problem_mark.column + 1, p->problem ? p->problem : "not YAML");
}

static mneme_status set_value(yaml_reader *reader, const yaml_event_t *event, mneme_error *error)
{
    size_t line = event->start_mark.line + 1;
    for (size_t i = 0; i < reader->n_seen; i++)
        if (strcmp(reader->seen[i], reader->name.data) == 0)
            return mn_fail(error, MNEME_ERR_SYNTAX, "%s:%zu: %s is set twice", reader->path, line, reader->name.data);
    const char *value = (const char *)event->data.scalar.value;
    if (strlen(value) != event->data.scalar.length) return fail_at(reader, event, "a value with a NUL byte", error);
    mn_buffer origin = {0};
    mn_buffer_format(&origin, "%s:%zu", reader->path, line);
    mneme_status status = origin.failed ? mn_fail_memory(error, reader->path)
                                        : mn_settings_assign(reader->settings, reader->name.data, value, origin.data,
                                                             MN_RANK_FILE, error);
    mn_buffer_free(&origin);
    if (status == MNEME_ERR_SETTING) mn_error_prefix(error, "%s:%zu: ", reader->path, line);
    if (status != MNEME_OK) return status;
    if (reader->n_seen == NAMES_MAX) return fail_at(reader, event, "too many settings", error);
    char *kept = mn_strdup(reader->name.data);
    if (!kept) return mn_fail_memory(error, reader->path);
    reader->seen[reader->n_seen++] = kept;
    return MNEME_OK;
}

static mneme_status read_map(yaml_reader *reader, mneme_error *error);

static mneme_status read_node(yaml_reader *reader, const yaml_event_t *event, mneme_error *error)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return set_value(reader, event, error);
    case YAML_MAPPING_START_EVENT:
        if (reader->depth == DEPTH_MAX) return fail_at(reader, event, "nested too deeply", error);
        return read_map(reader, error);
    case YAML_SEQUENCE_START_EVENT: return fail_at(reader, event, "a list, where a value is wanted", error);
    case YAML_ALIAS_EVENT: return fail_at(reader, event, "aliases are not supported here", error);
    default: return fail_at(reader, event, "a value is wanted", error);
    }
}

/* A key and what follows it. */
static mneme_status read_pair(yaml_reader *reader, const yaml_event_t *key, mneme_error *error)
{
    if (key->type != YAML_SCALAR_EVENT) return fail_at(reader, key, "the name of a setting is wanted", error);
    const char *text = (const char *)key->data.scalar.value;
    size_t outer = reader->name.size;
    if (outer) mn_buffer_byte(&reader->name, '.');
    mn_buffer_append(&reader->name, text, strlen(text));
    if (reader->name.failed) return mn_fail_memory(error, reader->path);
    yaml_event_t event;
    mneme_status status = next_event(reader, &event, error);
    if (status == MNEME_OK) status = read_node(reader, &event, error);
    yaml_event_delete(&event);
    reader->name.size = outer;
    reader->name.data[outer] = '\0';
    return status;
}

/* After its start, up to and including its end. Recursion is bounded by DEPTH_MAX. */
static mneme_status read_map(yaml_reader *reader, mneme_error *error)
{
    reader->depth++;
    for (bool done = false; !done;) {
        yaml_event_t event;
        mneme_status status = next_event(reader, &event, error);
        done = status == MNEME_OK && event.type == YAML_MAPPING_END_EVENT;
        if (status == MNEME_OK && !done) status = read_pair(reader, &event, error);
        yaml_event_delete(&event);
        if (status != MNEME_OK) return status;
    }
    reader->depth--;
    return MNEME_OK;
}

static mneme_status read_stream(yaml_reader *reader, mneme_error *error)
{
    unsigned documents = 0;
    for (;;) {
        yaml_event_t event;
        mneme_status status = next_event(reader, &event, error);
        yaml_event_type_t type = event.type;
        bool empty = type == YAML_SCALAR_EVENT && event.data.scalar.length == 0; /* a file of comments alone */
        if (status == MNEME_OK && type == YAML_DOCUMENT_START_EVENT && ++documents > 1)
            status = fail_at(reader, &event, "a second document", error);
        else if (status == MNEME_OK && type == YAML_MAPPING_START_EVENT) status = read_map(reader, error);
        else if (status == MNEME_OK && !empty && (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT))
            status = fail_at(reader, &event, "names and values (name: value) are wanted", error);
        yaml_event_delete(&event);
        if (status != MNEME_OK || type == YAML_STREAM_END_EVENT) return status;
    }
}

/* Into a copy, which takes the place of the settings only when the whole file was right. */
static mneme_status load_text(mneme_settings *settings, const char *path, const mn_buffer *text, mneme_error *error)
{
    yaml_reader reader = {.path = path};
    mneme_status status = mn_settings_copy(settings, &reader.settings, error);
    if (status != MNEME_OK) return status;
    if (!yaml_parser_initialize(&reader.parser)) {
        mneme_settings_free(reader.settings);
        return mn_fail_memory(error, path);
    }
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)(text->data ? text->data : ""), text->size);
    status = read_stream(&reader, error);
    yaml_parser_delete(&reader.parser);
    if (status == MNEME_OK) mn_settings_swap(settings, reader.settings);
    for (size_t i = 0; i < reader.n_seen; i++) mn_free(reader.seen[i]);
    mn_buffer_free(&reader.name);
    mneme_settings_free(reader.settings);
    return status;
}

mneme_status mneme_settings_load_file(mneme_settings *settings, const char *path, mneme_error *error)
{
    mn_buffer text = {0};
    mneme_status status = mn_file_read(path, FILE_MAX, &text, error);
    if (status == MNEME_OK) status = load_text(settings, path, &text, error);
    mn_buffer_free(&text);
    return status;
}
