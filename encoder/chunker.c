/* chunker.c -- sentences gathered into chunks that fit the window.
 *
 *     sentences   | s1 | s2 | s3 | # heading | s4 | s5 | s6 |
 *     chunks      |  s1 s2 s3    |  # heading  s4 s5 |
 *                                             |  s5 s6 |          s5 again: the overlap
 *
 * A sentence that does not fit is cut into pieces at words first. Only the sentences of one chunk are kept in memory. A
 * range's tokens are the sum of its sentences', because they meet at white space or punctuation, where the tokenizer
 * splits anyway. */
#include "encoder/chunker.h"

#include "common/memory.h"
#include "common/utf8.h"

#include <string.h>

/* A piece of text longer than this per token of the window is cut even if it is few tokens (base64, long URLs: the
 * tokenizer makes one [UNK] of a word over 100 characters). English has 4 to 5 bytes a token. */
enum { BYTES_PER_TOKEN_MAX = 32 };

typedef struct unit {
    size_t start, end;
    uint32_t n_tokens;
    bool is_heading;
    bool inside_word; /* it begins where a word was cut: its tokens are not those that the word had */
} unit;

typedef struct chunking {
    const mn_tokenizer *tokenizer;
    const char *text;
    const mn_chunk_options *options;
    mn_chunk_spans *out;
    mneme_error *error;
    unit *units; /* of the chunk that is being filled */
    size_t n, capacity;
    uint32_t n_tokens;
    size_t n_overlap; /* units that the chunk before has, too */
    mn_tokens scratch;
} chunking;

void mn_chunk_spans_free(mn_chunk_spans *spans)
{
    mn_free(spans->items);
    *spans = (mn_chunk_spans){0};
}

static mneme_status append_span(mn_chunk_spans *out, mn_chunk_span span, mneme_error *error)
{
    if (out->n == out->capacity) {
        size_t capacity = out->capacity ? out->capacity * 2 : 16;
        mn_chunk_span *grown = mn_realloc_array(out->items, capacity, sizeof *grown);
        if (!grown) return mn_fail_memory(error, "chunks");
        out->items = grown;
        out->capacity = capacity;
    }
    out->items[out->n++] = span;
    return MNEME_OK;
}

static void drop_units(chunking *c, size_t n)
{
    for (size_t i = 0; i < n; i++) c->n_tokens -= c->units[i].n_tokens;
    memmove(c->units, c->units + n, (c->n - n) * sizeof *c->units);
    c->n -= n;
}

/* Write the units but the last `keep` as a chunk. */
static mneme_status write_chunk(chunking *c, size_t keep)
{
    size_t n = c->n - keep;
    if (n <= c->n_overlap) return MNEME_OK; /* nothing new in it */
    mn_chunk_span span = {.start = c->units[0].start, .end = c->units[n - 1].end};
    for (size_t i = 0; i < n; i++) span.n_tokens += c->units[i].n_tokens;
    return append_span(c->out, span, c->error);
}

/* Write the chunk, and begin the next with its headings at the end, or with its last sentences that fit the overlap and
 * leave room for `next_tokens`. */
static mneme_status turn_over(chunking *c, uint32_t next_tokens)
{
    size_t headings = 0;
    uint32_t kept = 0;
    while (headings < c->n && c->units[c->n - 1 - headings].is_heading) kept += c->units[c->n - 1 - headings++].n_tokens;
    if (headings == c->n || kept + next_tokens > c->options->max_tokens) headings = kept = 0; /* they cannot stay with it */
    mneme_status status = write_chunk(c, headings);
    if (status != MNEME_OK) return status;
    size_t keep = headings;
    c->n_overlap = 0;
    while (headings == 0 && keep + 1 < c->n && !c->units[c->n - 1 - keep].is_heading) {
        uint32_t more = kept + c->units[c->n - 1 - keep].n_tokens;
        if (more > c->options->overlap_tokens || more + next_tokens > c->options->max_tokens) break;
        kept = more;
        keep++;
        c->n_overlap++;
    }
    drop_units(c, c->n - keep);
    return status;
}

static mneme_status add_unit(chunking *c, unit u)
{
    mneme_status status = MNEME_OK;
    bool after_text = c->n > 0 && !c->units[c->n - 1].is_heading;
    if (u.inside_word || (u.is_heading && after_text && c->n_tokens >= c->options->max_tokens / 4)) {
        status = write_chunk(c, 0);
        drop_units(c, c->n);
        c->n_overlap = 0;
    } else if (c->n > 0 && c->n_tokens + u.n_tokens > c->options->max_tokens) {
        status = turn_over(c, u.n_tokens);
    }
    if (status == MNEME_OK && c->n == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 64;
        unit *grown = mn_realloc_array(c->units, capacity, sizeof *grown);
        if (!grown) return mn_fail_memory(c->error, "chunks");
        c->units = grown;
        c->capacity = capacity;
    }
    if (status != MNEME_OK) return status;
    c->units[c->n++] = u;
    c->n_tokens += u.n_tokens;
    return MNEME_OK;
}

/* Tokens of text[start, end) into scratch, at most `limit`. */
static mneme_status tokenize(chunking *c, size_t start, size_t end, size_t limit)
{
    c->scratch.n = 0;
    return mn_tokenizer_encode(c->tokenizer, c->text + start, end - start, limit, &c->scratch, c->error);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Where to cut text[start, end), which is too long, so that the first piece fits: behind the last white space that
 * leaves at most max_tokens, else inside the word. scratch holds the first max_tokens + 1 tokens of it. */
static size_t cut_place(const chunking *c, size_t start, size_t end)
{
    size_t limit = c->options->max_tokens, bytes_max = limit * BYTES_PER_TOKEN_MAX;
    size_t reach = c->scratch.n > limit ? start + (size_t)c->scratch.starts[limit] : end;
    if (reach > start + bytes_max) reach = start + mn_utf8_floor(c->text + start, end - start, bytes_max);
    for (size_t at = reach; at > start + (reach - start) / 4; at--)
        if (is_space(c->text[at - 1])) return at;
    return reach;
}

/* A piece cut inside a word may have other tokens than the word had; shorten it until it fits. */
static mneme_status shrink_to_fit(chunking *c, size_t start, size_t *cut)
{
    for (;;) {
        mneme_status status = tokenize(c, start, *cut, SIZE_MAX);
        if (status != MNEME_OK || c->scratch.n <= c->options->max_tokens) return status;
        size_t shorter = start + mn_utf8_floor(c->text + start, *cut - start, (*cut - start) * 3 / 4);
        if (shorter <= start || shorter >= *cut) return MNEME_OK; /* one character: it stays as it is */
        *cut = shorter;
    }
}

static mneme_status add_pieces(chunking *c, size_t start, size_t end, bool is_heading)
{
    for (bool inside_word = false; start < end;) {
        mneme_status status = tokenize(c, start, end, (size_t)c->options->max_tokens + 1);
        if (status != MNEME_OK) return status;
        bool fits = c->scratch.n <= c->options->max_tokens &&
                    end - start <= (size_t)c->options->max_tokens * BYTES_PER_TOKEN_MAX;
        size_t cut = fits ? end : cut_place(c, start, end);
        if (!fits) status = shrink_to_fit(c, start, &cut);
        size_t piece_end = cut;
        while (piece_end > start && is_space(c->text[piece_end - 1])) piece_end--;
        if (status == MNEME_OK && piece_end > start)
            status = add_unit(c, (unit){.start = start,
                                        .end = piece_end,
                                        .n_tokens = (uint32_t)c->scratch.n,
                                        .is_heading = is_heading && fits,
                                        .inside_word = inside_word});
        if (status != MNEME_OK) return status;
        inside_word = cut < end && !is_space(c->text[cut - 1]) && !is_space(c->text[cut]);
        start = cut;
        while (start < end && is_space(c->text[start])) start++;
    }
    return MNEME_OK;
}

mneme_status mn_chunk_text(const mn_tokenizer *tokenizer, const char *text, size_t size, const mn_chunk_options *options,
                           mn_chunk_spans *out, mneme_error *error)
{
    chunking c = {.tokenizer = tokenizer, .text = text, .options = options, .out = out, .error = error};
    c.scratch.with_offsets = true;
    size_t at = 0, start, end;
    bool is_heading;
    mneme_status status = MNEME_OK;
    while (status == MNEME_OK && mn_next_sentence(text, size, &at, &start, &end, &is_heading))
        status = add_pieces(&c, start, end, is_heading);
    if (status == MNEME_OK) status = write_chunk(&c, 0);
    mn_tokens_free(&c.scratch);
    mn_free(c.units);
    return status;
}
