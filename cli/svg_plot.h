/* svg_plot.h -- a plot of points and curves as an SVG picture: text and shapes alone, in the viewer's sans-serif font.
 */
#ifndef MN_CLI_SVG_PLOT_H
#define MN_CLI_SVG_PLOT_H

#include "cli/text.h"

typedef struct cli_plot_series {
    const char *name; /* in the legend; NULL = not there */
    const double *x, *y;
    const char *const *labels; /* NULL, or one for each point, left out where it would cover another */
    size_t n;
} cli_plot_series;

typedef struct cli_plot {
    const char *title, *note; /* note: a line below the title; NULL = none */
    const char *x_title, *y_title;
    bool log_x;  /* every x is above 0; marks at the points' own places */
    bool zero_y; /* the y axis begins at 0 */
    const cli_plot_series *series;
    size_t n_series; /* with a point at least between them; all finite */
} cli_plot;

/* Append the picture, a whole SVG document. Text is escaped, and repaired where it is no UTF-8. */
void cli_plot_draw(const cli_plot *plot, cli_text *svg);

/* The distance of marks on an axis from low to high, about `wanted` of them: 1, 2 or 5 times a power of ten. */
double cli_plot_step(double low, double high, int wanted);

#endif
