/* utf8.c -- reading, checking and repairing UTF-8 (Unicode 15, table 3-7: well-formed byte sequences). */
#include "common/utf8.h"

#include <string.h>

/* Length that a lead byte announces and the range of its second byte. 0: never a lead byte. */
static size_t lead_info(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return 2;
    if (lead < 0xF0) {
        if (lead == 0xE0) *low = 0xA0;
        if (lead == 0xED) *high = 0x9F;
        return 3;
    }
    if (lead < 0xF5) {
        if (lead == 0xF0) *low = 0x90;
        if (lead == 0xF4) *high = 0x8F;
        return 4;
    }
    return 0;
}

/* Bytes of the well-formed prefix of the character at text; complete when it equals *announced. */
static size_t well_formed_prefix(const char *text, size_t size, size_t *announced)
{
    unsigned char low, high;
    *announced = lead_info((unsigned char)text[0], &low, &high);
    if (*announced == 0) return 0;
    size_t n = 1;
    while (n < *announced && n < size) {
        unsigned char byte = (unsigned char)text[n];
        if (byte < low || byte > high) break;
        low = 0x80;
        high = 0xBF;
        n++;
    }
    return n;
}

size_t mn_utf8_decode(const char *text, size_t size, uint32_t *codepoint)
{
    const unsigned char *b = (const unsigned char *)text;
    if (b[0] < 0x80) {
        *codepoint = b[0];
        return 1;
    }
    size_t announced;
    if (well_formed_prefix(text, size, &announced) != announced || announced == 0) return 0;
    if (announced == 2) *codepoint = (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
    else if (announced == 3) *codepoint = (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
    else *codepoint = (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
    return announced;
}

size_t mn_utf8_encode(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0u | c >> 6);
        out[1] = (char)(0x80u | (c & 0x3Fu));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0u | c >> 12);
        out[1] = (char)(0x80u | (c >> 6 & 0x3Fu));
        out[2] = (char)(0x80u | (c & 0x3Fu));
        return 3;
    }
    out[0] = (char)(0xF0u | c >> 18);
    out[1] = (char)(0x80u | (c >> 12 & 0x3Fu));
    out[2] = (char)(0x80u | (c >> 6 & 0x3Fu));
    out[3] = (char)(0x80u | (c & 0x3Fu));
    return 4;
}

/* Bytes from text on that are valid. */
static size_t valid_run(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        uint64_t eight;
        while (size - at >= 8 && (memcpy(&eight, text + at, 8), (eight & 0x8080808080808080u) == 0)) at += 8;
        if (at == size) break;
        uint32_t codepoint;
        size_t n = mn_utf8_decode(text + at, size - at, &codepoint);
        if (n == 0) break;
        at += n;
    }
    return at;
}

bool mn_utf8_valid(const char *text, size_t size)
{
    return valid_run(text, size) == size;
}

uint64_t mn_utf8_repair(const char *text, size_t size, mn_buffer *out)
{
    uint64_t replaced = 0;
    size_t at = 0;
    for (;;) {
        size_t run = valid_run(text + at, size - at);
        mn_buffer_append(out, text + at, run);
        at += run;
        if (at >= size) return replaced;
        size_t announced;
        size_t bad = well_formed_prefix(text + at, size - at, &announced);
        at += bad ? bad : 1;
        mn_buffer_append(out, "\xEF\xBF\xBD", 3);
        replaced++;
    }
}

size_t mn_utf8_floor(const char *text, size_t size, size_t offset)
{
    if (offset >= size) return size;
    while (offset > 0 && ((unsigned char)text[offset] & 0xC0u) == 0x80u) offset--;
    return offset;
}
