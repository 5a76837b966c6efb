/* lists_effort.c -- costs, in rows of the exact scan.
 *
 * A row of the scan takes 36 ns on two cores (384 dimensions). A code that is looked at is counted as one row, and a
 * candidate, whose vector is fetched from the store and multiplied, as ROWS_PER_CANDIDATE. */
#include "retriever/lists_effort.h"

enum { ROWS_PER_CANDIDATE = 8, MOST_AT_LEAST = 2048, SPARE = 10 };

size_t mn_lists_cost(const mn_index_facts *facts, size_t n, size_t k)
{
    return n * (size_t)(facts->n_codes / facts->n_lists) + k * ROWS_PER_CANDIDATE;
}

/* Beyond the ten it was tuned for, ranks are farther apart than the codes' errors: half of the candidates do. */
size_t mn_lists_candidates(const mn_index_facts *facts, size_t wanted)
{
    size_t tuned = (size_t)MN_LISTS_TUNED_FOR * facts->oversampling;
    if (wanted <= MN_LISTS_TUNED_FOR) return tuned;
    return tuned + (wanted - MN_LISTS_TUNED_FOR) * (facts->oversampling / 2 + 1);
}

size_t mn_lists_most_candidates(const mn_index_facts *facts)
{
    size_t most = (size_t)facts->n_codes / ROWS_PER_CANDIDATE;
    return most < MOST_AT_LEAST ? MOST_AT_LEAST : most;
}

static uint32_t at_most_all(const mn_index_facts *facts, size_t n)
{
    return (uint32_t)(n < facts->n_lists ? n : facts->n_lists);
}

uint32_t mn_lists_effort(const mn_index_facts *facts, size_t k)
{
    size_t tuned = (size_t)MN_LISTS_TUNED_FOR * facts->oversampling, effort = facts->effort;
    return at_most_all(facts, k > tuned ? effort + effort * (k - tuned) / (4 * tuned) : effort);
}

uint32_t mn_lists_effort_among(const mn_index_facts *facts, size_t k, size_t n_allowed)
{
    if (n_allowed < k || facts->n_lists == 0) return 0;
    size_t n_codes = (size_t)facts->n_codes, effort = mn_lists_effort(facts, k);
    effort = at_most_all(facts, effort * n_codes / n_allowed);
    return mn_lists_cost(facts, effort, k) < n_allowed ? (uint32_t)effort : 0;
}

/* A tenth may be of dead rows. */
bool mn_lists_will_do(size_t wanted, size_t n, size_t passed)
{
    return n >= wanted + SPARE && passed >= n - n / 10;
}
