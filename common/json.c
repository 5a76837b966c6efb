/* json.c -- following brackets and strings, and nothing else: whether the text is JSON at all is for a parser to say.
 */
#include "common/json.h"

/* Where the bracket closes that opened first, NULL when none does; *deepest: the most that were open at once. */
static const char *follow(const char *json, size_t size, size_t limit, size_t *deepest)
{
    size_t depth = 0;
    bool in_string = false;
    *deepest = 0;
    for (size_t i = 0; i < size; i++) {
        char c = json[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > *deepest) *deepest = depth;
            if (depth > limit) return NULL;
        } else if ((c == '}' || c == ']') && depth > 0) {
            if (--depth == 0) return json + i + 1;
        }
    }
    return NULL;
}

bool mn_json_deeper_than(const char *json, size_t size, size_t limit)
{
    for (const char *at = json, *end = json + size; at && at < end;) {
        size_t deepest;
        at = follow(at, (size_t)(end - at), limit, &deepest);
        if (deepest > limit) return true;
    }
    return false;
}

const char *mn_json_matching_end(const char *json, size_t size)
{
    size_t deepest;
    return follow(json, size, size, &deepest);
}
