/* qrels.c -- reading judgements. */
#include "cli/qrels.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct row {
    const char *query, *id;
    int grade;
    uint64_t line;
} row;

typedef struct rows {
    row *items;
    size_t n, capacity;
} rows;

static bool read_grade(const char *text, int *grade)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    *grade = (int)value;
    return end != text && *end == '\0' && errno == 0 && value >= INT_MIN && value <= INT_MAX;
}

static int read_row(const cli_row_file *line, rows *out)
{
    row one = {.line = line->line};
    if (line->line == 1 && line->n >= 3 && strcmp(line->items[0], "query-id") == 0) return CLI_GO_ON;
    if ((line->n != 3 && line->n != 4) || !read_grade(line->items[line->n - 1], &one.grade)) {
        cli_complain(
            "%s:%llu: a judgement is query-id, corpus-id, score (or TREC's four columns), the score a whole number",
            line->path, (unsigned long long)line->line);
        return CLI_EXIT_USAGE;
    }
    one.query = line->items[0];
    one.id = line->items[line->n - 2];
    if (out->n == out->capacity) {
        out->capacity = out->capacity ? out->capacity * 2 : 1024;
        out->items = cli_realloc(out->items, out->capacity, sizeof *out->items);
    }
    out->items[out->n++] = one;
    return CLI_GO_ON;
}

static int by_query_and_id(const void *left, const void *right)
{
    const row *a = left, *b = right;
    int order = strcmp(a->query, b->query);
    if (order == 0) order = strcmp(a->id, b->id);
    return order ? order : (a->line > b->line) - (a->line < b->line);
}

/* Rows, sorted, into questions with their judgements. */
static void group(cli_qrels *qrels, const rows *from)
{
    qrels->judgements = cli_alloc(from->n + 1, sizeof *qrels->judgements);
    qrels->queries = cli_alloc(from->n + 1, sizeof *qrels->queries);
    for (size_t i = 0; i < from->n; i++) {
        const row *one = &from->items[i], *next = i + 1 < from->n ? one + 1 : NULL;
        cli_judged *last = qrels->n ? &qrels->queries[qrels->n - 1] : NULL;
        if (!last || strcmp(last->query, one->query) != 0) {
            last = &qrels->queries[qrels->n++];
            *last = (cli_judged){one->query, qrels->judgements + qrels->n_judgements, 0, one->line};
        }
        if (one->line < last->line) last->line = one->line;
        if (next && strcmp(next->query, one->query) == 0 && strcmp(next->id, one->id) == 0) {
            qrels->n_repeated++;
            continue;
        }
        qrels->judgements[qrels->n_judgements++] = (cli_judgement){one->id, one->grade};
        last->n++;
    }
}

int cli_qrels_read(cli_qrels *qrels, const char *path)
{
    rows all = {0};
    *qrels = (cli_qrels){0};
    int code = cli_row_file_open(&qrels->text, path);
    while (code == CLI_GO_ON && cli_row_file_next(&qrels->text, 3, 4)) code = read_row(&qrels->text, &all);
    if (code == CLI_GO_ON) {
        if (all.n) qsort(all.items, all.n, sizeof *all.items, by_query_and_id);
        group(qrels, &all);
    }
    free(all.items);
    return code;
}

void cli_qrels_free(cli_qrels *qrels)
{
    free(qrels->queries);
    free(qrels->judgements);
    cli_row_file_close(&qrels->text);
    *qrels = (cli_qrels){0};
}

static int by_query(const void *left, const void *right)
{
    return strcmp(((const cli_judged *)left)->query, ((const cli_judged *)right)->query);
}

const cli_judged *cli_qrels_find(const cli_qrels *qrels, const char *query)
{
    const cli_judged key = {.query = query};
    return qrels->n ? bsearch(&key, qrels->queries, qrels->n, sizeof key, by_query) : NULL;
}
