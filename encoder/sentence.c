/* sentence.c -- where sentences, headings and list items begin and end, in Markdown as in plain prose.
 *
 * A border is a blank line, a heading or list item on a new line, or a full stop with white space behind it. A single
 * line break is white space: books are wrapped hard. What looks like a full stop is none after an abbreviation or an
 * initial, and before a small letter. */
#include "encoder/chunker.h"

#include "common/utf8.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static size_t line_end(const char *text, size_t size, size_t at)
{
    const char *found = memchr(text + at, '\n', size - at);
    return found ? (size_t)(found - text) : size;
}

static bool is_blank_line(const char *text, size_t start, size_t end)
{
    while (start < end && is_space(text[start])) start++;
    return start == end;
}

/* ---- lines that are something of their own ---- */

static bool is_atx_heading(const char *text, size_t start, size_t end)
{
    size_t marks = 0;
    while (start + marks < end && text[start + marks] == '#') marks++;
    return marks >= 1 && marks <= 6 && start + marks < end && (text[start + marks] == ' ' || text[start + marks] == '\t');
}

/* "====" or "----" under a line of text. */
static bool is_underline(const char *text, size_t start, size_t end)
{
    while (end > start && is_space(text[end - 1])) end--;
    if (end - start < 3 || (text[start] != '=' && text[start] != '-')) return false;
    for (size_t i = start; i < end; i++)
        if (text[i] != text[start]) return false;
    return true;
}

static bool is_list_item(const char *text, size_t start, size_t end)
{
    size_t at = start, digits = 0;
    if (at < end && text[at] && strchr("-*+", text[at])) return at + 1 < end && (text[at + 1] == ' ' || text[at + 1] == '\t');
    while (at + digits < end && isdigit((unsigned char)text[at + digits])) digits++;
    at += digits;
    return digits >= 1 && digits <= 3 && at + 1 < end && (text[at] == '.' || text[at] == ')') && text[at + 1] == ' ';
}

/* A short line of capitals between blank lines, as books set their titles. */
static bool is_title_line(const char *text, size_t size, size_t start, size_t end)
{
    enum { LONGEST = 100 };
    size_t letters = 0, before = start;
    if (end - start > LONGEST || end - start < 2) return false;
    for (size_t i = start; i < end; i++) {
        if (islower((unsigned char)text[i]) || (unsigned char)text[i] >= 0x80) return false;
        letters += isupper((unsigned char)text[i]) != 0;
    }
    if (letters < 2) return false;
    while (before > 0 && (text[before - 1] == ' ' || text[before - 1] == '\t' || text[before - 1] == '\r')) before--;
    if (before > 0) { /* the line above must be blank */
        size_t above = before - 1;
        while (above > 0 && text[above - 1] != '\n') above--;
        if (!is_blank_line(text, above, before - 1)) return false;
    }
    return end >= size || is_blank_line(text, end + 1 < size ? end + 1 : size, line_end(text, size, end + 1 < size ? end + 1 : size));
}

/* The end of the heading that begins here, or `start` when there is none. */
static size_t heading_end(const char *text, size_t size, size_t start)
{
    size_t end = line_end(text, size, start);
    if (is_atx_heading(text, start, end) || is_title_line(text, size, start, end)) return end;
    if (end < size && !is_list_item(text, start, end)) {
        size_t next_end = line_end(text, size, end + 1);
        if (is_underline(text, end + 1, next_end)) return next_end;
    }
    return start;
}

/* Does the line break at text[at] end what is being read? */
static bool breaks_paragraph(const char *text, size_t size, size_t at)
{
    size_t start = at + 1;
    while (start < size && (text[start] == ' ' || text[start] == '\t' || text[start] == '\r')) start++;
    if (start >= size || text[start] == '\n') return true;
    size_t end = line_end(text, size, start);
    return is_atx_heading(text, start, end) || is_list_item(text, start, end);
}

/* ---- full stops ---- */

/* The word that ends at text[end): is it one that a full stop does not end a sentence after? */
static bool is_abbreviation(const char *text, size_t start, size_t end)
{
    static const char *const known[] = {"mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "rev", "gen", "col", "capt", "lt",
                                        "sgt", "hon", "vs", "etc", "fig", "figs", "no", "nos", "vol", "vols", "ch", "sec", "eq",
                                        "eqs", "ref", "refs", "al", "e.g", "i.e", "cf", "approx", "ca", "viz", "inc", "ltd",
                                        "co", "corp", "dept", "est", "p", "pp", "bzw", "z.b", "d.h", "usw"};
    size_t from = end;
    while (from > start && (isalpha((unsigned char)text[from - 1]) || text[from - 1] == '.')) from--;
    size_t size = end - from;
    if (size == 1 && isupper((unsigned char)text[from])) return true; /* an initial */
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i]) == size && strncasecmp(text + from, known[i], size) == 0) return true;
    return false;
}

/* Bytes of the closing quote or bracket at text[at]; 0 = none. */
static size_t closer_size(const char *text, size_t size, size_t at)
{
    uint32_t c = 0;
    size_t n = at < size ? mn_utf8_decode(text + at, size - at, &c) : 0;
    if (n == 1) return strchr("\"')]}*_", text[at]) && text[at] ? 1 : 0;
    if (n == 0) return 0;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_PF || category == UTF8PROC_CATEGORY_PE ? n : 0;
}

static bool begins_small(const char *text, size_t size, size_t at)
{
    uint32_t c = 0;
    return at < size && mn_utf8_decode(text + at, size - at, &c) > 0 &&
           utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LL;
}

/* Bytes of the full stop at text[at] (ASCII, ellipsis, CJK); *needs_space: white space must follow for it to end. */
static size_t stop_size(const char *text, size_t size, size_t at, bool *needs_space)
{
    *needs_space = true;
    if (text[at] == '.' || text[at] == '!' || text[at] == '?') return 1;
    if ((unsigned char)text[at] < 0x80) return 0;
    uint32_t c = 0;
    size_t n = mn_utf8_decode(text + at, size - at, &c);
    if (c == 0x2026) return n;
    *needs_space = false;
    return c == 0x3002 || c == 0xFF01 || c == 0xFF1F || c == 0x0964 ? n : 0;
}

/* Full stops one after another: past the last, past what closes behind it, and past white space. */
typedef struct stop_run {
    size_t stops_end, end, next;
} stop_run;

static stop_run stop_run_at(const char *text, size_t size, size_t at)
{
    stop_run run = {.end = at};
    bool needs_space;
    for (size_t more; run.end < size && (more = stop_size(text, size, run.end, &needs_space)) > 0;) run.end += more;
    run.stops_end = run.end;
    for (size_t closer; (closer = closer_size(text, size, run.end)) > 0;) run.end += closer;
    run.next = run.end;
    while (run.next < size && is_space(text[run.next])) run.next++;
    return run;
}

/* One past the sentence end at text[at], or 0 when nothing ends here. run: the last one that was looked at. */
static size_t sentence_stop(const char *text, size_t size, size_t start, size_t at, stop_run *run)
{
    bool needs_space;
    if (stop_size(text, size, at, &needs_space) == 0) return 0;
    if (at >= run->stops_end) *run = stop_run_at(text, size, at);
    if (!needs_space || run->end >= size) return run->end;
    if (!is_space(text[run->end])) return 0;
    bool dot = text[at] == '.' || (unsigned char)text[at] == 0xE2;
    if (dot && (begins_small(text, size, run->next) || is_abbreviation(text, start, at))) return 0;
    return run->end;
}

bool mn_next_sentence(const char *text, size_t size, size_t *at, size_t *start, size_t *end, bool *is_heading)
{
    size_t from = *at;
    bool line_begins = from == 0 || text[from - 1] == '\n';
    for (; from < size && is_space(text[from]); from++) line_begins |= text[from] == '\n';
    *is_heading = false;
    *start = *end = from;
    if (from >= size) return false;
    size_t to = line_begins ? heading_end(text, size, from) : from;
    stop_run run = {0};
    *is_heading = to > from;
    for (size_t i = from; to == from; i++) {
        if (i >= size || (text[i] == '\n' && breaks_paragraph(text, size, i))) to = i;
        else if (!is_space(text[i])) {
            size_t stop = sentence_stop(text, size, from, i, &run);
            if (stop) to = stop;
        }
    }
    *at = to;
    while (to > from && is_space(text[to - 1])) to--;
    *end = to;
    return true;
}
