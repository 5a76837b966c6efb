/* splice_template.c -- labels, dates and line breaks, which every template needs. */
#include "retriever/splice_template.h"

#include "common/file.h"
#include "common/utf8.h"

#include <string.h>

enum { LABEL_MAX = 120 /* bytes of one name in a source line */ };

const mn_template *mn_template_find(mneme_template name)
{
    switch (name) {
    case MNEME_TEMPLATE_MARKDOWN: return &mn_template_markdown;
    case MNEME_TEMPLATE_XML: return &mn_template_xml;
    case MNEME_TEMPLATE_CHAT: return &mn_template_chat;
    case MNEME_TEMPLATE_DEFAULT:
    case MNEME_TEMPLATE_PLAIN: break;
    }
    return &mn_template_plain;
}

size_t mn_line_break(const char *text, size_t size)
{
    if (text[0] == '\r') return size > 1 && text[1] == '\n' ? 2 : 1;
    if (text[0] == '\n' || text[0] == '\v' || text[0] == '\f') return 1;
    if (size > 1 && memcmp(text, "\xC2\x85", 2) == 0) return 2;
    if (size > 2 && (memcmp(text, "\xE2\x80\xA8", 3) == 0 || memcmp(text, "\xE2\x80\xA9", 3) == 0)) return 3;
    return 0;
}

void mn_template_no_close(const mn_template_group *group, mn_buffer *out)
{
    (void)group;
    (void)out;
}

size_t mn_line_end(const char *text, size_t size, size_t at, size_t *n_break)
{
    *n_break = 0;
    while (at < size && !(*n_break = mn_line_break(text + at, size - at))) at++;
    return at;
}

/* Unicode's white space, controls and format characters that move or hide what stands beside them. */
static bool is_unseen(uint32_t c)
{
    static const uint32_t ranges[][2] = {{0x00, 0x20},     {0x7F, 0xA0},     {0xAD, 0xAD},     {0x34F, 0x34F},
                                         {0x61C, 0x61C},   {0x115F, 0x1160}, {0x1680, 0x1680}, {0x17B4, 0x17B5},
                                         {0x180B, 0x180F}, {0x2000, 0x200F}, {0x2028, 0x202F}, {0x205F, 0x206F},
                                         {0x2800, 0x2800}, {0x3000, 0x3000}, {0x3164, 0x3164}, {0xFE00, 0xFE0F},
                                         {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE0FFF}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

size_t mn_unseen(const char *text, size_t size)
{
    uint32_t c;
    size_t n = size ? mn_utf8_decode(text, size, &c) : 0;
    return n && is_unseen(c) ? n : 0;
}

/* Ordinary names keep their joiners and variation selectors: an emoji or a Persian name is made with them. */
static bool breaks_a_line(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || (c >= 0x202A && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069);
}

void mn_template_label(const char *label, size_t limit, mn_buffer *out)
{
    size_t size = strlen(label), shown = limit && size > limit ? mn_utf8_floor(label, size, limit) : size;
    for (size_t i = 0; i < shown;) {
        uint32_t c = 0;
        size_t n = mn_utf8_decode(label + i, shown - i, &c);
        if (n && !breaks_a_line(c))
            mn_buffer_append(out, label + i, n);
        else
            mn_buffer_byte(out, ' ');
        i += n ? n : 1;
    }
    if (shown < size) mn_buffer_text(out, "...");
}

void mn_template_date(int64_t time_ms, char *out, size_t size)
{
    mneme_time_format(time_ms, out, size);
    char *clock = strchr(out, 'T');
    if (clock) *clock = '\0';
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), n = strlen(end);
    return size >= n && strcmp(text + size - n, end) == 0;
}

const char *mn_template_name(const mn_template_group *group)
{
    const mn_record *record = group->record;
    return group->is_session ? record->session : record->title && *record->title ? record->title : record->id;
}

const char *mn_template_file(const mn_template_group *group)
{
    const char *source = group->record->source;
    const char *file = source && !group->is_session ? mn_path_base(source) : NULL;
    return file && *file && !ends_with(mn_template_name(group), file) ? file : NULL;
}

void mn_template_source(const mn_template_group *group, mn_buffer *out)
{
    const char *file = mn_template_file(group);
    mn_buffer_byte(out, '[');
    mn_template_label(mn_template_name(group), LABEL_MAX, out);
    if (file) {
        mn_buffer_text(out, ", ");
        mn_template_label(file, LABEL_MAX, out);
    }
    if (group->record->has_time) {
        char date[40];
        mn_template_date(group->record->time_ms, date, sizeof date);
        mn_buffer_text(out, ", ");
        mn_buffer_text(out, date);
    }
    mn_buffer_byte(out, ']');
}
