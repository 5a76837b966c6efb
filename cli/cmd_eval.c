/* cmd_eval.c -- mneme eval: how well does the store, or a run, answer judged questions? */
#include "cli/commands.h"
#include "cli/eval_ask.h"
#include "cli/eval_compare.h"
#include "cli/eval_plot.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/path.h"
#include "cli/store_option.h"

#include <stdlib.h>
#include <string.h>

typedef struct eval_options {
    int mode;
    uint64_t depth;
    const char *where, *measures, *context;
    const char *split, *qrels, *topics;
    const char *score, *run, *per_query;
    const char *svg;
    cli_list compare, sweep;
    cli_permutations permutations;
    bool baseline, halves;
    /* what follows from them */
    const char *folder;              /* NULL = none */
    bool asks;                       /* puts questions to the store */
    FILE *per_query_file, *svg_file; /* NULL = none */
    cli_eval_plan plan;
} eval_options;

static int wrong(const char *why)
{
    return cli_usage_error(&cli_command_eval, "%s", why);
}

/* ---- what is asked for ---- */

/* The folder is the word that is one; with --compare the others are runs. */
static int take_words(eval_options *o, const cli_words *words)
{
    for (size_t i = 0; i < words->n; i++) {
        if (!o->folder && (o->compare.n == 0 || cli_is_folder(words->items[i])))
            o->folder = words->items[i];
        else if (o->compare.n > 0)
            cli_list_add(&o->compare, words->items[i]);
        else
            return wrong("name one folder");
    }
    if (o->compare.n > 2) return wrong("compare two runs, or a run with the store");
    o->asks = !o->score && o->compare.n < 2;
    if (o->folder || (o->qrels && (o->topics || !o->asks))) return CLI_GO_ON;
    return wrong(o->asks ? "name one folder, or --qrels and --topics" : "name a folder, or --qrels");
}

static int check(const eval_options *o)
{
    if (o->compare.n == 2 && o->score) return wrong("--score is one more run than --compare takes");
    if (o->depth != CLI_NO_COUNT && (o->depth < 1 || o->depth > 10000)) return wrong("-k must be 1 to 10000");
    if (o->permutations.n < 1 || o->permutations.n > 100000000) return wrong("--permutations must be 1 to 100000000");
    if (!o->asks && (o->context || o->run || o->where))
        return wrong("--context, --run and --where need the store to be asked");
    if (o->baseline && !o->context) return wrong("--baseline goes with --context");
    if (o->sweep.n && (!o->asks || o->compare.n || o->run || o->per_query))
        return wrong("--sweep does not go with --score, --compare, --run or --per-query");
    if (o->svg && !o->sweep.n && !o->context) return wrong("--svg draws several --context, or a --sweep");
    if (o->svg && o->compare.n) return wrong("--svg and --compare do not go together");
    if (o->halves && o->compare.n) return wrong("--halves and --compare do not go together");
    return CLI_GO_ON;
}

static int make_plan(eval_options *o, const cli_beir *beir)
{
    char *problem = NULL;
    cli_eval_plan *plan = &o->plan;
    if (!cli_measures_parse(o->measures, &plan->measures, &problem)) {
        int code = cli_usage_error(&cli_command_eval, "--measures: %s", problem);
        free(problem);
        return code;
    }
    if (o->context && !cli_budgets_parse(o->context, &plan->budgets))
        return wrong("--context: expected tokens, up to 16 numbers with commas between them");
    if (o->svg && !o->sweep.n && plan->budgets.n < 2)
        return wrong("--svg: a curve needs two sizes for --context at least");
    uint32_t deepest = cli_measures_depth(&plan->measures);
    plan->beir = beir;
    plan->baseline = o->baseline;
    plan->query = (mneme_query_options)MNEME_QUERY_OPTIONS_INIT;
    plan->query.k = o->depth != CLI_NO_COUNT ? (uint32_t)o->depth : deepest > 100 ? deepest : 100;
    plan->query.mode = (mneme_mode)(o->mode + 1);
    plan->query.select.where = o->where;
    plan->query.one_per_record = true;
    return CLI_GO_ON;
}

/* ---- one evaluation ---- */

/* Ask the store that is in use. */
static int ask_store(const cli_global *global, eval_options *o, cli_eval_table *table)
{
    mneme *memory = NULL;
    int code = cli_open_store(global, MNEME_OPEN_READ_ONLY, &memory, NULL);
    if (code == CLI_GO_ON) code = cli_output_open(o->run, &o->plan.run);
    if (code == CLI_GO_ON) code = cli_eval_ask(memory, &o->plan, table);
    code = cli_output_close(o->run, o->plan.run, code);
    mneme_close(memory);
    return code;
}

static void show(const cli_global *global, const eval_options *o, const cli_eval_table *table)
{
    if (global->json)
        cli_print_json(cli_eval_json(table, o->halves));
    else
        cli_eval_print(table, o->halves, o->per_query && strcmp(o->per_query, "-") == 0);
}

static void write_per_query(const eval_options *o, const cli_eval_table *a, const cli_eval_table *b)
{
    size_t size = o->per_query ? strlen(o->per_query) : 0;
    bool columns = size >= 4 && strcmp(o->per_query + size - 4, ".tsv") == 0;
    if (o->per_query_file) cli_eval_write_per_query(o->per_query_file, columns, a, b);
}

static int evaluate(const cli_global *global, eval_options *o)
{
    cli_eval_table table = {0};
    int code = o->score ? cli_eval_score(o->score, &o->plan, &table) : ask_store(global, o, &table);
    if (code == CLI_GO_ON) write_per_query(o, &table, NULL);
    if (code == CLI_GO_ON && o->svg_file) cli_plot_budgets(o->svg_file, &o->plan, &table);
    if (code == CLI_GO_ON) show(global, o, &table);
    cli_eval_table_free(&table);
    return code;
}

static int compare(const cli_global *global, eval_options *o)
{
    cli_eval_table a = {0}, b = {0};
    const char *second = o->compare.n == 2 ? o->compare.items[1] : o->score;
    int code = cli_eval_score(o->compare.items[0], &o->plan, &a);
    if (code == CLI_GO_ON) code = second ? cli_eval_score(second, &o->plan, &b) : ask_store(global, o, &b);
    if (code == CLI_GO_ON) write_per_query(o, &a, &b);
    if (code == CLI_GO_ON) {
        cli_comparison comparison = {&a, &b, o->compare.items[0], second ? second : "the store", o->permutations};
        cli_compare_print(&comparison, global->json);
    }
    cli_eval_table_free(&a);
    cli_eval_table_free(&b);
    return code;
}

static int sweep(const cli_global *global, eval_options *o)
{
    cli_sweep all = {0};
    int code = CLI_GO_ON;
    char *problem = cli_sweep_parse(&o->sweep, &all);
    if (problem) code = cli_usage_error(&cli_command_eval, "--sweep: %s", problem);
    free(problem);
    if (code == CLI_GO_ON) code = cli_sweep_run(global, &o->plan, &all);
    if (code == CLI_GO_ON && o->svg_file) cli_plot_sweep(o->svg_file, &all);
    if (code == CLI_GO_ON) cli_sweep_print(&all, o->halves, global->json);
    cli_sweep_free(&all);
    return code;
}

static int run_options(const cli_global *global, eval_options *o)
{
    cli_beir beir = {0};
    const cli_beir_source source = {o->folder, o->split, o->qrels, o->topics, !o->asks};
    int code = check(o);
    if (code == CLI_GO_ON) code = make_plan(o, &beir);
    if (code == CLI_GO_ON) code = cli_beir_read(&source, &beir);
    /* Files that cannot be written are found before hours of questions, not after. */
    if (code == CLI_GO_ON) code = cli_output_open(o->per_query, &o->per_query_file);
    if (code == CLI_GO_ON) code = cli_output_open(o->svg, &o->svg_file);
    if (code == CLI_GO_ON)
        code = o->sweep.n ? sweep(global, o) : o->compare.n ? compare(global, o) : evaluate(global, o);
    code = cli_output_close(o->per_query, o->per_query_file, code);
    code = cli_output_close(o->svg, o->svg_file, code);
    cli_beir_free(&beir);
    return code == CLI_GO_ON ? CLI_EXIT_DONE : code;
}

static int run(cli_global *global, int argc, char **argv)
{
    eval_options o = {.mode = -1,
                      .depth = CLI_NO_COUNT,
                      .measures = CLI_MEASURES_DEFAULT,
                      .split = "test",
                      .permutations = CLI_PERMUTATIONS_DEFAULT};
    const cli_option options[] = {
        {'m', "mode", CLI_CHOICE, &o.mode, "hybrid|dense|lexical", "by meaning and words, meaning only, words only"},
        {'k', NULL, CLI_COUNT, &o.depth, "N", "hits taken for each question (default 100)"},
        {0, "where", CLI_TEXT, &o.where, "EXPR", "search only records for which the expression holds"},
        {0, "measures", CLI_TEXT, &o.measures, "LIST", "ndcg@k, map, mrr@k, recall@k, precision@k, success@k"},
        {0, "context", CLI_TEXT, &o.context, "TOKENS,...",
         "also the share of relevant records inside a spliced window"},
        {0, "baseline", CLI_FLAG, &o.baseline, NULL,
         "also that of a plain window: the nearest chunks, one after another"},
        {0, "split", CLI_TEXT, &o.split, "NAME", "judgements to use: qrels/NAME.tsv (default test)"},
        {0, "qrels", CLI_TEXT, &o.qrels, "FILE", "judgements from this file, BEIR's or TREC's"},
        {0, "topics", CLI_TEXT, &o.topics, "FILE", "questions from this file: JSON lines, id and tab, or TREC topics"},
        {0, "run", CLI_TEXT, &o.run, "FILE", "write the hits as a TREC run"},
        {0, "score", CLI_TEXT, &o.score, "RUN", "measure this TREC run instead of the store"},
        {0, "compare", CLI_LIST, &o.compare, "RUN", "compare this run with another one, or with the store"},
        {0, "permutations", CLI_COUNT, &o.permutations.n, "N", "of the test that compares (default 100000)"},
        {0, "seed", CLI_COUNT, &o.permutations.seed, "N", "of its random numbers (default 1)"},
        {0, "per-query", CLI_TEXT, &o.per_query, "FILE",
         "write each question's measures: JSON lines, or FILE.tsv; - is stdout"},
        {0, "halves", CLI_FLAG, &o.halves, NULL, "also for each half of the questions: one to tune on, one held out"},
        {0, "sweep", CLI_LIST, &o.sweep, "NAME=V1,V2",
         "ask under each of these values of a setting; several make a grid"},
        {0, "svg", CLI_TEXT, &o.svg, "FILE",
         "draw recall against --context sizes, or a sweep's quality against latency"},
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    int code = cli_parse(global, &cli_command_eval, options, argc, argv, &words);
    if (code == CLI_GO_ON) code = take_words(&o, &words);
    if (code == CLI_GO_ON) code = run_options(global, &o);
    cli_list_free(&o.compare);
    cli_list_free(&o.sweep);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_eval = {
    .name = "eval",
    .usage = "[FOLDER] [OPTIONS]",
    .summary = "measure retrieval on judged questions",
    .details =
        "FOLDER is in BEIR's layout: queries.jsonl and qrels/test.tsv; the store holds its corpus already. A "
        "question's\n"
        "\"namespace\" restricts it. A record scores as its best chunk. Measures are trec_eval's; questions without a\n"
        "relevant record are left out. context_recall: a record is inside when its whole text is.\n"
        "--compare tests by paired randomisation whether two runs differ. docs/eval.md has all of it.",
    .example = "mneme --store /tmp/c index cranfield/corpus.jsonl && mneme --store /tmp/c eval cranfield --json\n"
               "mneme eval --qrels cranfield/qrels/test.tsv --compare before.run after.run",
    .run = run,
};
