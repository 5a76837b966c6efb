/* splice_template.h -- the form in which a window is written: plain, Markdown, XML or chat messages.
 *
 *     open
 *       open_group                   names the source
 *         open_passage TEXT close_passage
 *         gap                        stands between two passages where something was left out
 *         open_passage TEXT close_passage
 *       close_group
 *     close
 *
 * What a template writes by itself are its marks. Nothing that is stored, text or label, can be read as a mark: each
 * template says below its table how it sees to that. A window without a passage is written as nothing at all. */
#ifndef MN_RETRIEVER_SPLICE_TEMPLATE_H
#define MN_RETRIEVER_SPLICE_TEMPLATE_H

#include "memstore/store.h"

typedef struct mn_template_group {
    const mn_record *record; /* that it begins with */
    const char *name_space;
    bool is_session;   /* records of a session; else one record */
    bool has_speakers; /* one of its records, at least, has a speaker */
    bool is_first;     /* in the window */
    bool is_bare;      /* the budget is too small for a source line */
} mn_template_group;

typedef struct mn_template_passage {
    const mn_template_group *group;
    const mn_record *record;
    bool is_first; /* in its group */
} mn_template_passage;

/* All append to `out`, and set out->failed when there is no memory. Text is valid UTF-8; a NUL in it is data. */
typedef struct mn_template {
    const char *open, *gap, *close_passage, *close; /* "" where there is none */
    void (*open_group)(const mn_template_group *group, mn_buffer *out);
    void (*close_group)(const mn_template_group *group, mn_buffer *out);
    void (*open_passage)(const mn_template_passage *passage, mn_buffer *out);
    void (*text)(const mn_template_passage *passage, const char *text, size_t size, mn_buffer *out);
} mn_template;

/* Stored lines that could pass for a mark get a backslash; ordinary text stays as it is. splice_plain.c */
extern const mn_template mn_template_plain;
/* Stored text stands in block quotes, marks outside; labels are escaped. splice_markdown.c */
extern const mn_template mn_template_markdown;
/* Well-formed XML 1.0. splice_xml.c */
extern const mn_template mn_template_xml;
/* An array of {"role","name","content"}; marks are the messages of the name "memory", which no speaker gets.
 * splice_chat.c */
extern const mn_template mn_template_chat;

/* DEFAULT is plain. */
const mn_template *mn_template_find(mneme_template name);

/* ---- what the templates share ---- */

/* Bytes of the line break at text[0] (LF, CR LF, CR, VT, FF, NEL, U+2028, U+2029); 0 when there is none. size > 0. */
size_t mn_line_break(const char *text, size_t size);
/* The close_group of a template whose groups need no end. */
void mn_template_no_close(const mn_template_group *group, mn_buffer *out);
/* Where the line that begins at `at` ends; *n_break: bytes of the line break there, 0 at the end of the text. */
size_t mn_line_end(const char *text, size_t size, size_t at, size_t *n_break);
/* Bytes of the character at text[0] when it takes no ink: white space, control, zero width, writing direction; else 0.
 */
size_t mn_unseen(const char *text, size_t size);

/* A name as part of one line: what is unseen but a space becomes a space. limit: bytes, then "..."; 0 = all. */
void mn_template_label(const char *label, size_t limit, mn_buffer *out);
/* "2023-05-08"; size at least 40. */
void mn_template_date(int64_t time_ms, char *out, size_t size);
/* What a group is called: its session; else the record's title, else its id. */
const char *mn_template_name(const mn_template_group *group);
/* The file that a record was read from, when its name does not say so already; else NULL. Borrowed. */
const char *mn_template_file(const mn_template_group *group);
/* "[title, file, date]" */
void mn_template_source(const mn_template_group *group, mn_buffer *out);

#endif
