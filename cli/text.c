/* text.c -- memory and growing text for the command. */
#include "cli/text.h"

#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(void)
{
    fputs("mneme: out of memory; what was stored so far is safe\n", stderr);
    exit(CLI_EXIT_FAILURE);
}

void *cli_realloc(void *pointer, size_t n, size_t size)
{
    if (size != 0 && n > SIZE_MAX / 2 / size) out_of_memory();
    size_t bytes = n * size;
    void *grown = realloc(pointer, bytes ? bytes : 1);
    if (!grown) out_of_memory();
    return grown;
}

void *cli_alloc(size_t n, size_t size)
{
    return cli_realloc(NULL, n, size);
}

char *cli_strndup(const char *text, size_t size)
{
    if (!text) return NULL;
    char *copy = cli_alloc(size + 1, 1);
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

char *cli_strdup(const char *text)
{
    return text ? cli_strndup(text, strlen(text)) : NULL;
}

void cli_text_reserve(cli_text *text, size_t extra)
{
    if (extra < text->capacity - text->size) return;
    if (extra > SIZE_MAX / 4 - text->size) out_of_memory();
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity - text->size <= extra) capacity *= 2;
    text->data = cli_realloc(text->data, capacity, 1);
    text->capacity = capacity;
}

void cli_text_append(cli_text *text, const void *data, size_t size)
{
    cli_text_reserve(text, size);
    if (size) memcpy(text->data + text->size, data, size);
    text->size += size;
    text->data[text->size] = '\0';
}

void cli_text_string(cli_text *text, const char *string)
{
    if (string) cli_text_append(text, string, strlen(string));
}

void cli_text_byte(cli_text *text, char byte)
{
    cli_text_append(text, &byte, 1);
}

static void append_format(cli_text *text, const char *format, va_list arguments)
{
    va_list measured;
    va_copy(measured, arguments);
    int size = vsnprintf(NULL, 0, format, measured);
    va_end(measured);
    if (size < 0) return; /* a wide character that the locale cannot write; none is used */
    cli_text_reserve(text, (size_t)size);
    vsnprintf(text->data + text->size, (size_t)size + 1, format, arguments);
    text->size += (size_t)size;
}

void cli_text_format(cli_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    append_format(text, format, arguments);
    va_end(arguments);
}

char *cli_format(const char *format, ...)
{
    cli_text text = {0};
    va_list arguments;
    va_start(arguments, format);
    append_format(&text, format, arguments);
    va_end(arguments);
    return cli_text_take(&text);
}

void cli_text_clear(cli_text *text)
{
    text->size = 0;
    if (text->data) text->data[0] = '\0';
}

void cli_text_free(cli_text *text)
{
    free(text->data);
    *text = (cli_text){0};
}

char *cli_text_take(cli_text *text)
{
    if (!text->data) cli_text_append(text, "", 0);
    char *data = text->data;
    *text = (cli_text){0};
    return data;
}

/* Shape of a first byte: length and the lead bits removed; 0 for a byte that cannot begin a character. */
static size_t lead_length(unsigned char lead)
{
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF) return 2;
    if (lead >= 0xE0 && lead <= 0xEF) return 3;
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

size_t cli_utf8_decode(const char *text, size_t size, uint32_t *codepoint)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)text[0];
    size_t length = lead_length(lead);
    if (length == 0 || length > size) return 0;
    uint32_t value = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        unsigned char next = (unsigned char)text[i];
        if ((next & 0xC0) != 0x80) return 0;
        value = value << 6 | (next & 0x3F);
    }
    if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return 0;
    *codepoint = value;
    return length;
}

size_t cli_mark_size(const char *data, size_t size)
{
    static const char mark[] = "\xEF\xBB\xBF";
    return size >= sizeof mark - 1 && memcmp(data, mark, sizeof mark - 1) == 0 ? sizeof mark - 1 : 0;
}

bool cli_utf8_valid(const char *text, size_t size)
{
    uint32_t codepoint;
    for (size_t at = 0; at < size;) {
        size_t length = cli_utf8_decode(text + at, size - at, &codepoint);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

/* Bytes of the maximal subpart at text[0], where no valid character begins: what could have begun one, at least 1. */
static size_t subpart(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t length = lead_length(bytes[0]), at = 1;
    if (length < 2 || size < 2) return 1;
    unsigned char least = bytes[0] == 0xE0 ? 0xA0 : bytes[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char most = bytes[0] == 0xED ? 0x9F : bytes[0] == 0xF4 ? 0x8F : 0xBF;
    if (bytes[1] < least || bytes[1] > most) return 1;
    for (at = 2; at < length && at < size && (bytes[at] & 0xC0) == 0x80; at++) continue;
    return at;
}

uint64_t cli_text_repaired(cli_text *text, const char *data, size_t size)
{
    uint64_t replaced = 0;
    uint32_t codepoint;
    for (size_t at = 0; at < size;) {
        size_t length = cli_utf8_decode(data + at, size - at, &codepoint);
        if (length) {
            cli_text_append(text, data + at, length);
        } else {
            cli_text_string(text, "\xEF\xBF\xBD");
            length = subpart(data + at, size - at);
            replaced++;
        }
        at += length;
    }
    return replaced;
}

void cli_list_add(cli_list *list, const char *item)
{
    if (list->n == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 8;
        list->items = cli_realloc(list->items, list->capacity, sizeof *list->items);
    }
    list->items[list->n++] = item;
}

void cli_list_free(cli_list *list)
{
    free(list->items);
    *list = (cli_list){0};
}
