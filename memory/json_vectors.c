/* json_vectors.c -- the vectors of a record's line of JSON. */
#include "memory/json_vectors.h"

#include "memory/number.h"

#include <math.h>
#include <string.h>

enum { DIMENSION_MAX = 65536 };
#define FIRST_SLOT (INT64_MIN / 2) /* no number that anybody writes */

/* ---- numbers ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_spaces(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* A number as it is written: mantissa * 10^exponent, unless there are too many digits for that. */
typedef struct decimal {
    uint64_t mantissa;
    int exponent, digits;
    bool negative, is_long;
} decimal;

static const char *read_digits(const char *at, const char *end, decimal *d, int shift)
{
    for (; at < end && is_digit(*at); at++) {
        if (d->digits > 17 || d->exponent < -400) {
            d->is_long = true;
            continue;
        }
        d->mantissa = d->mantissa * 10 + (uint64_t)(*at - '0');
        d->exponent -= shift;
        if (d->mantissa) d->digits++;
    }
    return at;
}

static const char *read_exponent(const char *at, const char *end, decimal *d)
{
    bool negative = false;
    int value = 0;
    if (at < end && (*at == '+' || *at == '-')) negative = *at++ == '-';
    if (at == end || !is_digit(*at)) return NULL;
    for (; at < end && is_digit(*at); at++)
        if (value < 400) value = value * 10 + (*at - '0');
    d->exponent += negative ? -value : value;
    return at;
}

/* One past a number of JSON's grammar; NULL: none. */
static const char *read_decimal(const char *at, const char *end, decimal *d)
{
    *d = (decimal){0};
    if (at < end && *at == '-') {
        d->negative = true;
        at++;
    }
    if (at == end || !is_digit(*at) || (*at == '0' && at + 1 < end && is_digit(at[1]))) return NULL;
    at = read_digits(at, end, d, 0);
    if (at < end && *at == '.') {
        const char *fraction = at + 1;
        at = read_digits(fraction, end, d, 1);
        if (at == fraction) return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) at = read_exponent(at + 1, end, d);
    return at;
}

/* As strtod would: a whole number below 2^53 and a power of ten up to 10^22 are exact in a double, so that one
 * operation rounds once (Clinger 1990, "How to read floating point numbers accurately"). False: not that simple. */
static bool to_double(const decimal *d, double *out)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (d->is_long || d->mantissa >> 53 || d->exponent < -22 || d->exponent > 22) return false;
    double value = (double)d->mantissa;
    value = d->exponent < 0 ? value / powers[-d->exponent] : value * powers[d->exponent];
    *out = d->negative ? -value : value;
    return true;
}

/* The long way, for numbers with more digits than a float needs. */
static bool read_long(const char *text, size_t size, double *out)
{
    char copy[64];
    mn_number number;
    if (size >= sizeof copy) return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    bool whole = mn_number_read(copy, &number) == size;
    *out = number.real;
    return whole;
}

/* ---- arrays ---- */

/* One past the array at `at` ("[0.1, 2]"), its numbers appended; NULL: it is something else. */
static const char *read_array(const char *at, const char *end, mn_buffer *numbers)
{
    size_t n = 0;
    for (at++;; at++) {
        decimal d;
        double value = 0;
        const char *from = skip_spaces(at, end);
        at = read_decimal(from, end, &d);
        if (!at || (!to_double(&d, &value) && !read_long(from, (size_t)(at - from), &value))) return NULL;
        float number = (float)value;
        if (!isfinite(number) || ++n > DIMENSION_MAX) return NULL;
        mn_buffer_append(numbers, &number, sizeof number);
        at = skip_spaces(at, end);
        if (at == end || numbers->failed) return NULL;
        if (*at == ']') return at + 1;
        if (*at != ',') return NULL;
    }
}

static mneme_status keep(mn_json_vectors *vectors, const mn_buffer *numbers, mn_arena *arena, mneme_error *error)
{
    if (vectors->n == vectors->capacity) {
        size_t larger = vectors->capacity ? vectors->capacity * 2 : 8;
        mn_json_vector *grown = mn_realloc_array(vectors->items, larger, sizeof *grown);
        if (!grown) return mn_fail_memory(error, "record");
        vectors->items = grown;
        vectors->capacity = larger;
    }
    const float *copy = mn_arena_copy(arena, numbers->data, numbers->size);
    if (!copy) return mn_fail_memory(error, "record");
    vectors->items[vectors->n++] = (mn_json_vector){copy, (uint32_t)(numbers->size / sizeof *copy)};
    return MNEME_OK;
}

/* ---- the line ---- */

typedef struct scan {
    const char *at, *end, *copied; /* copied: what is in `rest` so far */
    const char *string;            /* the last one, after its quote */
    size_t string_size;
    int depth;
    bool in_chunks; /* the value at hand is that of "chunks" at the top */
} scan;

static void skip_string(scan *s)
{
    s->string = ++s->at;
    while (s->at < s->end && *s->at != '"') s->at += *s->at == '\\' && s->at + 1 < s->end ? 2 : 1;
    s->string_size = (size_t)(s->at - s->string);
    if (s->at < s->end) s->at++;
}

static bool string_is(const scan *s, const char *name)
{
    return s->string && s->string_size == strlen(name) && memcmp(s->string, name, s->string_size) == 0;
}

/* Behind a colon: does a vector follow? */
static bool at_vector(scan *s)
{
    if (s->depth == 1) s->in_chunks = string_is(s, "chunks");
    if (!string_is(s, "vector") || !(s->depth == 1 || (s->depth == 3 && s->in_chunks))) return false;
    s->at = skip_spaces(s->at, s->end);
    return s->at < s->end && *s->at == '[';
}

static mneme_status take_vector(scan *s, mn_buffer *numbers, mn_arena *arena, mn_json_vectors *out, mn_buffer *rest,
                                mneme_error *error)
{
    mn_buffer_clear(numbers);
    const char *behind = read_array(s->at, s->end, numbers);
    if (numbers->failed) return mn_fail_memory(error, "record");
    if (!behind) return MNEME_OK;
    mn_buffer_append(rest, s->copied, (size_t)(s->at - s->copied));
    mn_buffer_format(rest, "%lld", (long long)(FIRST_SLOT + (int64_t)out->n));
    s->at = s->copied = behind;
    return keep(out, numbers, arena, error);
}

mneme_status mn_json_vectors_take(const char *json, size_t size, mn_arena *arena, mn_json_vectors *out, mn_buffer *rest,
                                  mneme_error *error)
{
    scan s = {.at = json, .end = json + size, .copied = json};
    mn_buffer numbers = {0};
    mneme_status status = MNEME_OK;
    while (s.at < s.end && status == MNEME_OK) {
        char c = *s.at;
        if (c == '"') {
            skip_string(&s);
            continue;
        }
        s.at++;
        if (c == '{' || c == '[') s.depth++;
        if (c == '}' || c == ']') s.depth--;
        if (c == ':' && at_vector(&s)) status = take_vector(&s, &numbers, arena, out, rest, error);
    }
    if (out->n) mn_buffer_append(rest, s.copied, (size_t)(s.end - s.copied));
    mn_buffer_free(&numbers);
    return status == MNEME_OK && rest->failed ? mn_fail_memory(error, "record") : status;
}

const mn_json_vector *mn_json_vector_of(const mn_json_vectors *vectors, int64_t number)
{
    if (number < FIRST_SLOT || (uint64_t)(number - FIRST_SLOT) >= vectors->n) return NULL;
    return &vectors->items[number - FIRST_SLOT];
}

void mn_json_vectors_free(mn_json_vectors *vectors)
{
    mn_free(vectors->items);
    *vectors = (mn_json_vectors){0};
}
