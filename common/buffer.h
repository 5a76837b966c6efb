/* buffer.h -- a growing run of bytes with a maximum. */
#ifndef MN_COMMON_BUFFER_H
#define MN_COMMON_BUFFER_H

#include "common/error.h"

typedef struct mn_buffer {
    char *data; /* NULL while empty; NUL-terminated after any append (the NUL is not counted in size) */
    size_t size, capacity;
    bool failed; /* an append ran out of memory or over MN_BUFFER_MAX: the content is incomplete */
} mn_buffer;     /* start from {0} */

#define MN_BUFFER_MAX ((size_t)1 << 34)

/* Appends never fail loudly: they set `failed`, so that a run of them is checked once, at the end. */
void mn_buffer_append(mn_buffer *buffer, const void *data, size_t size);
void mn_buffer_text(mn_buffer *buffer, const char *text); /* NUL-terminated; NULL appends nothing */
void mn_buffer_byte(mn_buffer *buffer, char byte);
void mn_buffer_format(mn_buffer *buffer, const char *format, ...) MN_PRINTF(2, 3);
bool mn_buffer_reserve(mn_buffer *buffer, size_t extra); /* room for `extra` more bytes and the NUL */
void mn_buffer_clear(mn_buffer *buffer);                 /* empty, keeps the memory */
void mn_buffer_free(mn_buffer *buffer);                  /* {0} again */

/* Unsigned LEB128, as postings and log entries use it. */
void mn_buffer_varint(mn_buffer *buffer, uint64_t value);
/* Read one at *cursor (end is one past the last byte); false when cut short or over 10 bytes. Advances *cursor. */
bool mn_varint_read(const unsigned char **cursor, const unsigned char *end, uint64_t *value);

#endif
