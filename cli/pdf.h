/* pdf.h -- the text of a PDF file, through the program pdftotext (Debian: poppler-utils). */
#ifndef MN_CLI_PDF_H
#define MN_CLI_PDF_H

#include "cli/text.h"

/* Append the file's text, at most max_size bytes of it. False: `reason` says why (the program is not installed, it
 * failed, the text is over the limit). No shell is involved: the file's name is an argument as it is. */
bool cli_pdf_text(const char *path, uint64_t max_size, cli_text *out, char *reason, size_t reason_size);

#endif
