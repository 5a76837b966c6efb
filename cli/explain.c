/* explain.c -- what a score is made of, as JSON and as a table. */
#include "cli/explain.h"

#include "cli/output.h"

#include <string.h>

enum { PASSAGE_COLUMNS = 40 /* of an id in the table */ };

const char *const cli_explain_names[CLI_EXPLAIN_PARTS] = {"dense",      "lexical",  "neighbour",
                                                          "importance", "strength", "recency",
                                                          "speaker",    "time"};

float cli_explain_part(const mneme_parts *parts, size_t index)
{
    const float values[CLI_EXPLAIN_PARTS] = {parts->dense,      parts->lexical,  parts->neighbour,
                                             parts->importance, parts->strength, parts->recency,
                                             parts->speaker,    parts->time};
    return values[index];
}

cli_explained cli_explain_hit(const mneme_hit *hit)
{
    return (cli_explained){.id = hit->id,
                           .name_space = hit->name_space,
                           .title = hit->title,
                           .speaker = hit->speaker,
                           .has_time = hit->has_time,
                           .time_ms = hit->time_ms,
                           .start = hit->start,
                           .end = hit->end,
                           .text = hit->text,
                           .text_size = hit->text_size,
                           .is_hit = true,
                           .score = hit->score,
                           .attention = hit->attention,
                           .parts = hit->parts,
                           .n_terms = hit->n_terms,
                           .terms = hit->terms};
}

cli_explained cli_explain_passage(const mneme_passage *passage)
{
    return (cli_explained){.id = passage->id,
                           .name_space = passage->name_space,
                           .title = passage->title,
                           .speaker = passage->speaker,
                           .has_time = passage->has_time,
                           .time_ms = passage->time_ms,
                           .start = passage->start,
                           .end = passage->end,
                           .text = passage->text,
                           .text_size = passage->text_size,
                           .is_hit = passage->n_hits > 0,
                           .score = passage->score,
                           .attention = passage->weight,
                           .parts = passage->parts,
                           .n_terms = passage->n_terms,
                           .terms = passage->terms};
}

json_t *cli_explain_json(const cli_explained *item)
{
    json_t *object = json_object(), *terms = json_array();
    for (size_t i = 0; i < CLI_EXPLAIN_PARTS; i++)
        json_object_set_new(object, cli_explain_names[i], cli_json_float(cli_explain_part(&item->parts, i)));
    for (size_t i = 0; i < item->n_terms; i++) json_array_append_new(terms, cli_json_string(item->terms[i]));
    json_object_set_new(object, "terms", terms);
    return object;
}

/* ---- the table ---- */

/* A name in at most `columns`, on one line, that cannot drive a terminal. */
static void append_name(const char *name, size_t columns, cli_text *out)
{
    size_t size = strlen(name), used = 0;
    for (size_t at = 0; at < size;) {
        uint32_t codepoint = 0;
        size_t length = cli_utf8_decode(name + at, size - at, &codepoint);
        bool fine = length && codepoint >= 0x20 && (codepoint < 0x7F || codepoint >= 0xA0) &&
                    (codepoint < 0x2028 || codepoint > 0x202E) && (codepoint < 0x2066 || codepoint > 0x2069);
        used += fine ? cli_columns(name + at, length) : 1;
        if (used > columns) {
            cli_text_string(out, "...");
            return;
        }
        if (fine)
            cli_text_append(out, name + at, length);
        else
            cli_text_string(out, "\xEF\xBF\xBD");
        at += length ? length : 1;
    }
}

static void append_row(const cli_explained *item, size_t rank, const bool *shown, cli_text *out)
{
    cli_text_format(out, "%4zu  ", rank);
    if (item->is_hit)
        cli_text_format(out, "%.3f", (double)item->score);
    else
        cli_text_string(out, "    -");
    for (size_t p = 0; p < CLI_EXPLAIN_PARTS; p++) {
        int width = (int)strlen(cli_explain_names[p]) + 3;
        if (!shown[p]) continue;
        if (item->is_hit)
            cli_text_format(out, "%*.3f", width, (double)cli_explain_part(&item->parts, p));
        else
            cli_text_format(out, "%*s", width, "-");
    }
    cli_text_format(out, "%9.1f %%  ", (double)item->attention * 100);
    append_name(item->id, PASSAGE_COLUMNS, out);
    cli_text_format(out, " %llu-%llu", (unsigned long long)item->start, (unsigned long long)item->end);
    for (size_t i = 0; i < item->n_terms; i++) {
        cli_text_string(out, i ? ", " : "  ");
        append_name(item->terms[i], PASSAGE_COLUMNS, out);
    }
    if (!item->is_hit) cli_text_string(out, "  (beside a hit)");
    cli_text_byte(out, '\n');
}

void cli_explain_table(const cli_explained *items, size_t n, cli_text *out)
{
    bool shown[CLI_EXPLAIN_PARTS] = {false};
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < CLI_EXPLAIN_PARTS; p++) shown[p] = shown[p] || cli_explain_part(&items[i].parts, p) > 0;
    cli_text_string(out, "      score");
    bool first = true;
    for (size_t p = 0; p < CLI_EXPLAIN_PARTS; p++) {
        if (shown[p]) cli_text_format(out, " %c %s", first ? '=' : '+', cli_explain_names[p]);
        first = first && !shown[p];
    }
    cli_text_string(out, "  attention  passage  words of the question in it\n");
    for (size_t i = 0; i < n; i++) append_row(&items[i], i + 1, shown, out);
}
