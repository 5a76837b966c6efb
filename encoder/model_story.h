/* model_story.h -- what a model's config.json says under our own key "mneme" of how it was made: lines for people. */
#ifndef MN_ENCODER_MODEL_STORY_H
#define MN_ENCODER_MODEL_STORY_H

#include "common/error.h"

typedef struct mn_model_story {
    char *teacher;      /* "teacher", or "distilled_from" */
    char *trained_from; /* what its weights were at the start */
    char *trained_on;
    char *compressed;
    char *vocabulary; /* what its tokens were learnt from */
    char *measured;   /* the numbers and texts of the object "measured": "cosine 0.93, cranfield.ndcg@10 0.41" */
} mn_model_story;     /* owned, each NULL where it is not said; printable, at most some hundred bytes */

/* ERR_MEMORY alone: a config.json that cannot be read, or says nothing, tells no story. */
mneme_status mn_model_story_read(const char *folder, mn_model_story *out, mneme_error *error);
/* The same from the text of config.json. Any bytes. */
mneme_status mn_model_story_parse(const char *text, size_t size, mn_model_story *out, mneme_error *error);
void mn_model_story_free(mn_model_story *story);

#endif
