/* splice_window.c -- parts, groups and units of a window, and their price. */
#include "retriever/splice_window.h"

#include <string.h>

enum { BLANK_MAX = 1024 /* white space looked through between two units */ };

/* Make room for one more item in an array of the arena. */
static void *grown(mn_arena *arena, void *items, size_t n, size_t *capacity, size_t item_size)
{
    if (n < *capacity) return items;
    size_t larger = *capacity ? *capacity * 2 : 8;
    void *copy = mn_arena_array(arena, larger, item_size);
    if (!copy) return NULL;
    if (n) memcpy(copy, items, n * item_size);
    *capacity = larger;
    return copy;
}

mneme_status mn_window_count(const mn_splice_window *window, const char *text, size_t size, uint64_t *n_tokens)
{
    *n_tokens = 0;
    if (size == 0) return MNEME_OK;
    return window->options->count_tokens(window->options->count_context, text, size, n_tokens, window->error);
}

mneme_status mn_window_init(mn_splice_window *window, mn_read *read, const mn_namespace *namespaces,
                            const mn_splice_options *options, mn_arena *arena, mneme_error *error)
{
    *window = (mn_splice_window){.read = read,
                                 .namespaces = namespaces,
                                 .options = options,
                                 .form = mn_template_find(options->form),
                                 .arena = arena,
                                 .error = error};
    const mn_template *form = window->form;
    uint64_t close_tokens;
    mneme_status status = mn_window_count(window, form->gap, strlen(form->gap), &window->gap_tokens);
    if (status == MNEME_OK) status = mn_window_count(window, form->open, strlen(form->open), &window->frame_tokens);
    if (status == MNEME_OK) status = mn_window_count(window, form->close, strlen(form->close), &close_tokens);
    if (status != MNEME_OK) return status;
    window->frame_tokens += close_tokens;
    window->used = window->frame_tokens;
    return MNEME_OK;
}

void mn_window_free(mn_splice_window *window)
{
    mn_buffer_free(&window->scratch);
    mn_buffer_free(&window->written);
}

static mneme_status count_written(mn_splice_window *window, uint64_t *n_tokens)
{
    if (window->written.failed) return mn_fail_memory(window->error, "window");
    return mn_window_count(window, window->written.data, window->written.size, n_tokens);
}

mn_template_group mn_window_group(const mn_splice_window *window, const mn_part *part)
{
    return (mn_template_group){.record = &part->record,
                               .name_space = window->namespaces[part->ns_index].name,
                               .is_session = part->group->is_session,
                               .has_speakers = part->group->n_spoken > 0 || part->record.speaker,
                               .is_first = true,
                               .is_bare = window->is_bare};
}

mneme_status mn_window_count_text(mn_splice_window *window, const mn_part *part, const char *text, size_t size,
                                  uint64_t *n_tokens)
{
    mn_template_group group = mn_window_group(window, part);
    mn_buffer_clear(&window->written);
    window->form->text(&(mn_template_passage){&group, &part->record, true}, text, size, &window->written);
    return count_written(window, n_tokens);
}

mneme_status mn_window_text(mn_splice_window *window, const mn_part *part, uint64_t start, uint64_t end)
{
    mn_buffer_clear(&window->scratch);
    mneme_status status = mn_read_text(window->read, window->namespaces[part->ns_index].ns, part->record.rec, start,
                                       end, &window->scratch, window->error);
    if (status == MNEME_OK && window->scratch.failed) return mn_fail_memory(window->error, "text of a passage");
    return status;
}

/* ---- parts and groups ------------------------------------------------------------------------------------------- */

static mneme_status new_group(mn_splice_window *window, const mn_part *part, bool is_session, uint32_t number,
                              mn_group **out)
{
    mn_group **groups =
        grown(window->arena, window->groups, window->n_groups, &window->groups_capacity, sizeof *groups);
    mn_group *group = mn_arena_alloc(window->arena, sizeof *group);
    if (!groups || !group) return mn_fail_memory(window->error, "window");
    window->groups = groups;
    *group = (mn_group){
        .ns_index = part->ns_index, .is_session = is_session, .number = number, .rank = (uint32_t)window->n_groups};
    groups[window->n_groups++] = group;
    *out = group;
    return MNEME_OK;
}

/* What the marks of the part's group cost, should it begin with this part. */
static mneme_status count_header(mn_splice_window *window, mn_part *part)
{
    mn_template_group group = mn_window_group(window, part);
    mn_buffer_clear(&window->written);
    window->form->open_group(&group, &window->written);
    window->form->close_group(&group, &window->written);
    return count_written(window, &part->group->header_tokens);
}

/* What the marks of a passage of the part cost. */
static mneme_status count_prefix(mn_splice_window *window, mn_part *part)
{
    mn_template_group group = mn_window_group(window, part);
    mn_buffer_clear(&window->written);
    window->form->open_passage(&(mn_template_passage){&group, &part->record, true}, &window->written);
    mn_buffer_text(&window->written, window->form->close_passage);
    return count_written(window, &part->prefix_tokens);
}

static mneme_status find_group(mn_splice_window *window, const mn_part *part, mn_group **out)
{
    bool is_session = part->record.session != NULL;
    uint32_t number = is_session ? part->record.session_number : part->record.rec;
    for (size_t i = window->n_groups; i-- > 0;) {
        mn_group *group = window->groups[i];
        if (group->ns_index == part->ns_index && group->is_session == is_session && group->number == number) {
            *out = group;
            return MNEME_OK;
        }
    }
    return new_group(window, part, is_session, number, out);
}

/* Where the part of (ns_index, rec) is or belongs. */
static size_t part_position(const mn_splice_window *window, uint32_t ns_index, uint32_t rec)
{
    size_t low = 0, high = window->n_parts;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const mn_part *part = window->parts[middle];
        bool before = part->ns_index != ns_index ? part->ns_index < ns_index : part->record.rec < rec;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static mneme_status fill_part(mn_splice_window *window, mn_part *part, uint32_t rec, bool is_hit)
{
    const mn_namespace *space = &window->namespaces[part->ns_index];
    mneme_status status = mn_read_record(window->read, space->ns, rec, &part->record, window->error);
    if (status != MNEME_OK) return status;
    const mn_splice_options *options = window->options;
    part->is_accepted =
        is_hit || !options->accept || options->accept(options->accept_context, space->name, &part->record);
    size_t n_groups = window->n_groups;
    status = find_group(window, part, &part->group);
    if (status == MNEME_OK && window->n_groups > n_groups) status = count_header(window, part);
    return status == MNEME_OK ? count_prefix(window, part) : status;
}

mneme_status mn_window_part(mn_splice_window *window, uint32_t ns_index, uint32_t rec, bool is_hit, mn_part **out)
{
    size_t at = part_position(window, ns_index, rec);
    if (at < window->n_parts && window->parts[at]->ns_index == ns_index && window->parts[at]->record.rec == rec) {
        *out = window->parts[at];
        if (is_hit) (*out)->is_accepted = true;
        return MNEME_OK;
    }
    mn_part **parts = grown(window->arena, window->parts, window->n_parts, &window->parts_capacity, sizeof *parts);
    mn_part *part = mn_arena_alloc(window->arena, sizeof *part);
    if (!parts || !part) return mn_fail_memory(window->error, "window");
    window->parts = parts;
    *part = (mn_part){.ns_index = ns_index};
    mneme_status status = fill_part(window, part, rec, is_hit);
    if (status != MNEME_OK) return status;
    memmove(parts + at + 1, parts + at, (window->n_parts - at) * sizeof *parts);
    parts[at] = part;
    window->n_parts++;
    *out = part;
    return MNEME_OK;
}

/* ---- units ------------------------------------------------------------------------------------------------------ */

/* The first unit that ends after `at`. */
static size_t unit_position(const mn_part *part, uint64_t at)
{
    size_t low = 0, high = part->n_units;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (part->units[middle].end <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const mn_unit *mn_part_covering(const mn_part *part, uint64_t at)
{
    size_t i = unit_position(part, at);
    return i < part->n_units && part->units[i].start <= at ? &part->units[i] : NULL;
}

bool mn_part_hole(const mn_part *part, uint64_t start, uint64_t end, mn_unit *hole)
{
    size_t i = unit_position(part, start);
    while (i < part->n_units && part->units[i].start <= start) start = part->units[i++].end;
    if (start >= end) return false;
    uint64_t limit = i < part->n_units && part->units[i].start < end ? part->units[i].start : end;
    *hole = (mn_unit){start, limit};
    return true;
}

static bool all_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \n\r\t\f\v", text[i]) || text[i] == '\0') return false;
    return true;
}

/* Is there nothing but white space in the part's text[start, end)? */
static mneme_status is_blank(mn_splice_window *window, const mn_part *part, uint64_t start, uint64_t end, bool *blank)
{
    *blank = start >= end;
    if (*blank || end - start > BLANK_MAX) return MNEME_OK;
    mneme_status status = mn_window_text(window, part, start, end);
    if (status == MNEME_OK) *blank = all_blank(window->scratch.data, window->scratch.size);
    return status;
}

mneme_status mn_window_follows(mn_splice_window *window, const mn_part *a, uint64_t end, const mn_part *b,
                               uint64_t start, bool *follows)
{
    *follows = false;
    if (a == b) return is_blank(window, a, end, start, follows);
    mn_record after;
    mneme_error reason;
    mneme_status status =
        mn_read_session_step(window->read, window->namespaces[a->ns_index].ns, &a->record, 1, &after, &reason);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK) {
        if (window->error) *window->error = reason;
        return status;
    }
    if (after.rec != b->record.rec) return MNEME_OK;
    status = is_blank(window, a, end, a->record.text_size, follows);
    return status == MNEME_OK && *follows ? is_blank(window, b, 0, start, follows) : status;
}

/* The unit of the group that stands next to a range on either side; part NULL: none. */
typedef struct neighbour {
    const mn_part *part;
    mn_unit unit;
} neighbour;

static bool stands_before(const mn_part *a, const mn_part *b)
{
    if (a->record.session_place != b->record.session_place) return a->record.session_place < b->record.session_place;
    return a->record.rec < b->record.rec;
}

static void find_neighbours(const mn_splice_window *window, const mn_part *part, mn_unit unit, neighbour *left,
                            neighbour *right)
{
    size_t at = unit_position(part, unit.start);
    *left = *right = (neighbour){0};
    if (at > 0) *left = (neighbour){part, part->units[at - 1]};
    if (at < part->n_units) *right = (neighbour){part, part->units[at]};
    for (size_t i = 0; i < window->n_parts && part->group->is_session; i++) {
        const mn_part *other = window->parts[i];
        if (other->group != part->group || other == part || other->n_units == 0) continue;
        if (stands_before(other, part)) {
            if (left->part != part && (!left->part || stands_before(left->part, other)))
                *left = (neighbour){other, other->units[other->n_units - 1]};
        } else if (right->part != part && (!right->part || stands_before(other, right->part))) {
            *right = (neighbour){other, other->units[0]};
        }
    }
}

/* 1 when a gap mark stands between the two, else 0; sides that do not exist need none. */
static mneme_status gap_between(mn_splice_window *window, const neighbour *left, const neighbour *right, int *gap)
{
    bool follows = true;
    mneme_status status = MNEME_OK;
    if (left->part && right->part)
        status = mn_window_follows(window, left->part, left->unit.end, right->part, right->unit.start, &follows);
    *gap = follows ? 0 : 1;
    return status;
}

mneme_status mn_window_overhead(mn_splice_window *window, const mn_part *part, mn_unit unit, int64_t *tokens)
{
    neighbour left, right, self = {part, unit};
    int before, with_left, with_right;
    *tokens = (int64_t)part->prefix_tokens;
    if (part->group->n_units == 0) {
        *tokens += window->is_bare ? 0 : (int64_t)part->group->header_tokens;
        return MNEME_OK;
    }
    find_neighbours(window, part, unit, &left, &right);
    mneme_status status = gap_between(window, &left, &right, &before);
    if (status == MNEME_OK) status = gap_between(window, &left, &self, &with_left);
    if (status == MNEME_OK) status = gap_between(window, &self, &right, &with_right);
    if (status != MNEME_OK) return status;
    *tokens += (int64_t)window->gap_tokens * (with_left + with_right - before);
    if (left.part == part && !with_left) *tokens -= (int64_t)part->prefix_tokens;
    if (right.part == part && !with_right) *tokens -= (int64_t)part->prefix_tokens;
    return MNEME_OK;
}

mneme_status mn_window_cost(mn_splice_window *window, const mn_part *part, mn_unit unit, uint64_t *tokens)
{
    int64_t overhead = 0;
    *tokens = 0;
    mneme_status status = mn_window_overhead(window, part, unit, &overhead);
    if (status == MNEME_OK) status = mn_window_text(window, part, unit.start, unit.end);
    if (status == MNEME_OK)
        status = mn_window_count_text(window, part, window->scratch.data, window->scratch.size, tokens);
    int64_t all = (int64_t)*tokens + overhead;
    *tokens = all > 0 ? (uint64_t)all : 0;
    return status;
}

mneme_status mn_window_place(mn_splice_window *window, mn_part *part, mn_unit unit, uint64_t tokens)
{
    mn_placed *placed =
        grown(window->arena, window->placed, window->n_placed, &window->placed_capacity, sizeof *placed);
    mn_unit *units = grown(window->arena, part->units, part->n_units, &part->capacity, sizeof *units);
    if (!placed || !units) return mn_fail_memory(window->error, "window");
    window->placed = placed;
    part->units = units;
    size_t at = unit_position(part, unit.start);
    memmove(units + at + 1, units + at, (part->n_units - at) * sizeof *units);
    units[at] = unit;
    part->n_units++;
    part->group->n_units++;
    part->group->n_spoken += part->record.speaker != NULL;
    placed[window->n_placed++] = (mn_placed){part, unit, tokens};
    window->used += tokens;
    return mn_window_note(window, part, unit, true);
}

mneme_status mn_window_undo(mn_splice_window *window)
{
    const mn_placed *last = &window->placed[--window->n_placed];
    mn_part *part = last->part;
    size_t at = unit_position(part, last->unit.start);
    memmove(part->units + at, part->units + at + 1, (part->n_units - at - 1) * sizeof *part->units);
    part->n_units--;
    part->group->n_units--;
    part->group->n_spoken -= part->record.speaker != NULL;
    window->used -= last->tokens < window->used ? last->tokens : window->used;
    return mn_window_note(window, part, last->unit, false);
}
