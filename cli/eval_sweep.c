/* eval_sweep.c -- a grid of settings, and what comes out at each of its points. */
#include "cli/eval_sweep.h"

#include "cli/output.h"
#include "cli/store_option.h"

#include <stdlib.h>
#include <string.h>

/* ---- the grid ---- */

static char *add_axis(cli_sweep *sweep, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) return cli_format("\"%s\" is not NAME=VALUE,VALUE,...", text);
    if (sweep->n_axes == CLI_SWEEP_AXES) return cli_format("at most %d settings at once", CLI_SWEEP_AXES);
    cli_sweep_axis *axis = &sweep->axes[sweep->n_axes++];
    axis->name = cli_strndup(text, (size_t)(equals - text));
    for (size_t i = 0; i + 1 < sweep->n_axes; i++)
        if (strcmp(sweep->axes[i].name, axis->name) == 0) return cli_format("%s is there twice", axis->name);
    for (const char *at = equals + 1; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t size = strcspn(at, ",");
        if (size == 0) return cli_format("%s: a value is empty", axis->name);
        if (axis->n == CLI_SWEEP_VALUES) return cli_format("%s: at most %d values", axis->name, CLI_SWEEP_VALUES);
        axis->values[axis->n++] = cli_strndup(at, size);
    }
    return NULL;
}

char *cli_sweep_parse(const cli_list *given, cli_sweep *out)
{
    char *wrong = NULL;
    out->n_points = 1;
    for (size_t i = 0; i < given->n && !wrong; i++) {
        wrong = add_axis(out, given->items[i]);
        out->n_points *= out->axes[out->n_axes ? out->n_axes - 1 : 0].n;
        if (!wrong && out->n_points > CLI_SWEEP_POINTS)
            wrong = cli_format("more than %d combinations", CLI_SWEEP_POINTS);
    }
    if (wrong) return wrong;
    out->points = cli_alloc(out->n_points + 1, sizeof *out->points);
    memset(out->points, 0, out->n_points * sizeof *out->points);
    for (size_t p = 0; p < out->n_points; p++)
        for (size_t a = out->n_axes, rest = p; a-- > 0; rest /= out->axes[a].n)
            out->points[p].at[a] = rest % out->axes[a].n;
    return NULL;
}

void cli_sweep_free(cli_sweep *sweep)
{
    for (size_t a = 0; a < sweep->n_axes; a++) {
        for (size_t v = 0; v < sweep->axes[a].n; v++) free(sweep->axes[a].values[v]);
        free(sweep->axes[a].name);
    }
    free(sweep->points);
    cli_eval_table_free(&sweep->columns);
    *sweep = (cli_sweep){0};
}

static const char *value_of(const cli_sweep *sweep, const cli_sweep_point *point, size_t axis)
{
    return sweep->axes[axis].values[point->at[axis]];
}

/* ---- asking ---- */

/* The settings in force at a point; *out is owned (mneme_settings_free). */
static int settings_at(const cli_global *global, const cli_sweep *sweep, size_t p, mneme_settings **out)
{
    cli_global there = *global;
    char *pairs[CLI_SWEEP_AXES] = {NULL};
    there.set = (cli_list){0};
    for (size_t i = 0; i < global->set.n; i++) cli_list_add(&there.set, global->set.items[i]);
    for (size_t a = 0; a < sweep->n_axes; a++) {
        pairs[a] = cli_format("%s=%s", sweep->axes[a].name, value_of(sweep, &sweep->points[p], a));
        cli_list_add(&there.set, pairs[a]);
    }
    int code = cli_open_settings(&there, out);
    for (size_t a = 0; a < sweep->n_axes; a++) free(pairs[a]);
    cli_list_free(&there.set);
    return code;
}

static int ask_at(const cli_global *global, cli_eval_plan *plan, cli_sweep *sweep, size_t p)
{
    mneme_settings *settings = NULL;
    mneme *memory = NULL;
    cli_eval_table table = {0};
    int code = settings_at(global, sweep, p, &settings);
    if (code == CLI_GO_ON) code = cli_open_store_with(global, settings, MNEME_OPEN_READ_ONLY, &memory);
    if (code == CLI_GO_ON) code = cli_eval_ask(memory, plan, &table);
    for (int half = CLI_HALF_TUNE; half <= CLI_HALF_BOTH && code == CLI_GO_ON; half++)
        cli_eval_summarise(&table, (cli_half)half, &sweep->points[p].summaries[half]);
    if (p == 0)
        sweep->columns = table;
    else
        cli_eval_table_free(&table);
    mneme_close(memory);
    mneme_settings_free(settings);
    return code;
}

int cli_sweep_run(const cli_global *global, cli_eval_plan *plan, cli_sweep *sweep)
{
    int code = CLI_GO_ON;
    for (size_t p = 0; p < sweep->n_points && code == CLI_GO_ON; p++) {
        mneme_settings *settings = NULL;
        code = settings_at(global, sweep, p, &settings);
        mneme_settings_free(settings);
    }
    for (size_t p = 0; p < sweep->n_points && code == CLI_GO_ON; p++) code = ask_at(global, plan, sweep, p);
    return code;
}

size_t cli_sweep_best(const cli_sweep *sweep, bool halves)
{
    size_t best = 0;
    cli_half half = halves ? CLI_HALF_TUNE : CLI_HALF_BOTH;
    for (size_t p = 1; p < sweep->n_points; p++)
        if (sweep->points[p].summaries[half].means[0] > sweep->points[best].summaries[half].means[0]) best = p;
    return best;
}

/* ---- output ---- */

static json_t *settings_json(const cli_sweep *sweep, const cli_sweep_point *point)
{
    json_t *object = json_object();
    for (size_t a = 0; a < sweep->n_axes; a++) cli_json_put(object, sweep->axes[a].name, value_of(sweep, point, a));
    return object;
}

static void print_json(const cli_sweep *sweep, bool halves)
{
    json_t *object = json_object(), *list = json_array(), *best = json_object();
    const cli_sweep_point *winner = &sweep->points[cli_sweep_best(sweep, halves)];
    for (size_t p = 0; p < sweep->n_points; p++) {
        const cli_sweep_point *point = &sweep->points[p];
        json_t *one = json_object();
        json_object_set_new(one, "settings", settings_json(sweep, point));
        json_object_update_new(one, cli_eval_summaries_json(&sweep->columns, point->summaries, halves));
        json_array_append_new(list, one);
    }
    cli_json_put(best, "measure", sweep->columns.names[0]);
    json_object_set_new(best, "settings", settings_json(sweep, winner));
    json_object_set_new(best, halves ? "tune" : "all",
                        cli_json_float((float)winner->summaries[halves ? CLI_HALF_TUNE : CLI_HALF_BOTH].means[0]));
    if (halves)
        json_object_set_new(best, "held_out", cli_json_float((float)winner->summaries[CLI_HALF_HELD_OUT].means[0]));
    json_object_set_new(object, "sweep", list);
    json_object_set_new(object, "best", best);
    cli_print_json(object);
}

static int width_of(const char *text, int least)
{
    int width = (int)strlen(text);
    return width > least ? width : least;
}

static int axis_width(const cli_sweep_axis *axis)
{
    int width = width_of(axis->name, 0);
    for (size_t v = 0; v < axis->n; v++) width = width_of(axis->values[v], width);
    return width;
}

static void print_table(const cli_sweep *sweep, cli_half half)
{
    static const char *const titles[] = {"the half to tune on", "the half held out", "all"};
    const cli_eval_table *columns = &sweep->columns;
    cli_print("%s: %zu questions\n", titles[half], sweep->points[0].summaries[half].n);
    for (size_t a = 0; a < sweep->n_axes; a++) cli_print("%-*s  ", axis_width(&sweep->axes[a]), sweep->axes[a].name);
    for (size_t c = 0; c < columns->n_columns; c++)
        cli_print("%*s  ", width_of(columns->names[c], 7), columns->names[c]);
    cli_print("%8s %8s\n", "p50_ms", "p99_ms");
    for (size_t p = 0; p < sweep->n_points; p++) {
        const cli_eval_summary *summary = &sweep->points[p].summaries[half];
        for (size_t a = 0; a < sweep->n_axes; a++)
            cli_print("%-*s  ", axis_width(&sweep->axes[a]), value_of(sweep, &sweep->points[p], a));
        for (size_t c = 0; c < columns->n_columns; c++)
            cli_print("%*.4f  ", width_of(columns->names[c], 7), summary->means[c]);
        cli_print("%8.2f %8.2f\n", summary->p50_ms, summary->p99_ms);
    }
    cli_print("\n");
}

void cli_sweep_print(const cli_sweep *sweep, bool halves, bool json)
{
    if (json) {
        print_json(sweep, halves);
        return;
    }
    const cli_sweep_point *best = &sweep->points[cli_sweep_best(sweep, halves)];
    print_table(sweep, CLI_HALF_BOTH);
    if (halves) print_table(sweep, CLI_HALF_TUNE);
    if (halves) print_table(sweep, CLI_HALF_HELD_OUT);
    cli_print("best %s%s:", sweep->columns.names[0], halves ? " on the half to tune on" : "");
    for (size_t a = 0; a < sweep->n_axes; a++) cli_print(" %s=%s", sweep->axes[a].name, value_of(sweep, best, a));
    cli_print(", %.4f", best->summaries[halves ? CLI_HALF_TUNE : CLI_HALF_BOTH].means[0]);
    if (halves) cli_print("; on the half held out %.4f", best->summaries[CLI_HALF_HELD_OUT].means[0]);
    cli_print("\n");
}
