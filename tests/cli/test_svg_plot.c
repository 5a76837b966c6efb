/* test_svg_plot.c -- points land where their numbers say, marks are round, and no text breaks the picture. */
#include "test_support.h"

#include "cli/svg_plot.h"

#include <math.h>

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) n++;
    return n;
}

static void holds(const cli_text *svg, const char *part)
{
    if (!strstr(svg->data, part)) fail_msg("the picture lacks %s", part);
}

static void points_land_where_their_numbers_say(void **state)
{
    (void)state;
    /* x: 1..3 with 6 % of room is 0.88..3.12, in steps of 0.5: the axis is 0.5..3.5. y is a share: the axis is 0..1. So
     * the points are 1/6 and 5/6 of the 630 pixels from 70, at the bottom (374) and the top (86). */
    const double x[] = {1, 3}, y[] = {0, 1};
    const cli_plot_series series = {"one", x, y, NULL, 2};
    const cli_plot plot = {"title", "note", "across", "up", false, false, &series, 1};
    cli_text svg = {0};
    cli_plot_draw(&plot, &svg);
    holds(&svg, "<circle cx=\"175.0\" cy=\"374.0\"");
    holds(&svg, "<circle cx=\"595.0\" cy=\"86.0\"");
    holds(&svg, "points=\"175.0,374.0 595.0,86.0\"");
    holds(&svg, ">0.5</text>");
    holds(&svg, ">3.5</text>");
    holds(&svg, ">1</text>");
    assert_null(strstr(svg.data, ">1.2</text>"));
    cli_text_free(&svg);
}

static void a_logarithmic_axis_is_marked_at_its_points(void **state)
{
    (void)state;
    const double x[] = {128, 256, 512, 1024}, y[] = {0.1, 0.2, 0.3, 0.4};
    const cli_plot_series series = {NULL, x, y, NULL, 4};
    const cli_plot plot = {"t", NULL, "x", "y", true, true, &series, 1};
    cli_text svg = {0};
    cli_plot_draw(&plot, &svg);
    holds(&svg, ">128</text>");
    holds(&svg, ">1024</text>");
    /* log2: 7..10 with 6 % of 3 at each side, so the ends are 0.18 / 3.36 of 630 pixels inside, and all are equally
     * far. */
    holds(&svg, "cx=\"103.");
    holds(&svg, "cx=\"291.");
    holds(&svg, "cx=\"478.");
    holds(&svg, "cx=\"666.");
    cli_text_free(&svg);
}

static void text_cannot_break_the_picture(void **state)
{
    (void)state;
    const double x[] = {1, 1}, y[] = {2, 2};
    const char *const labels[] = {"</text><script>", "\"'&\001\xff"};
    const cli_plot_series series = {"<b>&", x, y, labels, 2};
    const cli_plot plot = {"a < b & c > \"d\"", "\xc3", "<", ">", false, false, &series, 1};
    cli_text svg = {0};
    cli_plot_draw(&plot, &svg);
    assert_true(cli_utf8_valid(svg.data, svg.size));
    assert_null(strstr(svg.data, "<script"));
    assert_null(strstr(svg.data, "\001"));
    assert_null(strstr(svg.data, "nan"));
    assert_null(strstr(svg.data, "inf"));
    holds(&svg, "a &lt; b &amp; c &gt; \"d\"</text>");
    assert_int_equal(count(svg.data, "<text"), count(svg.data, "</text>"));
    cli_text_free(&svg);
}

static void labels_and_curves_of_many_stay_apart(void **state)
{
    (void)state;
    double x[40], y[40];
    const char *labels[40];
    cli_plot_series series[20];
    for (size_t i = 0; i < 40; i++) {
        x[i] = 5;
        y[i] = 0.5;
        labels[i] = "label";
    }
    for (size_t s = 0; s < 20; s++)
        series[s] = (cli_plot_series){"a curve with a long name", x + 2 * s, y + 2 * s, labels, 2};
    const cli_plot plot = {"t", NULL, "x", "y", false, false, series, 20};
    cli_text svg = {0};
    cli_plot_draw(&plot, &svg);
    assert_int_equal(count(svg.data, "<circle"), 40);
    assert_in_range(count(svg.data, ">label</text>"), 1, 4); /* one place: above, below, right and left of it */
    assert_int_equal(count(svg.data, ">a curve with a long name</text>"), 20);
    holds(&svg, "stroke-dasharray");
    assert_null(strstr(svg.data, "height=\"430\"")); /* more rows of legend need more room */
    cli_text_free(&svg);
}

static void steps_are_one_two_or_five(void **state)
{
    (void)state;
    const struct {
        double low, high, step;
    } cases[] = {{0, 1, 0.2},  {0, 5, 1},   {0, 10, 2},  {0.41, 0.44, 0.005},
                 {0, 100, 20}, {-3, 30, 5}, {0, 47, 10}, {1e6, 3e6, 5e5}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double step = cli_plot_step(cases[i].low, cases[i].high, 5);
        if (fabs(step - cases[i].step) > 1e-9 * cases[i].step)
            fail_msg("%g..%g: %g", cases[i].low, cases[i].high, step);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_land_where_their_numbers_say),
        cmocka_unit_test(a_logarithmic_axis_is_marked_at_its_points),
        cmocka_unit_test(text_cannot_break_the_picture),
        cmocka_unit_test(labels_and_curves_of_many_stay_apart),
        cmocka_unit_test(steps_are_one_two_or_five),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
