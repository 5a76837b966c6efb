/* selection.c -- which records a call is about: namespace, --where expression, session, source and time. */
#include "memory/handle.h"

#include <stdlib.h>
#include <string.h>

mneme_status mn_filter_compile(const mneme_selection *select, mn_arena *arena, mn_filter *out, mneme_error *error)
{
    *out = (mn_filter){.select = *select};
    if (select->source) {
        out->source_size = strlen(select->source);
        while (out->source_size > 1 && select->source[out->source_size - 1] == '/') out->source_size--;
    }
    if (!select->where || !*select->where) return MNEME_OK;
    return mn_where_compile(select->where, arena, &out->where, error);
}

bool mn_filter_is_open(const mn_filter *filter)
{
    const mneme_selection *select = &filter->select;
    return !filter->where && !filter->n_ended && !select->session && !select->source && !select->has_since && !select->has_until;
}

static int by_number(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

mneme_status mn_filter_hide_ended(mn_filter *filter, mn_read *read, const mn_namespace *namespaces, size_t n,
                                  int64_t now_ms, mn_arena *arena, mneme_error *error)
{
    filter->ended = NULL;
    filter->n_ended = 0;
    if (filter->select.include_expired || n == 0) return MNEME_OK;
    mn_ended *all = mn_arena_array(arena, n, sizeof *all);
    if (!all) return mn_fail_memory(error, "records that have ended");
    for (size_t i = 0; i < n; i++) {
        uint32_t *recs = NULL;
        size_t n_recs = 0;
        mneme_status status = mn_read_expired(read, namespaces[i].ns, now_ms, arena, &recs, &n_recs, error);
        if (status != MNEME_OK) return status;
        if (n_recs == 0) continue;
        qsort(recs, n_recs, sizeof *recs, by_number);
        all[filter->n_ended++] = (mn_ended){.name_space = namespaces[i].name, .recs = recs, .n = n_recs};
    }
    filter->ended = all;
    return MNEME_OK;
}

static bool has_ended(const mn_filter *filter, const char *name_space, uint32_t rec)
{
    for (size_t i = 0; i < filter->n_ended; i++) {
        const mn_ended *ended = &filter->ended[i];
        if (strcmp(ended->name_space, name_space) != 0) continue;
        return bsearch(&rec, ended->recs, ended->n, sizeof rec, by_number) != NULL;
    }
    return false;
}

/* Is `source` the file that the filter names, or below the folder? "." is every relative path. */
static bool source_matches(const mn_filter *filter, const char *source)
{
    if (!source) return false;
    const char *wanted = filter->select.source;
    size_t size = filter->source_size;
    if (size == 1 && wanted[0] == '.') return source[0] != '/' && strncmp(source, "../", 3) != 0;
    if (strncmp(source, wanted, size) != 0) return false;
    return source[size] == '\0' || source[size] == '/' || wanted[size - 1] == '/';
}

bool mn_filter_accepts(void *context, const char *name_space, const mn_record *record)
{
    const mn_filter *filter = context;
    const mneme_selection *select = &filter->select;
    if (filter->n_ended && has_ended(filter, name_space, record->rec)) return false;
    if (select->session && (!record->session || strcmp(record->session, select->session) != 0)) return false;
    if (select->source && !source_matches(filter, record->source)) return false;
    if ((select->has_since || select->has_until) && !record->has_time) return false;
    if (select->has_since && record->time_ms < select->since_ms) return false;
    if (select->has_until && record->time_ms >= select->until_ms) return false;
    return !filter->where || mn_where_matches(filter->where, name_space, record);
}

mneme_status mn_selected_namespaces(mn_read *read, const mneme_selection *select, mn_arena *arena, mn_namespace **out,
                                    size_t *n, mneme_error *error)
{
    *out = NULL;
    *n = 0;
    if (!select->name_space) return mn_read_namespaces(read, arena, out, n, error);
    *out = mn_arena_alloc(arena, sizeof **out);
    if (!*out) return mn_fail_memory(error, "namespaces");
    mneme_status status = mn_read_namespace(read, select->name_space, *out, error);
    if (status == MNEME_OK) *n = 1;
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}
