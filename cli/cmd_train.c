/* cmd_train.c -- mneme train: finds the verb; each is in a file of its own (train_verbs.h). */
#include "cli/commands.h"
#include "cli/train_verbs.h"

#include <string.h>

static const struct {
    const char *name;
    int (*run)(cli_global *global, int argc, char **argv);
} verbs[] = {
    {"encoder", cli_train_encoder},
    {"lm", cli_train_lm},
    {"sample", cli_train_sample},
};
enum { N_VERBS = sizeof verbs / sizeof verbs[0] };

static int run(cli_global *global, int argc, char **argv)
{
    for (int i = 0; i < N_VERBS; i++)
        if (argc > 0 && strcmp(argv[0], verbs[i].name) == 0) return verbs[i].run(global, argc - 1, argv + 1);
    const cli_option options[] = {CLI_OPTIONS_END};
    cli_words words = {0};
    int code = cli_parse(global, &cli_command_train, options, argc, argv, &words);
    if (code == CLI_GO_ON && words.n > 0)
        code = cli_usage_error(&cli_command_train, "unknown '%s': expected encoder, lm or sample", words.items[0]);
    else if (code == CLI_GO_ON)
        code = cli_usage_error(&cli_command_train, "expected encoder, lm or sample");
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_train = {
    .name = "train",
    .usage = "encoder FILE... --out DIR [OPTIONS] | lm FILE... --out DIR [OPTIONS] | sample DIR [PROMPT]",
    .summary = "train models on texts of your own",
    .details = "encoder an encoder of your own texts: LSTM or GRU; see mneme train encoder --help\n"
               "lm      a language model of characters: LSTM, GRU or Transformer; see mneme train lm --help\n"
               "sample  text from such a model; see mneme train sample --help",
    .example = "mneme train encoder notes.jsonl --out my-encoder\nmneme train lm book.txt --out book-model\nmneme train sample book-model 'Once upon a time'",
    .run = run,
};
