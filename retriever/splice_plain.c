/* splice_plain.c -- the window as lines.
 *
 *     [conv-26/1, 2023-05-08]          one line for each group
 *     Caroline: I went to a group.     a passage, after the speaker's name where there is one
 *     Melanie: How was it?             the next turn
 *     [...]                            something was left out here
 *     Caroline: Powerful.
 *                                      an empty line between groups
 *     [Alice in Wonderland, alice.txt]
 *     ...
 *
 * Escaping. A stored line that could pass for a mark begins with one backslash more than it has:
 *
 *   - a line in [ ]
 *   - where turns have speakers: a line that begins with what could be a name, and ": "
 *
 * "Line" and "begins" are as a reader sees them: after any line break that Unicode has, unseen characters apart.
 * Reading back takes one backslash from such lines. Inside of a source line a label may hold anything but a line break:
 * what it says there it says of its own record. */
#include "retriever/splice_template.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MAX_BYTES = 120 /* in which the ": " after a name is looked for */ };

static void open_group(const mn_template_group *group, mn_buffer *out)
{
    if (!group->is_first) mn_buffer_text(out, "\n\n");
    if (group->is_bare) return;
    mn_template_source(group, out);
    mn_buffer_byte(out, '\n');
}

static size_t skip_unseen(const char *line, size_t size)
{
    size_t at = 0, n;
    while (at < size && (n = mn_unseen(line + at, size - at)) > 0) at += n;
    return at;
}

static bool is_bracketed(const char *line, size_t size)
{
    if (size == 0 || line[0] != '[') return false;
    size_t last = 0; /* end of what is seen */
    for (size_t at = 0; at < size;) {
        size_t n = mn_unseen(line + at, size - at);
        at += n ? n : 1;
        if (!n) last = at;
    }
    return last > 1 && line[last - 1] == ']';
}

/* "Name: "; not "- item: ", "1. item: ", "https://". */
static bool is_turn(const char *line, size_t size)
{
    if (size == 0 || memchr("-*+#>|`~=:", line[0], 10)) return false;
    size_t digits = 0, limit = size < NAME_MAX_BYTES ? size : NAME_MAX_BYTES;
    while (digits < size && isdigit((unsigned char)line[digits])) digits++;
    if (digits && digits < size && (line[digits] == '.' || line[digits] == ')')) return false;
    for (size_t i = 1; i < limit; i++)
        if (line[i] == ':' && (i + 1 == size || mn_unseen(line + i + 1, size - i - 1))) return true;
    return false;
}

/* Where a backslash goes into the line, or SIZE_MAX. */
static size_t escape_at(const char *line, size_t size, bool turns)
{
    size_t at = skip_unseen(line, size), start = at;
    while (at < size && (line[at] == '\\' || mn_unseen(line + at, size - at)))
        at += line[at] == '\\' ? 1 : mn_unseen(line + at, size - at);
    return is_bracketed(line + at, size - at) || (turns && is_turn(line + at, size - at)) ? start : SIZE_MAX;
}

static void open_passage(const mn_template_passage *passage, mn_buffer *out)
{
    const char *speaker = passage->record->speaker;
    if (!passage->is_first) mn_buffer_byte(out, '\n');
    if (!speaker) return;
    size_t at = skip_unseen(speaker, strlen(speaker));
    if (speaker[at] == '[' || speaker[at] == '\\') mn_buffer_byte(out, '\\');
    mn_template_label(speaker, 0, out);
    mn_buffer_text(out, ": ");
}

static void text(const mn_template_passage *passage, const char *data, size_t size, mn_buffer *out)
{
    bool after_name = passage->record->speaker != NULL; /* this line begins with a mark already */
    for (size_t at = 0; at < size;) {
        size_t n_break, end = mn_line_end(data, size, at, &n_break);
        size_t escape = after_name ? SIZE_MAX : escape_at(data + at, end - at, passage->group->has_speakers);
        if (escape != SIZE_MAX) {
            mn_buffer_append(out, data + at, escape);
            mn_buffer_byte(out, '\\');
            at += escape;
        }
        mn_buffer_append(out, data + at, end + n_break - at);
        at = end + n_break;
        after_name = false;
    }
}

const mn_template mn_template_plain = {.open = "",
                                       .gap = "\n[...]",
                                       .close_passage = "",
                                       .close = "",
                                       .open_group = open_group,
                                       .close_group = mn_template_no_close,
                                       .open_passage = open_passage,
                                       .text = text};
