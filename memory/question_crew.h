/* question_crew.h -- a second thread for questions.
 *
 * A hybrid question has parts that do not need each other: nearest vectors and words, new words and new products. On a
 * second thread they take two thirds of the time. A process that asks once needs none: its time goes into mapping the
 * store, and starting a thread is not free. So from the second question on. One question at a time has the crew; those
 * asked meanwhile by other threads do without. No answer depends on it. */
#ifndef MN_MEMORY_QUESTION_CREW_H
#define MN_MEMORY_QUESTION_CREW_H

#include "common/crew.h"

#include <pthread.h>

typedef struct mn_question_crew {
    pthread_mutex_t lock; /* held while a question has the crew; guards what follows */
    bool was_asked;
    mn_crew *crew; /* NULL before the second question */
} mn_question_crew;

void mn_question_crew_init(mn_question_crew *questions);
void mn_question_crew_close(mn_question_crew *questions);

/* The crew, begun, or NULL: to be given back by the same thread. n_threads: that a question may have; 0 = as many as
 * there are cores. */
mn_crew *mn_question_crew_take(mn_question_crew *questions, unsigned n_threads);
/* crew: what take gave, NULL included. */
void mn_question_crew_give(mn_question_crew *questions, mn_crew *crew);

#endif
