/* clock.c -- clocks, and the ISO 8601 forms that records use.
 *
 * The calendar arithmetic is the days-from-civil algorithm (proleptic Gregorian) of Howard Hinnant's "chrono-Compatible
 * Low-Level Date Algorithms". */
#include "common/clock.h"

#include <time.h>

int64_t mn_clock_system(void *context)
{
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

double mn_clock_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t mn_days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

void mn_civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    *month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

int mn_days_in_month(int64_t year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Exactly n digits at *text; advances. */
static bool digits(const char **text, int n, int *value)
{
    *value = 0;
    for (int i = 0; i < n; i++) {
        char c = (*text)[i];
        if (c < '0' || c > '9') return false;
        *value = *value * 10 + (c - '0');
    }
    *text += n;
    return true;
}

static bool literal(const char **text, char c)
{
    if (**text != c) return false;
    (*text)++;
    return true;
}

/* "Z", "+hh:mm", "+hhmm", "+hh" or nothing: minutes east of Greenwich. */
static bool parse_zone(const char **text, int *offset_minutes)
{
    *offset_minutes = 0;
    if (**text == '\0' || literal(text, 'Z') || literal(text, 'z')) return true;
    int sign = **text == '-' ? -1 : 1;
    if (!literal(text, '+') && !literal(text, '-')) return false;
    int hours, minutes = 0;
    if (!digits(text, 2, &hours)) return false;
    bool colon = literal(text, ':');
    if ((colon || **text != '\0') && !digits(text, 2, &minutes)) return false;
    *offset_minutes = sign * (hours * 60 + minutes);
    return hours <= 23 && minutes <= 59;
}

/* ".123456" or nothing; digits beyond milliseconds are dropped. */
static bool parse_fraction(const char **text, int *milliseconds)
{
    *milliseconds = 0;
    if (!literal(text, '.') && !literal(text, ',')) return true;
    int scale = 100, n = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++, n++) {
        *milliseconds += (**text - '0') * scale;
        scale /= 10;
    }
    return n > 0;
}

mneme_status mneme_time_parse(const char *text, int64_t *time_ms, mneme_error *error)
{
    const char *at = text;
    int year, month = 1, day = 1, hour = 0, minute = 0, second = 0, millisecond = 0, offset = 0;
    bool ok = digits(&at, 4, &year);
    if (ok && *at) ok = literal(&at, '-') && digits(&at, 2, &month);
    if (ok && *at) ok = literal(&at, '-') && digits(&at, 2, &day);
    if (ok && (*at == 'T' || *at == 't' || *at == ' ')) {
        at++;
        ok = digits(&at, 2, &hour) && literal(&at, ':') && digits(&at, 2, &minute);
        if (ok && literal(&at, ':')) ok = digits(&at, 2, &second) && parse_fraction(&at, &millisecond);
        ok = ok && parse_zone(&at, &offset);
    }
    ok = ok && *at == '\0' && month >= 1 && month <= 12 && day >= 1 && day <= mn_days_in_month(year, month) &&
         hour <= 23 && minute <= 59 && second <= 60;
    *time_ms = 0;
    if (!ok)
        return mn_fail(error, MNEME_ERR_SYNTAX,
                       "\"%.60s\" is not a time; write it as 2023-05-08 or 2023-05-08T13:56:00Z", text);
    int64_t seconds = ((mn_days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset) * 60 + second;
    *time_ms = seconds * 1000 + millisecond;
    return MNEME_OK;
}

void mneme_time_format(int64_t time_ms, char *buffer, size_t size)
{
    int64_t days = time_ms / 86400000;
    int64_t in_day = time_ms % 86400000;
    if (in_day < 0) {
        in_day += 86400000;
        days--;
    }
    int64_t year;
    int month, day;
    mn_civil_from_days(days, &year, &month, &day);
    int seconds = (int)(in_day / 1000), milliseconds = (int)(in_day % 1000);
    char fraction[8] = "";
    if (milliseconds) snprintf(fraction, sizeof fraction, ".%03d", milliseconds);
    snprintf(buffer, size, "%04lld-%02d-%02dT%02d:%02d:%02d%sZ", (long long)year, month, day, seconds / 3600,
             seconds / 60 % 60, seconds % 60, fraction);
}
