/* eval_table.c -- rows of questions, columns of measures. */
#include "cli/eval_table.h"

#include "cli/lines.h"
#include "cli/output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void cli_eval_table_init(cli_eval_table *table, const cli_beir *beir, bool timed)
{
    *table = (cli_eval_table){.beir = beir, .n_rows = beir->n};
    table->values = cli_alloc(beir->n * CLI_EVAL_COLUMNS_MAX + 1, sizeof *table->values);
    memset(table->values, 0, beir->n * CLI_EVAL_COLUMNS_MAX * sizeof *table->values);
    if (!timed) return;
    table->took_ms = cli_alloc(beir->n + 1, sizeof *table->took_ms);
    memset(table->took_ms, 0, beir->n * sizeof *table->took_ms);
}

void cli_eval_table_free(cli_eval_table *table)
{
    free(table->values);
    free(table->took_ms);
    *table = (cli_eval_table){0};
}

size_t cli_eval_column(cli_eval_table *table, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(table->names[table->n_columns], CLI_EVAL_NAME_MAX, format, arguments);
    va_end(arguments);
    return table->n_columns++;
}

double *cli_eval_row(const cli_eval_table *table, size_t i)
{
    return table->values + i * CLI_EVAL_COLUMNS_MAX;
}

/* ---- halves ---- */

cli_half cli_half_of(const char *query)
{
    uint64_t hash = cli_lines_hash(CLI_LINES_HASH, query, strlen(query));
    /* The last bits of FNV-1a follow the last bytes of short ids: the finaliser of MurmurHash3 mixes them. */
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (cli_half)((hash ^ hash >> 33) & 1);
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static double percentile(const double *sorted, size_t n, double share)
{
    size_t place = (size_t)ceil(share * (double)n);
    return sorted[place > 0 ? place - 1 : 0];
}

void cli_eval_summarise(const cli_eval_table *table, cli_half half, cli_eval_summary *out)
{
    double *took = cli_alloc(table->n_rows + 1, sizeof *took);
    *out = (cli_eval_summary){0};
    for (size_t i = 0; i < table->n_rows; i++) {
        if (half != CLI_HALF_BOTH && cli_half_of(table->beir->queries[i].id) != half) continue;
        if (table->took_ms) took[out->n] = table->took_ms[i];
        for (size_t c = 0; c < table->n_columns; c++) out->means[c] += cli_eval_row(table, i)[c];
        out->n++;
    }
    for (size_t c = 0; c < table->n_columns && out->n; c++) out->means[c] /= (double)out->n;
    if (table->took_ms && out->n) {
        qsort(took, out->n, sizeof *took, by_value);
        out->p50_ms = percentile(took, out->n, 0.50);
        out->p99_ms = percentile(took, out->n, 0.99);
    }
    free(took);
}

/* ---- output ---- */

static json_t *summary_json(const cli_eval_table *columns, const cli_eval_summary *summary)
{
    json_t *object = json_object();
    cli_json_count(object, "queries", summary->n);
    for (size_t c = 0; c < columns->n_columns; c++)
        json_object_set_new(object, columns->names[c], cli_json_float((float)summary->means[c]));
    if (columns->took_ms) {
        json_object_set_new(object, "p50_ms", cli_json_float((float)summary->p50_ms));
        json_object_set_new(object, "p99_ms", cli_json_float((float)summary->p99_ms));
    }
    return object;
}

json_t *cli_eval_summaries_json(const cli_eval_table *columns, const cli_eval_summary summaries[3], bool halves)
{
    json_t *object = summary_json(columns, &summaries[CLI_HALF_BOTH]);
    if (halves) {
        json_object_set_new(object, "tune", summary_json(columns, &summaries[CLI_HALF_TUNE]));
        json_object_set_new(object, "held_out", summary_json(columns, &summaries[CLI_HALF_HELD_OUT]));
    }
    return object;
}

json_t *cli_eval_json(const cli_eval_table *table, bool halves)
{
    cli_eval_summary summaries[3];
    for (int half = CLI_HALF_TUNE; half <= CLI_HALF_BOTH; half++)
        cli_eval_summarise(table, (cli_half)half, &summaries[half]);
    return cli_eval_summaries_json(table, summaries, halves);
}

static int name_width(const cli_eval_table *table)
{
    size_t width = 22;
    for (size_t c = 0; c < table->n_columns; c++)
        if (strlen(table->names[c]) > width) width = strlen(table->names[c]);
    return (int)width;
}

static void add_row(cli_text *out, int width, const char *name, const double *values, size_t n, int digits)
{
    cli_text_format(out, "%-*s", width, name);
    for (size_t i = 0; i < n; i++) cli_text_format(out, i ? " %9.*f" : " %.*f", digits, values[i]);
    cli_text_byte(out, '\n');
}

void cli_eval_print(const cli_eval_table *table, bool halves, bool to_stderr)
{
    static const cli_half order[] = {CLI_HALF_BOTH, CLI_HALF_TUNE, CLI_HALF_HELD_OUT};
    size_t n = halves ? 3 : 1;
    cli_eval_summary summaries[3];
    cli_text out = {0};
    double values[3];
    for (size_t i = 0; i < n; i++) cli_eval_summarise(table, order[i], &summaries[i]);
    int width = name_width(table);
    if (halves) cli_text_format(&out, "%-*s %-6s %9s %9s\n", width, "", "all", "tune", "held out");
    cli_text_format(&out, halves ? "%-*s %-6zu" : "%-*s %zu", width, "queries", summaries[0].n);
    if (halves) cli_text_format(&out, " %9zu %9zu", summaries[1].n, summaries[2].n);
    cli_text_byte(&out, '\n');
    for (size_t c = 0; c < table->n_columns; c++) {
        for (size_t i = 0; i < n; i++) values[i] = summaries[i].means[c];
        add_row(&out, width, table->names[c], values, n, 4);
    }
    for (int p = 0; table->took_ms && p < 2; p++) {
        for (size_t i = 0; i < n; i++) values[i] = p ? summaries[i].p99_ms : summaries[i].p50_ms;
        add_row(&out, width, p ? "p99_ms" : "p50_ms", values, n, 2);
    }
    if (to_stderr)
        cli_say("%.*s", (int)out.size - 1, out.data);
    else
        cli_print_bytes(out.data, out.size);
    cli_text_free(&out);
}

/* ---- a line for each question ---- */

static void add_json_values(json_t *object, const cli_eval_table *table, size_t row)
{
    for (size_t c = 0; c < table->n_columns; c++)
        json_object_set_new(object, table->names[c], cli_json_float((float)cli_eval_row(table, row)[c]));
    if (table->took_ms) json_object_set_new(object, "took_ms", cli_json_float((float)table->took_ms[row]));
}

static void write_json(FILE *out, const cli_eval_table *a, const cli_eval_table *b, size_t row)
{
    json_t *object = json_object(), *left = b ? json_object() : object, *right = b ? json_object() : NULL;
    json_object_set_new(object, "query", cli_json_string(a->beir->queries[row].id));
    add_json_values(left, a, row);
    if (b) {
        add_json_values(right, b, row);
        json_object_set_new(object, "a", left);
        json_object_set_new(object, "b", right);
    }
    json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(7));
    fputc('\n', out);
    json_decref(object);
}

static void write_header(FILE *out, const cli_eval_table *table, const char *before)
{
    for (size_t c = 0; c < table->n_columns; c++) fprintf(out, "\t%s%s", before, table->names[c]);
    if (table->took_ms) fprintf(out, "\t%stook_ms", before);
}

static void write_values(FILE *out, const cli_eval_table *table, size_t row)
{
    for (size_t c = 0; c < table->n_columns; c++) fprintf(out, "\t%.7g", cli_eval_row(table, row)[c]);
    if (table->took_ms) fprintf(out, "\t%.7g", table->took_ms[row]);
}

static void write_tsv(FILE *out, const cli_eval_table *a, const cli_eval_table *b)
{
    fputs("query", out);
    write_header(out, a, b ? "a." : "");
    if (b) write_header(out, b, "b.");
    fputc('\n', out);
    for (size_t i = 0; i < a->n_rows; i++) {
        fputs(a->beir->queries[i].id, out);
        write_values(out, a, i);
        if (b) write_values(out, b, i);
        fputc('\n', out);
    }
}

void cli_eval_write_per_query(FILE *out, bool columns, const cli_eval_table *a, const cli_eval_table *b)
{
    if (columns) write_tsv(out, a, b);
    for (size_t i = 0; i < a->n_rows && !columns; i++) write_json(out, a, b, i);
}
