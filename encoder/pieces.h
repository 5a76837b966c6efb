/* pieces.h -- looking up pieces of words in a tokenizer's image, for tokenizer.c (which inlines it) and
 * tokenizer_image.c (which fills the table).
 *
 * A key is the piece's first 12 bytes, in two numbers with zeros behind them, or for longer pieces a hash, and a tag.
 * Probes end at an empty slot or after image->probes_max, so that a damaged table ends them, too. */
#ifndef MN_ENCODER_PIECES_H
#define MN_ENCODER_PIECES_H

#include "encoder/tokenizer_image.h"

#include <string.h>
#include <xxhash.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the tokenizer reads words as little-endian numbers"
#endif

typedef struct mn_piece_key {
    uint64_t low;
    uint32_t high, tag; /* tag: min(size, 13) << 1 | goes on a word */
} mn_piece_key;

/* Readers of words may read this far behind a word's end (and ignore what stands there). */
enum { MN_WORD_PADDING = 16 };

static inline uint64_t mn_load8(const char *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* The lowest n bytes of a number, n = 1..8. */
static inline uint64_t mn_low_bytes(uint64_t value, size_t n)
{
    return value & (UINT64_MAX >> (64 - 8 * n));
}

/* Key of a piece of 1..MN_PIECE_INLINE bytes whose first 16 bytes (what is behind its end counts nothing) are given. */
static inline mn_piece_key mn_short_key(uint64_t first, uint64_t second, size_t size, uint32_t continuing)
{
    mn_piece_key key = {.low = size < 8 ? mn_low_bytes(first, size) : first,
                        .high = size > 8 ? (uint32_t)mn_low_bytes(second, size - 8) : 0,
                        .tag = (uint32_t)size << 1 | continuing};
    return key;
}

/* Key of a longer piece; `high`, its place, is not part of it. */
static inline mn_piece_key mn_long_key(const char *piece, size_t size, uint32_t continuing)
{
    uint64_t hash = XXH3_64bits_withSeed(piece, size, continuing);
    return (mn_piece_key){.low = (hash & ~(uint64_t)0xFFFF) | (size & 0xFFFF),
                          .tag = (uint32_t)(MN_PIECE_INLINE + 1) << 1 | continuing};
}

static inline size_t mn_key_slot(mn_piece_key key, uint32_t slot_bits)
{
    uint64_t hash =
        key.low * UINT64_C(0x9E3779B97F4A7C15) + ((uint64_t)key.high << 32 | key.tag) * UINT64_C(0xC2B2AE3D27D4EB4F);
    hash = (hash ^ hash >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return (size_t)(hash >> (64 - slot_bits));
}

/* Id of a short piece; MN_NO_TOKEN: there is none. */
static inline uint32_t mn_find_short(const struct mn_tokenizer *t, mn_piece_key key)
{
    size_t at = mn_key_slot(key, t->image->slot_bits);
    for (uint32_t probe = 0; probe <= t->image->probes_max; probe++, at = (at + 1) & t->slot_mask) {
        const mn_piece_slot *slot = &t->slots[at];
        if (slot->low == key.low && slot->high == key.high && (slot->meta & 0xFF) == key.tag)
            return slot->meta >> 8 < t->image->n_ids ? slot->meta >> 8 : MN_NO_TOKEN;
        if (slot->meta == 0) break;
    }
    return MN_NO_TOKEN;
}

/* Id of a piece of more than MN_PIECE_INLINE bytes. */
static inline uint32_t mn_find_long(const struct mn_tokenizer *t, const char *piece, size_t size, uint32_t continuing)
{
    mn_piece_key key = mn_long_key(piece, size, continuing);
    size_t at = mn_key_slot(key, t->image->slot_bits);
    for (uint32_t probe = 0; probe <= t->image->probes_max; probe++, at = (at + 1) & t->slot_mask) {
        const mn_piece_slot *slot = &t->slots[at];
        if (slot->meta == 0) break;
        if (slot->low != key.low || (slot->meta & 0xFF) != key.tag) continue;
        size_t room = (size_t)t->image->sizes[MN_SECTION_TOKEN_BYTES];
        if (size > room || slot->high > room - size || memcmp(t->token_bytes + slot->high, piece, size) != 0) continue;
        return slot->meta >> 8 < t->image->n_ids ? slot->meta >> 8 : MN_NO_TOKEN;
    }
    return MN_NO_TOKEN;
}

/* Where `lengths` counts pieces that begin with these four bytes. */
static inline size_t mn_lengths_place(uint32_t first_four, uint32_t continuing)
{
    return (first_four ^ continuing) * UINT32_C(0x9E3779B1) >> 19;
}

/* The longest piece at word[at], of those that go on a word if at > 0: its id, its bytes in *size; MN_NO_TOKEN: none.
 * MN_WORD_PADDING bytes behind the word can be read. No piece ends inside a character. */
static inline uint32_t mn_longest_piece(const struct mn_tokenizer *t, const char *word, size_t word_size, size_t at,
                                        size_t *size)
{
    const char *piece = word + at;
    size_t left = word_size - at, longest = t->image->longest[at > 0];
    uint32_t continuing = at > 0 ? t->image->continuing : 0;
    uint64_t first = mn_load8(piece), second = mn_load8(piece + 8);
    uint32_t lengths = 0xE; /* 1 to 3 bytes: tried always */
    if (left > 3) lengths |= t->lengths[mn_lengths_place((uint32_t)first, continuing)];
    if (longest > left) longest = left;
    if (longest < 31) lengths &= (2u << longest) - 1;
    while (lengths) {
        uint32_t bit = 31 - (uint32_t)__builtin_clz(lengths);
        lengths ^= 1u << bit;
        for (*size = bit < 31 ? bit : longest; *size >= bit && *size > 0; (*size)--) {
            if (*size < left && ((unsigned char)piece[*size] & 0xC0u) == 0x80u) continue;
            uint32_t id = *size <= MN_PIECE_INLINE ? mn_find_short(t, mn_short_key(first, second, *size, continuing))
                                                   : mn_find_long(t, piece, *size, continuing);
            if (id != MN_NO_TOKEN) return id;
        }
    }
    return MN_NO_TOKEN;
}

#endif
