/* loss_curve.h -- the losses of a training run, drawn from its log. */
#ifndef MN_CLI_LOSS_CURVE_H
#define MN_CLI_LOSS_CURVE_H

#include "cli/text.h"

typedef struct cli_losses {
    double *steps, *losses; /* of each step */
    size_t n;
    double *held_out_steps, *held_out; /* of each evaluation */
    size_t n_held_out;
    size_t capacity, held_out_capacity;
} cli_losses; /* start from {0} */

/* Read FOLDER/log.jsonl; lines that are not whole are left out, and no file is no losses. */
void cli_losses_read(cli_losses *losses, const char *folder);
void cli_losses_free(cli_losses *losses);

/* Append a curve of block characters: `width` columns, `height` lines, with the range of losses and of steps. */
void cli_losses_draw(const cli_losses *losses, unsigned width, unsigned height, cli_text *out);

/* Write FOLDER/loss.svg. False: it could not be written (errno). With no losses, nothing is written. */
bool cli_losses_plot(const cli_losses *losses, const char *folder);

#endif
