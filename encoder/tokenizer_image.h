/* tokenizer_image.h -- a tokenizer as one run of bytes: what it computes with, and what a cache file keeps.
 *
 *     | mn_tokenizer_image | slots | lengths | characters | token_starts | token_bytes | added | added_bytes |
 *       sections begin at multiples of 64 bytes and are named by their offset from the start; little-endian
 *
 * slots         pieces to ids: a power of two, at least twice as many as pieces, linear probing
 * lengths       for each hash of a piece's first four bytes: bit s is set when such a piece has s bytes (31: or more)
 * characters    for each character below MN_IMAGE_CHARACTERS: MN_MAP_..., else what it becomes << 1 | stands alone
 * token_starts  n_tokens + 1 offsets into token_bytes: the tokens as they are written, by id
 * added         tokens that are recognised in the raw text
 *
 * mn_image_view checks the head, the borders of the sections and the added tokens. What stands in the other sections is
 * not trusted: whoever reads there checks the id or offset that it finds, so that a damaged image does no harm. */
#ifndef MN_ENCODER_TOKENIZER_IMAGE_H
#define MN_ENCODER_TOKENIZER_IMAGE_H

#include "encoder/tokenizer_settings.h"

enum {
    MN_IMAGE_VERSION = 1,
    MN_IMAGE_CHARACTERS = 0x3100, /* Latin to Kana; beyond, Chinese characters need no table */
    MN_IMAGE_LENGTHS = 8192,
    MN_PIECE_INLINE = 12, /* bytes of a piece that its slot holds itself */
    MN_WORD_CHARS_MAX = 1000,
};

/* What a text does at a byte. */
enum {
    MN_BYTE_DROP, /* the first four: an ASCII character of this class */
    MN_BYTE_SPACE,
    MN_BYTE_ALONE,
    MN_BYTE_WORD,
    MN_BYTE_ALNUM, /* a letter or digit of ASCII, of which whole runs are taken; no added token begins with one */
    MN_BYTE_HIGH,  /* a character beyond ASCII */
    MN_BYTE_KIND = 0x7F,
    MN_BYTE_ADDED = 0x80, /* flag: an added token may begin here */
};

/* What `characters` says of a character that does not become one other. */
enum { MN_MAP_DROP, MN_MAP_SPACE, MN_MAP_SLOW /* ask mn_char_classify and mn_char_normalize */ };

/* A piece of a word. Of up to MN_PIECE_INLINE bytes: the bytes, zeros behind them. Longer: low is a hash of them with
 * the size in its lowest 16 bits, high their place in token_bytes. meta: 0 = empty, else id << 8 | the piece's tag. */
typedef struct mn_piece_slot {
    uint64_t low;
    uint32_t high, meta;
} mn_piece_slot;

typedef struct mn_image_added {
    uint32_t offset, size, id; /* into added_bytes */
} mn_image_added;

typedef enum mn_image_section {
    MN_SECTION_SLOTS,
    MN_SECTION_LENGTHS,
    MN_SECTION_CHARACTERS,
    MN_SECTION_TOKEN_STARTS,
    MN_SECTION_TOKEN_BYTES,
    MN_SECTION_ADDED,
    MN_SECTION_ADDED_BYTES,
    MN_IMAGE_SECTIONS
} mn_image_section;

typedef struct mn_tokenizer_image {
    char magic[8];      /* "mnTOKENS" */
    uint64_t head_hash; /* XXH3 of the head behind this field */
    uint32_t version, head_size;
    uint64_t size; /* of the image */
    uint64_t fingerprint;
    uint64_t offsets[MN_IMAGE_SECTIONS], sizes[MN_IMAGE_SECTIONS]; /* bytes */
    uint32_t n_ids;                                                /* largest id + 1, added tokens included */
    uint32_t n_tokens;                                             /* largest id of the vocabulary + 1 */
    uint32_t unk, cls, sep;
    uint32_t rules; /* MN_CLEAN_TEXT ... */
    uint32_t word_chars_max;
    uint32_t longest[2]; /* bytes of the longest piece that begins a word, that goes on one */
    uint32_t slot_bits, probes_max;
    uint32_t prefix_size;
    uint32_t
        continuing; /* the tag of pieces that go on a word: 1, or 0 when there is no prefix that tells them apart */
    uint32_t n_added;
    uint32_t unused[2];
    uint32_t ascii_ids[128]; /* of the character as a word of its own */
    uint8_t byte_kind[256];
} mn_tokenizer_image;

/* The sections of an image, ready to use. */
struct mn_tokenizer {
    const mn_tokenizer_image *image;
    const mn_piece_slot *slots;
    const uint32_t *lengths;
    const uint16_t *characters;
    const uint32_t *token_starts;
    const char *token_bytes, *added_bytes;
    const mn_image_added *added;
    size_t slot_mask;
    void *owned; /* the image, where it is the tokenizer's own */
};

/* Make an image from settings. *out: owned (mn_free), image->size bytes. ERR_MODEL names a special token that is in no
 * vocabulary (folder: for the message). */
mneme_status mn_image_build(const char *folder, const mn_tokenizer_settings *settings, mn_tokenizer_image **out,
                            mneme_error *error);

/* Fill in *out (but `owned`) from an image of `size` bytes, borrowed as long as *out is used. ERR_MODEL: it is cut
 * short, of another version, or damaged where it would do harm. */
mneme_status mn_image_view(const void *data, size_t size, struct mn_tokenizer *out, mneme_error *error);

#endif
