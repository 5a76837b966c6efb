/* words.c -- segmentation and folding; utf8proc knows the characters. ASCII, nearly all of most texts, is decided by
 * one table. */
#include "retriever/words.h"

#include "common/utf8.h"

#include <string.h>
#include <utf8proc.h>

enum {
    RAW_MAX = 128,     /* bytes of one word that count */
    RUN_MAX = 192,     /* bytes of an unspaced run that are folded at once */
    POINTS_MAX = 1152, /* RUN_MAX / 3 characters, each at most 18 after NFKC (the longest expansion there is) */
};

/* 0: parts words; else the lower-case form of an ASCII letter or digit. */
static const char g_lower[128] = {
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6', ['7'] = '7',
    ['8'] = '8', ['9'] = '9', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f',
    ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n',
    ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v',
    ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd',
    ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l',
    ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't',
    ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z',
};

typedef enum char_class {
    BORDER,
    WORD,     /* letter or digit of a script with spaces */
    MARK,     /* goes on with what is before it */
    UNSPACED, /* letter of a script without spaces */
    IGNORED,  /* soft hyphen, joiners: as if not there, inside a word */
} char_class;

typedef struct code_range {
    uint32_t first, last;
} code_range;

/* Blocks of the scripts that are written without spaces, or (Hangul) whose words carry particles; ascending. */
static const code_range g_unspaced[] = {
    {0x0E00, 0x0EFF},   {0x1000, 0x109F},   {0x1100, 0x11FF},   {0x1780, 0x17FF},   {0x2E80, 0x2FDF},
    {0x3005, 0x3007},   {0x3021, 0x30FF},   {0x3100, 0x318F},   {0x31A0, 0x31FF},   {0x3400, 0x4DBF},
    {0x4E00, 0x9FFF},   {0xA960, 0xA97F},   {0xAC00, 0xD7FF},   {0xF900, 0xFAFF},   {0xFF66, 0xFFDC},
    {0x1AFF0, 0x1B16F}, {0x20000, 0x3FFFD},
};

static bool is_unspaced(uint32_t c)
{
    if (c < g_unspaced[0].first) return false;
    for (size_t i = 0; i < sizeof g_unspaced / sizeof g_unspaced[0] && g_unspaced[i].first <= c; i++)
        if (c <= g_unspaced[i].last) return true;
    return false;
}

/* Half-width voicing marks and conjoining vowels and finals are letters by category, but part of a character. */
static bool continues_character(uint32_t c)
{
    return c == 0xFF9E || c == 0xFF9F || (c >= 0x1160 && c <= 0x11FF) || (c >= 0xD7B0 && c <= 0xD7FF);
}

static char_class classify(uint32_t c)
{
    if (c < 128) return g_lower[c] ? WORD : BORDER;
    if (c == 0x00AD || c == 0x200C || c == 0x200D) return IGNORED;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
        if (continues_character(c)) return MARK;
        return is_unspaced(c) ? UNSPACED : WORD;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NO: return WORD;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return MARK;
    default: return BORDER;
    }
}

/* The character at text[at]: its bytes (1 for what is not UTF-8), code point and class. */
static size_t peek(const char *text, size_t size, size_t at, uint32_t *c, char_class *class)
{
    size_t n = mn_utf8_decode(text + at, size - at, c);
    *class = n ? classify(*c) : BORDER;
    return n ? n : 1;
}

/* Fold `raw` to points: case folded NFKC without default ignorables. 0 when there is nothing or too much. */
static size_t fold(const char *raw, size_t size, utf8proc_int32_t *points)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                                      UTF8PROC_IGNORE;
    utf8proc_ssize_t n =
        utf8proc_decompose((const utf8proc_uint8_t *)raw, (utf8proc_ssize_t)size, points, POINTS_MAX, options);
    if (n <= 0 || n > POINTS_MAX) return 0;
    n = utf8proc_normalize_utf32(points, n, options);
    return n > 0 ? (size_t)n : 0;
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

static bool emit_wide(const char *raw, size_t size, mn_word_emit emit, void *context)
{
    utf8proc_int32_t points[POINTS_MAX];
    char word[4 * RAW_MAX];
    size_t n = fold(raw, size, points), at = 0;
    for (size_t i = 0; i < n && at + 4 <= sizeof word; i++) at += mn_utf8_encode((uint32_t)points[i], word + at);
    return at == 0 || emit(context, word, at, MN_WORD_WIDE);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Does a letter, digit or mark stand at text[at]? */
static bool word_goes_on(const char *text, size_t size, size_t at)
{
    if (at >= size) return false;
    uint32_t c;
    char_class class;
    peek(text, size, at, &c, &class);
    return class == WORD;
}

/* Bytes of an inner sign at text[at] that belongs to the word so far, and the byte that it becomes; 0: the word ends. */
static size_t inner_sign(const char *text, size_t size, size_t at, bool keep_apostrophe, char *sign)
{
    if (text[at] == '.') {
        *sign = '.';
        return is_digit(text[at - 1]) && at + 1 < size && is_digit(text[at + 1]) ? 1 : 0;
    }
    size_t n = text[at] == '\'' ? 1 : size - at >= 3 && memcmp(text + at, "\xE2\x80\x99", 3) == 0 ? 3 : 0;
    *sign = '\'';
    return n && keep_apostrophe && word_goes_on(text, size, at + n) ? n : 0;
}

/* Emit the word that begins at text[at]; *end is set past it. */
static bool take_word(const char *text, size_t size, size_t at, bool keep_apostrophe, size_t *end, mn_word_emit emit,
                      void *context)
{
    char raw[RAW_MAX];
    size_t n = 0;
    bool ascii = true;
    while (at < size) {
        unsigned char byte = (unsigned char)text[at];
        if (byte < 128 && g_lower[byte]) {
            if (n < RAW_MAX) raw[n++] = g_lower[byte];
            at++;
            continue;
        }
        char sign;
        size_t taken = inner_sign(text, size, at, keep_apostrophe, &sign);
        if (taken) {
            if (n < RAW_MAX) raw[n++] = sign;
            at += taken;
            continue;
        }
        if (byte < 128) break;
        uint32_t c;
        char_class class;
        size_t bytes = peek(text, size, at, &c, &class);
        if (class == BORDER || class == UNSPACED) break;
        if (class != IGNORED && n + bytes <= RAW_MAX) {
            memcpy(raw + n, text + at, bytes);
            n += bytes;
            ascii = false;
        }
        at += bytes;
    }
    *end = at;
    return ascii ? emit(context, raw, n, MN_WORD_ASCII) : emit_wide(raw, n, emit, context);
}

/* ---- runs of scripts without spaces ----------------------------------------------------------------------------- */

/* Emit the pairs of one piece of a run. alone_counts: a single character is emitted too. */
static bool emit_pairs(const char *raw, size_t size, bool alone_counts, mn_word_emit emit, void *context)
{
    utf8proc_int32_t points[POINTS_MAX];
    char bytes[4 * POINTS_MAX];
    size_t starts[3] = {0}; /* of the last two characters, and the end */
    size_t n_points = fold(raw, size, points), n_chars = 0, at = 0;
    for (size_t i = 0; i < n_points; i++) {
        uint32_t c = (uint32_t)points[i];
        char_class class = classify(c);
        if (i == 0 || !(class == MARK || class == IGNORED)) {
            if (n_chars >= 2 && !emit(context, bytes + starts[0], at - starts[0], MN_WORD_PAIR)) return false;
            starts[0] = starts[1];
            starts[1] = at;
            n_chars++;
        }
        at += mn_utf8_encode(c, bytes + at);
    }
    if (n_chars >= 2) return emit(context, bytes + starts[0], at - starts[0], MN_WORD_PAIR);
    return n_chars == 0 || !alone_counts || emit(context, bytes + starts[1], at - starts[1], MN_WORD_PAIR);
}

/* Emit the pairs of the unspaced run that begins at text[at]; *end is set past it. A long run is folded in pieces, each
 * beginning with the last character of the one before. */
static bool take_run(const char *text, size_t size, size_t at, size_t *end, mn_word_emit emit, void *context)
{
    size_t piece = at, last = at; /* start of the piece, and of the last whole character in it */
    bool first = true;
    while (at < size) {
        uint32_t c;
        char_class class;
        size_t bytes = peek(text, size, at, &c, &class);
        if (class != UNSPACED && class != MARK) break;
        if (at + bytes - piece > RUN_MAX && last > piece) {
            if (!emit_pairs(text + piece, at - piece, first, emit, context)) return false;
            first = false;
            piece = last;
        }
        if (class == UNSPACED) last = at;
        if (at + bytes - piece > RUN_MAX) break; /* one character with dozens of marks: what follows starts anew */
        at += bytes;
    }
    *end = at;
    return emit_pairs(text + piece, at - piece, first, emit, context);
}

bool mn_words(const char *text, size_t size, bool keep_apostrophe, mn_word_emit emit, void *context)
{
    size_t at = 0;
    while (at < size) {
        unsigned char byte = (unsigned char)text[at];
        if (byte < 128 && !g_lower[byte]) {
            at++;
            continue;
        }
        uint32_t c;
        char_class class;
        size_t bytes = peek(text, size, at, &c, &class);
        bool go_on = true;
        if (class == WORD) go_on = take_word(text, size, at, keep_apostrophe, &at, emit, context);
        else if (class == UNSPACED) go_on = take_run(text, size, at, &at, emit, context);
        else at += bytes;
        if (!go_on) return false;
    }
    return true;
}

/* ---- accents ---------------------------------------------------------------------------------------------------- */

static bool loses_accents(uint32_t c)
{
    return (c >= 0xC0 && c <= 0x24F) || (c >= 0x370 && c <= 0x3FF) || (c >= 0x1E00 && c <= 0x1FFF) || c == 0x451;
}

static bool is_accent(uint32_t c)
{
    return c >= 0x300 && c <= 0x36F;
}

/* The letter below the accents of c. */
static uint32_t base_letter(uint32_t c)
{
    utf8proc_int32_t points[8];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, points, 8, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
                                                 &boundary);
    if (n < 2 || n > 8) return c;
    for (utf8proc_ssize_t i = 1; i < n; i++)
        if (!is_accent((uint32_t)points[i])) return c;
    return (uint32_t)points[0];
}

size_t mn_words_fold_accents(const char *word, size_t size, char *out)
{
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        uint32_t c = 0;
        size_t bytes = mn_utf8_decode(word + at, size - at, &c);
        if (bytes == 0) { /* not UTF-8: the words here always are */
            out[n++] = word[at++];
            continue;
        }
        at += bytes;
        if (is_accent(c)) continue;
        n += mn_utf8_encode(loses_accents(c) ? base_letter(c) : c, out + n);
    }
    return n;
}
