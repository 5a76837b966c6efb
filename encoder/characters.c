/* characters.c -- character classes and normalisation of the official BERT tokenizer:
 *
 *     clean_text     NUL, U+FFFD, control characters (Cc but tab, newline, return; Cf; Co) go, white space is a space
 *
 *     chinese chars  stand alone
 *
 *     strip_accents  canonical decomposition, then marks (Mn) go
 *
 *     lowercase      character by character
 *
 *     split          at white space; punctuation (ASCII's, and Unicode P*) stands alone */
#include "encoder/characters.h"

#include "encoder/unicode_exceptions.h"

#include <utf8proc.h>

enum { DECOMPOSED_MAX = MN_CHAR_PARTS_MAX / 2 }; /* lower-casing may make two of one */

static bool is_white_space(uint32_t c)
{
    switch (c) {
    case 0x09:
    case 0x0A:
    case 0x0B:
    case 0x0C:
    case 0x0D:
    case 0x20:
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000: return true;
    default: return c >= 0x2000 && c <= 0x200A;
    }
}

static bool is_chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool assigned_later(uint32_t c)
{
    size_t low = 0, high = sizeof mn_assigned_later / sizeof mn_assigned_later[0];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c > mn_assigned_later[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof mn_assigned_later / sizeof mn_assigned_later[0] && c >= mn_assigned_later[low][0];
}

/* The category as the official tables have it; later ones count as letters. */
static utf8proc_category_t category_of(uint32_t c)
{
    if (c == 0x1734) return UTF8PROC_CATEGORY_MN;
    if (c == 0x166D || c == 0x111C9) return UTF8PROC_CATEGORY_PO;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    bool matters = category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_CF ||
                   (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO);
    return matters && assigned_later(c) ? UTF8PROC_CATEGORY_LO : category;
}

static bool is_control(uint32_t c)
{
    if (c == '\t' || c == '\n' || c == '\r') return false;
    utf8proc_category_t category = category_of(c);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
}

static bool is_punctuation(uint32_t c)
{
    if (c < 128) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    utf8proc_category_t category = category_of(c);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

mn_char_class mn_char_classify(uint32_t rules, uint32_t c)
{
    /* Order as in the official pipeline: cleaning comes first, and white space wins over control there. */
    if ((rules & MN_CLEAN_TEXT) && (c == 0 || c == 0xFFFD || is_control(c))) return MN_CHAR_DROP;
    if (is_white_space(c)) return MN_CHAR_SPACE;
    if ((rules & MN_HANDLE_CHINESE_CHARS) && is_chinese(c)) return MN_CHAR_ALONE;
    return is_punctuation(c) ? MN_CHAR_ALONE : MN_CHAR_WORD;
}

static size_t lower(uint32_t rules, uint32_t c, bool alone, mn_char_part *parts)
{
    if ((rules & MN_LOWERCASE) && c == 0x130) { /* the one letter whose lower case is two */
        parts[0] = (mn_char_part){.c = 'i', .alone = alone};
        parts[1] = (mn_char_part){.c = 0x307, .alone = alone};
        return 2;
    }
    if (rules & MN_LOWERCASE) c = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    parts[0] = (mn_char_part){.c = c, .alone = alone};
    return 1;
}

size_t mn_char_normalize(uint32_t rules, uint32_t c, mn_char_part *parts)
{
    if (!(rules & MN_STRIP_ACCENTS)) return lower(rules, c, false, parts);
    utf8proc_int32_t decomposed[DECOMPOSED_MAX];
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, decomposed, DECOMPOSED_MAX, UTF8PROC_DECOMPOSE, NULL);
    if (n < 0 || n > DECOMPOSED_MAX) return lower(rules, c, false, parts);
    size_t n_parts = 0;
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        uint32_t part = (uint32_t)decomposed[i];
        if (category_of(part) == UTF8PROC_CATEGORY_MN) continue;
        bool alone = part != c && is_punctuation(part); /* U+1FEF, a letter-like mark, decomposes to a grave accent */
        n_parts += lower(rules, part, alone, parts + n_parts);
    }
    return n_parts;
}
