/* where.h -- the expressions that select records: `speaker = "Ann" and time >= 2023-05-01`. docs/where.md has the
 * grammar. */
#ifndef MN_MEMORY_WHERE_H
#define MN_MEMORY_WHERE_H

#include "memstore/store.h"

typedef struct mn_where mn_where; /* read-only once compiled: any number of threads may evaluate one */

/* Compile an expression into the arena (which must outlive it). ERR_SYNTAX points at the column. */
mneme_status mn_where_compile(const char *expression, mn_arena *arena, const mn_where **out, mneme_error *error);

/* Does the record match? A comparison with a field that the record does not have is false. */
bool mn_where_matches(const mn_where *where, const char *name_space, const mn_record *record);

#endif
