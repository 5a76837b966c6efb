/* dates.h -- the days that a question names, and how near a memory's time is to them.
 *
 * Read in a question: ISO dates and months ("2023-05-08", "2023-05"); English dates ("8 May 2023", "May 8th", "August
 * 2023", "in May", "summer 2021", "2023"); days before or after one of these ("the week before August 3", "two weeks
 * after 8 May 2023"); and, where the question names no date, words relative to now ("yesterday", "last week", "last
 * May", "three days ago"). A date without a year means that day of any year. */
#ifndef MN_RETRIEVER_DATES_H
#define MN_RETRIEVER_DATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MN_DATES_MAX = 8 }; /* spans of a question; more are left out */

/* Days from <= day < until, counted from 1970-01-01 in UTC. */
typedef struct mn_date_span {
    int64_t from, until;
    bool yearly; /* those days of every year, not only of the one in which `from` lies (2000) */
} mn_date_span;

typedef struct mn_dates {
    mn_date_span spans[MN_DATES_MAX];
    size_t n;
} mn_dates;

/* now_ms: what "last week" is relative to. The text need not be UTF-8. */
void mn_dates_find(const char *text, size_t size, int64_t now_ms, mn_dates *out);

/* 1 inside a span; outside it falls to 0 over a time as long as the span, and at least a week: people tell today what
 * happened a few days ago. The nearest span counts. */
float mn_dates_nearness(const mn_dates *dates, int64_t time_ms);

#endif
