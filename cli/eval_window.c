/* eval_window.c -- context recall, of a spliced window and of a plain one. */
#include "cli/eval_window.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* A run of bytes of a record's text that stands in a window. */
typedef struct span {
    const char *id, *name_space;
    uint64_t start, end;
} span;

bool cli_budgets_parse(const char *text, cli_budgets *out)
{
    *out = (cli_budgets){0};
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char *number = cli_strndup(at, strcspn(at, ","));
        uint64_t value = 0;
        bool fine = cli_read_count(number, &value) && value >= 1 && value <= UINT32_MAX && out->n < 16;
        free(number);
        if (!fine) return false;
        size_t place = out->n;
        for (; place > 0 && out->items[place - 1] > value; place--) out->items[place] = out->items[place - 1];
        out->items[place] = (uint32_t)value;
        if (place == 0 || out->items[place - 1] != value)
            out->n++;
        else
            memmove(out->items + place, out->items + place + 1, (out->n - place) * sizeof *out->items);
    }
    return true;
}

/* ---- the relevant records ---- */

static mneme_record_list *get_record(mneme *memory, const mneme_stats *spaces, const char *name_space, const char *id)
{
    mneme_record_list *record = NULL;
    if (name_space) {
        mneme_get(memory, name_space, id, &record, NULL);
        return record;
    }
    for (size_t i = 0; i < spaces->n_namespaces && !record; i++)
        mneme_get(memory, spaces->namespaces[i].name, id, &record, NULL);
    return record;
}

void cli_relevant_get(mneme *memory, const mneme_stats *spaces, const cli_beir_query *query, cli_relevant_records *out)
{
    *out = (cli_relevant_records){.items = cli_alloc(query->n_relevant + 1, sizeof *out->items)};
    for (size_t i = 0; i < query->n_judgements; i++) {
        if (query->judgements[i].grade <= 0) continue;
        out->items[out->n] = get_record(memory, spaces, query->name_space, query->judgements[i].id);
        out->missing += out->items[out->n++] == NULL;
    }
}

void cli_relevant_free(cli_relevant_records *records)
{
    for (size_t i = 0; i < records->n; i++) mneme_record_list_free(records->items[i]);
    free(records->items);
    *records = (cli_relevant_records){0};
}

/* Is every byte of the record's text, white space apart, in one of the spans of it? */
static bool is_inside(const span *spans, size_t n, const mneme_record *record)
{
    bool any = false;
    for (size_t at = 0; at < record->text_size;) {
        size_t covered = at;
        for (size_t i = 0; i < n; i++) {
            const span *s = &spans[i];
            bool same = strcmp(s->id, record->id) == 0 && strcmp(s->name_space, record->name_space) == 0;
            if (same && s->start <= at && s->end > covered) covered = (size_t)s->end;
        }
        any = any || covered > at;
        if (covered == at && !isspace((unsigned char)record->text[at])) return false;
        at = covered > at ? covered : at + 1;
    }
    return any;
}

static double recall_of(const span *spans, size_t n, const cli_relevant_records *relevant)
{
    size_t inside = 0;
    for (size_t i = 0; i < relevant->n; i++)
        inside += relevant->items[i] && is_inside(spans, n, &relevant->items[i]->items[0]);
    return relevant->n ? (double)inside / (double)relevant->n : 0;
}

/* ---- the spliced window ---- */

static int recall_at(mneme *memory, const cli_window_question *question, uint32_t budget, double *recall)
{
    mneme_context_options options = MNEME_CONTEXT_OPTIONS_INIT;
    mneme_error error = {MNEME_OK, ""};
    mneme_window *window = NULL;
    options.budget = budget;
    options.query = *question->query;
    options.query.k = 0;
    options.query.one_per_record = false;
    if (mneme_context(memory, question->text, &options, &window, &error) != MNEME_OK) return cli_failed(&error);
    span *spans = cli_alloc(window->n + 1, sizeof *spans);
    for (size_t i = 0; i < window->n; i++) {
        const mneme_passage *p = &window->items[i];
        spans[i] = (span){p->id, p->name_space, p->start, p->end};
    }
    *recall = recall_of(spans, window->n, question->relevant);
    free(spans);
    mneme_window_free(window);
    return CLI_GO_ON;
}

int cli_window_recall(mneme *memory, const cli_window_question *question, const cli_budgets *budgets, double *recalls)
{
    int code = CLI_GO_ON;
    for (size_t i = 0; i < budgets->n && code == CLI_GO_ON; i++)
        code = recall_at(memory, question, budgets->items[i], &recalls[i]);
    return code;
}

/* ---- the plain window ---- */

static int by_cosine(const void *left, const void *right)
{
    const mneme_hit *a = *(const mneme_hit *const *)left, *b = *(const mneme_hit *const *)right;
    if (a->dense != b->dense) return a->dense < b->dense ? 1 : -1;
    return (a > b) - (a < b); /* hits lie in one array, in their order */
}

/* Walk down the chunks by their cosine, and note the recall where each budget is used up. */
static int fill(const mneme_encoder *encoder, const mneme_hits *hits, const cli_window_question *question,
                const cli_budgets *budgets, double *recalls)
{
    const mneme_hit **sorted = cli_alloc(hits->n + 1, sizeof *sorted);
    span *spans = cli_alloc(hits->n + 1, sizeof *spans);
    mneme_error error = {MNEME_OK, ""};
    uint64_t used = 0, tokens = 0;
    size_t n = 0, budget = 0;
    int code = CLI_GO_ON;
    for (size_t i = 0; i < hits->n; i++) sorted[i] = &hits->items[i];
    if (hits->n) qsort(sorted, hits->n, sizeof *sorted, by_cosine);
    for (; n < hits->n && budget < budgets->n && code == CLI_GO_ON; n++) {
        const mneme_hit *hit = sorted[n];
        if (mneme_count_tokens(encoder, hit->text, hit->text_size, &tokens, &error) != MNEME_OK)
            code = cli_failed(&error);
        used += tokens;
        for (; budget < budgets->n && used > budgets->items[budget]; budget++)
            recalls[budget] = recall_of(spans, n, question->relevant);
        spans[n] = (span){hit->id, hit->name_space, hit->start, hit->end};
    }
    for (; budget < budgets->n; budget++) recalls[budget] = recall_of(spans, n, question->relevant);
    free(spans);
    free(sorted);
    return code;
}

int cli_plain_window_recall(mneme *memory, const cli_window_question *question, const cli_budgets *budgets,
                            double *recalls)
{
    mneme_query_options options = *question->query;
    const mneme_encoder *encoder = NULL;
    mneme_error error = {MNEME_OK, ""};
    mneme_hits *hits = NULL;
    uint32_t largest = budgets->items[budgets->n - 1];
    /* A chunk of a conversation can be as short as a few tokens: enough of them for the largest budget. */
    options.k = largest < 800 ? 200 : largest > 40000 ? 10000 : largest / 4;
    options.mode = MNEME_MODE_DENSE;
    options.one_per_record = false;
    if (mneme_get_encoder(memory, &encoder, &error) != MNEME_OK ||
        mneme_query(memory, question->text, &options, &hits, &error) != MNEME_OK)
        return cli_failed(&error);
    int code = fill(encoder, hits, question, budgets, recalls);
    mneme_hits_free(hits);
    return code;
}
