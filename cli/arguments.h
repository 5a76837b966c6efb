/* arguments.h -- how every command reads its arguments.
 *
 * A command is a cli_command in a file of its own (cli/cmd_<name>.c), listed in cli/commands.h. Its run function
 * describes its options in a table and calls cli_parse, which also knows the options that all commands share:
 *
 *     static int run(cli_global *global, int argc, char **argv)
 *     {
 *         const char *name_space = NULL;
 *         uint64_t k = 10;
 *         const cli_option options[] = {
 *             {'k', NULL, CLI_COUNT, &k, "N", "hits wanted"},
 *             {'n', "namespace", CLI_TEXT, &name_space, "NAME", "only this namespace"},
 *             CLI_OPTIONS_END,
 *         };
 *         cli_words words = {0};
 *         int done = cli_parse(global, &cli_command_query, options, argc, argv, &words);
 *         if (done != CLI_GO_ON) return done;
 *         ...
 *     }
 *
 * Options may stand anywhere; "--" ends them; "-" is a word. "--name VALUE", "--name=VALUE", "-k VALUE", "-kVALUE".
 * An option whose value may be left out takes it with "=" alone.
 * Names of the command begin with cli_, so that they never meet the library's mn_. One thread. */
#ifndef MN_CLI_ARGUMENTS_H
#define MN_CLI_ARGUMENTS_H

#include "cli/text.h"
#include "mneme.h"

/* What was given before or after the command's name, for every command. */
typedef struct cli_global {
    const char *store;  /* --store; NULL: see store_option.h */
    const char *config; /* --config; NULL: see store_option.h */
    cli_list set;       /* --set NAME=VALUE, in order */
    bool json, quiet;
    bool help, version; /* acted on by cli_parse */
} cli_global;

/* What an option takes, and what its target points to. */
typedef enum cli_type {
    CLI_FLAG,   /* nothing; bool */
    CLI_TEXT,   /* a string; const char * (borrowed from argv) */
    CLI_COUNT,  /* a whole number >= 0; uint64_t */
    CLI_NUMBER, /* a finite number; double */
    CLI_SIZE,   /* bytes, with k, M or G (powers of 1024); uint64_t */
    CLI_TIME,   /* ISO 8601, or "now"; cli_time */
    CLI_CHOICE, /* one of the words in `value`, "a|b|c"; int: 0, 1, 2 */
    CLI_MAYBE,  /* the same, but only as "--name=b"; "--name" alone is the first word */
    CLI_LIST    /* a string, any number of times; cli_list */
} cli_type;

#define CLI_NO_COUNT UINT64_MAX /* what to put into a CLI_COUNT or CLI_SIZE to see whether it was given */

typedef struct cli_time {
    bool set;
    int64_t ms; /* since 1970-01-01T00:00:00Z */
    bool now;   /* "now" was given: ms is the system's time */
} cli_time;

typedef struct cli_option {
    char letter;       /* 0 = none */
    const char *name;  /* without the dashes; NULL = none */
    cli_type type;
    void *target;      /* keeps its value when the option is not given */
    const char *value; /* what help calls the value; NULL for a flag */
    const char *help;  /* one line; NULL: not shown */
} cli_option;
#define CLI_OPTIONS_END {0, NULL, CLI_FLAG, NULL, NULL, NULL}

/* The arguments that are not options, in order; the strings are borrowed from argv. */
typedef cli_list cli_words;

typedef struct cli_command {
    const char *name;
    const char *usage;   /* after "mneme NAME ": "TEXT... [OPTIONS]" */
    const char *summary; /* one line, for the list of commands */
    const char *details; /* for --help: plain lines; NULL = none */
    const char *example; /* for --help: one command a line */
    /* argv: what follows the command's name. Returns the program's exit code (output.h). */
    int (*run)(cli_global *global, int argc, char **argv);
} cli_command;

#define CLI_GO_ON (-1)

/* Read the options of the command and the shared ones. words: {0}, filled, cli_list_free when done (NULL: the command
 * takes no words). Returns CLI_GO_ON, or the exit code to return at once: CLI_EXIT_DONE after --help or --version
 * (printed), CLI_EXIT_USAGE after bad usage (said on stderr). */
int cli_parse(cli_global *global, const cli_command *command, const cli_option *options, int argc, char **argv,
              cli_words *words);

/* Read the shared options before the command's name. *used: how many of argv they took. As cli_parse, but --help and
 * --version are left to the caller. */
int cli_parse_global(cli_global *global, int argc, char **argv, int *used);

/* Help for one command (cli_parse prints it on --help), and for all: lists `commands`. */
void cli_print_help(const cli_command *command, const cli_option *options);
void cli_print_overview(const cli_command *const *commands, size_t n_commands);

/* "mneme NAME: MESSAGE; see mneme NAME --help" on stderr; returns CLI_EXIT_USAGE. command NULL: "mneme: ...". */
int cli_usage_error(const cli_command *command, const char *format, ...) CLI_PRINTF(2, 3);

/* The words joined by one space; a single "-" reads standard input to its end (up to max_size bytes). *out is owned
 * (free). Returns CLI_GO_ON or an exit code, said on stderr. */
int cli_words_text(const cli_command *command, const cli_words *words, size_t max_size, cli_text *out);

/* The nearest of n names by edits, NULL when none is near. */
const char *cli_nearest(const char *name, const char *const *names, size_t n);

/* Read a value in its text form; false: not one. */
bool cli_read_count(const char *text, uint64_t *out);
bool cli_read_size(const char *text, uint64_t *out);

/* The options by which list, forget, query, context and others say which records they are about. */
typedef struct cli_selection {
    const char *name_space, *where, *session, *source;
    cli_time since, until;
    bool expired;
} cli_selection;
#define CLI_SELECTION_OPTIONS(s)                                                                                       \
    {'n', "namespace", CLI_TEXT, &(s).name_space, "NAME", "only records of this namespace (\"\": the unnamed one)"},   \
        {0, "where", CLI_TEXT, &(s).where, "EXPR", "only records for which the expression holds"},                     \
        {0, "session", CLI_TEXT, &(s).session, "NAME", "only records of this session"},                                \
        {0, "source", CLI_TEXT, &(s).source, "PATH", "only records from this file, or from below this folder"},        \
        {0, "since", CLI_TIME, &(s).since, "TIME", "only records of this time or later (ISO 8601)"},                   \
        {0, "until", CLI_TIME, &(s).until, "TIME", "only records from before this time"},                              \
        {0, "expired", CLI_FLAG, &(s).expired, NULL, "records whose end has come, too"}

/* Is any condition set? */
bool cli_selection_any(const cli_selection *selection);
/* As the library takes it; strings borrowed. */
mneme_selection cli_selection_get(const cli_selection *selection);

#endif
