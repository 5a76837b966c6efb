/* explain_page.c -- what scores are made of, as a page of HTML: no script, nothing loaded, light and dark.
 *
 * Everything stored is written with its special characters as references and stands in elements whose writing direction
 * is closed off, so that it can neither be markup nor turn around what stands beside it. */
#include "cli/explain.h"

#include <string.h>

static const char g_head[] =
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n";

/* Colours of the parts: Okabe, Ito 2008, which can be told apart with any colour vision. */
static const char g_style[] =
    "<style>\n"
    ":root{color-scheme:light dark;--ink:#1d1d1f;--pale:#6e6e73;--line:#d8d8dc;--page:#fff}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8e8ea;--pale:#98989d;--line:#3a3a3c;--page:#1c1c1e}}\n"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:50rem;margin:2rem auto;"
    "padding:0 1rem}\n"
    "h1{font-size:1.25rem}h2{font-size:1rem;margin:0;overflow-wrap:anywhere}\n"
    "p{margin:.3rem 0}.pale{color:var(--pale);font-size:.85rem}\n"
    "article{border-top:1px solid var(--line);padding:.9rem 0}\n"
    ".bar{display:flex;height:.8rem;margin:.4rem 0;background:var(--line);border-radius:3px;overflow:hidden}\n"
    ".text{white-space:pre-wrap;overflow-wrap:anywhere}\n"
    ".key i{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin:0 .3rem 0 .8rem;"
    "vertical-align:-1px}\n"
    ".p0{background:#0072b2}.p1{background:#e69f00}.p2{background:#009e73}.p3{background:#cc79a7}"
    ".p4{background:#d55e00}.p5{background:#56b4e9}\n"
    "</style>\n";

static const char *reference(char c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

static void append_escaped(const char *data, size_t size, cli_text *out)
{
    for (size_t i = 0; i < size;) {
        uint32_t c = 0;
        size_t n = cli_utf8_decode(data + i, size - i, &c);
        const char *instead = n == 1 ? reference(data[i]) : NULL;
        bool shows = n && (c >= 0x20 || c == '\t' || c == '\n' || c == '\r') && (c < 0x7F || c >= 0xA0);
        if (instead)
            cli_text_string(out, instead);
        else if (shows)
            cli_text_append(out, data + i, n);
        else
            cli_text_string(out, "\xEF\xBF\xBD");
        i += n ? n : 1;
    }
}

static void append_label(const char *before, const char *label, cli_text *out)
{
    if (!label || !*label) return;
    cli_text_format(out, "%s<bdi>", before);
    append_escaped(label, strlen(label), out);
    cli_text_string(out, "</bdi>");
}

static void append_bar(const cli_explained *item, cli_text *out)
{
    cli_text_string(out, "<div class=\"bar\">");
    for (size_t p = 0; p < CLI_EXPLAIN_PARTS; p++) {
        double part = (double)cli_explain_part(&item->parts, p);
        if (part > 0)
            cli_text_format(out, "<div class=\"p%zu\" style=\"width:%.2f%%\" title=\"%s %.3f\"></div>", p, part * 100,
                            cli_explain_names[p], part);
    }
    cli_text_string(out, "</div>\n<p class=\"pale\">");
    cli_text_format(out, "score %.3f =", (double)item->score);
    const char *sign = " ";
    for (size_t p = 0; p < CLI_EXPLAIN_PARTS; p++) {
        double part = (double)cli_explain_part(&item->parts, p);
        if (!(part > 0)) continue;
        cli_text_format(out, "%s%s %.3f", sign, cli_explain_names[p], part);
        sign = " + ";
    }
    if (*sign == ' ' && !sign[1]) cli_text_string(out, " 0");
}

static void append_item(const cli_explained *item, size_t rank, cli_text *out)
{
    char time[40] = "";
    if (item->has_time) mneme_time_format(item->time_ms, time, sizeof time);
    cli_text_format(out, "<article>\n<h2>%zu. ", rank);
    append_label("", item->id, out);
    cli_text_format(out, " <span class=\"pale\">%llu-%llu", (unsigned long long)item->start,
                    (unsigned long long)item->end);
    append_label(" &middot; ", item->name_space, out);
    append_label(" &middot; ", item->title, out);
    append_label(" &middot; ", item->speaker, out);
    append_label(" &middot; ", time, out);
    cli_text_string(out, "</span></h2>\n");
    if (item->is_hit)
        append_bar(item, out);
    else
        cli_text_string(out, "<p class=\"pale\">beside a hit: no score of its own");
    cli_text_format(out, " &middot; attention %.1f %%", (double)item->attention * 100);
    for (size_t i = 0; i < item->n_terms; i++) append_label(i ? ", " : " &middot; words: ", item->terms[i], out);
    cli_text_string(out, "</p>\n<div class=\"text\" dir=\"auto\">");
    append_escaped(item->text ? item->text : "", item->text_size, out);
    cli_text_string(out, "</div>\n</article>\n");
}

/* What the colours stand for, of the parts that are there. */
static void append_key(const cli_explained *items, size_t n, cli_text *out)
{
    cli_text_string(out, "<p class=\"key pale\">");
    for (size_t p = 0; p < CLI_EXPLAIN_PARTS; p++) {
        bool any = false;
        for (size_t i = 0; i < n; i++) any = any || cli_explain_part(&items[i].parts, p) > 0;
        if (any) cli_text_format(out, "<i class=\"p%zu\"></i>%s", p, cli_explain_names[p]);
    }
    cli_text_string(out, "</p>\n");
}

void cli_explain_page(const char *question, const char *summary, const cli_explained *items, size_t n, cli_text *out)
{
    cli_text_string(out, g_head);
    cli_text_string(out, "<title>");
    append_escaped(question, strlen(question), out);
    cli_text_string(out, "</title>\n");
    cli_text_string(out, g_style);
    cli_text_string(out, "<h1 dir=\"auto\">");
    append_escaped(question, strlen(question), out);
    cli_text_string(out, "</h1>\n<p class=\"pale\">");
    append_escaped(summary, strlen(summary), out);
    cli_text_string(out, "</p>\n");
    append_key(items, n, out);
    for (size_t i = 0; i < n; i++) append_item(&items[i], i + 1, out);
    cli_text_string(out, "</html>\n");
}
