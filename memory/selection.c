/* selection.c -- which records a call is about: namespace, --where expression, session, source and time. */
#include "memory/handle.h"

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
    return !filter->where && !select->session && !select->source && !select->has_since && !select->has_until;
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
