/* splice.c -- filling a window within its budget.
 *
 *   1  hits, best first, each whole, while they fit: with all of their record where that is short; of near-equals those
 *      first that touch what is in; not those that only say what others have said
 *   2  hits that did not fit, cut to the sentences that do; the very best even to words
 *   3  rounds: each hit, best first, grows by a sentence (or a short turn) forwards and one backwards, over the ends of
 *      its record within the session, until the budget or the text is used up
 *   4  the text is written and counted; what came last goes out while it is too much, 2 and 3 go on while there is room
 *
 * Estimated sums steer (splice_window.h); only step 4 decides. Each text is tokenized once as it comes in, and the
 * whole a few times at the end. */
#include "retriever/splice.h"

#include "common/utf8.h"
#include "encoder/chunker.h"
#include "retriever/splice_window.h"

enum {
    LOOK_BYTES = 4096, /* of text looked at for the next sentence; a longer one is taken in pieces */
    TURN_BYTES = 1200, /* a record up to this size comes in as a whole when it fits */
    SAID_AGAIN = 24,   /* bytes that growing must not say again; shorter ones ("Thank you!") belong where they stand */
    BYTES_A_TOKEN = 4, /* about */
    /* A record of up to this part of the budget comes in whole as soon as one of its chunks does. Cranfield,
     * context_recall@1024: 0.315 -> 0.325 on one half of the questions, 0.309 -> 0.318 on the other. */
    WHOLE_RECORD_PART = 2,
    LOOK_HITS = 64,  /* that are looked through for one that touches */
    TOUCH_BYTES = 8, /* between chunks that touch */
    REFILLS = 2      /* rounds of step 4 that add; on LoCoMo 1023 of 1024 tokens are used then, on average */
};

/* What standing beside something in the window is worth to a hit: it needs no gap mark, and reads on. LoCoMo,
 * context_recall@1024: 0.821 -> 0.830 on the half of the questions it was chosen on, 0.840 -> 0.848 on the other;
 * Cranfield 0.325 -> 0.325, 0.318 -> 0.322. */
#define TOUCH_BONUS 0.05f

typedef struct edge {
    mn_part *part;
    uint64_t at;
    bool at_end;         /* of document or session: nothing more to come */
    uint64_t too_little; /* room that was not enough for the next step; 0 = not tried */
} edge;

typedef struct hit {
    mn_part *part;
    mn_unit chunk;
    bool is_tried, is_placed, touches;
    const mn_part *shown_by; /* the record that says the same, in its place */
    edge forward, backward;
} hit;

typedef struct splice_run {
    mn_splice_window window;
    const mn_ranked *ranked;
    hit *hits;
    size_t n_hits;
    bool lacked_room; /* something was left out for its size since this was cleared */
} splice_run;

static uint64_t room(const splice_run *run)
{
    uint64_t budget = run->window.options->budget;
    return run->window.used < budget ? budget - run->window.used : 0;
}

/* Place the unit if it fits. */
static mneme_status try_place(splice_run *run, mn_part *part, mn_unit unit, bool *placed)
{
    uint64_t tokens;
    *placed = false;
    mneme_status status = mn_window_cost(&run->window, part, unit, &tokens);
    if (status != MNEME_OK) return status;
    if (tokens > room(run)) {
        run->lacked_room = true;
        return MNEME_OK;
    }
    *placed = true;
    return mn_window_place(&run->window, part, unit, tokens);
}

/* ---- hits ------------------------------------------------------------------------------------------------------- */

/* Place all of the range that is not in yet, or nothing. */
static mneme_status place_range(splice_run *run, mn_part *part, mn_unit range, bool *placed)
{
    mn_unit hole;
    size_t n_before = run->window.n_placed;
    *placed = true;
    while (*placed && mn_part_hole(part, range.start, range.end, &hole)) {
        mneme_status status = try_place(run, part, hole, placed);
        if (status != MNEME_OK) return status;
        range.start = hole.end;
    }
    mneme_status status = MNEME_OK;
    while (!*placed && status == MNEME_OK && run->window.n_placed > n_before) status = mn_window_undo(&run->window);
    return status;
}

/* Would this unit, come in beside a hit, tell what another session or document tells in this window? */
static mneme_status is_told(splice_run *run, const mn_part *part, mn_unit unit, bool *told)
{
    mn_repeat repeat;
    mneme_status status = mn_window_repeats(&run->window, part, unit, &repeat);
    *told = repeat.by && repeat.by->group != part->group && repeat.n_bytes >= SAID_AGAIN;
    return status;
}

/* Place a hit: its record, when that is short beside the budget; else its chunk. */
static mneme_status place_whole(splice_run *run, hit *self)
{
    uint64_t size = self->part->record.text_size;
    if (size / BYTES_A_TOKEN <= run->window.options->budget / WHOLE_RECORD_PART) {
        bool told_before, told_after;
        mneme_status status = is_told(run, self->part, (mn_unit){0, self->chunk.start}, &told_before);
        if (status == MNEME_OK) status = is_told(run, self->part, (mn_unit){self->chunk.end, size}, &told_after);
        if (status == MNEME_OK && !told_before && !told_after)
            status = place_range(run, self->part, (mn_unit){0, size}, &self->is_placed);
        if (status != MNEME_OK || self->is_placed) return status;
    }
    return place_range(run, self->part, self->chunk, &self->is_placed);
}

/* Bytes of the whole sentences at the start of the window's scratch, text of the part, that cost at most `limit`
 * tokens. */
static mneme_status fit_sentences(mn_splice_window *window, const mn_part *part, uint64_t limit, size_t *fit)
{
    const char *text = window->scratch.data;
    size_t size = window->scratch.size;
    size_t at = 0, start, end;
    uint64_t used = 0;
    bool is_heading;
    *fit = 0;
    while (mn_next_sentence(text, size, &at, &start, &end, &is_heading)) {
        uint64_t tokens;
        mneme_status status = mn_window_count_text(window, part, text + start, end - start, &tokens);
        if (status != MNEME_OK) return status;
        used += tokens;
        if (used > limit) break;
        *fit = end;
    }
    return MNEME_OK;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Bytes of the whole words (characters, where the text has no spaces) at its start that cost at most `limit` tokens. */
static mneme_status fit_words(mn_splice_window *window, const mn_part *part, uint64_t limit, size_t *fit)
{
    const char *text = window->scratch.data;
    size_t size = window->scratch.size;
    size_t low = 0, high = size;
    while (low < high) { /* the most bytes that fit; more bytes never cost less */
        size_t middle = low + (high - low + 1) / 2, cut = mn_utf8_floor(text, size, middle);
        uint64_t tokens;
        mneme_status status = mn_window_count_text(window, part, text, cut, &tokens);
        if (status != MNEME_OK) return status;
        if (tokens <= limit)
            low = middle;
        else
            high = middle - 1;
    }
    size_t cut = mn_utf8_floor(text, size, low), word = cut;
    if (cut < size && !is_space(text[cut]))
        while (word > 0 && !is_space(text[word - 1])) word--;
    while (word > 0 && is_space(text[word - 1])) word--;
    *fit = word ? word : cut;
    return MNEME_OK;
}

/* Place as many sentences of the chunk's start as fit; with_words: else words. */
static mneme_status place_cut(splice_run *run, hit *self, uint64_t available, bool with_words)
{
    mn_splice_window *window = &run->window;
    mn_unit hole;
    if (!mn_part_hole(self->part, self->chunk.start, self->chunk.end, &hole)) return MNEME_OK;
    int64_t overhead = 0; /* as if cut after its first byte: what is cut does not reach what follows */
    mneme_status status = mn_window_overhead(window, self->part, (mn_unit){hole.start, hole.start + 1}, &overhead);
    if (status != MNEME_OK || (overhead > 0 && (uint64_t)overhead >= available)) return status;
    uint64_t limit = overhead > 0 ? available - (uint64_t)overhead : available;
    status = mn_window_text(window, self->part, hole.start, hole.end);
    size_t fit = 0;
    if (status == MNEME_OK) status = fit_sentences(window, self->part, limit, &fit);
    if (status == MNEME_OK && fit == 0 && with_words) status = fit_words(window, self->part, limit, &fit);
    if (status != MNEME_OK || fit == 0) return status;
    mn_unit unit = {hole.start, hole.start + fit};
    uint64_t tokens;
    status = mn_window_cost(window, self->part, unit, &tokens);
    if (status != MNEME_OK) return status;
    self->is_placed = true;
    self->chunk.end = unit.end; /* from here it grows, if at all */
    return mn_window_place(window, self->part, unit, tokens);
}

/* Does the other hit stand beside what came in for this one: in its record, or in the turn before or after? */
static bool touches(const hit *self, const hit *other)
{
    const mn_part *part = self->part;
    if (part->group != other->part->group) return false;
    if (part != other->part) {
        uint32_t place = part->record.session_place, its = other->part->record.session_place;
        return place + 1 == its || its + 1 == place;
    }
    for (size_t i = 0; i < part->n_units; i++)
        if (part->units[i].end + TOUCH_BYTES >= other->chunk.start &&
            part->units[i].start <= other->chunk.end + TOUCH_BYTES)
            return true;
    return false;
}

/* Remember which hits touch one that has come in. */
static void mark_touching(splice_run *run, const hit *self)
{
    for (size_t i = 0; i < run->n_hits; i++)
        if (!run->hits[i].is_tried && !run->hits[i].touches) run->hits[i].touches = touches(self, &run->hits[i]);
}

/* The hit to try next: of the best score, in which touching counts. `first`: the best that is not tried. */
static size_t next_hit(const splice_run *run, size_t first)
{
    if (run->hits[first].touches) return first;
    size_t end = run->n_hits - first > LOOK_HITS ? first + LOOK_HITS : run->n_hits;
    for (size_t i = first + 1; i < end && run->ranked[i].score + TOUCH_BONUS > run->ranked[first].score; i++)
        if (run->hits[i].touches && !run->hits[i].is_tried) return i; /* the ones behind it score less */
    return first;
}

static mneme_status place_hits(splice_run *run)
{
    for (size_t first = 0; first < run->n_hits;) {
        if (run->hits[first].is_tried) {
            first++;
            continue;
        }
        size_t i = next_hit(run, first);
        hit *self = &run->hits[i];
        mn_repeat repeat;
        mneme_status status = mn_window_repeats(&run->window, self->part, self->chunk, &repeat);
        self->is_tried = true;
        self->shown_by = repeat.by;
        if (status == MNEME_OK && !repeat.by) status = place_whole(run, self);
        if (status == MNEME_OK && i == 0 && !self->is_placed) status = place_cut(run, self, room(run), true);
        if (status != MNEME_OK) return status;
        if (self->is_placed) mark_touching(run, self);
    }
    return MNEME_OK;
}

static mneme_status place_cut_hits(splice_run *run)
{
    for (size_t i = 0; i < run->n_hits; i++) {
        if (run->hits[i].is_placed || run->hits[i].shown_by) continue;
        mneme_status status = place_cut(run, &run->hits[i], room(run), false);
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

/* ---- growing ---------------------------------------------------------------------------------------------------- */

/* Move an edge over to the next record of the session on its side; at_end when there is none that may be shown. */
static mneme_status cross(splice_run *run, edge *self, int direction)
{
    mn_splice_window *window = &run->window;
    self->at_end = true;
    if (!self->part->record.session) return MNEME_OK;
    mn_record next;
    mneme_error reason;
    mneme_status status = mn_read_session_step(window->read, window->namespaces[self->part->ns_index].ns,
                                               &self->part->record, direction, &next, &reason);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK) {
        if (window->error) *window->error = reason;
        return status;
    }
    mn_part *part;
    status = mn_window_part(window, self->part->ns_index, next.rec, false, &part);
    if (status != MNEME_OK || !part->is_accepted) return status;
    *self = (edge){.part = part, .at = direction > 0 ? 0 : part->record.text_size};
    return MNEME_OK;
}

/* The sentence that begins at or after `at`, with the white space before it; empty when there is none. */
static mneme_status sentence_after(mn_splice_window *window, const mn_part *part, uint64_t at, mn_unit *out)
{
    uint64_t size = part->record.text_size, end = size - at > LOOK_BYTES ? at + LOOK_BYTES : size;
    *out = (mn_unit){at, at};
    mneme_status status = mn_window_text(window, part, at, end);
    if (status != MNEME_OK) return status;
    size_t cursor = 0, from, to, n = window->scratch.size;
    bool is_heading;
    if (end < size) n = mn_utf8_floor(window->scratch.data, n, n - 3); /* the last character may be torn */
    if (mn_next_sentence(window->scratch.data, n, &cursor, &from, &to, &is_heading))
        out->end = at + to;
    else if (end < size)
        out->end = at + n; /* a page of white space */
    return MNEME_OK;
}

/* The sentence that ends at or before `at`, with the white space after it; empty when there is none. */
static mneme_status sentence_before(mn_splice_window *window, const mn_part *part, uint64_t at, mn_unit *out)
{
    uint64_t begin = at > LOOK_BYTES ? at - LOOK_BYTES : 0;
    *out = (mn_unit){at, at};
    mneme_status status = mn_window_text(window, part, begin, at);
    if (status != MNEME_OK) return status;
    const char *text = window->scratch.data;
    size_t n = window->scratch.size, cursor = 0, from, to, last = n;
    while (cursor < n && ((unsigned char)text[cursor] & 0xC0u) == 0x80u) cursor++; /* torn first character */
    bool is_heading;
    size_t first = cursor;
    while (mn_next_sentence(text, n, &cursor, &from, &to, &is_heading)) last = from;
    if (last < n)
        out->start = begin + last;
    else if (begin > 0)
        out->start = begin + first; /* a page of white space */
    return MNEME_OK;
}

/* Move the edge over what is in the window already and over the ends of records, to the next unit to place; at_end when
 * there is none. */
static mneme_status next_unit(splice_run *run, edge *self, int direction, mn_unit *out)
{
    mneme_status status = MNEME_OK;
    while (status == MNEME_OK && !self->at_end) {
        const mn_part *part = self->part;
        bool past = direction > 0 ? self->at >= part->record.text_size : self->at == 0;
        const mn_unit *covering = past ? NULL : mn_part_covering(part, direction > 0 ? self->at : self->at - 1);
        if (covering) {
            self->at = direction > 0 ? covering->end : covering->start;
            continue;
        }
        if (!past) {
            status = direction > 0 ? sentence_after(&run->window, part, self->at, out)
                                   : sentence_before(&run->window, part, self->at, out);
            if (status != MNEME_OK || out->start < out->end) return status;
        }
        status = cross(run, self, direction);
    }
    return status;
}

/* Keep of the unit what touches the edge and is not in the window yet. */
static mn_unit clip(const mn_part *part, mn_unit unit, int direction)
{
    mn_unit hole = unit, last = unit;
    uint64_t at = unit.start;
    while (mn_part_hole(part, at, unit.end, &hole)) {
        last = hole;
        if (direction > 0) break;
        at = hole.end;
    }
    return last;
}

/* Grow by one step. *grew: something came in. */
static mneme_status grow(splice_run *run, edge *self, int direction, bool *grew)
{
    mn_unit unit = {0, 0};
    *grew = false;
    if (room(run) <= self->too_little) return MNEME_OK;
    mneme_status status = next_unit(run, self, direction, &unit);
    if (status != MNEME_OK || self->at_end) return status;
    mn_part *part = self->part;
    status = is_told(run, part, unit, &self->at_end);
    if (status != MNEME_OK || self->at_end) return status;
    if (part->n_units == 0 && part->record.text_size <= TURN_BYTES) {
        status = try_place(run, part, (mn_unit){0, part->record.text_size}, grew);
        if (status != MNEME_OK || *grew) return status;
    }
    status = try_place(run, part, clip(part, unit, direction), grew);
    if (!*grew) self->too_little = room(run);
    return status;
}

static mneme_status widen(splice_run *run)
{
    for (bool any = true; any && room(run) > 0;) {
        any = false;
        for (size_t i = 0; i < run->n_hits; i++) {
            hit *self = &run->hits[i];
            if (!self->is_placed) continue;
            if (!self->forward.part) {
                self->forward = (edge){.part = self->part, .at = self->chunk.end};
                self->backward = (edge){.part = self->part, .at = self->chunk.start};
            }
            bool forward, backward;
            mneme_status status = grow(run, &self->forward, 1, &forward);
            if (status == MNEME_OK) status = grow(run, &self->backward, -1, &backward);
            if (status != MNEME_OK) return status;
            any = any || forward || backward;
        }
    }
    return MNEME_OK;
}

/* ---- writing and counting --------------------------------------------------------------------------------------- */

/* Take out what came last, until the estimate says that `excess` tokens are gone. The only unit left is cut instead. */
static mneme_status shrink(splice_run *run, uint64_t excess)
{
    mn_splice_window *window = &run->window;
    uint64_t gone = 0;
    while (window->n_placed > 1 && gone < excess) {
        gone += window->placed[window->n_placed - 1].tokens;
        mneme_status status = mn_window_undo(window);
        if (status != MNEME_OK) return status;
    }
    if (gone >= excess || window->n_placed == 0) return MNEME_OK;
    const mn_placed only = window->placed[0];
    hit rest = {.part = only.part, .chunk = only.unit};
    mneme_status status = mn_window_undo(window);
    if (status != MNEME_OK) return status;
    uint64_t left = only.tokens > excess - gone ? only.tokens - (excess - gone) : 0;
    return place_cut(run, &rest, left, true);
}

/* Write the window and make it fit; on the way, use the room that the estimate left. */
static mneme_status finish(splice_run *run, mn_buffer *text, uint64_t *tokens, mn_spliced **passages, size_t *n)
{
    mn_splice_window *window = &run->window;
    uint64_t budget = window->options->budget;
    for (int refills = 0;;) {
        mn_buffer_clear(text);
        mneme_status status = mn_window_render(window, text, passages, n);
        if (status == MNEME_OK) status = mn_window_count(window, text->data, text->size, tokens);
        if (status != MNEME_OK) return status;
        if (*tokens > budget) {
            refills = REFILLS;
            status = shrink(run, *tokens - budget);
        } else {
            if (refills++ >= REFILLS || !run->lacked_room) return MNEME_OK;
            size_t n_before = window->n_placed;
            window->used = *tokens;
            run->lacked_room = false;
            status = place_cut_hits(run);
            if (status == MNEME_OK) status = widen(run);
            if (status == MNEME_OK && window->n_placed == n_before) return MNEME_OK;
        }
        if (status != MNEME_OK) return status;
    }
}

/* Each hit's attention goes to the passage that its chunk begins in or before, of a hit that said nothing new to the
 * record that says it. */
static void weigh(const splice_run *run, mn_spliced *passages, size_t n)
{
    for (size_t i = 0; i < run->n_hits; i++) {
        const hit *self = &run->hits[i];
        for (size_t p = 0; p < n; p++) {
            mn_spliced *passage = &passages[p];
            const mn_part *part = self->shown_by ? self->shown_by : self->part;
            if (passage->ns_index != part->ns_index || passage->rec != part->record.rec) continue;
            if (!self->shown_by && (passage->end <= self->chunk.start || passage->start >= self->chunk.end)) continue;
            passage->weight += run->ranked[i].attention;
            if (passage->n_hits++ == 0) { /* hits come best first */
                passage->score = run->ranked[i].score;
                passage->parts = run->ranked[i].parts;
            }
            break;
        }
    }
}

static mneme_status collect_hits(splice_run *run, const mn_ranked *ranked, size_t n)
{
    mn_splice_window *window = &run->window;
    run->ranked = ranked;
    run->hits = mn_arena_array(window->arena, n, sizeof *run->hits);
    if (!run->hits) return mn_fail_memory(window->error, "hits of a window");
    mn_rows rows = {0};
    for (size_t i = 0; i < n; i++) {
        const mn_ranked *from = &ranked[i];
        mneme_status status = MNEME_OK;
        if (i == 0 || from->ns_index != ranked[i - 1].ns_index)
            status =
                mn_read_rows_of(window->read, &window->namespaces[from->ns_index], window->arena, &rows, window->error);
        mn_part *part;
        if (status == MNEME_OK) status = mn_window_part(window, from->ns_index, from->rec, true, &part);
        if (status != MNEME_OK) return status;
        const mn_row *row = mn_row_at(&rows, from->row);
        run->hits[run->n_hits++] = (hit){.part = part, .chunk = {row->start, row->end}};
    }
    /* A source line that takes over half of the budget is not worth it. */
    if (n) window->is_bare = run->hits[0].part->group->header_tokens > window->options->budget / 2;
    return MNEME_OK;
}

mneme_status mn_splice(mn_read *read, const mn_namespace *namespaces, const mn_ranked *ranked, size_t n_ranked,
                       const mn_splice_options *options, mn_arena *arena, mn_buffer *text, uint32_t *n_tokens,
                       mn_spliced **passages, size_t *n_passages, mneme_error *error)
{
    *n_tokens = 0;
    *passages = NULL;
    *n_passages = 0;
    splice_run run = {0};
    mn_buffer written = {0};
    uint64_t tokens = 0;
    mneme_status status = mn_window_init(&run.window, read, namespaces, options, arena, error);
    if (status == MNEME_OK) status = collect_hits(&run, ranked, n_ranked);
    if (status == MNEME_OK) status = place_hits(&run);
    if (status == MNEME_OK) status = place_cut_hits(&run);
    if (status == MNEME_OK) status = widen(&run);
    if (status == MNEME_OK) status = finish(&run, &written, &tokens, passages, n_passages);
    if (status == MNEME_OK) {
        weigh(&run, *passages, *n_passages);
        for (size_t i = 0; i < *n_passages; i++) {
            (*passages)[i].text_start += text->size;
            (*passages)[i].text_end += text->size;
        }
        mn_buffer_append(text, written.data, written.size);
        *n_tokens = (uint32_t)tokens;
        if (text->failed) status = mn_fail_memory(error, "window");
    }
    mn_buffer_free(&written);
    mn_window_free(&run.window);
    return status;
}
