/* test_json_vectors.c -- vectors in lines of JSON: read as jansson and strtod would, from any bytes. */
#include "test_support.h"

#include "memory/json_vectors.h"

#include <jansson.h>
#include <math.h>

/* The one vector of {"vector":[<numbers>]}; NULL: it was left to the parser. */
static const float *taken(const char *numbers, mn_arena *arena, uint32_t *n)
{
    char line[400];
    mn_json_vectors vectors = {0};
    mn_buffer rest = {0};
    snprintf(line, sizeof line, "{\"vector\":[%s],\"id\":\"x\"}", numbers);
    assert_ok(mn_json_vectors_take(line, strlen(line), arena, &vectors, &rest, test_error()));
    assert_true(vectors.n <= 1);
    const float *result = vectors.n ? vectors.items[0].numbers : NULL;
    *n = vectors.n ? vectors.items[0].n : 0;
    mn_json_vectors_free(&vectors);
    mn_buffer_free(&rest);
    return result;
}

static void numbers_are_what_strtod_reads(void **state)
{
    (void)state;
    mn_arena arena = {0};
    uint32_t seed = 11;
    static const char *const formats[] = {"%.9g", "%.17g", "%.3f", "%.25f", "%g", "%.20e"};
    for (int i = 0; i < 60000; i++) {
        char text[200];
        float value;
        seed = seed * 1664525u + 1013904223u;
        memcpy(&value, &seed, sizeof value);
        if (i % 2) value = (float)(seed >> 8) / 8388608.0f - 1.0f;
        if (!isfinite(value) || fabsf(value) > 1e20f) continue;
        snprintf(text, sizeof text, formats[seed / 4096 % 6], (double)value);
        if (strlen(text) > 60) continue;
        uint32_t n = 0;
        const float *read = taken(text, &arena, &n);
        if (!read || n != 1) fail_msg("%s was not read", text);
        float wanted = (float)strtod(text, NULL);
        if (memcmp(&wanted, read, sizeof wanted) != 0) fail_msg("%s was read as %.9g", text, (double)*read);
        if (i % 1000 == 0) mn_arena_free(&arena);
    }
    uint32_t n = 0;
    const float *three = taken(" 1 ,\t-2.5e-1, 0.0 ", &arena, &n);
    assert_int_equal(n, 3);
    assert_true(three[0] == 1 && three[1] == -0.25f && three[2] == 0);
    mn_arena_free(&arena);
}

static void what_is_no_array_of_numbers_is_left(void **state)
{
    (void)state;
    mn_arena arena = {0};
    static const char *const left[] = {"",      "1,",  ",1",   "01",  "1.",  ".5",   "+1",  "1e", "-",
                                       "\"1\"", "[1]", "null", "1 2", "NaN", "1e99", "0x1", "1]", "Infinity"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        uint32_t n;
        bool cut = strcmp(left[i], "1]") == 0; /* [1]], which ends early: the array is one, the line is not JSON */
        if (taken(left[i], &arena, &n) && !cut) fail_msg("[%s] was taken", left[i]);
        char line[200];
        mneme_record *record = NULL;
        snprintf(line, sizeof line, "{\"id\":\"x\",\"vector\":[%s]}", left[i]);
        assert_true(mneme_record_parse(line, strlen(line), &record, test_error()) != MNEME_OK);
        assert_null(record);
    }
    mn_arena_free(&arena);
}

static void only_vectors_of_the_record_are_taken(void **state)
{
    (void)state;
    static const char line[] =
        "{\"id\":\"x\",\"text\":\"\\\"vector\\\":[1]\",\"metadata\":{\"vector\":[1,2],\"a\":[{\"vector\":[3]}]},"
        "\"vector\" : [0.5, 0.25],\"title\":\"t\"}";
    mneme_record *record = NULL;
    assert_ok(mneme_record_parse(line, strlen(line), &record, test_error()));
    assert_string_equal(record->metadata, "{\"vector\":[1,2],\"a\":[{\"vector\":[3]}]}");
    assert_string_equal(record->text, "\"vector\":[1]");
    assert_string_equal(record->title, "t");
    assert_int_equal(record->dimension, 2);
    assert_true(record->vector[0] == 0.5f && record->vector[1] == 0.25f);
    mneme_record_free(record);
    /* A number that looks like a slot, where there is none. */
    static const char slot[] = "{\"id\":\"x\",\"vector\":-4611686018427387904}";
    assert_int_equal(mneme_record_parse(slot, strlen(slot), &record, test_error()), MNEME_ERR_RECORD);
    /* A mistake behind a vector is reported at its place in the line. */
    static const char bad[] = "{\"id\":\"x\",\"vector\":[1,2,3,4,5,6,7,8,9],oops}";
    assert_int_equal(mneme_record_parse(bad, strlen(bad), &record, test_error()), MNEME_ERR_SYNTAX);
    int at = 0;
    assert_int_equal(sscanf(test_error()->message, "not JSON at byte %d", &at), 1);
    assert_true(at >= 39 && at <= (int)strlen(bad));
}

/* Lines cut anywhere and with any byte changed: never read past their end, and read as before where they are JSON. */
static void damaged_lines_are_borne(void **state)
{
    (void)state;
    static const char line[] = "{\"id\":\"\\\\x\",\"text\":\"abc\",\"chunks\":[{\"start\":0,\"end\":1,\"vector\":[1,-0."
                               "5e1]},{\"start\":1,\"end\":3,\"vector\":[2,3]}]}";
    size_t size = strlen(line);
    uint32_t seed = 5;
    for (int i = 0; i < 30000; i++) {
        seed = seed * 1664525u + 1013904223u;
        size_t cut = i % 3 == 0 ? (seed >> 8) % (size + 1) : size;
        char *copy = malloc(cut ? cut : 1); /* exactly: a read behind it is seen by the sanitizer */
        memcpy(copy, line, cut);
        if (i % 3 && cut) copy[(seed >> 12) % cut] = "{}[],:\"\\0-e.1 "[(seed >> 4) % 14];
        mneme_record *record = NULL;
        mneme_status status = mneme_record_parse(copy, cut, &record, test_error());
        json_t *object = json_loadb(copy, cut, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        if (!object && status == MNEME_OK) fail_msg("%.*s was read", (int)cut, copy);
        json_decref(object);
        mneme_record_free(record);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_what_strtod_reads),
        cmocka_unit_test(what_is_no_array_of_numbers_is_left),
        cmocka_unit_test(only_vectors_of_the_record_are_taken),
        cmocka_unit_test(damaged_lines_are_borne),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
