/* characters.h -- what the BERT tokenizer makes of one character: its class, and its normalised form.
 *
 * The slow, complete way, through utf8proc; tokenizer_image.c makes tables of it for the common characters. */
#ifndef MN_ENCODER_CHARACTERS_H
#define MN_ENCODER_CHARACTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a tokenizer does with characters; part of its image, so values are only appended. */
enum {
    MN_CLEAN_TEXT = 1,           /* control characters go */
    MN_HANDLE_CHINESE_CHARS = 2, /* each stands alone */
    MN_STRIP_ACCENTS = 4,
    MN_LOWERCASE = 8,
    MN_CHARACTER_RULES = 15 /* all of them */
};

typedef enum mn_char_class {
    MN_CHAR_DROP,  /* as if it were not there */
    MN_CHAR_SPACE, /* ends a word */
    MN_CHAR_ALONE, /* a word of its own */
    MN_CHAR_WORD
} mn_char_class;

mn_char_class mn_char_classify(uint32_t rules, uint32_t c);

/* One character of a normalised text. */
typedef struct mn_char_part {
    uint32_t c;
    bool alone; /* a word of its own, whatever stands around it */
} mn_char_part;

enum { MN_CHAR_PARTS_MAX = 64 };

/* Decompose and lower-case one character as the rules say; how many parts it became (0: it goes). */
size_t mn_char_normalize(uint32_t rules, uint32_t c, mn_char_part *parts);

#endif
