/* test_export_line.c -- numbers and texts as an export writes them. */
#include "test_support.h"

#include "cli/export_line.h"

#include <float.h>
#include <jansson.h>
#include <math.h>

static const char *written(float value)
{
    static cli_text text;
    cli_text_clear(&text);
    cli_text_float(&text, value);
    return text.data;
}

static void assert_reads_back(float value)
{
    const char *text = written(value);
    json_t *number = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!json_is_number(number)) fail_msg("%s is no JSON number", text);
    float back = (float)json_number_value(number);
    json_decref(number);
    size_t digits = 0;
    bool leading = true;
    for (const char *at = text; *at && *at != 'e'; at++) {
        if (*at >= '1' && *at <= '9') leading = false;
        if (!leading && *at >= '0' && *at <= '9') digits++;
    }
    if (memcmp(&back, &value, sizeof value) != 0) fail_msg("%.9g is written %s", (double)value, text);
    if (digits > 9) fail_msg("%s has %zu digits", text, digits);
}

static void numbers_are_short_and_read_back(void **state)
{
    (void)state;
    const struct {
        float value;
        const char *text;
    } cases[] = {{0, "0"},         {-0.0f, "-0.0"},   {1, "1"},         {-1, "-1"},
                 {0.5f, "0.5"},    {0.1f, "0.100000001"}, {-0.25f, "-0.25"}, {9.5f, "9.5"},
                 {0.015625f, "0.015625"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(written(cases[i].value), cases[i].text);
        assert_reads_back(cases[i].value);
    }
    const float edges[] = {FLT_MIN, FLT_MAX, -FLT_MAX, 1e-45f, 1e-6f, 9.9999994e-7f, 9.9999990f, 10, 0.99999994f, 1e-5f, 0.099999994f, 0.001f, 123456.789f};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) assert_reads_back(edges[i]);
    uint32_t seed = 3;
    for (int i = 0; i < 200000; i++) {
        seed = seed * 1664525u + 1013904223u;
        float value;
        memcpy(&value, &seed, sizeof value); /* any bits */
        if (isfinite(value)) assert_reads_back(value);
        assert_reads_back(((float)(seed >> 8) / 8388608.0f - 1.0f) * 0.1f); /* what vectors are made of */
    }
}

static void text_of_any_bytes_is_one_line_of_json(void **state)
{
    (void)state;
    char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)i; /* control characters, quotes, invalid UTF-8 */
    const mneme_record record = {.id = "a\"b\\c", .text = bytes, .text_size = sizeof bytes, .title = "line\nbreak",
                                 .metadata = "{ \"a\" : [1,\n2] }", .has_time = true, .time_ms = -62135596800001};
    cli_text line = {0};
    cli_export_record_line(&line, &record);
    assert_ptr_equal(strchr(line.data, '\n'), line.data + line.size - 1);
    mneme_record *back = NULL;
    assert_ok(mneme_record_parse(line.data, line.size, &back, test_error()));
    assert_string_equal(back->id, record.id);
    assert_string_equal(back->title, record.title);
    assert_string_equal(back->metadata, "{\"a\":[1,2]}");
    assert_int_equal(back->time_ms, record.time_ms);
    assert_memory_equal(back->text, bytes, 128);
    assert_true(cli_utf8_valid(back->text, back->text_size));
    mneme_record_free(back);
    cli_text_free(&line);
}

static void first_line_is_known_from_records(void **state)
{
    (void)state;
    cli_export_header header;
    const char *reason;
    mneme_namespace_stats spaces[] = {{.vectors = ""}, {.vectors = "int8"}, {.vectors = "int8"}};
    mneme_stats stats = {.encoder = "an \"encoder\"", .fingerprint = 0xfedcba9876543210, .dimension = 7};
    cli_text line = {0};
    cli_export_header_line(&line, &stats);
    assert_true(cli_export_header_read(line.data, line.size - 1, &header, &reason));
    assert_null(reason);
    assert_string_equal(header.encoder, stats.encoder);
    assert_true(header.fingerprint == stats.fingerprint);
    assert_int_equal(header.dimension, 7);
    assert_null(header.vectors);
    free(header.encoder);
    /* One type is named; where there are several, the one that holds all of them. */
    stats.namespaces = spaces;
    stats.n_namespaces = 3;
    for (int i = 0; i < 2; i++) {
        line.size = 0;
        if (i == 1) spaces[2].vectors = "bf16";
        cli_export_header_line(&line, &stats);
        assert_true(cli_export_header_read(line.data, line.size - 1, &header, &reason));
        assert_string_equal(header.vectors, i == 0 ? "int8" : "f32");
        free(header.encoder);
    }
    cli_text_free(&line);
    static const char *const records[] = {"{\"id\":\"1\",\"text\":\"\\\"mneme_export\\\"\"}", "[\"mneme_export\"]", "{}", "nothing"};
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++)
        assert_false(cli_export_header_read(records[i], strlen(records[i]), &header, &reason));
    static const char *const bad[] = {"{\"mneme_export\":2,\"encoder\":\"e\",\"fingerprint\":\"0000000000000001\"}",
                                      "{\"mneme_export\":1,\"fingerprint\":\"0000000000000001\"}",
                                      "{\"mneme_export\":1,\"encoder\":\"e\",\"fingerprint\":\"1\"}",
                                      "{\"mneme_export\":1,\"encoder\":\"e\",\"fingerprint\":\"000000000000000x\"}",
                                      "{\"mneme_export\":1,\"encoder\":\"e\",\"fingerprint\":\"0000000000000001\",\"vectors\":\"int9\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(cli_export_header_read(bad[i], strlen(bad[i]), &header, &reason));
        assert_non_null(reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_short_and_read_back),
        cmocka_unit_test(text_of_any_bytes_is_one_line_of_json),
        cmocka_unit_test(first_line_is_known_from_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
