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
#include "memory/where.h"

#include "common/utf8.h"
#include "memory/number.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { EXPRESSION_MAX = 65536, DEPTH_MAX = 100 };

typedef enum node_kind { NODE_OR, NODE_AND, NODE_NOT, NODE_EXISTS, NODE_COMPARE, NODE_IN, NODE_CONTAINS } node_kind;
typedef enum comparison { EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL } comparison;
typedef enum value_type { VALUE_NONE, VALUE_NULL, VALUE_TEXT, VALUE_NUMBER, VALUE_BOOLEAN, VALUE_TIME, VALUE_OTHER } value_type;

typedef struct value {
    value_type type;
    const char *text; /* VALUE_TEXT; also set for VALUE_TIME: the date as it was written */
    double number;
    bool boolean;
    int64_t time_ms;
    json_t *json; /* borrowed; what came from metadata */
} value;

struct mn_where {
    node_kind kind;
    comparison compare;
    const struct mn_where *left, *right; /* OR, AND; NOT has left */
    const char *field;
    value *values; /* COMPARE and CONTAINS: one; IN: n_values */
    size_t n_values;
};

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
    p->status = mn_fail(p->error, MNEME_ERR_SYNTAX, "where: column %zu: expected %s at \"%.20s\"", column_of(p, at), wanted,
                        *at ? at : "(end)");
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

static mn_where *new_node(parser *p, node_kind kind)
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
static bool parse_string(parser *p, value *out)
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
    *out = (value){.type = VALUE_TEXT, .text = text};
    return true;
}

/* 2023-05-08, 2023-05-08T13:56:00Z; false (nothing taken) when it is a number. */
static bool parse_date(parser *p, value *out)
{
    size_t n = 0;
    while (isalnum((unsigned char)p->at[n]) || (p->at[n] && strchr("-:+.", p->at[n]))) n++;
    if (n < 7 || n > 40 || p->at[4] != '-') return false;
    char *text = mn_arena_copy(p->arena, p->at, n);
    if (!text) return fail_memory(p), false;
    int64_t time_ms;
    if (mneme_time_parse(text, &time_ms, NULL) != MNEME_OK) return false;
    *out = (value){.type = VALUE_TIME, .text = text, .time_ms = time_ms};
    p->at += n;
    return true;
}

static bool parse_value(parser *p, value *out)
{
    skip_space(p);
    if (*p->at == '"' || *p->at == '\'') return parse_string(p, out);
    if (keyword(p, "true")) return *out = (value){.type = VALUE_BOOLEAN, .boolean = true}, true;
    if (keyword(p, "false")) return *out = (value){.type = VALUE_BOOLEAN}, true;
    if (keyword(p, "null")) return *out = (value){.type = VALUE_NULL}, true;
    if (isdigit((unsigned char)*p->at) && parse_date(p, out)) return true;
    mn_number number;
    size_t size = mn_number_read(p->at, &number);
    if (size == 0 || is_name_byte(p->at[size]))
        return fail_parse(p, p->at, "a value (\"text\", number, date, true, false or null)"), false;
    p->at += size;
    *out = (value){.type = VALUE_NUMBER, .number = number.real};
    return true;
}

static mn_where *parse_list(parser *p, mn_where *node)
{
    if (!symbol(p, "(")) return fail_parse(p, p->at, "( after in");
    size_t capacity = 0;
    do {
        if (node->n_values == capacity) {
            size_t larger = capacity ? capacity * 2 : 8;
            value *grown = mn_arena_array(p->arena, larger, sizeof *grown);
            if (!grown) return fail_memory(p);
            if (capacity) memcpy(grown, node->values, capacity * sizeof *grown);
            node->values = grown;
            capacity = larger;
        }
        if (!parse_value(p, &node->values[node->n_values++])) return NULL;
    } while (symbol(p, ","));
    return symbol(p, ")") ? node : fail_parse(p, p->at, ", or )");
}

static mn_where *parse_comparison(parser *p)
{
    static const struct {
        const char *text;
        comparison compare;
    } operators[] = {{"!=", NOT_EQUAL}, {"<=", LESS_EQUAL}, {">=", GREATER_EQUAL}, {"==", EQUAL}, {"=", EQUAL}, {"<", LESS}, {">", GREATER}};
    const char *field = parse_field(p);
    if (!field) return NULL;
    bool negated = keyword(p, "not");
    if (keyword(p, "in")) {
        mn_where *in = new_node(p, NODE_IN), *outer = negated ? new_node(p, NODE_NOT) : in;
        if (!in || !outer) return NULL;
        in->field = field;
        if (negated) outer->left = in;
        return parse_list(p, in) ? outer : NULL;
    }
    if (negated) return fail_parse(p, p->at, "in after not");
    mn_where *node = new_node(p, NODE_COMPARE);
    if (!node || !(node->values = mn_arena_alloc(p->arena, sizeof *node->values))) return fail_memory(p);
    node->field = field;
    node->n_values = 1;
    if (keyword(p, "contains")) {
        node->kind = NODE_CONTAINS;
        return parse_value(p, node->values) ? node : NULL;
    }
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (!symbol(p, operators[i].text)) continue;
        node->compare = operators[i].compare;
        return parse_value(p, node->values) ? node : NULL;
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
        node = inner ? new_node(p, NODE_NOT) : NULL;
        if (node) node->left = inner;
    } else if (symbol(p, "(")) {
        node = parse_or(p);
        if (node && !symbol(p, ")")) node = fail_parse(p, p->at, "and, or, or )");
    } else if (keyword(p, "exists")) {
        const char *field = parse_field(p);
        node = field ? new_node(p, NODE_EXISTS) : NULL;
        if (node) node->field = field;
    } else {
        node = parse_comparison(p);
    }
    p->depth--;
    return node;
}

/* item { word item }, left to right. */
static mn_where *parse_chain(parser *p, const char *word, node_kind kind, mn_where *(*item)(parser *))
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
    return parse_chain(p, "and", NODE_AND, parse_not);
}

static mn_where *parse_or(parser *p)
{
    return parse_chain(p, "or", NODE_OR, parse_and);
}

mneme_status mn_where_compile(const char *expression, mn_arena *arena, const mn_where **out, mneme_error *error)
{
    *out = NULL;
    size_t size = strlen(expression);
    if (size > EXPRESSION_MAX) return mn_fail(error, MNEME_ERR_SYNTAX, "where: an expression of %zu bytes; at most %d", size, EXPRESSION_MAX);
    if (!mn_utf8_valid(expression, size)) return mn_fail(error, MNEME_ERR_SYNTAX, "where: the expression is not valid UTF-8");
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

static value text_value(const char *text)
{
    return text ? (value){.type = VALUE_TEXT, .text = text} : (value){.type = VALUE_NONE};
}

static value json_value(json_t *json)
{
    if (!json) return (value){.type = VALUE_NONE};
    if (json_is_null(json)) return (value){.type = VALUE_NULL};
    if (json_is_string(json)) return (value){.type = VALUE_TEXT, .text = json_string_value(json), .json = json};
    if (json_is_number(json)) return (value){.type = VALUE_NUMBER, .number = json_number_value(json)};
    if (json_is_boolean(json)) return (value){.type = VALUE_BOOLEAN, .boolean = json_is_true(json)};
    return (value){.type = VALUE_OTHER, .json = json};
}

/* A key of the metadata: the whole name first, then part by part along the dots. */
static value metadata_value(subject *s, const char *field)
{
    if (strncmp(field, "metadata.", 9) == 0) field += 9;
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
        if (n >= sizeof key) return (value){.type = VALUE_NONE};
        memcpy(key, field, n);
        key[n] = '\0';
        at = json_object_get(at, key);
        field += n;
        if (*field == '.') field++;
    }
    return json_value(at);
}

static value field_value(subject *s, const char *field)
{
    const mn_record *r = s->record;
    if (strcmp(field, "id") == 0) return text_value(r->id);
    if (strcmp(field, "namespace") == 0) return text_value(s->name_space);
    if (strcmp(field, "title") == 0) return text_value(r->title);
    if (strcmp(field, "session") == 0) return text_value(r->session);
    if (strcmp(field, "speaker") == 0) return text_value(r->speaker);
    if (strcmp(field, "source") == 0) return text_value(r->source);
    if (strcmp(field, "time") == 0) return (value){.type = r->has_time ? VALUE_TIME : VALUE_NONE, .time_ms = r->time_ms};
    return metadata_value(s, field);
}

/* Read a text as a time where the other side is one. */
static bool as_time(const value *v, int64_t *time_ms)
{
    if (v->type == VALUE_TIME) *time_ms = v->time_ms;
    return v->type == VALUE_TIME || (v->type == VALUE_TEXT && mneme_time_parse(v->text, time_ms, NULL) == MNEME_OK);
}

/* -1, 0, 1; false: they cannot be compared. */
static bool order_of(const value *a, const value *b, int *order)
{
    if (a->type == VALUE_NONE || b->type == VALUE_NONE) return false;
    int64_t left, right;
    if ((a->type == VALUE_TIME || b->type == VALUE_TIME) && as_time(a, &left) && as_time(b, &right)) {
        *order = left < right ? -1 : left > right;
        return true;
    }
    if (a->type != b->type) return false;
    switch (a->type) {
    case VALUE_TEXT: *order = strcmp(a->text, b->text); return true;
    case VALUE_NUMBER: *order = a->number < b->number ? -1 : a->number > b->number; return true;
    case VALUE_BOOLEAN: *order = (int)a->boolean - (int)b->boolean; return true;
    case VALUE_NULL: *order = 0; return true;
    default: return false;
    }
}

static bool compare(const value *left, comparison how, const value *right)
{
    int order = 0;
    if (!order_of(left, right, &order)) return how == NOT_EQUAL && left->type != VALUE_NONE;
    switch (how) {
    case EQUAL: return order == 0;
    case NOT_EQUAL: return order != 0;
    case LESS: return order < 0;
    case LESS_EQUAL: return order <= 0;
    case GREATER: return order > 0;
    case GREATER_EQUAL: return order >= 0;
    }
    return false;
}

/* Text holds a text; an array holds a value; an object holds a key. */
static bool contains(const value *left, const value *right)
{
    if (left->type == VALUE_TEXT && right->text) return strstr(left->text, right->text) != NULL;
    if (left->type != VALUE_OTHER) return false;
    if (json_is_object(left->json)) return right->text && json_object_get(left->json, right->text);
    for (size_t i = 0; i < json_array_size(left->json); i++) {
        value item = json_value(json_array_get(left->json, i));
        if (compare(&item, EQUAL, right)) return true;
    }
    return false;
}

/* Recursion is bounded: chains lean left and are walked, nesting is at most DEPTH_MAX. */
static bool matches(const mn_where *node, subject *s)
{
    if (node->kind == NODE_OR || node->kind == NODE_AND) {
        bool decides = node->kind == NODE_OR;
        node_kind kind = node->kind;
        for (; node->kind == kind; node = node->left)
            if (matches(node->right, s) == decides) return decides;
        return matches(node, s);
    }
    if (node->kind == NODE_NOT) return !matches(node->left, s);
    value left = field_value(s, node->field);
    if (node->kind == NODE_EXISTS) return left.type != VALUE_NONE && left.type != VALUE_NULL;
    if (node->kind == NODE_CONTAINS) return contains(&left, &node->values[0]);
    if (node->kind == NODE_COMPARE) return compare(&left, node->compare, &node->values[0]);
    for (size_t i = 0; i < node->n_values; i++)
        if (compare(&left, EQUAL, &node->values[i])) return true;
    return false;
}

bool mn_where_matches(const mn_where *where, const char *name_space, const mn_record *record)
{
    subject s = {.name_space = name_space, .record = record};
    bool result = matches(where, &s);
    json_decref(s.metadata);
    return result;
}
