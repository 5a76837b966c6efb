/* splice_render.c -- a filled window as text, in the form of its template.
 *
 * Groups without a time come first, best hit first, then those with one, oldest first; inside a group everything stands
 * in its original order. */
#include "retriever/splice_window.h"

#include <stdlib.h>
#include <string.h>

typedef struct passage {
    const mn_part *part;
    uint64_t start, end;
} passage;

typedef struct rendering {
    mn_splice_window *window;
    const mn_template *form;
    mn_buffer *text;
    mn_spliced *out;
    size_t n;
} rendering;

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == '\v';
}

/* ---- order ------------------------------------------------------------------------------------------------------ */

static int by_number(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Time of the first of a group's parts, which the sort below needs. */
typedef struct ordered_group {
    const mn_group *group;
    bool has_time;
    int64_t time_ms;
} ordered_group;

static int groups_in_order(const void *left, const void *right)
{
    const ordered_group *a = left, *b = right;
    if (a->has_time != b->has_time) return a->has_time ? 1 : -1;
    if (a->has_time && a->time_ms != b->time_ms) return a->time_ms < b->time_ms ? -1 : 1;
    if (a->has_time && a->group->ns_index != b->group->ns_index)
        return by_number(a->group->ns_index, b->group->ns_index);
    if (a->has_time && a->group->number != b->group->number) return by_number(a->group->number, b->group->number);
    return by_number(a->group->rank, b->group->rank);
}

static int parts_in_order(const void *left, const void *right)
{
    const mn_part *a = *(mn_part *const *)left, *b = *(mn_part *const *)right;
    if (a->record.session_place != b->record.session_place)
        return by_number(a->record.session_place, b->record.session_place);
    return by_number(a->record.rec, b->record.rec);
}

static ordered_group dated(const mn_splice_window *window, const mn_group *group)
{
    ordered_group dated_group = {.group = group};
    for (size_t i = 0; i < window->n_parts; i++) {
        const mn_part *part = window->parts[i];
        if (part->group != group || part->n_units == 0 || !part->record.has_time) continue;
        if (!dated_group.has_time || part->record.time_ms < dated_group.time_ms)
            dated_group.time_ms = part->record.time_ms;
        dated_group.has_time = true;
    }
    return dated_group;
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

/* Write one passage, with what parts it from the one before it in its group (NULL: none). */
static mneme_status write_passage(rendering *run, const mn_template_group *group, const passage *last,
                                  const passage *next)
{
    const mn_template_passage frame = {group, &next->part->record, !last};
    bool follow = true;
    mneme_status status = MNEME_OK;
    if (last) status = mn_window_follows(run->window, last->part, last->end, next->part, next->start, &follow);
    if (status != MNEME_OK) return status;
    if (!follow) mn_buffer_text(run->text, run->form->gap);
    run->form->open_passage(&frame, run->text);
    status = mn_window_text(run->window, next->part, next->start, next->end);
    if (status != MNEME_OK) return status;
    run->out[run->n] = (mn_spliced){.ns_index = next->part->ns_index,
                                    .rec = next->part->record.rec,
                                    .start = next->start,
                                    .end = next->end,
                                    .text_start = run->text->size};
    run->form->text(&frame, run->window->scratch.data, run->window->scratch.size, run->text);
    run->out[run->n++].text_end = run->text->size;
    mn_buffer_text(run->text, run->form->close_passage);
    return MNEME_OK;
}

/* The next run of units of a part with at most white space between, without white space at its ends. *i: first unit not
 * looked at. False at the end. */
static mneme_status next_passage(mn_splice_window *window, const mn_part *part, size_t *i, passage *out, bool *found)
{
    *found = false;
    while (*i < part->n_units && !*found) {
        *out = (passage){part, part->units[*i].start, part->units[*i].end};
        for ((*i)++; *i < part->n_units; (*i)++) {
            bool blank = false;
            mneme_status status = mn_window_follows(window, part, out->end, part, part->units[*i].start, &blank);
            if (status != MNEME_OK) return status;
            if (!blank) break;
            out->end = part->units[*i].end;
        }
        mneme_status status = mn_window_text(window, part, out->start, out->end);
        if (status != MNEME_OK) return status;
        const char *text = window->scratch.data;
        size_t from = 0, to = window->scratch.size;
        while (from < to && is_space(text[from])) from++;
        while (to > from && is_space(text[to - 1])) to--;
        out->end = out->start + to;
        out->start += from;
        *found = from < to;
    }
    return MNEME_OK;
}

static void begin_group(rendering *run, const mn_template_group *group)
{
    if (group->is_first) mn_buffer_text(run->text, run->form->open);
    run->form->open_group(group, run->text);
}

static mneme_status write_group(rendering *run, mn_part *const *parts, size_t n)
{
    passage last = {0}, next = {0};
    mn_template_group group = {0};
    for (size_t p = 0; p < n; p++) {
        for (size_t i = 0;;) {
            bool found;
            mneme_status status = next_passage(run->window, parts[p], &i, &next, &found);
            if (status != MNEME_OK) return status;
            if (!found) break;
            if (!last.part) {
                group = mn_window_group(run->window, parts[p]);
                group.is_first = run->n == 0;
                begin_group(run, &group);
            }
            status = write_passage(run, &group, last.part ? &last : NULL, &next);
            if (status != MNEME_OK) return status;
            last = next;
        }
    }
    if (last.part) run->form->close_group(&group, run->text);
    return MNEME_OK;
}

/* The group's parts that have units, in order, into `parts`. */
static size_t parts_of(const mn_splice_window *window, const mn_group *group, mn_part **parts)
{
    size_t n = 0;
    for (size_t i = 0; i < window->n_parts; i++)
        if (window->parts[i]->group == group && window->parts[i]->n_units) parts[n++] = window->parts[i];
    qsort(parts, n, sizeof *parts, parts_in_order);
    return n;
}

mneme_status mn_window_render(mn_splice_window *window, mn_buffer *text, mn_spliced **passages, size_t *n)
{
    ordered_group *groups = mn_arena_array(window->arena, window->n_groups, sizeof *groups);
    mn_part **parts = mn_arena_array(window->arena, window->n_parts, sizeof *parts);
    mn_spliced *out = mn_arena_array(window->arena, window->n_placed, sizeof *out);
    if (!groups || !parts || !out) return mn_fail_memory(window->error, "window");
    for (size_t i = 0; i < window->n_groups; i++) groups[i] = dated(window, window->groups[i]);
    if (window->n_groups) qsort(groups, window->n_groups, sizeof *groups, groups_in_order);
    rendering run = {.window = window, .form = window->form, .text = text, .out = out};
    for (size_t i = 0; i < window->n_groups; i++) {
        size_t n_parts = groups[i].group->n_units ? parts_of(window, groups[i].group, parts) : 0;
        if (n_parts == 0) continue;
        mneme_status status = write_group(&run, parts, n_parts);
        if (status != MNEME_OK) return status;
    }
    if (run.n) mn_buffer_text(text, window->form->close);
    if (text->failed) return mn_fail_memory(window->error, "window");
    *passages = out;
    *n = run.n;
    return MNEME_OK;
}
