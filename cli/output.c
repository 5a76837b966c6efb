/* output.c -- data on stdout, words on stderr, colour and bars on a terminal only. */
#include "cli/output.h"

#include "cli/stop.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

static struct {
    bool quiet, colored, terminal;
    bool bar_shown;  /* a progress bar is on the last line of stderr */
    int write_error; /* errno of the first failed write to stdout; 0 = none */
} state;

/* ---- exit codes ---- */

int cli_exit_code(mneme_status status)
{
    switch (status) {
    case MNEME_OK: return CLI_EXIT_DONE;
    case MNEME_ERR_NOT_FOUND: return CLI_EXIT_NO;
    case MNEME_ERR_USAGE:
    case MNEME_ERR_SETTING:
    case MNEME_ERR_SYNTAX:
    case MNEME_ERR_MODEL:
    case MNEME_ERR_ENCODER: return CLI_EXIT_USAGE;
    case MNEME_ERR_DIMENSION:
    case MNEME_ERR_TOO_LARGE:
    case MNEME_ERR_RECORD: return CLI_EXIT_REFUSED;
    case MNEME_ERR_CANCELLED: return cli_stop_asked() ? cli_stop_code() : CLI_EXIT_FAILURE;
    default: return CLI_EXIT_FAILURE;
    }
}

int cli_failed(const mneme_error *error)
{
    cli_complain("%s", error->message[0] ? error->message : mneme_status_text(error->code));
    return cli_exit_code(error->code);
}

/* ---- start and end ---- */

static bool color_by_itself(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (no_color && *no_color) return false;
    return state.terminal && term && strcmp(term, "dumb") != 0;
}

static void *json_alloc(size_t size)
{
    return cli_alloc(size, 1);
}

void cli_output_begin(void)
{
    json_set_alloc_funcs(json_alloc, free); /* so that no JSON call can fail for want of memory */
    setlocale(LC_CTYPE, "C.UTF-8");         /* for wcwidth: text is UTF-8 whatever the user's locale */
    memset(&state, 0, sizeof state);
    state.terminal = isatty(STDOUT_FILENO) == 1;
    state.colored = color_by_itself();
}

void cli_output_set(bool quiet, cli_color color)
{
    state.quiet = quiet;
    state.colored = color == CLI_COLOR_AUTO ? color_by_itself() : color == CLI_COLOR_ALWAYS;
}

int cli_output_end(int code)
{
    errno = 0;
    if (fflush(stdout) != 0 && !state.write_error) state.write_error = errno ? errno : EIO;
    if (state.write_error == EPIPE) return code; /* the reader had enough */
    if (state.write_error) {
        cli_complain("cannot write to standard output: %s", strerror(state.write_error));
        return CLI_EXIT_FAILURE;
    }
    return code;
}

/* ---- words on stderr ---- */

static void hide_bar(void)
{
    if (!state.bar_shown) return;
    fputs("\r\033[K", stderr);
    state.bar_shown = false;
}

static void say(const char *prefix, const char *format, va_list arguments)
{
    hide_bar();
    fputs(prefix, stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void cli_say(const char *format, ...)
{
    if (state.quiet) return;
    va_list arguments;
    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
}

void cli_complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("mneme: ", format, arguments);
    va_end(arguments);
}

/* ---- data on stdout ---- */

static bool wrote(bool fine)
{
    if (!fine && !state.write_error) state.write_error = errno ? errno : EIO;
    return state.write_error == 0;
}

bool cli_print(const char *format, ...)
{
    hide_bar();
    va_list arguments;
    va_start(arguments, format);
    errno = 0;
    bool fine = vprintf(format, arguments) >= 0;
    va_end(arguments);
    return wrote(fine);
}

bool cli_print_bytes(const char *data, size_t size)
{
    hide_bar();
    errno = 0;
    return wrote(size == 0 || fwrite(data, 1, size, stdout) == size);
}

static bool drives_terminal(uint32_t codepoint)
{
    return (codepoint < 0x20 && codepoint != '\n' && codepoint != '\t') || (codepoint >= 0x7F && codepoint < 0xA0);
}

bool cli_print_text(const char *data, size_t size)
{
    if (!state.terminal) return cli_print_bytes(data, size);
    cli_text shown = {0};
    for (size_t at = 0; at < size;) {
        uint32_t codepoint = 0;
        size_t length = cli_utf8_decode(data + at, size - at, &codepoint);
        if (length == 0 || drives_terminal(codepoint)) cli_text_string(&shown, "\xEF\xBF\xBD");
        else cli_text_append(&shown, data + at, length);
        at += length ? length : 1;
    }
    bool fine = cli_print_bytes(shown.data, shown.size);
    cli_text_free(&shown);
    return fine;
}

bool cli_print_json_part(json_t *value)
{
    /* 15 digits: any number that was written with up to 15 digits comes out as it went in. */
    char *line = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (!line) return wrote(false); /* nested too deep to print */
    bool fine = cli_print_bytes(line, strlen(line));
    free(line);
    json_decref(value);
    return fine;
}

bool cli_print_json(json_t *value)
{
    return cli_print_json_part(value) && cli_print_bytes("\n", 1);
}

json_t *cli_json_text(const char *data, size_t size)
{
    if (!data) return json_null();
    json_t *text = json_stringn(data, size);
    if (text) return text;
    cli_text repaired = {0};
    cli_text_repaired(&repaired, data, size);
    text = json_stringn(repaired.data, repaired.size);
    cli_text_free(&repaired);
    return text;
}

json_t *cli_json_string(const char *text)
{
    return cli_json_text(text, text ? strlen(text) : 0);
}

json_t *cli_json_float(float value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.7g", (double)value);
    return isfinite(value) ? json_real(strtod(digits, NULL)) : json_null();
}

void cli_json_put(json_t *object, const char *key, const char *text)
{
    if (text) json_object_set_new(object, key, cli_json_string(text));
}

void cli_json_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void cli_json_time(json_t *object, const char *key, bool has_time, int64_t time_ms)
{
    char text[40];
    if (!has_time) return;
    mneme_time_format(time_ms, text, sizeof text);
    json_object_set_new(object, key, cli_json_string(text));
}

/* ---- the terminal ---- */

bool cli_is_terminal(void)
{
    return state.terminal;
}

static unsigned columns_of(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    const char *columns = getenv("COLUMNS");
    unsigned long value = columns ? strtoul(columns, NULL, 10) : 0;
    return value > 0 && value < 10000 ? (unsigned)value : 80;
}

unsigned cli_width(void)
{
    unsigned width = columns_of(STDOUT_FILENO);
    return width < 20 ? 20 : width > 400 ? 400 : width;
}

const char *cli_style_on(cli_style style)
{
    static const char *const codes[] = {
        [CLI_PLAIN] = "",         [CLI_BOLD] = "\033[1m",    [CLI_DIM] = "\033[2m",   [CLI_RED] = "\033[31m",
        [CLI_GREEN] = "\033[32m", [CLI_YELLOW] = "\033[33m", [CLI_CYAN] = "\033[36m", [CLI_MATCH] = "\033[1;33m",
    };
    return state.colored ? codes[style] : "";
}

const char *cli_style_off(void)
{
    return state.colored ? "\033[0m" : "";
}

size_t cli_columns(const char *text, size_t size)
{
    size_t columns = 0;
    for (size_t at = 0; at < size;) {
        uint32_t codepoint = 0;
        size_t length = cli_utf8_decode(text + at, size - at, &codepoint);
        int width = length ? wcwidth((wchar_t)codepoint) : 1;
        columns += width > 0 ? (size_t)width : 0;
        at += length ? length : 1;
    }
    return columns;
}

/* ---- figures for people ---- */

static char *next_buffer(void)
{
    static char buffers[4][32];
    static unsigned turn;
    return buffers[turn++ % 4];
}

const char *cli_bytes(uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    char *buffer = next_buffer();
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1000 && unit < 4; unit++) value /= 1024;
    snprintf(buffer, 32, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buffer;
}

const char *cli_duration(double seconds)
{
    char *buffer = next_buffer();
    unsigned whole = seconds > 0 && seconds < 1e9 ? (unsigned)(seconds + 0.5) : 0;
    if (whole >= 3600) snprintf(buffer, 32, "%u h %02u min", whole / 3600, whole / 60 % 60);
    else if (whole >= 60) snprintf(buffer, 32, "%u min %02u s", whole / 60, whole % 60);
    else snprintf(buffer, 32, "%.1f s", seconds > 0 ? seconds : 0);
    return buffer;
}

/* ---- progress ---- */

double cli_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void cli_progress_begin(cli_progress *progress, const char *label, const char *unit, uint64_t total)
{
    *progress = (cli_progress){label, cli_seconds(), 0, 0, total, unit};
}

#define BAR_WIDTH 24

static void draw(const cli_progress *progress, double elapsed)
{
    double share = progress->total ? (double)progress->done / (double)progress->total : 0;
    if (share > 1) share = 1;
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < (int)(share * BAR_WIDTH) ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    char figures[80], line[256];
    if (strcmp(progress->unit, "bytes") == 0)
        snprintf(figures, sizeof figures, "%s of %s", cli_bytes(progress->done), cli_bytes(progress->total));
    else
        snprintf(figures, sizeof figures, "%llu of %llu %s", (unsigned long long)progress->done,
                 (unsigned long long)progress->total, progress->unit);
    int size = snprintf(line, sizeof line, "%s [%s] %3.0f %%  %s", progress->label, bar, share * 100, figures);
    if (share > 0.02 && share < 1 && size > 0 && (size_t)size < sizeof line)
        snprintf(line + size, sizeof line - (size_t)size, "  %s left", cli_duration(elapsed / share - elapsed));
    fprintf(stderr, "\r\033[K%.*s", (int)columns_of(STDERR_FILENO) - 1, line);
    fflush(stderr);
    state.bar_shown = true;
}

void cli_progress_update(cli_progress *progress, uint64_t done)
{
    progress->done = done;
    if (state.quiet || isatty(STDERR_FILENO) != 1) return;
    double time = cli_seconds();
    if (time - progress->started < 1.0 || time - progress->drawn < 0.1) return;
    progress->drawn = time;
    draw(progress, time - progress->started);
}

void cli_progress_end(cli_progress *progress)
{
    (void)progress;
    hide_bar();
    fflush(stderr);
}

void cli_progress_line(const char *format, ...)
{
    if (state.quiet || isatty(STDERR_FILENO) != 1) return;
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\r\033[K%.*s", (int)columns_of(STDERR_FILENO) - 1, line);
    fflush(stderr);
    state.bar_shown = true;
}

bool cli_progress_callback(void *context, uint64_t done, uint64_t total, const char *unit)
{
    cli_progress *progress = context;
    progress->total = total;
    if (unit) progress->unit = unit;
    cli_progress_update(progress, done);
    return !cli_stop_asked();
}
