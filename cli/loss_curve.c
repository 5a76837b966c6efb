/* loss_curve.c -- see loss_curve.h. */
#include "cli/loss_curve.h"

#include "cli/path.h"
#include "cli/svg_plot.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS_MOST = 120 /* of a curve in a picture */, LABEL = 7 /* columns of the axis */ };

/* ---- reading --------------------------------------------------------------------------------------------------- */

static void add(double **steps, double **losses, size_t *n, size_t *capacity, double step, double loss)
{
    if (*n == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 256;
        *steps = cli_realloc(*steps, *capacity, sizeof **steps);
        *losses = cli_realloc(*losses, *capacity, sizeof **losses);
    }
    (*steps)[*n] = step;
    (*losses)[(*n)++] = loss;
}

static void read_line(cli_losses *l, const char *line, size_t size)
{
    json_t *object = json_loadb(line, size, 0, NULL);
    const json_t *step = json_object_get(object, "step"), *loss = json_object_get(object, "loss"),
                 *held_out = json_object_get(object, "validation_loss");
    double at = json_number_value(step);
    if (step && json_is_number(loss)) add(&l->steps, &l->losses, &l->n, &l->capacity, at, json_number_value(loss));
    if (step && json_is_number(held_out))
        add(&l->held_out_steps, &l->held_out, &l->n_held_out, &l->held_out_capacity, at, json_number_value(held_out));
    json_decref(object);
}

void cli_losses_read(cli_losses *losses, const char *folder)
{
    char *path = cli_path_join(folder, "log.jsonl"), *line = NULL;
    FILE *file = fopen(path, "re");
    size_t capacity = 0;
    for (ssize_t size; file && (size = getline(&line, &capacity, file)) > 0;) read_line(losses, line, (size_t)size);
    if (file) fclose(file);
    free(line);
    free(path);
}

void cli_losses_free(cli_losses *losses)
{
    free(losses->steps);
    free(losses->losses);
    free(losses->held_out_steps);
    free(losses->held_out);
    *losses = (cli_losses){0};
}

/* The mean loss of the i-th of `parts` equal parts of the run; and its mean step. */
static double part_mean(const cli_losses *l, size_t i, size_t parts, double *step)
{
    size_t from = i * l->n / parts, to = (i + 1) * l->n / parts;
    double sum = 0, steps = 0;
    if (to <= from) to = from + 1;
    for (size_t j = from; j < to; j++) {
        sum += l->losses[j];
        steps += l->steps[j];
    }
    *step = steps / (double)(to - from);
    return sum / (double)(to - from);
}

/* ---- the terminal ---------------------------------------------------------------------------------------------- */

void cli_losses_draw(const cli_losses *losses, unsigned width, unsigned height, cli_text *out)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    if (losses->n == 0 || width < LABEL + 8 || height < 1) return;
    size_t columns = width - LABEL - 1;
    if (columns > losses->n) columns = losses->n;
    double *means = cli_alloc(columns, sizeof *means), step, low = 0, high = 0;
    for (size_t c = 0; c < columns; c++) {
        means[c] = part_mean(losses, c, columns, &step);
        if (c == 0 || means[c] < low) low = means[c];
        if (c == 0 || means[c] > high) high = means[c];
    }
    double range = high > low ? high - low : 1;
    for (unsigned row = height; row-- > 0;) {
        if (row + 1 == height)
            cli_text_format(out, "%*.3f ", LABEL, high);
        else if (row == 0)
            cli_text_format(out, "%*.3f ", LABEL, low);
        else
            cli_text_format(out, "%*s ", LABEL, "");
        for (size_t c = 0; c < columns; c++) { /* eighths of a line; the lowest loss still shows one */
            double eighths = 1 + (means[c] - low) / range * (8.0 * height - 1) - 8.0 * row;
            cli_text_string(out, blocks[eighths <= 0 ? 0 : eighths >= 8 ? 8 : (int)eighths]);
        }
        cli_text_byte(out, '\n');
    }
    char first[32], last[32];
    snprintf(first, sizeof first, "%.0f", losses->steps[0]);
    snprintf(last, sizeof last, "%.0f", losses->steps[losses->n - 1]);
    size_t gap = strlen(first) + strlen(last) < columns ? columns - strlen(first) - strlen(last) : 1;
    cli_text_format(out, "%*s %s%*s%s step\n", LABEL, "loss", first, (int)gap, "", last);
    free(means);
}

/* ---- the picture ----------------------------------------------------------------------------------------------- */

bool cli_losses_plot(const cli_losses *losses, const char *folder)
{
    if (losses->n == 0) return true;
    size_t n = losses->n < POINTS_MOST ? losses->n : POINTS_MOST;
    double *x = cli_alloc(2 * n, sizeof *x), *y = x + n;
    for (size_t i = 0; i < n; i++) y[i] = part_mean(losses, i, n, &x[i]);
    const cli_plot_series series[] = {{"training", x, y, NULL, n},
                                      {"held out", losses->held_out_steps, losses->held_out, NULL, losses->n_held_out}};
    const cli_plot plot = {.title = "Loss",
                           .x_title = "step",
                           .y_title = "nats per character",
                           .series = series,
                           .n_series = losses->n_held_out ? 2 : 1};
    cli_text svg = {0};
    cli_plot_draw(&plot, &svg);
    char *path = cli_path_join(folder, "loss.svg");
    FILE *file = fopen(path, "we");
    bool fine = file && fwrite(svg.data, 1, svg.size, file) == svg.size;
    if (file && fclose(file) != 0) fine = false;
    cli_text_free(&svg);
    free(path);
    free(x);
    return fine;
}
