/* question_crew.c -- lending one crew of two. */
#include "memory/question_crew.h"

#include "common/threads.h"

enum { CREW_SIZE = 2 }; /* a question never has more than two parts */

void mn_question_crew_init(mn_question_crew *questions)
{
    *questions = (mn_question_crew){.was_asked = false};
    pthread_mutex_init(&questions->lock, NULL);
}

void mn_question_crew_close(mn_question_crew *questions)
{
    mn_crew_free(questions->crew);
    pthread_mutex_destroy(&questions->lock);
}

mn_crew *mn_question_crew_take(mn_question_crew *questions, unsigned n_threads)
{
    if (n_threads == 0) n_threads = mn_cpu_count();
    if (n_threads < CREW_SIZE || pthread_mutex_trylock(&questions->lock) != 0) return NULL;
    if (questions->was_asked && !questions->crew) (void)mn_crew_new(CREW_SIZE, &questions->crew, NULL);
    questions->was_asked = true;
    if (questions->crew && mn_crew_begin(questions->crew)) return questions->crew;
    pthread_mutex_unlock(&questions->lock);
    return NULL;
}

void mn_question_crew_give(mn_question_crew *questions, mn_crew *crew)
{
    if (!crew) return;
    mn_crew_end(crew);
    pthread_mutex_unlock(&questions->lock);
}
