/* splice_xml.c -- the window as XML 1.0.
 *
 *     <memory>
 *     <session name="talk-1" time="2023-05-08">
 *     <passage id="4" speaker="Caroline">I went to a group.</passage>
 *     <gap/>
 *     <passage id="9" speaker="Melanie">How was it?</passage>
 *     </session>
 *     <document id="tale" title="A tale" source="/books/tale.txt">
 *     <passage>One fox.</passage>
 *     </document>
 *     </memory>
 *
 * An attribute is there when the record has it; namespace when it has a name; a passage's time when its day is not the
 * session's; source when the id does not say it.
 *
 * Escaping. & < > everywhere, quotes and white space other than spaces in attributes, CR in text (a parser would make
 * LF of it). Characters that XML 1.0 cannot hold (controls, U+FFFE, U+FFFF) become U+FFFD; all else reads back as it
 * was. */
#include "retriever/splice_template.h"

#include "common/utf8.h"

#include <string.h>

static const char *reference(char c, bool in_attribute)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '\r': return "&#13;";
    case '"': return in_attribute ? "&quot;" : NULL;
    case '\n': return in_attribute ? "&#10;" : NULL;
    case '\t': return in_attribute ? "&#9;" : NULL;
    default: return NULL;
    }
}

static void append_escaped(const char *data, size_t size, bool in_attribute, mn_buffer *out)
{
    for (size_t i = 0; i < size;) {
        uint32_t c = MN_UTF8_REPLACEMENT;
        size_t n = mn_utf8_decode(data + i, size - i, &c);
        const char *instead = n == 1 ? reference(data[i], in_attribute) : NULL;
        bool is_character = n && (c >= 0x20 || c == '\t' || c == '\n' || c == '\r') && c != 0xFFFE && c != 0xFFFF;
        if (instead)
            mn_buffer_text(out, instead);
        else if (is_character)
            mn_buffer_append(out, data + i, n);
        else
            mn_buffer_text(out, "\xEF\xBF\xBD");
        i += n ? n : 1;
    }
}

static void attribute(const char *name, const char *value, mn_buffer *out)
{
    if (!value || !*value) return;
    mn_buffer_format(out, " %s=\"", name);
    append_escaped(value, strlen(value), true, out);
    mn_buffer_byte(out, '"');
}

static void open_group(const mn_template_group *group, mn_buffer *out)
{
    const mn_record *record = group->record;
    mn_buffer_text(out, group->is_session ? "<session" : "<document");
    attribute("namespace", group->name_space, out);
    if (group->is_session) {
        attribute("name", record->session, out);
    } else {
        attribute("id", record->id, out);
        attribute("title", record->title, out);
        if (record->source && strcmp(record->source, record->id) != 0) attribute("source", record->source, out);
    }
    if (record->has_time) {
        char date[40];
        mn_template_date(record->time_ms, date, sizeof date);
        attribute("time", date, out);
    }
    mn_buffer_text(out, ">\n");
}

static void close_group(const mn_template_group *group, mn_buffer *out)
{
    mn_buffer_text(out, group->is_session ? "</session>\n" : "</document>\n");
}

static void open_passage(const mn_template_passage *passage, mn_buffer *out)
{
    const mn_record *record = passage->record, *first = passage->group->record;
    char date[40] = "", first_date[40] = "";
    if (record->has_time) mn_template_date(record->time_ms, date, sizeof date);
    if (first->has_time) mn_template_date(first->time_ms, first_date, sizeof first_date);
    mn_buffer_text(out, "<passage");
    if (passage->group->is_session) attribute("id", record->id, out);
    attribute("speaker", record->speaker, out);
    if (strcmp(date, first_date) != 0) attribute("time", date, out);
    mn_buffer_byte(out, '>');
}

static void text(const mn_template_passage *passage, const char *data, size_t size, mn_buffer *out)
{
    (void)passage;
    append_escaped(data, size, false, out);
}

const mn_template mn_template_xml = {.open = "<memory>\n",
                                     .gap = "<gap/>\n",
                                     .close_passage = "</passage>\n",
                                     .close = "</memory>",
                                     .open_group = open_group,
                                     .close_group = close_group,
                                     .open_passage = open_passage,
                                     .text = text};
