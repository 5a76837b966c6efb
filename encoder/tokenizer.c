/* tokenizer.c -- the BERT tokenizer in one pass: clean, split, lower-case, strip accents, WordPiece.
 *
 * A word that is one run of ASCII letters and digits, nearly every word of most text, is measured and lower-cased eight
 * bytes at a time and looked up whole; it is one token nine times in ten. Any other word is put together character by
 * character (tables for the common ones, characters.c for the rest) until white space or punctuation ends it. A word
 * that is no token is cut into the longest pieces from the left (Schuster, Nakajima 2012; Devlin et al. 2018). */
#include "encoder/tokenizer.h"

#include "common/memory.h"
#include "common/utf8.h"
#include "encoder/characters.h"
#include "encoder/pieces.h"

enum { WORD_BYTES = 4 * MN_WORD_CHARS_MAX, RUN_STEP = 8 };

/* ---- opening ---- */

static mneme_status open_image(const void *data, size_t size, void *owned, mn_tokenizer **out, mneme_error *error)
{
    mn_tokenizer *tokenizer = mn_alloc_zeroed(1, sizeof *tokenizer);
    mneme_status status = tokenizer ? mn_image_view(data, size, tokenizer, error) : mn_fail_memory(error, "tokenizer");
    if (status != MNEME_OK) {
        mn_free(tokenizer);
        return status;
    }
    tokenizer->owned = owned;
    *out = tokenizer;
    return MNEME_OK;
}

mneme_status mn_tokenizer_new(const mn_tokenizer_settings *settings, const char *name, mn_tokenizer **out,
                              mneme_error *error)
{
    *out = NULL;
    mn_tokenizer_image *image = NULL;
    mneme_status status = mn_image_build(name, settings, &image, error);
    if (status == MNEME_OK) status = open_image(image, (size_t)image->size, image, out, error);
    if (status != MNEME_OK) mn_free(image);
    return status;
}

mneme_status mn_tokenizer_open(const char *folder, mn_tokenizer **out, mneme_error *error)
{
    *out = NULL;
    mn_tokenizer_settings settings;
    mneme_status status = mn_tokenizer_settings_read(folder, &settings, error);
    if (status != MNEME_OK) return status;
    status = mn_tokenizer_new(&settings, folder, out, error);
    mn_tokenizer_settings_free(&settings);
    return status;
}

mneme_status mn_tokenizer_freeze(const mn_tokenizer *tokenizer, mn_buffer *out, mneme_error *error)
{
    mn_buffer_append(out, tokenizer->image, (size_t)tokenizer->image->size);
    return out->failed ? mn_fail_memory(error, "frozen tokenizer") : MNEME_OK;
}

mneme_status mn_tokenizer_thaw(const void *data, size_t size, mn_tokenizer **out, mneme_error *error)
{
    *out = NULL;
    return open_image(data, size, NULL, out, error);
}

void mn_tokenizer_close(mn_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    mn_free(tokenizer->owned);
    mn_free(tokenizer);
}

uint32_t mn_tokenizer_vocabulary(const mn_tokenizer *tokenizer)
{
    return tokenizer->image->n_ids;
}

uint32_t mn_tokenizer_cls(const mn_tokenizer *tokenizer)
{
    return tokenizer->image->cls;
}

uint32_t mn_tokenizer_sep(const mn_tokenizer *tokenizer)
{
    return tokenizer->image->sep;
}

uint32_t mn_tokenizer_unk(const mn_tokenizer *tokenizer)
{
    return tokenizer->image->unk;
}

uint64_t mn_tokenizer_fingerprint(const mn_tokenizer *tokenizer)
{
    return tokenizer->image->fingerprint;
}

const char *mn_tokenizer_token(const mn_tokenizer *tokenizer, uint32_t id, size_t *size)
{
    const mn_tokenizer_image *image = tokenizer->image;
    *size = 0;
    if (id < image->n_tokens) {
        uint32_t start = tokenizer->token_starts[id], end = tokenizer->token_starts[id + 1];
        if (start < end && end <= image->sizes[MN_SECTION_TOKEN_BYTES]) {
            *size = end - start;
            return tokenizer->token_bytes + start;
        }
    }
    for (size_t i = 0; i < image->n_added; i++)
        if (tokenizer->added[i].id == id) {
            *size = tokenizer->added[i].size;
            return tokenizer->added_bytes + tokenizer->added[i].offset;
        }
    return "";
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

/* The word that is being put together, and what the pass needs. */
typedef struct pass {
    const mn_tokenizer *tokenizer;
    const char *text;
    size_t text_size;
    mn_tokens *out;        /* NULL: only count */
    mn_word_visitor visit; /* gets the words, instead of pieces; NULL: none */
    void *context;         /* visit's */
    size_t n, limit;       /* tokens so far, and at most; out's own included */
    bool with_offsets;
    bool failed;          /* out of memory */
    size_t size, n_chars; /* of the word; over the limit of characters, only n_chars grows */
    uint64_t start, end;  /* of the word in the text */
    char word[WORD_BYTES + 2 * MN_WORD_PADDING];
    /* Per byte of the word, with_offsets: where in the text its character starts and ends. */
    uint64_t origin[WORD_BYTES], origin_end[WORD_BYTES];
} pass;

static bool full(const pass *p)
{
    return p->n >= p->limit;
}

static inline void emit(pass *p, uint32_t id, uint64_t start, uint64_t end)
{
    if (full(p)) return;
    mn_tokens *out = p->out;
    if (out) {
        if (p->n == out->capacity && !grow_tokens(out)) {
            p->failed = true;
            p->limit = p->n; /* ends the pass */
            return;
        }
        out->ids[p->n] = id;
        if (p->with_offsets) {
            out->starts[p->n] = start;
            out->ends[p->n] = end;
        }
    }
    p->n++;
}

/* ---- words ---- */

static void emit_unknown(pass *p)
{
    emit(p, p->tokenizer->image->unk, p->start, p->end);
}

/* Emit the word as pieces, or as one [UNK] when a part of it is in none. `plain`: each byte of the word is the one at
 * the same place of the text from p->start on; else the origins say where it came from. */
static void emit_pieces(pass *p, bool plain)
{
    uint32_t ids[MN_WORD_CHARS_MAX];
    uint16_t ends[MN_WORD_CHARS_MAX];
    size_t n = 0, size = 0;
    for (size_t at = 0; at < p->size; at += size) {
        uint32_t id = mn_longest_piece(p->tokenizer, p->word, p->size, at, &size);
        if (id == MN_NO_TOKEN || n == MN_WORD_CHARS_MAX) {
            emit_unknown(p);
            return;
        }
        ids[n] = id;
        ends[n++] = (uint16_t)(at + size);
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = i ? ends[i - 1] : 0;
        if (plain)
            emit(p, ids[i], p->start + at, p->start + ends[i]);
        else if (p->with_offsets)
            emit(p, ids[i], p->origin[at], p->origin_end[ends[i] - 1]);
        else
            emit(p, ids[i], 0, 0);
    }
}

static void end_word(pass *p)
{
    if (p->n_chars == 0) return;
    bool too_long = p->n_chars > p->tokenizer->image->word_chars_max;
    if (p->visit)
        p->failed = p->failed || (!too_long && !p->visit(p->context, p->word, p->size));
    else if (too_long)
        emit_unknown(p);
    else
        emit_pieces(p, false);
    p->size = p->n_chars = 0;
}

/* Put one normalised character into the word; it came from text[start, end). */
static void append_char(pass *p, uint32_t c, uint64_t start, uint64_t end)
{
    char bytes[4];
    if (p->n_chars == 0) p->start = start;
    p->end = end;
    if (++p->n_chars > p->tokenizer->image->word_chars_max) return;
    size_t n = mn_utf8_encode(c, bytes);
    for (size_t i = 0; i < n; i++) {
        if (p->with_offsets) {
            p->origin[p->size] = start;
            p->origin_end[p->size] = end;
        }
        p->word[p->size++] = bytes[i];
    }
}

/* ---- runs of ASCII letters and digits ---- */

#define BYTES(x) (UINT64_C(0x0101010101010101) * (x))

/* The highest bit of each byte that is an ASCII letter or digit; sums of 7-bit values stay in their bytes. */
static inline uint64_t alnum_bits(uint64_t bytes)
{
    uint64_t low = bytes & BYTES(0x7F), letter = low | BYTES(0x20);
    uint64_t letters = (letter + BYTES(0x80 - 'a')) & ~(letter + BYTES(0x7F - 'z'));
    uint64_t digits = (low + BYTES(0x80 - '0')) & ~(low + BYTES(0x7F - '9'));
    return (letters | digits) & ~bytes & BYTES(0x80);
}

/* The eight bytes from `at` on, zeros behind the end of the text. */
static inline uint64_t text8(const pass *p, size_t at)
{
    size_t left = p->text_size - at;
    if (left >= 8) return mn_load8(p->text + at);
    uint64_t value = 0;
    memcpy(&value, p->text + at, left);
    return value;
}

/* A run of letters and digits at text[at]: its length, and the first 16 bytes of it (what stands behind them counts
 * nothing) in *first and *second, lower-cased as the rules say. */
static inline size_t measure_run(const pass *p, size_t at, uint64_t case_bits, uint64_t *first, uint64_t *second)
{
    uint64_t bytes = text8(p, at), others = alnum_bits(bytes) ^ BYTES(0x80);
    *first = bytes | case_bits;
    *second = 0;
    if (others) return (size_t)__builtin_ctzll(others) / 8;
    size_t n = RUN_STEP;
    for (;; n += RUN_STEP) {
        if (at + n >= p->text_size) return p->text_size - at;
        bytes = text8(p, at + n);
        if (n == RUN_STEP) *second = bytes | case_bits;
        others = alnum_bits(bytes) ^ BYTES(0x80);
        if (others) return n + (size_t)__builtin_ctzll(others) / 8;
    }
}

/* Copy a run into the word, lower-cased; there is room for whole steps. */
static void copy_run(pass *p, size_t at, size_t n, uint64_t case_bits)
{
    for (size_t i = 0; i < n; i += RUN_STEP) {
        uint64_t bytes = text8(p, at + i) | case_bits;
        memcpy(p->word + p->size + i, &bytes, sizeof bytes);
    }
}

/* Put a run into a word that has, or will have, other characters too. */
static void append_run(pass *p, size_t at, size_t n, uint64_t case_bits)
{
    if (p->n_chars == 0) p->start = at;
    p->end = at + n;
    p->n_chars += n;
    if (p->n_chars > p->tokenizer->image->word_chars_max) return;
    copy_run(p, at, n, case_bits);
    for (size_t i = 0; i < n && p->with_offsets; i++) {
        p->origin[p->size + i] = at + i;
        p->origin_end[p->size + i] = at + i + 1;
    }
    p->size += n;
}

/* A run that is no token as a whole, or is longer than a slot. */
static void emit_long_run(pass *p, size_t at, size_t n, uint64_t case_bits)
{
    p->start = at;
    p->end = at + n;
    if (n > p->tokenizer->image->word_chars_max) {
        emit_unknown(p);
        return;
    }
    copy_run(p, at, n, case_bits);
    p->size = n;
    emit_pieces(p, true);
    p->size = 0;
}

/* Take the run of letters and digits at text[at], and the white space behind it; the bytes taken. */
static inline size_t take_run(pass *p, size_t at, uint64_t case_bits)
{
    uint64_t first, second;
    size_t n = measure_run(p, at, case_bits, &first, &second);
    if (n == 0) return 1; /* only where a damaged table says so */
    unsigned next =
        at + n < p->text_size ? p->tokenizer->image->byte_kind[(unsigned char)p->text[at + n]] : MN_BYTE_SPACE;
    bool ends = (next & MN_BYTE_KIND) == MN_BYTE_SPACE || (next & MN_BYTE_KIND) == MN_BYTE_ALONE;
    if (p->n_chars > 0 || !ends) {
        append_run(p, at, n, case_bits);
        return n;
    }
    uint32_t id = MN_NO_TOKEN;
    if (n <= MN_PIECE_INLINE && n <= p->tokenizer->image->word_chars_max)
        id = mn_find_short(p->tokenizer, mn_short_key(first, second, n, 0));
    if (id != MN_NO_TOKEN)
        emit(p, id, at, at + n);
    else
        emit_long_run(p, at, n, case_bits);
    return n + (next == MN_BYTE_SPACE);
}

/* ---- other characters ---- */

/* An ASCII character that stands alone. */
static void take_alone(pass *p, unsigned char byte, size_t at)
{
    end_word(p);
    emit(p, p->tokenizer->image->ascii_ids[byte & 0x7F], at, at + 1);
}

static void take_slowly(pass *p, uint32_t c, uint64_t start, uint64_t end)
{
    uint32_t rules = p->tokenizer->image->rules;
    mn_char_class class = mn_char_classify(rules, c);
    if (class == MN_CHAR_DROP) return;
    if (class != MN_CHAR_WORD) end_word(p);
    if (class == MN_CHAR_SPACE) return;
    mn_char_part parts[MN_CHAR_PARTS_MAX];
    size_t n = mn_char_normalize(rules, c, parts);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].alone) end_word(p);
        append_char(p, parts[i].c, start, end);
        if (parts[i].alone) end_word(p);
    }
    if (class == MN_CHAR_ALONE) end_word(p);
}

static void take_char(pass *p, uint32_t c, uint64_t start, uint64_t end)
{
    uint32_t map = MN_MAP_SLOW;
    if (c < MN_IMAGE_CHARACTERS) {
        map = p->tokenizer->characters[c];
    } else if (c >= 0x4E00 && c <= 0x9FFF) { /* CJK Unified Ideographs: nothing to normalise */
        if (p->tokenizer->image->rules & MN_HANDLE_CHINESE_CHARS) end_word(p);
        append_char(p, c, start, end);
        if (p->tokenizer->image->rules & MN_HANDLE_CHINESE_CHARS) end_word(p);
        return;
    }
    if (map == MN_MAP_DROP) return;
    if (map == MN_MAP_SLOW) {
        take_slowly(p, c, start, end);
        return;
    }
    bool alone = map & 1;
    if (alone || map == MN_MAP_SPACE) end_word(p);
    if (map != MN_MAP_SPACE) append_char(p, map >> 1, start, end);
    if (alone) end_word(p);
}

/* One character, whatever it is; its bytes. */
static size_t take_any(pass *p, size_t at)
{
    uint32_t c = 0;
    size_t n = mn_utf8_decode(p->text + at, p->text_size - at, &c);
    if (n == 0) {
        c = MN_UTF8_REPLACEMENT;
        n = 1;
    }
    take_char(p, c, at, at + n);
    return n;
}

/* The longest added token that stands at text[at]; its bytes, or 0. (That some of them take the white space beside them
 * along makes no difference: white space gives no tokens.) */
static size_t take_added(pass *p, size_t at)
{
    const mn_tokenizer *t = p->tokenizer;
    const mn_image_added *best = NULL;
    for (size_t i = 0; i < t->image->n_added; i++) {
        const mn_image_added *token = &t->added[i];
        if (p->text_size - at < token->size || (best && token->size <= best->size)) continue;
        if (memcmp(p->text + at, t->added_bytes + token->offset, token->size) == 0) best = token;
    }
    if (!best) return 0;
    end_word(p);
    emit(p, best->id, at, at + best->size);
    return best->size;
}

/* ---- the pass ---- */

static void run_pass(pass *p)
{
    const uint8_t *byte_kind = p->tokenizer->image->byte_kind;
    const uint64_t case_bits = p->tokenizer->image->rules & MN_LOWERCASE ? BYTES(0x20) : 0;
    for (size_t at = 0; at < p->text_size && !full(p);) {
        unsigned kind = byte_kind[(unsigned char)p->text[at]];
        if (kind & MN_BYTE_ADDED) {
            size_t taken = take_added(p, at);
            at += taken;
            if (taken) continue;
            kind &= MN_BYTE_KIND;
        }
        if (kind == MN_BYTE_ALNUM) {
            at += take_run(p, at, case_bits);
        } else if (kind == MN_BYTE_SPACE) {
            end_word(p);
            at++;
        } else if (kind == MN_BYTE_ALONE) {
            take_alone(p, (unsigned char)p->text[at], at);
            at++;
        } else {
            at += take_any(p, at);
        }
    }
    if (!full(p)) end_word(p);
}

static void begin_pass(pass *p, const mn_tokenizer *tokenizer, const char *text, size_t size)
{
    /* Not zeroed: most of it is never touched. */
    p->tokenizer = tokenizer;
    p->text = text;
    p->text_size = size;
    p->out = NULL;
    p->visit = NULL;
    p->context = NULL;
    p->n = 0;
    p->limit = SIZE_MAX;
    p->with_offsets = p->failed = false;
    p->size = p->n_chars = 0;
}

mneme_status mn_tokenizer_encode(const mn_tokenizer *tokenizer, const char *text, size_t size, size_t max_tokens,
                                 mn_tokens *out, mneme_error *error)
{
    pass p;
    begin_pass(&p, tokenizer, text, size);
    p.out = out;
    p.n = out->n;
    p.limit = max_tokens < SIZE_MAX - out->n ? out->n + max_tokens : SIZE_MAX;
    p.with_offsets = out->with_offsets;
    run_pass(&p);
    out->n = p.n;
    return p.failed ? mn_fail_memory(error, "tokens") : MNEME_OK;
}

uint64_t mn_tokenizer_count(const mn_tokenizer *tokenizer, const char *text, size_t size)
{
    pass p;
    begin_pass(&p, tokenizer, text, size);
    run_pass(&p);
    return p.n;
}

bool mn_tokenizer_words(const mn_tokenizer *tokenizer, const char *text, size_t size, mn_word_visitor visit,
                        void *context)
{
    pass p;
    begin_pass(&p, tokenizer, text, size);
    p.visit = visit;
    p.context = context;
    for (size_t at = 0; at < size && !p.failed;) at += take_any(&p, at);
    if (!p.failed) end_word(&p);
    return !p.failed;
}

mneme_status mn_tokenizer_pieces(const mn_tokenizer *tokenizer, const char *word, size_t size, bool continuing,
                                 mn_tokens *out, mneme_error *error)
{
    pass p;
    begin_pass(&p, tokenizer, word, size);
    p.out = out;
    p.n = out->n;
    size_t at = continuing ? 1 : 0, piece = 0; /* any character before it */
    bool known = size <= WORD_BYTES - at;
    if (known) {
        p.word[0] = ' ';
        memcpy(p.word + at, word, size);
        p.size = at + size;
    }
    for (; known && at < p.size; at += piece) {
        uint32_t id = mn_longest_piece(tokenizer, p.word, p.size, at, &piece);
        known = id != MN_NO_TOKEN;
        if (known) emit(&p, id, 0, 0);
    }
    if (!known) {
        p.n = out->n;
        emit(&p, tokenizer->image->unk, 0, 0);
    }
    out->n = p.n;
    return p.failed ? mn_fail_memory(error, "tokens") : MNEME_OK;
}
