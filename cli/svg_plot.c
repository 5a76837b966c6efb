/* svg_plot.c -- a plot as an SVG picture.
 *
 *      24  title                                  y in pixels grows downwards
 *      44  note
 *      64  legend
 *      86  +-----------------------------+  top, lower with more rows of legend
 *          |                             |
 *     374  +-----------------------------+  bottom
 *          LEFT                          RIGHT
 */
#include "cli/svg_plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH  720
#define HEIGHT 430 /* with one row of legend */
#define LEFT   70.0
#define RIGHT  700.0
#define PLOT   288.0 /* height of the plot itself */
#define ROW    18.0  /* of the legend */
#define GREY   "#6a737d"
/* About the width of a character of 11 px text, for labels that are not to meet. */
#define CHARACTER 6.2

static const char *const colours[] = {"#1b6ca8", "#c8553d", "#5f8f3e", "#8a5fb0", "#b8860b", "#3c444c"};
#define N_COLOURS (sizeof colours / sizeof colours[0])

typedef struct box {
    double left, top, right, bottom;
} box;

typedef struct drawing {
    const cli_plot *plot;
    cli_text *svg;
    double top, bottom;                  /* of the plot */
    double low_x, high_x, low_y, high_y; /* of the axes; x as log2 with log_x */
    box *boxes;                          /* where no label may go any more */
    size_t n_boxes;
} drawing;

/* ---- axes ---- */

double cli_plot_step(double low, double high, int wanted)
{
    double raw = (high - low) / wanted, power = pow(10, floor(log10(raw))), share = raw / power;
    return power * (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10);
}

static double across(const drawing *d, double x)
{
    double at = d->plot->log_x ? log2(x) : x;
    return LEFT + (RIGHT - LEFT) * (at - d->low_x) / (d->high_x - d->low_x);
}

static double up(const drawing *d, double y)
{
    return d->bottom - PLOT * (y - d->low_y) / (d->high_y - d->low_y);
}

/* Make room around what there is, and end at marks. */
static void widen(double *low, double *high, bool to_marks)
{
    double size = *high - *low;
    if (size <= 0) size = fabs(*high) > 0 ? fabs(*high) * 0.2 : 1;
    *low -= size * 0.06;
    *high += size * 0.06;
    if (!to_marks) return;
    double step = cli_plot_step(*low, *high, 5);
    *low = floor(*low / step) * step;
    *high = ceil(*high / step) * step;
}

static void find_range(drawing *d)
{
    const cli_plot *plot = d->plot;
    bool share = true; /* all y in [0,1]: so are the marks */
    d->low_x = d->low_y = INFINITY;
    d->high_x = d->high_y = -INFINITY;
    for (size_t s = 0; s < plot->n_series; s++) {
        for (size_t i = 0; i < plot->series[s].n; i++) {
            double x = plot->log_x ? log2(plot->series[s].x[i]) : plot->series[s].x[i], y = plot->series[s].y[i];
            d->low_x = fmin(d->low_x, x);
            d->high_x = fmax(d->high_x, x);
            d->low_y = fmin(d->low_y, y);
            d->high_y = fmax(d->high_y, y);
            share = share && y >= 0 && y <= 1;
        }
    }
    widen(&d->low_x, &d->high_x, !plot->log_x);
    if (!plot->log_x && d->low_x < 0) d->low_x = 0;
    if (plot->zero_y) d->low_y = 0;
    widen(&d->low_y, &d->high_y, true);
    if (plot->zero_y || (share && d->low_y < 0)) d->low_y = 0;
    if (share && d->high_y > 1) d->high_y = 1;
}

/* ---- text ---- */

static void add_escaped(cli_text *svg, const char *text)
{
    cli_text repaired = {0};
    cli_text_repaired(&repaired, text, strlen(text));
    for (size_t i = 0; i < repaired.size; i++) {
        char c = repaired.data[i];
        if (c == '&')
            cli_text_string(svg, "&amp;");
        else if (c == '<')
            cli_text_string(svg, "&lt;");
        else if (c == '>')
            cli_text_string(svg, "&gt;");
        else if ((unsigned char)c >= 0x20 || c == '\t')
            cli_text_byte(svg, c);
    }
    cli_text_free(&repaired);
}

/* attributes: what follows x and y in the element. */
static void add_text(cli_text *svg, double x, double y, const char *attributes, const char *text)
{
    cli_text_format(svg, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, attributes);
    add_escaped(svg, text);
    cli_text_string(svg, "</text>\n");
}

static void add_line(cli_text *svg, double x1, double y1, double x2, double y2, const char *colour)
{
    cli_text_format(svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2,
                    colour);
}

/* ---- parts ---- */

static void mark_x(drawing *d, double value, double *last)
{
    char text[40];
    double x = across(d, value);
    if (x - *last < 44 || x < LEFT - 0.5 || x > RIGHT + 0.5) return;
    snprintf(text, sizeof text, "%.6g", value);
    add_line(d->svg, x, d->bottom, x, d->bottom + 5, GREY);
    add_text(d->svg, x, d->bottom + 19, " text-anchor=\"middle\" fill=\"" GREY "\"", text);
    *last = x;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void draw_x_axis(drawing *d)
{
    const cli_plot *plot = d->plot;
    double last = -INFINITY;
    if (plot->log_x) {
        size_t n = 0;
        for (size_t s = 0; s < plot->n_series; s++) n += plot->series[s].n;
        double *places = cli_alloc(n + 1, sizeof *places);
        n = 0;
        for (size_t s = 0; s < plot->n_series; s++)
            for (size_t i = 0; i < plot->series[s].n; i++) places[n++] = plot->series[s].x[i];
        if (n) qsort(places, n, sizeof *places, by_value);
        for (size_t i = 0; i < n; i++) mark_x(d, places[i], &last);
        free(places);
    } else {
        double step = cli_plot_step(d->low_x, d->high_x, 6);
        for (double at = ceil(d->low_x / step - 1e-9); at * step <= d->high_x + step * 1e-9; at++)
            mark_x(d, at * step, &last);
    }
    add_line(d->svg, LEFT, d->bottom, RIGHT, d->bottom, GREY);
    add_text(d->svg, (LEFT + RIGHT) / 2, d->bottom + 42, " text-anchor=\"middle\"", plot->x_title);
}

static void draw_y_axis(drawing *d)
{
    double step = cli_plot_step(d->low_y, d->high_y, 5);
    for (double at = ceil(d->low_y / step - 1e-9); at * step <= d->high_y + step * 1e-9; at++) {
        char text[40];
        double y = up(d, at * step);
        snprintf(text, sizeof text, "%.6g", fabs(at) < 1e-9 ? 0.0 : at * step);
        add_line(d->svg, LEFT, y, RIGHT, y, "#e4e7ea");
        add_text(d->svg, LEFT - 8, y + 4, " text-anchor=\"end\" fill=\"" GREY "\"", text);
    }
    cli_text_format(d->svg, "<g transform=\"rotate(-90 18 %.1f)\">", (d->top + d->bottom) / 2);
    add_text(d->svg, 18, (d->top + d->bottom) / 2, " text-anchor=\"middle\"", d->plot->y_title);
    cli_text_string(d->svg, "</g>\n");
}

/* Where the s-th name of the legend goes: *x, and its row. Call for s = 0, 1, ... with the same *x and *row. */
static bool next_name(const cli_plot *plot, size_t s, double *x, size_t *row)
{
    const char *name = plot->series[s].name, *before = s ? plot->series[s - 1].name : NULL;
    if (before) *x += 44 + CHARACTER * 12 / 11 * (double)strlen(before);
    if (name && *x > LEFT && *x + 24 + CHARACTER * 12 / 11 * (double)strlen(name) > RIGHT) {
        *x = LEFT;
        (*row)++;
    }
    return name != NULL;
}

static size_t legend_rows(const cli_plot *plot)
{
    double x = LEFT;
    size_t row = 0;
    for (size_t s = 0; s < plot->n_series; s++) next_name(plot, s, &x, &row);
    return row + 1;
}

/* More curves than colours: the next ones are dashed. */
static const char *dashes(size_t s)
{
    return s / N_COLOURS % 2 ? " stroke-dasharray=\"6 4\"" : "";
}

static void draw_legend(const drawing *d)
{
    double x = LEFT;
    size_t row = 0;
    for (size_t s = 0; s < d->plot->n_series; s++) {
        if (!next_name(d->plot, s, &x, &row)) continue;
        double y = 62 + ROW * (double)row;
        cli_text_format(d->svg,
                        "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"3\"%s/>\n",
                        x, y, x + 18, y, colours[s % N_COLOURS], dashes(s));
        add_text(d->svg, x + 24, y + 4, "", d->plot->series[s].name);
    }
}

static void draw_curve(drawing *d, size_t s)
{
    const cli_plot_series *series = &d->plot->series[s];
    const char *colour = colours[s % N_COLOURS];
    cli_text_format(d->svg, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s points=\"", colour, dashes(s));
    for (size_t i = 0; i < series->n; i++)
        cli_text_format(d->svg, "%s%.1f,%.1f", i ? " " : "", across(d, series->x[i]), up(d, series->y[i]));
    cli_text_string(d->svg, "\"/>\n");
    for (size_t i = 0; i < series->n; i++) {
        double x = across(d, series->x[i]), y = up(d, series->y[i]);
        cli_text_format(d->svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x, y, colour);
        d->boxes[d->n_boxes++] = (box){x - 4, y - 4, x + 4, y + 4};
    }
}

static bool is_free(const drawing *d, const box *wanted)
{
    if (wanted->left < LEFT || wanted->right > RIGHT || wanted->top < d->top - 14 || wanted->bottom > d->bottom)
        return false;
    for (size_t i = 0; i < d->n_boxes; i++) {
        const box *taken = &d->boxes[i];
        if (wanted->left < taken->right && wanted->right > taken->left && wanted->top < taken->bottom &&
            wanted->bottom > taken->top)
            return false;
    }
    return true;
}

/* Above the point, below it, right of it or left of it, wherever there is room. */
static void draw_label(drawing *d, double x, double y, const char *label)
{
    double width = CHARACTER * (double)strlen(label);
    const box places[] = {{x - width / 2, y - 20, x + width / 2, y - 7},
                          {x - width / 2, y + 7, x + width / 2, y + 20},
                          {x + 8, y - 7, x + 8 + width, y + 6},
                          {x - 8 - width, y - 7, x - 8, y + 6}};
    for (size_t i = 0; i < 4; i++) {
        if (!is_free(d, &places[i])) continue;
        add_text(d->svg, (places[i].left + places[i].right) / 2, places[i].bottom - 3,
                 " text-anchor=\"middle\" font-size=\"11\"", label);
        d->boxes[d->n_boxes++] = places[i];
        return;
    }
}

static void draw_labels(drawing *d)
{
    for (size_t s = 0; s < d->plot->n_series; s++) {
        const cli_plot_series *series = &d->plot->series[s];
        for (size_t i = 0; series->labels && i < series->n; i++)
            draw_label(d, across(d, series->x[i]), up(d, series->y[i]), series->labels[i]);
    }
}

void cli_plot_draw(const cli_plot *plot, cli_text *svg)
{
    drawing d = {.plot = plot, .svg = svg};
    size_t n = 0;
    for (size_t s = 0; s < plot->n_series; s++) n += plot->series[s].n;
    d.boxes = cli_alloc(2 * n + 1, sizeof *d.boxes);
    double extra = ROW * (double)(legend_rows(plot) - 1), height = HEIGHT + extra;
    d.top = 86 + extra;
    d.bottom = d.top + PLOT;
    find_range(&d);
    cli_text_format(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"%d\" height=\"%.0f\" fill=\"#ffffff\"/>\n",
        WIDTH, height, WIDTH, height, WIDTH, height);
    add_text(svg, 12, 24, " font-size=\"16\" font-weight=\"bold\"", plot->title);
    if (plot->note) add_text(svg, 12, 44, " font-size=\"11\" fill=\"" GREY "\"", plot->note);
    draw_legend(&d);
    draw_y_axis(&d);
    draw_x_axis(&d);
    for (size_t s = 0; s < plot->n_series; s++) draw_curve(&d, s);
    draw_labels(&d);
    cli_text_string(svg, "</svg>\n");
    free(d.boxes);
}
