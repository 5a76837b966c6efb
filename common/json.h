/* json.h -- a look at JSON before a parser gets it. */
#ifndef MN_COMMON_JSON_H
#define MN_COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* Are arrays and objects nested deeper than `limit`? Parsers recurse: ask before one is given text from outside. Any
 * bytes. */
bool mn_json_deeper_than(const char *json, size_t size, size_t limit);

/* One past the bracket that closes the one at json[0]; NULL when there is none. Strings are skipped. */
const char *mn_json_matching_end(const char *json, size_t size);

#endif
