/* record_view.h -- records, hits and passages as JSON and as lines for people: the same in every command. */
#ifndef MN_CLI_RECORD_VIEW_H
#define MN_CLI_RECORD_VIEW_H

#include "mneme.h"

#include <jansson.h>

/* {"id","namespace","title","session","speaker","time","source","metadata","importance","pinned","expires","chunks",
 * "text"}, then what cli_put_strength says (strength NULL: nothing); what the record has not is left out, the namespace
 * is always there. The result is what `index` reads as JSONL. */
json_t *cli_record_json(const mneme_record *record, uint32_t n_chunks, const mneme_strength *strength, bool with_text);

/* object += "strength","half_life_days","uses","last_use","written" */
void cli_put_strength(json_t *object, const mneme_strength *strength);

/* {"id","namespace","chunk","score","dense","lexical","neighbour","attention","start","end","text", ...}; "strength"
 * and "recency" too when the ranking used them: they change with time, an answer without them does not. explain: and
 * "explain" (explain.h). */
json_t *cli_hit_json(const mneme_hit *hit, bool with_strength, bool explain);

/* {"id","namespace","start","end","weight","text", ...}; explain: and "score", "hits", "explain" */
json_t *cli_passage_json(const mneme_passage *passage, bool explain);

/* "[conv-1] " + "title | speaker | 2023-05-08" -- what is set of these, on stdout, without a line break. */
void cli_print_labels(const char *name_space, const char *title, const char *speaker, bool has_time, int64_t time_ms);

#endif
