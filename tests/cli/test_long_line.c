/* test_long_line.c -- what is kept of lines that are longer than an encoder's window, fed in pieces of all sizes. */
#include "test_support.h"

#include "cli/lines.h"
#include "cli/output.h"

#include <unistd.h>

enum { LIMIT = 1 << 20 };

/* The line fed in pieces of `step` bytes. Owned. */
static cli_text feed(bool json, const char *data, size_t size, size_t step)
{
    cli_long_line line;
    cli_text out = {0};
    cli_long_line_begin(&line, json, LIMIT);
    for (size_t at = 0; at < size; at += step)
        cli_long_line_feed(&line, data + at, size - at < step ? size - at : step, &out);
    return out;
}

/* before, n times `unit`, after. Owned. */
static cli_text build(const char *before, const char *unit, size_t n, const char *after)
{
    cli_text text = {0};
    cli_text_string(&text, before);
    for (size_t i = 0; i < n; i++) cli_text_string(&text, unit);
    cli_text_string(&text, after);
    return text;
}

static void assert_ends(const cli_text *text, const char *end)
{
    size_t size = strlen(end);
    assert_true(text->size >= size);
    assert_memory_equal(text->data + text->size - size, end, size);
}

static void line_of_ordinary_length_stays_as_it_is(void **state)
{
    (void)state;
    cli_text line = build("a  \t b", "  x ", 15000, " \xC3\xA4 end  ");
    for (size_t step = 1; step < 100000; step = step * 7 + 1) {
        cli_text out = feed(false, line.data, line.size, step);
        assert_int_equal(out.size, line.size);
        assert_memory_equal(out.data, line.data, line.size);
        cli_text_free(&out);
    }
    cli_text_free(&line);
}

static void line_with_much_white_space_keeps_its_words(void **state)
{
    (void)state;
    cli_text line = build("first", " \t", 3000000, "last words");
    cli_text out = feed(false, line.data, line.size, 65536);
    assert_true(out.size < 140000);
    assert_ends(&out, "last words");
    cli_text_free(&out);
    cli_text_free(&line);
}

static void line_with_a_word_without_end_keeps_what_follows(void **state)
{
    (void)state;
    cli_text line = build("first ", "w0", 3000000, "-last words");
    cli_text out = feed(false, line.data, line.size, 4099);
    assert_true(out.size < 140000);
    assert_ends(&out, "-last words");
    cli_text_free(&out);
    cli_text_free(&line);
}

static void line_over_the_limit_is_cut_between_characters(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        cli_text line = build("xyz" + shift % 4, "\xF0\x9F\x98\x80", 600000, "end");
        cli_text out = feed(false, line.data, line.size, 65521);
        assert_true(out.size >= LIMIT && out.size < LIMIT + 4);
        assert_true(cli_utf8_valid(out.data, out.size));
        assert_memory_equal(out.data, line.data, out.size);
        cli_text_free(&out);
        cli_text_free(&line);
    }
    cli_text broken = build("", "\x80", 3000000, ""); /* no character begins at all */
    cli_text out = feed(false, broken.data, broken.size, 65536);
    assert_true(out.size < LIMIT + 70000);
    cli_text_free(&out);
    cli_text_free(&broken);
}

/* Field "text" of what is kept of a JSON line, which must parse. */
static json_t *kept_text(const cli_text *line, size_t step)
{
    cli_text out = feed(true, line->data, line->size, step);
    json_error_t error;
    json_t *record = json_loadb(out.data, out.size, JSON_ALLOW_NUL, &error);
    if (!record) fail_msg("not JSON: %s", error.text);
    assert_string_equal(json_string_value(json_object_get(record, "id")), "a\"b\\");
    json_t *text = json_incref(json_object_get(record, "text"));
    assert_true(out.size < 2 * LIMIT);
    json_decref(record);
    cli_text_free(&out);
    return text;
}

static void json_of_ordinary_length_stays_as_it_is(void **state)
{
    (void)state;
    cli_text line = build("{\"id\": \"a\\\"b\\\\\",  \"text\":\"\\ud83d\\ude00", "x \\n", 10000,
                          "\\\\\", \"n\": [1, 2.5e3, null]}");
    for (size_t step = 1; step < 100000; step = step * 5 + 1) {
        cli_text out = feed(true, line.data, line.size, step);
        assert_int_equal(out.size, line.size);
        assert_memory_equal(out.data, line.data, line.size);
        cli_text_free(&out);
    }
    cli_text_free(&line);
}

static void json_with_a_long_text_is_cut_inside_the_text(void **state)
{
    (void)state;
    static const struct {
        const char *unit;
        bool end_is_kept; /* "-end" */
    } cases[] = {
        {"word ", false},
        {"\\u4e2d", false},        /* escapes count by their bytes */
        {"\\ud83d\\ude00", false}, /* pairs stay together, or the parser would refuse them */
        {"\xE6\x97\xA5", false},
        {"\\\"", false},
        {"\\n", true}, /* white space is kept once */
        {" ", true},
        {"a", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t shift = 0; shift < 3; shift++) {
            char before[80];
            snprintf(before, sizeof before, "{\"id\":\"a\\\"b\\\\\",\"text\":\"%.*s", (int)shift, "xyz");
            cli_text line = build(before, cases[i].unit, 4000000 / strlen(cases[i].unit), "-end");
            cli_text_string(&line, "\", \"title\": \"t\"}");
            json_t *text = kept_text(&line, 65536 - shift * 5);
            size_t size = json_string_length(text);
            assert_true(size > 60000 / strlen(cases[i].unit));
            bool kept = strcmp(json_string_value(text) + size - 4, "-end") == 0;
            assert_int_equal(kept, cases[i].end_is_kept);
            json_decref(text);
            cli_text_free(&line);
        }
    }
}

static void json_that_is_wrong_stays_wrong(void **state)
{
    (void)state;
    static const char *const ends[] = {"\\q\"}", "\\u12g4\"}", "\x01\"}", "", "\"", "\\\"}", "\"}}", "\\u12\"}"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        cli_text line = build("{\"text\":\"", "word ", 400000, ends[i]);
        cli_text out = feed(true, line.data, line.size, 65536);
        json_t *value = json_loadb(out.data, out.size, JSON_ALLOW_NUL, NULL);
        if (value) fail_msg("taken for JSON with the end %s", ends[i]);
        cli_text_free(&out);
        cli_text_free(&line);
    }
}

static int temporary_file(const cli_text *text)
{
    FILE *file = tmpfile();
    fwrite(text->data, 1, text->size, file);
    fflush(file);
    int fd = dup(fileno(file));
    fclose(file);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void lines_that_are_cut_hold_little_and_count_on(void **state)
{
    (void)state;
    cli_text data = build("one\n", "a word ", 4000000 / 7, "\r\nthree\n{\"text\":\"");
    cli_text long_string = build("", "a word ", 4000000 / 7, "\"}\n[");
    cli_text many = build("", "1,", 2000000, "1]\nlast");
    cli_text_append(&data, long_string.data, long_string.size);
    cli_text_append(&data, many.data, many.size);
    int fd = temporary_file(&data);
    cli_lines lines;
    cli_lines_begin(&lines, fd, LIMIT);
    lines.hashing = true;
    lines.longer = CLI_LINES_CUT;
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
    assert_int_equal(cli_lines_taken(&lines), 4);
    assert_true(lines.hash == cli_lines_hash(CLI_LINES_HASH, "one\n", 4));
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
    assert_int_equal(lines.line.size, LIMIT);
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
    assert_string_equal(lines.line.data, "three");
    lines.longer = CLI_LINES_CUT_STRINGS;
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
    json_t *value = json_loadb(lines.line.data, lines.line.size, 0, NULL);
    assert_int_equal(json_string_length(json_object_get(value, "text")), LIMIT);
    json_decref(value);
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_TOO_LONG); /* not made of strings */
    assert_false(lines.unended);
    assert_true(lines.line.capacity <= 4 * LIMIT);
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
    assert_string_equal(lines.line.data, "last");
    assert_int_equal(lines.number, 6);
    assert_true(lines.unended);
    assert_int_equal(cli_lines_taken(&lines), data.size);
    assert_true(lines.hash == cli_lines_hash(CLI_LINES_HASH, data.data, data.size));
    cli_lines_end(&lines);

    lseek(fd, 0, SEEK_SET); /* passing over bytes hashes them, too */
    cli_lines_begin(&lines, fd, LIMIT);
    lines.hashing = true;
    cli_lines_skip(&lines, 100000);
    assert_int_equal(cli_lines_taken(&lines), 100000);
    assert_true(lines.hash == cli_lines_hash(CLI_LINES_HASH, data.data, 100000));
    cli_lines_skip(&lines, UINT64_MAX);
    assert_int_equal(cli_lines_taken(&lines), data.size);
    cli_lines_end(&lines);
    close(fd);
    cli_text_free(&data);
    cli_text_free(&long_string);
    cli_text_free(&many);
}

/* A pipe hands out its bytes in small pieces: the first line is looked at whole even so. */
static void lines_peek_on_a_pipe_sees_the_first_line(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        for (const char *c = "{\"text\":\"x\"}\nrest"; *c; c++) {
            if (write(ends[1], c, 1) != 1) _exit(1);
            usleep(1000);
        }
        _exit(0);
    }
    close(ends[1]);
    cli_lines lines;
    const char *data;
    cli_lines_begin(&lines, ends[0], LIMIT);
    size_t size = cli_lines_peek(&lines, &data);
    assert_true(size >= 13);
    assert_memory_equal(data, "{\"text\":\"x\"}\n", 13);
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
    assert_string_equal(lines.line.data, "{\"text\":\"x\"}");
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
    assert_string_equal(lines.line.data, "rest");
    cli_lines_end(&lines);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_of_ordinary_length_stays_as_it_is),
        cmocka_unit_test(line_with_much_white_space_keeps_its_words),
        cmocka_unit_test(line_with_a_word_without_end_keeps_what_follows),
        cmocka_unit_test(line_over_the_limit_is_cut_between_characters),
        cmocka_unit_test(json_of_ordinary_length_stays_as_it_is),
        cmocka_unit_test(json_with_a_long_text_is_cut_inside_the_text),
        cmocka_unit_test(json_that_is_wrong_stays_wrong),
        cmocka_unit_test(lines_that_are_cut_hold_little_and_count_on),
        cmocka_unit_test(lines_peek_on_a_pipe_sees_the_first_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
