/* tokenizer.c -- the BERT tokenizer in one pass: clean, split, lower-case, strip accents, WordPiece.
 *
 * Text is read character by character into the word that is being built; white space and punctuation end it, and its
 * pieces are looked up, longest first (Schuster, Nakajima 2012; Devlin et al. 2018). ASCII, nearly all of most text, goes
 * through tables; other characters through utf8proc. What the official implementation does per character:
 *
 *     clean_text      NUL, U+FFFD and control characters (Cc but tab, newline, return; Cf; Co) go, white space is a space
 *     chinese chars   stand alone
 *     strip_accents   canonical decomposition, then marks (Mn) go
 *     lowercase       character by character
 *     split           at white space; punctuation (ASCII's, and Unicode P*) stands alone */
#include "encoder/tokenizer.h"

#include "common/memory.h"
#include "common/utf8.h"
#include "encoder/tokenizer_settings.h"
#include "encoder/unicode_exceptions.h"

#include <string.h>
#include <utf8proc.h>
#include <xxhash.h>

typedef enum char_class { CHAR_DROP, CHAR_SPACE, CHAR_ALONE, CHAR_WORD } char_class;

/* A normalised word is at most 1000 characters (tokenizer_settings.c) of 4 bytes. */
enum { WORD_BYTES = 4096, DECOMPOSED_MAX = 32 };

struct mn_tokenizer {
    mn_tokenizer_settings settings;
    uint32_t unk, cls, sep;
    uint8_t ascii_class[128];
    char ascii_lower[128];
    bool begins_added[256]; /* may an added token begin with this byte? */
};

/* ---- characters ---- */

static bool is_white_space(uint32_t c)
{
    switch (c) {
    case 0x09: case 0x0A: case 0x0B: case 0x0C: case 0x0D: case 0x20: case 0x85: case 0xA0:
    case 0x1680: case 0x2028: case 0x2029: case 0x202F: case 0x205F: case 0x3000: return true;
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
        if (c > mn_assigned_later[middle][1]) low = middle + 1;
        else high = middle;
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

static char_class classify(const mn_tokenizer_settings *settings, uint32_t c)
{
    /* Order as in the official pipeline: cleaning comes first, and white space wins over control there. */
    if (settings->clean_text && (c == 0 || c == 0xFFFD || is_control(c))) return CHAR_DROP;
    if (is_white_space(c)) return CHAR_SPACE;
    if (settings->handle_chinese_chars && is_chinese(c)) return CHAR_ALONE;
    return is_punctuation(c) ? CHAR_ALONE : CHAR_WORD;
}

/* ---- opening ---- */

static mneme_status find_special(const mn_tokenizer *tokenizer, const char *folder, const char *token, uint32_t *id,
                                 mneme_error *error)
{
    *id = mn_vocabulary_find_token(tokenizer->settings.vocabulary, token);
    if (*id != MN_NO_TOKEN) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_MODEL, "model %s: the vocabulary has no %s", folder, token);
}

static void fill_tables(mn_tokenizer *tokenizer)
{
    const mn_tokenizer_settings *settings = &tokenizer->settings;
    for (uint32_t c = 0; c < 128; c++) {
        tokenizer->ascii_class[c] = (uint8_t)classify(settings, c);
        tokenizer->ascii_lower[c] = (char)(settings->lowercase && c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    for (size_t i = 0; i < settings->n_added; i++) {
        tokenizer->begins_added[(unsigned char)settings->added[i].content[0]] = true;
        if (settings->added[i].lstrip)
            for (const char *space = " \t\r\n"; *space; space++) tokenizer->begins_added[(unsigned char)*space] = true;
    }
}

mneme_status mn_tokenizer_open(const char *folder, mn_tokenizer **out, mneme_error *error)
{
    *out = NULL;
    mn_tokenizer *tokenizer = mn_alloc_zeroed(1, sizeof *tokenizer);
    if (!tokenizer) return mn_fail_memory(error, "tokenizer");
    mn_tokenizer_settings *settings = &tokenizer->settings;
    mneme_status status = mn_tokenizer_settings_read(folder, settings, error);
    if (status == MNEME_OK) status = find_special(tokenizer, folder, settings->unk_token, &tokenizer->unk, error);
    if (status == MNEME_OK) status = find_special(tokenizer, folder, settings->cls_token, &tokenizer->cls, error);
    if (status == MNEME_OK) status = find_special(tokenizer, folder, settings->sep_token, &tokenizer->sep, error);
    if (status != MNEME_OK) {
        mn_tokenizer_close(tokenizer);
        return status;
    }
    fill_tables(tokenizer);
    *out = tokenizer;
    return MNEME_OK;
}

void mn_tokenizer_close(mn_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    mn_tokenizer_settings_free(&tokenizer->settings);
    mn_free(tokenizer);
}

uint32_t mn_tokenizer_vocabulary(const mn_tokenizer *tokenizer)
{
    uint32_t size = mn_vocabulary_size(tokenizer->settings.vocabulary);
    for (size_t i = 0; i < tokenizer->settings.n_added; i++)
        if (tokenizer->settings.added[i].id >= size) size = tokenizer->settings.added[i].id + 1;
    return size;
}

uint32_t mn_tokenizer_cls(const mn_tokenizer *tokenizer)
{
    return tokenizer->cls;
}

uint32_t mn_tokenizer_sep(const mn_tokenizer *tokenizer)
{
    return tokenizer->sep;
}

uint64_t mn_tokenizer_fingerprint(const mn_tokenizer *tokenizer)
{
    const mn_tokenizer_settings *s = &tokenizer->settings;
    const uint64_t parts[] = {mn_vocabulary_fingerprint(s->vocabulary), s->clean_text, s->handle_chinese_chars,
                              s->strip_accents, s->lowercase, s->max_input_chars_per_word, tokenizer->cls, tokenizer->sep,
                              tokenizer->unk};
    return XXH3_64bits(parts, sizeof parts);
}

/* ---- tokens out ---- */

void mn_tokens_free(mn_tokens *tokens)
{
    mn_free(tokens->ids);
    mn_free(tokens->starts);
    mn_free(tokens->ends);
    *tokens = (mn_tokens){.with_offsets = tokens->with_offsets};
}

static bool grow_tokens(mn_tokens *tokens)
{
    size_t capacity = tokens->capacity ? tokens->capacity * 2 : 256;
    uint32_t *ids = mn_realloc_array(tokens->ids, capacity, sizeof *ids);
    if (!ids) return false;
    tokens->ids = ids;
    if (tokens->with_offsets) {
        uint64_t *starts = mn_realloc_array(tokens->starts, capacity, sizeof *starts);
        if (starts) tokens->starts = starts;
        uint64_t *ends = mn_realloc_array(tokens->ends, capacity, sizeof *ends);
        if (ends) tokens->ends = ends;
        if (!starts || !ends) return false;
    }
    tokens->capacity = capacity;
    return true;
}

/* The word that is being built, and what the pass needs. */
typedef struct pass {
    const mn_tokenizer *tokenizer;
    mn_tokens *out;
    size_t limit; /* tokens that out may have in the end */
    bool failed;  /* out of memory */
    size_t size, n_chars;
    uint64_t start, end;         /* of the word in the text */
    char word[WORD_BYTES];
    uint64_t origin[WORD_BYTES]; /* per byte of the word: where its character starts in the text (with_offsets) */
    uint64_t origin_end[WORD_BYTES];
} pass;

static bool full(const pass *p)
{
    return p->failed || p->out->n >= p->limit;
}

static void emit(pass *p, uint32_t id, uint64_t start, uint64_t end)
{
    if (full(p)) return;
    if (p->out->n == p->out->capacity && !grow_tokens(p->out)) {
        p->failed = true;
        return;
    }
    if (p->out->with_offsets) {
        p->out->starts[p->out->n] = start;
        p->out->ends[p->out->n] = end;
    }
    p->out->ids[p->out->n++] = id;
}

/* The longest piece of the word from byte `at` on; its bytes in *size. */
static uint32_t longest_piece(const pass *p, size_t at, size_t *size)
{
    const mn_vocabulary *vocabulary = p->tokenizer->settings.vocabulary;
    size_t left = p->size - at, longest = mn_vocabulary_longest(vocabulary);
    for (*size = left < longest ? left : longest; *size > 0; (*size)--) {
        if (*size < left && ((unsigned char)p->word[at + *size] & 0xC0u) == 0x80u) continue; /* inside a character */
        uint32_t id = mn_vocabulary_find(vocabulary, p->word + at, *size, at > 0);
        if (id != MN_NO_TOKEN) return id;
    }
    return MN_NO_TOKEN;
}

/* End the word: its pieces, or one [UNK] when it is too long or has a part that is in no piece. */
static void end_word(pass *p)
{
    if (p->n_chars == 0) return;
    size_t first = p->out->n;
    bool unknown = p->n_chars > p->tokenizer->settings.max_input_chars_per_word;
    for (size_t at = 0, size = 0; at < p->size && !unknown; at += size) {
        uint32_t id = longest_piece(p, at, &size);
        unknown = id == MN_NO_TOKEN;
        if (unknown) break;
        bool offsets = p->out->with_offsets;
        emit(p, id, offsets ? p->origin[at] : 0, offsets ? p->origin_end[at + size - 1] : 0);
        if (full(p) && at + size < p->size) { /* the rest still decides between pieces and [UNK] */
            size_t rest_size = 0;
            for (size_t rest = at + size; rest < p->size && !unknown; rest += rest_size)
                unknown = longest_piece(p, rest, &rest_size) == MN_NO_TOKEN;
            break;
        }
    }
    if (unknown) {
        p->out->n = first;
        emit(p, p->tokenizer->unk, p->start, p->end);
    }
    p->size = p->n_chars = 0;
}

/* Put one normalised character into the word; it came from text[start, end). */
static void append_char(pass *p, const char *bytes, size_t n, uint64_t start, uint64_t end)
{
    if (p->n_chars == 0) p->start = start;
    p->end = end;
    if (++p->n_chars > p->tokenizer->settings.max_input_chars_per_word || p->size + n > WORD_BYTES) return;
    for (size_t i = 0; i < n; i++) {
        if (p->out->with_offsets) {
            p->origin[p->size] = start;
            p->origin_end[p->size] = end;
        }
        p->word[p->size++] = bytes[i];
    }
}

static void append_lower(pass *p, uint32_t c, uint64_t start, uint64_t end)
{
    char bytes[4];
    if (p->tokenizer->settings.lowercase && c == 0x130) { /* the one letter whose lower case is two */
        append_char(p, "i", 1, start, end);
        append_char(p, "\xCC\x87", 2, start, end);
        return;
    }
    if (p->tokenizer->settings.lowercase) c = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    append_char(p, bytes, mn_utf8_encode(c, bytes), start, end);
}

/* Normalise a character of a word, or one that stands alone. */
static void append_normalized(pass *p, uint32_t c, uint64_t start, uint64_t end)
{
    if (!p->tokenizer->settings.strip_accents) {
        append_lower(p, c, start, end);
        return;
    }
    utf8proc_int32_t parts[DECOMPOSED_MAX];
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, DECOMPOSED_MAX, UTF8PROC_DECOMPOSE, NULL);
    if (n < 0 || n > DECOMPOSED_MAX) {
        append_lower(p, c, start, end);
        return;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        uint32_t part = (uint32_t)parts[i];
        bool alone = part != c && is_punctuation(part); /* U+1FEF, a letter-like mark, decomposes to a grave accent */
        if (alone) end_word(p);
        if (category_of(part) != UTF8PROC_CATEGORY_MN) append_lower(p, part, start, end);
        if (alone) end_word(p);
    }
}

/* ---- the pass ---- */

static bool is_ascii_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The longest added token that stands at text[at] (white space that it strips included); bytes taken, or 0. */
static size_t take_added(pass *p, const char *text, size_t size, size_t at)
{
    const mn_tokenizer_settings *settings = &p->tokenizer->settings;
    const mn_added_token *best = NULL;
    size_t best_start = 0, best_end = 0;
    for (size_t i = 0; i < settings->n_added; i++) {
        const mn_added_token *token = &settings->added[i];
        size_t start = at;
        while (token->lstrip && start < size && is_ascii_space(text[start])) start++;
        if (size - start < token->size || memcmp(text + start, token->content, token->size) != 0) continue;
        if (best && token->size <= best->size) continue;
        best = token;
        best_start = start;
        best_end = start + token->size;
    }
    if (!best) return 0;
    end_word(p);
    emit(p, best->id, best_start, best_end);
    while (best->rstrip && best_end < size && is_ascii_space(text[best_end])) best_end++;
    return best_end - at;
}

static void take_char(pass *p, uint32_t c, char_class class, uint64_t start, uint64_t end)
{
    if (class == CHAR_DROP) return;
    if (class != CHAR_WORD) end_word(p);
    if (class == CHAR_SPACE) return;
    append_normalized(p, c, start, end);
    if (class == CHAR_ALONE) end_word(p);
}

mneme_status mn_tokenizer_encode(const mn_tokenizer *tokenizer, const char *text, size_t size, size_t max_tokens,
                                 mn_tokens *out, mneme_error *error)
{
    pass p;
    p.tokenizer = tokenizer;
    p.out = out;
    p.limit = max_tokens < SIZE_MAX - out->n ? out->n + max_tokens : SIZE_MAX;
    p.failed = false;
    p.size = p.n_chars = 0;
    for (size_t at = 0; at < size && !full(&p);) {
        unsigned char byte = (unsigned char)text[at];
        if (tokenizer->begins_added[byte]) {
            size_t taken = take_added(&p, text, size, at);
            at += taken;
            if (taken) continue;
        }
        if (byte < 0x80) {
            char_class class = (char_class)tokenizer->ascii_class[byte];
            if (class == CHAR_WORD) append_char(&p, &tokenizer->ascii_lower[byte], 1, at, at + 1);
            else take_char(&p, byte, class, at, at + 1);
            at++;
            continue;
        }
        uint32_t c = 0;
        size_t n = mn_utf8_decode(text + at, size - at, &c);
        if (n == 0) c = MN_UTF8_REPLACEMENT;
        take_char(&p, c, classify(&tokenizer->settings, c), at, at + (n ? n : 1));
        at += n ? n : 1;
    }
    if (!full(&p)) end_word(&p);
    return p.failed ? mn_fail_memory(error, "tokens") : MNEME_OK;
}
