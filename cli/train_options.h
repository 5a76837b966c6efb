/* train_options.h -- the options that all kinds of training share, and what is shown while they run. */
#ifndef MN_CLI_TRAIN_OPTIONS_H
#define MN_CLI_TRAIN_OPTIONS_H

#include "cli/arguments.h"
#include "cli/output.h"

/* As the command line has them; begin with cli_train_unset, and fill in the defaults when all is read. */
typedef struct cli_train_options {
    const char *out;
    uint64_t steps, warm_up, batch, accumulate, evaluate_every, checkpoint_every, patience, seed, threads, shards;
    double epochs, rate, final_rate, weight_decay, clip;
    int precision; /* 0: f32, 1: bf16 */
    bool resume, force;
} cli_train_options;
#define CLI_TRAIN_OPTIONS(t)                                                                                           \
    {'o', "out", CLI_TEXT, &(t).out, "DIR", "the folder of the model, its checkpoint, log.jsonl and loss.svg"},        \
        {0, "resume", CLI_FLAG, &(t).resume, NULL, "go on from the folder's checkpoint, with the same options"},       \
        {0, "force", CLI_FLAG, &(t).force, NULL, "replace the run that is in the folder"},                             \
        {0, "epochs", CLI_NUMBER, &(t).epochs, "N", "passes through the data"},                                        \
        {0, "steps", CLI_COUNT, &(t).steps, "N", "steps, instead of epochs"},                                          \
        {0, "batch", CLI_COUNT, &(t).batch, "N", "sequences in a step (64; encoder: 128)"},                                          \
        {0, "accumulate", CLI_COUNT, &(t).accumulate, "N", "batches that make a step (1)"},                            \
        {0, "rate", CLI_NUMBER, &(t).rate, "R", "the highest learning rate (0.002; of encoders: docs/training.md)"},                                  \
        {0, "final-rate", CLI_NUMBER, &(t).final_rate, "S", "the last step's, as a share of it (0)"},                  \
        {0, "warm-up", CLI_COUNT, &(t).warm_up, "N", "steps in which the rate rises (100; --pairs, --neighbours: 10)"},                           \
        {0, "weight-decay", CLI_NUMBER, &(t).weight_decay, "W", "AdamW's (0.01; encoder: 0)"},                                     \
        {0, "clip", CLI_NUMBER, &(t).clip, "N", "largest norm of the gradient; 0: no limit (1)"},                      \
        {0, "evaluate-every", CLI_COUNT, &(t).evaluate_every, "N", "steps (once an epoch)"},                           \
        {0, "checkpoint-every", CLI_COUNT, &(t).checkpoint_every, "N", "steps (with each evaluation)"},                \
        {0, "patience", CLI_COUNT, &(t).patience, "N", "stop after N evaluations without a better one (0: never)"},    \
        {0,          "precision",                                                                                      \
         CLI_CHOICE, &(t).precision,                                                                                   \
         "f32|bf16", "of the products; bf16 is for processors that have it"},                                          \
        {0, "seed", CLI_COUNT, &(t).seed, "N", "equal seeds give equal models (1)"},                                   \
        {0, "threads", CLI_COUNT, &(t).threads, "N", "one per core; changes no result"},                               \
    {                                                                                                                  \
        0, "shards", CLI_COUNT, &(t).shards, "N", "parts of a batch; one per core, changes the last bits"              \
    }

cli_train_options cli_train_unset(void);
/* What the command line did not say is as in `defaults`. */
void cli_train_fill_in(cli_train_options *chosen, const mneme_train_options *defaults);
/* CLI_GO_ON, or the exit code after saying what is missing or too large. */
int cli_train_check(const cli_command *command, const cli_train_options *chosen);

/* What a run shows while it goes: a line on the terminal, and one that stays for each evaluation. */
typedef struct cli_train_view {
    double drawn;
    const char *unit; /* "characters" */
} cli_train_view;

/* For the library, with a view as the callback's context: stops after Ctrl-C. */
mneme_train_options cli_train_get(const cli_train_options *chosen, cli_train_view *view);

/* After the run: the curve on stderr, loss.svg, and after Ctrl-C how to go on: the command line, words of argv behind
 * `command`. Returns the exit code. */
int cli_train_report(const cli_train_options *chosen, const mneme_train_result *result, const char *command, int argc,
                     char **argv);
/* The figures of a run, for --json. */
void cli_train_json(json_t *object, const mneme_train_result *result);

#endif
