/* prune.h -- `index --prune`: records whose source was not there any more. */
#ifndef MN_CLI_PRUNE_H
#define MN_CLI_PRUNE_H

#include "cli/indexer.h"

/* Remove every record whose source is `source` or lies below it, and which the run did not come across (indexer->seen,
 * ->sources). name_space NULL = in every namespace. Counts in totals.removed; a dry run only counts and names them.
 * *n_removed: how many. False: failed (indexer->failure), or Ctrl-C. */
bool cli_prune(cli_indexer *indexer, const char *source, const char *name_space, uint64_t *n_removed);

#endif
