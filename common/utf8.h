/* utf8.h -- reading, checking and repairing UTF-8. Character properties come from utf8proc, where they are used. */
#ifndef MN_COMMON_UTF8_H
#define MN_COMMON_UTF8_H

#include "common/buffer.h"

#define MN_UTF8_REPLACEMENT 0xFFFDu

/* Bytes (1..4) of the valid character at text[0]; 0 when it is invalid or cut short (overlong forms, surrogates and
 * values over 10FFFF are invalid). *codepoint is set when valid. size must be > 0. */
size_t mn_utf8_decode(const char *text, size_t size, uint32_t *codepoint);

/* Write one code point to out[0..3], return its length. */
size_t mn_utf8_encode(uint32_t codepoint, char *out);

bool mn_utf8_valid(const char *text, size_t size);

/* Append `text` to `out` with every invalid sequence (the Unicode standard's "maximal subpart") as one U+FFFD; returns
 * how many were replaced. */
uint64_t mn_utf8_repair(const char *text, size_t size, mn_buffer *out);

/* The largest boundary <= offset that does not split a character of valid UTF-8. */
size_t mn_utf8_floor(const char *text, size_t size, size_t offset);

#endif
