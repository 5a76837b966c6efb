/* question_options.c -- the options of the commands that ask. */
#include "cli/question_options.h"

#include "cli/explain.h"
#include "cli/output.h"
#include "cli/store_option.h"

#include <string.h>

#define QUESTION_BYTES ((size_t)1 << 20)

static void trim(cli_text *text)
{
    while (text->size && strchr(" \t\r\n", text->data[text->size - 1])) text->data[--text->size] = '\0';
}

int cli_asking_read(const cli_command *command, const cli_asking *asking, const cli_words *words, cli_text *question,
                    mneme_query_options *out)
{
    bool none = asking->may_be_empty && words->n == 0;
    int code = none ? CLI_GO_ON : cli_words_text(command, words, QUESTION_BYTES, question);
    if (code != CLI_GO_ON) return code;
    trim(question);
    if (question->size == 0 && !none) return cli_usage_error(command, "the question is empty");
    if (!none && strlen(question->data) != question->size) return cli_usage_error(command, "the question holds a NUL byte");
    if (asking->k == 0) return cli_usage_error(command, "-k 0: expected at least 1");
    if (asking->k != CLI_K_UNSET && asking->k > UINT32_MAX)
        return cli_usage_error(command, "-k is over %u", UINT32_MAX);
    *out = (mneme_query_options)MNEME_QUERY_OPTIONS_INIT;
    out->k = asking->k == CLI_K_UNSET ? 0 : (uint32_t)asking->k;
    out->mode = (mneme_mode)(asking->mode + 1);
    out->select = cli_selection_get(&asking->select);
    out->explain = asking->explain >= 0;
    return CLI_GO_ON;
}

int cli_asking_check(const cli_global *global, const cli_command *command, const cli_asking *asking)
{
    if (asking->explain == CLI_EXPLAIN_HTML && global->json)
        return cli_usage_error(command, "--explain=html writes a page: it does not go with --json");
    return CLI_GO_ON;
}

int cli_asking_open(const cli_global *global, const cli_asking *asking, mneme **out, mneme_settings **settings)
{
    mneme_setting strengthen;
    *out = NULL;
    int code = cli_open_settings(global, settings);
    if (code != CLI_GO_ON) return code;
    bool always =
        mneme_settings_find(*settings, "memory.strengthen", &strengthen) && strcmp(strengthen.value, "on") == 0;
    if (asking->strengthen && !always) mneme_settings_set(*settings, "memory.strengthen", "on", "command line", NULL);
    unsigned flags = asking->strengthen || always ? MNEME_OPEN_EXISTING : MNEME_OPEN_READ_ONLY;
    return cli_open_store_with(global, *settings, flags, out);
}
