/* train_pairs.h -- the questions and passages of --pairs, a JSON object a line:
 *
 *     {"query": "...", "positive": "...", "negatives": ["...", ...]}       negatives may be left out
 */
#ifndef MN_CLI_TRAIN_PAIRS_H
#define MN_CLI_TRAIN_PAIRS_H

#include "mneme.h"

#include <jansson.h>

typedef struct cli_train_pairs {
    mneme_train_pair *items; /* pointing into values */
    json_t **values;
    size_t n, capacity;
} cli_train_pairs; /* start from {0} */

/* CLI_GO_ON, or the exit code after saying which line is wrong, and how. */
int cli_train_pairs_read(cli_train_pairs *pairs, const char *path);
void cli_train_pairs_free(cli_train_pairs *pairs);

#endif
