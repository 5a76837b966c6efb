/* buffer.c -- a growing run of bytes with a maximum. */
#include "common/buffer.h"

#include "common/memory.h"

#include <stdarg.h>
#include <string.h>

bool mn_buffer_reserve(mn_buffer *buffer, size_t extra)
{
    if (buffer->failed) return false;
    if (extra < buffer->capacity - buffer->size) return true;
    if (extra >= MN_BUFFER_MAX - buffer->size) {
        buffer->failed = true;
        return false;
    }
    size_t capacity = buffer->capacity ? buffer->capacity : 64;
    while (capacity - buffer->size <= extra) capacity *= 2;
    char *data = mn_realloc_array(buffer->data, capacity, 1);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void mn_buffer_append(mn_buffer *buffer, const void *data, size_t size)
{
    if (!mn_buffer_reserve(buffer, size)) return;
    if (size) memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void mn_buffer_text(mn_buffer *buffer, const char *text)
{
    if (text) mn_buffer_append(buffer, text, strlen(text));
}

void mn_buffer_byte(mn_buffer *buffer, char byte)
{
    mn_buffer_append(buffer, &byte, 1);
}

void mn_buffer_format(mn_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int needed = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (needed < 0 || !mn_buffer_reserve(buffer, (size_t)needed)) {
        buffer->failed = true;
        return;
    }
    va_start(arguments, format);
    vsnprintf(buffer->data + buffer->size, (size_t)needed + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t)needed;
}

void mn_buffer_clear(mn_buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
    if (buffer->data) buffer->data[0] = '\0';
}

void mn_buffer_free(mn_buffer *buffer)
{
    mn_free(buffer->data);
    *buffer = (mn_buffer){0};
}

void mn_buffer_varint(mn_buffer *buffer, uint64_t value)
{
    unsigned char bytes[10];
    size_t n = 0;
    do {
        unsigned char low = (unsigned char)(value & 0x7Fu);
        value >>= 7;
        bytes[n++] = (unsigned char)(value ? low | 0x80u : low);
    } while (value);
    mn_buffer_append(buffer, bytes, n);
}

bool mn_varint_read(const unsigned char **cursor, const unsigned char *end, uint64_t *value)
{
    uint64_t result = 0;
    const unsigned char *p = *cursor;
    for (unsigned shift = 0; shift < 70 && p < end; shift += 7) {
        uint64_t low = *p & 0x7Fu;
        if (shift == 63 && low > 1) return false;
        result |= low << shift;
        if (!(*p++ & 0x80u)) {
            *cursor = p;
            *value = result;
            return true;
        }
    }
    return false;
}
