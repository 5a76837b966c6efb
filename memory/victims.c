/* victims.c -- choosing what a budget leaves no room for. */
#include "memory/victims.h"

#include <stdlib.h>
#include <string.h>

typedef struct candidate {
    uint64_t bytes;
    double order; /* the lowest goes first; then the one that was written first */
    uint32_t rec, n_chunks;
    enum { CANDIDATE_ENDED, CANDIDATE_LIVE, CANDIDATE_PINNED } kind;
    bool weak;
} candidate;

typedef struct choice {
    const mneme_prune_options *options;
    candidate *items; /* heap */
    size_t n, capacity;
    uint64_t records, chunks, bytes; /* that are left */
} choice;

/* What a record takes: its text and labels, 16 bytes and a vector a chunk, and two bytes for each posting, which is
 * about what they come to. LMDB's pages are not counted: the file shrinks by `compact`. */
static uint64_t bytes_of(const mn_namespace *space, const mn_rows *rows, const mn_record *record)
{
    const char *const strings[] = {record->id,      record->title,    record->session,
                                   record->speaker, record->metadata, record->source};
    uint64_t bytes = record->text_size;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) bytes += strings[i] ? strlen(strings[i]) : 0;
    for (uint32_t i = 0; i < record->n_chunks && record->first_row + i < rows->n_rows; i++)
        bytes += 16 + mn_vector_row_bytes(space->vector_type, space->dimension) +
                 2 * (uint64_t)mn_row_at(rows, record->first_row + i)->n_terms;
    return bytes;
}

/* SplitMix64 (Steele, Lea, Flood 2014) of the seed and the record: the same draw whatever else is in the store. */
static double draw(uint64_t seed, uint32_t ns, uint32_t rec)
{
    uint64_t x = seed + UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)ns << 32 | rec);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((x ^ x >> 31) >> 11);
}

static double order_of(const mneme_prune_options *options, uint32_t ns, uint32_t rec, const mneme_strength *strength)
{
    if (strength->expired) return (double)strength->expires_ms;
    switch (options->strategy) {
    case MNEME_PRUNE_NEWEST: return (double)strength->written_ms;
    case MNEME_PRUNE_RANDOM: return draw(options->seed, ns, rec);
    case MNEME_PRUNE_STRENGTH: break;
    }
    return (double)strength->strength;
}

static mneme_status add_candidate(choice *all, const candidate *item, mneme_error *error)
{
    if (all->n == all->capacity) {
        size_t capacity = all->capacity ? all->capacity * 2 : 256;
        candidate *larger = mn_realloc_array(all->items, capacity, sizeof *larger);
        if (!larger) return mn_fail_memory(error, "records to prune");
        all->items = larger;
        all->capacity = capacity;
    }
    all->items[all->n++] = *item;
    all->records++;
    all->chunks += item->n_chunks;
    all->bytes += item->bytes;
    return MNEME_OK;
}

static mneme_status look_at_all(const mneme *memory, mn_read *read, const mn_namespace *space, choice *all,
                                mneme_error *error)
{
    mn_arena arena = {0};
    mn_rows rows;
    mn_record record;
    uint32_t rec = 0;
    mneme_status status = mn_read_rows(read, space->ns, &arena, &rows, error);
    while (status == MNEME_OK && (status = mn_read_next_record(read, space->ns, rec, &record, error)) == MNEME_OK) {
        rec = record.rec + 1;
        mneme_strength strength;
        status = mn_strength_view(memory, read, space->ns, &record, &strength, error);
        const candidate item = {.rec = record.rec,
                                .n_chunks = record.n_chunks,
                                .bytes = bytes_of(space, &rows, &record),
                                .order = order_of(all->options, space->ns, record.rec, &strength),
                                .kind = strength.pinned    ? CANDIDATE_PINNED
                                        : strength.expired ? CANDIDATE_ENDED
                                                           : CANDIDATE_LIVE,
                                .weak = all->options->strategy == MNEME_PRUNE_STRENGTH &&
                                        (double)strength.strength < all->options->min_strength};
        if (status == MNEME_OK) status = add_candidate(all, &item, error);
    }
    mn_arena_free(&arena);
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

/* Ended ones by their end, then by order; pinned ones last. */
static int by_order(const void *left, const void *right)
{
    const candidate *a = left, *b = right;
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    if (a->order < b->order || a->order > b->order) return a->order < b->order ? -1 : 1;
    return (a->rec > b->rec) - (a->rec < b->rec);
}

static bool over(uint64_t used, uint64_t limit)
{
    return limit && used > limit;
}

/* Must this one, the next in order, go? */
static bool must_go(const choice *all, const candidate *item, mneme_prune_reason *reason)
{
    const mneme_prune_options *options = all->options;
    if (item->kind == CANDIDATE_PINNED) return false;
    *reason = MNEME_PRUNE_EXPIRED;
    if (item->kind == CANDIDATE_ENDED) return true;
    *reason = MNEME_PRUNE_WEAK;
    if (item->weak) return true;
    *reason = MNEME_PRUNE_BUDGET;
    return over(all->records, options->max_records) || over(all->chunks, options->max_chunks) ||
           over(all->bytes, options->max_bytes);
}

mneme_status mn_victims_choose(const mneme *memory, mn_read *read, const mn_namespace *space,
                               const mneme_prune_options *options, mn_victims *out, mneme_error *error)
{
    *out = (mn_victims){0};
    choice all = {.options = options};
    mneme_status status = look_at_all(memory, read, space, &all, error);
    if (status == MNEME_OK && all.n) qsort(all.items, all.n, sizeof *all.items, by_order);
    out->items = status == MNEME_OK ? mn_alloc_array(all.n ? all.n : 1, sizeof *out->items) : NULL;
    if (status == MNEME_OK && !out->items) status = mn_fail_memory(error, "records to prune");
    for (size_t i = 0; i < all.n && status == MNEME_OK; i++) {
        const candidate *item = &all.items[i];
        mn_victim victim = {.rec = item->rec, .n_chunks = item->n_chunks, .bytes = item->bytes};
        if (!must_go(&all, item, &victim.reason)) break;
        all.records--;
        all.chunks -= victim.n_chunks;
        all.bytes -= victim.bytes;
        out->items[out->n++] = victim;
    }
    out->kept_records = all.records;
    out->kept_chunks = all.chunks;
    out->kept_bytes = all.bytes;
    mn_free(all.items);
    return status;
}

void mn_victims_free(mn_victims *victims)
{
    mn_free(victims->items);
    *victims = (mn_victims){0};
}
