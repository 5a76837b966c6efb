/* optimize.c -- which namespaces get an index, of which kind, and whether the one that is there will do. */
#include "memory/optimize.h"

#include "memory/index_build.h"
#include "memory/index_keeper.h"
#include "retriever/index_scrub.h"

#include <string.h>
#include <unistd.h>

#define MOST_NEWER 0.2 /* share of what it covers that is scanned beside it before it is extended in the background */

/* ---- what is there ---- */

static mneme_status count_places(const mn_index *index, mn_read *read, const mn_namespace *space, mneme_index_info *out,
                                 mneme_error *error)
{
    mn_arena arena = {0};
    mn_rows rows;
    const mn_index_facts *facts = mn_index_get_facts(index);
    mneme_status status = mn_read_rows(read, space->ns, &arena, &rows, error);
    for (uint64_t p = 0; p < facts->n_codes && status == MNEME_OK; p++) {
        uint32_t row = mn_index_rows(index)[p];
        if (row < rows.n_rows && mn_row_at(&rows, row)->rec)
            out->covered++;
        else
            out->dead++;
    }
    out->newer = space->n_chunks > out->covered ? space->n_chunks - out->covered : 0;
    mn_arena_free(&arena);
    return status;
}

/* Why a namespace without an index has none. */
static const char *reason_for_none(const mneme *memory, const mn_namespace *space)
{
    const mn_settings_values *values = &memory->values;
    if (space->dimension == 0) return "it has no vectors";
    if (strcmp(values->index_kind, "none") == 0) return "index.kind is none";
    if (strcmp(values->index_kind, "auto") == 0 && space->n_chunks < (uint64_t)values->index_min_rows)
        return "it is small: fewer chunks than index.min_rows";
    if (mn_index_kind_for(memory, space, values->index_kind) == MN_INDEX_NONE)
        return "it would be larger than index.memory_mib";
    return "none was built yet; 'mneme optimize' does";
}

mneme_status mn_index_describe(mneme *memory, mn_read *read, const mn_namespace *space, mn_arena *arena,
                               mneme_index_info *out, mneme_error *error)
{
    char reason[MN_INDEX_REASON_SIZE] = "";
    mneme_status status = MNEME_OK;
    mn_index *index = memory->indexes ? mn_index_table_get(memory->indexes, read, space, reason) : NULL;
    *out = (mneme_index_info){.kind = "none", .reason = "", .newer = space->dimension ? space->n_chunks : 0};
    if (index) {
        const mn_index_facts *facts = mn_index_get_facts(index);
        *out = (mneme_index_info){.kind = mn_index_kind_name(facts->kind),
                                  .reason = "",
                                  .bytes = mn_index_bytes(index),
                                  .recall = facts->recall,
                                  .recall_asked = facts->recall_asked,
                                  .effort = facts->effort,
                                  .build_ms = facts->build_ms,
                                  .generation = facts->generation};
        status = count_places(index, read, space, out, error);
    } else {
        char text[200];
        if (*reason)
            snprintf(text, sizeof text, "its file is not used: %s", reason);
        else
            snprintf(text, sizeof text, "%s", reason_for_none(memory, space));
        out->reason = mn_arena_strdup(arena, text);
        if (!out->reason) status = mn_fail_memory(error, "statistics");
    }
    mn_index_release(index);
    return status;
}

/* ---- what there should be ---- */

static bool fits(const mn_settings_values *values, const mn_namespace *space, mn_index_kind kind)
{
    uint64_t bytes = space->n_chunks * mn_index_row_bytes(kind, mn_index_padded(space->dimension));
    return bytes <= (uint64_t)values->index_memory_mib << 20;
}

mn_index_kind mn_index_kind_for(const mneme *memory, const mn_namespace *space, const char *kind)
{
    const mn_settings_values *values = &memory->values;
    mn_index_kind asked = MN_INDEX_NONE;
    if (space->dimension == 0) return MN_INDEX_NONE;
    bool may_have_lists = space->n_chunks >= MN_INDEX_FEWEST_LISTED;
    if (strcmp(kind, "auto") != 0) {
        if (!mn_index_kind_parse(kind, &asked)) return MN_INDEX_NONE;
        return mn_index_has_lists(asked) && !may_have_lists ? MN_INDEX_HNSW : asked;
    }
    if (space->n_chunks < (uint64_t)values->index_min_rows) return MN_INDEX_NONE;
    if (fits(values, space, MN_INDEX_HNSW)) return MN_INDEX_HNSW;
    return may_have_lists && fits(values, space, MN_INDEX_IVFPQ) ? MN_INDEX_IVFPQ : MN_INDEX_NONE;
}

typedef struct job {
    mneme *memory;
    const mneme_optimize_options *options;
    mn_index_plan plan; /* of the namespace at work */
    const mn_namespace *space;
    mn_index *present; /* NULL: there is none that is good */
    bool wanted;       /* by the background */
    mneme_index_info info;
    mn_arena arena; /* of its texts */
    mneme_error *error;
} job;

/* Is so much not covered that the background does something about it? */
static bool is_wanted(mneme *memory, mn_read *read, const mn_namespace *space)
{
    if (mn_index_kind_for(memory, space, memory->values.index_kind) == MN_INDEX_NONE) return false;
    mn_index *index = mn_index_table_get(memory->indexes, read, space, NULL);
    uint64_t covered = index ? mn_index_get_facts(index)->n_rows : 0, newer = space->next_row - covered;
    mn_index_release(index);
    return newer >= (uint64_t)memory->values.index_min_rows && (double)newer > MOST_NEWER * (double)covered;
}

bool mn_index_is_wanted(mneme *memory)
{
    mn_arena arena = {0};
    mn_read *read = NULL;
    mn_namespace *spaces = NULL;
    size_t n = 0;
    bool wanted = false;
    if (mn_read_begin(memory->store, &read, NULL) == MNEME_OK &&
        mn_read_namespaces(read, &arena, &spaces, &n, NULL) == MNEME_OK)
        for (size_t i = 0; i < n && !wanted; i++) wanted = is_wanted(memory, read, &spaces[i]);
    mn_read_end(read);
    mn_arena_free(&arena);
    return wanted;
}

/* Look at the namespace in a read of its own. */
static mneme_status look(job *j)
{
    mn_read *read = NULL;
    mn_namespace now;
    mneme_status status = mn_read_begin(j->memory->store, &read, j->error);
    if (status == MNEME_OK) status = mn_read_namespace(read, j->space->name, &now, j->error);
    if (status == MNEME_OK) status = mn_index_describe(j->memory, read, &now, &j->arena, &j->info, j->error);
    if (status == MNEME_OK) j->present = mn_index_table_get(j->memory->indexes, read, &now, NULL);
    if (status == MNEME_OK) j->wanted = is_wanted(j->memory, read, &now);
    mn_read_end(read);
    return status;
}

static void tell(job *j, const char *what)
{
    if (j->options->done) j->options->done(j->options->context, j->space->name, what, &j->info);
}

static mneme_status remove_file(job *j)
{
    char *path = mn_index_path(mn_store_folder(j->memory->store), j->space->ns);
    if (!path) return mn_fail_memory(j->error, "index");
    bool removed = unlink(path) == 0;
    mn_free(path);
    mn_index_release(j->present);
    j->present = NULL;
    mneme_status status = look(j);
    if (status == MNEME_OK) tell(j, removed ? "removed" : "none");
    return status;
}

/* Go on from what is there, unless too much of it is dead or new. */
static bool must_be_anew(const job *j)
{
    const mneme_index_info *info = &j->info;
    return j->options->anew || !j->present || mn_index_get_facts(j->present)->kind != j->plan.kind ||
           info->recall_asked < j->plan.recall || info->newer > info->covered ||
           (double)info->dead > MN_INDEX_MOST_DEAD * (double)(info->covered + info->dead);
}

static mneme_status bring_up_to_date(job *j)
{
    mn_index_built built;
    mneme_status status = look(j);
    if (status != MNEME_OK || (j->options->only_wanted && !j->wanted)) return status;
    if (j->plan.kind == MN_INDEX_NONE) return remove_file(j);
    j->plan.anew = must_be_anew(j);
    if (!j->plan.anew && j->info.newer == 0) {
        tell(j, "kept");
        return MNEME_OK;
    }
    status = mn_index_build(j->memory->store, j->space, &j->plan, j->present, &built, j->error);
    if (status != MNEME_OK) return status;
    mn_index_release(j->present);
    j->present = NULL;
    status = look(j);
    if (status == MNEME_OK) tell(j, built.extended ? "extended" : "built");
    return status;
}

static mneme_status optimize_one(mneme *memory, const mneme_optimize_options *options, const mn_namespace *space,
                                 bool in_background, mneme_error *error)
{
    const mn_settings_values *values = &memory->values;
    job j = {.memory = memory, .options = options, .space = space, .error = error};
    const char *kind = options->kind ? options->kind : values->index_kind;
    j.plan = (mn_index_plan){.kind = mn_index_kind_for(memory, space, kind),
                             .recall = options->recall > 0 ? options->recall : values->index_recall,
                             .in_background = in_background,
                             .progress = options->progress,
                             .context = options->context};
    mneme_status status = bring_up_to_date(&j);
    mn_index_release(j.present);
    mn_arena_free(&j.arena);
    return status;
}

static mneme_status list_namespaces(mneme *memory, const char *name, mn_arena *arena, mn_namespace **out, size_t *n,
                                    mneme_error *error)
{
    mn_read *read = NULL;
    const mneme_selection select = {.name_space = name};
    mneme_status status = mn_read_begin(memory->store, &read, error);
    if (status == MNEME_OK) status = mn_selected_namespaces(read, &select, arena, out, n, error);
    for (size_t i = 0; i < *n && status == MNEME_OK; i++) {
        (*out)[i].name = mn_arena_strdup(arena, (*out)[i].name);
        if (!(*out)[i].name) status = mn_fail_memory(error, "namespaces");
    }
    mn_read_end(read);
    if (status == MNEME_OK && name && *n == 0)
        status = mn_fail(error, MNEME_ERR_NOT_FOUND, "there is no namespace \"%s\"", name);
    return status;
}

static mneme_status check_options(const mneme_optimize_options *options, mneme_error *error)
{
    mn_index_kind kind;
    if (options->kind && strcmp(options->kind, "auto") != 0 && !mn_index_kind_parse(options->kind, &kind))
        return mn_fail(error, MNEME_ERR_USAGE,
                       "there is no index of kind \"%s\"; there are auto, none, hnsw, hnsw-bf16, hnsw-f32 and ivfpq",
                       options->kind);
    if (!(options->recall >= 0 && options->recall < 1))
        return mn_fail(error, MNEME_ERR_USAGE, "a recall of %g cannot be asked for; expected 0 to 1, 1 excluded",
                       options->recall);
    return MNEME_OK;
}

mneme_status mn_optimize_all(mneme *memory, const mneme_optimize_options *options, bool in_background,
                             mneme_error *error)
{
    mn_arena arena = {0};
    mn_namespace *spaces = NULL;
    size_t n = 0;
    mneme_status status = list_namespaces(memory, options->name_space, &arena, &spaces, &n, error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++)
        status = optimize_one(memory, options, &spaces[i], in_background, error);
    mn_arena_free(&arena);
    return status;
}

mneme_status mneme_optimize(mneme *memory, const mneme_optimize_options *options, mneme_error *error)
{
    static const mneme_optimize_options defaults = MNEME_OPTIMIZE_OPTIONS_INIT;
    int lock = -1;
    if (!options) options = &defaults;
    mneme_status status = check_options(options, error);
    if (status == MNEME_OK && memory->read_only)
        status = mn_fail(error, MNEME_ERR_READ_ONLY, "store %s is open for reading only", mn_store_path(memory->store));
    if (status == MNEME_OK && options->only_wanted && strcmp(memory->values.index_build, "auto") != 0) return MNEME_OK;
    if (status == MNEME_OK) status = mn_index_keeper_wait(memory->keeper, options->progress, options->context, error);
    if (status == MNEME_OK) status = mn_index_build_lock(memory->store, &lock, error);
    if (status == MNEME_OK) status = mn_optimize_all(memory, options, false, error);
    mn_index_build_unlock(lock);
    return status;
}
