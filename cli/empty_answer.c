/* empty_answer.c -- why a question found nothing. */
#include "cli/empty_answer.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>

static const mneme_namespace_stats *find(const mneme_stats *stats, const char *name)
{
    for (size_t i = 0; i < stats->n_namespaces; i++)
        if (strcmp(stats->namespaces[i].name, name) == 0) return &stats->namespaces[i];
    return NULL;
}

static void explain_namespace(const mneme_stats *stats, const char *name)
{
    const char **names = cli_alloc(stats->n_namespaces, sizeof *names);
    for (size_t i = 0; i < stats->n_namespaces; i++) names[i] = stats->namespaces[i].name;
    const char *nearest = cli_nearest(name, names, stats->n_namespaces);
    if (nearest && *nearest) cli_say("nothing found: there is no namespace '%s' (did you mean '%s'?)", name, nearest);
    else cli_say("nothing found: there is no namespace '%s'; 'mneme stats' lists them", name);
    free(names);
}

void cli_explain_empty(mneme *memory, const mneme_selection *select)
{
    mneme_stats *stats = NULL;
    if (mneme_get_stats(memory, &stats, NULL) != MNEME_OK) {
        cli_say("nothing found");
        return;
    }
    const mneme_namespace_stats *space = select->name_space ? find(stats, select->name_space) : NULL;
    if (stats->records == 0)
        cli_say("nothing found: the store %s is empty; fill it with 'mneme index' or 'mneme add'", stats->path);
    else if (select->name_space && !space && *select->name_space) explain_namespace(stats, select->name_space);
    else if (select->name_space && (!space || space->records == 0))
        cli_say("nothing found: the namespace '%s' is empty", select->name_space);
    else cli_say("nothing found");
    mneme_stats_free(stats);
}

void cli_explain_unknown(void)
{
    cli_say("the encoder does not know the question's script: words were compared, meaning was not");
}
