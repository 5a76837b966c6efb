/* splice_markdown.c -- the window as Markdown (CommonMark).
 *
 *     ### talk-1, 2023-05-08
 *
 *     **Caroline:**
 *     > I went to a group.
 *
 *     ...
 *
 *     **Melanie:**
 *     > How was it?
 *
 * Escaping. Every line of stored text begins with "> ": whatever it opens (a fence, a list, HTML) ends with the block
 * quote at the latest, and what stands outside of quotes is the template's. Reading back takes ">" and one space from
 * each line. In labels Markdown's own characters are escaped. The gap mark has no brackets: stored text could define
 * them as a link. */
#include "retriever/splice_template.h"

#include <string.h>

enum { LABEL_MAX = 120 };

static void append_label(const char *label, mn_buffer *out)
{
    mn_buffer clean = {0};
    mn_template_label(label, LABEL_MAX, &clean);
    size_t from = 0, to = clean.size;
    while (from < to && clean.data[from] == ' ') from++;
    while (to > from && clean.data[to - 1] == ' ') to--;
    for (size_t i = from; i < to; i++) {
        if (strchr("\\`*_[]<>&~|#!", clean.data[i])) mn_buffer_byte(out, '\\');
        mn_buffer_byte(out, clean.data[i]);
    }
    out->failed = out->failed || clean.failed;
    mn_buffer_free(&clean);
}

static void open_group(const mn_template_group *group, mn_buffer *out)
{
    const char *file = mn_template_file(group);
    if (!group->is_first) mn_buffer_text(out, "\n\n");
    if (group->is_bare) return;
    mn_buffer_text(out, "### ");
    append_label(mn_template_name(group), out);
    if (file) {
        mn_buffer_text(out, ", ");
        append_label(file, out);
    }
    if (group->record->has_time) {
        char date[40];
        mn_template_date(group->record->time_ms, date, sizeof date);
        mn_buffer_format(out, ", %s", date);
    }
    mn_buffer_text(out, "\n\n");
}

static void open_passage(const mn_template_passage *passage, mn_buffer *out)
{
    if (!passage->is_first) mn_buffer_text(out, "\n\n");
    if (passage->record->speaker) {
        mn_buffer_text(out, "**");
        append_label(passage->record->speaker, out);
        mn_buffer_text(out, ":**\n");
    }
}

static void text(const mn_template_passage *passage, const char *data, size_t size, mn_buffer *out)
{
    (void)passage;
    for (size_t at = 0, begins = true; at < size || begins;) {
        size_t n_break, end = mn_line_end(data, size, at, &n_break);
        mn_buffer_text(out, end > at ? "> " : ">");
        mn_buffer_append(out, data + at, end + n_break - at);
        at = end + n_break;
        begins = n_break > 0;
    }
}

const mn_template mn_template_markdown = {.open = "",
                                          .gap = "\n\n...",
                                          .close_passage = "",
                                          .close = "",
                                          .open_group = open_group,
                                          .close_group = mn_template_no_close,
                                          .open_passage = open_passage,
                                          .text = text};
