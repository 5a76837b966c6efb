/* train_options.c -- see train_options.h. */
#include "cli/train_options.h"

#include "cli/loss_curve.h"
#include "cli/stop.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { CURVE_WIDTH_MOST = 100, CURVE_HEIGHT = 8 };
static const double REDRAW_SECONDS = 0.2;

static const uint64_t UNSET = UINT64_MAX;

cli_train_options cli_train_unset(void)
{
    return (cli_train_options){.steps = UNSET,
                               .warm_up = UNSET,
                               .batch = UNSET,
                               .accumulate = UNSET,
                               .seed = UNSET,
                               .epochs = NAN,
                               .rate = NAN,
                               .final_rate = NAN,
                               .weight_decay = NAN,
                               .clip = NAN};
}

static void fill_count(uint64_t *chosen, uint64_t value)
{
    if (*chosen == UNSET) *chosen = value;
}

static void fill_number(double *chosen, double value)
{
    if (isnan(*chosen)) *chosen = value;
}

void cli_train_fill_in(cli_train_options *chosen, const mneme_train_options *defaults)
{
    fill_count(&chosen->steps, defaults->steps);
    fill_count(&chosen->warm_up, defaults->warm_up);
    fill_count(&chosen->batch, defaults->batch);
    fill_count(&chosen->accumulate, defaults->accumulate);
    fill_count(&chosen->seed, defaults->seed);
    fill_number(&chosen->epochs, defaults->epochs);
    fill_number(&chosen->rate, defaults->learning_rate);
    fill_number(&chosen->final_rate, defaults->final_rate);
    fill_number(&chosen->weight_decay, defaults->weight_decay);
    fill_number(&chosen->clip, defaults->clip);
}

int cli_train_check(const cli_command *command, const cli_train_options *chosen)
{
    if (!chosen->out || !*chosen->out) return cli_usage_error(command, "say where the model goes: --out DIR");
    if (chosen->resume && chosen->force) return cli_usage_error(command, "--resume and --force exclude each other");
    uint64_t counts[] = {chosen->batch, chosen->accumulate, chosen->patience, chosen->threads, chosen->shards};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i] > INT32_MAX) return cli_usage_error(command, "%llu is too large", (unsigned long long)counts[i]);
    return CLI_GO_ON;
}

static bool watch(void *context, const mneme_train_progress *p)
{
    cli_train_view *view = context;
    const char *left = p->step < p->n_steps ? cli_duration(p->seconds_left) : "nothing";
    if (p->evaluated)
        cli_say("step %llu of %llu  epoch %llu  loss %.4f  held out %.4f%s  %.0f %s/s  %s left",
                (unsigned long long)p->step, (unsigned long long)p->n_steps, (unsigned long long)p->epoch, p->loss,
                p->validation_loss, p->validation_loss <= p->best_loss ? " (best)" : "", p->tokens_per_second,
                view->unit, left);
    else if (p->seconds - view->drawn >= REDRAW_SECONDS) {
        view->drawn = p->seconds;
        cli_progress_line("step %llu of %llu  epoch %llu  loss %.4f  %.0f %s/s  %s left", (unsigned long long)p->step,
                          (unsigned long long)p->n_steps, (unsigned long long)p->epoch, p->loss, p->tokens_per_second,
                          view->unit, left);
    }
    return !cli_stop_asked();
}

mneme_train_options cli_train_get(const cli_train_options *chosen, cli_train_view *view)
{
    mneme_train_options o = MNEME_TRAIN_OPTIONS_INIT;
    o.steps = chosen->steps;
    o.epochs = chosen->epochs;
    o.learning_rate = chosen->rate;
    o.final_rate = chosen->final_rate;
    o.warm_up = chosen->warm_up;
    o.weight_decay = chosen->weight_decay;
    o.clip = chosen->clip;
    o.batch = (uint32_t)chosen->batch;
    o.accumulate = (uint32_t)chosen->accumulate;
    o.evaluate_every = chosen->evaluate_every;
    o.checkpoint_every = chosen->checkpoint_every;
    o.patience = (uint32_t)chosen->patience;
    o.seed = chosen->seed;
    o.threads = (uint32_t)chosen->threads;
    o.shards = (uint32_t)chosen->shards;
    o.bf16 = chosen->precision == 1;
    o.resume = chosen->resume;
    o.replace = chosen->force;
    o.watch = watch;
    o.context = view;
    return o;
}

/* A word as a shell reads it back. */
static void quote(cli_text *line, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%";
    cli_text_byte(line, ' ');
    if (*word && strspn(word, plain) == strlen(word)) {
        cli_text_string(line, word);
        return;
    }
    cli_text_byte(line, '\'');
    for (; *word; word++)
        if (*word == '\'')
            cli_text_string(line, "'\\''");
        else
            cli_text_byte(line, *word);
    cli_text_byte(line, '\'');
}

static void say_how_to_go_on(const cli_train_options *chosen, uint64_t step, const char *command, int argc, char **argv)
{
    cli_text line = {0};
    cli_text_format(&line, "mneme %s", command);
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--force") != 0) quote(&line, argv[i]);
    if (!chosen->resume) cli_text_string(&line, " --resume");
    cli_say("stopped after step %llu; %s has the checkpoint. To go on:\n  %s", (unsigned long long)step, chosen->out,
            line.data);
    cli_text_free(&line);
}

static void show_curve(const cli_losses *losses)
{
    cli_text curve = {0};
    unsigned width = cli_width();
    cli_losses_draw(losses, width < CURVE_WIDTH_MOST ? width - 5 : CURVE_WIDTH_MOST, CURVE_HEIGHT, &curve);
    if (curve.size) cli_say("%.*s", (int)curve.size - 1, curve.data);
    cli_text_free(&curve);
}

int cli_train_report(const cli_train_options *chosen, const mneme_train_result *result, const char *command, int argc,
                     char **argv)
{
    cli_losses losses = {0};
    cli_losses_read(&losses, chosen->out);
    show_curve(&losses);
    int code = CLI_EXIT_DONE;
    if (!cli_losses_plot(&losses, chosen->out)) {
        cli_complain("cannot write %s/loss.svg: %s", chosen->out, strerror(errno));
        code = CLI_EXIT_FAILURE;
    }
    cli_losses_free(&losses);
    if (result->cancelled) {
        say_how_to_go_on(chosen, result->steps, command, argc, argv);
        return cli_stop_code() ? cli_stop_code() : CLI_EXIT_FAILURE;
    }
    if (result->stopped_early) cli_say("stopped early: no better evaluation for a while");
    char loss[64] = "not evaluated: no text was held out";
    if (isfinite(result->best_loss))
        snprintf(loss, sizeof loss, "best loss on what was held out %.4f", result->best_loss);
    cli_say("%s: %llu parameters, %llu steps, %s", chosen->out, (unsigned long long)result->n_parameters,
            (unsigned long long)result->steps, loss);
    return code;
}

static void put_number(json_t *object, const char *key, double value)
{
    if (isfinite(value)) json_object_set_new(object, key, json_real(value));
}

void cli_train_json(json_t *object, const mneme_train_result *result)
{
    cli_json_count(object, "steps", result->steps);
    cli_json_count(object, "parameters", result->n_parameters);
    put_number(object, "loss", result->loss);
    put_number(object, "validation_loss", result->validation_loss);
    put_number(object, "best_loss", result->best_loss);
    put_number(object, "tokens_per_second", result->tokens_per_second);
    put_number(object, "seconds", result->seconds);
    json_object_set_new(object, "cancelled", json_boolean(result->cancelled));
    json_object_set_new(object, "stopped_early", json_boolean(result->stopped_early));
}
