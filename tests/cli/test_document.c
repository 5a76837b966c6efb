/* test_document.c -- files become text: HTML, Markdown titles, PDF, binary files, lines. Expected texts are written by
 * hand from what a browser or a Markdown reader shows. */
#include "test_support.h"

#include "cli/document.h"
#include "cli/html.h"
#include "cli/lines.h"
#include "cli/snippet.h"

#include <fcntl.h>
#include <unistd.h>

static void assert_html(const char *html, const char *text, const char *title)
{
    cli_text out = {0};
    char *found = NULL;
    char reason[200];
    assert_true(cli_html_text(html, strlen(html), &out, &found, reason, sizeof reason));
    assert_string_equal(out.data ? out.data : "", text);
    if (title)
        assert_string_equal(found, title);
    else
        assert_null(found);
    cli_text_free(&out);
    free(found);
}

static void html_page_becomes_readable_text(void **state)
{
    (void)state;
    assert_html("<!doctype html><html><head><title>\n Good  Soup </title><style>p{}</style></head><body><h1>Soup</h1>"
                "<p>Boil <b>water</b>\n   first.</p><script>alert('no')</script><p>Then&nbsp;salt &amp; "
                "pepper.<br>Stir.</p></body></html>",
                "# Soup\n\nBoil water first.\n\nThen\xC2\xA0salt & pepper.\nStir.\n", "Good Soup");
    assert_html("<ul><li>one</li><li>two <i>or</i> three</li></ul>after", "- one\n- two or three\n\nafter\n", NULL);
    assert_html("<table><tr><th>Name</th><th>Age</th></tr><tr><td>Ana</td><td>41</td></tr></table>",
                "Name | Age\nAna | 41\n", NULL);
    assert_html("<pre>a\n  b</pre><p>x   y</p>", "a\n  b\n\nx y\n", NULL);
    assert_html("<h2>Second</h2><p>p</p><h1>First <em>one</em></h1>", "## Second\n\np\n\n# First one\n", "First one");
    assert_html("<p>A <img src=x alt='red door'> here</p>", "A red door here\n", NULL);
    assert_html("", "", NULL);
}

static void html_broken_page_is_read_as_far_as_it_goes(void **state)
{
    (void)state;
    assert_html("<p>open <b>bold <i>both</b> tail <p>next<", "open bold both tail\n\nnext<\n", NULL);
    assert_html("no markup at all", "no markup at all\n", NULL);
}

static void html_encodings_come_out_as_utf8(void **state)
{
    (void)state;
    assert_html("<p>Caf\xC3\xA9</p>", "Caf\xC3\xA9\n", NULL);
    assert_html("\xEF\xBB\xBF<p>Caf\xC3\xA9</p>", "Caf\xC3\xA9\n", NULL);
    assert_html("<meta charset=iso-8859-1><p>Caf\xE9</p>", "Caf\xC3\xA9\n", NULL);
}

/* 100,000 open elements: no recursion of ours may end the program. */
static void html_deep_nesting_survives(void **state)
{
    (void)state;
    size_t n = 100000;
    char *page = malloc(n * 5 + 5), *title = NULL;
    for (size_t i = 0; i < n; i++) memcpy(page + i * 5, "<div>", 5);
    memcpy(page + n * 5, "deep", 5);
    cli_text out = {0};
    char reason[200];
    cli_html_text(page, n * 5 + 4, &out, &title, reason, sizeof reason);
    cli_text_free(&out);
    free(title);
    free(page);
}

static void assert_title(const char *markdown, const char *title)
{
    cli_document document = {0};
    assert_int_equal(cli_document_from(markdown, strlen(markdown), CLI_FORMAT_MARKDOWN, &document), CLI_READING_FINE);
    assert_string_equal(document.text, markdown);
    if (title)
        assert_string_equal(document.title, title);
    else
        assert_null(document.title);
    cli_document_free(&document);
}

static void markdown_title_is_first_heading(void **state)
{
    (void)state;
    assert_title("# Garden\n\ntext", "Garden");
    assert_title("intro\n\n## Second level ##\n# Later\n", "Second level");
    assert_title("Big Title\n=========\n\ntext", "Big Title");
    assert_title("Smaller\r\n---\r\n", "Smaller");
    assert_title("```\n# a comment\n```\n# Real\n", "Real");
    assert_title("---\ntitle: front\n---\n# After\n", "After");
    assert_title("#hashtag is none\n####### seven is none\n", NULL);
    assert_title("# C# and F#\n", "C# and F#");
    assert_title("    # indented code\n\nplain\n", NULL);
    assert_title("text only", NULL);
    assert_title("#\nnothing in it\n", NULL);
}

static void document_binary_empty_and_text_are_told_apart(void **state)
{
    (void)state;
    cli_document document = {0};
    assert_int_equal(cli_document_from("PNG\0\1\2", 6, CLI_FORMAT_TEXT, &document), CLI_READING_BINARY);
    assert_int_equal(cli_document_from(" \r\n\t\n", 5, CLI_FORMAT_TEXT, &document), CLI_READING_EMPTY);
    assert_int_equal(cli_document_from("", 0, CLI_FORMAT_HTML, &document), CLI_READING_EMPTY);
    assert_int_equal(cli_document_from("\xEF\xBB\xBFhello", 8, CLI_FORMAT_TEXT, &document), CLI_READING_FINE);
    assert_string_equal(document.text, "hello");
    cli_document_free(&document);
    assert_int_equal(cli_document_from("bad \xFF byte", 10, CLI_FORMAT_TEXT, &document), CLI_READING_FINE);
    assert_memory_equal(document.text, "bad \xFF byte", 10); /* the store repairs and counts it */
    cli_document_free(&document);
}

static void document_format_follows_the_name(void **state)
{
    (void)state;
    assert_int_equal(cli_format_of("a/b.MD"), CLI_FORMAT_MARKDOWN);
    assert_int_equal(cli_format_of("x.htm"), CLI_FORMAT_HTML);
    assert_int_equal(cli_format_of("x.pdf"), CLI_FORMAT_PDF);
    assert_int_equal(cli_format_of("x.jsonl"), CLI_FORMAT_JSONL);
    assert_int_equal(cli_format_of("x.html/readme"), CLI_FORMAT_TEXT);
    assert_int_equal(cli_format_of("Makefile"), CLI_FORMAT_TEXT);
}

static void document_over_the_limit_is_refused(void **state)
{
    (void)state;
    char *dir = test_make_dir(), path[1200];
    cli_document document = {0};
    snprintf(path, sizeof path, "%s/a.txt", dir);
    FILE *file = fopen(path, "w");
    fputs("0123456789", file);
    fclose(file);
    assert_int_equal(cli_document_read(path, CLI_FORMAT_AUTO, 10, &document), CLI_READING_FINE);
    cli_document_free(&document);
    assert_int_equal(cli_document_read(path, CLI_FORMAT_AUTO, 9, &document), CLI_READING_REFUSED);
    assert_non_null(strstr(document.reason, "size limit"));
    assert_int_equal(cli_document_read("/nonexistent", CLI_FORMAT_AUTO, 9, &document), CLI_READING_REFUSED);
    assert_non_null(strstr(document.reason, "No such file"));
    test_remove_dir(dir);
}

/* A one-page PDF by hand; pdftotext must find its words. Without pdftotext, the reason names it. */
static void document_pdf_goes_through_pdftotext(void **state)
{
    (void)state;
    static const char pdf[] =
        "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 "
        "R>>>>>>endobj\n"
        "4 0 obj<</Length 44>>stream\nBT /F1 18 Tf 20 100 Td (Hello harbour) Tj ET\nendstream endobj\n"
        "5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";
    char *dir = test_make_dir(), path[1200];
    cli_document document = {0};
    snprintf(path, sizeof path, "%s/-a b'$(x).pdf", dir); /* a name that a shell would trip over */
    FILE *file = fopen(path, "w");
    fwrite(pdf, 1, sizeof pdf - 1, file);
    fclose(file);
    cli_reading reading = cli_document_read(path, CLI_FORMAT_AUTO, 1 << 20, &document);
    if (system("command -v pdftotext >/dev/null 2>&1") == 0) {
        assert_int_equal(reading, CLI_READING_FINE);
        assert_non_null(strstr(document.text, "Hello harbour"));
        cli_document_free(&document);
        truncate(path, 20);
        assert_int_equal(cli_document_read(path, CLI_FORMAT_AUTO, 1 << 20, &document), CLI_READING_REFUSED);
        assert_non_null(strstr(document.reason, "pdftotext"));
    }
    char *old_path = strdup(getenv("PATH"));
    setenv("PATH", "/nonexistent", 1);
    assert_int_equal(cli_document_read(path, CLI_FORMAT_AUTO, 1 << 20, &document), CLI_READING_REFUSED);
    assert_non_null(strstr(document.reason, "pdftotext, which is not installed"));
    setenv("PATH", old_path, 1);
    free(old_path);
    test_remove_dir(dir);
}

/* ---- lines ---- */

static int file_with(const char *data, size_t size)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fwrite(data, 1, size, file);
    fflush(file);
    int fd = dup(fileno(file));
    fclose(file);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void lines_breaks_and_the_last_line_are_right(void **state)
{
    (void)state;
    static const char data[] = "one\r\n\nthree\0x\nlast";
    static const struct {
        const char *text;
        size_t size;
    } expected[] = {{"one", 3}, {"", 0}, {"three\0x", 7}, {"last", 4}};
    cli_lines lines;
    int fd = file_with(data, sizeof data - 1);
    cli_lines_begin(&lines, fd, 100);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
        assert_int_equal(lines.number, i + 1);
        assert_int_equal(lines.line.size, expected[i].size);
        assert_memory_equal(lines.line.data ? lines.line.data : "", expected[i].text, expected[i].size);
    }
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_END);
    assert_int_equal(lines.bytes, sizeof data - 1);
    cli_lines_end(&lines);
    close(fd);
}

static void lines_too_long_are_passed_over(void **state)
{
    (void)state;
    size_t size = 300000; /* several pieces of reading */
    char *data = malloc(size);
    memset(data, 'x', size);
    data[3] = '\n';
    memcpy(data + size - 4, "\nend", 4);
    cli_lines lines;
    int fd = file_with(data, size);
    cli_lines_begin(&lines, fd, 1000);
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_TOO_LONG);
    assert_int_equal(lines.number, 2);
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_LINE);
    assert_string_equal(lines.line.data, "end");
    assert_true(lines.line.capacity < 8192); /* the long line was never held */
    assert_int_equal(cli_lines_next(&lines), CLI_LINES_END);
    cli_lines_end(&lines);
    close(fd);
    free(data);
}

/* ---- UTF-8: the example of the Unicode standard (table 3-8), "maximal subparts" ---- */

static void repair_counts_maximal_subparts(void **state)
{
    (void)state;
    static const char data[] = "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64";
    cli_text text = {0};
    assert_int_equal(cli_text_repaired(&text, data, sizeof data - 1), 6);
    assert_string_equal(text.data, "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                                   "b\xEF\xBF\xBD"
                                   "c\xEF\xBF\xBD\xEF\xBF\xBD"
                                   "d");
    cli_text_free(&text);
    assert_false(cli_utf8_valid("\xED\xA0\x80", 3)); /* a surrogate */
    assert_false(cli_utf8_valid("\xC0\xAF", 2));     /* overlong */
    assert_true(cli_utf8_valid("\xF0\x9F\x98\x80", 4));
}

/* ---- snippets ---- */

static void snippet_shows_the_words_asked_for(void **state)
{
    (void)state;
    cli_question question = {0};
    cli_text text = {0}, out = {0};
    cli_question_read(&question, "Where are the Keys hidden?");
    assert_int_equal(question.n, 2); /* keys, hidden: the others are too common */
    for (int i = 0; i < 200; i++) cli_text_string(&text, "filler words go on ");
    cli_text_string(&text, "the key is hidden in the oven ");
    for (int i = 0; i < 200; i++) cli_text_string(&text, "and more of the same ");
    cli_snippet(&question, text.data, text.size, 4, 60, 2, &out);
    assert_non_null(strstr(out.data, "key is hidden"));
    assert_int_equal(strncmp(out.data, "    ... ", 8), 0);
    size_t lines = 0;
    for (char *line = strtok(out.data, "\n"); line; line = strtok(NULL, "\n"), lines++) assert_true(strlen(line) <= 60);
    assert_int_equal(lines, 2);
    cli_question_free(&question);
    cli_text_free(&text);
    cli_text_free(&out);
}

static void snippet_odd_texts_are_taken(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", " \n ", "\x1b[31mred\x07", "\xFF\xFE",
        "\xE6\x9D\xB1\xE4\xBA\xAC\xE6\x9D\xB1\xE4\xBA\xAC\xE6\x9D\xB1\xE4\xBA\xAC\xE6\x9D\xB1\xE4\xBA\xAC"};
    cli_question question = {0};
    cli_question_read(&question, "\xFF red \xE6\x9D\xB1");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cli_text out = {0};
        cli_snippet(&question, texts[i], strlen(texts[i]), 2, 20, 3, &out);
        if (out.data) assert_null(strchr(out.data, '\x1b')); /* stored text cannot drive the terminal */
        cli_text_free(&out);
    }
    cli_question_free(&question);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(html_page_becomes_readable_text),
        cmocka_unit_test(html_broken_page_is_read_as_far_as_it_goes),
        cmocka_unit_test(html_encodings_come_out_as_utf8),
        cmocka_unit_test(html_deep_nesting_survives),
        cmocka_unit_test(markdown_title_is_first_heading),
        cmocka_unit_test(document_binary_empty_and_text_are_told_apart),
        cmocka_unit_test(document_format_follows_the_name),
        cmocka_unit_test(document_over_the_limit_is_refused),
        cmocka_unit_test(document_pdf_goes_through_pdftotext),
        cmocka_unit_test(lines_breaks_and_the_last_line_are_right),
        cmocka_unit_test(lines_too_long_are_passed_over),
        cmocka_unit_test(repair_counts_maximal_subparts),
        cmocka_unit_test(snippet_shows_the_words_asked_for),
        cmocka_unit_test(snippet_odd_texts_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
