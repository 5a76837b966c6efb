/* cmd_eval.c -- mneme eval: how well does the store answer judged questions? */
#include "cli/beir.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/question_options.h"
#include "cli/store_option.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct evaluation {
    mneme *memory;
    mneme_query_options query;
    uint64_t context_budget; /* 0 = no context_recall */
    FILE *run, *per_query;   /* NULL = none */
    cli_measures sums;
    double context_sum;
    double *latencies_ms;
    size_t n;
} evaluation;

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1000.0 + (double)now.tv_nsec / 1e6;
}

/* ---- context recall ---- */

/* Is every byte of the record's text, white space apart, in one of the window's passages of it? */
static bool is_inside(const mneme_window *window, const mneme_record *record)
{
    bool any = false;
    for (size_t at = 0; at < record->text_size;) {
        size_t covered = at;
        for (size_t i = 0; i < window->n; i++) {
            const mneme_passage *p = &window->items[i];
            bool same = strcmp(p->id, record->id) == 0 && strcmp(p->name_space, record->name_space) == 0;
            if (same && p->start <= at && p->end > covered) covered = (size_t)p->end;
        }
        any = any || covered > at;
        if (covered == at && !isspace((unsigned char)record->text[at])) return false;
        at = covered > at ? covered : at + 1;
    }
    return any;
}

static int measure_context(evaluation *e, const cli_beir_query *query, double *recall)
{
    mneme_context_options options = MNEME_CONTEXT_OPTIONS_INIT;
    mneme_error error = {MNEME_OK, ""};
    mneme_window *window = NULL;
    options.budget = (uint32_t)e->context_budget;
    options.query = e->query;
    options.query.k = 0;
    options.query.one_per_record = false;
    if (mneme_context(e->memory, query->text, &options, &window, &error) != MNEME_OK) return cli_failed(&error);
    size_t inside = 0;
    for (size_t i = 0; i < query->n_judgements; i++) {
        mneme_record_list *record = NULL;
        if (query->judgements[i].grade <= 0) continue;
        /* A judged record that is not in the store counts as missed. */
        if (mneme_get(e->memory, e->query.select.name_space, query->judgements[i].id, &record, NULL) == MNEME_OK)
            inside += is_inside(window, &record->items[0]);
        mneme_record_list_free(record);
    }
    *recall = (double)inside / (double)cli_relevant(query->judgements, query->n_judgements);
    mneme_window_free(window);
    return CLI_GO_ON;
}

/* ---- one question ---- */

/* TREC's six columns. trec_eval sorts by score and breaks ties its own way, so equal scores are set apart. */
static void write_run(FILE *run, const char *query_id, const mneme_hits *hits)
{
    float last = INFINITY;
    for (size_t i = 0; run && i < hits->n; i++) {
        float score = hits->items[i].score < last ? hits->items[i].score : nextafterf(last, -INFINITY);
        fprintf(run, "%s Q0 %s %zu %.9g mneme\n", query_id, hits->items[i].id, i + 1, (double)score);
        last = score;
    }
}

static void write_per_query(FILE *out, const cli_beir_query *query, const cli_measures *m, double took_ms)
{
    if (!out) return;
    json_t *object = json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "query", query->id, "ndcg@10", m->ndcg_10, "map",
                               m->map, "mrr@10", m->mrr_10, "recall@10", m->recall_10, "recall@20", m->recall_20,
                               "recall@100", m->recall_100, "took_ms", took_ms);
    char *line = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(7));
    fprintf(out, "%s\n", line ? line : "");
    free(line);
    json_decref(object);
}

static void add_measures(cli_measures *sums, const cli_measures *m)
{
    sums->ndcg_10 += m->ndcg_10;
    sums->map += m->map;
    sums->mrr_10 += m->mrr_10;
    sums->recall_10 += m->recall_10;
    sums->recall_20 += m->recall_20;
    sums->recall_100 += m->recall_100;
}

static int evaluate_query(evaluation *e, const cli_beir_query *query)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_hits *hits = NULL;
    e->query.select.name_space = query->name_space;
    double started = now_ms();
    if (mneme_query(e->memory, query->text, &e->query, &hits, &error) != MNEME_OK) return cli_failed(&error);
    double took = now_ms() - started;
    e->latencies_ms[e->n++] = took;
    const char **ids = cli_alloc(hits->n + 1, sizeof *ids);
    for (size_t i = 0; i < hits->n; i++) ids[i] = hits->items[i].id;
    cli_measures measures;
    cli_measure(ids, hits->n, query->judgements, query->n_judgements, &measures);
    add_measures(&e->sums, &measures);
    write_run(e->run, query->id, hits);
    write_per_query(e->per_query, query, &measures, took);
    free(ids);
    mneme_hits_free(hits);
    double recall = 0;
    int code = e->context_budget ? measure_context(e, query, &recall) : CLI_GO_ON;
    e->context_sum += recall;
    return code;
}

/* ---- the result ---- */

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

static void print_result(const cli_global *global, evaluation *e)
{
    double n = (double)e->n;
    qsort(e->latencies_ms, e->n, sizeof *e->latencies_ms, by_value);
    char context_name[48];
    snprintf(context_name, sizeof context_name, "context_recall@%llu", (unsigned long long)e->context_budget);
    const struct {
        const char *name;
        double value;
        int digits;
    } rows[] = {{"ndcg@10", e->sums.ndcg_10 / n, 4},       {"map", e->sums.map / n, 4},
                {"mrr@10", e->sums.mrr_10 / n, 4},         {"recall@10", e->sums.recall_10 / n, 4},
                {"recall@20", e->sums.recall_20 / n, 4},   {"recall@100", e->sums.recall_100 / n, 4},
                {context_name, e->context_sum / n, 4},     {"p50_ms", percentile(e->latencies_ms, e->n, 0.50), 2},
                {"p99_ms", percentile(e->latencies_ms, e->n, 0.99), 2}};
    json_t *object = json_object();
    cli_json_count(object, "queries", e->n);
    if (!global->json) cli_print("%-22s %zu\n", "queries", e->n);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].name == context_name && !e->context_budget) continue;
        if (global->json) json_object_set_new(object, rows[i].name, cli_json_float((float)rows[i].value));
        else cli_print("%-22s %.*f\n", rows[i].name, rows[i].digits, rows[i].value);
    }
    if (global->json) cli_print_json(object);
    else json_decref(object);
}

static int evaluate(const cli_global *global, evaluation *e, const cli_beir *beir)
{
    cli_progress progress;
    int code = CLI_GO_ON;
    e->latencies_ms = cli_alloc(beir->n, sizeof *e->latencies_ms);
    /* Load the encoder first: its time is the process's, not the first question's. */
    const mneme_encoder *encoder = NULL;
    mneme_error error = {MNEME_OK, ""};
    if (e->query.mode != MNEME_MODE_LEXICAL && mneme_get_encoder(e->memory, &encoder, &error) != MNEME_OK) code = cli_failed(&error);
    cli_progress_begin(&progress, "evaluating", "questions", beir->n);
    for (size_t i = 0; i < beir->n && code == CLI_GO_ON; i++) {
        code = evaluate_query(e, &beir->queries[i]);
        cli_progress_update(&progress, i + 1);
    }
    cli_progress_end(&progress);
    if (code == CLI_GO_ON) print_result(global, e);
    free(e->latencies_ms);
    return code == CLI_GO_ON ? CLI_EXIT_DONE : code;
}

static FILE *open_output(const char *path, int *code)
{
    if (!path) return NULL;
    FILE *file = fopen(path, "w");
    if (!file) {
        cli_complain("cannot write %s: %s", path, strerror(errno));
        *code = CLI_EXIT_FAILURE;
    }
    return file;
}

static int close_output(FILE *file, const char *path, int code)
{
    if (!file) return code;
    bool failed = ferror(file) != 0;
    if (fclose(file) == 0 && !failed) return code;
    cli_complain("cannot write %s: %s", path, strerror(errno));
    return CLI_EXIT_FAILURE;
}

static int run(cli_global *global, int argc, char **argv)
{
    const char *split = "test", *run_path = NULL, *per_query_path = NULL;
    int mode = -1;
    uint64_t depth = 100;
    evaluation e = {.query = MNEME_QUERY_OPTIONS_INIT};
    const cli_option options[] = {
        {'m', "mode", CLI_CHOICE, &mode, "hybrid|dense|lexical", "by meaning and words, meaning only, words only"},
        {'k', NULL, CLI_COUNT, &depth, "N", "hits taken for each question (default 100)"},
        {0, "context", CLI_COUNT, &e.context_budget, "TOKENS", "also the share of judged records inside a spliced window"},
        {0, "where", CLI_TEXT, &e.query.select.where, "EXPR", "search only records for which the expression holds"},
        {0, "split", CLI_TEXT, &split, "NAME", "judgements to use: qrels/NAME.tsv (default test)"},
        {0, "run", CLI_TEXT, &run_path, "FILE", "write the hits as a TREC run"},
        {0, "per-query", CLI_TEXT, &per_query_path, "FILE", "write each question's measures, a JSON object a line"},
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    cli_beir beir = {0};
    int code = cli_parse(global, &cli_command_eval, options, argc, argv, &words);
    if (code == CLI_GO_ON && words.n != 1) code = cli_usage_error(&cli_command_eval, "name one folder");
    if (code == CLI_GO_ON && (depth < 1 || depth > 10000)) code = cli_usage_error(&cli_command_eval, "-k must be 1 to 10000");
    if (code == CLI_GO_ON) code = cli_beir_read(words.items[0], split, &beir);
    if (code == CLI_GO_ON) code = cli_open_store(global, MNEME_OPEN_READ_ONLY, &e.memory, NULL);
    e.query.k = (uint32_t)depth;
    e.query.mode = (mneme_mode)(mode + 1);
    e.query.one_per_record = true;
    if (code == CLI_GO_ON) e.run = open_output(run_path, &code);
    if (code == CLI_GO_ON) e.per_query = open_output(per_query_path, &code);
    if (code == CLI_GO_ON) code = evaluate(global, &e, &beir);
    code = close_output(e.run, run_path, code);
    code = close_output(e.per_query, per_query_path, code);
    mneme_close(e.memory);
    cli_beir_free(&beir);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_eval = {
    .name = "eval",
    .usage = "FOLDER [OPTIONS]",
    .summary = "measure retrieval on judged questions",
    .details = "FOLDER is in BEIR's layout: queries.jsonl and qrels/test.tsv; the store holds its corpus already. A question's\n"
               "\"namespace\" restricts it. A record scores as its best chunk. Measures are trec_eval's; questions without a\n"
               "relevant record are left out. context_recall: a record is inside when its whole text is.",
    .example = "mneme --store /tmp/c index cranfield/corpus.jsonl && mneme --store /tmp/c eval cranfield --json",
    .run = run,
};
