/* snippet.c -- the part of a text that answers a question best.
 *
 * The text is seen as pieces (runs without white space); each piece knows its columns and which word of the question it
 * holds. A window slides over the pieces and the one with the most different words of the question wins, the first of
 * equals. */
#include "cli/snippet.h"

#include "cli/output.h"

#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#define WORD_BYTES 128
#define NO_WORD SIZE_MAX

/* Words so common that marking them would only be noise. */
static bool is_common(const char *word)
{
    static const char *const common[] = {
        "the",  "and", "for",  "are",   "was",  "were", "did",  "does",  "has",   "have",  "had",  "what", "when",
        "who",  "why", "how",  "which", "that", "this", "with", "from",  "into",  "his",   "her",  "its",  "their",
        "they", "you", "your", "where", "been", "will", "can",  "could", "would", "about", "there"};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (strcmp(common[i], word) == 0) return true;
    return false;
}

/* The bytes of the word (letters and digits) at text[at], 0 when there is none. */
static size_t word_at(const char *text, size_t size, size_t at)
{
    size_t start = at;
    while (at < size) {
        uint32_t codepoint = 0;
        size_t length = cli_utf8_decode(text + at, size - at, &codepoint);
        if (length == 0 || !iswalnum((wint_t)codepoint)) break;
        at += length;
    }
    return at - start;
}

static size_t encode(uint32_t codepoint, char *out)
{
    if (codepoint < 0x80) {
        out[0] = (char)codepoint;
        return 1;
    }
    size_t length = codepoint < 0x800 ? 2 : codepoint < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, codepoint >>= 6) out[i] = (char)(0x80 | (codepoint & 0x3F));
    out[0] = (char)((0xF00u >> length & 0xF0u) | codepoint);
    return length;
}

/* The word in lower case, NUL-terminated; false when it is too long to be one. */
static bool lower(const char *text, size_t size, char out[WORD_BYTES])
{
    size_t used = 0;
    for (size_t at = 0; at < size;) {
        uint32_t codepoint = 0;
        size_t length = cli_utf8_decode(text + at, size - at, &codepoint);
        if (length == 0 || used + 4 >= WORD_BYTES) return false;
        used += encode((uint32_t)towlower((wint_t)codepoint), out + used);
        at += length;
    }
    out[used] = '\0';
    return used > 0;
}

void cli_question_read(cli_question *question, const char *text)
{
    char word[WORD_BYTES];
    size_t size = strlen(text);
    for (size_t at = 0; at < size && question->n < CLI_QUESTION_WORDS;) {
        size_t length = word_at(text, size, at);
        if (length >= 3 && lower(text + at, length, word) && !is_common(word))
            question->words[question->n++] = cli_strdup(word);
        at += length ? length : 1;
    }
}

void cli_question_free(cli_question *question)
{
    for (size_t i = 0; i < question->n; i++) free(question->words[i]);
    *question = (cli_question){0};
}

/* The same word, or the same beginning up to an ending of at most three letters. */
static bool similar(const char *a, const char *b)
{
    size_t a_size = strlen(a), b_size = strlen(b), common = 0;
    while (a[common] && a[common] == b[common]) common++;
    size_t longer = a_size > b_size ? a_size : b_size;
    return common == longer || (common >= 4 && common + 3 >= longer);
}

bool cli_question_matches(const cli_question *question, const char *text, size_t size, size_t *index)
{
    char word[WORD_BYTES];
    if (size < 3 || !lower(text, size, word)) return false;
    for (size_t i = 0; i < question->n; i++) {
        if (!similar(word, question->words[i])) continue;
        if (index) *index = i;
        return true;
    }
    return false;
}

/* ---- pieces ---- */

typedef struct piece {
    size_t start, size;
    size_t columns;
    size_t word; /* of the question, NO_WORD = none */
} piece;

typedef struct piece_list {
    piece *items;
    size_t n, capacity;
} piece_list;

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == '\0';
}

static size_t word_of_piece(const cli_question *question, const char *text, size_t size)
{
    size_t index = NO_WORD;
    for (size_t at = 0; at < size;) {
        size_t length = word_at(text, size, at);
        if (length && cli_question_matches(question, text + at, length, &index)) return index;
        at += length ? length : 1;
    }
    return NO_WORD;
}

/* Split into pieces; none is wider than max_columns (writing without spaces is cut anywhere). */
static void split(const cli_question *question, const char *text, size_t size, size_t max_columns, piece_list *out)
{
    for (size_t at = 0; at < size;) {
        if (is_space(text[at])) {
            at++;
            continue;
        }
        size_t start = at, columns = 0;
        while (at < size && !is_space(text[at])) {
            uint32_t codepoint = 0;
            size_t length = cli_utf8_decode(text + at, size - at, &codepoint);
            size_t wide = cli_columns(text + at, length ? length : 1);
            if (columns + wide > max_columns) break;
            columns += wide;
            at += length ? length : 1;
        }
        if (out->n == out->capacity) {
            out->capacity = out->capacity ? out->capacity * 2 : 64;
            out->items = cli_realloc(out->items, out->capacity, sizeof *out->items);
        }
        out->items[out->n++] = (piece){start, at - start, columns, word_of_piece(question, text + start, at - start)};
    }
}

/* ---- the window ---- */

/* One past the last piece of the window of `budget` columns that begins at `first`; *score: different words in it. */
static size_t window_end(const piece_list *pieces, size_t first, size_t budget, size_t *score)
{
    uint64_t seen = 0;
    size_t used = 0, end = first;
    for (; end < pieces->n && (end == first || used + pieces->items[end].columns <= budget); end++) {
        used += pieces->items[end].columns + 1;
        if (pieces->items[end].word != NO_WORD) seen |= UINT64_C(1) << pieces->items[end].word;
    }
    *score = 0;
    for (; seen; seen &= seen - 1) ++*score;
    return end;
}

static size_t best_window(const piece_list *pieces, size_t budget, size_t *end)
{
    size_t best = 0, best_score = 0;
    *end = window_end(pieces, 0, budget, &best_score);
    for (size_t i = 1; i < pieces->n && *end < pieces->n; i++) {
        /* Begin a few pieces before a word of the question: it reads better in its sentence. */
        if (i + 6 < pieces->n && pieces->items[i + 6].word == NO_WORD) continue;
        size_t score, window = window_end(pieces, i, budget, &score);
        if (score <= best_score) continue;
        best_score = score;
        best = i;
        *end = window;
    }
    return best;
}

/* One piece with its matching words marked; control characters that could drive the terminal are replaced. */
static void append_piece(const cli_question *question, const char *text, size_t size, cli_text *out)
{
    for (size_t at = 0; at < size;) {
        size_t length = word_at(text, size, at);
        bool mark = length && cli_question_matches(question, text + at, length, NULL);
        if (mark) cli_text_string(out, cli_style_on(CLI_MATCH));
        if (length) {
            cli_text_append(out, text + at, length);
        } else {
            uint32_t codepoint = 0;
            length = cli_utf8_decode(text + at, size - at, &codepoint);
            bool control = codepoint < 0x20 || (codepoint >= 0x7F && codepoint < 0xA0);
            if (length == 0 || control) cli_text_string(out, "\xEF\xBF\xBD");
            else cli_text_append(out, text + at, length);
        }
        if (mark) cli_text_string(out, cli_style_off());
        at += length ? length : 1;
    }
}

void cli_snippet(const cli_question *question, const char *text, size_t size, unsigned indent, unsigned width,
                 unsigned lines, cli_text *out)
{
    size_t line_columns = width > indent + 10 ? width - indent : 10;
    piece_list all = {0};
    split(question, text, size, line_columns, &all);
    size_t end, first = best_window(&all, line_columns * lines - 8, &end);
    size_t column = 0;
    unsigned line = 0;
    for (size_t i = first; i < end && line < lines; i++) {
        const piece *now = &all.items[i];
        bool before = i == first && first > 0;
        size_t columns = now->columns + (before ? 4 : 0);
        bool fits = column > 0 && column + 1 + columns <= line_columns - (line + 1 == lines ? 4 : 0);
        if (!fits && column > 0 && line + 1 == lines) {
            end = i;
            break;
        }
        if (!fits) {
            if (column > 0) cli_text_byte(out, '\n'), line++;
            cli_text_format(out, "%*s", (int)indent, "");
            column = 0;
        }
        if (column > 0) cli_text_byte(out, ' '), column++;
        if (before) cli_text_string(out, "... ");
        append_piece(question, text + now->start, now->size, out);
        column += columns;
    }
    if (end < all.n && column > 0) cli_text_string(out, " ...");
    if (column > 0) cli_text_byte(out, '\n');
    free(all.items);
}
