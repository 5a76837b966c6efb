/* long_line.c -- what is kept of a line that is longer than any encoder takes in. */
#include "cli/long_line.h"

#include <string.h>

/* Texts up to SQUEEZE_FROM bytes stay as they are. */
enum { SQUEEZE_FROM = 65536, WORD_MAX = 1024 };

void cli_long_line_begin(cli_long_line *line, bool json, size_t limit)
{
    *line = (cli_long_line){.json = json, .limit = limit};
}

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_letter_or_digit(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Is one more unit of the text kept? It takes `size` bytes; c is its first, or what stands for it: 0x80 for what
 * continues a character, so that none is cut. */
static bool keeps(cli_long_line *line, unsigned char c, size_t size)
{
    bool space = is_space(c), letter = is_letter_or_digit(c), begins = (c & 0xC0u) != 0x80u;
    if (line->kept >= line->limit && (begins || line->kept >= line->limit + 16)) line->full = true;
    if (line->full) return false;
    if (line->kept >= SQUEEZE_FROM && ((space && line->after_space) || (letter && line->word >= WORD_MAX)))
        return false;
    line->after_space = space;
    line->word = letter ? line->word + 1 : 0;
    line->kept += size;
    return true;
}

/* A run of plain bytes of a text. */
static void feed_text(cli_long_line *line, const char *data, size_t size, cli_text *out)
{
    if (line->full) return;
    if (size <= SQUEEZE_FROM && line->kept <= SQUEEZE_FROM - size) {
        cli_text_append(out, data, size);
        line->kept += size;
        return;
    }
    cli_text_reserve(out, size);
    for (size_t i = 0; i < size && !line->full; i++)
        if (keeps(line, (unsigned char)data[i], 1)) cli_text_byte(out, data[i]);
}

/* ---- JSON ---- */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What stands for a whole escape in keeps(); 0: it is none that JSON knows. */
static unsigned char escape_class(const char *escape, size_t size)
{
    switch (escape[1]) {
    case 'n':
    case 't':
    case 'r': return ' ';
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f': return '/';
    case 'u': break;
    default: return 0;
    }
    if (size < 6) return 0;
    bool second_half = (escape[2] == 'd' || escape[2] == 'D') && strchr("cdefCDEF", escape[3]);
    return second_half ? 0x80 : '/'; /* of a surrogate pair */
}

/* One more byte of an escape. */
static void feed_escape(cli_long_line *line, char c, cli_text *out)
{
    line->escape[line->escape_size++] = c;
    bool is_unicode = line->escape[1] == 'u';
    bool broken = line->escape_size > 2 && !is_hex(c);
    if (is_unicode && line->escape_size < 6 && !broken) return;
    unsigned char class = broken ? 0 : escape_class(line->escape, line->escape_size);
    if (class == 0 || keeps(line, class, line->escape_size)) cli_text_append(out, line->escape, line->escape_size);
    line->escape_size = 0;
    if (broken && c == '"') line->in_string = false;
}

static bool is_plain(char c)
{
    return c != '"' && c != '\\' && (unsigned char)c >= 0x20;
}

/* Bytes of a string from data[0] on; returns how many were taken. */
static size_t feed_string(cli_long_line *line, const char *data, size_t size, cli_text *out)
{
    size_t plain = 0;
    if (line->escape_size) {
        feed_escape(line, data[0], out);
        return 1;
    }
    while (plain < size && is_plain(data[plain])) plain++;
    if (plain) {
        feed_text(line, data, plain, out);
        return plain;
    }
    if (data[0] == '\\') {
        line->escape[line->escape_size++] = data[0];
        return 1;
    }
    if (data[0] == '"') line->in_string = false;
    cli_text_byte(out, data[0]); /* the quote, or a control character, which JSON does not allow */
    return 1;
}

static void feed_json(cli_long_line *line, const char *data, size_t size, cli_text *out)
{
    for (size_t at = 0; at < size;) {
        if (line->in_string) {
            at += feed_string(line, data + at, size - at, out);
            continue;
        }
        char c = data[at++];
        bool space = is_space((unsigned char)c);
        if (space && line->after_space && out->size > SQUEEZE_FROM) continue;
        cli_text_byte(out, c);
        line->after_space = space;
        if (c != '"') continue;
        line->in_string = true;
        line->full = line->after_space = false;
        line->kept = line->word = 0;
    }
}

void cli_long_line_feed(cli_long_line *line, const char *data, size_t size, cli_text *out)
{
    if (line->json)
        feed_json(line, data, size, out);
    else
        feed_text(line, data, size, out);
}
