/* index_view.h -- a namespace's index, for people and for programs. */
#ifndef MN_CLI_INDEX_VIEW_H
#define MN_CLI_INDEX_VIEW_H

#include "cli/output.h"
#include "mneme.h"

/* {"kind",...}; one without an index has "reason". */
json_t *cli_index_json(const mneme_index_info *index);
/* "hnsw, 86,908 chunks, 57.3 MB, recall 0.993" or "none (why)", in a static buffer. */
const char *cli_index_line(const mneme_index_info *index);

#endif
