/* trec_run.c -- reading and writing TREC runs. */
#include "cli/trec_run.h"

#include "cli/arguments.h"
#include "cli/output.h"
#include "cli/query_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static int read_row(const cli_row_file *line, cli_query_rows *out)
{
    char *end = NULL;
    double score = line->n == 6 ? strtod(line->items[4], &end) : 0;
    unsigned long long number = line->line;
    if (line->n != 6) {
        cli_complain("%s:%llu: a line of a TREC run is query-id Q0 record-id rank score name", line->path, number);
        return CLI_EXIT_USAGE;
    }
    if (end == line->items[4] || *end != '\0' || !isfinite((float)score)) {
        cli_complain("%s:%llu: the score \"%s\" is no finite number", line->path, number, line->items[4]);
        return CLI_EXIT_USAGE;
    }
    cli_query_rows_add(out, (cli_query_row){line->items[0], line->items[2], (double)(float)score, line->line});
    return CLI_GO_ON;
}

static int refuse_repeated(const char *path, const cli_query_rows *all)
{
    for (size_t i = 1; i < all->n; i++) {
        const cli_query_row *one = &all->items[i], *before = one - 1;
        if (strcmp(one->query, before->query) != 0 || strcmp(one->id, before->id) != 0) continue;
        cli_complain("%s:%llu: record %s comes twice for question %s (line %llu has it, too)", path,
                     (unsigned long long)one->line, one->id, one->query, (unsigned long long)before->line);
        return CLI_EXIT_USAGE;
    }
    return CLI_GO_ON;
}

static void group(cli_trec_run *run, const cli_query_rows *all)
{
    run->n_lines = all->n;
    run->ids = cli_alloc(all->n + 1, sizeof *run->ids);
    run->queries = cli_alloc(all->n + 1, sizeof *run->queries);
    for (size_t i = 0; i < all->n; i++) {
        cli_ranking *last = run->n ? &run->queries[run->n - 1] : NULL;
        run->ids[i] = all->items[i].id;
        if (!last || strcmp(last->query, all->items[i].query) != 0) {
            last = &run->queries[run->n++];
            *last = (cli_ranking){all->items[i].query, run->ids + i, 0};
        }
        last->n++;
    }
}

int cli_trec_run_read(cli_trec_run *run, const char *path)
{
    cli_query_rows all = {0};
    *run = (cli_trec_run){0};
    int code = cli_row_file_open(&run->text, path);
    while (code == CLI_GO_ON && cli_row_file_next(&run->text, 6, 6)) code = read_row(&run->text, &all);
    cli_query_rows_sort(&all);
    if (code == CLI_GO_ON) code = refuse_repeated(path, &all);
    if (code == CLI_GO_ON) {
        cli_query_rows_rank(&all);
        group(run, &all);
    }
    cli_query_rows_free(&all);
    return code;
}

void cli_trec_run_free(cli_trec_run *run)
{
    free(run->queries);
    free(run->ids);
    cli_row_file_close(&run->text);
    *run = (cli_trec_run){0};
}

const cli_ranking *cli_trec_run_find(const cli_trec_run *run, const char *query)
{
    return cli_query_find(query, run->queries, run->n, sizeof *run->queries);
}

/* ---- writing ---- */

static bool has_space(const char *id)
{
    return id[strcspn(id, " \t\v\f")] != '\0';
}

void cli_trec_run_write(FILE *run, const char *query, const mneme_hits *hits)
{
    float last = INFINITY;
    for (size_t i = 0; i < hits->n; i++) {
        const char *id = hits->items[i].id;
        char between = has_space(query) || has_space(id) ? '\t' : ' ';
        float score = hits->items[i].score < last ? hits->items[i].score : nextafterf(last, -INFINITY);
        fprintf(run, "%s%cQ0%c%s%c%zu%c%.9g%cmneme\n", query, between, between, id, between, i + 1, between,
                (double)score, between);
        last = score;
    }
}
