/* clock.h -- time of day, time that passes, and ISO 8601. Parsing and formatting are public: mneme_time_parse. */
#ifndef MN_COMMON_CLOCK_H
#define MN_COMMON_CLOCK_H

#include "common/error.h"

/* The system's time of day in milliseconds since 1970-01-01T00:00:00Z: the default mneme_clock (context unused). */
int64_t mn_clock_system(void *context);

/* Seconds that only move forward, for measuring. */
double mn_clock_monotonic(void);

/* The calendar: proleptic Gregorian, UTC. Days count from 1970-01-01 (0); months, and days of a month, from 1. */
int64_t mn_days_from_civil(int64_t year, int month, int day);
void mn_civil_from_days(int64_t days, int64_t *year, int *month, int *day);
int mn_days_in_month(int64_t year, int month);

#endif
