/* snippet.h -- the part of a text that answers a question best, wrapped to the terminal, its words marked.
 *
 * For people only: what is marked is by letters (the same word, or one with the same beginning), and has no part in
 * the search itself. */
#ifndef MN_CLI_SNIPPET_H
#define MN_CLI_SNIPPET_H

#include "cli/text.h"

#define CLI_QUESTION_WORDS 64

/* The words of a question that are worth marking, in lower case. Start from {0}. */
typedef struct cli_question {
    char *words[CLI_QUESTION_WORDS];
    size_t n;
} cli_question;

void cli_question_read(cli_question *question, const char *text);
void cli_question_free(cli_question *question);
/* Does text[0, size), one word, match a word of the question? *index (NULL allowed): which. */
bool cli_question_matches(const cli_question *question, const char *text, size_t size, size_t *index);

/* Append at most `lines` lines of `width` columns, each after `indent` spaces and ended by a line break, of the run of
 * words in `text` that holds the most of the question. Left-out text is shown as "...". Words are marked when stdout
 * has colour. White space becomes single spaces. */
void cli_snippet(const cli_question *question, const char *text, size_t size, unsigned indent, unsigned width,
                 unsigned lines, cli_text *out);

#endif
