/* index_view.h -- a namespace's index, for people and for programs. */
#ifndef MN_CLI_INDEX_VIEW_H
#define MN_CLI_INDEX_VIEW_H

#include "cli/output.h"
#include "mneme.h"

/* {"kind",...}; one without an index has "reason". */
json_t *cli_index_json(const mneme_index_info *index);
/* "hnsw, 86,908 chunks, 57.3 MB, recall 0.993" or "none (why)", in a static buffer. */
const char *cli_index_line(const mneme_index_info *index);

/* After much was stored: build the indexes that are wanted, with a bar, where the background of this memory would. What
 * was stored is safe already: a failure is only told, and Ctrl-C leaves it for the next time. memory NULL is fine.
 * Returns `code`, or cli_stop_code() after Ctrl-C. */
int cli_finish_index(mneme *memory, int code);

#endif
