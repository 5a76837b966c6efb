/* uses.h -- which memories were used, gathered while questions are answered and written later.
 *
 * Answers do not wait for this: noting a use costs a few stores under a lock. A thread of its own, started at the first
 * use, writes what has gathered in one transaction, once a memory.flush_seconds at most; mneme_close and mneme_flush
 * write the rest. A crash loses what was gathered since. At most MN_USES_MAX wait; more in one interval are not
 * counted. */
#ifndef MN_MEMORY_USES_H
#define MN_MEMORY_USES_H

#include "memory/strength.h"

enum { MN_USES_MAX = 8192 };

typedef struct mn_uses mn_uses;

/* seconds: between two writes. *out: owned, mn_uses_close. The store must outlive it. */
mneme_status mn_uses_open(mn_store *store, const mn_strength_model *model, double seconds, mn_uses **out,
                          mneme_error *error);
/* Writes what is left; NULL is fine. */
void mn_uses_close(mn_uses *uses);

typedef struct mn_use {
    uint32_t ns, rec;
    float attention;
    int64_t time_ms;
} mn_use;

/* Any thread. Never fails: what cannot be kept is not counted. */
void mn_uses_note(mn_uses *uses, const mn_use *items, size_t n);
/* Write now and wait for it. */
mneme_status mn_uses_flush(mn_uses *uses, mneme_error *error);

#endif
