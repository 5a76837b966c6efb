/* splice_repeats.c -- which sentences a window shows, and by which record, so that it says nothing twice.
 *
 * A sentence is the same as another when its speaker and its text are, white space apart; a hash of 64 bits stands for
 * it. A table with linear probing counts how often each is shown and keeps who showed it first: units leave a window in
 * the reverse order of their coming, so that one is the last to leave. */
#include "retriever/splice_window.h"

#include "encoder/chunker.h"

#include <string.h>
#include <xxhash.h>

struct mn_sentence {
    uint64_t hash;
    const mn_part *first;
    size_t n_shown;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == '\v';
}

/* Hash of the sentence with single spaces; *n_bytes: its length so. */
static uint64_t hash_of(mn_splice_window *window, const mn_part *part, const char *text, size_t size, size_t *n_bytes)
{
    const char *speaker = part->record.speaker ? part->record.speaker : "";
    mn_buffer *clean = &window->written;
    mn_buffer_clear(clean);
    for (size_t i = 0; i < size; i++) {
        if (!is_space(text[i]))
            mn_buffer_byte(clean, text[i]);
        else if (clean->size && clean->data[clean->size - 1] != ' ')
            mn_buffer_byte(clean, ' ');
    }
    while (clean->size && clean->data[clean->size - 1] == ' ') clean->size--;
    *n_bytes = clean->size;
    return XXH3_64bits_withSeed(clean->data ? clean->data : "", clean->size, XXH3_64bits(speaker, strlen(speaker)));
}

/* The slot of a hash, or the free one where it belongs; the table is never full. */
static mn_sentence *find(mn_sentence *table, size_t n_slots, uint64_t hash)
{
    size_t slot = (size_t)hash & (n_slots - 1);
    while (table[slot].first && table[slot].hash != hash) slot = (slot + 1) & (n_slots - 1);
    return &table[slot];
}

static mneme_status make_room(mn_splice_window *window)
{
    if (window->n_sentences * 2 < window->n_slots) return MNEME_OK;
    size_t n_slots = window->n_slots ? window->n_slots * 2 : 256;
    mn_sentence *table = mn_arena_array(window->arena, n_slots, sizeof *table);
    if (!table) return mn_fail_memory(window->error, "window");
    memset(table, 0, n_slots * sizeof *table);
    for (size_t i = 0; i < window->n_slots; i++)
        if (window->sentences[i].first) *find(table, n_slots, window->sentences[i].hash) = window->sentences[i];
    window->sentences = table;
    window->n_slots = n_slots;
    return MNEME_OK;
}

mneme_status mn_window_note(mn_splice_window *window, const mn_part *part, mn_unit unit, bool shown)
{
    size_t at = 0, from, to, n_bytes;
    bool is_heading;
    mneme_status status = mn_window_text(window, part, unit.start, unit.end);
    while (status == MNEME_OK &&
           mn_next_sentence(window->scratch.data, window->scratch.size, &at, &from, &to, &is_heading)) {
        status = make_room(window);
        if (status != MNEME_OK) return status;
        uint64_t hash = hash_of(window, part, window->scratch.data + from, to - from, &n_bytes);
        mn_sentence *sentence = find(window->sentences, window->n_slots, hash);
        window->n_sentences += !sentence->first;
        if (shown && sentence->n_shown++ == 0)
            *sentence = (mn_sentence){hash, part, 1};
        else if (!shown && sentence->n_shown > 0)
            sentence->n_shown--;
    }
    if (window->written.failed) return mn_fail_memory(window->error, "window");
    return status;
}

mneme_status mn_window_repeats(mn_splice_window *window, const mn_part *part, mn_unit unit, mn_repeat *out)
{
    size_t at = 0, from, to, n_bytes;
    bool is_heading;
    *out = (mn_repeat){0};
    if (window->n_slots == 0) return MNEME_OK;
    mneme_status status = mn_window_text(window, part, unit.start, unit.end);
    while (status == MNEME_OK &&
           mn_next_sentence(window->scratch.data, window->scratch.size, &at, &from, &to, &is_heading)) {
        uint64_t hash = hash_of(window, part, window->scratch.data + from, to - from, &n_bytes);
        const mn_sentence *sentence = find(window->sentences, window->n_slots, hash);
        bool is_shown = sentence->first && sentence->n_shown > 0 && sentence->first != part;
        if (!is_shown) {
            *out = (mn_repeat){0};
            break;
        }
        out->by = sentence->first;
        out->n_bytes += n_bytes;
    }
    if (window->written.failed) return mn_fail_memory(window->error, "window");
    return status;
}
