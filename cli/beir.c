/* beir.c -- joining questions and their judgements. */
#include "cli/beir.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cli_beir_free(cli_beir *beir)
{
    free(beir->queries);
    cli_qrels_free(&beir->qrels);
    cli_topics_free(&beir->topics);
    free(beir->qrels_path);
    *beir = (cli_beir){0};
}

/* Take the question if a record is relevant to it. */
static void add_query(cli_beir *beir, const cli_judged *judged, const cli_topic *topic)
{
    size_t relevant = cli_relevant(judged->judgements, judged->n);
    if (!relevant) return;
    beir->queries[beir->n++] = (cli_beir_query){.id = judged->query,
                                                .text = topic ? topic->text : NULL,
                                                .name_space = topic ? topic->name_space : NULL,
                                                .judgements = judged->judgements,
                                                .n_judgements = judged->n,
                                                .n_relevant = relevant};
}

static void join(cli_beir *beir)
{
    size_t found = 0;
    beir->queries = cli_alloc(beir->topics.n + 1, sizeof *beir->queries);
    for (size_t i = 0; i < beir->topics.n; i++) {
        const cli_judged *judged = cli_qrels_find(&beir->qrels, beir->topics.items[i].id);
        if (!judged) continue;
        found++;
        add_query(beir, judged, &beir->topics.items[i]);
    }
    if (found < beir->qrels.n)
        cli_say("%zu judged question%s no text and %s left out", beir->qrels.n - found,
                beir->qrels.n - found == 1 ? " has" : "s have", beir->qrels.n - found == 1 ? "is" : "are");
}

static int by_line(const void *left, const void *right)
{
    const cli_judged *a = *(const cli_judged *const *)left, *b = *(const cli_judged *const *)right;
    return (a->line > b->line) - (a->line < b->line);
}

static void take_all(cli_beir *beir)
{
    const cli_judged **ordered = cli_alloc(beir->qrels.n + 1, sizeof *ordered);
    beir->queries = cli_alloc(beir->qrels.n + 1, sizeof *beir->queries);
    for (size_t i = 0; i < beir->qrels.n; i++) ordered[i] = &beir->qrels.queries[i];
    if (beir->qrels.n) qsort(ordered, beir->qrels.n, sizeof *ordered, by_line);
    for (size_t i = 0; i < beir->qrels.n; i++) add_query(beir, ordered[i], NULL);
    free(ordered);
}

static void say_repeated(const cli_beir *beir)
{
    size_t questions = beir->topics.n_repeated, judgements = beir->qrels.n_repeated;
    if (questions)
        cli_say("%zu question%s an id that came before: left out", questions, questions == 1 ? " has" : "s have");
    if (judgements)
        cli_say("%zu judgement%s given again: the last of each counts", judgements, judgements == 1 ? " is" : "s are");
}

int cli_beir_read(const cli_beir_source *source, cli_beir *out)
{
    char *topics = source->topics   ? cli_strdup(source->topics)
                   : source->folder ? cli_format("%s/queries.jsonl", source->folder)
                                    : NULL;
    out->qrels_path =
        source->qrels ? cli_strdup(source->qrels) : cli_format("%s/qrels/%s.tsv", source->folder, source->split);
    /* A run is scored on the questions that would be asked, where it is known which these are. */
    bool all = source->without_topics && !source->topics && (!topics || access(topics, F_OK) != 0);
    int code = all ? CLI_GO_ON : cli_topics_read(&out->topics, topics);
    if (code == CLI_GO_ON) code = cli_qrels_read(&out->qrels, out->qrels_path);
    free(topics);
    if (code != CLI_GO_ON) return code;
    say_repeated(out);
    if (all)
        take_all(out);
    else
        join(out);
    if (out->n > 0) return CLI_GO_ON;
    cli_complain("no question has a relevant record in %s", out->qrels_path);
    return CLI_EXIT_USAGE;
}
