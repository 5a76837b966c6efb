/* timing.h -- what the drivers here share: reading a clock, and putting times in order. */
#ifndef MNEME_BENCH_TIMING_H
#define MNEME_BENCH_TIMING_H

#include <time.h>

/* which: CLOCK_MONOTONIC, or CLOCK_PROCESS_CPUTIME_ID. */
static inline double now_ms(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* For qsort, of doubles, ascending. */
static inline int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

#endif
