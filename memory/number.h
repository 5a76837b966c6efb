/* number.h -- numbers in text, read the same way whatever locale the program has set. */
#ifndef MN_MEMORY_NUMBER_H
#define MN_MEMORY_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mn_number {
    double real;
    bool is_integer; /* written without fraction and exponent, and within 64 bits: then `integer` is exact */
    int64_t integer;
} mn_number;

/* Read the decimal number that `text` begins with: [sign] digits [. digits] [e [sign] digits], one side of the point
 * may be empty. Returns the bytes that it takes; 0 when there is none, or when it is too large for a double. No spaces,
 * hexadecimal digits, infinities or NaN. Any thread. */
size_t mn_number_read(const char *text, mn_number *out);

#endif
