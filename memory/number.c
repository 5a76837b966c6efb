/* number.c -- numbers in text.
 *
 * strtod() follows LC_NUMERIC: in a program that runs in a German locale it stops at the point of "0.65". So the grammar
 * is checked here, and the digits are converted under the C locale. */
#include "memory/number.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

static size_t digits(const char *text)
{
    size_t n = 0;
    while (text[n] >= '0' && text[n] <= '9') n++;
    return n;
}

/* Bytes of the number; 0 = none. */
static size_t number_size(const char *text, bool *is_integer)
{
    size_t n = text[0] == '-' || text[0] == '+';
    size_t whole = digits(text + n), fraction = 0;
    n += whole;
    *is_integer = true;
    if (text[n] == '.') {
        fraction = digits(text + n + 1);
        if (whole + fraction == 0) return 0;
        n += 1 + fraction;
        *is_integer = false;
    }
    if (whole + fraction == 0) return 0;
    if (text[n] != 'e' && text[n] != 'E') return n;
    size_t sign = text[n + 1] == '-' || text[n + 1] == '+', exponent = digits(text + n + 1 + sign);
    if (exponent == 0) return n;
    *is_integer = false;
    return n + 1 + sign + exponent;
}

size_t mn_number_read(const char *text, mn_number *out)
{
    *out = (mn_number){0};
    size_t size = number_size(text, &out->is_integer);
    if (size == 0) return 0;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) return 0;
    char *end = NULL;
    out->real = strtod_l(text, &end, plain);
    freelocale(plain);
    if (end != text + size || !isfinite(out->real)) return 0;
    errno = 0;
    if (out->is_integer) out->integer = strtoll(text, NULL, 10);
    out->is_integer = out->is_integer && errno == 0;
    return size;
}
