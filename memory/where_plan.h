/* where_plan.h -- from a selection to the few records that it can be about, with the index of fields instead of a look
 * at every record. */
#ifndef MN_MEMORY_WHERE_PLAN_H
#define MN_MEMORY_WHERE_PLAN_H

#include "memory/handle.h"

/* The records of a namespace that a filter can accept, when the index knows them and they are at most `most`.
 *
 * known  false: no plan; look at every record. true: mn_filter_accepts refuses every record that is not in `recs` (and
 *        must still be asked about those that are).
 * recs   from {0}; ascending, each once. items: heap, mn_free, also after a failure. Empty when known is false.
 *
 * Costs what the plan finds, not what the namespace holds. ERR_MEMORY, ERR_DAMAGED. */
mneme_status mn_where_plan(const mn_filter *filter, mn_read *read, const mn_namespace *space, size_t most, bool *known,
                           mn_recs *recs, mneme_error *error);

/* The same as mn_retrieve_options.candidates: context is the mn_filter, most a quarter of the namespace, above which
 * reading everything in order is as fast. */
mneme_status mn_filter_candidates(void *filter, mn_read *read, const mn_namespace *space, bool *known, mn_recs *recs,
                                  mneme_error *error);

/* Goes through the records that a filter accepts. */
typedef struct mn_selected {
    mn_read *read;
    const mn_namespace *space;
    mn_filter *filter;
    bool known;
    mn_recs recs;
    size_t at;
    uint32_t next_rec;
} mn_selected;

/* From record number `from` on. page: how many of them are wanted; 0 = all. space, filter: borrowed. mn_selected_end in
 * any case. */
mneme_status mn_selected_begin(mn_selected *selected, mn_filter *filter, mn_read *read, const mn_namespace *space,
                               uint32_t from, size_t page, mneme_error *error);
/* ERR_NOT_FOUND at the end. The record given before may be forgotten meanwhile. */
mneme_status mn_selected_next(mn_selected *selected, mn_record *out, mneme_error *error);
void mn_selected_end(mn_selected *selected);

#endif
