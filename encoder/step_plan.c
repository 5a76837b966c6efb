/* step_plan.c -- ranks by counting, then rows step by step. */
#include "encoder/step_plan.h"

#include "common/memory.h"

#include <string.h>

static uint32_t length_of(const mn_token_batch *batch, size_t text)
{
    uint32_t length = batch->offsets[text + 1] - batch->offsets[text];
    return length > 0 ? length : 1;
}

/* Words of a plan of n rows, without `seen`; texts and steps are no more than rows. */
static size_t block_words(size_t n)
{
    return 5 * n + 1;
}

static void place(mn_step_plan *plan, uint32_t *block, size_t n)
{
    plan->order = block;
    plan->lengths = block + n;
    plan->token = block + 2 * n;
    plan->distinct = block + 3 * n;
    plan->first_row = block + 4 * n; /* one more */
}

static mneme_status reserve(mn_step_plan *plan, size_t n, uint32_t vocabulary, mneme_error *error)
{
    if (!plan->seen) plan->seen = mn_alloc_zeroed(vocabulary, sizeof *plan->seen);
    if (!plan->seen) return mn_fail_memory(error, "encoding");
    if (plan->capacity >= n) return MNEME_OK;
    mn_free(plan->block);
    plan->capacity = 0;
    plan->block = mn_alloc_array(block_words(n), sizeof(uint32_t));
    if (!plan->block) return mn_fail_memory(error, "encoding");
    place(plan, plan->block, n);
    plan->capacity = n;
    return MNEME_OK;
}

/* first_row, and from it each text's rank: before it come the longer ones, and those of its length that came first. */
static void rank(mn_step_plan *plan, const mn_token_batch *batch)
{
    uint32_t *next = plan->token; /* by length - 1; not in use yet */
    memset(plan->first_row, 0, (plan->n_steps + 1) * sizeof *plan->first_row);
    for (size_t i = 0; i < batch->n; i++) plan->first_row[length_of(batch, i)]++;
    uint32_t longer = 0;
    for (uint32_t length = plan->n_steps; length > 0; length--) {
        uint32_t n = plan->first_row[length];
        next[length - 1] = longer;
        longer += n;
        plan->first_row[length] = longer; /* texts of at least that length: the rows of step length - 1 */
    }
    for (uint32_t step = 0; step < plan->n_steps; step++) plan->first_row[step + 1] += plan->first_row[step];
    for (size_t i = 0; i < batch->n; i++) {
        uint32_t place = next[length_of(batch, i) - 1]++;
        plan->order[place] = (uint32_t)i;
        plan->lengths[place] = length_of(batch, i);
    }
}

static void place_tokens(mn_step_plan *plan, const mn_token_batch *batch, uint32_t unknown)
{
    plan->n_distinct = 0;
    for (uint32_t r = 0; r < plan->n_texts; r++) {
        uint32_t first = batch->offsets[plan->order[r]], n = batch->offsets[plan->order[r] + 1] - first;
        for (uint32_t t = 0; t < plan->lengths[r]; t++) {
            uint32_t id = n > 0 ? batch->ids[first + t] : unknown;
            if (plan->seen[id] == 0) {
                plan->distinct[plan->n_distinct++] = id;
                plan->seen[id] = plan->n_distinct;
            }
            plan->token[plan->first_row[t] + r] = plan->seen[id] - 1;
        }
    }
    for (uint32_t i = 0; i < plan->n_distinct; i++) plan->seen[plan->distinct[i]] = 0;
}

static size_t count_rows(const mn_token_batch *batch)
{
    size_t n = 0;
    for (size_t i = 0; i < batch->n; i++) n += length_of(batch, i);
    return n;
}

static mneme_status check(const mn_token_batch *batch, uint32_t vocabulary, mneme_error *error)
{
    for (uint32_t t = batch->offsets[0]; t < batch->offsets[batch->n]; t++)
        if (batch->ids[t] >= vocabulary)
            return mn_fail(error, MNEME_ERR_MODEL, "token id %u is not in the embedding table of %u rows",
                           batch->ids[t], vocabulary);
    return count_rows(batch) > UINT32_MAX / 2 ? mn_fail_memory(error, "encoding") : MNEME_OK;
}

/* There is room for it. */
static void fill(mn_step_plan *plan, const mn_token_batch *batch, uint32_t unknown)
{
    plan->n_texts = (uint32_t)batch->n;
    plan->n_rows = (uint32_t)count_rows(batch);
    plan->n_steps = 0;
    for (size_t i = 0; i < batch->n; i++)
        if (length_of(batch, i) > plan->n_steps) plan->n_steps = length_of(batch, i);
    rank(plan, batch);
    place_tokens(plan, batch, unknown);
}

mneme_status mn_step_plan_make(mn_step_plan *plan, const mn_token_batch *batch, uint32_t vocabulary, uint32_t unknown,
                               mneme_error *error)
{
    mneme_status status = check(batch, vocabulary, error);
    if (status == MNEME_OK) status = reserve(plan, count_rows(batch), vocabulary, error);
    if (status == MNEME_OK) fill(plan, batch, unknown);
    return status;
}

size_t mn_step_plan_words(const mn_token_batch *batch, uint32_t vocabulary)
{
    return vocabulary + block_words(count_rows(batch));
}

mneme_status mn_step_plan_make_in(mn_step_plan *plan, uint32_t *words, const mn_token_batch *batch, uint32_t vocabulary,
                                  uint32_t unknown, mneme_error *error)
{
    mneme_status status = check(batch, vocabulary, error);
    if (status != MNEME_OK) return status;
    *plan = (mn_step_plan){.seen = words};
    memset(words, 0, vocabulary * sizeof *words);
    place(plan, words + vocabulary, count_rows(batch));
    fill(plan, batch, unknown);
    return MNEME_OK;
}

void mn_step_plan_free(mn_step_plan *plan)
{
    mn_free(plan->block);
    mn_free(plan->seen);
    *plan = (mn_step_plan){0};
}
