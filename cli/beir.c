/* beir.c -- reading the questions and judgements of a BEIR folder. */
#include "cli/beir.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cli_beir_free(cli_beir *beir)
{
    for (size_t i = 0; i < beir->n; i++) {
        cli_beir_query *query = &beir->queries[i];
        for (size_t j = 0; j < query->n_judgements; j++) free((char *)(uintptr_t)query->judgements[j].id);
        free(query->judgements);
        free(query->id);
        free(query->text);
        free(query->name_space);
    }
    free(beir->queries);
    *beir = (cli_beir){0};
}

static FILE *open_in(const char *folder, const char *name, char **path)
{
    *path = cli_format("%s/%s", folder, name);
    FILE *file = fopen(*path, "r");
    if (!file) cli_complain("cannot open %s: %s", *path, strerror(errno));
    return file;
}

/* ---- queries.jsonl ---- */

static const char *text_field(const json_t *object, const char *first, const char *second)
{
    const char *text = json_string_value(json_object_get(object, first));
    return text ? text : json_string_value(json_object_get(object, second));
}

static int add_query(cli_beir *beir, const char *path, size_t line_number, const char *line)
{
    json_error_t problem;
    json_t *object = json_loads(line, 0, &problem);
    const char *id = text_field(object, "_id", "id"), *text = text_field(object, "text", "query");
    if (!id || !text) {
        cli_complain("%s:%zu: %s", path, line_number, object ? "a question needs _id and text" : problem.text);
        json_decref(object);
        return CLI_EXIT_USAGE;
    }
    if (beir->n == beir->capacity) {
        beir->capacity = beir->capacity ? beir->capacity * 2 : 256;
        beir->queries = cli_realloc(beir->queries, beir->capacity, sizeof *beir->queries);
    }
    beir->queries[beir->n++] = (cli_beir_query){.id = cli_strdup(id),
                                                .text = cli_strdup(text),
                                                .name_space = cli_strdup(text_field(object, "namespace", "namespace"))};
    json_decref(object);
    return CLI_GO_ON;
}

static int read_queries(cli_beir *beir, const char *folder)
{
    char *path = NULL, *line = NULL;
    size_t capacity = 0, line_number = 0;
    FILE *file = open_in(folder, "queries.jsonl", &path);
    int code = file ? CLI_GO_ON : CLI_EXIT_USAGE;
    while (code == CLI_GO_ON && getline(&line, &capacity, file) > 0) {
        line_number++;
        if (line[strspn(line, " \t\r\n")] != '\0') code = add_query(beir, path, line_number, line);
    }
    if (file) fclose(file);
    free(line);
    free(path);
    return code;
}

/* ---- qrels ---- */

static int by_query_id(const void *left, const void *right)
{
    return strcmp((*(cli_beir_query *const *)left)->id, (*(cli_beir_query *const *)right)->id);
}

static cli_beir_query *find_query(cli_beir_query *const *sorted, size_t n, const char *id)
{
    const cli_beir_query key = {.id = (char *)(uintptr_t)id}, *pointer = &key;
    cli_beir_query *const *found = bsearch(&pointer, sorted, n, sizeof *sorted, by_query_id);
    return found ? *found : NULL;
}

static void add_judgement(cli_beir_query *query, const char *id, int grade)
{
    if (query->n_judgements == query->capacity) {
        query->capacity = query->capacity ? query->capacity * 2 : 8;
        query->judgements = cli_realloc(query->judgements, query->capacity, sizeof *query->judgements);
    }
    query->judgements[query->n_judgements++] = (cli_judgement){.id = cli_strdup(id), .grade = grade};
}

/* Split at tabs (BEIR) or any white space (TREC): the number of columns, up to 4. */
static size_t split_columns(char *line, char *columns[4])
{
    const char *separators = strchr(line, '\t') ? "\t\r\n" : " \r\n";
    size_t n = 0;
    char *rest = NULL;
    for (char *part = strtok_r(line, separators, &rest); part && n < 4; part = strtok_r(NULL, separators, &rest))
        columns[n++] = part;
    return n;
}

static int add_line(cli_beir_query *const *sorted, size_t n_queries, const char *path, size_t line_number, char *line)
{
    char *columns[4], *end = NULL;
    size_t n = split_columns(line, columns);
    if (n == 0 || (line_number == 1 && strcmp(columns[0], "query-id") == 0)) return CLI_GO_ON;
    long grade = n >= 3 ? strtol(columns[n - 1], &end, 10) : 0;
    if (n < 3 || end == columns[n - 1] || *end != '\0') {
        cli_complain("%s:%zu: a judgement is query-id, corpus-id, score", path, line_number);
        return CLI_EXIT_USAGE;
    }
    cli_beir_query *query = find_query(sorted, n_queries, columns[0]);
    if (query) add_judgement(query, columns[n - 2], (int)grade);
    return CLI_GO_ON;
}

static int read_judgements(cli_beir *beir, const char *folder, const char *split)
{
    char *name = cli_format("qrels/%s.tsv", split), *path = NULL, *line = NULL;
    size_t capacity = 0, line_number = 0;
    FILE *file = open_in(folder, name, &path);
    int code = file ? CLI_GO_ON : CLI_EXIT_USAGE;
    cli_beir_query **sorted = cli_alloc(beir->n + 1, sizeof *sorted);
    for (size_t i = 0; i < beir->n; i++) sorted[i] = &beir->queries[i];
    qsort(sorted, beir->n, sizeof *sorted, by_query_id);
    while (code == CLI_GO_ON && getline(&line, &capacity, file) > 0)
        code = add_line(sorted, beir->n, path, ++line_number, line);
    if (file) fclose(file);
    free(sorted);
    free(line);
    free(path);
    free(name);
    return code;
}

int cli_beir_read(const char *folder, const char *split, cli_beir *out)
{
    int code = read_queries(out, folder);
    if (code == CLI_GO_ON) code = read_judgements(out, folder, split);
    if (code != CLI_GO_ON) return code;
    cli_beir kept = {.queries = cli_alloc(out->n + 1, sizeof *kept.queries), .capacity = out->n + 1};
    cli_beir dropped = {.queries = cli_alloc(out->n + 1, sizeof *dropped.queries), .capacity = out->n + 1};
    for (size_t i = 0; i < out->n; i++) {
        cli_beir_query *query = &out->queries[i];
        cli_judgements_sort(query->judgements, query->n_judgements);
        cli_beir *to = cli_relevant(query->judgements, query->n_judgements) ? &kept : &dropped;
        to->queries[to->n++] = *query;
    }
    free(out->queries);
    *out = kept;
    cli_beir_free(&dropped);
    if (out->n > 0) return CLI_GO_ON;
    cli_complain("%s: no question has a relevant record in qrels/%s.tsv", folder, split);
    return CLI_EXIT_USAGE;
}
