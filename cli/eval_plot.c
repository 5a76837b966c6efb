/* eval_plot.c -- evaluations as pictures. */
#include "cli/eval_plot.h"

#include "cli/svg_plot.h"

#include <stdlib.h>

static void write_plot(FILE *out, const cli_plot *plot)
{
    cli_text svg = {0};
    cli_plot_draw(plot, &svg);
    fwrite(svg.data, 1, svg.size, out);
    cli_text_free(&svg);
}

void cli_plot_budgets(FILE *out, const cli_eval_plan *plan, const cli_eval_table *table)
{
    cli_eval_summary summary;
    size_t n = plan->budgets.n, first = plan->measures.n;
    double budgets[sizeof plan->budgets.items / sizeof plan->budgets.items[0]];
    cli_eval_summarise(table, CLI_HALF_BOTH, &summary);
    for (size_t i = 0; i < n; i++) budgets[i] = plan->budgets.items[i];
    const cli_plot_series series[] = {
        {"spliced window", budgets, summary.means + first, NULL, n},
        {"plain window: the nearest chunks, one after another", budgets, summary.means + first + n, NULL, n},
    };
    char *note = cli_format("%zu questions; a relevant record is inside when its whole text is", summary.n);
    const cli_plot plot = {.title = "Context recall against the size of the window",
                           .note = note,
                           .x_title = "tokens in the window",
                           .y_title = "share of relevant records inside",
                           .log_x = true,
                           .zero_y = true,
                           .series = series,
                           .n_series = plan->baseline ? 2 : 1};
    write_plot(out, &plot);
    free(note);
}

/* "NAME=VALUE, NAME=VALUE" of all axes but the last; NULL when there is but one. */
static char *curve_name(const cli_sweep *sweep, const cli_sweep_point *point)
{
    cli_text name = {0};
    if (sweep->n_axes < 2) return NULL;
    for (size_t a = 0; a + 1 < sweep->n_axes; a++)
        cli_text_format(&name, "%s%s=%s", a ? ", " : "", sweep->axes[a].name, sweep->axes[a].values[point->at[a]]);
    return cli_text_take(&name);
}

void cli_plot_sweep(FILE *out, const cli_sweep *sweep)
{
    const cli_sweep_axis *along = &sweep->axes[sweep->n_axes - 1];
    size_t n = sweep->n_points, n_series = n / along->n;
    double *x = cli_alloc(2 * n + 1, sizeof *x), *y = x + n;
    cli_plot_series *series = cli_alloc(n_series + 1, sizeof *series);
    for (size_t p = 0; p < n; p++) {
        x[p] = sweep->points[p].summaries[CLI_HALF_BOTH].p50_ms;
        y[p] = sweep->points[p].summaries[CLI_HALF_BOTH].means[0];
    }
    for (size_t s = 0; s < n_series; s++)
        series[s] = (cli_plot_series){curve_name(sweep, &sweep->points[s * along->n]), x + s * along->n,
                                      y + s * along->n, (const char *const *)along->values, along->n};
    char *note = cli_format("%zu questions; each point is a value of %s", sweep->points[0].summaries[CLI_HALF_BOTH].n,
                            along->name);
    char *title = cli_format("%s against latency", sweep->columns.names[0]);
    const cli_plot plot = {.title = title,
                           .note = note,
                           .x_title = "median time of a question, ms",
                           .y_title = sweep->columns.names[0],
                           .series = series,
                           .n_series = n_series};
    write_plot(out, &plot);
    for (size_t s = 0; s < n_series; s++) free((char *)(uintptr_t)series[s].name);
    free(title);
    free(note);
    free(series);
    free(x);
}
