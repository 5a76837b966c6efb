/* explain.h -- why something was found: what its score is made of, as JSON, a table or a page with bars. */
#ifndef MN_CLI_EXPLAIN_H
#define MN_CLI_EXPLAIN_H

#include "cli/text.h"
#include "mneme.h"

#include <jansson.h>

/* The words of --explain, in this order. */
typedef enum cli_explain_form { CLI_EXPLAIN_TABLE = 0, CLI_EXPLAIN_HTML = 1 } cli_explain_form;

/* A hit or a passage of a window; strings borrowed from it. */
typedef struct cli_explained {
    const char *id, *name_space, *title, *speaker;
    bool has_time;
    int64_t time_ms;
    uint64_t start, end;
    const char *text;
    size_t text_size;
    bool is_hit; /* false: a passage that came in beside others; it has no score */
    float score, attention;
    mneme_parts parts;
    size_t n_terms;
    const char *const *terms;
} cli_explained;

cli_explained cli_explain_hit(const mneme_hit *hit);
cli_explained cli_explain_passage(const mneme_passage *passage);

/* {"dense","lexical","neighbour","importance","strength","recency","terms":[...]}: what adds up to the score. */
json_t *cli_explain_json(const cli_explained *item);

/* Append a line for each item below one with the names; parts that no item has are left out. */
void cli_explain_table(const cli_explained *items, size_t n, cli_text *out);

/* Append a page that needs nothing from elsewhere: a bar of the parts and the text for each item. summary: one line. */
void cli_explain_page(const char *question, const char *summary, const cli_explained *items, size_t n, cli_text *out);

/* The parts of a score, in the order in which they are shown. */
#define CLI_EXPLAIN_PARTS 8
extern const char *const cli_explain_names[CLI_EXPLAIN_PARTS];
float cli_explain_part(const mneme_parts *parts, size_t index);

#endif
