/* Days in questions. Expected days are counted by `date -d DAY +%s` / 86400, written here as dates. */
#include "retriever/dates.h"

#include <math.h>
#include <string.h>

#include "mneme.h"
#include "test_support.h"

static int64_t time_of(const char *text)
{
    int64_t ms = 0;
    assert_ok(mneme_time_parse(text, &ms, test_error()));
    return ms;
}

static int64_t day_of(const char *text)
{
    return time_of(text) / 86400000;
}

typedef struct example {
    const char *question;
    const char *from, *last; /* of the first span, both included; NULL: no span at all */
    bool yearly;
} example;

/* Asked on Wednesday, 2024-05-15. */
static void expect(const example *examples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const example *e = &examples[i];
        mn_dates dates;
        mn_dates_find(e->question, strlen(e->question), time_of("2024-05-15T13:00:00Z"), &dates);
        if (!e->from) {
            if (dates.n) fail_msg("\"%s\": %zu spans instead of none", e->question, dates.n);
            continue;
        }
        if (dates.n != 1) fail_msg("\"%s\": %zu spans instead of one", e->question, dates.n);
        const mn_date_span *span = &dates.spans[0];
        if (span->from != day_of(e->from) || span->until != day_of(e->last) + 1 || span->yearly != e->yearly)
            fail_msg("\"%s\": %lld days too late to %lld days too late", e->question,
                     (long long)(span->from - day_of(e->from)), (long long)(span->until - 1 - day_of(e->last)));
    }
}

static void dates_in_words_and_numbers_are_read(void **state)
{
    (void)state;
    const example examples[] = {
        {"What happened on 8 May 2023?", "2023-05-08", "2023-05-08", false},
        {"What happened on May 8, 2023?", "2023-05-08", "2023-05-08", false},
        {"on May 8th 2023", "2023-05-08", "2023-05-08", false},
        {"on the 8th of May 2023", "2023-05-08", "2023-05-08", false},
        {"the forest picture shared on December 1,2023", "2023-12-01", "2023-12-01", false},
        {"2023-05-08", "2023-05-08", "2023-05-08", false},
        {"what was said in 2023-02?", "2023-02-01", "2023-02-28", false},
        {"In May 2023, who came?", "2023-05-01", "2023-05-31", false},
        {"in Feb. 2024", "2024-02-01", "2024-02-29", false},
        {"in august of 2022", "2022-08-01", "2022-08-31", false},
        {"What did she do in 2023?", "2023-01-01", "2023-12-31", false},
        {"Where was she in summer 2021?", "2021-06-01", "2021-08-31", false},
        {"winter 2022", "2021-12-01", "2022-02-28", false},
        {"When they met on Aug 15th", "2000-08-15", "2000-08-15", true},
        {"Which spot did she visit in May?", "2000-05-01", "2000-05-31", true},
        {"the week before August 3, 2023", "2023-07-27", "2023-08-03", false},
        {"two weeks before 16 November 2023", "2023-11-02", "2023-11-16", false},
        {"three days after 2023-01-30", "2023-01-30", "2023-02-02", false},
    };
    expect(examples, sizeof examples / sizeof examples[0]);
}

static void words_relative_to_now_count_where_no_date_stands(void **state)
{
    (void)state;
    const example examples[] = {
        {"what did I say yesterday", "2024-05-14", "2024-05-14", false},
        {"What is planned for today?", "2024-05-15", "2024-05-15", false},
        {"what happened last week", "2024-05-06", "2024-05-12", false},
        {"last weekend", "2024-05-11", "2024-05-12", false},
        {"who called last Friday", "2024-05-10", "2024-05-10", false},
        {"last Wednesday", "2024-05-08", "2024-05-08", false},
        {"last month", "2024-04-01", "2024-04-30", false},
        {"Where did we go last May?", "2023-05-01", "2023-05-31", false},
        {"last April", "2024-04-01", "2024-04-30", false},
        {"last year", "2023-01-01", "2023-12-31", false},
        {"two days ago", "2024-05-13", "2024-05-13", false},
        {"this month", "2024-05-01", "2024-05-31", false},
        /* Told on 6 November: the date says which week it was. */
        {"What went wrong last week, as mentioned on November 6, 2023?", "2023-11-06", "2023-11-06", false},
    };
    expect(examples, sizeof examples / sizeof examples[0]);
}

static void words_that_are_no_dates_name_none(void **state)
{
    (void)state;
    const example examples[] = {
        {"", NULL, NULL, false},
        {"May I ask who may march?", NULL, NULL, false},
        {"April and Jan are friends", NULL, NULL, false},
        {"on 30 February the 8th, 12345", NULL, NULL, false},
        {"What costs 1800 or 2150 dollars, or 5 a day?", NULL, NULL, false},
        {"the day before", NULL, NULL, false},
        {"heat transfer in slip flow at mach 2", NULL, NULL, false},
    };
    expect(examples, sizeof examples / sizeof examples[0]);
}

static void many_dates_and_odd_bytes_are_held_to_the_limit(void **state)
{
    (void)state;
    mn_dates dates;
    char text[4096];
    size_t n = 0;
    for (int i = 0; i < 60; i++) n += (size_t)snprintf(text + n, sizeof text - n, "%d May 2023 ", i % 40);
    mn_dates_find(text, n, 0, &dates);
    assert_int_equal(dates.n, MN_DATES_MAX);
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 37 % 256);
    mn_dates_find(text, sizeof text, INT64_MIN / 2, &dates); /* nothing to see but that it ends */
    assert_true(dates.n <= MN_DATES_MAX);
}

static void expect_near(const mn_dates *dates, const char *time, double expected)
{
    double near = (double)mn_dates_nearness(dates, time_of(time));
    if (!(fabs(near - expected) < 1e-6)) fail_msg("%s: %f instead of %f", time, near, expected);
}

static void nearness_falls_over_a_week_or_the_spans_length(void **state)
{
    (void)state;
    mn_dates day = {.spans = {{day_of("2023-05-08"), day_of("2023-05-09"), false}}, .n = 1};
    expect_near(&day, "2023-05-08T00:00:00Z", 1);
    expect_near(&day, "2023-05-08T23:59:59Z", 1);
    expect_near(&day, "2023-05-09T00:00:00Z", 1 - 1.0 / 7);
    expect_near(&day, "2023-05-05T12:00:00Z", 1 - 3.0 / 7);
    expect_near(&day, "2023-05-15T00:00:00Z", 0);
    expect_near(&day, "2022-05-08T00:00:00Z", 0);
    mn_dates month = {.spans = {{day_of("2023-05-01"), day_of("2023-06-01"), false}}, .n = 1};
    expect_near(&month, "2023-05-31T00:00:00Z", 1);
    expect_near(&month, "2023-06-10T00:00:00Z", 1 - 10.0 / 31);
    mn_dates none = {.n = 0};
    expect_near(&none, "2023-05-08T00:00:00Z", 0);
}

static void nearness_without_a_year_is_to_the_day_of_any_year(void **state)
{
    (void)state;
    mn_dates dates = {.spans = {{day_of("2000-12-30"), day_of("2000-12-31"), true}}, .n = 1};
    expect_near(&dates, "2023-12-30T10:00:00Z", 1);
    expect_near(&dates, "2024-01-01T10:00:00Z", 1 - 2.0 / 7);
    expect_near(&dates, "1969-12-29T10:00:00Z", 1 - 1.0 / 7);
    mn_dates leap = {.spans = {{day_of("2000-02-29"), day_of("2000-03-01"), true}}, .n = 1};
    expect_near(&leap, "2024-02-29T10:00:00Z", 1);
    expect_near(&leap, "2023-02-28T10:00:00Z", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_in_words_and_numbers_are_read),
        cmocka_unit_test(words_relative_to_now_count_where_no_date_stands),
        cmocka_unit_test(words_that_are_no_dates_name_none),
        cmocka_unit_test(many_dates_and_odd_bytes_are_held_to_the_limit),
        cmocka_unit_test(nearness_falls_over_a_week_or_the_spans_length),
        cmocka_unit_test(nearness_without_a_year_is_to_the_day_of_any_year),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
