/* step_plan.h -- texts of different lengths laid out by time step, without padding.
 *
 * Longest text first, so that a step's texts are the first so many: their rows lie together, and a product takes them
 * all at once (PyTorch's PackedSequence):
 *
 *     text   tokens        rows, by step    | 0: B0 A0 C0 | 1: B1 A1 C1 | 2: B2 A2 | 3: B3 |
 *     A      A0 A1 A2      first_row          0             3             6          8       9
 *     B      B0 B1 B2 B3   order              B A C
 *     C      C0 C1
 *
 * Texts of one length keep their order. Texts repeat tokens: what depends on the token alone is worked out for the
 * distinct ones. */
#ifndef MN_ENCODER_STEP_PLAN_H
#define MN_ENCODER_STEP_PLAN_H

#include "encoder/encoder.h"

typedef struct mn_step_plan {
    uint32_t n_texts, n_steps, n_rows, n_distinct;
    uint32_t *order;     /* (n_texts) the text of each rank */
    uint32_t *lengths;   /* (n_texts) tokens by rank, at least 1 */
    uint32_t *first_row; /* (n_steps + 1) */
    uint32_t *token;     /* (n_rows) its place in distinct */
    uint32_t *distinct;  /* (n_distinct) token ids, in the order in which the texts first have them */
    uint32_t *seen;      /* (vocabulary) zeros between calls */
    void *block;         /* of what has n_rows or fewer */
    size_t capacity;
} mn_step_plan; /* start from {0}; kept from batch to batch */

/* vocabulary: the same in every call. unknown: the token that a text of none counts as. ERR_MODEL: an id is not below
 * vocabulary; ERR_MEMORY. */
mneme_status mn_step_plan_make(mn_step_plan *plan, const mn_token_batch *batch, uint32_t vocabulary, uint32_t unknown,
                               mneme_error *error);
void mn_step_plan_free(mn_step_plan *plan);

/* The same once, in memory of the caller's: mn_step_plan_words(batch, vocabulary) of them, of any content; the plan is
 * not to be freed. */
size_t mn_step_plan_words(const mn_token_batch *batch, uint32_t vocabulary);
mneme_status mn_step_plan_make_in(mn_step_plan *plan, uint32_t *words, const mn_token_batch *batch, uint32_t vocabulary,
                                  uint32_t unknown, mneme_error *error);

static inline uint32_t mn_step_plan_rows(const mn_step_plan *plan, uint32_t step)
{
    return plan->first_row[step + 1] - plan->first_row[step];
}

#endif
