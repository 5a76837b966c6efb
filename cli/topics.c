/* topics.c -- reading questions. */
#include "cli/topics.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void add_topic(cli_topics *topics, cli_topic topic)
{
    if (topics->n == topics->capacity) {
        topics->capacity = topics->capacity ? topics->capacity * 2 : 256;
        topics->items = cli_realloc(topics->items, topics->capacity, sizeof *topics->items);
    }
    topics->items[topics->n++] = topic;
}

static int refuse(const cli_row_file *file, const char *why)
{
    cli_complain("%s:%llu: %s", file->path, (unsigned long long)file->line, why);
    return CLI_EXIT_USAGE;
}

/* ---- JSON lines ---- */

static const char *text_field(const json_t *object, const char *first, const char *second)
{
    const char *text = json_string_value(json_object_get(object, first));
    return text ? text : json_string_value(json_object_get(object, second));
}

static int add_json(cli_topics *topics, const cli_row_file *file, const char *line, size_t size)
{
    json_error_t problem;
    json_t *object = json_loadb(line, size, 0, &problem);
    const char *id = text_field(object, "_id", "id"), *text = text_field(object, "text", "query");
    int code = CLI_GO_ON;
    if (id && text)
        add_topic(topics, (cli_topic){cli_strdup(id), cli_strdup(text),
                                      cli_strdup(text_field(object, "namespace", "namespace")), file->line});
    else
        code = refuse(file, object ? "a question needs _id and text" : problem.text);
    json_decref(object);
    return code;
}

/* ---- id, tab, question ---- */

static int add_tabbed(cli_topics *topics, const cli_row_file *file, const char *line, size_t size)
{
    const char *tab = memchr(line, '\t', size);
    if (!tab || tab == line || memchr(line, '\0', size)) return refuse(file, "a question is an id, a tab and its text");
    add_topic(topics, (cli_topic){cli_strndup(line, (size_t)(tab - line)), cli_strdup(tab + 1), NULL, file->line});
    return CLI_GO_ON;
}

/* ---- TREC topics ---- */

/* What stands behind <tag> and an optional label, up to the next tag, with its white space at the ends cut off; NULL:
 * there is none before `end`. Owned. */
static char *tagged(const char *from, const char *end, const char *tag, const char *label)
{
    const char *at = strcasestr(from, tag);
    if (!at || at >= end) return NULL;
    at += strlen(tag);
    at += strspn(at, " \t\r\n");
    if (strncasecmp(at, label, strlen(label)) == 0) at += strlen(label);
    at += strspn(at, " \t\r\n");
    size_t size = strcspn(at, "<");
    while (size > 0 && strchr(" \t\r\n", at[size - 1])) size--;
    char *text = cli_strndup(at, size);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' ';
    return text;
}

static int read_tagged(cli_topics *topics, cli_row_file *file)
{
    const char *at = file->file.data, *counted = at;
    for (file->line = 1; (at = strcasestr(at, "<top>")) != NULL;) {
        for (; counted < at; counted++) file->line += *counted == '\n';
        at += strlen("<top>");
        const char *close = strcasestr(at, "</top>"), *next = strcasestr(at, "<top>");
        if (!close || (next && next < close)) return refuse(file, "<top> without </top>");
        cli_topic topic = {tagged(at, close, "<num>", "Number:"), tagged(at, close, "<title>", "Topic:"), NULL,
                           file->line};
        add_topic(topics, topic);
        if (!topic.id || !topic.text || !*topic.id) return refuse(file, "a topic needs <num> and <title>");
        at = close;
    }
    return CLI_GO_ON;
}

/* ---- all ---- */

static int by_id(const void *left, const void *right)
{
    const cli_topic *a = *(cli_topic *const *)left, *b = *(cli_topic *const *)right;
    int order = strcmp(a->id, b->id);
    return order ? order : (a->line > b->line) - (a->line < b->line);
}

static void free_topic(cli_topic *topic)
{
    free(topic->id);
    free(topic->text);
    free(topic->name_space);
    *topic = (cli_topic){0};
}

/* Of questions with one id the first stays. */
static void drop_repeated(cli_topics *topics)
{
    cli_topic **sorted = cli_alloc(topics->n + 1, sizeof *sorted);
    size_t kept = 0;
    for (size_t i = 0; i < topics->n; i++) sorted[i] = &topics->items[i];
    if (topics->n) qsort(sorted, topics->n, sizeof *sorted, by_id);
    const char *last = NULL;
    for (size_t i = 0; i < topics->n; i++) {
        if (last && strcmp(last, sorted[i]->id) == 0)
            free_topic(sorted[i]);
        else
            last = sorted[i]->id;
    }
    for (size_t i = 0; i < topics->n; i++)
        if (topics->items[i].id) topics->items[kept++] = topics->items[i];
    topics->n_repeated = topics->n - kept;
    topics->n = kept;
    free(sorted);
}

int cli_topics_read(cli_topics *topics, const char *path)
{
    cli_row_file file;
    size_t size;
    int code = cli_row_file_open(&file, path);
    const char *text = code == CLI_GO_ON && file.file.size ? file.file.data : "", *line;
    char first = text[strspn(text, " \t\r\n")];
    if (code == CLI_GO_ON && first == '<') code = read_tagged(topics, &file);
    while (code == CLI_GO_ON && first != '<' && (line = cli_row_file_line(&file, &size)) != NULL) {
        if (size == strspn(line, " \t")) continue;
        code = first == '{' ? add_json(topics, &file, line, size) : add_tabbed(topics, &file, line, size);
    }
    if (code == CLI_GO_ON) drop_repeated(topics);
    cli_row_file_close(&file);
    return code;
}

void cli_topics_free(cli_topics *topics)
{
    for (size_t i = 0; i < topics->n; i++) free_topic(&topics->items[i]);
    free(topics->items);
    *topics = (cli_topics){0};
}
