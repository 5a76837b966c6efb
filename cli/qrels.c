/* qrels.c -- reading judgements. */
#include "cli/qrels.h"

#include "cli/arguments.h"
#include "cli/output.h"
#include "cli/query_rows.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool read_grade(const char *text, int *grade)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    *grade = (int)value;
    return end != text && *end == '\0' && errno == 0 && value >= INT_MIN && value <= INT_MAX;
}

static int read_row(const cli_row_file *line, cli_query_rows *out)
{
    int grade = 0;
    if (line->line == 1 && line->n >= 3 && strcmp(line->items[0], "query-id") == 0) return CLI_GO_ON;
    if ((line->n != 3 && line->n != 4) || !read_grade(line->items[line->n - 1], &grade)) {
        cli_complain(
            "%s:%llu: a judgement is query-id, corpus-id, score (or TREC's four columns), the score a whole number",
            line->path, (unsigned long long)line->line);
        return CLI_EXIT_USAGE;
    }
    cli_query_rows_add(out, (cli_query_row){line->items[0], line->items[line->n - 2], grade, line->line});
    return CLI_GO_ON;
}

/* Rows, sorted, into questions with their judgements. */
static void group(cli_qrels *qrels, const cli_query_rows *from)
{
    qrels->judgements = cli_alloc(from->n + 1, sizeof *qrels->judgements);
    qrels->queries = cli_alloc(from->n + 1, sizeof *qrels->queries);
    for (size_t i = 0; i < from->n; i++) {
        const cli_query_row *one = &from->items[i], *next = i + 1 < from->n ? one + 1 : NULL;
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
        qrels->judgements[qrels->n_judgements++] = (cli_judgement){one->id, (int)one->number};
        last->n++;
    }
}

int cli_qrels_read(cli_qrels *qrels, const char *path)
{
    cli_query_rows all = {0};
    *qrels = (cli_qrels){0};
    int code = cli_row_file_open(&qrels->text, path);
    while (code == CLI_GO_ON && cli_row_file_next(&qrels->text, 3, 4)) code = read_row(&qrels->text, &all);
    if (code == CLI_GO_ON) {
        cli_query_rows_sort(&all);
        group(qrels, &all);
    }
    cli_query_rows_free(&all);
    return code;
}

void cli_qrels_free(cli_qrels *qrels)
{
    free(qrels->queries);
    free(qrels->judgements);
    cli_row_file_close(&qrels->text);
    *qrels = (cli_qrels){0};
}

const cli_judged *cli_qrels_find(const cli_qrels *qrels, const char *query)
{
    return cli_query_find(query, qrels->queries, qrels->n, sizeof *qrels->queries);
}
