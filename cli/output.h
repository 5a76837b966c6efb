/* output.h -- what the command shows: data on stdout, words on stderr.
 *
 * The state behind these calls (quiet, colour, a bar that is on the screen, a failed write) is the process's own, as
 * stdout and stderr are. One thread, except cli_progress_callback, which may come from the thread that works. */
#ifndef MN_CLI_OUTPUT_H
#define MN_CLI_OUTPUT_H

#include "cli/text.h"
#include "mneme.h"

#include <jansson.h>

/* ---- exit codes ---- */
enum {
    CLI_EXIT_DONE = 0,
    CLI_EXIT_NO = 1,      /* ran, but the answer is no: no hit, damage found */
    CLI_EXIT_USAGE = 2,   /* bad usage or configuration */
    CLI_EXIT_REFUSED = 3, /* some input was refused, the rest stored */
    CLI_EXIT_FAILURE = 4, /* store or system failure */
    CLI_EXIT_SIGNAL = 128 /* + the signal's number, when one stopped the work */
};

/* The exit code that a failed call of the library means. */
int cli_exit_code(mneme_status status);
/* "mneme: MESSAGE" on stderr; returns cli_exit_code(error->code). */
int cli_failed(const mneme_error *error);

/* ---- start and end ---- */
typedef enum cli_color { CLI_COLOR_AUTO, CLI_COLOR_ALWAYS, CLI_COLOR_NEVER } cli_color;

/* Call once before anything else. Colour starts as AUTO: on a terminal, unless $NO_COLOR is set or $TERM is dumb. */
void cli_output_begin(void);
void cli_output_set(bool quiet, cli_color color);
/* Flush stdout. When writing failed: says so and returns CLI_EXIT_FAILURE; but a reader that has gone away (a closed
 * pipe) is no failure. Else returns `code`. */
int cli_output_end(int code);

/* ---- words on stderr ---- */
void cli_say(const char *format, ...) CLI_PRINTF(1, 2);      /* a line, not with --quiet */
void cli_complain(const char *format, ...) CLI_PRINTF(1, 2); /* "mneme: " and a line, always */

/* ---- data on stdout ---- */
/* All return false once writing has failed: stop then, cli_output_end says why. */
bool cli_print(const char *format, ...) CLI_PRINTF(1, 2);
bool cli_print_bytes(const char *data, size_t size);
/* Text of a record for people: on a terminal, control characters other than tab and line break are shown as U+FFFD, so
 * that stored text cannot drive the terminal. */
bool cli_print_text(const char *data, size_t size);
/* One value on one line; takes the reference. */
bool cli_print_json(json_t *value);
bool cli_print_json_part(json_t *value); /* without the line break */
/* A JSON string from bytes (NULL: JSON null; invalid UTF-8: U+FFFD), and a real that prints short (7 digits). */
json_t *cli_json_text(const char *data, size_t size);
json_t *cli_json_string(const char *text);
json_t *cli_json_float(float value);
/* object[key] = text, left out when text is NULL. */
void cli_json_put(json_t *object, const char *key, const char *text);
/* object[key] = a whole number. */
void cli_json_count(json_t *object, const char *key, uint64_t value);
/* object[key] = ISO 8601, left out when not set. */
void cli_json_time(json_t *object, const char *key, bool has_time, int64_t time_ms);

/* ---- the terminal ---- */
bool cli_is_terminal(void); /* stdout */
unsigned cli_width(void);   /* columns of stdout: of the terminal, else $COLUMNS, else 80; 20..400 */
/* Escape sequences for stdout, "" without colour. */
typedef enum cli_style { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN, CLI_YELLOW, CLI_CYAN, CLI_MATCH } cli_style;
const char *cli_style_on(cli_style style);
const char *cli_style_off(void);
/* Columns that UTF-8 text takes. */
size_t cli_columns(const char *text, size_t size);

/* ---- progress ---- */
/* By a clock that is never set: for how long something takes. */
double cli_seconds(void);
/* A bar on stderr: only on a terminal, not with --quiet, and only once the work has taken over a second. */
typedef struct cli_progress {
    const char *label; /* "indexing" */
    double started, drawn; /* seconds */
    uint64_t done, total;
    const char *unit; /* "bytes" is shown as kB, MB, GB */
} cli_progress;
void cli_progress_begin(cli_progress *progress, const char *label, const char *unit, uint64_t total);
void cli_progress_update(cli_progress *progress, uint64_t done);
void cli_progress_end(cli_progress *progress); /* takes the bar off the screen */
/* A mneme_progress: context is a cli_progress; takes total and unit from the caller. False after Ctrl-C (stop.h). */
bool cli_progress_callback(void *context, uint64_t done, uint64_t total, const char *unit);

/* A line of one's own in the bar's place, under the same conditions but the second; the next words on stderr take it off. */
void cli_progress_line(const char *format, ...) CLI_PRINTF(1, 2);

/* "1.2 MB" in a static buffer of four that take turns. */
const char *cli_bytes(uint64_t bytes);
/* "3.4 s", "2 min 05 s", the same way. */
const char *cli_duration(double seconds);

#endif
