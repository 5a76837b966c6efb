/* train_pairs.c -- see train_pairs.h. */
#include "cli/train_pairs.h"

#include "cli/arguments.h"
#include "cli/lines.h"
#include "cli/output.h"

#include <stdlib.h>

#define LINE_MAX_BYTES ((size_t)64 << 20)

void cli_train_pairs_free(cli_train_pairs *pairs)
{
    for (size_t i = 0; i < pairs->n; i++) {
        free((void *)pairs->items[i].negatives);
        json_decref(pairs->values[i]);
    }
    free(pairs->items);
    free(pairs->values);
    *pairs = (cli_train_pairs){0};
}

/* What is wrong with a line's value; NULL: nothing, and *out is filled. */
static const char *read_pair(const json_t *value, mneme_train_pair *out)
{
    const char *query = json_string_value(json_object_get(value, "query"));
    const char *positive = json_string_value(json_object_get(value, "positive"));
    json_t *negatives = json_object_get(value, "negatives");
    if (!query || !*query) return "expected a text as \"query\"";
    if (!positive || !*positive) return "expected a text as \"positive\"";
    if (negatives && !json_is_array(negatives)) return "expected a list of texts as \"negatives\"";
    size_t n = json_array_size(negatives);
    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(negatives, i))) return "expected a list of texts as \"negatives\"";
    const char **texts = cli_alloc(n, sizeof *texts);
    for (size_t i = 0; i < n; i++) texts[i] = json_string_value(json_array_get(negatives, i));
    *out = (mneme_train_pair){query, positive, texts, n};
    return NULL;
}

static int add_line(void *context, const char *path, const cli_lines *lines)
{
    cli_train_pairs *pairs = context;
    json_error_t problem;
    json_t *value = json_loadb(lines->line.data, lines->line.size, 0, &problem);
    mneme_train_pair pair;
    const char *wrong = value ? read_pair(value, &pair) : problem.text;
    if (wrong) {
        cli_complain("%s:%llu: %s", path, (unsigned long long)lines->number, wrong);
        json_decref(value);
        return CLI_EXIT_USAGE;
    }
    if (pairs->n == pairs->capacity) {
        pairs->capacity = pairs->capacity ? 2 * pairs->capacity : 64;
        pairs->items = cli_realloc(pairs->items, pairs->capacity, sizeof *pairs->items);
        pairs->values = cli_realloc(pairs->values, pairs->capacity, sizeof *pairs->values);
    }
    pairs->items[pairs->n] = pair;
    pairs->values[pairs->n++] = value;
    return CLI_GO_ON;
}

int cli_train_pairs_read(cli_train_pairs *pairs, const char *path)
{
    return cli_lines_each(path, LINE_MAX_BYTES, add_line, pairs);
}
