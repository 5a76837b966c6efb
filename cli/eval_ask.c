/* eval_ask.c -- questions to a store, or to a run, and their measures. */
#include "cli/eval_ask.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <stdlib.h>

typedef struct asking {
    mneme *memory;
    cli_eval_plan *plan;
    cli_eval_table *table;
    mneme_stats *spaces;
    size_t n_relevant, n_missing; /* judged relevant; of them not in the store */
} asking;

static void add_columns(const cli_eval_plan *plan, cli_eval_table *table)
{
    for (size_t i = 0; i < plan->measures.n; i++) cli_eval_column(table, "%s", plan->measures.items[i].name);
    for (size_t i = 0; i < plan->budgets.n; i++) cli_eval_column(table, "context_recall@%u", plan->budgets.items[i]);
    for (size_t i = 0; plan->baseline && i < plan->budgets.n; i++)
        cli_eval_column(table, "plain_context_recall@%u", plan->budgets.items[i]);
}

/* ---- a store ---- */

static int ask_windows(asking *a, const cli_beir_query *query, double *recalls)
{
    const cli_eval_plan *plan = a->plan;
    cli_relevant_records relevant;
    cli_relevant_get(a->memory, a->spaces, query, &relevant);
    a->n_relevant += relevant.n;
    a->n_missing += relevant.missing;
    cli_window_question question = {query->text, &plan->query, &relevant};
    int code = plan->budgets.n ? cli_window_recall(a->memory, &question, &plan->budgets, recalls) : CLI_GO_ON;
    if (code == CLI_GO_ON && plan->budgets.n && plan->baseline)
        code = cli_plain_window_recall(a->memory, &question, &plan->budgets, recalls + plan->budgets.n);
    cli_relevant_free(&relevant);
    return code;
}

static int ask_one(asking *a, size_t row)
{
    const cli_beir_query *query = &a->table->beir->queries[row];
    double *values = cli_eval_row(a->table, row);
    mneme_error error = {MNEME_OK, ""};
    mneme_hits *hits = NULL;
    a->plan->query.select.name_space = query->name_space;
    double started = 1e3 * cli_seconds();
    if (mneme_query(a->memory, query->text, &a->plan->query, &hits, &error) != MNEME_OK) return cli_failed(&error);
    a->table->took_ms[row] = 1e3 * cli_seconds() - started;
    const char **ids = cli_alloc(hits->n + 1, sizeof *ids);
    for (size_t i = 0; i < hits->n; i++) ids[i] = hits->items[i].id;
    cli_measure_run(&a->plan->measures, ids, hits->n, query->judgements, query->n_judgements, values);
    if (a->plan->run) cli_trec_run_write(a->plan->run, query->id, hits);
    free(ids);
    mneme_hits_free(hits);
    return ask_windows(a, query, values + a->plan->measures.n);
}

/* Load the encoder and touch the store first: their time is the process's, not the first question's. */
static int warm_up(asking *a)
{
    const cli_beir_query *query = &a->plan->beir->queries[0];
    mneme_error error = {MNEME_OK, ""};
    mneme_hits *hits = NULL;
    a->plan->query.select.name_space = query->name_space;
    if (mneme_get_stats(a->memory, &a->spaces, &error) != MNEME_OK ||
        mneme_query(a->memory, query->text, &a->plan->query, &hits, &error) != MNEME_OK)
        return cli_failed(&error);
    mneme_hits_free(hits);
    return CLI_GO_ON;
}

int cli_eval_ask(mneme *memory, cli_eval_plan *plan, cli_eval_table *table)
{
    asking a = {.memory = memory, .plan = plan, .table = table};
    cli_progress progress;
    cli_eval_table_init(table, plan->beir, true);
    add_columns(plan, table);
    int code = warm_up(&a);
    cli_progress_begin(&progress, "evaluating", "questions", table->n_rows);
    for (size_t i = 0; i < table->n_rows && code == CLI_GO_ON; i++) {
        code = ask_one(&a, i);
        cli_progress_update(&progress, i + 1);
    }
    cli_progress_end(&progress);
    mneme_stats_free(a.spaces);
    if (code == CLI_GO_ON && a.n_missing)
        cli_say("%zu of %zu relevant records are not in the store and count as missed", a.n_missing, a.n_relevant);
    return code;
}

/* ---- a run ---- */

int cli_eval_score(const char *path, const cli_eval_plan *plan, cli_eval_table *table)
{
    cli_trec_run run;
    size_t answered = 0;
    cli_eval_table_init(table, plan->beir, false);
    add_columns(plan, table);
    int code = cli_trec_run_read(&run, path);
    for (size_t i = 0; i < table->n_rows && code == CLI_GO_ON; i++) {
        const cli_beir_query *query = &plan->beir->queries[i];
        const cli_ranking *ranking = cli_trec_run_find(&run, query->id);
        answered += ranking != NULL;
        cli_measure_run(&plan->measures, ranking ? ranking->ids : NULL, ranking ? ranking->n : 0, query->judgements,
                        query->n_judgements, cli_eval_row(table, i));
    }
    if (code == CLI_GO_ON && answered < table->n_rows)
        cli_say("%s: no answer to %zu of %zu judged questions; they count 0", path, table->n_rows - answered,
                table->n_rows);
    if (code == CLI_GO_ON && answered < run.n)
        cli_say("%s: %zu of its %zu questions are not judged, or have nothing relevant, and are left out", path,
                run.n - answered, run.n);
    cli_trec_run_free(&run);
    return code;
}
