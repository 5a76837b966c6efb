/* query_rows.c -- rows of a judgement file or of a run. */
#include "cli/query_rows.h"

#include "cli/arguments.h"

#include <stdlib.h>
#include <string.h>

void cli_query_rows_add(cli_query_rows *rows, cli_query_row row)
{
    if (rows->n == rows->capacity) {
        rows->capacity = rows->capacity ? rows->capacity * 2 : 1024;
        rows->items = cli_realloc(rows->items, rows->capacity, sizeof *rows->items);
    }
    rows->items[rows->n++] = row;
}

void cli_query_rows_free(cli_query_rows *rows)
{
    free(rows->items);
    *rows = (cli_query_rows){0};
}

static int by_query_and_id(const void *left, const void *right)
{
    const cli_query_row *a = left, *b = right;
    int order = strcmp(a->query, b->query);
    if (order == 0) order = strcmp(a->id, b->id);
    return order ? order : (a->line > b->line) - (a->line < b->line);
}

static int by_query_and_number(const void *left, const void *right)
{
    const cli_query_row *a = left, *b = right;
    int order = strcmp(a->query, b->query);
    if (order == 0) order = (a->number < b->number) - (a->number > b->number);
    return order ? order : strcmp(b->id, a->id);
}

void cli_query_rows_sort(cli_query_rows *rows)
{
    if (rows->n) qsort(rows->items, rows->n, sizeof *rows->items, by_query_and_id);
}

void cli_query_rows_rank(cli_query_rows *rows)
{
    if (rows->n) qsort(rows->items, rows->n, sizeof *rows->items, by_query_and_number);
}

static int by_query(const void *query, const void *item)
{
    return strcmp(query, *(const char *const *)item);
}

const void *cli_query_find(const char *query, const void *items, size_t n, size_t size)
{
    return n ? bsearch(query, items, n, size, by_query) : NULL;
}
