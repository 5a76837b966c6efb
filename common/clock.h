/* clock.h -- time of day, time that passes, and ISO 8601. Parsing and formatting are public: mneme_time_parse. */
#ifndef MN_COMMON_CLOCK_H
#define MN_COMMON_CLOCK_H

#include "common/error.h"

/* The system's time of day in milliseconds since 1970-01-01T00:00:00Z: the default mneme_clock (context unused). */
int64_t mn_clock_system(void *context);

/* Seconds that only move forward, for measuring. */
double mn_clock_monotonic(void);

#endif
