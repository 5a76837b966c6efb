/* where_tree.h -- a compiled --where expression, as its evaluation (where.c) and its planning (where_plan.c) see it. */
#ifndef MN_MEMORY_WHERE_TREE_H
#define MN_MEMORY_WHERE_TREE_H

#include "memory/where.h"

typedef enum mn_where_kind {
    MN_WHERE_OR,
    MN_WHERE_AND,
    MN_WHERE_NOT,
    MN_WHERE_EXISTS,
    MN_WHERE_COMPARE,
    MN_WHERE_IN,
    MN_WHERE_CONTAINS,
} mn_where_kind;

typedef enum mn_comparison {
    MN_EQUAL,
    MN_NOT_EQUAL,
    MN_LESS,
    MN_LESS_EQUAL,
    MN_GREATER,
    MN_GREATER_EQUAL,
} mn_comparison;

typedef enum mn_value_type {
    MN_VALUE_NONE,
    MN_VALUE_NULL,
    MN_VALUE_TEXT,
    MN_VALUE_NUMBER,
    MN_VALUE_BOOLEAN,
    MN_VALUE_TIME,
    MN_VALUE_OTHER, /* an array or object: only metadata has it */
} mn_value_type;

typedef struct mn_value {
    mn_value_type type;
    const char *text; /* of a text; of a literal time: the date as it was written */
    double number;
    bool boolean;
    int64_t time_ms;
    struct json_t *json; /* borrowed; what came from metadata */
} mn_value;

/* OR and AND lean left: `a or b or c` is ((a or b) or c). Parts in parentheses and behind `not` nest at most 100 deep.
 */
struct mn_where {
    mn_where_kind kind;
    mn_comparison compare;
    const struct mn_where *left, *right; /* OR, AND; NOT has left */
    const char *field;
    mn_value *values; /* COMPARE and CONTAINS: one; IN: n_values */
    size_t n_values;
};

/* The value that `metadata.city` and `city` name: the key, without the first. */
const char *mn_where_key(const char *field);
/* Read as a time: a time, or a text that is a date. */
bool mn_value_as_time(const mn_value *value, int64_t *time_ms);
/* What a comparison of a record's value with a literal gives. */
bool mn_value_compare(const mn_value *left, mn_comparison how, const mn_value *right);

#endif
