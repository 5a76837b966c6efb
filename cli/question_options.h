/* question_options.h -- the options of the commands that ask: query and context. */
#ifndef MN_CLI_QUESTION_OPTIONS_H
#define MN_CLI_QUESTION_OPTIONS_H

#include "cli/arguments.h"

typedef struct cli_asking {
    uint64_t k;
    int mode; /* a mneme_mode less 1; -1: as the settings say */
    bool strengthen;
    bool may_be_empty; /* a vector stands for the question: no words are fine */
    int explain;       /* a cli_explain_form; -1: not asked for */
    cli_selection select;
} cli_asking;
#define CLI_K_UNSET UINT64_MAX
#define CLI_ASKING_INIT                                                                                                \
    {                                                                                                                  \
        CLI_K_UNSET, -1, false, false, -1,                                                                             \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
#define CLI_ASKING_OPTIONS(a)                                                                                          \
    {'k', NULL, CLI_COUNT, &(a).k, "N", "how many (default: the setting for it)"},                                     \
        {'m', "mode", CLI_CHOICE, &(a).mode, "hybrid|dense|lexical", "meaning and words, meaning only, words only"},   \
        {0,        "strengthen",                                                                                       \
         CLI_FLAG, &(a).strengthen,                                                                                    \
         NULL,     "count this as use of what is found (setting memory.strengthen)"},                                  \
        {0,                                                                                                            \
         "explain",                                                                                                    \
         CLI_MAYBE,                                                                                                    \
         &(a).explain,                                                                                                 \
         "table|html",                                                                                                 \
         "what each score is made of; html: a page with bars instead"},                                                \
        CLI_SELECTION_OPTIONS((a).select)

/* Open the store as the question needs it: for writing where it is to strengthen, else for reading only. */
int cli_asking_open(const cli_global *global, const cli_asking *asking, mneme **out, mneme_settings **settings);

/* Usage error when --explain does not go with the other options; else CLI_GO_ON. */
int cli_asking_check(const cli_global *global, const cli_command *command, const cli_asking *asking);

/* The question from the words and the library's options from `asking`; strings in *out are borrowed from `asking`.
 * question: {0}, owned by the caller afterwards, empty only where that is allowed. Returns CLI_GO_ON or the exit code.
 */
int cli_asking_read(const cli_command *command, const cli_asking *asking, const cli_words *words, cli_text *question,
                    mneme_query_options *out);

#endif
