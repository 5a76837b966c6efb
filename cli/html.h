/* html.h -- the readable text of an HTML page. */
#ifndef MN_CLI_HTML_H
#define MN_CLI_HTML_H

#include "cli/text.h"

/* Append the text that a reader would see: blocks as paragraphs, headings as Markdown headings ("## "), list items with
 * "- ", table cells with " | " between them, images as their alternative text; no scripts, no styles. *title: owned
 * (free), the <title>, else the first <h1>, else NULL. However broken the page, what can be read is read; false only
 * when libxml2 is not there or gives nothing (over 2 GB, out of memory): `reason` says which. Loads no page from
 * elsewhere. */
bool cli_html_text(const char *data, size_t size, cli_text *out, char **title, char *reason, size_t reason_size);

#endif
