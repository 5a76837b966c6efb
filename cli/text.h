/* text.h -- memory and growing text for the command.
 *
 * The library hands every failed allocation back to its caller; the command has nobody to hand it to. So these calls
 * do not return without memory: they say so on stderr and end the program with CLI_EXIT_FAILURE. What the store has
 * acknowledged by then is safe. One thread. */
#ifndef MN_CLI_TEXT_H
#define MN_CLI_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CLI_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define CLI_PRINTF(format_index, first)
#endif

/* n * size bytes, uninitialised; release with free(). */
void *cli_alloc(size_t n, size_t size);
/* The same for a block that grows or shrinks; pointer NULL = a new one. */
void *cli_realloc(void *pointer, size_t n, size_t size);
/* Copies, released with free(); NULL in, NULL out. */
char *cli_strdup(const char *text);
char *cli_strndup(const char *text, size_t size);
/* A formatted copy, released with free(). */
char *cli_format(const char *format, ...) CLI_PRINTF(1, 2);

/* A growing run of bytes. Start from {0}. */
typedef struct cli_text {
    char *data; /* NULL while nothing was ever appended; else NUL-terminated (the NUL is not counted) */
    size_t size, capacity;
} cli_text;

void cli_text_append(cli_text *text, const void *data, size_t size);
void cli_text_string(cli_text *text, const char *string); /* NUL-terminated; NULL appends nothing */
void cli_text_byte(cli_text *text, char byte);
void cli_text_format(cli_text *text, const char *format, ...) CLI_PRINTF(2, 3);
void cli_text_reserve(cli_text *text, size_t extra); /* room for `extra` more bytes and the NUL */
void cli_text_clear(cli_text *text);                 /* empty, keeps the memory */
void cli_text_free(cli_text *text);                  /* {0} again */
/* The content as a string of its own (released with free()); `text` is {0} again. "" when nothing was appended. */
char *cli_text_take(cli_text *text);

/* Bytes (1..4) of the valid UTF-8 character at text[0], and its code point; 0: invalid or cut short. size > 0. */
size_t cli_utf8_decode(const char *text, size_t size, uint32_t *codepoint);
bool cli_utf8_valid(const char *text, size_t size);
/* Bytes of the byte-order mark with which some programs begin UTF-8: 3, or 0 where there is none. */
size_t cli_mark_size(const char *data, size_t size);
/* Append `data` with every invalid sequence (Unicode's "maximal subpart") as U+FFFD; returns how many there were. */
uint64_t cli_text_repaired(cli_text *text, const char *data, size_t size);

/* Strings in the order of adding. Start from {0}; the strings are borrowed. */
typedef struct cli_list {
    const char **items;
    size_t n, capacity;
} cli_list;
void cli_list_add(cli_list *list, const char *item);
void cli_list_free(cli_list *list); /* the array, not the strings */

#endif
