/* reinforce.c -- strength as the caller sees it, and what changes it by name: reinforce, pin, flush. */
#include "memory/handle.h"

mneme_status mn_strength_view(const mneme *memory, mn_read *read, uint32_t ns, const mn_record *record,
                              mneme_strength *out, mneme_error *error)
{
    mn_strength kept;
    *out = (mneme_strength){0};
    mneme_status status = mn_read_strength(read, ns, record->rec, &kept, error);
    if (status != MNEME_OK) return status;
    int64_t now = mn_memory_now(memory);
    mn_strength_state state = mn_strength_state_of(&memory->model, record, &kept);
    *out = (mneme_strength){.strength = kept.pinned ? 1 : (float)mn_strength_at(&state, now),
                            .importance = record->has_importance ? record->importance : (float)memory->model.importance,
                            .half_life_days = (float)state.half_life_days,
                            .uses = kept.uses,
                            .written_ms = record->written_ms,
                            .has_last_use = kept.used,
                            .last_use_ms = kept.used ? kept.last_ms : 0,
                            .pinned = kept.pinned,
                            .has_expires = kept.has_expires,
                            .expires_ms = kept.expires_ms,
                            .expired = kept.has_expires && !kept.pinned && kept.expires_ms <= now};
    return MNEME_OK;
}

/* One change of what is kept of each of some records. */
typedef struct change_job {
    const mneme *memory;
    const char *name_space;
    const char *const *ids;
    size_t n;
    void (*change)(const struct change_job *job, const mn_record *record, mn_strength *kept);
    double amount;
    bool pinned;
    int64_t now_ms;
} change_job;

static mneme_status change_one(const change_job *job, mn_write *write, uint32_t ns, const char *id, mneme_error *error)
{
    mn_read *read = mn_write_read(write);
    uint32_t rec = 0;
    mn_record record;
    mn_strength kept;
    mneme_status status = mn_read_find(read, ns, id, &rec, error);
    if (status == MNEME_OK) status = mn_read_record(read, ns, rec, &record, error);
    if (status == MNEME_OK) status = mn_read_strength(read, ns, rec, &kept, error);
    if (status != MNEME_OK) return status;
    job->change(job, &record, &kept);
    return mn_write_strength(write, ns, rec, &kept, error);
}

static mneme_status change_all(void *context, mn_write *write, mneme_error *error)
{
    change_job *job = context;
    mn_namespace space;
    mneme_status status = mn_read_namespace(mn_write_read(write), job->name_space, &space, error);
    for (size_t i = 0; i < job->n && status == MNEME_OK; i++)
        status = change_one(job, write, space.ns, job->ids[i], error);
    return status;
}

static mneme_status change(change_job *job, mneme *memory, mneme_error *error)
{
    if (job->n == 0) return MNEME_OK;
    if (!job->ids) return mn_fail(error, MNEME_ERR_USAGE, "no ids given");
    for (size_t i = 0; i < job->n; i++)
        if (!job->ids[i] || !*job->ids[i]) return mn_fail(error, MNEME_ERR_USAGE, "an id is empty");
    job->memory = memory;
    job->now_ms = mn_memory_now(memory);
    mneme_status status = mneme_flush(memory, error); /* earlier uses count first */
    return status == MNEME_OK ? mn_store_update(memory->store, change_all, job, NULL, error) : status;
}

static void add_use(const change_job *job, const mn_record *record, mn_strength *kept)
{
    mn_strength_keep_use(&job->memory->model, record, job->amount, job->now_ms, kept);
}

static void set_pin(const change_job *job, const mn_record *record, mn_strength *kept)
{
    (void)record;
    kept->pinned = job->pinned;
}

mneme_status mneme_flush(mneme *memory, mneme_error *error)
{
    return memory->uses ? mn_uses_flush(memory->uses, error) : MNEME_OK;
}

mneme_status mneme_reinforce(mneme *memory, const char *name_space, const char *const *ids, size_t n, double amount,
                             mneme_error *error)
{
    if (!(amount > 0) || amount > 100)
        return mn_fail(error, MNEME_ERR_USAGE, "reinforce by %g: it must be above 0 and at most 100", amount);
    change_job job = {.name_space = name_space, .ids = ids, .n = n, .change = add_use, .amount = amount};
    return change(&job, memory, error);
}

mneme_status mneme_pin(mneme *memory, const char *name_space, const char *const *ids, size_t n, bool pinned,
                       mneme_error *error)
{
    change_job job = {.name_space = name_space, .ids = ids, .n = n, .change = set_pin, .pinned = pinned};
    return change(&job, memory, error);
}
