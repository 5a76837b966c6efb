/* html.c -- the readable text of an HTML page, through libxml2.
 *
 * libxml2 makes a tree of whatever it gets; this file walks the tree without recursion (a page may be nested as deep as
 * it likes) and writes text. White space collapses as in a browser, except inside <pre>. */
#include "cli/html.h"
#include "cli/lazy_library.h"

#include <libxml/HTMLparser.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is used of libxml2, loaded with the first page. */
static struct {
    bool loaded;
    htmlDocPtr (*read_memory)(const char *, int, const char *, const char *, int);
    xmlNodePtr (*root_element)(const xmlDoc *);
    void (*free_document)(xmlDocPtr);
    xmlChar *(*property)(const xmlNode *, const xmlChar *);
    xmlChar *(*content)(const xmlNode *);
    xmlFreeFunc *free;
} xml;

static bool load_xml(char *reason, size_t reason_size)
{
    static const char *const names[] = {"libxml2.so.2", "libxml2.so", NULL};
    const cli_lazy_symbol symbols[] = {
        {"htmlReadMemory", &xml.read_memory}, {"xmlDocGetRootElement", &xml.root_element},
        {"xmlFreeDoc", &xml.free_document},   {"xmlGetProp", &xml.property},
        {"xmlNodeGetContent", &xml.content},  {"xmlFree", &xml.free}};
    if (xml.loaded) return true;
    xml.loaded = cli_lazy_load(names, symbols, sizeof symbols / sizeof *symbols, "libxml2", reason, reason_size);
    return xml.loaded;
}

typedef struct html_writer {
    cli_text *out;
    size_t begin;          /* of this page in `out` */
    unsigned breaks;       /* line breaks to write before the next text */
    bool space;            /* a space to write before the next text */
    unsigned preformatted; /* depth of <pre> */
    char *first_heading, *title;
} html_writer;

typedef enum element_kind { INLINE, BLOCK, SKIPPED, BREAK, ITEM, CELL, PRE, HEADING, IMAGE, RULE } element_kind;

static element_kind kind_of(const xmlNode *node)
{
    static const struct {
        const char *name;
        element_kind kind;
    } elements[] = {
        {"script", SKIPPED},   {"style", SKIPPED},    {"noscript", SKIPPED}, {"template", SKIPPED}, {"svg", SKIPPED},
        {"math", INLINE},      {"head", SKIPPED},     {"iframe", SKIPPED},   {"object", SKIPPED},   {"select", SKIPPED},
        {"textarea", SKIPPED}, {"button", SKIPPED},   {"br", BREAK},         {"li", ITEM},          {"td", CELL},
        {"th", CELL},          {"pre", PRE},          {"img", IMAGE},        {"hr", RULE},          {"h1", HEADING},
        {"h2", HEADING},       {"h3", HEADING},       {"h4", HEADING},       {"h5", HEADING},       {"h6", HEADING},
        {"p", BLOCK},          {"div", BLOCK},        {"ul", BLOCK},         {"ol", BLOCK},         {"dl", BLOCK},
        {"dt", BLOCK},         {"dd", BLOCK},         {"table", BLOCK},      {"tr", BREAK},         {"section", BLOCK},
        {"article", BLOCK},    {"header", BLOCK},     {"footer", BLOCK},     {"main", BLOCK},       {"nav", BLOCK},
        {"aside", BLOCK},      {"blockquote", BLOCK}, {"figure", BLOCK},     {"figcaption", BLOCK}, {"form", BLOCK},
        {"fieldset", BLOCK},   {"address", BLOCK},    {"details", BLOCK},    {"summary", BLOCK},    {"body", BLOCK},
        {"caption", BLOCK},    {"center", BLOCK},
    };
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
        if (strcasecmp((const char *)node->name, elements[i].name) == 0) return elements[i].kind;
    return INLINE;
}

/* ---- writing ---- */

static void want_breaks(html_writer *writer, unsigned n)
{
    if (n > writer->breaks) writer->breaks = n;
    writer->space = false;
}

/* What is due before text: line breaks or a space, nothing at the very beginning. */
static void write_due(html_writer *writer)
{
    if (writer->out->size > writer->begin) {
        for (unsigned i = 0; i < writer->breaks; i++) cli_text_byte(writer->out, '\n');
        if (writer->breaks == 0 && writer->space) cli_text_byte(writer->out, ' ');
    }
    writer->breaks = 0;
    writer->space = false;
}

static bool is_white(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r' || byte == '\f';
}

static void write_collapsed(html_writer *writer, const char *text)
{
    while (*text) {
        size_t white = 0, word = 0;
        while (text[white] && is_white(text[white])) white++;
        if (white > 0) writer->space = true;
        text += white;
        while (text[word] && !is_white(text[word])) word++;
        if (word > 0) {
            write_due(writer);
            cli_text_append(writer->out, text, word);
        }
        text += word;
    }
}

static void write_text(html_writer *writer, const char *text)
{
    if (!text) return;
    if (writer->preformatted == 0) {
        write_collapsed(writer, text);
    } else if (*text) {
        write_due(writer);
        cli_text_string(writer->out, text);
    }
}

/* Is nothing written yet on the line in hand? */
static bool at_line_start(const html_writer *writer)
{
    return writer->breaks > 0 || writer->out->size == writer->begin;
}

static void write_image(html_writer *writer, const xmlNode *node)
{
    xmlChar *alternative = xml.property(node, (const xmlChar *)"alt");
    write_text(writer, (const char *)alternative);
    (*xml.free)(alternative);
}

/* Text of a subtree with white space collapsed; owned, NULL when there is none. */
static char *plain_text(const xmlNode *node)
{
    xmlChar *content = xml.content(node);
    cli_text text = {0};
    html_writer writer = {.out = &text};
    write_text(&writer, (const char *)content);
    (*xml.free)(content);
    return text.size ? cli_text_take(&text) : NULL;
}

/* ---- the tree ---- */

/* Entering an element; false: its children are left out. */
static bool enter(html_writer *writer, const xmlNode *node)
{
    static const char marks[] = "######";
    switch (kind_of(node)) {
    case SKIPPED: return false;
    case IMAGE: write_image(writer, node); return false;
    case RULE: want_breaks(writer, 2); return false;
    case BREAK: want_breaks(writer, 1); return true;
    case BLOCK: want_breaks(writer, 2); return true;
    case PRE:
        want_breaks(writer, 2);
        writer->preformatted++;
        return true;
    case ITEM:
        want_breaks(writer, 1);
        write_due(writer);
        cli_text_string(writer->out, "- ");
        return true;
    case CELL:
        if (!at_line_start(writer)) {
            writer->space = false;
            cli_text_string(writer->out, " | ");
        }
        return true;
    case HEADING:
        want_breaks(writer, 2);
        write_due(writer);
        cli_text_append(writer->out, marks, (size_t)(node->name[1] - '0'));
        cli_text_byte(writer->out, ' ');
        if (!writer->first_heading && node->name[1] == '1') writer->first_heading = plain_text(node);
        return true;
    case INLINE: return true;
    }
    return true;
}

static void leave(html_writer *writer, const xmlNode *node)
{
    switch (kind_of(node)) {
    case PRE:
        writer->preformatted--;
        want_breaks(writer, 2);
        break;
    case BLOCK:
    case HEADING: want_breaks(writer, 2); break;
    case ITEM: want_breaks(writer, 1); break;
    default: break;
    }
}

static void write_tree(html_writer *writer, const xmlNode *root)
{
    const xmlNode *node = root;
    while (node) {
        const xmlNode *child = NULL;
        if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE) {
            write_text(writer, (const char *)node->content);
        } else if (node->type == XML_ELEMENT_NODE) {
            if (!writer->title && strcasecmp((const char *)node->name, "title") == 0)
                writer->title = plain_text(node);
            else if (strcasecmp((const char *)node->name, "head") == 0)
                child = node->children; /* for the title */
            else if (enter(writer, node))
                child = node->children;
        }
        if (child) {
            node = child;
            continue;
        }
        if (node->type == XML_ELEMENT_NODE && !node->children) leave(writer, node);
        while (node != root && !node->next) {
            node = node->parent;
            leave(writer, node);
        }
        node = node == root ? NULL : node->next;
    }
}

static htmlDocPtr parse(const char *data, size_t size)
{
    /* Valid UTF-8 is taken for UTF-8 whatever the page says of itself; else the page's word counts. */
    const char *encoding = cli_utf8_valid(data, size) ? "UTF-8" : NULL;
    int options =
        HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET | HTML_PARSE_COMPACT;
    return size <= INT_MAX ? xml.read_memory(data, (int)size, NULL, encoding, options) : NULL;
}

bool cli_html_text(const char *data, size_t size, cli_text *out, char **title, char *reason, size_t reason_size)
{
    *title = NULL;
    size_t mark = cli_mark_size(data, size);
    data += mark, size -= mark;
    if (size == 0) return true;
    if (!load_xml(reason, reason_size)) return false;
    htmlDocPtr document = parse(data, size);
    if (!document) {
        snprintf(reason, reason_size, "cannot be read as HTML");
        return false;
    }
    html_writer writer = {.out = out, .begin = out->size};
    write_tree(&writer, xml.root_element(document));
    if (out->size > writer.begin) cli_text_byte(out, '\n');
    xml.free_document(document);
    *title = writer.title ? writer.title : writer.first_heading;
    if (writer.title) free(writer.first_heading);
    return true;
}
