/* arguments.c -- one option parser for every command, and the help that its tables make. */
#include "cli/arguments.h"

#include "cli/output.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GLOBAL_OPTIONS 8
#define NAMES_MAX 64

static void global_table(cli_global *global, cli_option table[GLOBAL_OPTIONS])
{
    const cli_option options[GLOBAL_OPTIONS] = {
        {0, "store", CLI_TEXT, &global->store, "DIR",
         "the store (else $MNEME_STORE, the nearest .mneme, the user's own)"},
        {0, "config", CLI_TEXT, &global->config, "FILE",
         "settings in YAML (else the store's mneme.yaml, the user's own)"},
        {0, "set", CLI_LIST, &global->set, "NAME=VALUE", "one setting for this run; any number of times"},
        {0, "json", CLI_FLAG, &global->json, NULL, "data as JSON"},
        {'q', "quiet", CLI_FLAG, &global->quiet, NULL, "no words but errors"},
        {'h', "help", CLI_FLAG, &global->help, NULL, "this help"},
        {0, "version", CLI_FLAG, &global->version, NULL, "the version"},
        CLI_OPTIONS_END,
    };
    memcpy(table, options, sizeof options);
}

static bool is_end(const cli_option *option)
{
    return !option->target;
}

/* ---- reading values ---- */

bool cli_read_count(const char *text, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)text[0])) return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end || errno) return false;
    *out = value;
    return true;
}

bool cli_read_size(const char *text, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)text[0])) return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno) return false;
    static const char units[] = "kmg";
    if (*end) {
        const char *unit = strchr(units, tolower((unsigned char)*end));
        if (!unit || (end[1] && strcasecmp(end + 1, "b") != 0 && strcasecmp(end + 1, "ib") != 0)) return false;
        unsigned shift = 10u * (unsigned)(unit - units + 1);
        if (value > UINT64_MAX >> shift) return false;
        value <<= shift;
    }
    *out = value;
    return true;
}

static bool read_number(const char *text, double *out)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value)) return false;
    *out = value;
    return true;
}

static bool read_choice(const char *text, const char *choices, int *out)
{
    size_t size = strlen(text);
    int index = 0;
    for (const char *choice = choices;; index++) {
        size_t length = strcspn(choice, "|");
        if (length == size && memcmp(choice, text, size) == 0) {
            *out = index;
            return true;
        }
        if (!choice[length]) return false;
        choice += length + 1;
    }
}

static bool read_now(cli_time *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (cli_time){true, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, true};
    return true;
}

static const char *expected(cli_type type)
{
    switch (type) {
    case CLI_COUNT: return "a whole number";
    case CLI_NUMBER: return "a number";
    case CLI_SIZE: return "a size such as 500k or 10M";
    default: return "another value";
    }
}

/* Store `text` in the option's target; on a bad value *reason says what was expected. */
static bool take_value(const cli_option *option, const char *text, char *reason, size_t reason_size)
{
    mneme_error error = {MNEME_OK, ""};
    snprintf(reason, reason_size, "expected %s", expected(option->type));
    switch (option->type) {
    case CLI_FLAG: *(bool *)option->target = true; return true;
    case CLI_TEXT: *(const char **)option->target = text; return true;
    case CLI_LIST: cli_list_add(option->target, text); return true;
    case CLI_COUNT: return cli_read_count(text, option->target);
    case CLI_SIZE: return cli_read_size(text, option->target);
    case CLI_NUMBER: return read_number(text, option->target);
    case CLI_CHOICE:
    case CLI_MAYBE:
        snprintf(reason, reason_size, "expected one of %s", option->value);
        return read_choice(text, option->value, option->target);
    case CLI_TIME: {
        cli_time *time = option->target;
        if (strcmp(text, "now") == 0) return read_now(time);
        time->set = mneme_time_parse(text, &time->ms, &error) == MNEME_OK;
        if (!time->set) snprintf(reason, reason_size, "%s", error.message);
        return time->set;
    }
    }
    return false;
}

/* ---- finding options ---- */

typedef struct option_parser {
    const cli_command *command; /* NULL before the command's name */
    const cli_option *tables[2];
    int argc;
    char **argv;
    int at; /* index of the argument in hand */
    cli_words *words;
} option_parser;

static const cli_option *find_long(const option_parser *parser, const char *name, size_t size)
{
    for (size_t t = 0; t < 2; t++)
        for (const cli_option *option = parser->tables[t]; option && !is_end(option); option++)
            if (option->name && strlen(option->name) == size && memcmp(option->name, name, size) == 0) return option;
    return NULL;
}

static const cli_option *find_letter(const option_parser *parser, char letter)
{
    for (size_t t = 0; t < 2; t++)
        for (const cli_option *option = parser->tables[t]; option && !is_end(option); option++)
            if (option->letter == letter) return option;
    return NULL;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance; names over 63 bytes count as far from everything. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], a_size = strlen(a), b_size = strlen(b);
    if (a_size > 63 || b_size > 63) return SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++) row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = smaller(change, smaller(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

const char *cli_nearest(const char *name, const char *const *names, size_t n)
{
    const char *nearest = NULL;
    size_t best = strlen(name) / 3 + 2; /* at most a third of the letters wrong, and one more */
    for (size_t i = 0; i < n; i++) {
        size_t edits = distance(name, names[i]);
        if (edits >= best) continue;
        best = edits;
        nearest = names[i];
    }
    return nearest;
}

int cli_usage_error(const cli_command *command, const char *format, ...)
{
    cli_text text = {0};
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    cli_text_reserve(&text, size > 0 ? (size_t)size : 0);
    vsnprintf(text.data, text.capacity, format, again);
    va_end(again);
    va_end(arguments);
    if (command) cli_complain("%s: %s; see 'mneme %s --help'", command->name, text.data, command->name);
    else cli_complain("%s; see 'mneme --help'", text.data);
    cli_text_free(&text);
    return CLI_EXIT_USAGE;
}

static int unknown_long(const option_parser *parser, const char *name, size_t size)
{
    const char *names[NAMES_MAX];
    size_t n = 0;
    for (size_t t = 0; t < 2; t++)
        for (const cli_option *option = parser->tables[t]; option && !is_end(option); option++)
            if (option->name && n < NAMES_MAX) names[n++] = option->name;
    char *given = cli_strndup(name, size);
    const char *nearest = cli_nearest(given, names, n);
    int code = nearest ? cli_usage_error(parser->command, "unknown option --%s (did you mean --%s?)", given, nearest)
                       : cli_usage_error(parser->command, "unknown option --%s", given);
    free(given);
    return code;
}

/* ---- the parser ---- */

static int bad_value(const option_parser *parser, const cli_option *option, const char *text, const char *reason)
{
    if (option->name) return cli_usage_error(parser->command, "--%s '%s': %s", option->name, text, reason);
    return cli_usage_error(parser->command, "-%c '%s': %s", option->letter, text, reason);
}

/* The option's value: `attached` (after "=" or the letter), else the next argument. */
static int take_option(option_parser *parser, const cli_option *option, const char *attached)
{
    const char *text = attached;
    if (option->type == CLI_MAYBE && !text) {
        *(int *)option->target = 0;
        return CLI_GO_ON;
    }
    if (option->type != CLI_FLAG && !text) {
        if (parser->at + 1 >= parser->argc) {
            if (option->name)
                return cli_usage_error(parser->command, "--%s needs a value (%s)", option->name, option->value);
            return cli_usage_error(parser->command, "-%c needs a value (%s)", option->letter, option->value);
        }
        text = parser->argv[++parser->at];
    }
    char reason[600];
    if (!take_value(option, text, reason, sizeof reason)) return bad_value(parser, option, text, reason);
    return CLI_GO_ON;
}

static int take_long(option_parser *parser, const char *argument)
{
    const char *equals = strchr(argument, '=');
    size_t size = equals ? (size_t)(equals - argument) : strlen(argument);
    const cli_option *option = find_long(parser, argument, size);
    if (!option) return unknown_long(parser, argument, size);
    if (option->type == CLI_FLAG && equals)
        return cli_usage_error(parser->command, "--%s takes no value", option->name);
    return take_option(parser, option, equals ? equals + 1 : NULL);
}

/* "-k10", "-k", or flags together: "-qv". */
static int take_letters(option_parser *parser, const char *letters)
{
    for (; *letters; letters++) {
        const cli_option *option = find_letter(parser, *letters);
        if (!option)
            return cli_usage_error(parser->command, "unknown option -%c (text that begins with '-' goes after '--')",
                                   *letters);
        if (option->type != CLI_FLAG) return take_option(parser, option, letters[1] ? letters + 1 : NULL);
        int code = take_option(parser, option, NULL);
        if (code != CLI_GO_ON) return code;
    }
    return CLI_GO_ON;
}

static int take_argument(option_parser *parser, bool *words_only)
{
    const char *argument = parser->argv[parser->at];
    if (!*words_only && strcmp(argument, "--") == 0) {
        *words_only = true;
        return CLI_GO_ON;
    }
    if (!*words_only && strncmp(argument, "--", 2) == 0) return take_long(parser, argument + 2);
    if (!*words_only && argument[0] == '-' && argument[1]) return take_letters(parser, argument + 1);
    if (!parser->words) return cli_usage_error(parser->command, "unexpected argument '%s'", argument);
    cli_list_add(parser->words, argument);
    return CLI_GO_ON;
}

int cli_parse(cli_global *global, const cli_command *command, const cli_option *options, int argc, char **argv,
              cli_words *words)
{
    cli_option shared[GLOBAL_OPTIONS];
    global_table(global, shared);
    option_parser parser = {command, {options, shared}, argc, argv, 0, words};
    bool words_only = false;
    for (; parser.at < argc && !global->help; parser.at++) {
        int code = take_argument(&parser, &words_only);
        if (code != CLI_GO_ON) return code;
    }
    cli_output_set(global->quiet, CLI_COLOR_AUTO);
    if (global->help) {
        cli_print_help(command, options);
        return CLI_EXIT_DONE;
    }
    if (global->version) {
        cli_print("mneme %s\n", mneme_version());
        return CLI_EXIT_DONE;
    }
    return CLI_GO_ON;
}

int cli_parse_global(cli_global *global, int argc, char **argv, int *used)
{
    cli_option shared[GLOBAL_OPTIONS];
    global_table(global, shared);
    option_parser parser = {NULL, {NULL, shared}, argc, argv, 0, NULL};
    for (; parser.at < argc && argv[parser.at][0] == '-'; parser.at++) {
        bool words_only = false;
        int code = take_argument(&parser, &words_only);
        if (code != CLI_GO_ON) return code;
    }
    *used = parser.at < argc ? parser.at : argc;
    return CLI_GO_ON;
}

/* ---- help ---- */

static void print_options(const cli_option *option)
{
    for (; !is_end(option); option++) {
        if (!option->help) continue;
        cli_text left = {0};
        if (option->letter) cli_text_format(&left, "-%c", option->letter);
        else cli_text_string(&left, "  ");
        if (option->name) cli_text_format(&left, "%s --%s", option->letter ? "," : " ", option->name);
        if (option->value) cli_text_format(&left, option->type == CLI_MAYBE ? "[=%s]" : " %s", option->value);
        if (left.size <= 26) cli_print("  %-26s %s\n", left.data, option->help);
        else cli_print("  %s\n  %-26s %s\n", left.data, "", option->help);
        cli_text_free(&left);
    }
}

static void print_indented(const char *lines)
{
    while (*lines) {
        size_t size = strcspn(lines, "\n");
        cli_print("  %.*s\n", (int)size, lines);
        lines += size + (lines[size] == '\n');
    }
}

void cli_print_help(const cli_command *command, const cli_option *options)
{
    cli_option shared[GLOBAL_OPTIONS];
    cli_global none = {0};
    global_table(&none, shared);
    cli_print("mneme %s -- %s\n\n%sUsage%s\n  mneme %s %s\n", command->name, command->summary, cli_style_on(CLI_BOLD),
              cli_style_off(), command->name, command->usage);
    if (command->details) cli_print("\n%s\n", command->details);
    if (!is_end(options)) {
        cli_print("\n%sOptions%s\n", cli_style_on(CLI_BOLD), cli_style_off());
        print_options(options);
    }
    cli_print("\n%sOptions of every command%s\n", cli_style_on(CLI_BOLD), cli_style_off());
    print_options(shared);
    cli_print("\n%sExample%s\n", cli_style_on(CLI_BOLD), cli_style_off());
    print_indented(command->example);
}

void cli_print_overview(const cli_command *const *commands, size_t n_commands)
{
    cli_option shared[GLOBAL_OPTIONS];
    cli_global none = {0};
    global_table(&none, shared);
    cli_print(
        "mneme -- the long-term memory of language models\n\n%sUsage%s\n  mneme [OPTIONS] COMMAND ...\n\n%sCommands%s\n",
        cli_style_on(CLI_BOLD), cli_style_off(), cli_style_on(CLI_BOLD), cli_style_off());
    for (size_t i = 0; i < n_commands; i++) cli_print("  %-11s %s\n", commands[i]->name, commands[i]->summary);
    cli_print("\n%sOptions of every command%s\n", cli_style_on(CLI_BOLD), cli_style_off());
    print_options(shared);
    cli_print("\n%sExample%s\n  mneme index docs/\n  mneme query \"where is the spare key?\" -k 3\n"
              "  mneme query --help\n\n%sExit codes%s\n"
              "  0 done   1 ran, but the answer is no   2 bad usage or configuration\n"
              "  3 some input was refused, the rest stored   4 store or system failure\n",
              cli_style_on(CLI_BOLD), cli_style_off(), cli_style_on(CLI_BOLD), cli_style_off());
}

/* ---- words and selections ---- */

static int read_stdin(const cli_command *command, size_t max_size, cli_text *out)
{
    char piece[65536];
    size_t size;
    while ((size = fread(piece, 1, sizeof piece, stdin)) > 0) {
        if (size > max_size - out->size)
            return cli_usage_error(command, "standard input is over the limit of %s", cli_bytes(max_size));
        cli_text_append(out, piece, size);
    }
    if (ferror(stdin)) {
        cli_complain("cannot read standard input: %s", strerror(errno));
        return CLI_EXIT_FAILURE;
    }
    return CLI_GO_ON;
}

int cli_words_text(const cli_command *command, const cli_words *words, size_t max_size, cli_text *out)
{
    if (words->n == 1 && strcmp(words->items[0], "-") == 0) return read_stdin(command, max_size, out);
    for (size_t i = 0; i < words->n; i++) {
        if (i) cli_text_byte(out, ' ');
        cli_text_string(out, words->items[i]);
    }
    return CLI_GO_ON;
}

bool cli_selection_any(const cli_selection *selection)
{
    return selection->name_space || selection->where || selection->session || selection->source ||
           selection->since.set || selection->until.set;
}

mneme_selection cli_selection_get(const cli_selection *selection)
{
    return (mneme_selection){
        .name_space = selection->name_space,
        .where = selection->where,
        .session = selection->session,
        .source = selection->source,
        .has_since = selection->since.set,
        .has_until = selection->until.set,
        .since_ms = selection->since.ms,
        .until_ms = selection->until.ms,
        .include_expired = selection->expired,
    };
}
