/* where_plan.c -- which part of the index answers a filter.
 *
 * The filter becomes a tree of the index's ranges:
 *
 *     RANGE   a comparison that the index can answer
 *     BEST    and: its most selective part alone
 *     UNION   or, in, contains: all parts
 *     ALL     not for the index (not, !=, title): a BEST leaves it out, a UNION with it is ALL
 *     NONE    no record can match: a UNION leaves it out, a BEST with it is NONE
 *
 * Each range holds a superset of what matches, so BEST and UNION do, too. Parts of a BEST that bound one field from
 * both sides become one range. How selective parts are is counted with a limit that grows: the most selective part ends
 * the counting, whatever the others would take. */
#include "memory/where_plan.h"

#include "memory/where_tree.h"

#include <math.h>
#include <string.h>

enum { FIRST_LIMIT = 64, LIMIT_GROWTH = 16 };

typedef enum plan_kind { PLAN_ALL, PLAN_NONE, PLAN_RANGE, PLAN_UNION, PLAN_BEST } plan_kind;

typedef struct plan {
    plan_kind kind;
    mn_field_range range;
    struct plan **parts;
    size_t n;
    struct plan *chosen; /* of BEST */
} plan;

typedef struct builder {
    const mn_filter *filter;
    const char *name_space;
    mn_arena *arena;
    bool uses_metadata; /* records whose metadata is not indexed come along */
    bool failed;        /* out of memory */
} builder;

static plan g_all = {.kind = PLAN_ALL}, g_none = {.kind = PLAN_NONE};

/* ---- ranges -------------------------------------------------------------------------------------------------------
 */

static plan *new_plan(builder *b, plan_kind kind, size_t capacity)
{
    plan *made = mn_arena_alloc(b->arena, sizeof *made);
    plan **parts = made && capacity ? mn_arena_array(b->arena, capacity, sizeof *parts) : NULL;
    if (!made || (capacity && !parts)) {
        b->failed = true;
        return &g_all;
    }
    *made = (plan){.kind = kind, .parts = parts};
    return made;
}

static plan *range_plan(builder *b, const char *field, mn_field_match match, mn_field_value value)
{
    plan *made = new_plan(b, PLAN_RANGE, 0);
    if (made->kind == PLAN_RANGE) made->range = (mn_field_range){.field = field, .match = match, .low = value};
    if (field[0] == '.') b->uses_metadata = true;
    return made;
}

/* value `how` bound; NOT_EQUAL is no range. */
static plan *comparison_plan(builder *b, const char *field, mn_comparison how, mn_field_value bound)
{
    plan *made = range_plan(b, field, how == MN_EQUAL ? MN_FIELD_EQUAL : MN_FIELD_BETWEEN, bound);
    if (made->kind != PLAN_RANGE || how == MN_EQUAL) return made;
    made->range.has_low = how == MN_GREATER || how == MN_GREATER_EQUAL;
    made->range.has_high = !made->range.has_low;
    made->range.high = bound;
    return made;
}

static mn_field_value text_of(const char *text)
{
    return (mn_field_value){.type = MN_FIELD_TEXT, .text = text};
}

/* A literal as the index keeps values; type 0: it does not. */
static mn_field_value indexed(const mn_value *value)
{
    switch (value->type) {
    case MN_VALUE_NULL: return (mn_field_value){.type = MN_FIELD_NULL};
    case MN_VALUE_BOOLEAN: return (mn_field_value){.type = MN_FIELD_BOOLEAN, .boolean = value->boolean};
    case MN_VALUE_NUMBER: return (mn_field_value){.type = MN_FIELD_NUMBER, .number = value->number};
    case MN_VALUE_TIME: return (mn_field_value){.type = MN_FIELD_TIME, .time_ms = value->time_ms};
    case MN_VALUE_TEXT: return text_of(value->text);
    default: return (mn_field_value){0};
    }
}

/* ---- fields -------------------------------------------------------------------------------------------------------
 */

static bool is_one_of(const char *field, const char *const *names)
{
    while (*names && strcmp(field, *names) != 0) names++;
    return *names != NULL;
}

static const char *const text_fields[] = {"id", "session", "speaker", "source", NULL};
static const char *const own_fields[] = {"id", "session", "speaker", "source", "time", "title", "namespace", NULL};

/* What the index calls a key of the metadata; NULL: nothing (too long), or out of memory. */
static const char *metadata_field(builder *b, const char *key, const char *below)
{
    size_t size = strlen(key), more = below ? strlen(below) + 1 : 0;
    if (1 + size + more > MN_FIELD_NAME_MAX) return NULL;
    char *field = mn_arena_alloc(b->arena, 1 + size + more + 1);
    if (!field)
        b->failed = true;
    else
        snprintf(field, 1 + size + more + 1, ".%s%s%s", key, below ? "." : "", below ? below : "");
    return field;
}

static plan *compare_plan(builder *b, const char *field, mn_comparison how, const mn_value *value)
{
    mn_field_value bound = indexed(value);
    if (strcmp(field, "namespace") == 0) {
        const mn_value name = {.type = MN_VALUE_TEXT, .text = b->name_space};
        return mn_value_compare(&name, how, value) ? &g_all : &g_none;
    }
    if (how == MN_NOT_EQUAL || strcmp(field, "title") == 0) return &g_all;
    if (strcmp(field, "time") == 0) {
        bound.type = MN_FIELD_TIME;
        return mn_value_as_time(value, &bound.time_ms) ? comparison_plan(b, field, how, bound) : &g_none;
    }
    if (is_one_of(field, text_fields)) {
        if (value->type == MN_VALUE_TIME) return &g_all; /* texts of our own are not indexed as dates */
        return value->type == MN_VALUE_TEXT ? comparison_plan(b, field, how, bound) : &g_none;
    }
    if (value->type == MN_VALUE_NULL && (how == MN_LESS || how == MN_GREATER)) return &g_none;
    const char *name = metadata_field(b, mn_where_key(field), NULL);
    return name ? comparison_plan(b, name, value->type == MN_VALUE_NULL ? MN_EQUAL : how, bound) : &g_all;
}

static plan *exists_plan(builder *b, const char *field)
{
    bool always = strcmp(field, "id") == 0 || strcmp(field, "namespace") == 0 || strcmp(field, "title") == 0;
    const char *name = is_one_of(field, own_fields) ? field : metadata_field(b, mn_where_key(field), NULL);
    return always || !name ? &g_all : range_plan(b, name, MN_FIELD_EXISTS, (mn_field_value){0});
}

/* An element of an array, a part of a text, a key of an object. */
static plan *metadata_contains_plan(builder *b, const char *key, const mn_value *value)
{
    const char *name = metadata_field(b, key, NULL);
    if (!name) return &g_all;
    plan *all = new_plan(b, PLAN_UNION, 3);
    if (all->kind != PLAN_UNION) return all;
    mn_field_value element = indexed(value);
    element.element = true;
    all->parts[all->n++] = range_plan(b, name, MN_FIELD_EQUAL, element);
    if (!value->text) return all;
    all->parts[all->n++] = range_plan(b, name, MN_FIELD_CONTAINS, text_of(value->text));
    const char *below = metadata_field(b, key, value->text);
    if (below) all->parts[all->n++] = range_plan(b, below, MN_FIELD_LISTED, (mn_field_value){0});
    return all;
}

static plan *contains_plan(builder *b, const char *field, const mn_value *value)
{
    if (!is_one_of(field, own_fields)) return metadata_contains_plan(b, mn_where_key(field), value);
    if (!value->text || strcmp(field, "time") == 0) return &g_none;
    if (strcmp(field, "namespace") == 0) return strstr(b->name_space, value->text) ? &g_all : &g_none;
    return strcmp(field, "title") == 0 ? &g_all : range_plan(b, field, MN_FIELD_CONTAINS, text_of(value->text));
}

/* ---- and, or ------------------------------------------------------------------------------------------------------
 */

static void add_to_union(plan *all, plan *part)
{
    if (part->kind == PLAN_ALL)
        all->kind = PLAN_ALL;
    else if (part->kind != PLAN_NONE)
        all->parts[all->n++] = part;
}

/* Make `range` the bound that another part of the same `and` lacks. */
static bool complete(mn_field_range *other, const mn_field_range *range)
{
    if (other->match != MN_FIELD_BETWEEN || range->match != MN_FIELD_BETWEEN || strcmp(other->field, range->field) != 0)
        return false;
    mn_field_type type = other->has_low ? other->low.type : other->high.type;
    if (type != (range->has_low ? range->low.type : range->high.type)) return false;
    if ((other->has_low && range->has_low) || (other->has_high && range->has_high)) return false;
    if (range->has_low)
        other->low = range->low;
    else
        other->high = range->high;
    other->has_low = other->has_high = true;
    return true;
}

static void add_to_best(plan *best, plan *part)
{
    if (part->kind == PLAN_NONE) best->kind = PLAN_NONE;
    if (part->kind == PLAN_NONE || part->kind == PLAN_ALL) return;
    for (size_t i = 0; part->kind == PLAN_RANGE && i < best->n; i++)
        if (best->parts[i]->kind == PLAN_RANGE && complete(&best->parts[i]->range, &part->range)) return;
    best->parts[best->n++] = part;
}

static size_t chain_length(const mn_where *node, mn_where_kind kind)
{
    size_t n = 1;
    for (; node->kind == kind; node = node->left) n++;
    return n;
}

static plan *plan_of(builder *b, const mn_where *node);

/* Chains lean left and are walked; what is left to recurse into is nested at most as deep as parsing allowed. */
static void add_chain(builder *b, const mn_where *node, mn_where_kind kind, plan *to)
{
    void (*add)(plan *, plan *) = kind == MN_WHERE_OR ? add_to_union : add_to_best;
    for (; node->kind == kind; node = node->left) add(to, plan_of(b, node->right));
    add(to, plan_of(b, node));
}

static plan *plan_of(builder *b, const mn_where *node)
{
    plan *made = NULL;
    switch (node->kind) {
    case MN_WHERE_NOT: return &g_all;
    case MN_WHERE_EXISTS: return exists_plan(b, node->field);
    case MN_WHERE_COMPARE: return compare_plan(b, node->field, node->compare, &node->values[0]);
    case MN_WHERE_CONTAINS: return contains_plan(b, node->field, &node->values[0]);
    case MN_WHERE_IN:
        made = new_plan(b, PLAN_UNION, node->n_values);
        for (size_t i = 0; i < node->n_values && made->kind == PLAN_UNION; i++)
            add_to_union(made, compare_plan(b, node->field, MN_EQUAL, &node->values[i]));
        return made;
    case MN_WHERE_OR:
    case MN_WHERE_AND:
        made = new_plan(b, node->kind == MN_WHERE_OR ? PLAN_UNION : PLAN_BEST, chain_length(node, node->kind));
        if (made->kind != PLAN_ALL) add_chain(b, node, node->kind, made);
        return made->kind == PLAN_BEST && made->n == 0 ? &g_all : made;
    }
    return &g_all;
}

static void add_times(builder *b, plan *root, const mneme_selection *select)
{
    if (!select->has_since && !select->has_until) return;
    plan *times =
        range_plan(b, "time", MN_FIELD_BETWEEN, (mn_field_value){.type = MN_FIELD_TIME, .time_ms = select->since_ms});
    if (times->kind != PLAN_RANGE) return;
    times->range.high = (mn_field_value){.type = MN_FIELD_TIME, .time_ms = select->until_ms};
    times->range.has_low = select->has_since;
    times->range.has_high = select->has_until;
    add_to_best(root, times);
}

/* "." as a source is every relative path. */
static void add_source(builder *b, plan *root, const char *source, size_t size)
{
    if (strcmp(source, ".") == 0 || size == 0) return;
    const char *prefix = mn_arena_copy(b->arena, source, size);
    if (prefix)
        add_to_best(root, range_plan(b, "source", MN_FIELD_PREFIX, text_of(prefix)));
    else
        b->failed = true;
}

static plan *plan_filter(builder *b)
{
    const mn_filter *filter = b->filter;
    const mneme_selection *select = &filter->select;
    plan *root = new_plan(b, PLAN_BEST, 3 + (filter->where ? chain_length(filter->where, MN_WHERE_AND) : 0));
    if (b->failed) return root;
    if (select->session) add_to_best(root, range_plan(b, "session", MN_FIELD_EQUAL, text_of(select->session)));
    if (!b->failed) add_times(b, root, select);
    if (select->source) add_source(b, root, select->source, filter->source_size);
    if (filter->where) add_chain(b, filter->where, MN_WHERE_AND, root);
    return root;
}

/* ---- counting and collecting --------------------------------------------------------------------------------------
 */

typedef struct finder {
    mn_read *read;
    uint32_t ns;
    mneme_error *error;
    mneme_status status;
} finder;

static size_t count_range(finder *f, const mn_field_range *range, size_t limit)
{
    size_t n = 0;
    if (f->status == MNEME_OK) f->status = mn_count_field(f->read, f->ns, range, limit, &n, f->error);
    return n;
}

/* How many records a plan leads to, up to `limit`. Chooses the part of each BEST. */
static size_t count(finder *f, plan *p, size_t limit)
{
    size_t n = 0;
    switch (p->kind) {
    case PLAN_ALL: return limit;
    case PLAN_NONE: return 0;
    case PLAN_RANGE: return count_range(f, &p->range, limit);
    case PLAN_UNION:
        for (size_t i = 0; i < p->n && n < limit; i++) n += count(f, p->parts[i], limit - n);
        return n;
    case PLAN_BEST:
        p->chosen = NULL;
        for (size_t i = 0; i < p->n && limit > 0; i++) {
            n = count(f, p->parts[i], limit);
            if (n < limit) p->chosen = p->parts[i];
            if (n < limit) limit = n;
        }
        return limit;
    }
    return limit;
}

/* Parts of a BEST were chosen by the last count, which ended below its limit. */
static void collect(finder *f, const plan *p, mn_recs *recs)
{
    if (f->status != MNEME_OK) return;
    if (p->kind == PLAN_RANGE) f->status = mn_read_field(f->read, f->ns, &p->range, recs, f->error);
    if (p->kind == PLAN_BEST && p->chosen) collect(f, p->chosen, recs);
    for (size_t i = 0; p->kind == PLAN_UNION && i < p->n; i++) collect(f, p->parts[i], recs);
}

static mneme_status find(finder *f, plan *root, bool uses_metadata, size_t most, bool *known, mn_recs *recs)
{
    static const mn_field_range unlisted = {.field = MN_FIELD_UNLISTED, .match = MN_FIELD_LISTED};
    size_t last = most + 1, n = 0;
    for (size_t limit = FIRST_LIMIT; f->status == MNEME_OK; limit *= LIMIT_GROWTH) {
        if (limit > last) limit = last;
        n = count(f, root, limit);
        if (n < limit) break;
        if (limit == last) return f->status;
    }
    if (uses_metadata && n + count_range(f, &unlisted, last - n) > most) return f->status;
    collect(f, root, recs);
    if (uses_metadata && f->status == MNEME_OK) f->status = mn_read_field(f->read, f->ns, &unlisted, recs, f->error);
    if (f->status == MNEME_OK) mn_recs_sort(recs);
    *known = f->status == MNEME_OK;
    return f->status;
}

mneme_status mn_where_plan(const mn_filter *filter, mn_read *read, const mn_namespace *space, size_t most, bool *known,
                           mn_recs *recs, mneme_error *error)
{
    *known = false;
    mn_arena arena = {0};
    builder b = {.filter = filter, .name_space = space->name, .arena = &arena};
    plan *root = plan_filter(&b);
    finder f = {.read = read, .ns = space->ns, .error = error};
    mneme_status status = MNEME_OK;
    if (b.failed)
        status = mn_fail_memory(error, "filter");
    else if (root->kind == PLAN_NONE)
        *known = true;
    else if (root->kind != PLAN_BEST || root->n > 0)
        status = find(&f, root, b.uses_metadata, most, known, recs);
    mn_arena_free(&arena);
    return status;
}

mneme_status mn_filter_candidates(void *filter, mn_read *read, const mn_namespace *space, bool *known, mn_recs *recs,
                                  mneme_error *error)
{
    return mn_where_plan(filter, read, space, (size_t)(space->n_records / 4), known, recs, error);
}

/* ---- going through ------------------------------------------------------------------------------------------------
 */

mneme_status mn_selected_begin(mn_selected *selected, mn_filter *filter, mn_read *read, const mn_namespace *space,
                               uint32_t from, size_t page, mneme_error *error)
{
    *selected = (mn_selected){.read = read, .space = space, .filter = filter, .next_rec = from};
    double most = (double)space->n_records / 4;
    /* A plan of m records takes m * 20 ns whatever the page; without one, the next `page` records are found after
     * looking at page * n_records / m, 1.5 us each. */
    if (page > 0) most = fmin(most, sqrt(75.0 * (double)page * (double)space->n_records));
    mneme_status status = mn_where_plan(filter, read, space, (size_t)most, &selected->known, &selected->recs, error);
    while (selected->at < selected->recs.n && selected->recs.items[selected->at] < from) selected->at++;
    return status;
}

/* The next candidate that is there. */
static mneme_status step(mn_selected *selected, mn_record *out, mneme_error *error)
{
    mn_read *read = selected->read;
    uint32_t ns = selected->space->ns;
    if (!selected->known) {
        mneme_status status = mn_read_next_record(read, ns, selected->next_rec, out, error);
        if (status == MNEME_OK && out->rec == UINT32_MAX) status = MNEME_ERR_NOT_FOUND; /* no record has this number */
        selected->next_rec = out->rec + 1;
        return status;
    }
    mneme_status status = MNEME_ERR_NOT_FOUND;
    while (status == MNEME_ERR_NOT_FOUND && selected->at < selected->recs.n)
        status = mn_read_record(read, ns, selected->recs.items[selected->at++], out, error);
    return status;
}

mneme_status mn_selected_next(mn_selected *selected, mn_record *out, mneme_error *error)
{
    mneme_status status;
    while ((status = step(selected, out, error)) == MNEME_OK)
        if (mn_filter_accepts(selected->filter, selected->space->name, out)) return MNEME_OK;
    return status;
}

void mn_selected_end(mn_selected *selected)
{
    mn_free(selected->recs.items);
    *selected = (mn_selected){0};
}
