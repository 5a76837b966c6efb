/* where.c -- parsing and evaluating --where expressions.
 *
 *     or         = and { "or" and }
 *     and        = not { "and" not }
 *     not        = "not" not | "(" or ")" | "exists" field | comparison
 *     comparison = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" | "contains" ) value
 *                | field [ "not" ] "in" "(" value { "," value } ")"
 *     field      = name { "." name }
 *     value      = string | number | date | "true" | "false" | "null"
 *
 * The tree lies in the caller's arena. Metadata is parsed (jansson) at most once per evaluation, and only when the
 * expression asks for a key of it. */
#include "memory/where_tree.h"

#include "common/utf8.h"
#include "memory/number.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { EXPRESSION_MAX = 65536, DEPTH_MAX = 100 };

/* ---- parsing ---- */

typedef struct parser {
    const char *text, *at;
    mn_arena *arena;
    mneme_error *error;
    mneme_status status;
    unsigned depth;
} parser;

static size_t column_of(const parser *p, const char *at)
{
    size_t column = 1;
    for (const char *c = p->text; c < at; c++) column += ((unsigned char)*c & 0xC0u) != 0x80u;
    return column;
}

static void *fail_parse(parser *p, const char *at, const char *wanted)
{
    if (p->status != MNEME_OK) return NULL;
    p->status = mn_fail(p->error, MNEME_ERR_SYNTAX, "where: column %zu: expected %s at \"%.20s\"", column_of(p, at),
                        wanted, *at ? at : "(end)");
    return NULL;
}

static void *fail_memory(parser *p)
{
    if (p->status == MNEME_OK) p->status = mn_fail_memory(p->error, "where");
    return NULL;
}

static void skip_space(parser *p)
{
    while (isspace((unsigned char)*p->at)) p->at++;
}

static bool is_name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.' || (unsigned char)c >= 0x80;
}

static size_t name_size(const char *at)
{
    size_t n = 0;
    if (isdigit((unsigned char)at[0]) || at[0] == '-' || at[0] == '.') return 0;
    while (is_name_byte(at[n])) n++;
    return n;
}

/* Take a word of the language (any case) when it stands here. */
static bool keyword(parser *p, const char *word)
{
    skip_space(p);
    size_t n = strlen(word);
    if (strncasecmp(p->at, word, n) != 0 || is_name_byte(p->at[n])) return false;
    p->at += n;
    return true;
}

static bool symbol(parser *p, const char *text)
{
    skip_space(p);
    size_t n = strlen(text);
    if (strncmp(p->at, text, n) != 0) return false;
    p->at += n;
    return true;
}

static mn_where *new_node(parser *p, mn_where_kind kind)
{
    mn_where *node = mn_arena_alloc(p->arena, sizeof *node);
    if (!node) return fail_memory(p);
    *node = (mn_where){.kind = kind};
    return node;
}

static const char *parse_field(parser *p)
{
    skip_space(p);
    size_t n = name_size(p->at);
    if (n == 0 || p->at[n - 1] == '.') return fail_parse(p, p->at, "the name of a field");
    const char *field = mn_arena_copy(p->arena, p->at, n);
    p->at += n;
    return field ? field : fail_memory(p);
}

/* "..." or '...', with \\ before a quote or a backslash, \n and \t. */
static bool parse_string(parser *p, mn_value *out)
{
    char quote = *p->at;
    const char *start = p->at++;
    char *text = mn_arena_alloc(p->arena, strlen(p->at) + 1);
    if (!text) return fail_memory(p), false;
    size_t n = 0;
    for (; *p->at && *p->at != quote; p->at++) {
        char c = *p->at;
        if (c == '\\' && p->at[1]) {
            c = *++p->at;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        text[n++] = c;
    }
    if (*p->at != quote) return fail_parse(p, start, "a closing quote"), false;
    p->at++;
    text[n] = '\0';
    *out = (mn_value){.type = MN_VALUE_TEXT, .text = text};
    return true;
}

/* 2023-05-08, 2023-05-08T13:56:00Z; false (nothing taken) when it is a number. */
static bool parse_date(parser *p, mn_value *out)
{
    size_t n = 0;
    while (isalnum((unsigned char)p->at[n]) || (p->at[n] && strchr("-:+.", p->at[n]))) n++;
    if (n < 7 || n > 40 || p->at[4] != '-') return false;
    char *text = mn_arena_copy(p->arena, p->at, n);
    if (!text) return fail_memory(p), false;
    int64_t time_ms;
    if (mneme_time_parse(text, &time_ms, NULL) != MNEME_OK) return false;
    *out = (mn_value){.type = MN_VALUE_TIME, .text = text, .time_ms = time_ms};
    p->at += n;
    return true;
}

static bool parse_value(parser *p, mn_value *out)
{
    skip_space(p);
    if (*p->at == '"' || *p->at == '\'') return parse_string(p, out);
    if (keyword(p, "true")) return *out = (mn_value){.type = MN_VALUE_BOOLEAN, .boolean = true}, true;
    if (keyword(p, "false")) return *out = (mn_value){.type = MN_VALUE_BOOLEAN}, true;
    if (keyword(p, "null")) return *out = (mn_value){.type = MN_VALUE_NULL}, true;
    if (isdigit((unsigned char)*p->at) && parse_date(p, out)) return true;
    mn_number number;
    size_t size = mn_number_read(p->at, &number);
    if (size == 0 || is_name_byte(p->at[size]))
        return fail_parse(p, p->at, "a value (\"text\", number, date, true, false or null)"), false;
    p->at += size;
    *out = (mn_value){.type = MN_VALUE_NUMBER, .number = number.real};
    return true;
}

/* A value that the field can never have would make a comparison silently false, and its opposite true for everything.
 */
static bool parse_value_of(parser *p, const char *field, mn_value *out)
{
    int64_t time_ms;
    skip_space(p);
    const char *at = p->at;
    if (!parse_value(p, out)) return false;
    if (out->type == MN_VALUE_NULL) return true;
    if (strcmp(field, "time") == 0 && !mn_value_as_time(out, &time_ms))
        return fail_parse(p, at, "a date (2024-05-01), which is what time is compared with,"), false;
    return true;
}

static mn_where *parse_list(parser *p, mn_where *node)
{
    if (!symbol(p, "(")) return fail_parse(p, p->at, "( after in");
    size_t capacity = 0;
    do {
        if (node->n_values == capacity) {
            size_t larger = capacity ? capacity * 2 : 8;
            mn_value *grown = mn_arena_array(p->arena, larger, sizeof *grown);
            if (!grown) return fail_memory(p);
            if (capacity) memcpy(grown, node->values, capacity * sizeof *grown);
            node->values = grown;
            capacity = larger;
        }
        if (!parse_value_of(p, node->field, &node->values[node->n_values++])) return NULL;
    } while (symbol(p, ","));
    return symbol(p, ")") ? node : fail_parse(p, p->at, ", or )");
}

static mn_where *parse_comparison(parser *p)
{
    static const struct {
        const char *text;
        mn_comparison compare;
    } operators[] = {{"!=", MN_NOT_EQUAL}, {"<=", MN_LESS_EQUAL}, {">=", MN_GREATER_EQUAL}, {"==", MN_EQUAL},
                     {"=", MN_EQUAL},      {"<", MN_LESS},        {">", MN_GREATER}};
    const char *field = parse_field(p);
    if (!field) return NULL;
    bool negated = keyword(p, "not");
    if (keyword(p, "in")) {
        mn_where *in = new_node(p, MN_WHERE_IN), *outer = negated ? new_node(p, MN_WHERE_NOT) : in;
        if (!in || !outer) return NULL;
        in->field = field;
        if (negated) outer->left = in;
        return parse_list(p, in) ? outer : NULL;
    }
    if (negated) return fail_parse(p, p->at, "in after not");
    mn_where *node = new_node(p, MN_WHERE_COMPARE);
    if (!node || !(node->values = mn_arena_alloc(p->arena, sizeof *node->values))) return fail_memory(p);
    node->field = field;
    node->n_values = 1;
    if (keyword(p, "contains")) {
        node->kind = MN_WHERE_CONTAINS;
        return parse_value(p, node->values) ? node : NULL;
    }
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (!symbol(p, operators[i].text)) continue;
        node->compare = operators[i].compare;
        return parse_value_of(p, field, node->values) ? node : NULL;
    }
    return fail_parse(p, p->at, "= != < <= > >= in or contains");
}

static mn_where *parse_or(parser *p);

static mn_where *parse_not(parser *p)
{
    if (p->depth == DEPTH_MAX) return fail_parse(p, p->at, "at most 100 nested parts");
    p->depth++;
    mn_where *node = NULL;
    if (keyword(p, "not")) {
        const mn_where *inner = parse_not(p);
        node = inner ? new_node(p, MN_WHERE_NOT) : NULL;
        if (node) node->left = inner;
    } else if (symbol(p, "(")) {
        node = parse_or(p);
        if (node && !symbol(p, ")")) node = fail_parse(p, p->at, "and, or, or )");
    } else if (keyword(p, "exists")) {
        const char *field = parse_field(p);
        node = field ? new_node(p, MN_WHERE_EXISTS) : NULL;
        if (node) node->field = field;
    } else {
        node = parse_comparison(p);
    }
    p->depth--;
    return node;
}

/* item { word item }, left to right. */
static mn_where *parse_chain(parser *p, const char *word, mn_where_kind kind, mn_where *(*item)(parser *))
{
    mn_where *left = item(p);
    while (left && keyword(p, word)) {
        const mn_where *right = item(p);
        mn_where *node = right ? new_node(p, kind) : NULL;
        if (!node) return NULL;
        node->left = left;
        node->right = right;
        left = node;
    }
    return left;
}

static mn_where *parse_and(parser *p)
{
    return parse_chain(p, "and", MN_WHERE_AND, parse_not);
}

static mn_where *parse_or(parser *p)
{
    return parse_chain(p, "or", MN_WHERE_OR, parse_and);
}

mneme_status mn_where_compile(const char *expression, mn_arena *arena, const mn_where **out, mneme_error *error)
{
    *out = NULL;
    size_t size = strlen(expression);
    if (size > EXPRESSION_MAX)
        return mn_fail(error, MNEME_ERR_SYNTAX, "where: an expression of %zu bytes; at most %d", size, EXPRESSION_MAX);
    if (!mn_utf8_valid(expression, size))
        return mn_fail(error, MNEME_ERR_SYNTAX, "where: the expression is not valid UTF-8");
    parser p = {.text = expression, .at = expression, .arena = arena, .error = error};
    const mn_where *root = parse_or(&p);
    if (root) {
        skip_space(&p);
        if (*p.at) fail_parse(&p, p.at, "and, or, or the end");
    }
    if (p.status == MNEME_OK) *out = root;
    return p.status;
}

/* ---- evaluating ---- */

typedef struct subject {
    const char *name_space;
    const mn_record *record;
    json_t *metadata; /* NULL until asked for */
    bool parsed;
} subject;

static mn_value text_value(const char *text)
{
    return text ? (mn_value){.type = MN_VALUE_TEXT, .text = text} : (mn_value){.type = MN_VALUE_NONE};
}

static mn_value json_value(json_t *json)
{
    if (!json) return (mn_value){.type = MN_VALUE_NONE};
    if (json_is_null(json)) return (mn_value){.type = MN_VALUE_NULL};
    if (json_is_string(json)) return (mn_value){.type = MN_VALUE_TEXT, .text = json_string_value(json), .json = json};
    if (json_is_number(json)) return (mn_value){.type = MN_VALUE_NUMBER, .number = json_number_value(json)};
    if (json_is_boolean(json)) return (mn_value){.type = MN_VALUE_BOOLEAN, .boolean = json_is_true(json)};
    return (mn_value){.type = MN_VALUE_OTHER, .json = json};
}

const char *mn_where_key(const char *field)
{
    return strncmp(field, "metadata.", 9) == 0 ? field + 9 : field;
}

/* A key of the metadata: the whole name first, then part by part along the dots. */
static mn_value metadata_value(subject *s, const char *field)
{
    field = mn_where_key(field);
    if (!s->parsed) {
        s->parsed = true;
        if (s->record->metadata) s->metadata = json_loads(s->record->metadata, JSON_ALLOW_NUL, NULL);
    }
    json_t *at = json_object_get(s->metadata, field);
    if (at) return json_value(at);
    at = s->metadata;
    while (at && *field) {
        size_t n = strcspn(field, ".");
        char key[256];
        if (n >= sizeof key) return (mn_value){.type = MN_VALUE_NONE};
        memcpy(key, field, n);
        key[n] = '\0';
        at = json_object_get(at, key);
        field += n;
        if (*field == '.') field++;
    }
    return json_value(at);
}

/* where_plan.c must know each field of our own: any other name is taken for a key of the metadata. */
static mn_value field_value(subject *s, const char *field)
{
    const mn_record *r = s->record;
    if (strcmp(field, "id") == 0) return text_value(r->id);
    if (strcmp(field, "namespace") == 0) return text_value(s->name_space);
    if (strcmp(field, "title") == 0) return text_value(r->title);
    if (strcmp(field, "session") == 0) return text_value(r->session);
    if (strcmp(field, "speaker") == 0) return text_value(r->speaker);
    if (strcmp(field, "source") == 0) return text_value(r->source);
    if (strcmp(field, "time") == 0)
        return (mn_value){.type = r->has_time ? MN_VALUE_TIME : MN_VALUE_NONE, .time_ms = r->time_ms};
    return metadata_value(s, field);
}

bool mn_value_as_time(const mn_value *v, int64_t *time_ms)
{
    if (v->type == MN_VALUE_TIME) *time_ms = v->time_ms;
    return v->type == MN_VALUE_TIME ||
           (v->type == MN_VALUE_TEXT && mneme_time_parse(v->text, time_ms, NULL) == MNEME_OK);
}

/* -1, 0, 1; false: they cannot be compared. */
static bool order_of(const mn_value *a, const mn_value *b, int *order)
{
    if (a->type == MN_VALUE_NONE || b->type == MN_VALUE_NONE) return false;
    int64_t left, right;
    if ((a->type == MN_VALUE_TIME || b->type == MN_VALUE_TIME) && mn_value_as_time(a, &left) &&
        mn_value_as_time(b, &right)) {
        *order = left < right ? -1 : left > right;
        return true;
    }
    if (a->type != b->type) return false;
    switch (a->type) {
    case MN_VALUE_TEXT: *order = strcmp(a->text, b->text); return true;
    case MN_VALUE_NUMBER: *order = a->number < b->number ? -1 : a->number > b->number; return true;
    case MN_VALUE_BOOLEAN: *order = (int)a->boolean - (int)b->boolean; return true;
    case MN_VALUE_NULL: *order = 0; return true;
    default: return false;
    }
}

bool mn_value_compare(const mn_value *left, mn_comparison how, const mn_value *right)
{
    int order = 0;
    if (!order_of(left, right, &order)) return how == MN_NOT_EQUAL && left->type != MN_VALUE_NONE;
    switch (how) {
    case MN_EQUAL: return order == 0;
    case MN_NOT_EQUAL: return order != 0;
    case MN_LESS: return order < 0;
    case MN_LESS_EQUAL: return order <= 0;
    case MN_GREATER: return order > 0;
    case MN_GREATER_EQUAL: return order >= 0;
    }
    return false;
}

/* Text holds a text; an array holds a value; an object holds a key. */
static bool contains(const mn_value *left, const mn_value *right)
{
    if (left->type == MN_VALUE_TEXT && right->text) return strstr(left->text, right->text) != NULL;
    if (left->type != MN_VALUE_OTHER) return false;
    if (json_is_object(left->json)) return right->text && json_object_get(left->json, right->text);
    for (size_t i = 0; i < json_array_size(left->json); i++) {
        mn_value item = json_value(json_array_get(left->json, i));
        if (mn_value_compare(&item, MN_EQUAL, right)) return true;
    }
    return false;
}

/* Recursion is bounded: chains lean left and are walked, nesting is at most DEPTH_MAX. */
static bool matches(const mn_where *node, subject *s)
{
    if (node->kind == MN_WHERE_OR || node->kind == MN_WHERE_AND) {
        bool decides = node->kind == MN_WHERE_OR;
        mn_where_kind kind = node->kind;
        for (; node->kind == kind; node = node->left)
            if (matches(node->right, s) == decides) return decides;
        return matches(node, s);
    }
    if (node->kind == MN_WHERE_NOT) return !matches(node->left, s);
    mn_value left = field_value(s, node->field);
    if (node->kind == MN_WHERE_EXISTS) return left.type != MN_VALUE_NONE && left.type != MN_VALUE_NULL;
    if (node->kind == MN_WHERE_CONTAINS) return contains(&left, &node->values[0]);
    if (node->kind == MN_WHERE_COMPARE) return mn_value_compare(&left, node->compare, &node->values[0]);
    for (size_t i = 0; i < node->n_values; i++)
        if (mn_value_compare(&left, MN_EQUAL, &node->values[i])) return true;
    return false;
}

bool mn_where_matches(const mn_where *where, const char *name_space, const mn_record *record)
{
    subject s = {.name_space = name_space, .record = record};
    bool result = matches(where, &s);
    json_decref(s.metadata);
    return result;
}
