/* crew.h -- a few threads for many jobs of microseconds, one right after the other.
 *
 * Between mn_crew_begin and mn_crew_end the members wait for the next job by spinning, so that handing one out costs
 * less than a microsecond; outside they sleep. For longer jobs, that come one at a time, see threads.h.
 *
 * A member that is late (still waking up, or without a processor) takes no items, and nobody waits for it: the caller
 * does all that is left itself, and waits only for items that others are at. */
#ifndef MN_COMMON_CREW_H
#define MN_COMMON_CREW_H

#include "common/error.h"

typedef struct mn_crew mn_crew;

enum { MN_CREW_ITEMS_MOST = 1 << 16 }; /* of one job */

/* n >= 2 threads, the caller included; the others are started by the first mn_crew_begin. */
mneme_status mn_crew_new(unsigned n, mn_crew **out, mneme_error *error);
void mn_crew_free(mn_crew *crew);
unsigned mn_crew_count(const mn_crew *crew);

/* From begin to end the crew is the calling thread's; one thread at a time. False: it rests, and there is no end to be
 * called; do the work alone. It rests where others need the processors, too: after a job whose caller waited for
 * MN_CREW_HELD_UP_MS at least, for the next MN_CREW_RESTS begins. */
bool mn_crew_begin(mn_crew *crew);
void mn_crew_end(mn_crew *crew);

enum { MN_CREW_HELD_UP_MS = 2, MN_CREW_RESTS = 64 };

/* Call work(context, item, worker) once for each item 0..n_items-1, worker being 0..count-1 (0 = the caller); returns
 * when all are done. n_items < MN_CREW_ITEMS_MOST. crew NULL: any number of them, by the caller, in their order. */
void mn_crew_run(mn_crew *crew, unsigned n_items, void (*work)(void *context, unsigned item, unsigned worker),
                 void *context);

#endif
